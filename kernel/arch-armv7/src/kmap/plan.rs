//! The plan of the final mappings, as rows of plain data.

use super::{VECTORS, VMALLOC_END};
use boot::layout::PAGE_OFFSET;
use boot::section::dt_window_addr;
use core::fmt;
use hal::{MemAttr, Prot};
use types::{PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};

/// A piece of the image whose rights are not read-write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// First byte; a multiple of the page size.
    pub start: VirtAddr,
    /// The byte after the last; a multiple of the page size.
    pub end: VirtAddr,
    /// Its rights; `None` for a guard page, which is not mapped.
    pub prot: Option<Prot>,
}

/// What is mapped for the kernel itself, whatever the memory table says.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// First byte: `swapper_pg_dir`.
    pub start: VirtAddr,
    /// `_end`, rounded up to a page.
    pub end: VirtAddr,
    /// Ascending, disjoint, inside `[start, end)`. The rest is read-write.
    pub parts: &'a [Part],
}

/// What the plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// The base of lowmem.
    pub phys_offset: PhysAddr,
    /// The kernel.
    pub image: Image<'a>,
    /// The page with the vectors.
    pub vectors: PhysAddr,
    /// The device tree in the boot sections' window, when the kernel goes on reading it there.
    pub tree: Option<PhysRange>,
}

/// One mapping of the plan. All multiples of the page size; Normal memory unless `attr` says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// First virtual address.
    pub virt: VirtAddr,
    /// What it translates to.
    pub phys: PhysAddr,
    /// Bytes.
    pub len: u32,
    /// Memory type.
    pub attr: MemAttr,
    /// Rights.
    pub prot: Prot,
}

/// Why there is no plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanError<E> {
    /// Memory that is not between `PHYS_OFFSET` and the last address that lowmem can have.
    OutsideLowmem {
        /// The range.
        range: PhysRange,
    },
    /// Parts of the image are not ascending, disjoint and inside of it.
    Parts {
        /// The first that is not.
        part: Part,
    },
    /// The receiver of the rows stopped.
    Row(E),
}

impl<E: fmt::Display> fmt::Display for PlanError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideLowmem { range } => write!(f, "kmap: {range} is not lowmem"),
            Self::Parts { part } => write!(f, "kmap: image part {}-{} is out of place", part.start, part.end),
            Self::Row(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for PlanError<E> {}

/// Hands every row of the plan to `row`, the image first. `lowmem` is what is to be mapped of the memory table:
/// without no-map regions, cut off at the end of lowmem; pages that a range touches only in part are left out.
///
/// # Errors
/// [`PlanError`]; rows handed out before it stand.
pub fn plan<E>(
    layout: &Layout<'_>,
    lowmem: impl Iterator<Item = PhysRange>,
    mut row: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), PlanError<E>> {
    plan_image(layout, &mut row)?;
    for range in lowmem {
        plan_lowmem(layout, range, &mut row)?;
    }
    let vectors = Row {
        virt: VirtAddr::new(VECTORS),
        phys: layout.vectors,
        len: PAGE_SIZE,
        attr: MemAttr::Normal,
        prot: Prot::EXEC,
    };
    row(vectors).map_err(PlanError::Row)?;
    layout.tree.map_or(Ok(()), |tree| row(tree_row(tree)).map_err(PlanError::Row))
}

/// The image, cut at the borders of its parts.
fn plan_image<E>(
    layout: &Layout<'_>,
    row: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), PlanError<E>> {
    let mut at = layout.image.start;
    for &part in layout.image.parts {
        let aligned = part.start.is_aligned(PAGE_SIZE) && part.end.is_aligned(PAGE_SIZE);
        if !aligned || part.start < at || part.end <= part.start || part.end > layout.image.end {
            return Err(PlanError::Parts { part });
        }
        emit(layout, at, part.start, Prot::WRITE, row)?;
        if let Some(prot) = part.prot {
            emit(layout, part.start, part.end, prot, row)?;
        }
        at = part.end;
    }
    emit(layout, at, layout.image.end, Prot::WRITE, row)
}

/// A range of lowmem, without the image.
fn plan_lowmem<E>(
    layout: &Layout<'_>,
    range: PhysRange,
    row: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), PlanError<E>> {
    let pages = range.pfns_inside();
    if pages.is_empty() {
        return Ok(());
    }
    let virt = |pfn: u32| {
        let above =
            (u64::from(pfn) * u64::from(PAGE_SIZE)).checked_sub(u64::from(layout.phys_offset.get()))?;
        let virt = u64::from(PAGE_OFFSET) + above;
        (virt < u64::from(VMALLOC_END)).then_some(VirtAddr::new(virt as u32))
    };
    let (Some(start), Some(end)) = (virt(pages.start), virt(pages.end)) else {
        return Err(PlanError::OutsideLowmem { range });
    };
    emit(layout, start, end.min(layout.image.start), Prot::WRITE, row)?;
    emit(layout, start.max(layout.image.end), end, Prot::WRITE, row)
}

/// Hands out lowmem `[start, end)`, unless it is empty.
fn emit<E>(
    layout: &Layout<'_>,
    start: VirtAddr,
    end: VirtAddr,
    prot: Prot,
    row: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), PlanError<E>> {
    if start >= end {
        return Ok(());
    }
    let phys = PhysAddr::new(start.get() - PAGE_OFFSET + layout.phys_offset.get());
    let len = end.get() - start.get();
    row(Row { virt: start, phys, len, attr: MemAttr::Normal, prot }).map_err(PlanError::Row)
}

/// The pages of the tree, where the boot sections had them.
fn tree_row(tree: PhysRange) -> Row {
    let pages = tree.pfns_touched();
    let phys = PhysAddr::new(pages.start * PAGE_SIZE);
    Row {
        virt: VirtAddr::new(dt_window_addr(phys.get())),
        phys,
        len: (pages.end - pages.start) * PAGE_SIZE,
        attr: MemAttr::Normal,
        prot: Prot::empty(),
    }
}
