//! Address space identifiers: 8 bits, handed out in generations.
//!
//! ```text
//! generation 1: 1 2 3 ... 255 | all TLBs flushed | generation 2: 1 2 3 (what runs keeps its number) ...
//! ```
//!
//! A space gets a number when it is switched to, and keeps it for the generation. Numbers are never taken back
//! within a generation, so a space may end without a flush: nobody uses its TLB entries. What is running at a
//! rollover keeps its number, because the walker may fill the TLB for it right after the flush (Linux's reserved
//! ASIDs, `arch/arm/mm/context.c`). Number 0 belongs to the kernel and to spaces that never ran.

use super::MAX_CPUS;
use hal::{Asid, TlbOps};

/// Identifiers of 8 bits.
const ASIDS: u16 = 256;

/// Who has a number, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Held {
    generation: u32,
    asid: u8,
}

/// The numbers.
#[derive(Debug)]
pub(crate) struct Asids {
    generation: u32,
    next: u16,
    /// The slots that run and their numbers, by CPU.
    active: [Option<(u16, u8)>; MAX_CPUS],
    /// The same at the last rollover: these numbers have TLB entries from before it, and stay with their owners.
    reserved: [Option<(u16, u8)>; MAX_CPUS],
}

impl Asids {
    pub(crate) const fn new() -> Self {
        Self { generation: 1, next: 1, active: [None; MAX_CPUS], reserved: [None; MAX_CPUS] }
    }

    /// Rollovers so far.
    pub(crate) const fn rollovers(&self) -> u32 {
        self.generation - 1
    }

    /// Whether a CPU runs the space.
    pub(crate) fn is_active(&self, slot: u16) -> bool {
        self.active.iter().flatten().any(|active| active.0 == slot)
    }

    /// The space that a CPU runs.
    pub(crate) fn active(&self, cpu: usize) -> Option<u16> {
        self.active[cpu].map(|active| active.0)
    }

    /// The CPU runs no space.
    pub(crate) fn leave(&mut self, cpu: usize) {
        self.active[cpu] = None;
    }

    /// The number for `slot`, which `held` says what of, and which `cpu` runs from now on.
    pub(crate) fn enter<T: TlbOps>(&mut self, tlb: &T, cpu: usize, slot: u16, held: &mut Held) -> Asid {
        if held.generation != self.generation {
            // A new space in the slot of one that ended holds number 0, which is never reserved.
            let kept = self.reserved.contains(&Some((slot, held.asid)));
            let asid = if kept { held.asid } else { self.allocate(tlb) };
            *held = Held { generation: self.generation, asid };
        }
        self.active[cpu] = Some((slot, held.asid));
        Asid(held.asid)
    }

    fn allocate<T: TlbOps>(&mut self, tlb: &T) -> u8 {
        loop {
            if self.next == ASIDS {
                self.generation += 1;
                self.next = 1;
                self.reserved = self.active;
                tlb.flush_all();
            }
            let asid = self.next as u8;
            self.next += 1;
            if !self.reserved.iter().flatten().any(|reserved| reserved.1 == asid) {
                return asid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use std::collections::BTreeMap;
    use types::VirtAddr;

    struct Flushes(Cell<u32>);

    impl TlbOps for Flushes {
        fn flush_page(&self, _: VirtAddr, _: Asid) {}
        fn flush_asid(&self, _: Asid) {}
        fn flush_all(&self) {
            self.0.set(self.0.get() + 1);
        }
        fn publish(&self, _: *const u8, _: usize) {}
    }

    #[test]
    fn no_number_has_two_owners_between_two_flushes() {
        let tlb = Flushes(Cell::new(0));
        let mut asids = Asids::new();
        let mut held = BTreeMap::new();
        // By number: the slot that used it since the last flush, or across it because it was running.
        let mut users: BTreeMap<u8, u16> = BTreeMap::new();
        let mut running = [None; 2];
        for step in 0..3000u32 {
            let cpu = (step % 2) as usize;
            let slot = (step.wrapping_mul(2_654_435_761) >> 20) as u16 % 700;
            let flushes = tlb.0.get();
            let asid = asids.enter(&tlb, cpu, slot, held.entry(slot).or_default()).0;
            if tlb.0.get() != flushes {
                users = running.iter().flatten().copied().collect();
            }
            assert_ne!(asid, 0);
            assert_eq!(*users.entry(asid).or_insert(slot), slot, "step {step}");
            running[cpu] = Some((asid, slot));
        }
        assert!(asids.rollovers() > 5);
        assert_eq!(asids.rollovers(), tlb.0.get());
    }
}
