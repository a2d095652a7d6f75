//! How the objects of a cache lie in a slab.

use super::{SlabError, options::DebugFlags};
use types::{Order, PAGE_SIZE};

/// Slabs are not made larger than 2^3 pages for the sake of less waste (`slub_max_order`).
const PREFERRED_MAX_ORDER: u8 = 3;
/// Objects that a slab should hold before it is large enough.
const MIN_OBJECTS: u32 = 4;
/// Addresses of a backtrace that owner tracking keeps.
pub(super) const TRACE: usize = 5;
/// Bytes of one record of owner tracking: the addresses, when, and on which CPU.
pub(super) const TRACK_SIZE: u32 = 4 * (TRACE as u32 + 2);

/// Sizes in bytes, offsets from the start of the object's slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    /// Bytes the user may use.
    pub size: u32,
    /// Where the object starts: after the left red zone.
    pub start: u32,
    /// Where the right red zone ends.
    pub zone_end: u32,
    /// Where the records of owner tracking start.
    pub tracks: u32,
    /// Bytes from one object to the next.
    pub stride: u32,
    /// Objects in a slab.
    pub count: u32,
    /// Pages in a slab.
    pub order: Order,
}

impl Geometry {
    /// The layout for objects of `size` bytes at multiples of `align`, with room for what `debug` asks.
    pub(super) fn new(size: u32, align: u32, debug: DebugFlags) -> Result<Self, SlabError> {
        if size == 0 || size > super::KMALLOC_MAX {
            return Err(SlabError::BadSize { size });
        }
        if !align.is_power_of_two() || align > super::KMALLOC_MAX {
            return Err(SlabError::BadAlign { align });
        }
        let align = align.max(4);
        let zones = debug.contains(DebugFlags::RED_ZONE);
        let start = if zones { align.max(8) } else { 0 };
        let object_end = (start + size).next_multiple_of(4);
        let zone_end = if zones { object_end + 4 } else { object_end };
        let tracks = zone_end;
        let end = if debug.contains(DebugFlags::STORE_USER) { tracks + 2 * TRACK_SIZE } else { tracks };
        let stride = end.next_multiple_of(align);
        let (order, count) = choose_order(stride).ok_or(SlabError::BadSize { size })?;
        Ok(Self { size, start, zone_end, tracks, stride, count, order })
    }

    /// Bytes of a slab.
    pub(super) const fn bytes(&self) -> u32 {
        PAGE_SIZE << self.order.get()
    }

    /// Whether the free bits fit into the page record; otherwise they lie at the slab's end.
    pub(super) const fn bits_in_record(&self) -> bool {
        self.count <= 32
    }

    /// How many groups of 32 objects, the last one perhaps smaller.
    pub(super) const fn groups(&self) -> u32 {
        self.count.div_ceil(32)
    }

    /// Objects in group `group`.
    pub(super) fn group_count(&self, group: u32) -> u32 {
        (self.count - group * 32).min(32)
    }

    /// The free bits of group `group` when all of its objects are free.
    pub(super) fn group_mask(&self, group: u32) -> u32 {
        u32::MAX >> (32 - self.group_count(group))
    }
}

/// How many objects fit into 2^`order` pages beside the free bits.
fn objects_in(stride: u32, order: u8) -> u32 {
    let bytes = PAGE_SIZE << order;
    let all = bytes / stride;
    if all <= 32 {
        return all;
    }
    // One word of bits for each 32 objects: take objects away until both fit.
    let mut count = all;
    while count > 32 && count * stride + count.div_ceil(32) * 4 > bytes {
        count -= 1;
    }
    count
}

/// The smallest order that wastes at most 1/16 (then 1/8, 1/4, 1/2) on at least [`MIN_OBJECTS`]; otherwise the smallest that
/// holds one object.
fn choose_order(stride: u32) -> Option<(Order, u32)> {
    for fraction in [16, 8, 4, 2] {
        for order in 0..=PREFERRED_MAX_ORDER {
            let (count, bytes) = (objects_in(stride, order), PAGE_SIZE << order);
            if count >= MIN_OBJECTS && (bytes - count * stride) * fraction <= bytes {
                return Some((Order::new(order)?, count));
            }
        }
    }
    let order = Order::for_pages(stride.div_ceil(PAGE_SIZE))?;
    Some((order, objects_in(stride, order.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_their_bits_fit_without_touching() {
        for size in (1..5000).step_by(if cfg!(miri) { 97 } else { 1 }).chain([8192, 10_000, 100_000, 4 << 20])
        {
            for debug in [DebugFlags::empty(), DebugFlags::all()] {
                let Ok(g) = Geometry::new(size, 8, debug) else {
                    assert!(size == 4 << 20 && !debug.is_empty(), "{size}");
                    continue;
                };
                let bits = if g.bits_in_record() { 0 } else { g.groups() * 4 };
                assert!(g.count >= 1 && g.count * g.stride + bits <= g.bytes(), "{g:?}");
                assert!(g.start + g.size <= g.zone_end && g.zone_end <= g.tracks && g.tracks <= g.stride);
                assert_eq!((0..g.groups()).map(|i| g.group_mask(i).count_ones()).sum::<u32>(), g.count);
            }
        }
    }

    #[test]
    fn kmalloc_slabs_stay_small() {
        let orders = [(8, 0), (64, 0), (96, 0), (192, 0), (1024, 0), (2048, 1), (4096, 2), (8192, 3)];
        for (size, order) in orders {
            let g = Geometry::new(size, 8, DebugFlags::empty()).unwrap();
            assert_eq!(g.order.get(), order, "{size}");
        }
        assert_eq!(Geometry::new(64, 64, DebugFlags::empty()).unwrap().count, 63);
        assert_eq!(Geometry::new(8, 8, DebugFlags::empty()).unwrap().count, 504);
    }

    #[test]
    fn nonsense_is_refused() {
        let none = DebugFlags::empty();
        assert_eq!(Geometry::new(0, 8, none), Err(SlabError::BadSize { size: 0 }));
        assert_eq!(Geometry::new(u32::MAX, 8, none), Err(SlabError::BadSize { size: u32::MAX }));
        assert_eq!(Geometry::new(8, 3, none), Err(SlabError::BadAlign { align: 3 }));
        assert_eq!(Geometry::new(8, 0, none), Err(SlabError::BadAlign { align: 0 }));
        assert_eq!(Geometry::new(8, 8 << 20, none), Err(SlabError::BadAlign { align: 8 << 20 }));
    }
}
