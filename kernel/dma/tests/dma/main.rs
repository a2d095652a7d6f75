//! The DMA API on an emulated machine with non-coherent caches.

mod coherent;
mod pools;
mod refusals;
mod rig;
mod stream;
mod streaming;
mod virtio;

type TestDma<'a> = dma::Dma<'a, rig::Block>;
