//! Remembers streaming mappings, with the place where each was made, and finds what is wrong with them:
//! Linux's `DMA_API_DEBUG`.
//!
//! A mapping is found by its device address, near the slot that the address hashes to, so that the check costs a few
//! instructions as long as the table is not nearly full. When it is full, checking stops, as in Linux.

use crate::{DmaAddr, DmaDirection};
use core::fmt;
use core::panic::Location;

/// A live mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Where the device sees it.
    pub addr: DmaAddr,
    /// Bytes.
    pub size: u32,
    /// The direction.
    pub direction: DmaDirection,
    /// The line that made the mapping.
    pub at: &'static Location<'static>,
    /// The device.
    pub device: &'static str,
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, size, direction, at, device } = self;
        write!(
            f,
            "{device}: [device address={:#018x}] [size={size} bytes] [mapped with {direction}] [mapped at {at}]",
            addr.get()
        )
    }
}

/// The live mappings, in slots that the caller owns. Without slots nothing is checked.
#[derive(Debug)]
pub struct Mappings<'a> {
    /// None after they ran out, and then nothing is checked either.
    slots: &'a mut [Option<Mapped>],
    errors: u32,
}

impl<'a> Mappings<'a> {
    /// An empty table.
    pub fn new(slots: &'a mut [Option<Mapped>]) -> Self {
        slots.fill(None);
        Self { slots, errors: 0 }
    }

    /// Mistakes found so far.
    #[must_use]
    pub const fn errors(&self) -> u32 {
        self.errors
    }

    /// The mappings that exist now.
    pub fn live(&self) -> impl Iterator<Item = &Mapped> {
        self.slots.iter().flatten()
    }

    /// Reports what a device that goes away left mapped; how many mappings that were.
    pub fn device_gone(&mut self, device: &str) -> usize {
        let count = self.live().filter(|mapped| mapped.device == device).count();
        let first = self.live().find(|mapped| mapped.device == device).copied();
        if let Some(first) = first {
            log::error!(
                "DMA-API: {device}: device driver has pending DMA allocations while released from device [count={count}]"
            );
            log::error!("DMA-API: One of leaked entries details: {first}");
            self.errors += 1;
        }
        count
    }

    /// The slot that `addr` hashes to.
    #[inline]
    fn home(&self, addr: DmaAddr) -> usize {
        let hash = addr.get().wrapping_mul(0x9e37_79b1);
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    /// Slot numbers, from that one on.
    fn probe(&self, addr: DmaAddr) -> impl Iterator<Item = usize> + Clone + use<> {
        let (start, count) = (self.home(addr), self.slots.len());
        (0..count).map(move |step| (start + step) % count)
    }

    fn find(&self, addr: DmaAddr) -> Option<usize> {
        self.probe(addr).find(|&slot| self.slots[slot].is_some_and(|mapped| mapped.addr == addr))
    }

    #[track_caller]
    #[inline]
    pub(crate) fn add(&mut self, device: &'static str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        let at = Location::caller();
        let first = self.home(addr);
        match self.slots.get_mut(first) {
            Some(slot @ None) => *slot = Some(Mapped { addr, size, direction, at, device }),
            _ => self.add_elsewhere(Mapped { addr, size, direction, at, device }),
        }
    }

    /// The slot where it belongs is taken.
    #[cold]
    fn add_elsewhere(&mut self, mapped: Mapped) {
        if self.slots.is_empty() {
            return;
        }
        let taken = self.probe(mapped.addr).map_while(|slot| self.slots[slot]);
        if let Some(old) = taken.clone().find(|old| old.addr == mapped.addr) {
            self.errors += 1;
            let device = mapped.device;
            log::error!(
                "DMA-API: {device}: cacheline tracking EEXIST, overlapping mappings aren't supported: {old}"
            );
        }
        match self.probe(mapped.addr).find(|&slot| self.slots[slot].is_none()) {
            Some(slot) => self.slots[slot] = Some(mapped),
            None => {
                log::error!("DMA-API: debugging out of memory - disabling");
                self.slots = &mut [];
            }
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        let first = self.home(addr);
        let same = |mapped: &Mapped| (mapped.addr, mapped.size, mapped.direction) == (addr, size, direction);
        match self.slots.get_mut(first) {
            Some(slot) if slot.as_ref().is_some_and(same) => *slot = None,
            _ => self.remove_elsewhere(device, addr, size, direction),
        }
    }

    /// It isn't in the slot where it belongs, or isn't what it should be.
    #[cold]
    fn remove_elsewhere(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if self.slots.is_empty() {
            return;
        }
        let Some(mapped) = self.find(addr).and_then(|slot| self.slots[slot].take()) else {
            return self.report(format_args!(
                "{device}: device driver tries to free DMA memory it has not allocated [device address={:#018x}] [size={size} bytes]",
                addr.get()
            ));
        };
        if mapped.size != size {
            self.report(format_args!(
                "{device}: device driver frees DMA memory with different size [unmap size={size} bytes]: {mapped}"
            ));
        }
        if mapped.direction != direction {
            self.report(format_args!(
                "{device}: device driver frees DMA memory with different direction [unmapped with {direction}]: {mapped}"
            ));
        }
    }

    /// Checks that a sync stays inside of a mapping and keeps its direction.
    pub(crate) fn check_sync(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if self.slots.is_empty() {
            return;
        }
        let inside = |mapped: &Mapped| {
            let offset = addr.get().checked_sub(mapped.addr.get());
            offset.is_some_and(|offset| offset < mapped.size && size <= mapped.size - offset)
        };
        let by_start = self.find(addr).and_then(|slot| self.slots[slot]).filter(inside);
        match by_start.or_else(|| self.live().copied().find(inside)) {
            None => self.report(format_args!(
                "{device}: device driver tries to sync DMA memory it has not allocated [device address={:#018x}] [size={size} bytes]",
                addr.get()
            )),
            Some(mapped) if mapped.direction != direction && mapped.direction != DmaDirection::Bidirectional => self
                .report(format_args!(
                    "{device}: device driver syncs DMA memory with different direction [synced with {direction}]: {mapped}"
                )),
            Some(_) => {}
        }
    }

    fn report(&mut self, message: fmt::Arguments<'_>) {
        self.errors += 1;
        log::error!("DMA-API: {message}");
    }
}
