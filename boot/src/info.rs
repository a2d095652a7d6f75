//! What start.S hands to the kernel.

/// What r2 pointed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handover {
    /// Neither a device tree nor ATAGs.
    Nothing,
    /// A device tree blob.
    Tree,
    /// An ATAG list.
    Atags,
}

/// The boot loader's registers and what start.S found, as it stores them. All addresses are physical.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// r1: the machine number, where the boot loader gave one.
    pub machine: u32,
    /// r2: the device tree or the ATAGs.
    pub r2: u32,
    /// The base of lowmem.
    pub phys_offset: u32,
    kind: u32,
    /// Bytes of the device tree or the ATAGs in r2, as their headers say; 0 when there are none.
    pub handover_size: u32,
    /// Where the marker of an appended tree lies now, behind `_end`.
    pub appended: u32,
    /// Bytes of the marker and the appended tree; 0 when nothing is appended.
    pub appended_size: u32,
    /// Mode bits of CPSR at entry: 0x13 SVC, 0x1a HYP.
    pub entry_mode: u32,
    /// Where the boot loader put the image.
    pub load: u32,
}

impl BootInfo {
    /// What r2 pointed to.
    #[must_use]
    pub const fn handover(&self) -> Handover {
        match self.kind {
            KIND_TREE => Handover::Tree,
            KIND_ATAGS => Handover::Atags,
            _ => Handover::Nothing,
        }
    }

    /// Whether the CPU was entered in HYP mode.
    #[must_use]
    pub const fn entered_hyp(&self) -> bool {
        self.entry_mode == MODE_HYP
    }
}

/// `kind` of a device tree.
pub const KIND_TREE: u32 = 1;
/// `kind` of an ATAG list.
pub const KIND_ATAGS: u32 = 2;
/// CPSR mode bits of Hyp mode.
pub const MODE_HYP: u32 = 0x1a;
/// CPSR mode bits of Supervisor mode.
pub const MODE_SVC: u32 = 0x13;
