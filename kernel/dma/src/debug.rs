//! Remembers streaming mappings, with the place where each was made, and finds what is wrong with them:
//! Linux's `DMA_API_DEBUG`.
//!
//! A mapping is found by its device address, near the slot that the address hashes to, so that the check costs a few
//! instructions as long as the table is not nearly full. When it is full, checking stops, as in Linux.

use crate::{DmaAddr, DmaDirection};
use core::fmt;
use core::panic::Location;

const NAME_BYTES: usize = 24;

/// A device's name, cut to fit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

impl Name {
    fn new(name: &str) -> Self {
        let len = name.floor_char_boundary(NAME_BYTES);
        let mut bytes = [0; NAME_BYTES];
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

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
    name: Name,
}

impl Mapped {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &str {
        self.name.as_str()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, size, direction, at, .. } = self;
        write!(
            f,
            "{}: [device address={:#018x}] [size={size} bytes] [mapped with {direction}] [mapped at {at}]",
            self.device(),
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
        let name = Name::new(device);
        let count = self.live().filter(|mapped| mapped.name == name).count();
        let first = self.live().find(|mapped| mapped.name == name).copied();
        if let Some(first) = first {
            log::error!(
                "DMA-API: {device}: device driver has pending DMA allocations while released from device [count={count}]"
            );
            log::error!("DMA-API: One of leaked entries details: {first}");
            self.errors += 1;
        }
        count
    }

    /// Slot numbers, from the one that `addr` hashes to.
    fn probe(&self, addr: DmaAddr) -> impl Iterator<Item = usize> + use<> {
        let count = self.slots.len();
        let start = (addr.get().wrapping_mul(0x9e37_79b1) >> 16) as usize;
        (0..count).map(move |step| (start + step) % count)
    }

    fn find(&self, addr: DmaAddr) -> Option<usize> {
        self.probe(addr).find(|&slot| self.slots[slot].is_some_and(|mapped| mapped.addr == addr))
    }

    #[track_caller]
    pub(crate) fn add(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if !self.on {
            return;
        }
        if let Some(old) = self.probe(addr).map_while(|slot| self.slots[slot]).find(|old| old.addr == addr) {
            self.errors += 1;
            log::error!(
                "DMA-API: {device}: cacheline tracking EEXIST, overlapping mappings aren't supported: {old}"
            );
        }
        match self.probe(addr).find(|&slot| self.slots[slot].is_none()) {
            Some(slot) => {
                let (at, name) = (Location::caller(), Name::new(device));
                self.slots[slot] = Some(Mapped { addr, size, direction, at, name });
            }
            None => {
                log::error!("DMA-API: debugging out of memory - disabling");
                self.on = false;
            }
        }
    }

    pub(crate) fn remove(&mut self, device: &str, addr: DmaAddr, size: u32, direction: DmaDirection) {
        if !self.on {
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
