//! The linear map: lowmem, where physical memory can be reached through a pointer without further ado.

use types::PhysAddr;

/// Reaches physical memory through pointers.
///
/// On the target this is `virt = phys - PHYS_OFFSET + PAGE_OFFSET`; on the host it points into emulated memory.
///
/// # Safety
/// For every lowmem address `pa`, [`LinearMap::ptr`] must return a pointer that is valid for reads and writes up
/// to the end of the memory bank that holds `pa` (or of lowmem, whichever comes first), and that stays so as long
/// as `self` lives. Two different addresses must give different pointers.
pub unsafe trait LinearMap {
    /// The pointer to `pa`, which must lie in lowmem.
    fn ptr(&self, pa: PhysAddr) -> *mut u8;

    /// The physical address behind a pointer that [`LinearMap::ptr`] gave, or one derived from it; `None` when
    /// `ptr` lies outside of the linear map.
    fn phys(&self, ptr: *const u8) -> Option<PhysAddr>;
}

// SAFETY: forwards to the implementation behind the reference, whose contract holds.
unsafe impl<L: LinearMap + ?Sized> LinearMap for &L {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        (**self).ptr(pa)
    }

    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        (**self).phys(ptr)
    }
}
