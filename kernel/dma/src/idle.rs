//! The usual case in few instructions: the memory lies idle, in the first area that it would be asked of, and the linear
//! map has it in small pages already; or the device has a pool of its own, and the memory is to be had there or nowhere.
//!
//! ```text
//! alloc_idle   take idle pages, zero, remap, flush        alloc_pooled   take, zero
//! free_idle    remap, release                             free_pooled    give back
//! ```
//!
//! The order of the steps is that of [`crate::steps`], for the same reasons. Anything else is left to
//! [`Dma::alloc_coherent`] and [`Dma::free`]: other sources, pages to be moved, sections to be split.

use crate::access::Region;
use crate::buffer::{Coherent, Source};
use crate::coherent::{Dma, complain};
use crate::platform::{Areas, CpuView};
use crate::remap::{Caching, region, whole_pages};
use crate::{ContiguousError, Device, DmaAddr, DmaError};
use hal::{CacheOps, MapError, MemAttr, PageTable, Prot};
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
                trace_alloc(device, buffer.addr, &buffer.region, gfp);
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
    /// [`DmaError`], and nothing has changed: [`Dma::alloc_coherent`] has to be asked. It is not in the log.
    #[inline]
    pub fn alloc_idle<V: CpuView, A: Areas<Block = B>, T: PageTable>(
        &mut self,
        with: &mut Idle<'_, V, A, T>,
        device: &Device<'_, A::Area>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<B>, DmaError> {
        let size = whole_pages(size)?;
        let count = size / PAGE_SIZE;
        let none = DmaError::Contiguous(ContiguousError::NoRoom { count });
        let other = device.pool.is_some() || device.coherent || device.coherent_mask == 0 || !gfp.may_block();
        let area = device.area.or_else(|| with.areas.default_area());
        let area = area.filter(|_| !other).ok_or(none)?;
        let block = with.areas.alloc_idle(area, count, self.alignment(count)).ok_or(none)?;
        let phys = A::pfn(&block).addr();
        match prepare(with, device, phys, size) {
            Ok((region, addr)) => {
                trace_alloc(device, addr, &region, gfp);
                let (caching, source) = (Caching::Uncached, Source::Contiguous(block));
                Ok(Coherent { region, phys, addr, caching, source })
            }
            Err(error) => {
                with.areas.release(block);
                Err(error)
            }
        }
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

#[inline(always)]
fn trace_alloc<A>(device: &Device<'_, A>, addr: DmaAddr, region: &Region, gfp: Gfp) {
    trace::lazy::dma_alloc_coherent(|| {
        (device.name, addr.get(), region.len() as u32, region.start().addr().get(), gfp.bits())
    });
}

/// Makes memory that was taken ready for the device.
#[inline]
fn prepare<V: CpuView, A: Areas, T: PageTable>(
    with: &mut Idle<'_, V, A, T>,
    device: &Device<'_, A::Area>,
    phys: PhysAddr,
    size: u32,
) -> Result<(Region, DmaAddr), DmaError> {
    let addr = device.reach(phys, size, device.coherent_mask)?;
    let region = region(with.view, phys, size)?;
    region.zero();
    if !remap(with, phys, size, MemAttr::NormalNc) {
        return Err(DmaError::Remap(MapError::NoTable));
    }
    with.view.cache().flush(region.start().as_ptr(), region.len());
    Ok((region, addr))
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
