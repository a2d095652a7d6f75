//! The generic timer: the virtual counter for time, the virtual timer for interrupts (ARM DDI 0406C, B8).

use aarch32_cpu::asm;
use aarch32_cpu::register::{CntVct, Cntfrq, CntvCtl, CntvCval};

/// Ticks a second, as the firmware wrote it into CNTFRQ; 0 when it did not.
#[must_use]
pub fn frequency() -> u32 {
    Cntfrq::read().0
}

/// The counter. It only grows.
#[inline]
#[must_use]
pub fn now() -> u64 {
    // The counter may be read early, before earlier instructions.
    asm::isb();
    CntVct::read().0
}

/// The lower half of the counter, read wherever the CPU likes: for time stamps.
#[inline(always)]
#[must_use]
pub fn low() -> u32 {
    CntVct::read().0 as u32
}

/// Raises the timer's interrupt when the counter reaches `at`, until [`disarm`] or another deadline.
pub fn arm(at: u64) {
    CntvCval::write(CntvCval(at));
    CntvCtl::write(CntvCtl::new_with_raw_value(1));
    asm::isb();
}

/// No interrupt from the timer.
pub fn disarm() {
    CntvCtl::write(CntvCtl::new_with_raw_value(0));
    asm::isb();
}
