//! Addresses, page frame numbers, orders and ranges: the vocabulary of every other crate.
//!
//! Physical and virtual addresses are 32 bits wide on every host, as on an ARMv7-A without LPAE, so the
//! arithmetic that is tested on a 64-bit machine is the arithmetic that runs on the target.
//!
//! ```text
//! PhysAddr 0x2640_3010  = Pfn 0x26403 << PAGE_SHIFT | 0x010
//!                         Pfn 0x26400 .. 0x26800 = one pageblock = one block of Order 10
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod addr;
mod order;
mod random;
mod range;
mod sort;

pub use addr::{Pfn, PhysAddr, VirtAddr};
pub use order::Order;
pub use random::xorshift;
pub use range::PhysRange;
pub use sort::insertion_sort_by_key;

/// Bytes in a page.
pub const PAGE_SIZE: u32 = 1 << PAGE_SHIFT;
/// Base-2 logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a first-level section mapping (ARM DDI 0406C, B3.5.1).
pub const SECTION_SIZE: u32 = 1 << 20;
/// Pages in a pageblock, the unit that carries a migratetype: the largest buddy block, 4 MiB.
pub const PAGEBLOCK_PAGES: u32 = 1 << Order::MAX.get();

/// `x` rounded up to a multiple of the power of two `align`; `None` when that is 2^32 or more.
#[must_use]
pub const fn align_up(x: u32, align: u32) -> Option<u32> {
    match x.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// `x` rounded down to a multiple of the power of two `align`.
#[must_use]
pub const fn align_down(x: u32, align: u32) -> u32 {
    x & !(align - 1)
}
