//! What the SSD202's drivers take from the CMA area before `cma_test` runs, in the order and with the lines of its log.
//!
//! The log gives page pointers, `struct page` is 32 bytes, and BDMA's page is named with its address; so each pointer
//! is a position in the area of 0x26400000 (all in pages):
//!
//! ```text
//! 0x00..0x40  the pool for atomic allocations, 256 KiB: taken at boot, before anything is logged
//! 0x40, 0x41  taken by then too: EHCI's first page is 0x42 (c63bd840)
//! 0x42..0x45  EHCI, three pages              c63bd840 c63bd860 c63bd880
//! 0x45..0x48  three pages that the log leaves out: the next one is three further on
//! 0x48        BDMA          0x26448000       c63bd900
//! 0x49        emac0_buff    0x26449000       c63bd920
//! 0x4a        sdmmc         0x2644a000       c63bd940
//! 0x50..0xc0  taken by the time cma_test runs: its first MiB, 16 pages aligned, is at 0xc0 (c63be800) and not at 0x50
//! ```
//!
//! Who had the last stretch, and in how many pieces, the log doesn't tell; one buffer of 448 KiB stands for it. The
//! pages before 0x42 are taken one by one until that one is next, however many the kernel has taken itself.

use super::{CoherentBuffers, Place};
use alloc::vec::Vec;
use core::fmt;
use types::PAGE_SIZE;

/// The area's start on the SSD202.
const AREA: u32 = 0x2640_0000;
const EHCI: u32 = AREA + 0x42 * PAGE_SIZE;
const OTHERS_PAGES: u32 = 0xc0 - 0x50;

/// Why the SSD202's allocations can't be made here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// A buffer is not where it was on the SSD202.
    Elsewhere {
        /// Whose.
        name: &'static str,
        /// Its address there.
        expected: u32,
        /// Its address here.
        found: u32,
    },
    /// The area is full.
    NoMemory {
        /// Who asked.
        name: &'static str,
        /// For how many pages.
        pages: u32,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { name, expected, found } => {
                write!(f, "{name}: buffer is at {found:#010x}, on the SSD202 it is at {expected:#010x}")
            }
            Self::NoMemory { name, pages } => write!(f, "{name}: no memory for {pages} pages"),
        }
    }
}

impl core::error::Error for ReplayError {}

/// The buffers of the SSD202's drivers.
#[derive(Debug)]
#[must_use = "dropping the tokens leaks the buffers"]
pub struct Replay<T> {
    held: Vec<T>,
}

impl<T> Replay<T> {
    /// Allocates what the drivers of the SSD202 allocate, and prints what they print.
    ///
    /// # Errors
    /// [`ReplayError`]; all is given back then.
    pub fn run<K: CoherentBuffers<Buffer = T>>(buffers: &mut K) -> Result<Self, ReplayError> {
        let mut replay = Self { held: Vec::new() };
        match replay.all(buffers) {
            Ok(()) => Ok(replay),
            Err(error) => {
                replay.free(buffers);
                Err(error)
            }
        }
    }

    /// Gives everything back.
    pub fn free<K: CoherentBuffers<Buffer = T>>(self, buffers: &mut K) {
        self.held.into_iter().rev().for_each(|buffer| buffers.free(buffer));
    }

    fn all<K: CoherentBuffers<Buffer = T>>(&mut self, buffers: &mut K) -> Result<(), ReplayError> {
        self.fill_up_to_ehci(buffers)?;
        log::info!("Sstar-ehci-2 soc:Sstar-ehci-2: EHCI Host Controller");
        log::info!("Sstar-ehci-2 soc:Sstar-ehci-2: new USB bus registered, assigned bus number 1");
        for page in 0x42..0x45 {
            self.page_at(buffers, "Sstar-ehci-2", page)?;
        }
        for page in 0x45..0x48 {
            self.page_at(buffers, "soc", page)?;
        }
        self.dmem(buffers, "BDMA", 0x840, 0x48)?;
        self.dmem(buffers, "emac0_buff", 0x812, 0x49)?;
        log::info!(">> [sdmmc] ms_sdmmc_probe");
        self.page_at(buffers, "sdmmc", 0x4a)?;
        self.take(buffers, "soc", OTHERS_PAGES).and_then(|place| check("soc", 0x50, place))
    }

    /// Single pages until the one before EHCI's is taken.
    fn fill_up_to_ehci<K: CoherentBuffers<Buffer = T>>(
        &mut self,
        buffers: &mut K,
    ) -> Result<(), ReplayError> {
        loop {
            let place = self.take(buffers, "soc", 1)?;
            match place.phys {
                phys if phys + PAGE_SIZE == EHCI => return Ok(()),
                phys if (AREA..EHCI).contains(&phys) => {}
                found => {
                    return Err(ReplayError::Elsewhere { name: "soc", expected: EHCI - PAGE_SIZE, found });
                }
            }
        }
    }

    /// A buffer through the vendor's own layer, which announces it: at least a page, whatever was asked for.
    fn dmem<K: CoherentBuffers<Buffer = T>>(
        &mut self,
        buffers: &mut K,
        name: &'static str,
        size: u32,
        page: u32,
    ) -> Result<(), ReplayError> {
        log::info!("MSYS: DMEM request: [{name}]:{size:#010x}");
        let place = self.page_at(buffers, name, page)?;
        let Place { virt, phys } = place;
        log::info!(
            "MSYS: DMEM request: [{name}]:{size:#010x} success, CPU phy:@0x{phys:08X}, virt:@0x{virt:08X}"
        );
        Ok(())
    }

    fn page_at<K: CoherentBuffers<Buffer = T>>(
        &mut self,
        buffers: &mut K,
        name: &'static str,
        page: u32,
    ) -> Result<Place, ReplayError> {
        let place = self.take(buffers, name, 1)?;
        check(name, page, place).map(|()| place)
    }

    fn take<K: CoherentBuffers<Buffer = T>>(
        &mut self,
        buffers: &mut K,
        name: &'static str,
        pages: u32,
    ) -> Result<Place, ReplayError> {
        let buffer = buffers.alloc(pages * PAGE_SIZE).ok_or(ReplayError::NoMemory { name, pages })?;
        let place = K::place(&buffer);
        self.held.push(buffer);
        Ok(place)
    }
}

fn check(name: &'static str, page: u32, place: Place) -> Result<(), ReplayError> {
    let (expected, found) = (AREA + page * PAGE_SIZE, place.phys);
    if expected == found { Ok(()) } else { Err(ReplayError::Elsewhere { name, expected, found }) }
}
