//! What the page allocator asks of the kernel around it.

use crate::highmem::LocalPage;
use crate::log as kernel_log;
use crate::symbols;
use arch_armv7::exception;
use core::sync::atomic::{AtomicU32, Ordering};
use mm::Page;
use mm::pages::Hooks;
use mm::slab::SlabHooks;
use types::{PAGEBLOCK_PAGES, Pfn, VirtAddr, align_down};

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

/// The callers of the memory manager, for whoever keeps them. Its own functions are left out by where they lie, because how
/// many there are depends on what was inlined.
fn backtrace(addresses: &mut [u32]) {
    let own = symbols::mm_text()..symbols::mm_text_end();
    let frame = exception::capture();
    let callers = exception::backtrace(&frame).skip_while(|&pc| own.contains(&VirtAddr::new(pc)));
    addresses.fill(0);
    addresses.iter_mut().zip(callers).for_each(|(slot, pc)| *slot = pc);
}

/// Linux's `struct page *`: the address of the page's record.
pub fn page_pointer(pfn: Pfn) -> u32 {
    let offset = pfn.get().wrapping_mul(size_of::<Page>() as u32);
    PAGE_RECORDS.load(Ordering::Relaxed).wrapping_add(offset)
}

/// Logs the callers, for the runner to give them names.
pub fn dump_stack() {
    log::warn!("Backtrace:");
    exception::backtrace(&exception::capture()).for_each(|address| log::warn!(" [<{address:08x}>]"));
}

/// Calls `work` with a page of highmem.
pub fn with_highmem(pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
    match LocalPage::of(pfn) {
        Ok(page) => work(page.as_ptr()),
        Err(error) => log::error!("{error}"),
    }
}
