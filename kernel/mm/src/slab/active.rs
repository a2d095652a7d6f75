//! The hot end of a cache on one CPU: up to 32 objects of its frozen slab.
//!
//! While a slab is frozen, `free` here is the truth for the objects of `group`; the slab's own bits tell about its other
//! groups. Everything that an allocation and a free of a nearby object need lies in these 32 bytes.
//!
//! `unsafe`: the record keeps a pointer into the linear map, which makes it `!Send` by default.

#![allow(unsafe_code)]

use core::ptr::NonNull;

/// See the [module](self).
#[repr(C, align(32))]
pub(super) struct Active {
    /// Bit i: object i of the group is free.
    free: u32,
    /// Bytes from one object to the next.
    stride: u32,
    /// 2^32 / stride, rounded up: a multiplication finds the object that an offset belongs to.
    reciprocal: u32,
    /// Objects in the group; 0 when no slab is frozen.
    count: u32,
    /// The first object of the group.
    base: *mut u8,
    /// Which group of the slab.
    group: u32,
    /// First page of the frozen slab.
    pfn: u32,
}

// SAFETY: `base` points into the linear map, which is the same for every CPU, and this type never reads or
// writes through it; it only hands out pointers derived from it, one owner at a time (invariant 2).
unsafe impl Send for Active {}

impl Active {
    /// No slab: [`Active::pop`] finds nothing, [`Active::push`] matches nothing.
    pub(super) const fn idle() -> Self {
        Self { free: 0, stride: 1, reciprocal: 0, count: 0, base: core::ptr::null_mut(), group: 0, pfn: 0 }
    }

    /// Works on the group of `count` objects at `base`, of which `free` are free.
    pub(super) fn load(&mut self, pfn: u32, group: u32, base: *mut u8, stride: u32, count: u32, free: u32) {
        // The quotient of 2^32 rounded up, in 32 bits: strides are 4 or more.
        let reciprocal = u32::MAX / stride + 1;
        *self = Self { free, stride, reciprocal, count, base, group, pfn };
    }

    /// First page of the frozen slab; `None` without one.
    pub(super) fn pfn(&self) -> Option<u32> {
        (self.count > 0).then_some(self.pfn)
    }

    /// The group that is worked on.
    pub(super) fn group(&self) -> u32 {
        self.group
    }

    /// The free bits of the group.
    pub(super) fn free_bits(&self) -> u32 {
        self.free
    }

    /// Marks object `index` of the group as free.
    pub(super) fn set_free(&mut self, index: u32) {
        self.free |= 1 << index;
    }

    /// Takes the lowest free object.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        if self.free == 0 {
            return None;
        }
        let index = self.free.trailing_zeros();
        self.free &= self.free - 1;
        // In bounds of the slab, so it doesn't wrap; `wrapping_add` needs no proof of that.
        let object = self.base.wrapping_add((index * self.stride) as usize);
        // SAFETY: `free` has a bit only after `load` got a pointer into the linear map, which is never null there.
        Some(unsafe { NonNull::new_unchecked(object) })
    }

    /// Takes `object` back if it is an allocated object of this group; `false` otherwise, and nothing has changed.
    ///
    /// `index < count` and `index * stride == offset` together prove that the address is an object's, whatever the
    /// multiplication rounded to.
    #[inline(always)]
    pub(super) fn push(&mut self, object: *const u8) -> bool {
        let offset = object.addr().wrapping_sub(self.base.addr());
        let index = ((u64::from(offset as u32) * u64::from(self.reciprocal)) >> 32) as u32;
        if index >= self.count || (index * self.stride) as usize != offset {
            return false;
        }
        let free = self.free | 1u32.wrapping_shl(index);
        if free == self.free {
            return false;
        }
        self.free = free;
        true
    }
}
