//! The flattened format: header, structure block, strings block, and the check that everything else relies on.
//!
//! ```text
//! header | reservations (u64 pairs) | structure: BEGIN name (PROP len name-offset value)* child* END | strings
//! ```
//!
//! [`Tree::from_bytes`] walks the whole structure once and refuses what can't be walked; after that every
//! offset a reader meets has been seen before. Readers are bounds-checked all the same and end early instead of
//! panicking. All sums stay below 2^31 because the size is limited as libfdt limits it, so nothing wraps on a
//! 32-bit machine (invariant 12).
//!
//! Why a reader of our own: dtoolkit 0.4 adds unchecked 32-bit lengths to offsets (a corrupt length sends its
//! own check into an endless loop on a 32-bit target), refuses trees that Linux takes (names above 31
//! characters, version 16 headers, other block orders), panics on what its check let through, and has no
//! parents, phandles or tree-order walk. It serves the tests as a second opinion instead.
//!
//! Source: Devicetree Specification 0.4, chapter 5; the limits are those of libfdt's `fdt_check_header`.

use crate::memory::until_nul;
use crate::node::Node;
use core::fmt;

/// First word of a blob.
pub const FDT_MAGIC: u32 = 0xd00d_feed;
/// Deepest nesting accepted, the root included; Linux's `FDT_MAX_DEPTH`.
pub const MAX_DEPTH: usize = 64;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const HEADER_V16: u32 = 36;
const HEADER_V17: u32 = 40;

/// One of the parts of a blob that the header locates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// The memory reservation block.
    Reservations,
    /// The structure block.
    Structure,
    /// The strings block.
    Strings,
}

/// Why bytes are not a usable device tree. Offsets are bytes from the start of the blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// Fewer bytes than a header has.
    TooShort {
        /// Bytes there are.
        have: usize,
    },
    /// The first word is not [`FDT_MAGIC`].
    Magic {
        /// What it is.
        found: u32,
    },
    /// A format version that version 16/17 readers can't read.
    Version {
        /// The version in the header.
        version: u32,
        /// The version that the header says it is compatible with.
        compatible: u32,
    },
    /// The header's total size is absurd, or more than the bytes there are.
    TotalSize {
        /// The size in the header.
        total: u32,
        /// Bytes there are.
        have: usize,
    },
    /// A block lies outside of the blob.
    BlockOutside {
        /// Which one.
        block: Block,
        /// Where the header says it starts.
        offset: u32,
        /// How long the header says it is.
        size: u32,
    },
    /// The structure block ends within a node or property.
    Truncated {
        /// Where.
        offset: u32,
    },
    /// No such token, or one that can't stand there.
    Token {
        /// Where.
        offset: u32,
        /// What was found.
        found: u32,
    },
    /// A node name that is empty or holds other than printable ASCII characters.
    NodeName {
        /// Where.
        offset: u32,
    },
    /// A property whose name is not a string of the strings block.
    PropertyName {
        /// Where the property is.
        offset: u32,
        /// The name's offset in the strings block.
        name: u32,
    },
    /// Nesting deeper than [`MAX_DEPTH`].
    Depth {
        /// Where.
        offset: u32,
    },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("device tree: ")?;
        match *self {
            Self::TooShort { have } => write!(f, "{have} bytes are too few for a header"),
            Self::Magic { found } => write!(f, "magic is {found:#010x}, not {FDT_MAGIC:#010x}"),
            Self::Version { version, compatible } => {
                write!(f, "version {version} (compatible with {compatible}) is not supported")
            }
            Self::TotalSize { total, have } => {
                write!(f, "total size {total:#x} does not fit the {have:#x} bytes there are")
            }
            Self::BlockOutside { block, offset, size } => {
                write!(f, "{block:?} block at {offset:#x} size {size:#x} lies outside of the blob")
            }
            Self::Truncated { offset } => write!(f, "truncated at offset {offset:#x}"),
            Self::Token { offset, found } => write!(f, "unexpected token {found:#x} at offset {offset:#x}"),
            Self::NodeName { offset } => write!(f, "bad node name at offset {offset:#x}"),
            Self::PropertyName { offset, name } => {
                write!(f, "property at offset {offset:#x} has no name at string {name:#x}")
            }
            Self::Depth { offset } => {
                write!(f, "more than {MAX_DEPTH} levels of nodes at offset {offset:#x}")
            }
        }
    }
}

impl core::error::Error for TreeError {}

/// A checked device tree blob, borrowed.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    data: &'a [u8],
    /// The structure block, a token or part of a property each.
    words: &'a [[u8; 4]],
    strings: &'a [u8],
    landmarks: [u32; LANDMARKS.len()],
}

/// Children of the root that are asked for again and again; the check remembers where they are, which saves
/// boot a dozen walks through the tree. A unit address does not matter, as in libfdt's path lookup.
#[derive(Clone, Copy)]
pub(crate) enum Landmark {
    Chosen,
    Aliases,
    ReservedMemory,
    Memory,
}

const LANDMARKS: [&[u8]; 4] = [b"chosen", b"aliases", b"reserved-memory", b"memory"];

pub(crate) enum Token<'a> {
    Begin,
    Property { name: u32, value: &'a [u8] },
    EndNode,
    End,
}

/// The big-endian word at byte `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

impl<'a> Tree<'a> {
    /// The size that the header at the start of `header` claims, for callers that have only an address: check
    /// eight bytes, then hand the whole to [`Tree::from_bytes`].
    ///
    /// # Errors
    /// [`TreeError::TooShort`] below eight bytes, [`TreeError::Magic`].
    pub fn claimed_size(header: &[u8]) -> Result<u32, TreeError> {
        let short = TreeError::TooShort { have: header.len() };
        match be32(header, 0).ok_or(short)? {
            FDT_MAGIC => be32(header, 4).ok_or(short),
            found => Err(TreeError::Magic { found }),
        }
    }

    /// Checks the blob at the start of `bytes`, which may be longer than the blob.
    ///
    /// # Errors
    /// Says what is wrong and where; a tree that passes can be walked to its end.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, TreeError> {
        let total = Self::claimed_size(bytes)?;
        let header = |word: usize| be32(bytes, word * 4).ok_or(TreeError::TooShort { have: bytes.len() });
        let (version, compatible) = (header(5)?, header(6)?);
        if version < 16 || compatible > 17 || version < compatible {
            return Err(TreeError::Version { version, compatible });
        }
        let header_size = if version >= 17 { HEADER_V17 } else { HEADER_V16 };
        let too_big = TreeError::TotalSize { total, have: bytes.len() };
        if total < header_size || total > i32::MAX as u32 {
            return Err(too_big);
        }
        let data = bytes.get(..total as usize).ok_or(too_big)?;
        let block = |block, offset: u32, size: Option<u32>| {
            let size = size.unwrap_or(total.saturating_sub(offset));
            let outside = TreeError::BlockOutside { block, offset, size };
            let rest = data.get(offset as usize..).filter(|_| offset >= header_size).ok_or(outside)?;
            rest.get(..size as usize).ok_or(outside)
        };
        block(Block::Reservations, header(4)?, None)?;
        let structure_size = if version >= 17 { Some(header(9)?) } else { None };
        let structure = block(Block::Structure, header(2)?, structure_size)?;
        let strings = block(Block::Strings, header(3)?, Some(header(8)?))?;
        let words = structure.as_chunks().0;
        let mut tree = Self { data, words, strings, landmarks: [0; LANDMARKS.len()] };
        tree.check(header(2)?)?;
        Ok(tree)
    }

    /// The blob, exactly as long as its header says.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.data
    }

    /// The root node.
    #[must_use]
    pub fn root(&self) -> Node<'a> {
        Node::at(*self, self.skip_nops(0))
    }

    /// `/memreserve/`: (base, size) pairs up to the first of size 0, as Linux reads them.
    pub fn reservations(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let entries = be32(self.data, 16).and_then(|at| self.data.get(at as usize..)).unwrap_or_default();
        entries
            .chunks_exact(16)
            .map(|pair| (crate::value::number(&pair[..8]), crate::value::number(&pair[8..])))
            .take_while(|&(_, size)| size != 0)
    }

    fn word(&self, index: usize) -> Option<u32> {
        self.words.get(index).map(|word| u32::from_be_bytes(*word))
    }

    /// The token at `at` bytes into the structure block, and where the next one is. Every walk is made of
    /// this: it looks at words only, and at a name only for where it ends.
    pub(crate) fn token(&self, at: u32) -> Option<(Token<'a>, u32)> {
        let at = self.skip_nops(at) as usize / 4;
        let (token, end) = match self.word(at)? {
            BEGIN_NODE => {
                let has_nul = |word: &[u8; 4]| word.contains(&0);
                let last = self.words.get(at + 1..)?.iter().position(has_nul)?;
                (Token::Begin, at + 2 + last)
            }
            PROPERTY => {
                let len = self.word(at + 1)? as usize;
                let name = self.word(at + 2)?;
                let value = self.words.get(at + 3..)?.as_flattened().get(..len)?;
                (Token::Property { name, value }, at + 3 + len.div_ceil(4))
            }
            END_NODE => (Token::EndNode, at + 1),
            END => (Token::End, at + 1),
            _ => return None,
        };
        Some((token, end as u32 * 4))
    }

    /// The name of the node that begins at `at`.
    pub(crate) fn node_name(&self, at: u32) -> &'a [u8] {
        let at = self.skip_nops(at) as usize / 4;
        until_nul(self.words.get(at + 1..).unwrap_or_default().as_flattened())
    }

    /// The string at `offset` of the strings block, without its NUL.
    pub(crate) fn string(&self, offset: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(offset as usize..)?;
        rest.iter().position(|&b| b == 0).map(|len| &rest[..len])
    }

    /// Whether the string at `offset` is `name`, without looking for its end.
    pub(crate) fn string_is(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.get(name.len()) == Some(&0) && rest.starts_with(name.as_bytes())
    }

    fn skip_nops(&self, mut at: u32) -> u32 {
        while self.word(at as usize / 4) == Some(NOP) {
            at += 4;
        }
        at
    }

    /// Walks the structure once. `base` is where the block starts in the blob, for messages.
    fn check(&mut self, base: u32) -> Result<(), TreeError> {
        let names_end = self.strings.iter().rposition(|&b| b == 0).map_or(0, |last| last as u32 + 1);
        let (mut at, mut depth) = (0, 0);
        loop {
            at = self.skip_nops(at);
            let offset = base + at;
            let (token, next) = self.token(at).ok_or_else(|| self.unreadable(base, at))?;
            match token {
                Token::Begin => {
                    let name = self.node_name(at);
                    let printable = name.iter().all(|&b| (0x20..0x7f).contains(&b) && b != b'/');
                    if depth > 0 && (name.is_empty() || !printable) {
                        return Err(TreeError::NodeName { offset });
                    }
                    if depth == MAX_DEPTH {
                        return Err(TreeError::Depth { offset });
                    }
                    if depth == 1 {
                        self.note(name, at);
                    }
                    depth += 1;
                }
                Token::Property { name, .. } if depth > 0 => {
                    if name >= names_end {
                        return Err(TreeError::PropertyName { offset, name });
                    }
                }
                Token::EndNode if depth > 0 => depth -= 1,
                _ => return Err(self.unreadable(base, at)),
            }
            at = next;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn note(&mut self, name: &[u8], at: u32) {
        let base = name.split(|&b| b == b'@').next();
        let slot = LANDMARKS.iter().zip(&mut self.landmarks).find(|(landmark, _)| base == Some(landmark));
        if let Some((_, slot)) = slot.filter(|(_, slot)| **slot == 0) {
            *slot = at;
        }
    }

    /// The first child of the root of this name.
    pub(crate) fn landmark(&self, landmark: Landmark) -> Option<Node<'a>> {
        let at = self.landmarks[landmark as usize];
        (at != 0).then(|| Node::at(*self, at))
    }

    fn unreadable(&self, base: u32, at: u32) -> TreeError {
        let offset = base + at;
        match self.word(at as usize / 4) {
            None | Some(BEGIN_NODE) => TreeError::Truncated { offset },
            Some(PROPERTY) if at > 0 => TreeError::Truncated { offset },
            Some(found) => TreeError::Token { offset, found },
        }
    }
}

impl fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({:#x} bytes)", self.data.len())
    }
}
