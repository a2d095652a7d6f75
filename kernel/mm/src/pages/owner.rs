//! Who has a page: the records of `page_owner=on`, and what reports say of a page.
//!
//! ```text
//! owners[index of the page]   flags, order, when and by whom it was allocated and freed last
//! ```
//! Only the first page of a block has a record that says so. Source: Linux 6.1 `mm/page_owner.c`, `mm/debug.c`.

use super::{alloc::PageAllocator, list::Index};
use crate::{Gfp, PageFlags, PageState};
use core::fmt;
use types::{Order, PAGEBLOCK_PAGES, Pfn};

/// Addresses of a backtrace that are kept.
const DEPTH: usize = 8;

/// Return addresses, the innermost first; 0 ends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trace(pub [u32; DEPTH]);

impl Trace {
    /// The callers.
    fn take(backtrace: fn(&mut [u32])) -> Self {
        let mut trace = Self::default();
        backtrace(&mut trace.0);
        trace
    }

    fn lines(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied().take_while(|&address| address != 0)
    }
}

/// The record of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnerRecord {
    /// When it was allocated, in nanoseconds since boot.
    pub ts: u64,
    /// When it was freed last; 0: never.
    pub free_ts: u64,
    /// Flags of the request.
    pub gfp: u32,
    /// How many requests came before: its age; 0: never allocated.
    pub serial: u32,
    /// Order of the block.
    pub order: u8,
    /// Whether it is allocated now.
    pub live: bool,
    /// Who allocated it.
    pub allocated: Trace,
    /// Who freed it last.
    pub freed: Trace,
}

impl OwnerRecord {
    /// The address from where the block was asked for; 0 when it is not known.
    #[must_use]
    pub const fn caller(&self) -> u32 {
        self.allocated.0[0]
    }

    fn gfp(&self) -> Gfp {
        Gfp::from_bits_retain(self.gfp)
    }

    /// As `__dump_page_owner`.
    fn dump(&self) {
        let Self { order, gfp, ts, free_ts, .. } = *self;
        log::error!("page_owner tracks the page as {}", if self.live { "allocated" } else { "freed" });
        log::error!(
            "page last allocated via order {order}, migratetype {}, gfp_mask {gfp:#x}({}), pid 0, tgid 0 (swapper), \
             ts {ts}, free_ts {free_ts}",
            self.gfp().migratetype().name(),
            self.gfp()
        );
        self.allocated.lines().for_each(|address| log::error!(" [<{address:08x}>]"));
        if free_ts > 0 {
            log::error!("page last free stack trace:");
            self.freed.lines().for_each(|address| log::error!(" [<{address:08x}>]"));
        }
    }
}

/// A block in the form of `/sys/kernel/debug/page_owner`.
struct Owned<'a> {
    record: &'a OwnerRecord,
    pfn: Pfn,
    block: &'static str,
    state: PageState,
    compound: bool,
    zone: usize,
}

impl fmt::Display for Owned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SLAB: u32 = 1 << 9;
        const HEAD: u32 = 1 << 16;
        let (record, pfn) = (self.record, self.pfn.get());
        let OwnerRecord { order, gfp, ts, free_ts, .. } = *record;
        writeln!(
            f,
            "Page allocated via order {order}, mask {gfp:#x}({}), pid 0, tgid 0 (swapper), ts {ts} ns, free_ts {free_ts} ns",
            record.gfp()
        )?;
        let slab = self.state == PageState::Slab;
        let flags = if slab { SLAB } else { 0 } | if self.compound { HEAD } else { 0 };
        write!(f, "PFN {pfn} type {} ", record.gfp().migratetype().name())?;
        write!(f, "Block {} type {} Flags {flags:#x}(", pfn / PAGEBLOCK_PAGES, self.block)?;
        f.write_str(if slab { "slab|" } else { "" })?;
        f.write_str(if self.compound { "head|" } else { "" })?;
        writeln!(f, "zone={})", self.zone)?;
        for address in record.allocated.lines() {
            writeln!(f, " [<{address:08x}>]")?;
        }
        writeln!(f)
    }
}

impl<'m> PageAllocator<'m> {
    /// Keeps owner records in `records`, one for each record of the memory map (`page_owner=on`).
    pub fn set_page_owner(&mut self, records: &'m mut [OwnerRecord]) {
        self.owners = records;
        self.update_divert();
    }

    /// Whether owners are recorded.
    #[must_use]
    pub fn tracks_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    /// The owner record of a page; `None` when there are no records.
    #[must_use]
    pub fn owner_record(&self, pfn: Pfn) -> Option<&OwnerRecord> {
        self.owners.get(self.buddy.map.index(pfn)? as usize)
    }

    /// Writes the allocated block with the lowest record number of at least `from`; returns the number to go on from,
    /// `None` after the last one.
    pub fn write_owned(&self, from: u32, out: &mut dyn fmt::Write) -> Option<u32> {
        let rest = self.owners.get(from as usize..)?;
        let index = from + rest.iter().position(|record| record.live)? as u32;
        let record = self.owners.get(index as usize)?;
        let page = self.buddy.map.page(index);
        let owned = Owned {
            record,
            pfn: self.buddy.map.pfn(index),
            block: self.buddy.map.block_type(index).name(),
            state: page.state(),
            compound: page.flags().contains(PageFlags::COMPOUND),
            zone: self.buddy.zone_of(index),
        };
        // Text that does not fit is cut off.
        let _ = write!(out, "{owned}");
        Some(index + 1)
    }

    /// Requests that have been noted: how old a record is tells the difference to its own number.
    #[must_use]
    pub fn noted(&self) -> u32 {
        self.serial
    }

    fn record_mut(&mut self, pfn: Pfn) -> Option<&mut OwnerRecord> {
        let index = self.buddy.map.index(pfn)?;
        self.owners.get_mut(index as usize)
    }

    pub(crate) fn note_owner(&mut self, pfn: Pfn, order: Order, gfp: Gfp) {
        let hooks = self.hooks;
        let serial = self.serial + 1;
        if let Some(record) = self.record_mut(pfn) {
            record.allocated = Trace::take(hooks.backtrace);
            (record.ts, record.gfp, record.order) = ((hooks.now)(), gfp.bits(), order.get());
            (record.live, record.serial) = (true, serial);
            self.serial = serial;
        }
    }

    pub(crate) fn note_free(&mut self, pfn: Pfn) {
        let hooks = self.hooks;
        if let Some(record) = self.record_mut(pfn) {
            record.freed = Trace::take(hooks.backtrace);
            (record.free_ts, record.live) = ((hooks.now)(), false);
        }
    }

    /// The block at `first` is now these blocks, all with its owner (`split_page_owner`).
    pub(crate) fn split_owner(&mut self, first: Index, blocks: impl Iterator<Item = (Index, u8)>) {
        let Some(record) = self.owners.get(first as usize).copied() else { return };
        for (index, order) in blocks {
            if let Some(part) = self.owners.get_mut(index as usize) {
                *part = OwnerRecord { order, ..record };
            }
        }
    }

    /// Logs what is known of a page, and why it is asked for (`dump_page`).
    pub(crate) fn dump_page(&self, pfn: Pfn, reason: &dyn fmt::Display) {
        let pointer = (self.hooks.page_pointer)(pfn);
        if let Some((head, page)) = self.buddy.block_of(pfn) {
            let (order, owner) = (page.order(), page.state());
            let (pfn, head) = (pfn.get(), head.get());
            log::warn!("page:{pointer:08x} pfn:{pfn:#x} head:{head:#x} order:{order} owner:{owner}");
        }
        log::warn!("page dumped because: {reason}");
        if let Some(record) = self.owner_record(pfn).filter(|record| record.serial > 0) {
            record.dump();
        }
    }
}
