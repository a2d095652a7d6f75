//! Data cache maintenance by address to the point of coherency, and making stored instructions visible.
//!
//! Source: ARM DDI 0406C, B2.2.6 to B2.2.9. Maintenance by address of Inner Shareable memory reaches all CPUs.

use crate::cp15;
use aarch32_cpu::asm;
use aarch32_cpu::register::{Ctr, Dccimvac, Dccmvac, Dcimvac, SysRegWrite};
use hal::CacheOps;

/// This CPU's data caches.
#[derive(Clone, Copy, Default, Debug)]
pub struct Caches;

/// Bytes in the smallest line of the data caches, from CTR.DminLine.
#[inline]
fn line() -> usize {
    4 << (Ctr::read().0 >> 16 & 0xf)
}

/// Lines in one turn of the loop over a range.
const TURN: usize = 32;

/// Calls `each` with the address of every line that `[start, start + len)` touches, then waits for completion.
#[inline]
fn lines(start: *const u8, len: usize, each: impl Fn(u32)) {
    let line = line();
    let first = start.addr() & !(line - 1);
    let mut at = first;
    let mut left =
        if len == 0 { 0 } else { (start.addr() - first + len + line - 1) >> line.trailing_zeros() };
    while left >= TURN {
        for _ in 0..TURN {
            each(at as u32);
            at += line;
        }
        left -= TURN;
    }
    for _ in 0..left {
        each(at as u32);
        at += line;
    }
    asm::dsb();
}

impl CacheOps for Caches {
    fn line_size(&self) -> usize {
        line()
    }

    fn clean(&self, start: *const u8, len: usize) {
        // SAFETY: cleaning changes no data.
        lines(start, len, |at| unsafe { Dccmvac::write(Dccmvac(at)) });
    }

    fn invalidate(&self, start: *const u8, len: usize) {
        let mask = line() - 1;
        let end = start.addr() + len;
        if len > 0 && start.addr() & mask != 0 {
            flush_line(start.addr());
        }
        if len > 0 && end & mask != 0 {
            flush_line(end);
        }
        // SAFETY: whole lines of memory that the caller gives up for what a device wrote (invariant 6); the lines
        // at the ends, which others may share, are clean by now.
        lines(start, len, |at| unsafe { Dcimvac::write(Dcimvac(at)) });
    }

    fn flush(&self, start: *const u8, len: usize) {
        lines(start, len, |at| flush_line(at as usize));
    }
}

#[inline]
fn flush_line(at: usize) {
    // SAFETY: cleaning and invalidating changes no data.
    unsafe { Dccimvac::write(Dccimvac(at as u32)) };
}

/// Makes instructions stored at `[start, start + len)` the ones that all CPUs fetch (ARM DDI 0406C, A3.5.4).
pub fn sync_instructions(start: *const u8, len: usize) {
    // SAFETY: cleaning to the point of unification changes no data.
    lines(start, len, |at| unsafe { cp15::DcCmvaU::write_raw(at) });
    // SAFETY: invalidating instruction caches and predictors changes no data.
    unsafe {
        cp15::IcIallUis::write_raw(0);
        cp15::BpIallIs::write_raw(0);
    }
    asm::dsb();
    asm::isb();
}
