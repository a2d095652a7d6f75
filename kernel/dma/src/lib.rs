//! The DMA API over mm and hal.
#![no_std]
