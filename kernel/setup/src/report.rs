//! The `Memory:` line and the `Virtual kernel memory layout:` block.
//!
//! Pure formatting of numbers handed in. Era: the line is 6.1's (4.9 has the same form); the block is 4.9's,
//! which later kernels dropped, because the SSD202's log has it.
//!
//! Source: Linux 6.1 `mm/page_alloc.c` (`mem_init_print_info`), the SSD202 document's log.

use crate::facts::{PAGE_OFFSET, VMALLOC_END};
use crate::lowmem::Lowmem;
use core::fmt;
use core::ops::Range;
use mm::pkmap::PKMAP_BASE;
use types::PAGE_SIZE;

const KIB_A_PAGE: u32 = PAGE_SIZE / 1024;

/// Bytes of the parts of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSizes {
    /// `_stext` to `_etext`.
    pub code: u32,
    /// Writable data.
    pub rwdata: u32,
    /// Read-only data.
    pub rodata: u32,
    /// What is freed after initialization.
    pub init: u32,
    /// Zeroed data.
    pub bss: u32,
}

/// `Memory: 96736K/113664K available (…)`. All page counts in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryLine {
    /// Free pages now.
    pub free: u32,
    /// Pages that are memory.
    pub physical: u32,
    /// Pages that the page allocator was given (`totalram_pages`), without CMA.
    pub total: u32,
    /// Pages in CMA areas.
    pub cma: u32,
    /// Pages of highmem given to the allocator; `None` leaves the field out.
    pub highmem: Option<u32>,
    /// The image.
    pub image: ImageSizes,
}

impl fmt::Display for MemoryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageSizes { code, rwdata, rodata, init, bss } = self.image;
        let reserved = self.physical.wrapping_sub(self.total).wrapping_sub(self.cma);
        let kib = |pages: u32| u64::from(pages) * u64::from(KIB_A_PAGE);
        write!(f, "Memory: {}K/{}K available (", kib(self.free), kib(self.physical))?;
        write!(f, "{}K kernel code, {}K rwdata, {}K rodata, ", code >> 10, rwdata >> 10, rodata >> 10)?;
        write!(f, "{}K init, {}K bss, ", init >> 10, bss >> 10)?;
        write!(f, "{}K reserved, {}K cma-reserved", kib(reserved), kib(self.cma))?;
        if let Some(highmem) = self.highmem {
            write!(f, ", {}K highmem", kib(highmem))?;
        }
        f.write_str(")")
    }
}

/// The unit in which a line of the layout gives its size.
#[derive(Clone, Copy)]
enum Unit {
    Kib,
    Mib,
    /// KiB, rounded up.
    KibUp,
}

/// Virtual bounds of the parts of the kernel's address space that are not fixed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The fixed mappings.
    pub fixmap: Range<u32>,
    /// From [`Lowmem::vmalloc_start`].
    pub vmalloc_start: u32,
    /// From [`Lowmem::high_memory`].
    pub high_memory: u32,
    /// The kernel's temporary mappings of highmem, where there are any.
    pub pkmap: Option<Range<u32>>,
    /// Code and data loaded later.
    pub modules: Range<u32>,
    /// `_text` to `_etext`.
    pub text: Range<u32>,
    /// What is freed after initialization.
    pub init: Range<u32>,
    /// Initialized data.
    pub data: Range<u32>,
    /// Zeroed data.
    pub bss: Range<u32>,
}

impl Layout {
    /// The layout of 4.9's bounds for this lowmem, with or without highmem; the image's parts are to be filled in.
    #[must_use]
    pub fn new(lowmem: &Lowmem, highmem: bool) -> Self {
        let pkmap = highmem.then_some(PKMAP_BASE..PAGE_OFFSET);
        Self {
            fixmap: 0xffc0_0000..0xfff0_0000,
            vmalloc_start: lowmem.vmalloc_start().get(),
            high_memory: lowmem.high_memory().get(),
            modules: 0xbf80_0000..pkmap.as_ref().map_or(PAGE_OFFSET, |pkmap| pkmap.start),
            pkmap,
            text: 0..0,
            init: 0..0,
            data: 0..0,
            bss: 0..0,
        }
    }

    /// The lines, without the heading.
    fn lines(&self) -> impl Iterator<Item = Line> {
        let line =
            |name, range: &Range<u32>, unit| Some(Line { name, start: range.start, end: range.end, unit });
        [
            line("vector ", &(0xffff_0000..0xffff_1000), Unit::Kib),
            line("fixmap ", &self.fixmap, Unit::Kib),
            line("vmalloc", &(self.vmalloc_start..VMALLOC_END), Unit::Mib),
            line("lowmem ", &(PAGE_OFFSET..self.high_memory), Unit::Mib),
            self.pkmap.as_ref().and_then(|pkmap| line("pkmap  ", pkmap, Unit::Mib)),
            line("modules", &self.modules, Unit::Mib),
            line("  .text", &self.text, Unit::KibUp),
            line("  .init", &self.init, Unit::KibUp),
            line("  .data", &self.data, Unit::KibUp),
            line("   .bss", &self.bss, Unit::KibUp),
        ]
        .into_iter()
        .flatten()
    }

    /// Logs the block, line by line.
    pub fn log(&self) {
        log::info!("Virtual kernel memory layout:");
        self.lines().for_each(|line| log::info!("{line}"));
    }
}

struct Line {
    name: &'static str,
    start: u32,
    end: u32,
    unit: Unit,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, start, end, unit } = *self;
        let bytes = end.saturating_sub(start);
        let (size, unit) = match unit {
            Unit::Kib => (bytes >> 10, "kB"),
            Unit::Mib => (bytes >> 20, "MB"),
            Unit::KibUp => (bytes.div_ceil(1024), "kB"),
        };
        write!(f, "    {name} : {start:#010x} - {end:#010x}   ({size:4} {unit})")
    }
}

impl fmt::Display for Layout {
    /// The whole block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Virtual kernel memory layout:")?;
        self.lines().try_for_each(|line| write!(f, "\n{line}"))
    }
}
