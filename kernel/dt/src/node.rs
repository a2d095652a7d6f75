//! Nodes: properties, children, the walk in tree order, ancestors and paths.
//!
//! A node is its offset in the structure block; it knows its ancestors by walking there from the root, which
//! takes one pass over what lies before it and 256 bytes of stack.

use crate::flat::{Landmark, MAX_DEPTH, Token, Tree};
use crate::value::{Property, Strings};
use core::fmt;

/// A node of a tree.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: Tree<'a>,
    at: u32,
}

impl PartialEq for Node<'_> {
    /// The same node of the same blob.
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && core::ptr::eq(self.tree.as_bytes(), other.tree.as_bytes())
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.path())
    }
}

/// `name` up to its unit address.
fn base_of(name: &str) -> &str {
    name.split_once('@').map_or(name, |(base, _)| base)
}

impl<'a> Node<'a> {
    pub(crate) fn at(tree: Tree<'a>, at: u32) -> Self {
        Self { tree, at }
    }

    /// The tree it belongs to.
    #[must_use]
    pub fn tree(&self) -> Tree<'a> {
        self.tree
    }

    /// The name with its unit address: `serial@9000000`; empty for the root.
    #[must_use]
    pub fn name(&self) -> &'a str {
        core::str::from_utf8(self.tree.node_name(self.at)).unwrap_or_default()
    }

    /// The name up to the `@`.
    #[must_use]
    pub fn base_name(&self) -> &'a str {
        base_of(self.name())
    }

    /// The name after the `@`.
    #[must_use]
    pub fn unit_address(&self) -> Option<&'a str> {
        self.name().split_once('@').map(|(_, unit)| unit)
    }

    /// The properties, in the blob's order.
    #[must_use]
    pub fn properties(&self) -> Properties<'a> {
        Properties { tree: self.tree, at: self.body() }
    }

    /// The property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Property<'a>> {
        let mut at = self.body();
        while let Some((Token::Property { name: offset, value }, next)) = self.tree.token(at) {
            if self.tree.string_is(offset, name) {
                let name = core::str::from_utf8(self.tree.string(offset)?).ok()?;
                return Some(Property { name, value });
            }
            at = next;
        }
        None
    }

    /// Whether there is a property of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.property(name).is_some()
    }

    /// First cell of the property of this name.
    #[must_use]
    pub fn u32(&self, name: &str) -> Option<u32> {
        self.property(name)?.u32()
    }

    /// First string of the property of this name.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&'a str> {
        self.property(name)?.str()
    }

    /// The children, in the blob's order.
    #[must_use]
    pub fn children(&self) -> Children<'a> {
        Children { tree: self.tree, at: self.body() }
    }

    /// The first child of this name; a name without unit address also finds one that has an address.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<Node<'a>> {
        let whole = name.contains('@');
        self.children().find(|child| child.name() == name || !whole && child.base_name() == name)
    }

    /// This node and all below it, in the blob's order.
    #[must_use]
    pub fn subtree(&self) -> Subtree<'a> {
        Subtree { tree: self.tree, at: self.at, depth: 0 }
    }

    /// The node that holds this one; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Node<'a>> {
        self.lineage().parent()
    }

    /// The way from the root to this node.
    #[must_use]
    pub fn lineage(&self) -> Lineage<'a> {
        let mut line = Lineage { tree: self.tree, at: [0; MAX_DEPTH], len: 0 };
        let mut at = self.tree.root().at;
        while let Some((token, next)) = self.tree.token(at) {
            match token {
                Token::Begin => line.push(at),
                Token::EndNode => line.len = line.len.saturating_sub(1),
                Token::Property { .. } => {}
                Token::End => break,
            }
            if at == self.at {
                break;
            }
            at = next;
        }
        line
    }

    /// The full path, `/soc/serial@7e201000`; prints without allocating.
    #[must_use]
    pub fn path(&self) -> Lineage<'a> {
        self.lineage()
    }

    /// Whether `status` is absent, `ok` or `okay`.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.property("status").is_none_or(|status| matches!(status.str(), Some("ok" | "okay")))
    }

    /// The `compatible` strings, most specific first.
    #[must_use]
    pub fn compatible(&self) -> Strings<'a> {
        self.property("compatible").map_or(Strings::NONE, |p| p.strings())
    }

    /// Whether any `compatible` string equals `model`, ignoring ASCII case as Linux does.
    #[must_use]
    pub fn is_compatible(&self, model: &str) -> bool {
        self.compatible().any(|c| c.eq_ignore_ascii_case(model))
    }

    /// The number that other nodes refer to it by.
    #[must_use]
    pub fn phandle(&self) -> Option<u32> {
        self.u32("phandle").or_else(|| self.u32("linux,phandle"))
    }

    fn body(&self) -> u32 {
        self.tree.token(self.at).map_or(u32::MAX, |(_, next)| next)
    }
}

/// Iterator over a node's properties.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    tree: Tree<'a>,
    at: u32,
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let (Token::Property { name, value }, next) = self.tree.token(self.at)? else { return None };
        self.at = next;
        let name = core::str::from_utf8(self.tree.string(name)?).unwrap_or("?");
        Some(Property { name, value })
    }
}

/// Iterator over a node's children.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    tree: Tree<'a>,
    at: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let mut found = None;
        let mut depth = 0u32;
        loop {
            let (token, next) = self.tree.token(self.at)?;
            match token {
                Token::Begin => {
                    found = found.or(Some(Node::at(self.tree, self.at)));
                    depth += 1;
                }
                Token::EndNode if depth == 0 => return None,
                Token::EndNode => depth -= 1,
                Token::Property { .. } => {}
                Token::End => return None,
            }
            self.at = next;
            if depth == 0 && found.is_some() {
                return found;
            }
        }
    }
}

/// Iterator over a node and everything below it.
#[derive(Clone, Copy, Debug)]
pub struct Subtree<'a> {
    tree: Tree<'a>,
    at: u32,
    depth: u32,
}

impl<'a> Iterator for Subtree<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            let at = self.at;
            let (token, next) = self.tree.token(at)?;
            match token {
                Token::Begin => {
                    (self.at, self.depth) = (next, self.depth + 1);
                    return Some(Node::at(self.tree, at));
                }
                Token::EndNode if self.depth > 1 => self.depth -= 1,
                Token::Property { .. } => {}
                Token::EndNode | Token::End => return None,
            }
            self.at = next;
        }
    }
}

/// A node with its ancestors, the root first.
#[derive(Clone, Copy)]
pub struct Lineage<'a> {
    tree: Tree<'a>,
    at: [u32; MAX_DEPTH],
    len: usize,
}

impl<'a> Lineage<'a> {
    fn push(&mut self, at: u32) {
        if let Some(slot) = self.at.get_mut(self.len) {
            *slot = at;
            self.len += 1;
        }
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Node<'a> {
        self.tree.root()
    }

    /// The node itself, then its parent, up to the root.
    pub fn upwards(&self) -> impl Iterator<Item = Node<'a>> + '_ {
        self.at[..self.len].iter().rev().map(|&at| Node::at(self.tree, at))
    }

    /// The node's parent.
    #[must_use]
    pub fn parent(&self) -> Option<Node<'a>> {
        self.upwards().nth(1)
    }

    /// This lineage without its last node: that of the parent. `None` for the root.
    #[must_use]
    pub fn above(mut self) -> Option<Self> {
        self.len = self.len.checked_sub(1).filter(|&len| len > 0)?;
        Some(self)
    }

    /// Levels below the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.len.saturating_sub(1)
    }

    /// The nearest value of a cell count, from the node itself upwards; 1 when nobody says, as in Linux.
    #[must_use]
    pub fn inherited_u32(&self, name: &str) -> u32 {
        self.upwards().find_map(|node| node.u32(name)).unwrap_or(1)
    }
}

impl fmt::Display for Lineage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str("/");
        }
        self.at[1..self.len].iter().try_for_each(|&at| write!(f, "/{}", Node::at(self.tree, at).name()))
    }
}

impl fmt::Debug for Lineage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage({self})")
    }
}

impl<'a> Tree<'a> {
    /// `/aliases`.
    pub(crate) fn aliases_node(&self) -> Option<Node<'a>> {
        self.landmark(Landmark::Aliases)
    }

    /// All nodes in the blob's order, the root first.
    #[must_use]
    pub fn nodes(&self) -> Subtree<'a> {
        self.root().subtree()
    }

    /// The node at a path (`/soc/serial@7e201000`), or at a path that starts with an alias (`serial0`). As in
    /// libfdt, a component without unit address also finds one with an address.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Node<'a>> {
        let (start, rest) = match path.strip_prefix('/') {
            Some(rest) => (self.root(), rest),
            None => {
                let (alias, rest) = path.split_once('/').unwrap_or((path, ""));
                let target = self.aliases_node()?.str(alias)?;
                (self.find(target.starts_with('/').then_some(target)?)?, rest)
            }
        };
        rest.split('/').filter(|part| !part.is_empty()).try_fold(start, |node, part| node.child(part))
    }

    /// Every property of this name with its node, in the blob's order: one pass over the tokens.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = (Node<'a>, Property<'a>)> + use<'a, 'n>
    where
        'a: 'n,
    {
        let tree = *self;
        let (mut at, mut open) = (self.root().at, None);
        core::iter::from_fn(move || {
            loop {
                let here = at;
                let (token, next) = tree.token(here)?;
                at = next;
                match token {
                    // A property belongs to the node that opened last.
                    Token::Begin => open = Some(Node::at(tree, here)),
                    Token::EndNode => open = None,
                    Token::End => return None,
                    Token::Property { name: offset, value } if tree.string_is(offset, name) => {
                        let name = core::str::from_utf8(tree.string(offset)?).unwrap_or("?");
                        if let Some(node) = open {
                            return Some((node, Property { name, value }));
                        }
                    }
                    Token::Property { .. } => {}
                }
            }
        })
    }

    /// The node that has this phandle. 0 and 0xffffffff are no phandles.
    #[must_use]
    pub fn by_phandle(&self, phandle: u32) -> Option<Node<'a>> {
        let valid = phandle != 0 && phandle != u32::MAX;
        let named = |name| self.all(name).find(|(_, p)| p.u32() == Some(phandle)).map(|(node, _)| node);
        let old = || named("linux,phandle").filter(|node| node.phandle() == Some(phandle));
        if valid { named("phandle").or_else(old) } else { None }
    }

    /// The enabled nodes that any of `models` fits, in the blob's order.
    pub fn compatible<'m>(&self, models: &'m [&'m str]) -> impl Iterator<Item = Node<'a>> + use<'a, 'm>
    where
        'a: 'm,
    {
        let fits = |p: Property<'a>| p.strings().any(|c| models.iter().any(|m| c.eq_ignore_ascii_case(m)));
        let nodes = self.all("compatible").filter(move |(_, p)| fits(*p)).map(|(node, _)| node);
        nodes.filter(Node::is_available)
    }

    /// What Linux prints after `OF: fdt: Machine model: `: `model`, else the first `compatible` string.
    #[must_use]
    pub fn machine_model(&self) -> Option<&'a str> {
        self.root().str("model").or_else(|| self.root().compatible().next())
    }
}
