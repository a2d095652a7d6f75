//! `dma_pool`: many small coherent objects of one size, such as a device's descriptors.
//!
//! ```text
//! page:  | block | block | block |  ...  boundary | block |
//!           free: first word = offset of the next free block in this page
//! ```
//!
//! Blocks begin at multiples of the alignment and never cross a multiple of `boundary`. A free block's first word is
//! in memory that the device can write, so it is checked before it is followed.

use crate::access::Region;
use crate::platform::{Area, PlatformFor};
use crate::{Coherent, Device, Dma, DmaAddr, DmaError};
use core::fmt;
use core::ptr::NonNull;
use mm::Gfp;
use types::PAGE_SIZE;

const END: u32 = u32::MAX;

/// Why a pool can't be made, or a block not be freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolError {
    /// A size of 0, an alignment or boundary that isn't a power of two, or a boundary below the size.
    BadShape {
        /// Bytes in a block.
        size: u32,
        /// Its alignment.
        align: u32,
        /// What it may not cross.
        boundary: u32,
    },
    /// The block is of another pool.
    Foreign {
        /// The block.
        cpu: NonNull<u8>,
    },
    /// Blocks are still in use.
    Busy {
        /// How many.
        blocks: u32,
    },
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadShape { size, align, boundary } => {
                write!(f, "no DMA pool of size {size}, align {align}, boundary {boundary} can be")
            }
            Self::Foreign { cpu } => write!(f, "{:p} (bad vaddr)", cpu.as_ptr()),
            Self::Busy { blocks } => write!(f, "{blocks} blocks busy"),
        }
    }
}

/// Coherent memory that a pool cuts into blocks.
#[derive(Debug)]
pub struct PoolPage<B> {
    buffer: Coherent<B>,
    first_free: u32,
    in_use: u32,
}

/// A block: an ownership token.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the token leaks the block"]
pub struct PoolBlock {
    region: Region,
    addr: DmaAddr,
    page: usize,
    offset: u32,
}

impl PoolBlock {
    /// Where the CPU sees it.
    pub const fn cpu(&self) -> NonNull<u8> {
        self.region.start()
    }

    /// Where the device sees it.
    pub const fn addr(&self) -> DmaAddr {
        self.addr
    }

    /// The little-endian word at `offset`, in one access.
    ///
    /// # Panics
    /// When it isn't inside, or not a multiple of four.
    #[must_use]
    pub fn read_u32(&self, offset: usize) -> u32 {
        self.region.read_u32(offset)
    }

    /// Stores a little-endian word, in one access.
    ///
    /// # Panics
    /// As [`PoolBlock::read_u32`].
    pub fn write_u32(&mut self, offset: usize, word: u32) {
        self.region.write_u32(offset, word);
    }
}

/// A pool, with slots for its pages that the caller owns.
#[derive(Debug)]
pub struct DmaPool<'a, B> {
    name: &'a str,
    size: u32,
    boundary: u32,
    pages: &'a mut [Option<PoolPage<B>>],
}

impl<'a, B> DmaPool<'a, B> {
    /// A pool of blocks of `size` bytes, aligned to `align` (at
    /// least 4), that don't cross multiples of `boundary` (0: of a page, or of
    /// their own size if that is larger). Each of `pages` will hold a page of blocks.
    ///
    /// # Errors
    /// [`PoolError::BadShape`].
    pub fn new(
        name: &'a str,
        size: u32,
        align: u32,
        boundary: u32,
        pages: &'a mut [Option<PoolPage<B>>],
    ) -> Result<Self, PoolError> {
        let error = PoolError::BadShape { size, align, boundary };
        if align != 0 && !align.is_power_of_two() {
            return Err(error);
        }
        let align = align.max(4);
        if size == 0 || size > 1 << 30 || align > PAGE_SIZE {
            return Err(error);
        }
        let size = size.next_multiple_of(align);
        let allocation = size.max(PAGE_SIZE);
        let boundary = if boundary == 0 { allocation } else { boundary.min(allocation) };
        if boundary < size || !(boundary.is_power_of_two() || boundary == allocation) {
            return Err(error);
        }
        Ok(Self { name, size, boundary, pages })
    }

    const fn allocation(&self) -> u32 {
        if self.size > PAGE_SIZE { self.size } else { PAGE_SIZE }
    }

    /// Chains all blocks of a fresh page.
    fn carve(&self, buffer: Coherent<B>) -> PoolPage<B> {
        let mut at = 0;
        loop {
            let mut next = at + self.size;
            if next / self.boundary * self.boundary + self.boundary < next + self.size {
                next = next.next_multiple_of(self.boundary);
            }
            let last = next + self.size > self.allocation();
            buffer.region().write_u32(at as usize, if last { END } else { next });
            if last {
                return PoolPage { buffer, first_free: 0, in_use: 0 };
            }
            at = next;
        }
    }

    /// A zeroed block (`dma_pool_zalloc`).
    ///
    /// # Errors
    /// Those of [`Dma::alloc_coherent`], and [`DmaError::TableFull`] when all pages are full.
    pub fn alloc<P: PlatformFor<B>>(
        &mut self,
        dma: &mut Dma<'_, B>,
        platform: &mut P,
        device: &Device<'_, Area<P>>,
        gfp: Gfp,
    ) -> Result<PoolBlock, DmaError> {
        let has_free = |page: &Option<PoolPage<B>>| page.as_ref().is_some_and(|page| page.first_free != END);
        let page = match self.pages.iter().position(has_free) {
            Some(page) => page,
            None => {
                let slots = self.pages.len();
                let free =
                    self.pages.iter().position(Option::is_none).ok_or(DmaError::TableFull { slots })?;
                let buffer = dma.alloc_coherent(platform, device, self.allocation(), gfp)?;
                self.pages[free] = Some(self.carve(buffer));
                free
            }
        };
        self.take_from(page).ok_or(DmaError::TableFull { slots: self.pages.len() })
    }

    fn take_from(&mut self, number: usize) -> Option<PoolBlock> {
        let allocation = self.allocation();
        let page = self.pages.get_mut(number)?.as_mut()?;
        let offset = page.first_free;
        let region = page.buffer.region().part(offset as usize, self.size as usize);
        let next = region.read_u32(0);
        let valid = next == END || (next.is_multiple_of(4) && next <= allocation - self.size);
        if !valid {
            log::error!("dma_pool_alloc {}, {:p} (corrupted)", self.name, region.start());
        }
        page.first_free = if valid { next } else { END };
        page.in_use += 1;
        region.zero();
        Some(PoolBlock { region, addr: page.buffer.addr().add(offset), page: number, offset })
    }

    /// Takes a block back.
    ///
    /// # Errors
    /// [`PoolError::Foreign`], in the log too: the block is of another pool, and stays as it is.
    pub fn free(&mut self, block: PoolBlock) -> Result<(), PoolError> {
        let page = self.pages.get_mut(block.page).and_then(Option::as_mut);
        let start = |page: &PoolPage<B>| page.buffer.cpu().as_ptr().wrapping_add(block.offset as usize);
        match page
            .filter(|page| start(page) == block.cpu().as_ptr() && block.region.len() == self.size as usize)
        {
            Some(page) => {
                block.region.write_u32(0, page.first_free);
                page.first_free = block.offset;
                page.in_use -= 1;
                Ok(())
            }
            None => {
                let error = PoolError::Foreign { cpu: block.cpu() };
                log::error!("dma_pool_free {}, {error}", self.name);
                Err(error)
            }
        }
    }

    /// Gives all pages back.
    ///
    /// # Errors
    /// [`PoolError::Busy`], in the log too: pages with blocks in use are kept.
    pub fn destroy<P: PlatformFor<B>>(self, dma: &mut Dma<'_, B>, platform: &mut P) -> Result<(), PoolError> {
        let mut blocks = 0;
        for slot in self.pages.iter_mut() {
            if let Some(page) = slot.take_if(|page| page.in_use == 0) {
                dma.free(platform, page.buffer);
            } else if let Some(page) = slot {
                log::error!("dma_pool_destroy {}, {:p} busy", self.name, page.buffer.cpu());
                blocks += page.in_use;
            }
        }
        if blocks == 0 { Ok(()) } else { Err(PoolError::Busy { blocks }) }
    }
}
