//! Which device is the console: `/chosen`'s `stdout-path`, and aliases in general.
//!
//! Source: Devicetree Specification 0.4, sections 3.3 and 3.6; Linux 6.1 `of_alias_scan`.

use crate::flat::Tree;
use crate::node::Node;

/// A console that the tree chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StdoutPath<'a> {
    /// The device.
    pub node: Node<'a>,
    /// What follows the `:`, as `115200n8`.
    pub options: Option<&'a str>,
}

impl<'a> Tree<'a> {
    /// The device of `stdout-path` (or the older `linux,stdout-path`), given by path or alias.
    #[must_use]
    pub fn stdout(&self) -> Option<StdoutPath<'a>> {
        let chosen = self.chosen()?;
        let text = chosen.str("stdout-path").or_else(|| chosen.str("linux,stdout-path"))?;
        let (path, options) = text.split_once(':').map_or((text, None), |(path, o)| (path, Some(o)));
        Some(StdoutPath { node: self.find(path)?, options })
    }

    /// The aliases in the blob's order: name and node; those that lead nowhere are left out.
    pub fn aliases(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        let tree = *self;
        let node = self.aliases_node();
        let properties = node.into_iter().flat_map(|node| node.properties());
        properties.filter_map(move |p| Some((p.name, tree.find(p.str()?)?)))
    }
}

impl<'a> Node<'a> {
    /// The number of the alias `stem` that leads here: 1 for `serial1`.
    #[must_use]
    pub fn alias_id(&self, stem: &str) -> Option<u32> {
        let id = |name: &'a str| name.strip_prefix(stem)?.parse().ok();
        self.tree().aliases().filter(|(_, node)| node == self).find_map(|(name, _)| id(name))
    }
}
