//! `alloc_pages` and `free_pages`: the fast path, the slow path with reclaim, and the reports.
//!
//! ```text
//! alloc_pages ─ fast: per-CPU list, zone above its low mark ──────────────────────────► block
//!      └─ slow: low mark → wake background reclaim → min mark, as far as the flags go
//!              → __GFP_MEMALLOC: no mark
//!              → may block: drain the per-CPU lists, give up a HIGHATOMIC pageblock, ask the reclaimers
//!              → __GFP_NOFAIL: no mark → report, error
//! ```
//!
//! A request from a context that can't sleep, with flags that may, is reported as a bug and then treated as one
//! that can't (invariant 8).

use super::{
    buddy::{Buddy, Setup},
    build,
    guards::Guards,
    list::Index,
    map::{MapError, MapLayout},
    owner::OwnerRecord,
    pcp::{PCP_ORDERS, own_list},
    vmstat::VmStat,
    watermark::{Mark, Request},
    zone::{Place, ZoneKind},
};
use crate::{
    AllocError, FaultAttr, Frames, Gfp, MigrateType, Page, PageFlags, PageSource, PageState, Reclaimer,
};
use core::mem::MaybeUninit;
use hal::LinearMap;
use types::{Order, PAGEBLOCK_PAGES, Pfn, PhysRange, align_down};

/// A flag that every request has, for diverting all of them to the slow path.
pub(crate) const ALWAYS: u32 = 1 << 31;
/// The zone of the fast paths.
pub(crate) const NORMAL: usize = ZoneKind::Normal as usize;
/// Rounds of reclaim that make progress, after which a large request gives up (`MAX_RECLAIM_RETRIES`).
const RECLAIM_ROUNDS: u32 = 16;
/// Reports of failures before the kernel must call [`PageAllocator::allow_reports`] again.
pub(super) const REPORTS: u32 = 10;

/// What the allocator needs of the kernel around it.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Prints a backtrace.
    pub dump_stack: fn(),
    /// Calls the function with a temporary mapping of a page of highmem.
    pub with_highpage: fn(Pfn, &mut dyn FnMut(*mut u8)),
    /// The number that log lines print for a page: Linux's pointer to its `struct page`.
    pub page_pointer: fn(Pfn) -> u32,
    /// Fills in the addresses of the memory manager's callers, the innermost first.
    pub backtrace: fn(&mut [u32]),
    /// Nanoseconds since boot.
    pub now: fn() -> u64,
}

impl Default for Hooks {
    /// No backtrace, no highmem, no clock, and the pfn for a pointer.
    fn default() -> Self {
        Self {
            dump_stack: || (),
            with_highpage: |_, _| (),
            page_pointer: Pfn::get,
            backtrace: |_| (),
            now: || 0,
        }
    }
}

/// The page allocator.
pub struct PageAllocator<'m> {
    pub(crate) buddy: Buddy<'m>,
    pub(crate) linear: &'m dyn LinearMap,
    pub(crate) hooks: Hooks,
    /// The zone to begin with, by the zone bits of the flags.
    pub(super) zone_of_gfp: [u8; 4],
    pub(crate) guards: Guards,
    pub(crate) fault: FaultAttr,
    pub(crate) owners: &'m mut [OwnerRecord],
    pub(super) serial: u32,
    pub(super) reports: u32,
}

impl<'m> PageAllocator<'m> {
    /// Where the records for `memory` will lie; its `metadata_size` says how much memory [`PageAllocator::new_in`]
    /// wants.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn layout(memory: impl Iterator<Item = PhysRange>) -> Result<MapLayout, MapError> {
        MapLayout::new(memory)
    }

    /// Takes over the memory that memblock left free, with the records in `metadata`. The allocator is built where it
    /// stays: it is several KiB, and a kernel stack is small.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn new_in<'s, M, F>(
        slot: &'s mut MaybeUninit<Self>,
        setup: Setup<M, F>,
        metadata: &'m mut [MaybeUninit<Page>],
        linear: &'m dyn LinearMap,
        hooks: Hooks,
    ) -> Result<&'s mut Self, MapError>
    where
        M: Iterator<Item = PhysRange> + Clone,
        F: Iterator<Item = PhysRange> + Clone,
    {
        let map = Buddy::map_for(&setup, metadata)?;
        let allocator = build::unpopulated(slot, map, setup.cpus, linear, hooks);
        allocator.buddy.populate(setup);
        let there = |zone: ZoneKind| allocator.buddy.zone(zone).present() > 0;
        let dma = if there(ZoneKind::Dma) { ZoneKind::Dma } else { ZoneKind::Normal } as u8;
        let high = if there(ZoneKind::HighMem) { ZoneKind::HighMem } else { ZoneKind::Normal } as u8;
        allocator.zone_of_gfp = [ZoneKind::Normal as u8, dma, high, dma];
        allocator.update_divert();
        Ok(allocator)
    }

    /// Memory map, zones and counters.
    #[must_use]
    pub fn buddy(&self) -> &Buddy<'m> {
        &self.buddy
    }

    /// Memory map, zones and counters, to be changed.
    pub fn buddy_mut(&mut self) -> &mut Buddy<'m> {
        &mut self.buddy
    }

    /// Tells who is calling: the CPU, and whether it can't sleep.
    #[cfg(test)]
    pub(crate) fn set_context(&mut self, cpu: usize, atomic: bool) {
        self.buddy.set_cpu(cpu);
        self.set_atomic(atomic);
    }

    /// Tells whether the caller can't sleep, which decides what an allocation may do (invariant 8). The kernel does so each
    /// time that it takes the lock. It allocates on CPU 0 only.
    #[inline(always)]
    pub fn set_atomic(&mut self, atomic: bool) {
        if self.buddy.atomic != atomic {
            self.change_atomic(atomic);
        }
    }

    #[inline(never)]
    fn change_atomic(&mut self, atomic: bool) {
        self.buddy.atomic = atomic;
        let block = Gfp::__DIRECT_RECLAIM.bits();
        let divert = &mut self.buddy.divert;
        *divert = if atomic { *divert | block } else { *divert & !block };
    }

    pub(crate) fn update_divert(&mut self) {
        let all = self.guards.any() || self.fault.is_on() || !self.owners.is_empty();
        let atomic = if self.buddy.atomic { Gfp::__DIRECT_RECLAIM.bits() } else { 0 };
        let other_zones = |bits: u32| if self.zone_of_gfp[bits as usize] == NORMAL as u8 { 0 } else { bits };
        let zones = other_zones(Gfp::__DMA.bits()) | other_zones(Gfp::__HIGHMEM.bits());
        let special = Gfp::__ZERO.bits() | Gfp::__COMP.bits() | zones;
        self.buddy.divert = if all { ALWAYS } else { 0 } | special | atomic;
    }

    /// Whether freed memory is looked after.
    #[inline]
    pub(crate) fn guarded(&self) -> bool {
        self.buddy.divert & ALWAYS != 0
    }

    /// The event counters.
    #[must_use]
    pub fn stat(&self) -> &VmStat {
        &self.buddy.stat
    }

    /// The event counters, for those whose events are counted elsewhere.
    pub fn stat_mut(&mut self) -> &mut VmStat {
        &mut self.buddy.stat
    }

    /// Whether a request went below a low mark, or a mark was raised, since the last call: background reclaim has work.
    pub fn take_kswapd_wanted(&mut self) -> bool {
        core::mem::take(&mut self.buddy.kswapd_wanted)
    }

    /// Lets failures be reported again. Linux allows ten in five seconds; here there is no clock, so the kernel
    /// calls this every five seconds.
    pub fn allow_reports(&mut self) {
        self.reports = REPORTS;
    }

    /// A block from the calling CPU's list of zone NORMAL, if that is where the request goes first and nothing
    /// has to be checked or done besides.
    #[inline(always)]
    fn fast(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Option<Frames> {
        let buddy = &mut self.buddy;
        if (gfp.bits() | ALWAYS) & buddy.divert != 0 || buddy.zones[NORMAL].low {
            return None;
        }
        self.pop(gfp, order, owner)
    }

    /// A block from the calling CPU's list of zone NORMAL.
    #[inline(always)]
    fn pop(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Option<Frames> {
        let buddy = &mut self.buddy;
        let kind = served_from(gfp, owner);
        let stack = buddy.pcp.at_mut(buddy.here).stack(order.get(), kind);
        let pfn = stack.take(buddy.map.pages, owner)?;
        buddy.count_owned(owner, order.pages());
        if owner == PageState::Kernel && kind != MigrateType::Unmovable {
            buddy.note_home(pfn);
        }
        Some(Frames::from_raw(pfn, order))
    }

    /// A block from the calling CPU's list of zone NORMAL, which has to be filled first, under the same conditions.
    #[inline]
    fn fast_refill(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Option<Frames> {
        let buddy = &mut self.buddy;
        if (gfp.bits() | ALWAYS) & buddy.divert != 0 || buddy.zones[NORMAL].low {
            return None;
        }
        let kind = served_from(gfp, owner);
        if !buddy.pcp_fill(NORMAL, order.get(), kind, kind == MigrateType::Movable) {
            return None;
        }
        self.pop(gfp, order, owner)
    }

    /// A block too large for the per-CPU lists, under the same conditions.
    #[inline]
    fn fast_large(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Option<Frames> {
        let (buddy, kind) = (&mut self.buddy, served_from(gfp, owner));
        let diverted = (gfp.bits() | ALWAYS) & buddy.divert != 0 || buddy.zones[NORMAL].low;
        let rare = kind == MigrateType::Movable || buddy.grouping_disabled;
        let left = buddy.zones[NORMAL].free_normal().saturating_sub(order.pages());
        if diverted || rare || left <= buddy.zones[NORMAL].fast_mark {
            return None;
        }
        let (index, _) = buddy.take_listed(NORMAL, order.get(), order.get(), kind)?;
        buddy.own(index, order.get(), owner);
        Some(Frames::from_raw(buddy.map.pfn(index), order))
    }

    /// Frees a block too large for the per-CPU lists; `false` when there is anything special about it.
    #[inline]
    pub(crate) fn fast_free_large(&mut self, pfn: Pfn, order: Order) -> bool {
        let buddy = &mut self.buddy;
        let Some(index) = buddy.map.hot_index(pfn) else { return false };
        let pages = &mut *buddy.map.pages;
        let Some(page) = pages.get(index as usize) else { return false };
        let state = page.state_index();
        if !page.is_unpinnable(order.get()) || buddy.divert & ALWAYS != 0 {
            return false;
        }
        let Some(block) = pages.get(align_down(index, PAGEBLOCK_PAGES) as usize) else { return false };
        let Some(kind) = own_list(block.block_bits()) else { return false };
        trace::mm_page_free(pfn.get(), order.get());
        buddy.in_use[state] = buddy.in_use[state].wrapping_sub(order.pages());
        let zone = &mut buddy.zones[NORMAL];
        zone.give(pages, index, order.get(), kind, Place::Likely);
        zone.count_in(kind, order.pages());
        true
    }

    /// Frees a block into the calling CPU's list of zone NORMAL; `false` when there is anything special about it.
    #[inline(always)]
    pub(crate) fn fast_free(&mut self, pfn: Pfn, order: Order) -> bool {
        let buddy = &mut self.buddy;
        let Some(index) = buddy.map.hot_index(pfn) else { return false };
        let pages = &mut *buddy.map.pages;
        let Some(page) = pages.get(index as usize) else { return false };
        if !page.is_unpinnable(order.get()) || buddy.divert & ALWAYS != 0 {
            return false;
        }
        let Some(block) = pages.get(align_down(index, PAGEBLOCK_PAGES) as usize) else { return false };
        let Some(kind) = own_list(block.block_bits()) else { return false };
        trace::mm_page_free(pfn.get(), order.get());
        let page = &mut pages[index as usize];
        let in_use = &mut buddy.in_use[page.state_index()];
        *in_use = in_use.wrapping_sub(order.pages());
        let stack = buddy.pcp.at_mut(buddy.here).stack(order.get(), kind);
        if stack.has_room() {
            stack.push(page, (index, pfn), order.get());
        } else {
            buddy.pcp_push_full(NORMAL, (index, pfn), order.get(), kind);
        }
        true
    }

    #[inline(never)]
    fn slow(
        &mut self,
        gfp: Gfp,
        order: Order,
        owner: PageState,
        reclaimer: &mut dyn Reclaimer<Self>,
    ) -> Result<Frames, AllocError> {
        let gfp = self.checked_context(gfp);
        if self.injected(gfp, order) {
            return Err(AllocError::Injected);
        }
        let zone = usize::from(self.zone_of_gfp[(gfp.bits() & 3) as usize]);
        let kind = served_from(gfp, owner);
        let request = Request { gfp, order: order.get(), kind, zone, cma: kind == MigrateType::Movable };
        let found = self.find(&request).or_else(|| self.reclaim_and_find(&request, order, reclaimer));
        let Some(index) = found else {
            trace::mm_page_alloc(trace::NO_PAGE, order.get(), kind as u8, gfp.bits());
            self.report_failure(gfp, order);
            return Err(AllocError::NoMemory { order, gfp });
        };
        self.buddy.own(index, order.get(), owner);
        let pfn = self.buddy.map.pfn(index);
        if owner == PageState::Kernel && self.buddy.map.block_type(index) != MigrateType::Unmovable {
            self.buddy.note_home(pfn);
        }
        if gfp.contains(Gfp::__COMP) && order > Order::ZERO {
            self.buddy.map.page_mut(index).set_flags(PageFlags::COMPOUND);
        }
        self.prepare(pfn, order, gfp);
        Ok(traced(Frames::from_raw(pfn, order), gfp, owner))
    }

    /// The flags as far as the context allows them.
    fn checked_context(&mut self, gfp: Gfp) -> Gfp {
        if !self.buddy.atomic || !gfp.may_block() {
            return gfp;
        }
        self.buddy.stat.atomic_bugs += 1;
        log::error!("BUG: sleeping function called from invalid context at alloc_pages");
        log::error!("in_atomic(): 1, mode:{:#x}({gfp}), cpu: {}", gfp.bits(), self.buddy.cpu);
        (self.hooks.dump_stack)();
        gfp - Gfp::__DIRECT_RECLAIM
    }

    /// Without reclaim: the low mark, then as far as the flags go.
    fn find(&mut self, request: &Request) -> Option<Index> {
        if let Some(index) = self.buddy.take_from_zones(request, Mark::Low) {
            return Some(index);
        }
        self.buddy.kswapd_wanted |= request.gfp.contains(Gfp::__KSWAPD_RECLAIM);
        let unlimited = request.gfp.contains(Gfp::__MEMALLOC) && !request.gfp.contains(Gfp::__NOMEMALLOC);
        let mut found = self.buddy.take_from_zones(request, Mark::Min);
        if found.is_none() && self.buddy.zones.iter().any(|zone| zone.boost > 0) {
            // The boost is there to wake background reclaim early, not to make requests fail before it has run.
            self.buddy.clear_boost();
            found = self.buddy.take_from_zones(request, Mark::Min);
        }
        if found.is_none() && unlimited { self.buddy.take_from_zones(request, Mark::None) } else { found }
    }

    /// Frees what is kept for nothing, and tries again.
    #[cold]
    fn reclaim_and_find(
        &mut self,
        request: &Request,
        order: Order,
        reclaimer: &mut dyn Reclaimer<Self>,
    ) -> Option<Index> {
        let gfp = request.gfp;
        if !gfp.may_block() || gfp.contains(Gfp::__MEMALLOC) {
            return None;
        }
        self.buddy.stat.allocstall[request.zone] += 1;
        self.buddy.drain_all_pages();
        let mut found = self.buddy.take_from_zones(request, Mark::Min);
        let rounds = if gfp.contains(Gfp::__NORETRY) { 1 } else { RECLAIM_ROUNDS };
        for _ in 0..rounds {
            if found.is_some() {
                return found;
            }
            let freed = reclaimer.reclaim(self, gfp, order);
            self.buddy.stat.pgsteal_direct += freed;
            self.buddy.drain_all_pages();
            let released = self.buddy.unreserve_highatomic(request.kind, true);
            found = self.buddy.take_from_zones(request, Mark::Min);
            if freed == 0 && !released {
                break;
            }
        }
        let unlimited = found.is_none() && gfp.contains(Gfp::__NOFAIL);
        if unlimited { self.buddy.take_from_zones(request, Mark::None) } else { found }
    }

    /// Reclaims in the background until each zone is above its high mark or nothing more comes; then the marks
    /// lose their boost. Returns the pages freed.
    pub fn balance(&mut self, reclaimer: &mut dyn Reclaimer<Self>) -> u32 {
        let (mut total, gfp) = (0, Gfp::KERNEL);
        self.buddy.stat.pageoutrun += 1;
        while self
            .buddy
            .zones
            .iter()
            .any(|zone| zone.managed > 0 && zone.free <= zone.marks.high + zone.boost)
        {
            let freed = reclaimer.reclaim(self, gfp, Order::ZERO);
            total += freed;
            if freed == 0 {
                break;
            }
        }
        self.buddy.stat.pgsteal_kswapd += total;
        self.buddy.clear_boost();
        total
    }

    #[cold]
    fn report_failure(&mut self, gfp: Gfp, order: Order) {
        if gfp.contains(Gfp::__NOWARN) || self.reports == 0 {
            return;
        }
        self.reports -= 1;
        let (order, bits) = (order.get(), gfp.bits());
        log::warn!("swapper: page allocation failure: order:{order}, mode:{bits:#x}({gfp}), nodemask=(null)");
        (self.hooks.dump_stack)();
        self.buddy.show_mem();
    }

    /// [`PageSource::alloc_pages`], asking `reclaimer` when memory is short.
    ///
    /// # Errors
    /// [`AllocError`].
    #[inline]
    pub fn alloc_pages_with(
        &mut self,
        gfp: Gfp,
        order: Order,
        owner: PageState,
        reclaimer: &mut dyn Reclaimer<Self>,
    ) -> Result<Frames, AllocError> {
        debug_assert!(owner.is_allocated(), "{owner} is no state of an allocated block");
        if order.index() >= PCP_ORDERS {
            return self.large(gfp, order, owner, reclaimer);
        }
        match self.fast(gfp, order, owner) {
            Some(frames) => Ok(traced(frames, gfp, owner)),
            None => self.small(gfp, order, owner, reclaimer),
        }
    }

    /// A small block that is not in the calling CPU's lists.
    #[inline(never)]
    fn small(
        &mut self,
        gfp: Gfp,
        order: Order,
        owner: PageState,
        reclaimer: &mut dyn Reclaimer<Self>,
    ) -> Result<Frames, AllocError> {
        match self.fast_refill(gfp, order, owner) {
            Some(frames) => Ok(traced(frames, gfp, owner)),
            None => self.slow(gfp, order, owner, reclaimer),
        }
    }

    /// A block too large for the per-CPU lists.
    #[inline(never)]
    fn large(
        &mut self,
        gfp: Gfp,
        order: Order,
        owner: PageState,
        reclaimer: &mut dyn Reclaimer<Self>,
    ) -> Result<Frames, AllocError> {
        match self.fast_large(gfp, order, owner) {
            Some(frames) => Ok(traced(frames, gfp, owner)),
            None => self.slow(gfp, order, owner, reclaimer),
        }
    }
}

/// The migratetype that a request is served from. `__GFP_MOVABLE` counts only for owners that can move pages, so
/// nothing else gets into a CMA pageblock (invariant 3).
#[inline]
const fn served_from(gfp: Gfp, owner: PageState) -> MigrateType {
    match gfp.migratetype() {
        MigrateType::Movable if !owner.is_movable() => MigrateType::Unmovable,
        kind => kind,
    }
}

/// Tells of an allocation, if somebody traces it.
#[inline(always)]
fn traced(frames: Frames, gfp: Gfp, owner: PageState) -> Frames {
    let (pfn, order) = (frames.pfn().get(), frames.order().get());
    trace::mm_page_alloc(pfn, order, served_from(gfp, owner) as u8, gfp.bits());
    frames
}

/// Nobody who could give anything back.
struct Nobody;

impl<S: PageSource> Reclaimer<S> for Nobody {
    fn reclaim(&mut self, _: &mut S, _: Gfp, _: Order) -> u32 {
        0
    }
}

impl PageSource for PageAllocator<'_> {
    #[inline]
    fn alloc_pages(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Result<Frames, AllocError> {
        self.alloc_pages_with(gfp, order, owner, &mut Nobody)
    }

    #[inline]
    fn free_pages(&mut self, frames: Frames) {
        let (pfn, order) = frames.into_raw();
        if order.index() >= PCP_ORDERS || !self.fast_free(pfn, order) {
            self.free_or_report(pfn, order);
        }
    }

    #[inline]
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        self.buddy.map.index(pfn).map(|index| self.buddy.map.page(index))
    }

    #[inline]
    fn page_mut(&mut self, pfn: Pfn) -> Option<&mut Page> {
        self.buddy.map.index(pfn).map(|index| self.buddy.map.page_mut(index))
    }

    fn count_reclaimable(&mut self, change: i32) {
        let count = &mut self.buddy.stat.nr_slab_reclaimable;
        *count = count.wrapping_add_signed(change);
    }
}
