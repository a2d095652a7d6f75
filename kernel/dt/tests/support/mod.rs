//! A device tree as plain vectors, and a writer of blobs: the model that the reader is compared with.

/// A node of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Name with unit address.
    pub name: String,
    /// Names and values in order.
    pub properties: Vec<(String, Vec<u8>)>,
    /// Children in order.
    pub children: Vec<Model>,
}

impl Model {
    /// A node of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With a property.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.properties.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// With a property of cells.
    pub fn cells(self, name: &str, cells: &[u32]) -> Self {
        let value: Vec<u8> = cells.iter().flat_map(|c| c.to_be_bytes()).collect();
        self.with(name, value)
    }

    /// With a child.
    pub fn child(mut self, child: Model) -> Self {
        self.children.push(child);
        self
    }

    fn write(&self, structure: &mut Vec<u8>, strings: &mut Vec<u8>) {
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        structure.extend(1u32.to_be_bytes());
        structure.extend(self.name.bytes().chain([0]));
        pad(structure);
        for (name, value) in &self.properties {
            structure.extend(3u32.to_be_bytes());
            structure.extend((value.len() as u32).to_be_bytes());
            structure.extend((strings.len() as u32).to_be_bytes());
            strings.extend(name.bytes().chain([0]));
            structure.extend(value);
            pad(structure);
        }
        for child in &self.children {
            child.write(structure, strings);
        }
        structure.extend(2u32.to_be_bytes());
    }

    /// This node as the root of a version 17 blob.
    pub fn blob(&self, reservations: &[(u64, u64)]) -> Vec<u8> {
        let (mut structure, mut strings) = (Vec::new(), Vec::new());
        self.write(&mut structure, &mut strings);
        structure.extend(9u32.to_be_bytes());
        let entries = reservations.iter().chain(&[(0, 0)]);
        let map: Vec<u8> = entries.flat_map(|(a, b)| [a.to_be_bytes(), b.to_be_bytes()].concat()).collect();
        let at_structure = 40 + map.len();
        let at_strings = at_structure + structure.len();
        let total = at_strings + strings.len();
        let sizes = [strings.len(), structure.len()];
        let header = [total, at_structure, at_strings, 40, 17, 16, 0].into_iter().chain(sizes);
        let mut blob = 0xd00d_feedu32.to_be_bytes().to_vec();
        blob.extend(header.flat_map(|n| (n as u32).to_be_bytes()));
        [blob, map, structure, strings].concat()
    }
}
