//! Coherent memory: `dma_alloc_coherent`, `dma_alloc_wc`, `dma_alloc_noncoherent`, and where it comes from.
//!
//! | device | may sleep | sources, in order |
//! |---|---|---|
//! | has a private pool | either | that pool and nothing else: it says that other memory won't do |
//! | sees no caches | yes | its CMA area, the default area, pages, the atomic pool |
//! | sees no caches | no | the atomic pool, pages |
//! | sees the caches | yes | its CMA area, the default area (more than a page), pages |
//! | sees the caches | no | pages |
//!
//! Pages are of zone DMA if the device reaches nothing else.
//!
//! Linux takes the first source only (`linux-arm-memory.md`, 8.2). Here the next one is tried, and when all fail the
//! caller gets the first one's error. Memory that the device can't reach counts as a failure of its source.

use crate::buffer::{Coherent, Noncoherent, Source};
use crate::platform::{Area, Areas, Contiguous, Pages, PlatformFor};
use crate::pool::Rounding;
use crate::remap::{Caching, whole_pages};
use crate::source::{MAX_AREAS, areas};
use crate::steps::{Fresh, Retired, strand};
use crate::{Device, DmaError, PagePool};
use mm::Gfp;
use types::{PAGE_SIZE, Pfn};

const POOLS: usize = 8;

/// What a buffer asks of CMA areas; see [`Dma::areas_wanted`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreasWanted<A> {
    /// The areas, in the order in which they are asked.
    pub areas: [Option<A>; MAX_AREAS],
    /// Pages.
    pub count: u32,
    /// Alignment of the first page, as an order.
    pub align: u8,
    /// No message on failure.
    pub no_warn: bool,
}

/// What can be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The largest alignment of contiguous buffers, as an order. 4 on the SSD202; Linux's default is 8.
    pub cma_alignment: u8,
    /// Bytes of the atomic pool (`coherent_pool=`).
    pub atomic_pool: u32,
    /// The first frame that is not in zone DMA; `None`: no such zone.
    pub dma_end: Option<Pfn>,
}

impl Default for Config {
    fn default() -> Self {
        Self { cma_alignment: 4, atomic_pool: 256 << 10, dma_end: None }
    }
}

/// The coherent side of the DMA API. `B` is the platform's token for contiguous pages.
#[derive(Debug)]
pub struct Dma<'a, B> {
    pub(crate) config: Config,
    pub(crate) pools: [Option<PagePool<'a>>; POOLS],
    pub(crate) atomic: Option<(PagePool<'a>, Coherent<B>)>,
}

impl<'a, B> Dma<'a, B> {
    /// Without pools yet.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, pools: [const { None }; POOLS], atomic: None }
    }

    /// Adds the private pool of devices; its number goes into [`Device::pool`].
    ///
    /// # Errors
    /// [`DmaError::TableFull`].
    pub fn add_pool(&mut self, pool: PagePool<'a>) -> Result<usize, DmaError> {
        let free = self.pools.iter().position(Option::is_none).ok_or(DmaError::TableFull { slots: POOLS })?;
        self.pools[free] = Some(pool);
        Ok(free)
    }

    /// The private pool with this number.
    #[must_use]
    pub fn pool(&self, number: usize) -> Option<&PagePool<'a>> {
        self.pools.get(number)?.as_ref()
    }

    /// The atomic pool.
    #[must_use]
    pub fn atomic_pool(&self) -> Option<&PagePool<'a>> {
        self.atomic.as_ref().map(|(pool, _)| pool)
    }

    /// Sets the atomic pool up; `words` holds a bit for each of its pages. Says so in the log, or that there was no
    /// memory for it.
    ///
    /// # Errors
    /// [`DmaError`] of the allocation.
    pub fn init_atomic_pool<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        words: &'a mut [u32],
    ) -> Result<(), DmaError> {
        let size = self.config.atomic_pool;
        match self.make_atomic_pool(platform, words) {
            Ok(pool) => {
                log::info!("DMA: preallocated {} KiB pool for atomic coherent allocations", size >> 10);
                self.atomic = Some(pool);
                Ok(())
            }
            Err(error) => {
                log::error!("DMA: failed to allocate {} KiB pool for atomic coherent allocation", size >> 10);
                Err(error)
            }
        }
    }

    fn make_atomic_pool<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        words: &'a mut [u32],
    ) -> Result<(PagePool<'a>, Coherent<B>), DmaError> {
        let size = whole_pages(self.config.atomic_pool)?;
        // Zone DMA's device: whoever needs the pool reaches nothing else, and areas lie anywhere.
        let zone = self.config.dma_end.map(|end| u64::from(end.addr().get()) - 1);
        let device = Device { coherent_mask: zone.unwrap_or(u32::MAX.into()), ..Device::new("DMA") };
        let gfp = Gfp::KERNEL | Gfp::__DMA | Gfp::__NOWARN;
        let mut backing = Fresh::new(self.take_from_any(platform, &device, size, gfp, Caching::Uncached)?);
        if let Err(error) = backing.prepare(platform) {
            self.give_up(platform, backing);
            return Err(error);
        }
        let backing = backing.finish(platform.cache());
        let (phys, cpu) = (backing.phys, backing.cpu().as_ptr());
        match PagePool::with_rounding(phys, cpu, size, words, Rounding::Exact) {
            Ok(pool) => Ok((pool, backing)),
            Err(_) => {
                self.free(platform, backing);
                Err(DmaError::TooLarge { size })
            }
        }
    }

    /// A zeroed buffer of at least `size` bytes for the CPU and the device (`dma_alloc_coherent`).
    ///
    /// # Errors
    /// [`DmaError`]; also in the log, unless `gfp` has `__NOWARN`.
    pub fn alloc_coherent<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<B>, DmaError> {
        let caching = if device.coherent { Caching::Snooped } else { Caching::Uncached };
        self.alloc(platform, device, size, gfp, caching)
    }

    /// The same for buffers that the CPU mostly writes, such as frames to show (`dma_alloc_wc`): on ARMv7 both are
    /// Normal Non-cacheable, whose writes are combined.
    ///
    /// # Errors
    /// As [`Dma::alloc_coherent`].
    pub fn alloc_wc<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<B>, DmaError> {
        self.alloc_coherent(platform, device, size, gfp)
    }

    /// A zeroed, contiguous, cached buffer in the linear map, as streaming needs it (`dma_alloc_noncoherent`).
    ///
    /// # Errors
    /// As [`Dma::alloc_coherent`].
    pub fn alloc_noncoherent<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Noncoherent<B>, DmaError> {
        self.alloc(platform, device, size, gfp, Caching::Clean).map(Noncoherent)
    }

    fn alloc<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
        caching: Caching,
    ) -> Result<Coherent<B>, DmaError> {
        let mut fresh = self.begin_as(platform, device, size, gfp, caching)?;
        if let Err(error) = fresh.prepare(platform) {
            // Out of a pool, it needs nothing that could fail.
            fresh = self.recover(platform, device, fresh, (error, gfp))?;
            fresh.zero(platform.cache());
        }
        Ok(fresh.finish(platform.cache()))
    }

    /// Begins a [`Dma::alloc_coherent`] in steps; [`Fresh`] has the rest of them.
    ///
    /// # Errors
    /// As [`Dma::alloc_coherent`].
    pub fn begin<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Fresh<B>, DmaError> {
        let caching = if device.coherent { Caching::Snooped } else { Caching::Uncached };
        self.begin_as(platform, device, size, gfp, caching)
    }

    fn begin_as<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
        caching: Caching,
    ) -> Result<Fresh<B>, DmaError> {
        let result = match whole_pages(size) {
            Err(error) => Err(error),
            Ok(_) if device.coherent_mask == 0 => Err(DmaError::MaskUnset),
            Ok(size) => match device.pool {
                Some(pool) => self.take_from_private(device, pool, size),
                None => self.take_from_any(platform, device, size, self.zone_of(device, gfp), caching),
            },
        };
        match &result {
            Ok(buffer) => trace_alloc(device, buffer, gfp),
            Err(error) => complain(device.name, size, gfp, error),
        }
        result.map(Fresh::new)
    }

    /// What a buffer becomes whose mapping could not be changed: the memory goes back, and the atomic pool, which is
    /// mapped already, stands in.
    ///
    /// # Errors
    /// The reason given, when there is no room in that pool.
    pub fn recover<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        fresh: Fresh<B>,
        (error, gfp): (DmaError, Gfp),
    ) -> Result<Fresh<B>, DmaError> {
        let (addr, size) = (fresh.buffer.addr.get(), fresh.buffer.size());
        trace::dma_free_coherent(addr, size, fresh.buffer.cpu().addr().get());
        self.give_up(platform, fresh);
        match self.take_from_atomic(device, size) {
            Ok(buffer) => {
                trace_alloc(device, &buffer, gfp);
                Ok(Fresh::new(buffer))
            }
            Err(_) => {
                complain(device.name, size, gfp, &error);
                Err(error)
            }
        }
    }

    fn give_up<P: PlatformFor<B>>(&mut self, platform: &mut P, fresh: Fresh<B>) {
        let mut retired = fresh.retire();
        retired.restore(platform, u32::MAX);
        self.end(platform, retired);
    }

    /// What [`Dma::alloc_coherent`] would ask of which CMA areas, in this order: for a caller that takes the pages
    /// beforehand, in pieces of work, and has its [`Contiguous`] answer with them.
    pub fn areas_wanted<P: PlatformFor<B>>(
        &self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
    ) -> AreasWanted<Area<P>> {
        let caching = if device.coherent { Caching::Snooped } else { Caching::Uncached };
        let size = whole_pages(size).ok().filter(|_| device.pool.is_none() && device.coherent_mask != 0);
        let areas = size.map(|size| areas(platform, device, size, gfp, caching));
        let count = size.unwrap_or(0) / PAGE_SIZE;
        AreasWanted {
            areas: areas.unwrap_or([None; MAX_AREAS]),
            count,
            align: self.alignment(count),
            no_warn: gfp.contains(Gfp::__NOWARN),
        }
    }

    /// `count` pages from the device's area, else the default one, as they are: neither zeroed nor mapped for DMA
    /// (`dma_alloc_from_contiguous`). `align` is an order, capped by [`Config::cma_alignment`].
    ///
    /// # Errors
    /// [`DmaError::Contiguous`].
    pub fn alloc_from_contiguous<P: PlatformFor<B>>(
        &self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        count: u32,
        align: u8,
        no_warn: bool,
    ) -> Result<B, DmaError> {
        let default = platform.contiguous().default_area();
        let none = crate::ContiguousError::NoRoom { count };
        let area = device.area.or(default).ok_or(none)?;
        Ok(platform.contiguous().alloc(area, count, align.min(self.config.cma_alignment), no_warn)?)
    }

    /// Gives such pages back (`dma_release_from_contiguous`).
    pub fn release_from_contiguous<P: PlatformFor<B>>(&self, platform: &mut P, block: B) {
        platform.contiguous().release(block);
    }

    /// Takes a buffer back (`dma_free_coherent`). Its pages are cached again before anybody else gets them; should
    /// that fail, they are kept out of use, and the log says so.
    pub fn free<P: PlatformFor<B>>(&mut self, platform: &mut P, buffer: Coherent<B>) {
        let mut retired = buffer.retire();
        retired.restore(platform, u32::MAX);
        self.end(platform, retired);
    }

    /// Ends a [`Dma::free`] in steps: the memory goes back to where it is from.
    pub fn end<P: PlatformFor<B>>(&mut self, platform: &mut P, retired: Retired<B>) {
        if !retired.is_ordinary() {
            return;
        }
        let size = retired.buffer.size();
        match retired.buffer.source {
            Source::Contiguous(block) => platform.contiguous().release(block),
            Source::Mapped(block) => match platform.unmap(retired.buffer.region.start()) {
                Ok(()) => platform.contiguous().release(block),
                Err(error) => strand(retired.buffer.phys, size, &error),
            },
            Source::Pages(run) => platform.pages().free(run),
            Source::Atomic(span) => {
                if let Some((pool, _)) = &mut self.atomic {
                    pool.free(span);
                }
            }
            Source::Private(number, span) => self.give_to_private(number, span),
        }
    }

    /// Takes a cached buffer back (`dma_free_noncoherent`), in the CPU's turn.
    pub fn free_noncoherent<P: PlatformFor<B>>(&mut self, platform: &mut P, buffer: Noncoherent<B>) {
        self.free(platform, buffer.0);
    }
}

#[inline(always)]
pub(crate) fn trace_alloc<A, B>(device: &Device<'_, A>, buffer: &Coherent<B>, gfp: Gfp) {
    trace::lazy::dma_alloc_coherent(|| {
        (device.name, buffer.addr.get(), buffer.size(), buffer.cpu().addr().get(), gfp.bits())
    });
}

#[cold]
pub(crate) fn complain(device: &str, size: u32, gfp: Gfp, error: &DmaError) {
    if !gfp.contains(Gfp::__NOWARN) {
        log::warn!("{device}: dma_alloc_coherent of {size} bytes failed: {error}");
    }
}
