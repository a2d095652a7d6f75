//! The linear map of lowmem: `virt = phys - PHYS_OFFSET + PAGE_OFFSET`.

use boot::layout::PAGE_OFFSET;
use hal::LinearMap;
use types::{PhysAddr, VirtAddr};

/// Lowmem, from `PHYS_OFFSET` up to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linear {
    phys_offset: PhysAddr,
    size: u32,
}

impl Linear {
    /// Lowmem of `size` bytes from `phys_offset` on; it ends at or below `VMALLOC_END`.
    ///
    /// # Safety
    /// Every page in it that is used through this value is mapped there, now and as long as it is used.
    #[must_use]
    pub const unsafe fn new(phys_offset: PhysAddr, size: u32) -> Self {
        Self { phys_offset, size }
    }

    /// The base of lowmem.
    #[must_use]
    pub const fn phys_offset(self) -> PhysAddr {
        self.phys_offset
    }

    /// The virtual address of `pa`, which must lie in lowmem.
    #[must_use]
    pub const fn virt(self, pa: PhysAddr) -> VirtAddr {
        VirtAddr::new(pa.get().wrapping_sub(self.phys_offset.get()).wrapping_add(PAGE_OFFSET))
    }

    /// Whether all of `[pa, pa + len)` is lowmem.
    #[inline]
    #[must_use]
    pub const fn holds(self, pa: PhysAddr, len: u32) -> bool {
        let at = pa.get().wrapping_sub(self.phys_offset.get());
        at < self.size && len <= self.size - at
    }

    /// The physical address of `virt`; `None` outside of lowmem.
    #[must_use]
    pub const fn phys_of(self, virt: VirtAddr) -> Option<PhysAddr> {
        match virt.get().checked_sub(PAGE_OFFSET) {
            Some(at) if at < self.size => Some(PhysAddr::new(self.phys_offset.get().wrapping_add(at))),
            _ => None,
        }
    }
}

// SAFETY: the translation is an offset, so different addresses have different pointers; that they are valid is the
// promise that `new` asks for.
unsafe impl LinearMap for Linear {
    #[inline]
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.virt(pa).get() as usize)
    }

    #[inline]
    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.phys_of(VirtAddr::new(u32::try_from(ptr.addr()).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowmem_is_an_offset_and_nothing_else() {
        // SAFETY: no pointer is followed.
        let map = unsafe { Linear::new(PhysAddr::new(0x2000_0000), 127 << 20) };
        assert_eq!(map.virt(PhysAddr::new(0x264c_0000)), VirtAddr::new(0xc64c_0000));
        assert_eq!(map.phys_of(VirtAddr::new(0xc7ef_ffff)), Some(PhysAddr::new(0x27ef_ffff)));
        assert_eq!(map.phys_of(VirtAddr::new(0xc7f0_0000)), None);
        assert_eq!(map.phys_of(VirtAddr::new(0xbfff_ffff)), None);
        let holds = |pa, len| map.holds(PhysAddr::new(pa), len);
        assert!(holds(0x2000_0000, 127 << 20) && holds(0x27ef_f000, 0x1000) && holds(0x2000_1000, 0));
        assert!(!holds(0x27ef_f000, 0x1001) && !holds(0x1fff_f000, 0x1000) && !holds(0x27f0_0000, 1));
    }
}
