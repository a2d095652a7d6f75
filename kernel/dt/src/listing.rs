//! The tree as `/proc/device-tree` shows it: nodes are directories, properties are files.
//!
//! As in Linux every node has a file `name` even where the blob has no such property; it holds the node's name
//! without its unit address.
//!
//! Source: Linux 6.1 `drivers/of/kobj.c`, `drivers/of/fdt.c` (`populate_properties`).

use crate::flat::Tree;
use crate::node::Node;
use crate::value::Property;

/// What a path under `/proc/device-tree` leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// A node.
    Directory(Node<'a>),
    /// A property.
    File(File<'a>),
}

/// A property as a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// The file's name.
    pub name: &'a str,
    contents: &'a [u8],
    nul: bool,
}

impl<'a> File<'a> {
    /// Bytes in the file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len() + usize::from(self.nul)
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The raw bytes.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.contents.iter().copied().chain(self.nul.then_some(0))
    }

    fn of(p: Property<'a>) -> Self {
        Self { name: p.name, contents: p.value, nul: false }
    }
}

impl Entry<'_> {
    /// The name in its directory.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Directory(node) => node.name(),
            Self::File(file) => file.name,
        }
    }
}

impl<'a> Node<'a> {
    /// The file `name`, which the kernel adds.
    fn name_file(&self) -> File<'a> {
        File { name: "name", contents: self.base_name().as_bytes(), nul: true }
    }

    /// The entries of this node's directory: its properties, `name`, its children.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let name = (!self.has("name")).then(|| self.name_file());
        let files = self.properties().map(File::of).chain(name).map(Entry::File);
        files.chain(self.children().map(Entry::Directory))
    }

    /// The entry of this name in this node's directory.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Entry<'a>> {
        let node = || self.children().find(|child| child.name() == name).map(Entry::Directory);
        let file = self.property(name).map(File::of);
        let file = file.or_else(|| (name == "name").then(|| self.name_file()));
        file.map(Entry::File).or_else(node)
    }
}

impl<'a> Tree<'a> {
    /// The entry at a path below `/proc/device-tree`; names have to match in full. `""` is the root.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<Entry<'a>> {
        let root = Entry::Directory(self.root());
        path.split('/').filter(|part| !part.is_empty()).try_fold(root, |at, part| match at {
            Entry::Directory(node) => node.entry(part),
            Entry::File(_) => None,
        })
    }
}
