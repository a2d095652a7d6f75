//! Early memory: from boot data to a memblock, placed as Linux places it.
#![no_std]
