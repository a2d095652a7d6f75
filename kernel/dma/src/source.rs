//! Where coherent memory comes from: the table in [`crate::coherent`], source by source. It is reachable, but neither
//! zeroed nor mapped for the device yet ([`crate::steps`]).

use crate::access::Region;
use crate::buffer::{Coherent, Source};
use crate::coherent::Dma;
use crate::platform::{Area, Areas, Contiguous, Pages, Platform, PlatformFor};
use crate::pool::PoolSpan;
use crate::remap::{Caching, region};
use crate::{Device, DmaAddr, DmaError};
use hal::MemAttr;
use mm::{Gfp, PageState};
use types::{PAGE_SIZE, PhysAddr};

impl<B> Dma<'_, B> {
    #[inline]
    pub(crate) fn take_from_private<A: Copy>(
        &mut self,
        device: &Device<'_, A>,
        number: usize,
        size: u32,
    ) -> Result<Coherent<B>, DmaError> {
        let pages = size / PAGE_SIZE;
        let none = DmaError::PoolExhausted { pages, free: 0 };
        let pool = self.pools.get_mut(number).and_then(Option::as_mut).ok_or(none)?;
        let (span, phys, region) = pool.alloc(pages)?;
        match device.reach(phys, size, device.coherent_mask) {
            Ok(addr) => {
                let (caching, source) = (Caching::Uncached, Source::Private(number, span));
                Ok(Coherent { region, phys, addr, caching, source })
            }
            Err(error) => {
                pool.free(span);
                Err(error)
            }
        }
    }

    #[inline]
    pub(crate) fn give_to_private(&mut self, number: usize, span: PoolSpan) {
        if let Some(pool) = self.pools.get_mut(number).and_then(Option::as_mut) {
            pool.free(span);
        }
    }

    /// The sources of the table above, one after the other; the first error counts.
    pub(crate) fn take_from_any<P: PlatformFor<B>>(
        &mut self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
        caching: Caching,
    ) -> Result<Coherent<B>, DmaError> {
        let atomic_pool = caching == Caching::Uncached && self.atomic.is_some();
        let mut first = None;
        if atomic_pool && !gfp.may_block() {
            match self.take_from_atomic(device, size) {
                Ok(buffer) => return Ok(buffer),
                Err(error) => first = first.or(Some(error)),
            }
        }
        for area in areas(platform, device, size, gfp, caching).into_iter().flatten() {
            match self.take_from_area(platform, device, area, size, gfp, caching) {
                Ok(buffer) => return Ok(buffer),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let error = match self.take_from_pages(platform, device, size, gfp, caching) {
            Ok(buffer) => return Ok(buffer),
            Err(error) => first.unwrap_or(error),
        };
        let last = atomic_pool && gfp.may_block();
        last.then(|| self.take_from_atomic(device, size).ok()).flatten().ok_or(error)
    }

    pub(crate) fn take_from_atomic<A: Copy>(
        &mut self,
        device: &Device<'_, A>,
        size: u32,
    ) -> Result<Coherent<B>, DmaError> {
        let pages = size / PAGE_SIZE;
        let (pool, _) = self.atomic.as_mut().ok_or(DmaError::PoolExhausted { pages, free: 0 })?;
        let (span, phys, region) = pool.alloc(pages)?;
        match device.reach(phys, size, device.coherent_mask) {
            Ok(addr) => {
                let (caching, source) = (Caching::Uncached, Source::Atomic(span));
                Ok(Coherent { region, phys, addr, caching, source })
            }
            Err(error) => {
                pool.free(span);
                Err(error)
            }
        }
    }

    fn take_from_area<P: PlatformFor<B>>(
        &self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        area: Area<P>,
        size: u32,
        gfp: Gfp,
        caching: Caching,
    ) -> Result<Coherent<B>, DmaError> {
        let pages = size / PAGE_SIZE;
        let align = self.alignment(pages);
        let block = platform.contiguous().alloc(area, pages, align, gfp.contains(Gfp::__NOWARN))?;
        let phys = P::Contiguous::pfn(&block).addr();
        let linear = platform.linear_virt(phys).is_some();
        let ready = match linear {
            true => ready(platform, device, phys, size),
            false => map(platform, device, phys, size, caching),
        };
        match ready {
            Ok((region, addr)) => {
                let source = if linear { Source::Contiguous(block) } else { Source::Mapped(block) };
                Ok(Coherent { region, phys, addr, caching, source })
            }
            Err(error) => {
                platform.contiguous().release(block);
                Err(error)
            }
        }
    }

    /// The zone bits are the DMA API's to choose: zone DMA for a device that reaches nothing else
    /// (`dma_direct_optimal_gfp_mask`).
    pub(crate) fn zone_of<A: Copy>(&self, device: &Device<'_, A>, gfp: Gfp) -> Gfp {
        let gfp = gfp.difference(Gfp::__DMA | Gfp::__HIGHMEM | Gfp::__COMP | Gfp::__ZERO | Gfp::__MOVABLE);
        let end = self.config.dma_end.map_or(0, |end| end.addr().get());
        if device.last_reached(device.coherent_mask) < end.into() { gfp | Gfp::__DMA } else { gfp }
    }

    /// Pages; for a device that reaches some of the pages outside of zone DMA but not these, pages of that zone.
    fn take_from_pages<P: PlatformFor<B>>(
        &self,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        size: u32,
        gfp: Gfp,
        caching: Caching,
    ) -> Result<Coherent<B>, DmaError> {
        let run = platform.pages().alloc(gfp, size / PAGE_SIZE, PageState::Dma)?;
        let phys = run.pfn().addr();
        let error = match ready(platform, device, phys, size) {
            Ok((region, addr)) => {
                return Ok(Coherent { region, phys, addr, caching, source: Source::Pages(run) });
            }
            Err(error) => error,
        };
        platform.pages().free(run);
        let lower = self.config.dma_end.is_some() && !gfp.contains(Gfp::__DMA);
        match error {
            DmaError::Unreachable { .. } if lower => {
                self.take_from_pages(platform, device, size, gfp | Gfp::__DMA, caching)
            }
            error => Err(error),
        }
    }

    /// The alignment, as an order, that a contiguous buffer of `pages` pages is given.
    pub(crate) fn alignment(&self, pages: u32) -> u8 {
        let order = u32::BITS - pages.saturating_sub(1).leading_zeros();
        (order as u8).min(self.config.cma_alignment)
    }
}

/// CMA areas that one buffer may come from: the device's and the default one.
pub const MAX_AREAS: usize = 2;

/// The CMA areas to try.
pub(crate) fn areas<P: Platform>(
    platform: &mut P,
    device: &Device<'_, Area<P>>,
    size: u32,
    gfp: Gfp,
    caching: Caching,
) -> [Option<Area<P>>; MAX_AREAS] {
    if !gfp.may_block() {
        return [None; MAX_AREAS];
    }
    let too_small = caching == Caching::Snooped && size <= PAGE_SIZE;
    let default = platform.contiguous().default_area().filter(|_| !too_small);
    let mut reached = |area: &Area<P>| {
        let (first, last) = platform.contiguous().span(*area);
        let by_cpu = caching != Caching::Clean || platform.linear_virt(first).is_some();
        by_cpu && [first, last].iter().any(|&byte| device.reach(byte, 1, device.coherent_mask).is_ok())
    };
    [device.area.filter(&mut reached), default.filter(|_| default != device.area).filter(&mut reached)]
}

fn ready<P: Platform>(
    platform: &mut P,
    device: &Device<'_, Area<P>>,
    phys: PhysAddr,
    size: u32,
) -> Result<(Region, DmaAddr), DmaError> {
    let addr = device.reach(phys, size, device.coherent_mask)?;
    Ok((region(platform, phys, size)?, addr))
}

/// The same outside of the linear map (`dma_common_contiguous_remap`).
#[cold]
fn map<P: Platform>(
    platform: &mut P,
    device: &Device<'_, Area<P>>,
    phys: PhysAddr,
    size: u32,
    caching: Caching,
) -> Result<(Region, DmaAddr), DmaError> {
    let addr = device.reach(phys, size, device.coherent_mask)?;
    let attr = if caching == Caching::Uncached { MemAttr::NormalNc } else { MemAttr::Normal };
    let start = platform.map(phys, size, attr).map_err(DmaError::Map)?;
    let region = Region::new(start.as_ptr(), size as usize).ok_or(DmaError::NotLinear { phys })?;
    Ok((region, addr))
}
