//! Allocation flags and migratetypes, with Linux 6.1's bit values (`include/linux/gfp_types.h`), so that the
//! `mode:0xcc0(GFP_KERNEL)` of a failure report reads as people know it.

use bitflags::bitflags;

bitflags! {
    /// How an allocation may behave and what memory it may take.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Gfp: u32 {
        /// From zone DMA.
        const __DMA = 0x01;
        /// Highmem will do.
        const __HIGHMEM = 0x02;
        /// The owner can move the pages.
        const __MOVABLE = 0x08;
        /// The owner can give the pages back on request.
        const __RECLAIMABLE = 0x10;
        /// May use half of the reserve below the minimum watermark.
        const __HIGH = 0x20;
        /// May start I/O.
        const __IO = 0x40;
        /// May call into file systems.
        const __FS = 0x80;
        /// Zeroed.
        const __ZERO = 0x100;
        /// Can't sleep and is important.
        const __ATOMIC = 0x200;
        /// May reclaim by itself, and so may sleep.
        const __DIRECT_RECLAIM = 0x400;
        /// May wake background reclaim.
        const __KSWAPD_RECLAIM = 0x800;
        /// No report on failure.
        const __NOWARN = 0x2000;
        /// Try hard, then fail.
        const __RETRY_MAYFAIL = 0x4000;
        /// Must not fail.
        const __NOFAIL = 0x8000;
        /// Fail rather than try hard.
        const __NORETRY = 0x1_0000;
        /// May use all of the reserves: the allocation will free memory.
        const __MEMALLOC = 0x2_0000;
        /// A compound page, freed as a whole.
        const __COMP = 0x4_0000;
        /// Never use the reserves.
        const __NOMEMALLOC = 0x8_0000;
        /// Within the allowed nodes; only for the printed form.
        const __HARDWALL = 0x10_0000;

        /// Important, from a context that can't sleep.
        const ATOMIC = Self::__HIGH.bits() | Self::__ATOMIC.bits() | Self::__KSWAPD_RECLAIM.bits();
        /// The usual allocation of the kernel itself; may sleep.
        const KERNEL = Self::__DIRECT_RECLAIM.bits() | Self::__KSWAPD_RECLAIM.bits() | Self::__IO.bits()
            | Self::__FS.bits();
        /// Can't sleep, can fail.
        const NOWAIT = Self::__KSWAPD_RECLAIM.bits();
        /// From zone DMA.
        const DMA = Self::__DMA.bits();
        /// For user space.
        const USER = Self::KERNEL.bits() | Self::__HARDWALL.bits();
        /// For user space, highmem will do.
        const HIGHUSER = Self::USER.bits() | Self::__HIGHMEM.bits();
        /// For user space, highmem will do, the owner can move it.
        const HIGHUSER_MOVABLE = Self::HIGHUSER.bits() | Self::__MOVABLE.bits();
    }
}

impl Gfp {
    /// Whether the caller may sleep.
    #[must_use]
    pub const fn may_block(self) -> bool {
        self.contains(Self::__DIRECT_RECLAIM)
    }

    /// The migratetype that the request is served from (`gfp_migratetype`).
    #[must_use]
    pub const fn migratetype(self) -> MigrateType {
        if self.contains(Self::__RECLAIMABLE) {
            MigrateType::Reclaimable
        } else if self.contains(Self::__MOVABLE) {
            MigrateType::Movable
        } else {
            MigrateType::Unmovable
        }
    }
}

/// What kind of pages a pageblock holds; the numbers are Linux's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum MigrateType {
    /// Nobody can move them.
    Unmovable = 0,
    /// Their owner can move them.
    Movable = 1,
    /// Their owner can give them back.
    Reclaimable = 2,
    /// A reserve for atomic requests of order 1 and more.
    HighAtomic = 3,
    /// A CMA area: movable pages only, until a driver takes the range (invariant 3).
    Cma = 4,
    /// Being taken out of use: free pages here can't be allocated.
    Isolate = 5,
}

impl MigrateType {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All, in Linux's order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Unmovable, Self::Movable, Self::Reclaimable, Self::HighAtomic, Self::Cma, Self::Isolate];

    /// The name as `/proc/pagetypeinfo` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmovable => "Unmovable",
            Self::Movable => "Movable",
            Self::Reclaimable => "Reclaimable",
            Self::HighAtomic => "HighAtomic",
            Self::Cma => "CMA",
            Self::Isolate => "Isolate",
        }
    }
}
