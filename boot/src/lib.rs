//! Arithmetic of the early page tables and the boot protocol.
#![no_std]
