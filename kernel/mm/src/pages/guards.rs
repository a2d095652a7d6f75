//! Guards that one turns on: zeroing, poisoning, who-has-it records, and injected failures.
//!
//! All of them cost time for each page, so while one is on every request takes the slow path.

use super::alloc::PageAllocator;
use crate::{FaultAttr, Gfp};
use core::fmt;
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn};

/// The byte that poisoned free memory holds.
pub const PAGE_POISON: u8 = 0xaa;

/// `init_on_alloc=1`, `init_on_free=1`, `page_poison=1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Guards {
    /// Each block is zeroed when it is allocated.
    pub init_on_alloc: bool,
    /// Each block is zeroed when it is freed.
    pub init_on_free: bool,
    /// Free memory holds [`PAGE_POISON`], which is checked when it is allocated; wins over `init_on_free`.
    pub page_poison: bool,
}

impl Guards {
    pub(crate) const fn any(self) -> bool {
        self.init_on_alloc || self.init_on_free || self.page_poison
    }
}

/// Who has a page: the record that `page_owner=on` keeps for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnerRecord {
    /// Address of the caller, as the kernel gave it with `set_call_site`; 0: never allocated.
    pub site: u32,
    /// Flags of the request.
    pub gfp: u32,
    /// How many requests came before: its age.
    pub serial: u32,
    /// Order of the block.
    pub order: u8,
    /// Whether it is allocated now.
    pub live: bool,
}

impl fmt::Display for OwnerRecord {
    /// Linux's line, with a serial number for its time stamp and the caller for its process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gfp = Gfp::from_bits_retain(self.gfp);
        let state = if self.live { "tracks the page as allocated" } else { "tracks the page as freed" };
        write!(f, "page_owner {state}; last allocated via order {}, migratetype ", self.order)?;
        write!(f, "{}, gfp_mask {:#x}({gfp}), ", gfp.migratetype().name(), self.gfp)?;
        write!(f, "caller {:08x}, serial {}", self.site, self.serial)
    }
}

/// What happened to poisoned memory while it was free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Corruption {
    /// The page.
    pub(crate) pfn: Pfn,
    /// Offset of the first changed byte in it.
    pub(crate) offset: u32,
    /// Offset of the last.
    pub(crate) last: u32,
    /// The first changed byte.
    pub(crate) found: u8,
}

impl Corruption {
    /// Whether a single bit has flipped, which is the hardware's doing rather than a program's.
    pub(crate) const fn is_single_bit(&self) -> bool {
        self.offset == self.last && (self.found ^ PAGE_POISON).is_power_of_two()
    }
}

impl<'m, L: LinearMap> PageAllocator<'m, L> {
    /// Turns guards on or off. Poisoning begins with filling all memory that is free now.
    pub fn set_guards(&mut self, guards: Guards) {
        if guards.page_poison && !self.guards.page_poison {
            self.buddy.drain_all_pages();
            for index in 0..self.buddy.map.len() {
                let page = self.buddy.map.page(index);
                if page.state() == crate::PageState::Free {
                    let order = page.order();
                    self.fill(self.buddy.map.pfn(index), order, PAGE_POISON);
                }
            }
        }
        self.guards = guards;
        self.update_divert();
    }

    /// Sets the fault injection, or turns it off.
    pub fn set_fail_page_alloc(&mut self, fault: Option<FaultAttr>) {
        self.fault = fault;
        self.update_divert();
    }

    /// The fault injection as it stands.
    #[must_use]
    pub fn fail_page_alloc(&self) -> Option<&FaultAttr> {
        self.fault.as_ref()
    }

    pub(crate) fn injected(&mut self, gfp: Gfp, order: Order) -> bool {
        match &mut self.fault {
            Some(fault) if !gfp.contains(Gfp::__NOFAIL) => fault.should_fail(PAGE_SIZE << order.get()),
            _ => false,
        }
    }

    /// What is to be done with the memory of a block that was just allocated.
    pub(crate) fn prepare(&mut self, pfn: Pfn, order: Order, gfp: Gfp) {
        if self.guards.page_poison {
            self.check_poison(pfn, order);
        }
        if gfp.contains(Gfp::__ZERO) || self.guards.init_on_alloc {
            self.fill(pfn, order.get(), 0);
        }
        self.note_owner(pfn, order, gfp);
    }

    /// What is to be done with the memory of a block that is about to be freed.
    #[cold]
    pub(crate) fn scrub(&mut self, pfn: Pfn, order: u8) {
        if self.guards.page_poison {
            self.fill(pfn, order, PAGE_POISON);
        } else if self.guards.init_on_free {
            self.fill(pfn, order, 0);
        }
        let index = self.buddy.map.index(pfn).map(|index| index as usize);
        if let Some(record) = index.and_then(|index| self.owners.get_mut(index)) {
            record.live = false;
        }
    }

    /// Fills a block. Highmem is reached page by page through the kernel's hook, and stays unpoisoned.
    fn fill(&mut self, pfn: Pfn, order: u8, byte: u8) {
        if self.is_highmem(pfn) {
            if byte == 0 {
                (0..1 << order).for_each(|page| (self.hooks.clear_highpage)(pfn.add(page)));
            }
            return;
        }
        super::memory::fill(&self.linear, pfn, order, byte);
    }

    fn is_highmem(&self, pfn: Pfn) -> bool {
        self.buddy
            .map
            .index(pfn)
            .is_some_and(|index| self.buddy.zone_of(index) == super::ZoneKind::HighMem as usize)
    }

    fn check_poison(&self, pfn: Pfn, order: Order) {
        if self.is_highmem(pfn) {
            return;
        }
        for page in 0..order.pages() {
            if let Some(bad) = super::memory::check(&self.linear, pfn.add(page), PAGE_POISON) {
                let kind = if bad.is_single_bit() { "single bit error" } else { "memory corruption" };
                let start = bad.pfn.addr().get() + bad.offset;
                let end = bad.pfn.addr().get() + bad.last;
                log::error!("pagealloc: {kind}");
                log::error!(
                    "pagealloc: bytes {start:#010x}-{end:#010x} were written while free: found {:02x}",
                    bad.found
                );
                (self.hooks.dump_stack)();
            }
        }
    }

    /// Keeps owner records in `records`, one for each record of the memory map (`page_owner=on`).
    pub fn set_page_owner(&mut self, records: &'m mut [OwnerRecord]) {
        self.owners = records;
        self.update_divert();
    }

    /// The address that the next allocations are noted with.
    pub fn set_call_site(&mut self, site: u32) {
        self.site = site;
    }

    /// The owner record of a page; `None` when there are no records.
    #[must_use]
    pub fn owner_record(&self, pfn: Pfn) -> Option<&OwnerRecord> {
        self.owners.get(self.buddy.map.index(pfn)? as usize)
    }

    /// Requests that have been noted: how old a record is tells the difference to its own number.
    #[must_use]
    pub fn noted(&self) -> u32 {
        self.serial
    }

    fn note_owner(&mut self, pfn: Pfn, order: Order, gfp: Gfp) {
        let index = self.buddy.map.index(pfn).map(|index| index as usize);
        if let Some(record) = index.and_then(|index| self.owners.get_mut(index)) {
            self.serial += 1;
            let (site, serial) = (self.site, self.serial);
            *record = OwnerRecord { site, gfp: gfp.bits(), serial, order: order.get(), live: true };
        }
    }
}
