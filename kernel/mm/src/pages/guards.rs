//! Guards that one turns on: zeroing, poisoning, and injected failures.
//!
//! All of them cost time for each page, so while one is on every request takes the slow path. Sources: Linux 6.1
//! `mm/page_poison.c`, `mm/fail_page_alloc.c`.

use super::{alloc::PageAllocator, memory};
use crate::hexdump::{ROW, Row};
use crate::{FaultAttr, Gfp};
use types::{Order, Pfn};

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

/// What happened to poisoned memory while it was free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Corruption {
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

impl<'m> PageAllocator<'m> {
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

    /// Sets the fault injection; the default is none.
    pub fn set_fail_page_alloc(&mut self, fault: FaultAttr) {
        self.fault = fault;
        self.update_divert();
    }

    /// The fault injection as it stands.
    #[must_use]
    pub fn fail_page_alloc(&self) -> &FaultAttr {
        &self.fault
    }

    pub(crate) fn injected(&mut self, gfp: Gfp, order: Order) -> bool {
        let fails = self.fault.fails_pages(gfp, order);
        if fails {
            self.fault.report("fail_page_alloc", gfp, self.hooks.dump_stack);
            // The last failure may have been the only reason for the slow path.
            self.update_divert();
        }
        fails
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
        self.note_free(pfn);
    }

    /// Reserved pages become free ones: what poison there has to be is put there.
    pub(crate) fn poison_range(&mut self, pfn: Pfn, count: u32) {
        if self.guards.page_poison {
            (0..count).for_each(|page| self.fill(pfn.add(page), 0, PAGE_POISON));
        }
    }

    /// Fills a block.
    fn fill(&mut self, pfn: Pfn, order: u8, byte: u8) {
        if self.is_highmem(pfn) {
            let fill =
                |page| (self.hooks.with_highpage)(pfn.add(page), &mut |at| memory::fill_mapped(at, byte));
            (0..1 << order).for_each(fill);
            return;
        }
        memory::fill(self.linear, pfn, order, byte);
    }

    fn is_highmem(&self, pfn: Pfn) -> bool {
        let index = self.buddy.map.index(pfn);
        index.is_some_and(|index| self.buddy.zone_of(index) == super::ZoneKind::HighMem as usize)
    }

    fn check_poison(&self, pfn: Pfn, order: Order) {
        for pfn in (0..order.pages()).map(|page| pfn.add(page)) {
            if self.is_highmem(pfn) {
                (self.hooks.with_highpage)(pfn, &mut |at| self.check_page(pfn, at));
            } else {
                self.check_page(pfn, self.linear.ptr(pfn.addr()));
            }
        }
    }

    /// Reports a page whose poison was written to, in the words of Linux's `check_poison_mem`.
    fn check_page(&self, pfn: Pfn, at: *mut u8) {
        let Some(bad) = memory::check(at, PAGE_POISON) else { return };
        let kind = if bad.is_single_bit() { "single bit error" } else { "memory corruption" };
        log::error!("pagealloc: {kind}");
        for row in (bad.offset..=bad.last).step_by(ROW as usize) {
            let len = (bad.last + 1 - row).min(ROW);
            let dump = Row { byte: |index| memory::byte(at, row + index), len };
            log::error!("{:08x}: {dump}", at.addr() + row as usize);
        }
        (self.hooks.dump_stack)();
        self.dump_page(pfn, &"pagealloc: corrupted page details");
    }
}
