//! The smallest area in few instructions: one page, in a place that is kept for that size ([`Ready`](super::ready)).
//!
//! Anything else is left to [`Vmalloc::vmalloc_gfp`] and [`Vmalloc::vfree`]: other sizes, a new place, tables that are lacking, and
//! every error.

use super::{Backing, Context, Kind, Vmalloc, build, tree::Place};
use crate::{Frames, Gfp, PageSource, PageState};
use hal::{LinearMap, MemAttr, PageTable, Prot, TlbOps};
use types::{Order, PAGE_SIZE, VirtAddr};

impl<L: LinearMap> Vmalloc<L> {
    /// An area of `size` bytes, if it is to be had at once; `None`, and nothing has changed, when it takes more.
    #[inline]
    pub fn vmalloc_at_once<S: PageSource, P: PageTable, T>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        size: u32,
        gfp: Gfp,
    ) -> Option<VirtAddr> {
        if size.wrapping_sub(1) >= PAGE_SIZE || context.atomic {
            return None;
        }
        let id = self.ready.take(&self.tree, Place { size: PAGE_SIZE, align: PAGE_SIZE, offset: 0 })?;
        let start = VirtAddr::new(self.tree.area(id).start);
        let Some(frames) = mapped_page(with, start, gfp) else {
            self.ready.keep(&mut self.tree, id);
            return None;
        };
        let (pfn, _) = frames.into_raw();
        build::chain(with.pages, pfn, start.get(), build::NO_BLOCK);
        let area = self.tree.area_mut(id);
        (area.kind, area.caller) = (Kind::Vmalloc, context.caller);
        (area.mapped, area.pages, area.block) = (PAGE_SIZE, 1, pfn.get());
        self.pages += 1;
        self.newest = id;
        Some(start)
    }

    /// Frees the area that was made last, if it is one of one page; `false`, and nothing has changed, when it is not, or takes more.
    #[inline]
    pub fn vfree_at_once<S: PageSource, P: PageTable, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        addr: VirtAddr,
    ) -> bool {
        let Some(id) = self.newest_at(addr, Kind::Vmalloc).filter(|_| !context.atomic) else { return false };
        if self.tree.area(id).size != PAGE_SIZE || !with.table.unmap_page_lazily(addr) {
            return false;
        }
        self.retire(id);
        self.purge_if_many(with);
        true
    }
}

/// A page, if it costs the page allocator no trouble, mapped at `at`, where nothing is.
#[inline(always)]
fn mapped_page<S: PageSource, P: PageTable, T>(
    with: &mut Backing<'_, S, P, T>,
    at: VirtAddr,
    gfp: Gfp,
) -> Option<Frames> {
    let gfp = build::easily(build::kernels(gfp));
    let frames = with.pages.alloc_pages(gfp, Order::ZERO, PageState::Vmalloc).ok()?;
    if with.table.map_page(at, frames.pfn().addr(), MemAttr::Normal, Prot::WRITE) {
        return Some(frames);
    }
    with.pages.free_pages(frames);
    None
}
