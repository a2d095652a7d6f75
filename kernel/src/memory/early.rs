//! memblock and the final tables.

use crate::bootdata::Found;
use crate::paging::{self, Table};
use crate::symbols;
use arch_armv7::cpu::IrqLock;
use arch_armv7::early::map_lowmem;
use arch_armv7::linear::Linear;
use boot::BootInfo;
use boot::layout::PAGE_OFFSET;
use core::cell::RefCell;
use core::fmt;
use dt::CommandLine;
use hal::{LinearMap, TablePages};
use mm::memblock::{INIT_REGIONS, Memblock, Region, TableMemory};
use setup::{BootFacts, DEFAULT_CMA_SIZE, EarlyMemoryError, MemorySetup};
use spin::{Mutex, MutexGuard};
use types::{PAGE_SIZE, PhysAddr, PhysRange, SECTION_SIZE};

/// Bytes of the heap that serves until the slab allocator does.
const BOOT_HEAP_SIZE: u32 = 64 << 10;

static MEMORY: Mutex<[Region; INIT_REGIONS]> = Mutex::new([Region::EMPTY; INIT_REGIONS]);
/// Linux has room for 128 reservations until memblock can grow, and leaves the 129th unprotected without a word. Here is
/// more room; what fits into Linux's is placed as Linux places it.
const RESERVED_REGIONS: usize = 2 * INIT_REGIONS;
static RESERVED: Mutex<[Region; RESERVED_REGIONS]> = Mutex::new([Region::EMPTY; RESERVED_REGIONS]);
static SETUP: Mutex<MemorySetup<'static>> = Mutex::new(MemorySetup::new());

/// What is known of memory before the page allocator, and stays readable afterwards.
pub struct Early {
    /// RAM and reservations.
    pub memblock: Memblock<'static>,
    /// The linear map.
    pub linear: Linear,
    /// CMA areas, regions by name, bounds.
    pub setup: &'static mut MemorySetup<'static>,
}

/// See [`Early`]; `None` before [`init`].
pub static EARLY: IrqLock<Option<Early>> = IrqLock::new(None);

/// Why the kernel can't go on.
#[derive(Debug)]
pub enum EarlyError {
    /// No RAM.
    Memory(EarlyMemoryError),
    /// Not enough RAM for `bytes` bytes of `what`.
    Lacking {
        /// Bytes.
        bytes: u32,
        /// What they are for.
        what: &'static str,
    },
    /// The final tables can't be built.
    Tables(arch_armv7::kmap::PlanError<arch_armv7::kmap::InstallError>),
    /// No memory map for this memory.
    MemoryMap(mm::pages::MapError),
    /// No vmalloc area.
    Vmalloc(mm::vmalloc::VmallocError),
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Lacking { bytes, what } => {
                write!(f, "not enough memory: {} KiB for {what}", bytes.div_ceil(1024))
            }
            Self::Tables(error) => error.fmt(f),
            Self::MemoryMap(error) => error.fmt(f),
            Self::Vmalloc(error) => error.fmt(f),
        }
    }
}

/// Memory reached through the linear map, for growing memblock's tables.
struct Grow(Linear);

impl TableMemory<'static> for Grow {
    fn array(&mut self, range: PhysRange, entries: usize) -> Option<&'static mut [Region]> {
        let start = self.0.ptr(range.base()).cast::<Region>();
        // SAFETY: memblock reserved the range, page-aligned and mapped, for this array alone (`TableMemory`); it is
        // filled before a reference is made.
        unsafe {
            for entry in 0..entries {
                start.add(entry).write(Region::EMPTY);
            }
            Some(core::slice::from_raw_parts_mut(start, entries))
        }
    }
}

static GROW: Mutex<Option<Grow>> = Mutex::new(None);

/// From the boot data to final tables and a boot heap.
///
/// # Errors
/// [`EarlyError`], for the last line before the kernel stops.
#[inline(never)]
// SAFETY: boot-only code: `free_init` gives that section back when all of this has run.
#[unsafe(link_section = ".init.text")]
pub fn init(
    info: &BootInfo,
    found: &Found,
    command_line: CommandLine<'static>,
) -> Result<(Early, Table), EarlyError> {
    let phys_offset = PhysAddr::new(info.phys_offset);
    let (memory, reserved) = (MutexGuard::leak(MEMORY.lock()), MutexGuard::leak(RESERVED.lock()));
    let mut memblock = Memblock::new(memory, reserved);
    let setup = MutexGuard::leak(SETUP.lock());
    let facts = BootFacts {
        phys_offset,
        kernel: image(phys_offset),
        dtb: Some(found.tree()).filter(|range| !range.is_empty()),
        boot: found.data,
        command_line,
        highmem: true,
        cma_size: DEFAULT_CMA_SIZE,
    };
    setup::early_memory(&facts, &mut memblock, setup).map_err(EarlyError::Memory)?;
    let (table, linear) = install_tables(&mut memblock, setup, phys_offset, found)?;
    log::info!("Memory policy: Data cache writealloc");
    setup.lowmem.mapped(&mut memblock);
    let grow = MutexGuard::leak(GROW.lock()).insert(Grow(linear));
    memblock.allow_resize(grow);
    start_boot_heap(&mut memblock, linear)?;
    Ok((Early { memblock, linear, setup }, table))
}

/// `_stext` to `_end`, in physical memory.
fn image(phys_offset: PhysAddr) -> PhysRange {
    let phys = |virt: types::VirtAddr| PhysAddr::new(virt.get() - PAGE_OFFSET + phys_offset.get());
    PhysRange::from_bounds(phys(symbols::text()), phys(symbols::end()))
}

fn install_tables(
    memblock: &mut Memblock<'static>,
    setup: &MemorySetup<'static>,
    phys_offset: PhysAddr,
    found: &Found,
) -> Result<(Table, Linear), EarlyError> {
    setup.lowmem.ranges(memblock).for_each(|range| map_lowmem(phys_offset, range));
    let size = setup.lowmem.limit().get() - phys_offset.get();
    // SAFETY: `map_lowmem` has mapped whole sections, where `memblock` gives memory for the tables from; from then
    // on all of lowmem is mapped, and what isn't memory is nobody's to reach.
    let linear = unsafe { Linear::new(phys_offset, size) };
    // The plan asks for the next range and for memory in turns. Reserving memory does not change the ranges of it.
    let shared = RefCell::new(&mut *memblock);
    let ranges = (0..).map_while(|nth| setup.lowmem.ranges(&shared.borrow()).nth(nth));
    let mut alloc = |size, align| mapped_alloc(&mut shared.borrow_mut(), size, align);
    // SAFETY: early boot, interrupts are masked and the other CPUs parked; memblock gives memory once.
    let (mut table, scratch) =
        unsafe { paging::install(linear, found, ranges, &mut alloc) }.map_err(EarlyError::Tables)?;
    // It was allocated just now, so it is in the table.
    let _ = memblock.free(scratch);
    while let Some(page) = table.reclaim() {
        let _ = memblock.free(PhysRange::new(page.addr(), PAGE_SIZE));
    }
    Ok((table, linear))
}

/// Memory in a whole section of lowmem: the early tables map nothing smaller.
fn mapped_alloc(memblock: &mut Memblock<'_>, size: u32, align: u32) -> Option<PhysAddr> {
    let fits = |range: PhysRange| -> Option<(u32, u32)> {
        let start = range.base().align_up(SECTION_SIZE)?.get();
        let end = range.end().align_down(SECTION_SIZE).get().min(memblock.current_limit().get());
        (end > start).then_some((start, end))
    };
    let windows = memblock.mapped_ranges().filter_map(fits);
    let found = windows.filter_map(|(start, end)| memblock.find_in_range(start, end, size, align)).last()?;
    memblock.reserve(PhysRange::new(found, size)).ok()?;
    Some(found)
}

fn start_boot_heap(memblock: &mut Memblock<'_>, linear: Linear) -> Result<(), EarlyError> {
    let lacking = EarlyError::Lacking { bytes: BOOT_HEAP_SIZE, what: "the boot heap" };
    let heap = memblock.phys_alloc(BOOT_HEAP_SIZE, PAGE_SIZE).map_err(|_| lacking)?;
    // SAFETY: memblock gave it, it is mapped, and nobody frees it.
    unsafe { crate::heap::init(linear.ptr(heap.base()), heap.size() as usize) };
    Ok(())
}
