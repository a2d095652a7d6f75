//! Reports in the form of Linux (`mm/slub.c`), so that eyes and scripts that know those find what they look for.

use super::{
    Damage, FreeError, Slab,
    cache::Cache,
    debug::{self, Track},
    memory,
    options::DebugFlags,
    places::at,
};
use crate::PageSource;
use core::fmt;
use hal::LinearMap;
use types::{PAGE_SIZE, PhysAddr};

const DOUBLE_LINE: &str = "=============================================================================";
const LINE: &str = "-----------------------------------------------------------------------------";
/// Bytes in a row of a dump.
const ROW: u32 = 16;

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
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    damage: &Damage,
    now: u32,
) {
    let Damage { what, offset, found, expected } = *damage;
    let byte = address(linear, at(pfn, offset));
    bug(cache.name, format_args!("{what} overwritten"));
    log::error!("{byte:#010x}-{byte:#010x} @offset={offset}. First byte {found:#x} instead of {expected:#x}");
    trailer(linear, cache, pfn, place, now);
    log::error!("FIX {}: Object at {:#010x} taken out of use", cache.name, byte);
}

fn trailer(linear: &impl LinearMap, cache: &Cache, pfn: u32, place: PhysAddr, now: u32) {
    let layout = &cache.layout;
    for (what, track) in ["Allocated", "Freed"].into_iter().zip(debug::tracks(linear, cache, place)) {
        if let Some(Track { addr, jiffies, cpu }) = track {
            let age = now.wrapping_sub(jiffies);
            log::error!("{what} in [<{addr:08x}>] age={age} cpu={cpu} pid=0");
        }
    }
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

/// A dump as `print_hex_dump` makes it: address, bytes, characters.
fn section(linear: &impl LinearMap, title: &str, from: PhysAddr, len: u32) {
    for row in (0..len).step_by(ROW as usize) {
        let start = PhysAddr::new(from.get() + row);
        let row = Row { linear, start, len: (len - row).min(ROW) };
        log::error!("{title} {:08x}: {row}", address(linear, start));
    }
}

struct Row<'l, L> {
    linear: &'l L,
    start: PhysAddr,
    len: u32,
}

impl<L: LinearMap> Row<'_, L> {
    fn byte(&self, index: u32) -> u8 {
        memory::byte(self.linear, PhysAddr::new(self.start.get() + index))
    }
}

impl<L: LinearMap> fmt::Display for Row<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in 0..ROW {
            if index < self.len {
                write!(f, "{:02x} ", self.byte(index))?;
            } else {
                write!(f, "   ")?;
            }
        }
        write!(f, " ")?;
        for index in 0..self.len {
            let byte = self.byte(index);
            let shown = if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '.' };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

impl<L: LinearMap> Slab<L> {
    /// A free that was refused. The kernel adds the backtrace.
    #[cold]
    #[inline(never)]
    pub(super) fn report_bad_free(&self, error: &FreeError) {
        match *error {
            FreeError::DoubleFree { addr, cache } => {
                bug(cache, format_args!("Object already free"));
                log::error!("Object {addr:#010x}");
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
                log::error!("kfree: page is {owner:?}, not slab");
            }
            FreeError::NotLinear { addr } => log::warn!("object pointer: {addr:#010x}"),
            // Was reported with its dump where it was found.
            FreeError::Damaged { .. } => return,
        }
        if let FreeError::DoubleFree { cache, addr } | FreeError::NotAnObject { cache, addr, .. } = *error {
            log::error!("FIX {cache}: Object at {addr:#010x} not freed");
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
            if let [Some(Track { addr, jiffies, cpu }), _] =
                debug::tracks(&self.linear, cache, at(pfn, index * layout.stride))
            {
                let age = self.jiffies.wrapping_sub(jiffies);
                log::error!("Allocated in [<{addr:08x}>] age={age} cpu={cpu} pid=0");
            }
            count += 1;
        }
        count
    }
}
