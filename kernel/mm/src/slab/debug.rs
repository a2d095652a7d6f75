//! Red zones, poison and owner tracking (`slub_debug`), with the patterns of Linux (`include/linux/poison.h`).
//!
//! ```text
//! | left zone | object           | fill+right zone | alloc track | free track | padding |
//!   bb: free, cc: allocated        bb / cc           addr jiffies cpu           5a
//!               6b .. 6b a5: free
//! ```
//! Checked at each allocation (was the free object written to?) and free (was there a write past its ends?).

use super::{
    Caller, SlabHooks,
    cache::Cache,
    geometry::{TRACE, TRACK_SIZE},
    memory,
    options::DebugFlags,
    places::at,
    report,
};
use hal::LinearMap;
use types::PhysAddr;

const RED_FREE: u8 = 0xbb;
const RED_ALLOCATED: u8 = 0xcc;
const POISON_FREE: u8 = 0x6b;
const POISON_END: u8 = 0xa5;
const POISON_PADDING: u8 = 0x5a;

/// A byte that should have kept its pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// `Left Redzone`, `Right Redzone`, `Poison`, `End Poison` or `Object padding`.
    pub what: &'static str,
    /// Bytes from the start of the slab to the first wrong byte.
    pub offset: u32,
    /// What is there.
    pub found: u8,
    /// What should be.
    pub expected: u8,
}

/// Who allocated or freed an object last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Track {
    /// The innermost caller first; 0 ends them.
    pub addrs: [u32; TRACE],
    pub jiffies: u32,
    pub cpu: u32,
}

/// A stretch of an object's slot and the pattern it must hold.
type Pattern = (&'static str, u32, u32, u8);

fn zones(cache: &Cache, byte: u8) -> [Pattern; 2] {
    let layout = &cache.layout;
    let end = layout.start + layout.size;
    [("Left Redzone", 0, layout.start, byte), ("Right Redzone", end, layout.zone_end - end, byte)]
}

fn poison(cache: &Cache) -> [Pattern; 2] {
    let layout = &cache.layout;
    let last = layout.start + layout.size - 1;
    [("Poison", layout.start, layout.size - 1, POISON_FREE), ("End Poison", last, 1, POISON_END)]
}

fn padding(cache: &Cache) -> Pattern {
    let layout = &cache.layout;
    let tracked = cache.debug.contains(DebugFlags::STORE_USER);
    let start = layout.tracks + if tracked { 2 * TRACK_SIZE } else { 0 };
    ("Object padding", start, layout.stride - start, POISON_PADDING)
}

fn lay(linear: &impl LinearMap, place: PhysAddr, (_, start, len, byte): Pattern) {
    memory::fill(linear, PhysAddr::new(place.get() + start), byte, len);
}

/// Writes the patterns of free objects into a new slab.
pub(super) fn init_slab(linear: &impl LinearMap, cache: &Cache, pfn: u32) {
    for index in 0..cache.layout.count {
        let place = at(pfn, index * cache.layout.stride);
        lay(linear, place, padding(cache));
        lay(linear, place, ("tracks", cache.layout.tracks, padding(cache).1 - cache.layout.tracks, 0));
        mark(linear, cache, place, false);
    }
}

/// Lays the patterns of an allocated or of a free object.
fn mark(linear: &impl LinearMap, cache: &Cache, place: PhysAddr, allocated: bool) {
    if cache.debug.contains(DebugFlags::RED_ZONE) {
        let byte = if allocated { RED_ALLOCATED } else { RED_FREE };
        zones(cache, byte).into_iter().for_each(|zone| lay(linear, place, zone));
    }
    if cache.poisons() && !allocated {
        poison(cache).into_iter().for_each(|pattern| lay(linear, place, pattern));
    }
}

/// The first pattern that is broken.
fn damage(
    linear: &impl LinearMap,
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    allocated: bool,
) -> Option<Damage> {
    let slot = place.get() - at(pfn, 0).get();
    let broken = |(what, start, len, expected): Pattern| {
        let (skip, found) = memory::mismatch(linear, PhysAddr::new(place.get() + start), expected, len)?;
        Some(Damage { what, offset: slot + start + skip, found, expected })
    };
    let byte = if allocated { RED_ALLOCATED } else { RED_FREE };
    let in_zones =
        cache.debug.contains(DebugFlags::RED_ZONE).then(|| zones(cache, byte).into_iter().find_map(broken));
    let in_poison = (cache.poisons() && !allocated).then(|| poison(cache).into_iter().find_map(broken));
    in_zones.flatten().or(in_poison.flatten()).or_else(|| broken(padding(cache)))
}

/// Checks a free object that is about to be handed out and marks it as allocated; `false` after a report when
/// it was written to.
pub(super) fn on_alloc(
    linear: &impl LinearMap,
    hooks: &SlabHooks,
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    who: Caller,
) -> bool {
    if cache.debug.is_empty() {
        return true;
    }
    if let Some(damage) = checked(linear, cache, pfn, place, false) {
        report::damaged(linear, hooks, cache, pfn, place, &damage);
        return false;
    }
    mark(linear, cache, place, true);
    track(linear, hooks, cache, place, 0, who);
    true
}

/// Checks an object that comes back and marks it as free.
pub(super) fn on_free(
    linear: &impl LinearMap,
    hooks: &SlabHooks,
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    who: Caller,
) -> Result<(), Damage> {
    if cache.debug.is_empty() {
        return Ok(());
    }
    if let Some(damage) = checked(linear, cache, pfn, place, true) {
        report::damaged(linear, hooks, cache, pfn, place, &damage);
        return Err(damage);
    }
    mark(linear, cache, place, false);
    track(linear, hooks, cache, place, TRACK_SIZE, who);
    Ok(())
}

fn checked(
    linear: &impl LinearMap,
    cache: &Cache,
    pfn: u32,
    place: PhysAddr,
    allocated: bool,
) -> Option<Damage> {
    if cache.debug.contains(DebugFlags::CONSISTENCY) {
        damage(linear, cache, pfn, place, allocated)
    } else {
        None
    }
}

fn track(
    linear: &impl LinearMap,
    hooks: &SlabHooks,
    cache: &Cache,
    place: PhysAddr,
    which: u32,
    who: Caller,
) {
    if !cache.debug.contains(DebugFlags::STORE_USER) {
        return;
    }
    let mut addrs = [0; TRACE];
    if who.addr == 0 {
        (hooks.backtrace)(&mut addrs);
    } else {
        addrs[0] = who.addr;
    }
    let words = addrs.into_iter().chain([(hooks.jiffies)(), u32::from(who.cpu) + 1]);
    let start = place.get() + cache.layout.tracks + which;
    words.zip((start..).step_by(4)).for_each(|(word, at)| memory::write(linear, PhysAddr::new(at), word));
}

/// Who allocated (first) and freed (second) the object last, where it is known.
pub(super) fn tracks(linear: &impl LinearMap, cache: &Cache, place: PhysAddr) -> [Option<Track>; 2] {
    if !cache.debug.contains(DebugFlags::STORE_USER) {
        return [None; 2];
    }
    [0, TRACK_SIZE].map(|which| {
        let start = place.get() + cache.layout.tracks + which;
        let word = |index: usize| memory::read(linear, PhysAddr::new(start + index as u32 * 4));
        let (jiffies, cpu) = (word(TRACE), word(TRACE + 1));
        (cpu > 0).then(|| Track { addrs: core::array::from_fn(word), jiffies, cpu: cpu - 1 })
    })
}
