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
    slots: &'a mut [Option<Mapped>],
    /// Off when there never were slots, and after they ran out.
    on: bool,
    errors: u32,
}

impl<'a> Mappings<'a> {
    /// An empty table.
    pub fn new(slots: &'a mut [Option<Mapped>]) -> Self {
        slots.fill(None);
        let on = !slots.is_empty();
        Self { slots, on, errors: 0 }
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

    /// The slot that `addr` hashes to; there are slots.
    #[inline]
    fn home(&self, addr: DmaAddr) -> usize {
        (addr.get().wrapping_mul(0x9e37_79b1) >> 16) as usize % self.slots.len()
    }

    /// Slot numbers, from that one on.
    fn probe(&self, addr: DmaAddr) -> impl Iterator<Item = usize> + Clone + use<> {
        let (start, count) = (self.home(addr), self.slots.len());
        (0..count).map(move |step| (start + step) % count)
    }

    #[inline]
    fn find(&self, addr: DmaAddr) -> Option<usize> {
        let first = self.home(addr);
        if self.slots[first].is_some_and(|mapped| mapped.addr == addr) {
            return Some(first);
        }
        self.probe(addr).find(|&slot| self.slots[slot].is_some_and(|mapped| mapped.addr == addr))
    }

    #[track_caller]
    #[inline]
    pub(crate) fn add(&mut self, device: &'static str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if !self.on {
            return;
        }
        let at = Location::caller();
        let first = self.home(addr);
        match &mut self.slots[first] {
            slot @ None => *slot = Some(Mapped { addr, size, direction, at, device }),
            Some(_) => self.add_elsewhere(Mapped { addr, size, direction, at, device }),
        }
    }

    /// The slot where it belongs is taken.
    #[cold]
    fn add_elsewhere(&mut self, mapped: Mapped) {
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
                self.on = false;
            }
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if !self.on {
            return;
        }
        let found = self.find(addr).and_then(|slot| self.slots[slot].take());
        if !found.is_some_and(|mapped| mapped.size == size && mapped.direction == direction) {
            self.wrongly_removed(found, device, addr, size, direction);
        }
    }

    #[cold]
    fn wrongly_removed(
        &mut self,
        found: Option<Mapped>,
        device: &str,
        addr: DmaAddr,
        size: u32,
        direction: DmaDirection,
    ) {
        let Some(mapped) = found else {
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
        if !self.on {
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
