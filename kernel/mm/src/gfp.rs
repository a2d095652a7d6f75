//! Allocation flags and migratetypes, with Linux 6.1's bit values (`include/linux/gfp_types.h`), so that the
//! `mode:0xcc0(GFP_KERNEL)` of a failure report reads as people know it.

use bitflags::bitflags;
use core::fmt;

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
        /// May reclaim, but starts no I/O.
        const NOIO = Self::__DIRECT_RECLAIM.bits() | Self::__KSWAPD_RECLAIM.bits();
        /// May reclaim and start I/O, but stays out of file systems.
        const NOFS = Self::NOIO.bits() | Self::__IO.bits();
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

/// The names in the order in which Linux's `%pGg` looks for them: what one name covers is not named again.
const NAMES: &[(Gfp, &str)] = &[
    (Gfp::HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
    (Gfp::HIGHUSER, "GFP_HIGHUSER"),
    (Gfp::USER, "GFP_USER"),
    (Gfp::KERNEL, "GFP_KERNEL"),
    (Gfp::NOFS, "GFP_NOFS"),
    (Gfp::ATOMIC, "GFP_ATOMIC"),
    (Gfp::NOIO, "GFP_NOIO"),
    (Gfp::NOWAIT, "GFP_NOWAIT"),
    (Gfp::DMA, "GFP_DMA"),
    (Gfp::__HIGHMEM, "__GFP_HIGHMEM"),
    (Gfp::__HIGH, "__GFP_HIGH"),
    (Gfp::__ATOMIC, "__GFP_ATOMIC"),
    (Gfp::__IO, "__GFP_IO"),
    (Gfp::__FS, "__GFP_FS"),
    (Gfp::__NOWARN, "__GFP_NOWARN"),
    (Gfp::__RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"),
    (Gfp::__NOFAIL, "__GFP_NOFAIL"),
    (Gfp::__NORETRY, "__GFP_NORETRY"),
    (Gfp::__COMP, "__GFP_COMP"),
    (Gfp::__ZERO, "__GFP_ZERO"),
    (Gfp::__NOMEMALLOC, "__GFP_NOMEMALLOC"),
    (Gfp::__MEMALLOC, "__GFP_MEMALLOC"),
    (Gfp::__HARDWALL, "__GFP_HARDWALL"),
    (Gfp::__RECLAIMABLE, "__GFP_RECLAIMABLE"),
    (Gfp::__MOVABLE, "__GFP_MOVABLE"),
    (Gfp::__DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
    (Gfp::__KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM"),
];

impl fmt::Display for Gfp {
    /// `GFP_KERNEL|__GFP_ZERO`, as Linux's `%pGg`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        for &(mask, name) in NAMES {
            if rest.contains(mask) {
                f.write_str(name)?;
                rest -= mask;
                if !rest.is_empty() {
                    f.write_str("|")?;
                }
            }
        }
        if rest.is_empty() { Ok(()) } else { write!(f, "{:#x}", rest.bits()) }
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

    /// The letter in the free-area line of a failure report.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Unmovable => 'U',
            Self::Movable => 'M',
            Self::Reclaimable => 'E',
            Self::HighAtomic => 'H',
            Self::Cma => 'C',
            Self::Isolate => 'I',
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_as_linux_does() {
        assert_eq!(Gfp::KERNEL.bits(), 0xcc0);
        assert_eq!(Gfp::KERNEL.to_string(), "GFP_KERNEL");
        assert_eq!(Gfp::ATOMIC.bits(), 0xa20);
        assert_eq!((Gfp::ATOMIC | Gfp::__COMP).to_string(), "GFP_ATOMIC|__GFP_COMP");
        assert_eq!(Gfp::HIGHUSER_MOVABLE.bits(), 0x10_0cca);
        assert_eq!((Gfp::HIGHUSER_MOVABLE | Gfp::__ZERO).to_string(), "GFP_HIGHUSER_MOVABLE|__GFP_ZERO");
        assert_eq!((Gfp::NOWAIT | Gfp::__NOWARN).to_string(), "GFP_NOWAIT|__GFP_NOWARN");
        assert_eq!(Gfp::empty().to_string(), "");
        assert_eq!(Gfp::from_bits_retain(0x8000_0cc0).to_string(), "GFP_KERNEL|0x80000000");
    }

    #[test]
    fn migratetype_of_a_request() {
        assert_eq!(Gfp::KERNEL.migratetype(), MigrateType::Unmovable);
        assert_eq!(Gfp::HIGHUSER_MOVABLE.migratetype(), MigrateType::Movable);
        assert_eq!((Gfp::KERNEL | Gfp::__RECLAIMABLE).migratetype(), MigrateType::Reclaimable);
    }
}
