//! CMA areas: declaring the default one, and turning reserved memory into one.
//!
//! ```text
//! cma=8M                  anywhere below the limit, from the top
//! cma=8M@0x84800000       there or not at all (base + size = limit)
//! cma=8M@0x82000000-0x84000000   from the top of the window
//! ```
//!
//! Era: 6.1. The command line beats the tree's `linux,cma-default`; a fixed base that is not 4 MiB aligned is
//! refused (4.9 rounds it up); a size beyond the limit has a message of its own.
//!
//! All sums wrap at 32 bits as `phys_addr_t` does, because absurd values must end where they end in Linux.
//!
//! Source: Linux 6.1 `kernel/dma/contiguous.c`, `mm/cma.c`.

use crate::list::{List, Slot};
use crate::lowmem::Lowmem;
use core::fmt;
use dt::CmaParam;
use mm::memblock::Memblock;
use types::{PAGE_SIZE, PAGEBLOCK_PAGES, PhysAddr, PhysRange};

/// How many areas there can be.
pub const MAX_CMA_AREAS: usize = 8;
/// What base and size of an area are multiples of: a pageblock, 4 MiB.
pub const CMA_ALIGNMENT: u32 = PAGEBLOCK_PAGES * PAGE_SIZE;
/// Linux's name of the default area when it comes from the command line or the configuration.
pub const DEFAULT_AREA_NAME: &str = "reserved";

/// A range that the page allocator is to use for movable pages until a driver asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaArea<'a> {
    /// [`DEFAULT_AREA_NAME`], or the name of the node under `/reserved-memory`.
    pub name: &'a str,
    /// Where. It is reserved in memblock, but a fixed area need not be RAM.
    pub range: PhysRange,
    /// Pages that one bit of its bitmap stands for, as an order.
    pub order_per_bit: u8,
}

/// Why there is no area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CmaError {
    /// All areas are in use.
    NoSlots,
    /// An area of nothing.
    Empty,
    /// The fixed base, or base and size of reserved memory, are not multiples of 4 MiB.
    Misaligned(PhysRange),
    /// A fixed area crosses the end of lowmem.
    CrossesHighmem {
        /// The area.
        area: PhysRange,
        /// The end of lowmem.
        highmem: PhysAddr,
    },
    /// More than fits below the limit.
    ExceedsLimit {
        /// The area, its base where the search would start.
        area: PhysRange,
        /// The end of what is allowed.
        limit: PhysAddr,
    },
    /// The fixed area is in use already, or can't be recorded.
    Busy(PhysRange),
    /// No free range fits.
    NoSpace {
        /// Bytes asked for, rounded.
        size: u32,
    },
    /// The range to be made an area is not reserved.
    NotReserved(PhysRange),
}

impl fmt::Display for CmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cma: ")?;
        match self {
            Self::NoSlots => write!(f, "more than {MAX_CMA_AREAS} areas"),
            Self::Empty => f.write_str("an area of no size"),
            Self::Misaligned(range) => write!(f, "{range} is not aligned to {CMA_ALIGNMENT:#x}"),
            Self::CrossesHighmem { area, highmem } => write!(f, "{area} crosses the end of lowmem {highmem}"),
            Self::ExceedsLimit { area, limit } => write!(f, "{area} exceeds the limit {limit}"),
            Self::Busy(range) => write!(f, "{range} is in use"),
            Self::NoSpace { size } => write!(f, "no free range for {size:#x} bytes"),
            Self::NotReserved(range) => write!(f, "{range} is not reserved"),
        }
    }
}

impl core::error::Error for CmaError {}

/// The areas of a boot, in the order in which they came to be.
#[derive(Clone, Copy, Debug)]
pub struct CmaAreas<'a> {
    areas: List<CmaArea<'a>, MAX_CMA_AREAS>,
    default: Option<usize>,
    failure: Slot<CmaError>,
}

impl Default for CmaAreas<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> CmaAreas<'a> {
    /// No areas.
    #[must_use]
    pub const fn new() -> Self {
        Self { areas: List::new(), default: None, failure: Slot::Empty }
    }

    /// The areas.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &CmaArea<'a>> {
        self.areas.iter()
    }

    /// The area at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&CmaArea<'a>> {
        self.areas.get(index)
    }

    /// The index of the area that devices without their own use.
    #[must_use]
    pub const fn default_index(&self) -> Option<usize> {
        self.default
    }

    /// The area that devices without their own use.
    #[must_use]
    pub fn default_area(&self) -> Option<&CmaArea<'a>> {
        self.areas.get(self.default?)
    }

    /// Why the default area that was asked for is not there.
    #[must_use]
    pub fn default_failure(&self) -> Option<CmaError> {
        self.failure.item().copied()
    }

    /// Pages in all areas (`totalcma_pages`).
    #[must_use]
    pub fn total_pages(&self) -> u32 {
        self.iter().fold(0u32, |sum, area| sum.wrapping_add(area.range.size() / PAGE_SIZE))
    }

    pub(crate) const fn set_default(&mut self, index: usize) {
        self.default = Some(index);
    }

    /// The default area of the command line or of the configuration, unless the tree has given one
    /// (`dma_contiguous_reserve`). `dma_limit` is the last byte that devices reach. Failing is not fatal and has been
    /// logged.
    pub(crate) fn reserve_default(
        &mut self,
        memblock: &mut Memblock<'_>,
        lowmem: &Lowmem,
        (given, built_in): (Option<CmaParam>, u32),
        dma_limit: Option<PhysAddr>,
    ) {
        let given = given.filter(CmaParam::is_given);
        let mut request = given.map_or(Request::anywhere(built_in), |param| Request::from_param(&param));
        request.limit = request.limit.min(dma_limit.map_or(u32::MAX, PhysAddr::get));
        if request.size == 0 || self.default.is_some() {
            return;
        }
        match self.declare(memblock, lowmem, request) {
            Ok(index) => self.default = Some(index),
            Err(error) => {
                self.failure = Slot::Full(error);
                if error != CmaError::NoSlots {
                    log::error!("cma: Failed to reserve {} MiB", request.rounded_size() >> 20);
                }
            }
        }
    }

    /// Finds and reserves room, and makes it an area (`cma_declare_contiguous`).
    fn declare(
        &mut self,
        memblock: &mut Memblock<'_>,
        lowmem: &Lowmem,
        request: Request,
    ) -> Result<usize, CmaError> {
        log::debug!("cma: cma_declare_contiguous_nid({request})");
        if self.areas.is_full() {
            return Err(no_slots());
        }
        let request = request.checked(memblock.end_of_dram().get(), lowmem.limit().get())?;
        let range = request.reserve(memblock, lowmem.limit().get())?;
        let index =
            self.init_reserved(memblock, range, request.size, DEFAULT_AREA_NAME).inspect_err(|_| {
                crate::note(memblock.free(range));
            })?;
        log::info!("cma: Reserved {} MiB at {}", request.size >> 20, range.base());
        Ok(index)
    }

    /// Makes reserved memory an area (`cma_init_reserved_mem`). Linux asks that the range *overlaps* what is
    /// reserved, no more. `size` is what was asked for: the range is shorter where it would pass the end of the
    /// space, which Linux lets through here and stops at activation, because no such memory exists.
    pub(crate) fn init_reserved(
        &mut self,
        memblock: &Memblock<'_>,
        range: PhysRange,
        size: u32,
        name: &'a str,
    ) -> Result<usize, CmaError> {
        if self.areas.is_full() {
            return Err(no_slots());
        }
        if range.is_empty() {
            return Err(CmaError::Empty);
        }
        if !memblock.is_region_reserved(range) {
            return Err(CmaError::NotReserved(range));
        }
        if !(range.base().get() | size).is_multiple_of(CMA_ALIGNMENT) {
            return Err(CmaError::Misaligned(range));
        }
        self.areas.push(CmaArea { name, range, order_per_bit: 0 }).map_err(|_| no_slots())
    }
}

fn no_slots() -> CmaError {
    log::error!("cma: Not enough slots for CMA reserved regions!");
    CmaError::NoSlots
}

/// What is asked of [`CmaAreas::declare`].
#[derive(Clone, Copy)]
struct Request {
    size: u32,
    base: u32,
    limit: u32,
    fixed: bool,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, base, limit, .. } = self;
        write!(f, "size {size:#010x}, base {base:#010x}, limit {limit:#010x} alignment 0x00000000")
    }
}

const fn round_up(x: u32) -> u32 {
    x.wrapping_add(CMA_ALIGNMENT - 1) & !(CMA_ALIGNMENT - 1)
}

impl Request {
    const fn anywhere(size: u32) -> Self {
        Self { size, base: 0, limit: u32::MAX, fixed: false }
    }

    fn from_param(param: &CmaParam) -> Self {
        let limit = if param.limit() == 0 { u32::MAX } else { param.limit() };
        Self { size: param.size, base: param.base(), limit, fixed: param.is_fixed() }
    }

    /// The size as messages have it: a fixed base that is refused is refused before rounding.
    fn rounded_size(&self) -> u32 {
        if self.fixed && !self.base.is_multiple_of(CMA_ALIGNMENT) { self.size } else { round_up(self.size) }
    }

    fn range(&self) -> PhysRange {
        PhysRange::new(PhysAddr::new(self.base), self.size)
    }

    /// Rounds, and refuses what can't be.
    fn checked(self, end_of_dram: u32, highmem: u32) -> Result<Self, CmaError> {
        let base = PhysAddr::new(self.base);
        if self.fixed && !base.is_aligned(CMA_ALIGNMENT) {
            log::error!("cma: Region at {base} must be aligned to {CMA_ALIGNMENT:#010x} bytes");
            return Err(CmaError::Misaligned(self.range()));
        }
        let mut it = Self { base: round_up(self.base), size: round_up(self.size), ..self };
        it.limit &= !(CMA_ALIGNMENT - 1);
        it.fixed &= it.base != 0;
        let (base, end) = (PhysAddr::new(it.base), it.base.wrapping_add(it.size));
        if it.fixed && it.base < highmem && end > highmem {
            log::error!("cma: Region at {base} defined on low/high memory boundary ({highmem:#010x})");
            return Err(CmaError::CrossesHighmem { area: it.range(), highmem: PhysAddr::new(highmem) });
        }
        if it.limit == 0 || it.limit > end_of_dram {
            it.limit = end_of_dram;
        }
        if end > it.limit {
            let limit = PhysAddr::new(it.limit);
            log::error!("cma: Size ({:#010x}) of region at {base} exceeds limit ({limit})", it.size);
            return Err(CmaError::ExceedsLimit { area: it.range(), limit });
        }
        Ok(it)
    }

    /// Reserves a fixed area where it is, which need not be RAM; else finds one, in highmem first if the window
    /// reaches into it. An explicit end makes memory above the current limit eligible.
    fn reserve(&self, memblock: &mut Memblock<'_>, highmem: u32) -> Result<PhysRange, CmaError> {
        if self.fixed {
            let range = self.range();
            let free = !memblock.is_region_reserved(range) && memblock.reserve(range).is_ok();
            return if free { Ok(range) } else { Err(CmaError::Busy(range)) };
        }
        let mut find = |start, end| memblock.phys_alloc_range(self.size, CMA_ALIGNMENT, start, end);
        let mut limit = self.limit;
        if self.base < highmem && limit > highmem {
            if let Ok(range) = find(highmem, limit) {
                return Ok(range);
            }
            limit = highmem;
        }
        find(self.base, limit).map_err(|_| CmaError::NoSpace { size: self.size })
    }
}
