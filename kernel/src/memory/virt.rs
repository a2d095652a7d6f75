//! `vmalloc` and `vfree`, as any code may use them that doesn't hold the memory manager.

use super::{MM, in_atomic};
use arch_armv7::cpu;
use mm::Gfp;
use mm::vmalloc::{Context, VfreeError, VmallocError};
use types::VirtAddr;

/// What `vmalloc` asks the page allocator for, unless told otherwise.
pub const VMALLOC: Gfp = Gfp::KERNEL.union(Gfp::__HIGHMEM);

/// `size` bytes, rounded up to pages, which the file `vmallocinfo` shows as its caller's; see [`mm::vmalloc::Vmalloc::vmalloc_gfp`].
///
/// # Errors
/// [`VmallocError`]; [`VmallocError::TableFull`] also before there is a memory manager.
#[inline(never)]
pub fn vmalloc(size: u32, gfp: Gfp) -> Result<VirtAddr, VmallocError> {
    let context = Context { caller: cpu::return_address(), atomic: in_atomic() };
    let mut held = MM.lock().ok_or(VmallocError::TableFull)?;
    // What is tried at once must not use up a failure that the request itself shall see.
    let failing = held.pages.fail_page_alloc().is_on();
    let (areas, mut backing) = held.vmalloc();
    if !failing && let Some(area) = hot::vmalloc_at_once(areas, &mut backing, context, (size, gfp)) {
        return Ok(area);
    }
    areas.vmalloc_gfp(&mut backing, context, size, gfp)
}

/// Frees it.
///
/// # Errors
/// [`VfreeError`]; nothing has changed then.
pub fn vfree(area: VirtAddr) -> Result<(), VfreeError> {
    let context = Context { caller: 0, atomic: in_atomic() };
    let mut held = MM.lock().ok_or(VfreeError::NoArea { addr: area })?;
    let (areas, mut backing) = held.vmalloc();
    if hot::vfree_at_once(areas, &mut backing, context, area) {
        return Ok(());
    }
    areas.vfree(&mut backing, context, area)
}
