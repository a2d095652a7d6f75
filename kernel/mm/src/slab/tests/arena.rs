//! Memory and a page allocator as simple as can be: first fit over an array.

use crate::{AllocError, Frames, Gfp, Page, PageSource, PageState};
use hal::LinearMap;
use std::{alloc::Layout, collections::BTreeMap, sync::Arc, vec::Vec};
use types::{Order, PAGE_SIZE, Pfn, PhysAddr};

pub const FIRST_PFN: u32 = 0x2_0000;
/// Pages at the start that are reserved.
pub const RESERVED: u32 = 2;

struct Memory {
    base: *mut u8,
    layout: Layout,
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Arena::new`.
        unsafe { std::alloc::dealloc(self.base, self.layout) }
    }
}

/// Emulated RAM from [`FIRST_PFN`] on, naturally aligned for blocks of every order.
#[derive(Clone)]
pub struct Arena(Arc<Memory>);

impl Arena {
    #[allow(clippy::arc_with_non_send_sync)]
    pub fn new(pages: u32) -> Self {
        let layout = Layout::from_size_align((pages * PAGE_SIZE) as usize, 4 << 20).unwrap();
        // SAFETY: the size is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!base.is_null());
        Self(Arc::new(Memory { base, layout }))
    }
}

// SAFETY: one allocation that lives as long as `self`, addressed from its start.
unsafe impl LinearMap for Arena {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        let offset = (pa.get() - FIRST_PFN * PAGE_SIZE) as usize;
        assert!(offset < self.0.layout.size(), "{pa} is not in the emulated memory");
        self.0.base.wrapping_add(offset)
    }

    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        let offset = ptr.addr().wrapping_sub(self.0.base.addr());
        (offset < self.0.layout.size()).then(|| PhysAddr::new(FIRST_PFN * PAGE_SIZE + offset as u32))
    }
}

/// The page allocator's stand-in: knows what it handed out and panics at a wrong return.
pub struct TestPages {
    records: Vec<Page>,
    taken: BTreeMap<u32, Order>,
    /// Allocations that still succeed.
    pub allowance: u32,
    /// Flags of the last allocation.
    pub last_gfp: Gfp,
}

impl TestPages {
    pub fn new(count: u32) -> Self {
        let state = |i| if i < RESERVED { PageState::Reserved } else { PageState::Free };
        let records = (0..count).map(|i| Page::new(state(i))).collect();
        Self { records, taken: BTreeMap::new(), allowance: u32::MAX, last_gfp: Gfp::empty() }
    }

    pub fn pages_taken(&self) -> u32 {
        self.taken.values().map(|order| order.pages()).sum()
    }

    pub fn pages_in_slabs(&self) -> u32 {
        let is_slab = |pfn: &u32| self.records[(pfn - FIRST_PFN) as usize].state() == PageState::Slab;
        self.taken.iter().filter(|(pfn, _)| is_slab(pfn)).map(|(_, order)| order.pages()).sum()
    }

    fn mark(&mut self, pfn: u32, order: Order, head: PageState, tail: PageState) {
        for i in 0..order.pages() {
            let page = &mut self.records[(pfn - FIRST_PFN + i) as usize];
            *page = Page::new(if i == 0 { head } else { tail });
            page.set_order(if i == 0 { order.get() } else { 0 });
        }
    }
}

impl PageSource for TestPages {
    fn alloc_pages(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Result<Frames, AllocError> {
        self.last_gfp = gfp;
        let none = AllocError::NoMemory { order, gfp };
        self.allowance = self.allowance.checked_sub(1).ok_or(none)?;
        let fits = |&at: &usize| {
            let run = self.records.get(at..at + order.pages() as usize);
            run.is_some_and(|run| run.iter().all(|page| page.state() == PageState::Free))
        };
        let at = (0..self.records.len()).step_by(order.pages() as usize).find(fits).ok_or(none)?;
        let pfn = FIRST_PFN + at as u32;
        self.mark(pfn, order, owner, PageState::Tail);
        self.taken.insert(pfn, order);
        Ok(Frames::from_raw(Pfn::new(pfn), order))
    }

    fn free_pages(&mut self, frames: Frames) {
        let (pfn, order) = frames.into_raw();
        assert_eq!(self.taken.remove(&pfn.get()), Some(order), "{pfn} was not handed out like this");
        self.mark(pfn.get(), order, PageState::Free, PageState::Free);
    }

    fn page(&self, pfn: Pfn) -> Option<&Page> {
        self.records.get(pfn.get().checked_sub(FIRST_PFN)? as usize)
    }

    fn page_mut(&mut self, pfn: Pfn) -> Option<&mut Page> {
        self.records.get_mut(pfn.get().checked_sub(FIRST_PFN)? as usize)
    }
}
