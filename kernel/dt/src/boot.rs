//! Boot data: a tree, what a tag list changes in it, and which tree is taken in the first place.
//!
//! ```text
//! r2: DTB ------------------------------------------> that tree
//! r2: ATAGs or anything else -> appended tree, else the tree in firmware.bin -> + what the ATAGs say
//!                               neither -> NoTree, which names why each was refused
//! ```
//!
//! Linux edits the blob (`atags_to_fdt`); here blob and tag list stay as they are and the accessors below put
//! the tags' values in place of the tree's. As in Linux the banks replace `reg` of the first node that
//! `/memory` finds and no other node; up to 16 of them count; the boot loader's command line replaces
//! `bootargs` (CONFIG_ARM_ATAG_DTB_COMPAT_CMDLINE_FROM_BOOTLOADER). Unlike Linux the banks also count when
//! that node is disabled or absent: a machine without memory helps nobody.
//!
//! Source: Linux 6.1 `arch/arm/boot/compressed/atags_to_fdt.c`, `arch/arm/kernel/devtree.c`.

use crate::atag::{Atag, AtagError, Atags};
use crate::cmdline::{CommandLine, CommandLineError};
use crate::firmware::{FirmwareError, find};
use crate::flat::{FDT_MAGIC, Landmark, Tree, TreeError, be32};
use crate::memory::{Initrd, MemoryRange};
use core::fmt;

/// Most banks that a tag list may bring; Linux's `NR_BANKS` of that place.
pub const MAX_BANKS: usize = 16;

/// Where the tree came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The boot loader passed it in r2.
    Passed,
    /// It lay behind the kernel image.
    Appended,
    /// It was found by its marker in the firmware file.
    Firmware,
}

/// What r2 turned out to be, when it was no tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed<'a> {
    /// Nothing that may be read there.
    Nothing,
    /// A tag list.
    Atags(Atags<'a>),
    /// A tag list that can't be used.
    BadAtags(AtagError),
    /// A tree that can't be used.
    BadTree(TreeError),
    /// Neither.
    Unknown,
}

impl<'a> Passed<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match Atags::from_bytes(bytes) {
            Ok(atags) => Self::Atags(atags),
            Err(e) if Atags::looks_like(bytes) => Self::BadAtags(e),
            Err(_) => Self::Unknown,
        }
    }
}

impl fmt::Display for Passed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing in r2"),
            Self::Atags(_) => f.write_str("ATAGs in r2"),
            Self::BadAtags(e) => write!(f, "r2: {e}"),
            Self::BadTree(e) => write!(f, "r2: {e}"),
            Self::Unknown => f.write_str("r2 points to neither a device tree nor ATAGs"),
        }
    }
}

/// Where a tree may be. Slices may be longer than what they start with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Candidates<'a> {
    /// What r2 points to; `None` when r2 is 0 or points where nothing may be read.
    pub passed: Option<&'a [u8]>,
    /// What directly follows the image in memory.
    pub appended: Option<&'a [u8]>,
    /// The firmware file, or what of it lies behind the image.
    pub firmware: Option<&'a [u8]>,
}

/// No usable tree anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTree<'a> {
    /// What r2 is.
    pub passed: Passed<'a>,
    /// Why the appended tree is not used; `None` when there is nothing that looks like one.
    pub appended: Option<TreeError>,
    /// Why none in the firmware file is used; `None` when there is no firmware file.
    pub firmware: Option<FirmwareError>,
}

impl fmt::Display for NoTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no device tree: {}", self.passed)?;
        match self.appended {
            Some(e) => write!(f, "; appended: {e}")?,
            None => f.write_str("; none appended")?,
        }
        match self.firmware {
            Some(e) => write!(f, "; {e}"),
            None => f.write_str("; no firmware file"),
        }
    }
}

impl core::error::Error for NoTree<'_> {}

/// Everything the boot loader says: a tree, with a tag list's values in place of its own.
#[derive(Clone, Copy, Debug)]
pub struct BootData<'a> {
    /// The tree, unchanged.
    pub tree: Tree<'a>,
    /// Where it came from.
    pub source: Source,
    /// What r2 was when the tree did not come from there; a bad one deserves a line in the log.
    pub passed: Passed<'a>,
}

impl<'a> BootData<'a> {
    /// A tree on its own.
    #[must_use]
    pub fn from_tree(tree: Tree<'a>) -> Self {
        Self { tree, source: Source::Passed, passed: Passed::Nothing }
    }

    /// Takes the first usable tree, in Linux's order.
    ///
    /// # Errors
    /// [`NoTree`] says what was wrong at every place.
    pub fn choose(places: &Candidates<'a>) -> Result<Self, NoTree<'a>> {
        let passed = match places.passed.map(|bytes| (bytes, Tree::from_bytes(bytes))) {
            Some((_, Ok(tree))) => return Ok(Self::from_tree(tree)),
            Some((bytes, Err(e))) if be32(bytes, 0) == Some(FDT_MAGIC) => Passed::BadTree(e),
            Some((bytes, Err(_))) => Passed::of(bytes),
            None => Passed::Nothing,
        };
        let appended = match places.appended.filter(|bytes| be32(bytes, 0) == Some(FDT_MAGIC)) {
            None => None,
            Some(bytes) => match Tree::from_bytes(bytes) {
                Ok(tree) => return Ok(Self { tree, source: Source::Appended, passed }),
                Err(e) => Some(e),
            },
        };
        let firmware = match places.firmware.map(|bytes| find(bytes, 0)) {
            None => None,
            Some(Ok(found)) => return Ok(Self { tree: found.tree, source: Source::Firmware, passed }),
            Some(Err(e)) => Some(e),
        };
        Err(NoTree { passed, appended, firmware })
    }

    /// The tag list, when there is one.
    #[must_use]
    pub fn atags(&self) -> Option<Atags<'a>> {
        if let Passed::Atags(atags) = self.passed { Some(atags) } else { None }
    }

    /// All RAM: that of [`Tree::memory`], with the tag list's banks in place of the first memory node.
    pub fn memory(&self) -> impl Iterator<Item = MemoryRange> + use<'a> {
        let banks = self.atags().into_iter().flat_map(|atags| atags.memory()).take(MAX_BANKS);
        let banks = banks.map(|(base, size)| MemoryRange { base, size, hotpluggable: false });
        let has_banks = self.atags().is_some_and(|atags| atags.memory().next().is_some());
        let replaced = if has_banks { self.tree.landmark(Landmark::Memory) } else { None };
        banks.chain(self.tree.memory_except(replaced))
    }

    /// The initrd, from the tag list first.
    #[must_use]
    pub fn initrd(&self) -> Option<Initrd> {
        let tags = self.atags().and_then(|atags| {
            let bounds = |tag| match tag {
                Atag::Initrd2 { start, size } => Some((u64::from(start), u64::from(size))),
                _ => None,
            };
            atags.iter().filter_map(bounds).last()
        });
        tags.map(|(start, size)| Initrd { start, end: start + size }).or_else(|| self.tree.initrd())
    }

    /// The command line, the boot loader's first, and what had to be cut off.
    #[must_use]
    pub fn command_line(&self) -> (CommandLine<'a>, Option<CommandLineError>) {
        let tags = self.atags().and_then(|atags| {
            let text = |tag| if let Atag::Cmdline(text) = tag { Some(text) } else { None };
            atags.iter().filter_map(text).last()
        });
        CommandLine::new(tags.or_else(|| self.tree.bootargs()).unwrap_or_default())
    }

    /// Board revision, from the tag list.
    #[must_use]
    pub fn revision(&self) -> Option<u32> {
        let revision = |tag| if let Atag::Revision(n) = tag { Some(n) } else { None };
        self.atags()?.iter().find_map(revision)
    }

    /// Board serial number, from the tag list.
    #[must_use]
    pub fn serial(&self) -> Option<u64> {
        let serial = |tag| if let Atag::Serial(n) = tag { Some(n) } else { None };
        self.atags()?.iter().find_map(serial)
    }
}
