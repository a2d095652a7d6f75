//! UARTs, interrupt controllers, timers, DMA engines and virtio.
#![no_std]
