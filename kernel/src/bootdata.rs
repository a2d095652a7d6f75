//! Finds the boot loader's data and makes it readable: the device tree, the ATAGs, what is appended to the image.
//!
//! ```text
//! r2 = tree in the two boot sections        DT_WINDOW, mapped by start.S
//! r2 = tree that runs out of them           fixmap, device tree slot
//! r2 = ATAGs                                early ioremap, for good
//! behind _end: marker + tree, or a tree     fixmap, device tree slot (start.S moved it there)
//! ```
//!
//! All of it stays readable at the same address when the final tables take over; the memory is the caller's to
//! reserve ([`Found::ranges`]).

use crate::machine::FIXMAP;
use arch_armv7::fixmap::{FixmapError, Slot};
use boot::{BootInfo, Handover, layout, section};
use core::fmt;
use dt::{BootData, Candidates, FDT_MAGIC, NoTree, Source};
use hal::{MemAttr, Prot};
use types::{PhysAddr, PhysRange, VirtAddr};

/// What the boot loader left behind.
pub struct Found {
    /// The tree, with the ATAGs' values in place of its own.
    pub data: BootData<'static>,
    /// Memory that holds it: the tree or ATAGs of r2, what is appended to the image. Empty where there is none.
    pub ranges: [PhysRange; 2],
    /// The tree in the boot sections' window, which the final tables have to keep ([`arch_armv7::kmap::Layout`]).
    pub window: Option<PhysRange>,
}

/// Why the kernel can't go on.
pub enum NoBootData {
    /// No usable tree.
    NoTree(NoTree<'static>),
    /// A tree that can't be mapped.
    Fixmap(FixmapError),
}

impl fmt::Display for NoBootData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTree(error) => error.fmt(f),
            Self::Fixmap(error) => error.fmt(f),
        }
    }
}

impl Found {
    /// The memory that holds the tree, with the marker in front of one in a firmware file.
    #[must_use]
    pub fn tree(&self) -> PhysRange {
        if self.data.source == Source::Passed { self.ranges[0] } else { self.ranges[1] }
    }
}

impl From<FixmapError> for NoBootData {
    fn from(error: FixmapError) -> Self {
        Self::Fixmap(error)
    }
}

/// Looks at r2 and behind the image, in Linux's order.
///
/// # Errors
/// [`NoBootData`], whose `Display` is the line to log.
pub fn find(info: &BootInfo) -> Result<Found, NoBootData> {
    let handover = PhysRange::new(PhysAddr::new(info.r2), info.handover_size);
    let appended = PhysRange::new(PhysAddr::new(info.appended), info.appended_size);
    let in_window =
        info.handover() == Handover::Tree && section::dt_window_holds(info.r2, info.handover_size);
    let passed = match info.handover() {
        Handover::Nothing => None,
        Handover::Tree if in_window => Some(window(handover)),
        Handover::Tree => Some(tree_slot(handover)?),
        Handover::Atags => Some(atags(handover)?),
    };
    // The device tree slot holds one tree, and what r2 points to comes first.
    let slot_taken = info.handover() == Handover::Tree && !in_window;
    let behind = if appended.is_empty() || slot_taken { None } else { Some(tree_slot(appended)?) };
    let plain = behind.filter(|bytes| bytes.starts_with(&FDT_MAGIC.to_be_bytes()));
    let candidates = Candidates { passed, appended: plain, firmware: behind.filter(|_| plain.is_none()) };
    let data = BootData::choose(&candidates).map_err(NoBootData::NoTree)?;
    Ok(Found { data, ranges: [handover, appended], window: in_window.then_some(handover) })
}

/// The bytes of a tree that start.S's two sections hold.
fn window(tree: PhysRange) -> &'static [u8] {
    let virt = VirtAddr::new(section::dt_window_addr(tree.base().get()));
    // SAFETY: start.S mapped the section of r2 and the next there, read-only use from now on, and the whole tree
    // lies in them; the final tables keep the mapping (`Found::window`).
    unsafe { bytes(virt, tree.size()) }
}

/// The bytes of a tree, through the fixmap's slot for it.
fn tree_slot(tree: PhysRange) -> Result<&'static [u8], FixmapError> {
    let virt =
        FIXMAP.lock().map(Slot::DeviceTree, tree.base(), tree.size(), MemAttr::Normal, Prot::empty())?;
    // SAFETY: the slot maps these bytes for good.
    Ok(unsafe { bytes(virt, tree.size()) })
}

/// The bytes of the ATAGs, as many as an early ioremap slot reaches.
fn atags(list: PhysRange) -> Result<&'static [u8], FixmapError> {
    let size = list.size().min(layout::ATAG_SHOWN);
    let mapping = FIXMAP.lock().early_ioremap(list.base(), size, MemAttr::Normal, Prot::empty())?;
    // SAFETY: the mapping is never given back.
    Ok(unsafe { bytes(mapping.virt(), mapping.size()) })
}

/// # Safety
/// `len` bytes from `virt` on are mapped for good, and nobody writes to them.
unsafe fn bytes(virt: VirtAddr, len: u32) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(virt.get() as usize);
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(start, len as usize) }
}
