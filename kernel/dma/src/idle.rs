//! The usual case in few instructions: the memory lies idle, in the first area that it would be asked of, and the linear
//! map has it in small pages already; or the device has a pool of its own, and the memory is to be had there or nowhere.
//!
//! ```text
//! alloc_idle   take idle pages, zero, remap, flush        alloc_pooled   take, zero
//! free_idle    remap, release                             free_pooled    give back
//! ```
//!
//! The order of the steps is that of [`crate::steps`], for the same reasons, and a buffer whose section of the linear map has
//! to be split goes on there. Anything else is left to [`Dma::alloc_coherent`] and [`Dma::free`]: other sources, pages to be
//! moved.

use crate::buffer::{Coherent, Source};
use crate::coherent::{Dma, complain, trace_alloc};
use crate::platform::{Areas, CpuView};
use crate::remap::{Caching, region, whole_pages};
use crate::{Device, DmaError, Fresh};
use hal::{CacheOps, MemAttr, PageTable, Prot};
use mm::Gfp;
use types::{PAGE_SIZE, PhysAddr};

/// What idle pages take of the kernel.
#[derive(Debug)]
pub struct Idle<'m, V, A, T> {
    /// The CPU's side of memory.
    pub view: &'m V,
    /// The CMA areas.
    pub areas: &'m mut A,
    /// The kernel's page table. Changes to it are made with interrupts off.
    pub table: &'m mut T,
}

impl<B> Dma<'_, B> {
    /// [`Dma::alloc_coherent`] for a device that has the pool `number`.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc_pooled<A: Copy>(
        &mut self,
        device: &Device<'_, A>,
        number: usize,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<B>, DmaError> {
        let taken = match whole_pages(size) {
            Ok(_) if device.coherent_mask == 0 => Err(DmaError::MaskUnset),
            Ok(size) => self.take_from_private(device, number, size),
            Err(error) => Err(error),
        };
        match taken {
            Ok(buffer) => {
                buffer.region.zero();
                trace_alloc(device, &buffer, gfp);
                Ok(buffer)
            }
            Err(error) => {
                complain(device.name, size, gfp, &error);
                Err(error)
            }
        }
    }

    /// [`Dma::free`] of a buffer of such a device's.
    ///
    /// # Errors
    /// The buffer: it is from elsewhere.
    #[inline]
    pub fn free_pooled(&mut self, buffer: Coherent<B>) -> Result<(), Coherent<B>> {
        let (addr, size, cpu) = (buffer.addr.get(), buffer.size(), buffer.cpu().addr().get());
        match buffer.source {
            Source::Private(number, span) => {
                trace::dma_free_coherent(addr, size, cpu);
                self.give_to_private(number, span);
                Ok(())
            }
            source => Err(Coherent { source, ..buffer }),
        }
    }

    /// [`Dma::alloc_coherent`], if the memory is to be had at once.
    ///
    /// # Errors
    /// The buffer, zeroed, whose mapping has to be changed by [`Fresh::remap`]. `None`, and nothing has changed:
    /// [`Dma::alloc_coherent`] has to be asked.
    #[inline]
    pub fn alloc_idle<V: CpuView, A: Areas<Block = B>, T: PageTable>(
        &mut self,
        with: &mut Idle<'_, V, A, T>,
        device: &Device<'_, A::Area>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<B>, Option<Fresh<B>>> {
        let size = whole_pages(size).map_err(|_| None)?;
        let count = size / PAGE_SIZE;
        let other = device.pool.is_some() || device.coherent || device.coherent_mask == 0 || !gfp.may_block();
        let area = device.area.or_else(|| with.areas.default_area());
        let linear = |area: &A::Area| with.view.linear_virt(with.areas.span(*area).0).is_some();
        let area = area.filter(|area| !other && linear(area)).ok_or(None)?;
        let block = with.areas.alloc_idle(area, count, self.alignment(count)).ok_or(None)?;
        let phys = A::pfn(&block).addr();
        let addr = device.reach(phys, size, device.coherent_mask);
        let (Ok(addr), Ok(region)) = (addr, region(with.view, phys, size)) else {
            with.areas.release(block);
            return Err(None);
        };
        let (caching, source) = (Caching::Uncached, Source::Contiguous(block));
        let buffer = Coherent { region, phys, addr, caching, source };
        trace_alloc(device, &buffer, gfp);
        buffer.region.zero();
        if !remap(with, phys, size, MemAttr::NormalNc) {
            return Err(Some(Fresh::new(buffer)));
        }
        with.view.cache().flush(buffer.region.start().as_ptr(), buffer.region.len());
        Ok(buffer)
    }

    /// [`Dma::free`], if the memory can go back to its area at once.
    ///
    /// # Errors
    /// The buffer, unchanged: [`Dma::free`] has to be asked.
    #[inline]
    pub fn free_idle<V: CpuView, A: Areas<Block = B>, T: PageTable>(
        &mut self,
        with: &mut Idle<'_, V, A, T>,
        buffer: Coherent<B>,
    ) -> Result<(), Coherent<B>> {
        let (phys, addr, size) = (buffer.phys, buffer.addr.get(), buffer.size());
        match buffer.source {
            Source::Contiguous(block) if buffer.caching == Caching::Uncached => {
                if !remap(with, phys, size, MemAttr::Normal) {
                    return Err(Coherent { source: Source::Contiguous(block), ..buffer });
                }
                trace::dma_free_coherent(addr, size, buffer.region.start().addr().get());
                with.areas.release(block);
                Ok(())
            }
            source => Err(Coherent { source, ..buffer }),
        }
    }
}

#[inline]
fn remap<V: CpuView, A, T: PageTable>(
    with: &mut Idle<'_, V, A, T>,
    phys: PhysAddr,
    size: u32,
    attr: MemAttr,
) -> bool {
    let virt = with.view.linear_virt(phys);
    virt.is_some_and(|virt| with.table.protect_pages(virt, size, attr, Prot::WRITE))
}
