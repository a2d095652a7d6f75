//! What the page allocator asks of the kernel around it.

use crate::log as kernel_log;
use crate::machine::FIXMAP;
use arch_armv7::exception;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::{MemAttr, Prot};
use mm::Page;
use mm::pages::Hooks;
use mm::slab::SlabHooks;
use types::{PAGE_SIZE, PAGEBLOCK_PAGES, Pfn, align_down};

/// Where the record of pfn 0 would be, if the first bank of the memory map went down so far.
static PAGE_RECORDS: AtomicU32 = AtomicU32::new(0);

/// The hooks, for a memory map whose first record, of the pageblock of `first`, is at `records`.
pub fn hooks(records: *const Page, first: Pfn) -> Hooks {
    let below = align_down(first.get(), PAGEBLOCK_PAGES).wrapping_mul(size_of::<Page>() as u32);
    PAGE_RECORDS.store((records.addr() as u32).wrapping_sub(below), Ordering::Relaxed);
    Hooks { dump_stack, with_highpage: with_highmem, page_pointer, backtrace, now: kernel_log::now }
}

/// The hooks of the slab allocator.
pub fn slab_hooks() -> SlabHooks {
    const JIFFY: u64 = 10_000_000;
    SlabHooks { dump_stack, backtrace, jiffies: || (kernel_log::now() / JIFFY) as u32 }
}

/// The callers, for whoever keeps them.
fn backtrace(addresses: &mut [u32]) {
    addresses.fill(0);
    addresses.iter_mut().zip(exception::backtrace(&exception::capture())).for_each(|(slot, pc)| *slot = pc);
}

/// Linux's `struct page *`: the address of the page's record.
pub fn page_pointer(pfn: Pfn) -> u32 {
    let offset = pfn.get().wrapping_mul(size_of::<Page>() as u32);
    PAGE_RECORDS.load(Ordering::Relaxed).wrapping_add(offset)
}

/// Logs the callers, for the runner to give them names.
fn dump_stack() {
    log::warn!("Backtrace:");
    exception::backtrace(&exception::capture()).for_each(|address| log::warn!(" [<{address:08x}>]"));
}

/// Calls `work` with a temporary mapping of a page of highmem (`kmap_atomic`), through the fixmap.
pub fn with_highmem(pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
    let mut fixmap = FIXMAP.lock();
    match fixmap.early_ioremap(pfn.addr(), PAGE_SIZE, MemAttr::Normal, Prot::WRITE) {
        Ok(mapping) => {
            work(core::ptr::with_exposed_provenance_mut(mapping.virt().get() as usize));
            fixmap.early_iounmap(mapping);
        }
        Err(error) => log::error!("{error}"),
    }
}
