//! Contig's page allocator and CMA, over memory that is not there: only the records of the pages are.

use super::{CMA_FRAMES, FRAMES, Frames, RUN};
use alloc::{boxed::Box, vec, vec::Vec};
use core::mem::MaybeUninit;
use hal::LinearMap;
use mm::cma::{Cma, CmaId, CmaPages};
use mm::pages::{Hooks, PageAllocator, Setup};
use mm::{Frames as Token, Gfp, MigrateError, MigrateReason, Mover, Page, PageSource, PageState};
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};

/// Where the frames are: any address will do.
const BASE: Pfn = Pfn::new(0x8_0000);
/// For everyone's requests. The requests of one owner are served from the lists of one migratetype.
const GFP: Gfp = Gfp::KERNEL.union(Gfp::__NOWARN);
const OWNER: PageState = PageState::Kernel;

/// The linear map of memory that is never touched.
struct Nowhere;

// SAFETY: gives no pointer at all.
#[allow(unsafe_code)]
unsafe impl LinearMap for Nowhere {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        panic!("{pa} has no memory behind it")
    }

    fn phys(&self, _: *const u8) -> Option<PhysAddr> {
        None
    }
}

/// Nothing that could be moved is ever in the area.
struct NoMover;

impl<S: PageSource> Mover<S> for NoMover {
    fn migrate(&mut self, _: &mut S, _: Pfn, _: MigrateReason) -> Result<(), MigrateError> {
        Err(MigrateError::NotMovable)
    }
}

/// The page allocator, with one CMA area.
pub struct Contig<'s, 'm> {
    pages: &'s mut PageAllocator<'m>,
    cma: Box<Cma<'m>>,
    area: CmaId,
    /// The run that is taken.
    run: Option<CmaPages>,
}

impl Contig<'_, '_> {
    /// Runs `f` on an instance with all frames free.
    ///
    /// # Panics
    /// Never: the constants of this module are valid.
    pub fn with<R>(f: impl FnOnce(&mut Contig<'_, '_>) -> R) -> R {
        let memory = PhysRange::new(BASE.addr(), FRAMES * PAGE_SIZE);
        let free = PhysRange::new(BASE.addr(), (FRAMES - CMA_FRAMES) * PAGE_SIZE);
        let mut records: Vec<MaybeUninit<Page>> = Vec::new();
        let layout = PageAllocator::layout([memory].into_iter()).expect("one bank");
        records.resize_with(layout.records(), MaybeUninit::uninit);
        let setup = Setup {
            memory: [memory].into_iter(),
            free: [free].into_iter(),
            dma_end: None,
            highmem_start: None,
            cpus: 1,
        };
        let mut bitmap = vec![0; (CMA_FRAMES / 32) as usize];
        let mut slot = Box::new_uninit();
        let pages = PageAllocator::new_in(&mut slot, setup, &mut records, &Nowhere, Hooks::default())
            .expect("the records are as many as the layout says");
        let mut cma = Box::new(Cma::default());
        let area =
            cma.declare("peers", BASE.add(FRAMES - CMA_FRAMES), CMA_FRAMES, 0).expect("the area is aligned");
        cma.activate(pages, area, &mut bitmap).expect("the area is reserved");
        f(&mut Contig { pages, cma, area, run: None })
    }
}

impl Frames for Contig<'_, '_> {
    #[inline]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let frames = self.pages.alloc_pages(GFP, Order::new(order)?, OWNER).ok()?;
        Some(frames.into_raw().0.get() - BASE.get())
    }

    #[inline]
    fn free(&mut self, first: u32, order: u8) {
        if let Some(order) = Order::new(order) {
            self.pages.free_pages(Token::from_raw(BASE.add(first), order));
        }
    }

    fn alloc_run(&mut self) -> Option<u32> {
        let (request, owner) = ((RUN, 0), "peers");
        // As the kernel does it: an idle stretch at once, anything else the long way.
        let run = match self.cma.take_at_once(self.pages, self.area, request, owner) {
            Some(run) => run,
            None => self.cma.alloc(self.pages, self.area, request, GFP, owner, &mut NoMover).ok()?,
        };
        let first = run.pfn().get() - BASE.get();
        self.run = Some(run);
        Some(first)
    }

    fn free_run(&mut self, _: u32) {
        if let Some(run) = self.run.take() {
            self.cma.release(self.pages, run);
        }
    }
}
