//! The tagged list that boot loaders passed before there were device trees.
//!
//! ```text
//! r2 -> size 5 CORE .. | size 4 MEM size start | size n CMDLINE text | .. | size 0 NONE     (sizes in words)
//! ```
//!
//! Words are little endian, as the CPU is. The list is bounded by the slice it is read from.
//!
//! Source: Linux 6.1 `arch/arm/include/uapi/asm/setup.h`, Booting ARM Linux section 4a.

use crate::memory::until_nul;
use core::fmt;

const NONE: u32 = 0;
const CORE: u32 = 0x5441_0001;
const MEM: u32 = 0x5441_0002;
const SERIAL: u32 = 0x5441_0006;
const REVISION: u32 = 0x5441_0007;
const CMDLINE: u32 = 0x5441_0009;
const INITRD2: u32 = 0x5442_0005;

/// Why bytes are not a tag list. Offsets are bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtagError {
    /// It does not start with a CORE tag of 2 or 5 words.
    NoCore,
    /// A tag of fewer words than its header or contents need.
    Size {
        /// Where.
        offset: usize,
        /// Its number.
        tag: u32,
        /// Its length in words, the header included.
        words: u32,
    },
    /// No NONE tag before the end of what may be read.
    Unterminated {
        /// Where the next tag would be.
        offset: usize,
    },
}

impl fmt::Display for AtagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCore => f.write_str("ATAGs: no CORE tag"),
            Self::Size { offset, tag, words } => {
                write!(f, "ATAGs: tag {tag:#010x} at offset {offset:#x} can't be {words} words long")
            }
            Self::Unterminated { offset } => write!(f, "ATAGs: list runs on past offset {offset:#x}"),
        }
    }
}

impl core::error::Error for AtagError {}

/// One tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Atag<'a> {
    /// The list starts. Root device and flags are of no use here.
    Core,
    /// A bank of RAM.
    Mem {
        /// Bytes; banks of 0 are to be ignored.
        size: u32,
        /// First byte.
        start: u32,
    },
    /// The command line, up to its NUL.
    Cmdline(&'a [u8]),
    /// The initial RAM disk.
    Initrd2 {
        /// Physical address.
        start: u32,
        /// Bytes.
        size: u32,
    },
    /// Board revision.
    Revision(u32),
    /// Board serial number.
    Serial(u64),
    /// Any other tag.
    Other {
        /// Its number.
        tag: u32,
        /// Its contents.
        body: &'a [u8],
    },
}

/// A checked tag list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Atags<'a> {
    bytes: &'a [u8],
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// The first tag of `bytes` and its length in bytes; `None` for NONE.
fn first(bytes: &[u8], offset: usize) -> Result<Option<(Atag<'_>, usize)>, AtagError> {
    let unterminated = AtagError::Unterminated { offset };
    let (words, tag) = (le32(bytes, 0).ok_or(unterminated)?, le32(bytes, 4).ok_or(unterminated)?);
    if tag == NONE || words == 0 {
        return Ok(None);
    }
    let wrong = AtagError::Size { offset, tag, words };
    let len = usize::try_from(words).ok().and_then(|n| n.checked_mul(4)).filter(|&n| n >= 8).ok_or(wrong)?;
    let body = bytes.get(8..len).ok_or(unterminated)?;
    let word = |n: usize| le32(body, n * 4).ok_or(wrong);
    let atag = match tag {
        CORE => Atag::Core,
        MEM => Atag::Mem { size: word(0)?, start: word(1)? },
        CMDLINE => Atag::Cmdline(until_nul(body)),
        INITRD2 => Atag::Initrd2 { start: word(0)?, size: word(1)? },
        REVISION => Atag::Revision(word(0)?),
        SERIAL => Atag::Serial(u64::from(word(1)?) << 32 | u64::from(word(0)?)),
        tag => Atag::Other { tag, body },
    };
    Ok(Some((atag, len)))
}

impl<'a> Atags<'a> {
    /// Whether `bytes` start like a tag list, as Linux recognises one.
    #[must_use]
    pub fn looks_like(bytes: &[u8]) -> bool {
        le32(bytes, 4) == Some(CORE) && matches!(le32(bytes, 0), Some(2 | 5))
    }

    /// Checks the list at the start of `bytes`, which may be longer than the list.
    ///
    /// # Errors
    /// Says which tag is wrong, or that there is no end.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, AtagError> {
        if !Self::looks_like(bytes) {
            return Err(AtagError::NoCore);
        }
        let mut len = 0;
        while let Some((_, size)) = first(&bytes[len..], len)? {
            len += size;
        }
        Ok(Self { bytes: &bytes[..len] })
    }

    /// The tags in order, without the NONE at the end.
    pub fn iter(&self) -> impl Iterator<Item = Atag<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (tag, len) = first(rest, 0).ok()??;
            rest = &rest[len..];
            Some(tag)
        })
    }

    /// The banks of RAM that are not empty, as (base, size).
    pub fn memory(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        self.iter().filter_map(|tag| match tag {
            Atag::Mem { size, start } if size != 0 => Some((start.into(), size.into())),
            _ => None,
        })
    }
}
