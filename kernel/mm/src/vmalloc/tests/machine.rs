//! A machine whose TLBs keep everything that was ever mapped until they are told otherwise.

use super::super::{Backing, Context, Vmalloc};
use crate::{
    AllocError, Frames, Gfp, Page, PageSource, PageState,
    slab::tests::arena::{Arena, TestPages},
};
use core::{cell::RefCell, ops::Range};
use hal::{Asid, MapError, Mapping, MemAttr, PageTable, Prot, TablePages, TlbOps};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

pub const START: VirtAddr = VirtAddr::new(0xc880_0000);
pub const END: VirtAddr = VirtAddr::new(0xca80_0000);

/// Page translations that some TLB may hold.
#[derive(Default)]
pub struct Tlb {
    stale: BTreeMap<u32, u32>,
    pub flushes: u32,
}

#[derive(Clone, Default)]
pub struct Shared(pub Rc<RefCell<Tlb>>);

impl TlbOps for Shared {
    fn flush_page(&self, virt: VirtAddr, _: Asid) {
        self.0.borrow_mut().stale.remove(&virt.get());
    }

    fn flush_asid(&self, _: Asid) {
        panic!("kernel mappings are global");
    }

    fn flush_all(&self) {
        self.0.borrow_mut().stale.clear();
        self.0.borrow_mut().flushes += 1;
    }

    fn publish(&self, _: *const u8, _: usize) {}
}

/// A translation table as a map of pages.
pub struct Table {
    pub pages: BTreeMap<u32, (u32, MemAttr, Prot)>,
    tlb: Shared,
    pub map_calls: u32,
    /// Second-level tables: one for each 4 MiB.
    tables: BTreeSet<u32>,
    spares: u32,
    /// What may be mapped, the guard page at the end not included.
    span: Range<u32>,
}

impl Table {
    fn remove(&mut self, virt: VirtAddr, len: u32, lazily: bool) -> Result<(), MapError> {
        let range = virt.get()..virt.get() + len;
        let missing = range.clone().step_by(PAGE_SIZE as usize).find(|va| !self.pages.contains_key(va));
        if let Some(va) = missing {
            return Err(MapError::NotMapped { virt: VirtAddr::new(va) });
        }
        for va in range.step_by(PAGE_SIZE as usize) {
            let (pa, ..) = self.pages.remove(&va).unwrap();
            if lazily {
                self.tlb.0.borrow_mut().stale.insert(va, pa);
            }
        }
        Ok(())
    }
}

impl Table {
    pub fn new(tlb: Shared, span: Range<u32>) -> Self {
        Self { pages: BTreeMap::new(), tlb, map_calls: 0, tables: BTreeSet::new(), spares: 0, span }
    }
}

impl PageTable for Table {
    fn map(
        &mut self,
        virt: VirtAddr,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<(), MapError> {
        assert!(
            virt.is_aligned(PAGE_SIZE)
                && phys.is_aligned(PAGE_SIZE)
                && len > 0
                && len.is_multiple_of(PAGE_SIZE)
        );
        let inside = virt.get() >= self.span.start && virt.get() + len < self.span.end;
        assert!(inside, "outside, or no room for the guard page");
        self.spares -=
            Some(self.missing(virt, len)).filter(|n| *n <= self.spares).ok_or(MapError::NoTable)?;
        self.tables.extend(groups(virt, len));
        if let Some((&va, (pa, ..))) = self.pages.range(virt.get()..virt.get() + len).next() {
            return Err(MapError::Occupied { virt: VirtAddr::new(va), phys: PhysAddr::new(*pa) });
        }
        self.map_calls += 1;
        for offset in (0..len).step_by(PAGE_SIZE as usize) {
            let va = virt.get() + offset;
            assert!(
                !self.tlb.0.borrow().stale.contains_key(&va),
                "{va:#x} reused while a TLB knows its old page"
            );
            self.pages.insert(va, (phys.get() + offset, attr, prot));
        }
        Ok(())
    }

    fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.remove(virt, len, false)
    }

    fn unmap_lazily(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.remove(virt, len, true)
    }

    fn protect(&mut self, virt: VirtAddr, _: u32, _: MemAttr, _: Prot) -> Result<(), MapError> {
        Err(MapError::Splits { virt })
    }

    fn translate(&self, virt: VirtAddr) -> Option<Mapping> {
        let (pa, attr, prot) = self.pages.get(&(virt.get() & !0xfff))?;
        Some(Mapping {
            phys: PhysAddr::new(pa + virt.get() % PAGE_SIZE),
            attr: *attr,
            prot: *prot,
            size: PAGE_SIZE,
        })
    }
}

impl Table {
    fn missing(&self, virt: VirtAddr, len: u32) -> u32 {
        groups(virt, len).filter(|group| !self.tables.contains(group)).count() as u32
    }

    /// Pages that it holds.
    pub fn table_pages(&self) -> u32 {
        self.tables.len() as u32 + self.spares
    }
}

/// The stretches of 4 MiB that a range touches.
fn groups(virt: VirtAddr, len: u32) -> impl Iterator<Item = u32> {
    virt.get() >> 22..=(virt.get() + len - 1) >> 22
}

impl TablePages for Table {
    fn tables_needed(&self, virt: VirtAddr, len: u32) -> u32 {
        self.missing(virt, len).saturating_sub(self.spares)
    }

    fn supply(&mut self, _: Pfn) {
        self.spares += 1;
    }

    fn reclaim(&mut self) -> Option<Pfn> {
        None
    }
}

/// Pages that must not be handed out while a TLB still reaches them.
pub struct Pages {
    pub inner: TestPages,
    tlb: Shared,
    /// No blocks above this order.
    pub largest: u8,
    /// Hands out single pages so that none follows the one before.
    pub scattered: bool,
    odd: bool,
    held: BTreeSet<u32>,
}

impl PageSource for Pages {
    fn alloc_pages(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Result<Frames, AllocError> {
        if order.get() > self.largest {
            return Err(AllocError::NoMemory { order, gfp });
        }
        let mut frames = self.inner.alloc_pages(gfp, order, owner)?;
        if self.scattered && order == Order::ZERO {
            self.odd = !self.odd;
            if self.odd
                && let Ok(next) = self.inner.alloc_pages(gfp, order, owner)
            {
                self.inner.free_pages(core::mem::replace(&mut frames, next));
            }
        }
        let first = frames.pfn().addr().get();
        let range = first..first + PAGE_SIZE * order.pages();
        let reached = self.tlb.0.borrow().stale.values().any(|pa| range.contains(pa));
        assert!(!reached, "{first:#x} reused while a TLB still reaches it");
        self.held.insert(first);
        Ok(frames)
    }

    fn free_pages(&mut self, frames: Frames) {
        let first = frames.pfn().addr().get();
        assert!(self.held.remove(&first));
        let range = first..first + PAGE_SIZE * frames.order().pages();
        let reached = self.tlb.0.borrow().stale.values().any(|pa| range.contains(pa));
        assert!(!reached, "{first:#x} freed while a TLB still reaches it");
        self.inner.free_pages(frames);
    }

    fn page(&self, pfn: Pfn) -> Option<&Page> {
        self.inner.page(pfn)
    }

    fn page_mut(&mut self, pfn: Pfn) -> Option<&mut Page> {
        self.inner.page_mut(pfn)
    }
}

pub struct Machine {
    pub vmalloc: Vmalloc<Arena>,
    pub pages: Pages,
    pub table: Table,
    pub tlb: Shared,
}

pub const TASK: Context = Context { caller: 0xc001_2345, atomic: false };

impl Machine {
    pub fn new(count: u32) -> Self {
        let tlb = Shared::default();
        let inner = TestPages::new(count);
        let mut pages = Pages {
            inner,
            tlb: tlb.clone(),
            largest: 10,
            scattered: false,
            odd: false,
            held: BTreeSet::new(),
        };
        let vmalloc = Vmalloc::new(Arena::new(count), &mut pages, START, END).unwrap();
        let table = Table::new(tlb.clone(), START.get()..END.get());
        Self { vmalloc, pages, table, tlb }
    }

    /// The parts that an operation takes.
    pub fn split(&mut self) -> (&mut Vmalloc<Arena>, Backing<'_, Pages, Table, Shared>) {
        let backing = Backing { pages: &mut self.pages, table: &mut self.table, tlb: &self.tlb };
        (&mut self.vmalloc, backing)
    }

    pub fn validate(&self) {
        self.vmalloc.validate(&self.pages, &self.table).unwrap();
    }

    /// Nothing is mapped, and nothing held but the records.
    pub fn assert_empty(&mut self) {
        self.vmalloc.purge(&mut self.pages, &self.tlb);
        self.validate();
        assert!(self.table.pages.is_empty());
        let kept = self.vmalloc.totals().record_pages + self.table.table_pages();
        assert_eq!(self.pages.inner.pages_taken(), kept);
    }
}
