//! From memblock to a running page allocator, with Linux's lines on the way.

use super::early::{Early, EarlyError};
use super::hooks::{dump_stack, hooks};
use super::{BUFFERS_DRIVER, Buffers, MM, Mm, options};
use crate::dma::Dma;
use crate::paging::Table;
use crate::{heap, symbols};
use arch_armv7::kmap;
use arch_armv7::linear::Linear;
use core::mem::MaybeUninit;
use core::ops::Range;
use dt::CommandLine;
use hal::LinearMap;
use mm::Page;
use mm::cma::Cma;
use mm::memblock::{Memblock, RegionFlags};
use mm::pages::{Buddy, OwnerRecord, PageAllocator, Setup};
use mm::slab::Slab;
use mm::vmalloc::Vmalloc;
use setup::report::{ImageSizes, Layout, MemoryLine};
use setup::zones::{ZonelistLine, Zones};
use types::{PAGE_SIZE, Pfn, PhysRange, VirtAddr};

/// Bytes of the stacks that the linker script lays out, without the guard pages below them.
fn kernel_stacks() -> u32 {
    symbols::overflow_stack_top().get() - symbols::boot_stack_guard().get() - 2 * PAGE_SIZE
}

/// CPUs that run kernel code; the others are parked.
const CPUS: u32 = 1;

/// Hands all free memory over to the page allocator, and the heap to the slab allocator.
///
/// # Errors
/// [`EarlyError`], for the last line before the kernel stops.
#[inline(never)]
pub fn start(early: &mut Early, mut table: Table, command_line: &CommandLine<'_>) -> Result<(), EarlyError> {
    let linear = early.linear;
    let memblock = &mut early.memblock;
    let zones = Zones::of(memblock, early.setup.dma_limit);
    zones.log(memblock);
    let slab = place::<Slab<Linear>>(memblock, linear, "the slab allocator")?;
    let cma = place::<Cma<'_>>(memblock, linear, "CMA")?;
    let pages = page_allocator(memblock, &zones, linear, options::page_owner(command_line))?;
    let buddy = pages.buddy();
    log::info!("{}", ZonelistLine { grouping: buddy.grouping(), total_pages: buddy.total_pages() });
    log::info!("Kernel command line: {command_line}");
    let unknown = command_line.unknown(dt::is_known);
    if !unknown.is_empty() {
        log::info!("{unknown}");
    }
    log_memory(early, pages.buddy());
    keep(&mut table, core::ptr::from_ref(pages).addr() as u32);
    pages.stat_mut().nr_kernel_stack = kernel_stacks() / 1024;
    options::apply(command_line, pages);
    let bounds = (early.setup.lowmem.vmalloc_start(), VirtAddr::new(kmap::VMALLOC_END));
    let mut vmalloc = Vmalloc::new(linear, pages, bounds.0, bounds.1).map_err(EarlyError::Vmalloc)?;
    vmalloc.set_dump_stack(dump_stack);
    let atomic_pool = options::coherent_pool(command_line);
    let config =
        dma::Config { atomic_pool, dma_end: zones.max_dma_pfn.map(Pfn::new), ..dma::Config::default() };
    let dma = Dma::new(config);
    MM.install(Mm {
        pages,
        slab: Slab::new_in(slab, linear, options::slab(command_line)),
        vmalloc,
        cma: cma.write(Cma::default()),
        default_cma: None,
        dma,
        spaces: None,
        buffers: Buffers::new(linear, &mut [], BUFFERS_DRIVER),
        pkmap: None,
        table,
        linear,
    });
    heap::use_slab();
    crate::log::grow();
    crate::tracing::memory_is_up(command_line);
    Ok(())
}

/// What changing the tables itself needs stays mapped while they change: the page allocator and the boot heap, and nothing
/// between them, where a CMA area may be.
#[inline(never)]
// SAFETY: boot-only code, as `early::init`.
#[unsafe(link_section = ".init.text")]
fn keep(table: &mut Table, pages: u32) {
    let heap = heap::boot_heap();
    for Range { start, end } in [pages..pages + size_of::<PageAllocator<'_>>() as u32, heap] {
        if !table.keep(VirtAddr::new(start), VirtAddr::new(end - 1)) {
            log::error!("kmap: no room for another range that stays mapped");
        }
    }
}

/// Ranges of the memory table; neighbours that differ in flags only are apart.
fn ranges<'m>(memblock: &'m Memblock<'_>) -> impl Iterator<Item = PhysRange> + Clone + use<'m> {
    memblock.memory().regions().iter().map(|region| region.range())
}

#[inline(never)]
fn page_allocator(
    memblock: &mut Memblock<'_>,
    zones: &Zones,
    linear: Linear,
    owned: bool,
) -> Result<&'static mut PageAllocator<'static>, EarlyError> {
    let reach = place(memblock, linear, "the linear map")?.write(linear);
    let Metadata { records: metadata, owners, slot } = Metadata::of(memblock, linear, owned)?;
    let first = Pfn::new(zones.min_low_pfn);
    let highmem = zones.max_pfn > zones.max_low_pfn;
    let from = Setup {
        memory: ranges(memblock),
        free: memblock.free_ranges(RegionFlags::empty()),
        dma_end: zones.max_dma_pfn.map(Pfn::new),
        highmem_start: highmem.then_some(Pfn::new(zones.max_low_pfn)),
        cpus: CPUS,
    };
    let hooks = hooks(metadata.as_ptr().cast(), first);
    let pages = PageAllocator::new_in(slot, from, metadata, reach, hooks).map_err(EarlyError::MemoryMap)?;
    let nomap = |region: &&mm::memblock::Region| region.flags().contains(RegionFlags::NOMAP);
    for region in memblock.memory().regions().iter().filter(nomap) {
        pages.buddy_mut().set_nomap(region.range());
    }
    if let Some(owners) = owners {
        pages.set_page_owner(no_owners(owners));
    }
    Ok(pages)
}

/// Where the page allocator and its records lie.
struct Metadata {
    records: &'static mut [MaybeUninit<Page>],
    owners: Option<&'static mut [MaybeUninit<OwnerRecord>]>,
    slot: &'static mut MaybeUninit<PageAllocator<'static>>,
}

impl Metadata {
    /// All of it, from memblock, whose free memory changes hands afterwards.
    #[inline(never)]
    fn of(memblock: &mut Memblock<'_>, linear: Linear, owned: bool) -> Result<Self, EarlyError> {
        let layout = PageAllocator::layout(ranges(memblock)).map_err(EarlyError::MemoryMap)?;
        let len = layout.records();
        let lacking = |what| move |bytes| EarlyError::Lacking { bytes, what };
        let records = array(memblock, linear, len).map_err(lacking("the memory map"))?;
        let owners =
            owned.then(|| array(memblock, linear, len)).transpose().map_err(lacking("page_owner"))?;
        Ok(Self { records, owners, slot: place(memblock, linear, "the page allocator")? })
    }
}

/// Memory for a value of several KiB, which is built there: a kernel stack is small.
fn place<T: 'static>(
    memblock: &mut Memblock<'_>,
    linear: Linear,
    what: &'static str,
) -> Result<&'static mut MaybeUninit<T>, EarlyError> {
    let lacking = |bytes| EarlyError::Lacking { bytes, what };
    let place = array(memblock, linear, 1).map_err(lacking)?.first_mut();
    place.ok_or(lacking(size_of::<T>() as u32))
}

/// Memory for `len` values that lasts for good; how many bytes are lacking otherwise.
fn array<T: 'static>(
    memblock: &mut Memblock<'_>,
    linear: Linear,
    len: usize,
) -> Result<&'static mut [MaybeUninit<T>], u32> {
    let bytes = (len * size_of::<T>()) as u32;
    let align = (align_of::<T>() as u32).max(16);
    let range = memblock.phys_alloc(bytes, align).map_err(|_| bytes)?;
    // SAFETY: memblock gave this lowmem to nobody else, it is mapped and aligned, and nobody frees it; contents of
    // any kind make a `MaybeUninit`.
    Ok(unsafe { core::slice::from_raw_parts_mut(linear.ptr(range.base()).cast(), len) })
}

fn no_owners(records: &'static mut [MaybeUninit<OwnerRecord>]) -> &'static mut [OwnerRecord] {
    records.fill_with(|| MaybeUninit::new(OwnerRecord::default()));
    // SAFETY: all of them were just initialised.
    unsafe { records.assume_init_mut() }
}

/// Free memory, in KiB, that the kernel's own tests, user memory and drivers can be expected to do with: what 8 MiB of RAM
/// leave, roughly.
const ENOUGH: u32 = 4096;

/// What is said when there is less than [`ENOUGH`].
pub struct Lacking {
    free: u32,
}

impl Lacking {
    /// `None` when there is enough.
    pub fn of(buddy: &Buddy<'_>) -> Option<Self> {
        let free = buddy.free_page_count() * (PAGE_SIZE / 1024);
        (free < ENOUGH).then_some(Self { free })
    }
}

impl core::fmt::Display for Lacking {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let lacking = ENOUGH - self.free;
        write!(f, "{}K free, {ENOUGH}K are needed: {lacking}K are lacking", self.free)
    }
}

/// `Memory: …` and the layout of the kernel's address space.
fn log_memory(early: &Early, buddy: &Buddy<'_>) {
    let bytes = |from: VirtAddr, to: VirtAddr| to.get() - from.get();
    let image = ImageSizes {
        code: bytes(symbols::text(), symbols::etext()),
        rwdata: bytes(symbols::data(), symbols::edata()),
        rodata: bytes(symbols::rodata(), symbols::rodata_end()),
        init: bytes(symbols::init_begin(), symbols::init_end()),
        bss: bytes(symbols::bss_start(), symbols::bss_stop()),
    };
    let highmem = buddy.zone(mm::pages::ZoneKind::HighMem);
    let highmem = (highmem.present() > 0).then(|| highmem.managed());
    let line = MemoryLine {
        free: buddy.free_page_count(),
        physical: early.memblock.memory().total_size() / PAGE_SIZE,
        total: buddy.managed_pages(),
        cma: early.setup.cma.total_pages(),
        highmem,
        image,
    };
    log::info!("{line}");
    if let Some(lacking) = Lacking::of(buddy) {
        log::warn!("Memory: {lacking}");
    }
    let range = |from: VirtAddr, to: VirtAddr| from.get()..to.get();
    let mut layout = Layout::new(&early.setup.lowmem, highmem.is_some());
    layout.text = range(symbols::text(), symbols::etext());
    layout.init = range(symbols::init_begin(), symbols::init_end());
    layout.data = range(symbols::data(), symbols::edata());
    layout.bss = range(symbols::bss_start(), symbols::bss_stop());
    layout.log();
}
