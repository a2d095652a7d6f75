//! TLB maintenance, for all CPUs at once.
//!
//! Source: ARM DDI 0406C, B3.10.1: a DSB before, so that the walker sees the changed entry; a DSB after, so that the
//! operation is complete; an ISB, so that this CPU's next instruction uses the result. Cortex-A7 walks look into
//! the data cache (ID_MMFR3, coherent walk), so table entries need no cleaning.

use crate::cp15;
use aarch32_cpu::asm;
use aarch32_cpu::register::SysRegWrite;
use hal::{Asid, TlbOps};
use types::{PAGE_SIZE, VirtAddr};

/// The TLBs of all CPUs.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tlb;

/// Orders earlier stores to tables before what follows, for the walkers of all CPUs.
#[inline]
fn dsb_tables() {
    // SAFETY: a barrier. No `nomem`: stores stay before it.
    unsafe { core::arch::asm!("dsb ishst", options(nostack, preserves_flags)) };
}

#[inline]
fn complete() {
    // SAFETY: barriers.
    unsafe { core::arch::asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

impl TlbOps for Tlb {
    #[inline]
    fn flush_page(&self, virt: VirtAddr, asid: Asid) {
        dsb_tables();
        // SAFETY: dropping TLB entries only costs another walk.
        unsafe { cp15::TlbImvaIs::write_raw(virt.get() & !(PAGE_SIZE - 1) | u32::from(asid.0)) };
        complete();
    }

    #[inline]
    fn flush_pages(&self, virt: VirtAddr, pages: u32, asid: Asid) {
        dsb_tables();
        let mut at = virt.get() & !(PAGE_SIZE - 1) | u32::from(asid.0);
        for _ in 0..pages {
            // SAFETY: as above.
            unsafe { cp15::TlbImvaIs::write_raw(at) };
            at = at.wrapping_add(PAGE_SIZE);
        }
        complete();
    }

    fn flush_asid(&self, asid: Asid) {
        dsb_tables();
        // SAFETY: as above.
        unsafe { cp15::TlbIasidIs::write_raw(u32::from(asid.0)) };
        complete();
    }

    fn flush_all(&self) {
        dsb_tables();
        // SAFETY: as above.
        unsafe { cp15::TlbIallIs::write_raw(0) };
        complete();
    }

    #[inline]
    fn publish(&self, _table: *const u8, _len: usize) {
        dsb_tables();
        asm::isb();
    }
}
