//! Reports in the form of Linux (`mm/slub.c`), so that eyes and scripts that know those find what they look for.

use super::{
    Damage, FreeError, Slab, SlabHooks,
    cache::Cache,
    debug::{self, Track},
    memory,
    options::DebugFlags,
    places::at,
    release::Place,
};
use crate::PageSource;
use crate::hexdump::{ROW, Row};
use core::fmt;
use hal::LinearMap;
use types::{PAGE_SIZE, PhysAddr};

const DOUBLE_LINE: &str = "=============================================================================";
const LINE: &str = "-----------------------------------------------------------------------------";

/// The heading of a report about `cache`.
fn bug(cache: &str, what: fmt::Arguments<'_>) {
    log::error!("{DOUBLE_LINE}");
    log::error!("BUG {cache} (Not tainted): {what}");
    log::error!("{LINE}");
    log::error!("");
}

/// The virtual address behind `at`.
fn address(linear: &impl LinearMap, at: PhysAddr) -> usize {
    linear.ptr(at).addr()
}

/// A pattern of an object was overwritten.
pub(super) fn damaged(
    linear: &impl LinearMap,
    hooks: &SlabHooks,
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    damage: &Damage,
) {
    let Damage { what, offset, found, expected } = *damage;
    let byte = address(linear, at(pfn, offset));
    bug(cache.name, format_args!("{what} overwritten"));
    log::error!("{byte:#010x}-{byte:#010x} @offset={offset}. First byte {found:#x} instead of {expected:#x}");
    trailer(linear, hooks, cache, pfn, place);
    (hooks.dump_stack)();
    log::error!("FIX {}: Object at {:#010x} taken out of use", cache.name, byte);
}

fn trailer(linear: &impl LinearMap, hooks: &SlabHooks, cache: &Cache, pfn: u32, place: PhysAddr) {
    let layout = &cache.layout;
    tracking(linear, hooks, cache, place);
    let slab = address(linear, at(pfn, 0));
    log::error!("Slab {slab:#010x} objects={} order={} flags=0x200(slab)", layout.count, layout.order.get());
    let object = PhysAddr::new(place.get() + layout.start);
    let offset = object.get() - at(pfn, 0).get();
    log::error!("Object {:#010x} @offset={offset}", address(linear, object));
    log::error!("");
    if cache.debug.contains(DebugFlags::RED_ZONE) {
        section(linear, "Redzone ", place, layout.start);
    }
    section(linear, "Object  ", object, layout.size.min(PAGE_SIZE));
    let end = layout.start + layout.size;
    section(linear, "Redzone ", PhysAddr::new(place.get() + end), layout.zone_end - end);
}

/// Who had the object.
fn tracking(linear: &impl LinearMap, hooks: &SlabHooks, cache: &Cache, place: PhysAddr) {
    for (what, track) in ["Allocated", "Freed"].into_iter().zip(debug::tracks(linear, cache, place)) {
        let Some(Track { addrs, jiffies, cpu }) = track else { continue };
        let age = (hooks.jiffies)().wrapping_sub(jiffies);
        log::error!("{what} in [<{:08x}>] age={age} cpu={cpu} pid=0", addrs[0]);
        let callers = addrs.iter().skip(1).take_while(|&&addr| addr != 0);
        callers.for_each(|addr| log::error!(" [<{addr:08x}>]"));
    }
}

/// A dump as `print_hex_dump` makes it: address, bytes, characters.
fn section(linear: &impl LinearMap, title: &str, from: PhysAddr, len: u32) {
    for row in (0..len).step_by(ROW as usize) {
        let start = PhysAddr::new(from.get() + row);
        let byte = |index| memory::byte(linear, PhysAddr::new(start.get() + index));
        let row = Row { byte, len: (len - row).min(ROW) };
        log::error!("{title} {:08x}: {row}", address(linear, start));
    }
}

impl<L: LinearMap> Slab<L> {
    /// A free that was refused.
    #[cold]
    #[inline(never)]
    pub(super) fn report_bad_free<S: PageSource>(&self, pages: &S, error: &FreeError) {
        match *error {
            FreeError::DoubleFree { addr, cache } => {
                bug(cache, format_args!("Object already free"));
                log::error!("Object {addr:#010x}");
                self.report_tracks(pages, addr);
            }
            FreeError::NotAnObject { addr, cache, offset } => {
                bug(cache, format_args!("Invalid object pointer {addr:#010x}"));
                log::error!("Slab {:#010x} @offset={offset}", addr - offset as usize);
            }
            FreeError::WrongCache { named, owner, .. } => {
                log::error!("cache_from_obj: Wrong slab cache. {named} but object is from {owner}");
            }
            FreeError::Foreign { addr, owner } => {
                log::warn!("object pointer: {addr:#010x}");
                log::error!("kfree: page is {owner}, not slab");
            }
            FreeError::NotLinear { addr } => log::warn!("object pointer: {addr:#010x}"),
            // Was reported with its dump where it was found.
            FreeError::Damaged { .. } => return,
        }
        if let FreeError::DoubleFree { cache, addr } | FreeError::NotAnObject { cache, addr, .. } = *error {
            log::error!("FIX {cache}: Object at {addr:#010x} not freed");
        }
        (self.options.hooks.dump_stack)();
    }

    /// Who had the object at `addr`, as far as that is known.
    fn report_tracks<S: PageSource>(&self, pages: &S, addr: usize) {
        if let Ok(Place::Object { slot, pfn, index }) = self.place(pages, core::ptr::without_provenance(addr))
        {
            let cache = self.cache(slot);
            tracking(&self.linear, &self.options.hooks, cache, at(pfn, index * cache.layout.stride));
        }
    }

    /// Reports every object that is still allocated in the cache of `slot`, with its address. Returns how many.
    pub(super) fn report_leaks<S: PageSource>(&self, pages: &S, slot: usize) -> u32 {
        let cache = self.cache(slot);
        let mut leaks = 0;
        for pfn in cache.full.iter(pages).chain(cache.partial.iter(pages)) {
            bug(cache.name, format_args!("Objects remaining in {} on __kmem_cache_shutdown()", cache.name));
            log::error!(
                "Slab {:#010x} objects={} used={}",
                address(&self.linear, at(pfn, 0)),
                cache.layout.count,
                self.inuse(pages, &cache.layout, pfn)
            );
            leaks += self.report_objects(pages, slot, pfn);
        }
        if leaks > 0 {
            log::error!("kmem_cache_destroy {}: Slab cache still has objects", cache.name);
        }
        leaks
    }

    fn report_objects<S: PageSource>(&self, pages: &S, slot: usize, pfn: u32) -> u32 {
        let cache = self.cache(slot);
        let layout = &cache.layout;
        let allocated =
            |&index: &u32| self.true_bits(pages, slot, pfn, index / 32) & (1 << (index % 32)) == 0;
        let mut count = 0;
        for index in (0..layout.count).filter(allocated) {
            let offset = index * layout.stride + layout.start;
            log::error!("Object {:#010x} @offset={offset}", address(&self.linear, at(pfn, offset)));
            tracking(&self.linear, &self.options.hooks, cache, at(pfn, index * layout.stride));
            count += 1;
        }
        count
    }
}
