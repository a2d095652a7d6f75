//! The few changes a run makes to a device tree blob: its command line and its CPUs.
//!
//! Reading and writing is `dtoolkit`'s; it validates a whole blob before anything of it is used, so a corrupt
//! file is a [`TreeError`] here and never reaches QEMU.

use std::fmt;

use dtoolkit::error::FdtParseError;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

/// A validated device tree that can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(DeviceTree);

/// Why bytes are not a usable device tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeError {
    /// The file ends before the size that its header gives.
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes the header wants.
        want: usize,
    },
    /// Not well formed; where and why.
    Malformed(FdtParseError),
}

impl Tree {
    /// Reads a blob. Bytes after the size that its header gives are ignored.
    ///
    /// # Errors
    /// A [`TreeError`] with the reason.
    pub fn parse(blob: &[u8]) -> Result<Self, TreeError> {
        const TOTALSIZE: std::ops::Range<usize> = 4..8;
        let mut whole = blob;
        if let Some(size) = blob.get(TOTALSIZE).and_then(|field| field.try_into().ok())
            && blob.starts_with(&0xd00d_feed_u32.to_be_bytes())
        {
            let want = u32::from_be_bytes(size) as usize;
            whole = blob.get(..want).ok_or(TreeError::Truncated { have: blob.len(), want })?;
        }
        let fdt = Fdt::new(whole).map_err(TreeError::Malformed)?;
        Ok(Self(DeviceTree::from_fdt(&fdt)))
    }

    /// The blob.
    pub fn to_blob(&self) -> Vec<u8> {
        self.0.to_dtb()
    }

    /// `/chosen/bootargs`, if there is one.
    pub fn bootargs(&self) -> Option<String> {
        let chosen = self.0.find_node("/chosen")?;
        let property = chosen.property("bootargs")?;
        let text = property.value().split(|&byte| byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Sets `/chosen/bootargs`.
    pub fn set_bootargs(&mut self, cmdline: &str) {
        let chosen = match self.0.root.child("chosen") {
            Some(_) => self.0.root.child_mut("chosen"),
            None => Some(self.0.root.add_child_mut(DeviceTreeNode::new_unchecked("chosen"))),
        };
        if let Some(chosen) = chosen {
            chosen.add_property(DeviceTreeProperty::new_unchecked("bootargs", cmdline));
        }
    }

    /// Leaves the first `count` nodes of `/cpus`.
    pub fn keep_cpus(&mut self, count: u32) {
        let Some(cpus) = self.0.root.child_mut("cpus") else { return };
        let names = cpus.children().map(|node| node.name().to_owned());
        let surplus: Vec<_> = names.filter(|name| name.starts_with("cpu@")).skip(count as usize).collect();
        for name in surplus {
            cpus.remove_child(&name);
        }
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { have, want } => write!(f, "{have} bytes where its header says {want}"),
            Self::Malformed(reason) => reason.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = DeviceTree::new();
        let mut cpus = DeviceTreeNode::new_unchecked("cpus");
        for cpu in ["cpu@0", "cpu@1", "cpu@2"] {
            cpus.add_child(DeviceTreeNode::new_unchecked(cpu));
        }
        cpus.add_child(DeviceTreeNode::new_unchecked("idle-states"));
        tree.root.add_child(cpus);
        Tree(tree)
    }

    #[test]
    fn bootargs_are_added_replaced_and_survive_the_blob() {
        let mut tree = sample();
        assert_eq!(tree.bootargs(), None);
        tree.set_bootargs("cma=8M");
        tree.set_bootargs("cma=16M quiet");
        let again = Tree::parse(&tree.to_blob()).unwrap();
        assert_eq!(again.bootargs().as_deref(), Some("cma=16M quiet"));
        assert_eq!(again, tree);
    }

    #[test]
    fn surplus_cpus_go_and_other_children_stay() {
        let mut tree = sample();
        tree.keep_cpus(2);
        let left: Vec<_> =
            tree.0.root.child("cpus").unwrap().children().map(|n| n.name().to_owned()).collect();
        assert_eq!(left, ["cpu@0", "cpu@1", "idle-states"]);
    }

    #[test]
    fn trailing_bytes_are_ignored_but_missing_ones_are_not() {
        let mut blob = sample().to_blob();
        let size = blob.len();
        assert_eq!(Tree::parse(&blob[..size - 1]), Err(TreeError::Truncated { have: size - 1, want: size }));
        blob.extend([0; 100]);
        assert_eq!(Tree::parse(&blob), Ok(sample()));
    }

    #[test]
    fn every_truncation_and_garbage_is_refused_without_a_panic() {
        let blob = sample().to_blob();
        for cut in 0..blob.len() {
            assert!(Tree::parse(&blob[..cut]).is_err(), "{cut} of {} bytes", blob.len());
        }
        assert!(Tree::parse(b"/dts-v1/; / { };").is_err());
        let mut token = blob.clone();
        let structure = u32::from_be_bytes(blob[8..12].try_into().unwrap()) as usize;
        token[structure + 3] = 77;
        assert!(Tree::parse(&token).is_err());
    }
}
