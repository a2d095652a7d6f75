//! `/dev/cma_test`: a helper to see CMA work, by the driver of that name that comes with the SSD202's document.
//!
//! ```text
//! echo 1 > /dev/cma_test    allocates 1 MiB, the next time 2 MiB, ... in the first free of ten slots; touches every page
//! cat /dev/cma_test         frees the buffer in the first slot that is in use
//! ```
//!
//! The buffers come from whoever implements [`CoherentBuffers`]: in the kernel the DMA API, call by call under its lock.
//! [`replay`] puts the SSD202's other drivers before it, so that the addresses are the document's.

pub mod replay;

use core::fmt;
use dma::Coherent;
use types::PAGE_SIZE;

/// Where a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// For the CPU.
    pub virt: u32,
    /// For the device.
    pub phys: u32,
}

/// Whoever gives out coherent buffers.
pub trait CoherentBuffers {
    /// A buffer: an ownership token (invariant 2).
    type Buffer;

    /// A buffer of at least `size` bytes; `None` when there is no memory, which the log then explains.
    fn alloc(&mut self, size: u32) -> Option<Self::Buffer>;

    /// Takes a buffer back.
    fn free(&mut self, buffer: Self::Buffer);

    /// Where a buffer is.
    fn place(buffer: &Self::Buffer) -> Place;

    /// Stores a word at `offset`, a multiple of four inside of the buffer.
    fn store(buffer: &mut Self::Buffer, offset: u32, word: u32);
}

impl Place {
    /// Where a buffer of the DMA API is.
    pub fn of<B>(buffer: &Coherent<B>) -> Self {
        Self { virt: buffer.cpu().addr().get() as u32, phys: buffer.addr().get() }
    }
}

const MIB: u32 = 1 << 20;
const SLOTS: usize = 10;

/// Both addresses, as the driver prints them: `%p`, which 32-bit kernels before 4.15 print in eight bare digits.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virt: {:08x} phys: {:08x}", self.virt, self.phys)
    }
}

/// The driver: up to ten buffers, of 1, 2, ... 10 MiB.
#[derive(Debug)]
pub struct CmaTest<T> {
    slots: [Option<T>; SLOTS],
}

impl<T> CmaTest<T> {
    /// The driver's start, with its line in the log.
    #[must_use]
    pub fn register() -> Self {
        log::info!("misc cma_test: registered.");
        Self { slots: [const { None }; SLOTS] }
    }

    /// What a write to the device does, whatever is written: allocates, touches every page, and says how it went.
    /// Like the original it does not fail; the log tells. With all ten slots in use nothing happens.
    pub fn write<K: CoherentBuffers<Buffer = T>>(&mut self, buffers: &mut K) {
        let Some(number) = self.slots.iter().position(Option::is_none) else { return };
        let size = (number as u32 + 1) * MIB;
        let Some(mut buffer) = buffers.alloc(size) else {
            return log::error!("misc cma_test: [{number}] no mem in CMA area");
        };
        for page in 0..size / PAGE_SIZE {
            K::store(&mut buffer, page * PAGE_SIZE, page);
        }
        log::info!("misc cma_test: [{number}] alloc {}", K::place(&buffer));
        self.slots[number] = Some(buffer);
    }

    /// What a read does: frees the buffer of the first slot in use. There is nothing to be read.
    pub fn read<K: CoherentBuffers<Buffer = T>>(&mut self, buffers: &mut K) {
        if let Some(buffer) = self.slots.iter_mut().find_map(Option::take) {
            let place = K::place(&buffer);
            buffers.free(buffer);
            log::info!("misc cma_test: free {place}");
        }
    }

    /// The buffers held, by slot.
    pub fn buffers(&self) -> impl Iterator<Item = (usize, &T)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }
}
