//! Drivers of bus masters, on the emulated machine that the DMA API's own tests run on.
//!
//! Not under Miri, where the emulated caches take minutes; the unsafe code below is the `dma` package's, whose tests run
//! there.
#![cfg(not(miri))]

mod bcm2835_dma;
#[path = "../../../dma/tests/dma/rig.rs"]
mod rig;
mod virtio;
