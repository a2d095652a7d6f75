//! What is there after boot.

use crate::pages::*;
use crate::{Gfp, Page, PageSource, PageState};
use core::mem::MaybeUninit;
use std::vec::Vec;
use types::{Order, PhysAddr, PhysRange};

pub(super) struct NoMemory;
// SAFETY: never asked for a pointer, because no test that uses it touches pages.
#[allow(unsafe_code)]
unsafe impl hal::LinearMap for NoMemory {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        panic!("touches {pa}")
    }
    fn phys(&self, _: *const u8) -> Option<PhysAddr> {
        None
    }
}

#[test]
fn smoke() {
    let mem = [PhysRange::new(PhysAddr::new(0x8000_0000), 128 << 20)];
    let layout = MapLayout::new(mem.iter().copied()).unwrap();
    assert_eq!(layout.metadata_size(), 32768 * 16);
    let mut metadata: Vec<MaybeUninit<Page>> = (0..layout.records()).map(|_| MaybeUninit::uninit()).collect();
    let free = [PhysRange::new(PhysAddr::new(0x8010_0000), 127 << 20)];
    let setup = Setup {
        memory: mem.iter().copied(),
        free: free.iter().copied(),
        dma_end: None,
        highmem_start: None,
        cpus: 1,
    };
    let mut pages = PageAllocator::new(setup, &mut metadata, NoMemory, Hooks::default()).unwrap();
    pages.buddy().validate().unwrap();
    let mut held = Vec::new();
    for order in 0..=10 {
        for _ in 0..3 {
            held.push(pages.alloc_pages(Gfp::KERNEL, Order::new(order).unwrap(), PageState::Kernel).unwrap());
            pages.buddy().validate().unwrap();
        }
    }
    for frames in held {
        pages.free_pages(frames);
        pages.buddy().validate().unwrap();
    }
    std::println!(
        "{}{}{}{}",
        BuddyInfo(pages.buddy()),
        PageTypeInfo(pages.buddy()),
        ZoneInfo(pages.buddy()),
        pages.buddy().vmstat()
    );
}
