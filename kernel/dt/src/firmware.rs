//! `firmware.bin`: the kernel image and a device tree in one file, the tree found by its marker.
//!
//! ```text
//! image bytes | zeroes to a multiple of 8 | "CONTIGDTB" NUL NUL NUL, u32 LE size | device tree blob
//! ```
//!
//! The SSD202's boot flow packs them so. The scan looks at multiples of 8 only and takes a marker for one only
//! when a blob of the size it tells follows; so the marker's own bytes in the image, where this module keeps
//! them, are passed over.

use crate::flat::{Tree, TreeError};
use core::fmt;

/// What stands before the tree's size.
pub const MARKER: [u8; 12] = *b"CONTIGDTB\0\0\0";
/// Marker and size.
pub const HEADER_SIZE: usize = 16;
const ALIGN: usize = 8;

/// Why no tree was found. Offsets are bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareError {
    /// No marker.
    NoMarker {
        /// Bytes looked through.
        bytes: usize,
    },
    /// The last marker's size is not that of the blob behind it, or runs past the file.
    Size {
        /// Where the marker is.
        offset: usize,
        /// The size behind it.
        size: u32,
    },
    /// The blob behind the last marker is no usable tree.
    Tree {
        /// Where the marker is.
        offset: usize,
        /// What is wrong with it.
        error: TreeError,
    },
}

impl fmt::Display for FirmwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMarker { bytes } => write!(f, "firmware: no device tree marker in {bytes:#x} bytes"),
            Self::Size { offset, size } => {
                write!(f, "firmware: marker at {offset:#x} has no device tree of {size:#x} bytes behind it")
            }
            Self::Tree { offset, error } => write!(f, "firmware: marker at {offset:#x}: {error}"),
        }
    }
}

impl core::error::Error for FirmwareError {}

/// A tree in a firmware file.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The tree.
    pub tree: Tree<'a>,
    /// Where its first byte is in the file.
    pub offset: usize,
}

/// Looks for a tree from the first multiple of 8 at or after `from`. `file` has to start 8-byte aligned in the
/// file it was packed in.
///
/// # Errors
/// Says what was wrong with the last marker, or that there is none.
pub fn find(file: &[u8], from: usize) -> Result<Found<'_>, FirmwareError> {
    let mut error = FirmwareError::NoMarker { bytes: file.len().saturating_sub(from) };
    let start = from.min(file.len()).next_multiple_of(ALIGN);
    for offset in (start..file.len()).step_by(ALIGN) {
        let here = &file[offset..];
        if here.starts_with(&MARKER) {
            match tree_behind(here, offset) {
                Ok(tree) => return Ok(Found { tree, offset: offset + HEADER_SIZE }),
                Err(e) => error = e,
            }
        }
    }
    Err(error)
}

fn tree_behind(marked: &[u8], offset: usize) -> Result<Tree<'_>, FirmwareError> {
    let size = marked[MARKER.len()..].first_chunk().map_or(0, |size| u32::from_le_bytes(*size));
    let blob = marked.get(HEADER_SIZE..).and_then(|rest| rest.get(..size as usize));
    let blob = blob.ok_or(FirmwareError::Size { offset, size })?;
    match Tree::from_bytes(blob) {
        Ok(tree) if tree.as_bytes().len() == blob.len() => Ok(tree),
        Ok(_) => Err(FirmwareError::Size { offset, size }),
        Err(error) => Err(FirmwareError::Tree { offset, error }),
    }
}

/// Packs `image` and the checked `tree` into `out`, which is empty or holds a multiple of 8 bytes.
pub fn pack(image: &[u8], tree: Tree<'_>, out: &mut impl Extend<u8>) {
    let padding = image.len().next_multiple_of(ALIGN) - image.len();
    let blob = tree.as_bytes();
    out.extend(image.iter().copied());
    out.extend(core::iter::repeat_n(0, padding));
    out.extend(MARKER);
    // A tree is smaller than 2^31 bytes.
    out.extend((blob.len() as u32).to_le_bytes());
    out.extend(blob.iter().copied());
}
