//! CP15, page tables, TLB and cache operations, vectors and fixmap of ARMv7-A.
#![no_std]

pub mod pgtable;
