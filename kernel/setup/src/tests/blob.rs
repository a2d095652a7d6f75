//! Writes device tree blobs. vm-fdt refuses overlapping /memreserve/ entries, and those are what is to be tested.

use std::vec::Vec;

/// A blob under construction: version 17, strings not shared.
pub struct Blob {
    reservations: Vec<(u64, u64)>,
    structure: Vec<u8>,
    strings: Vec<u8>,
}

/// `values` as cells of this many words each, most significant word first.
pub fn cells(values: &[(u64, u32)]) -> Vec<u8> {
    values.iter().flat_map(|&(value, words)| value.to_be_bytes()[8 - 4 * words as usize..].to_vec()).collect()
}

impl Blob {
    /// With the root node open.
    pub fn new(reservations: &[(u64, u64)]) -> Self {
        let mut blob = Self { reservations: reservations.into(), structure: Vec::new(), strings: Vec::new() };
        blob.begin("");
        blob
    }

    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    pub fn begin(&mut self, name: &str) {
        self.word(1);
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        self.bytes(&text);
    }

    pub fn end(&mut self) {
        self.word(2);
    }

    pub fn property(&mut self, name: &str, value: &[u8]) {
        self.word(3);
        self.word(value.len() as u32);
        self.word(self.strings.len() as u32);
        self.bytes(value);
        self.strings.extend(name.bytes().chain([0]));
    }

    pub fn string(&mut self, name: &str, value: &str) {
        self.property(name, &value.bytes().chain([0]).collect::<Vec<u8>>());
    }

    pub fn word_property(&mut self, name: &str, value: u32) {
        self.property(name, &value.to_be_bytes());
    }

    /// Closes the root.
    pub fn finish(mut self) -> Vec<u8> {
        self.end();
        self.word(9);
        let ends = self.reservations.iter().chain([&(0, 0)]);
        let reservations = ends.flat_map(|&(base, size)| cells(&[(base, 2), (size, 2)])).collect::<Vec<u8>>();
        let structure_at = 40 + reservations.len();
        let strings_at = structure_at + self.structure.len();
        let total = strings_at + self.strings.len();
        let (structure_len, strings_len) = (self.structure.len(), self.strings.len());
        let header =
            [0xd00d_feed, total, structure_at, strings_at, 40, 17, 16, 0, strings_len, structure_len];
        let mut blob: Vec<u8> = header.iter().flat_map(|&word| (word as u32).to_be_bytes()).collect();
        blob.extend(reservations);
        blob.extend(self.structure);
        blob.extend(self.strings);
        blob
    }
}
