//! The memory map as the picture wants it: names of regions, kinds of pages, and `/sys/kernel/debug/page_map`.
//!
//! The map is read in pieces, each under the memory manager's lock, and never written: what is read at different times
//! may differ in age, but each page is reported once, as it was at some moment.

use crate::memory::{self, EARLY, Early, Mm};
use crate::symbols;
use ::picture::page_map::{Holder, Run, write_head};
use ::picture::{Block, Layout, Owner, PageKinds, Region, Regions, walk};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use hal::LinearMap;
use mm::cma::{MAX_AREAS, NAME_LEN};
use mm::pages::{MAX_BANKS, OwnerRecord};
use mm::space::only_mapping;
use mm::{Page, PageState};
use setup::NodeUse;
use shell::{FsError, Output, Vfs};
use types::{Pfn, PhysRange, VirtAddr};

/// Pages that are looked at under the lock at a time.
const PIECE: u32 = 256;
/// The same for the file, whose entries are kept until the lock is free again.
const FILE_PIECE: u32 = 64;

/// Every region with a name, for good: after boot there come no more.
pub fn regions() -> &'static Regions {
    let mut regions = Regions::new();
    if let Some(early) = EARLY.lock().as_ref() {
        add_early(early, &mut regions);
    }
    if let Some(Some(range)) = memory::with(|mm| records(mm)) {
        add(&mut regions, range.pfns_touched(), Owner::Boot, "mem_map");
    }
    for nth in 0..MAX_AREAS {
        // Room before the lock, which the allocator takes, too.
        let mut name = String::with_capacity("cma-".len() + NAME_LEN);
        let pfns = memory::with(|mm| {
            let (_, area) = mm.cma.areas().nth(nth).filter(|(_, area)| area.is_active())?;
            name.extend(["cma-", area.name().trim_end()]);
            let first = area.base_pfn().get();
            Some(first..first + area.count())
        });
        if let Some(Some(pfns)) = pfns {
            add(&mut regions, pfns, Owner::Cma, &name);
        }
    }
    Box::leak(Box::new(regions))
}

fn add(regions: &mut Regions, pfns: Range<u32>, owner: Owner, name: &str) {
    let shown = format_args!("{:#x}-{:#x}", pfns.start, pfns.end);
    log::debug!("page_map: {name} at pfn {shown}");
    if !regions.add(Region { pfns, owner, name: String::from(name) }) {
        log::info!("page_map: {name} is empty or overlaps another region, and is not shown");
    }
}

/// What booting knows: the image, the vendor's regions, the tree's, the initrd.
fn add_early(early: &Early, regions: &mut Regions) {
    let phys = |virt: VirtAddr| early.linear.phys_of(virt).unwrap_or_default();
    let image = PhysRange::from_bounds(phys(symbols::text()), phys(symbols::end()));
    add(regions, image.pfns_touched(), Owner::Image, "kernel");
    let setup = &early.setup;
    for region in setup.regions.vendor() {
        add(regions, region.range.pfns_touched(), Owner::Device, region.name);
    }
    let kept = |used| matches!(used, NodeUse::Plain | NodeUse::CoherentPool);
    for region in setup.regions.nodes().filter(|region| kept(region.used) && !region.range.is_empty()) {
        add(regions, region.range.pfns_touched(), Owner::Device, region.node.name());
    }
    if let Some(initrd) = setup.initrd {
        add(regions, initrd.pfns_touched(), Owner::Boot, "initrd");
    }
}

/// Where the page records are.
fn records(mm: &Mm) -> Option<PhysRange> {
    let buddy = mm.pages.buddy();
    // A bank begins at a pageblock, so with the head of a block.
    let (_, first) = buddy.block_of(Pfn::new(buddy.banks().next()?.start))?;
    let base = mm.linear.phys(core::ptr::from_ref(first).cast())?;
    Some(PhysRange::new(base, (buddy.records() * size_of::<Page>()) as u32))
}

/// All pages that a picture shows: those with a record, and the regions.
pub fn shown(regions: &Regions) -> Vec<Range<u32>> {
    let mut pfns = Vec::with_capacity(MAX_BANKS + regions.all().len());
    memory::with(|mm| pfns.extend(mm.pages.buddy().banks()));
    pfns.extend(regions.all().iter().map(|region| region.pfns.clone()));
    pfns
}

/// The pages' kinds.
pub struct Kinds(
    /// The regions.
    pub &'static Regions,
);

impl PageKinds for Kinds {
    fn read(&mut self, pfns: Range<u32>, each: &mut dyn FnMut(u32, u32, ::picture::Kind)) {
        let mut at = pfns.start;
        while at < pfns.end {
            let end = pfns.end.min(at + PIECE);
            memory::with(|mm| {
                walk(mm.pages.buddy(), self.0, at..end, &mut |Block { pfns, kind, .. }| {
                    each(pfns.start, pfns.end - pfns.start, kind);
                });
            });
            at = end;
        }
    }
}

/// Adds the file.
pub fn file(vfs: &mut Vfs, regions: &'static Regions) -> Result<(), FsError> {
    vfs.add_read("/sys/kernel/debug/page_map", move |out| write(out, regions))
}

fn write(out: &mut dyn Output, regions: &Regions) -> Result<(), FsError> {
    let noted = memory::with(|mm| mm.pages.noted()).unwrap_or(0);
    let spans = Layout::merged(shown(regions));
    write_head(out, noted, spans.iter().cloned(), regions)?;
    let mut runs: Vec<Run> = Vec::with_capacity(FILE_PIECE as usize);
    let mut last: Option<Run> = None;
    for span in spans {
        let mut at = span.start;
        while at < span.end {
            let end = span.end.min(at + FILE_PIECE);
            memory::with(|mm| {
                walk(mm.pages.buddy(), regions, at..end, &mut |block| runs.push(run(mm, block)));
            });
            for run in runs.drain(..) {
                if last.as_mut().is_some_and(|before| before.join(&run)) {
                    continue;
                }
                if let Some(before) = last.replace(run) {
                    writeln!(out, "{before}")?;
                }
            }
            at = end;
        }
    }
    Ok(last.map_or(Ok(()), |last| writeln!(out, "{last}"))?)
}

fn run(mm: &Mm, Block { pfns, kind, head }: Block<'_>) -> Run {
    let record = head.and_then(|(first, _)| mm.pages.owner_record(first));
    let record = record.filter(|record| record.live && record.serial > 0);
    Run {
        pfns,
        kind,
        holder: head.map_or(Holder::Kind, |(first, page)| holder(mm, first, page)),
        caller: record.map_or(0, OwnerRecord::caller),
        serials: record.map(|record| (record.serial, record.serial)),
    }
}

fn holder(mm: &Mm, first: Pfn, page: &Page) -> Holder {
    match page.state() {
        PageState::CmaTaken => {
            mm.cma.owner_of(mm.pages, first).map_or(Holder::Kind, |(name, ..)| Holder::Name(name))
        }
        PageState::LargeKmalloc => Holder::Name("kmalloc"),
        PageState::DriverMovable => Holder::Name("movable buffer"),
        PageState::Anon => match only_mapping(page) {
            Some((slot, _)) => Holder::Space(slot),
            None => Holder::Name("shared by spaces"),
        },
        _ => Holder::Kind,
    }
}
