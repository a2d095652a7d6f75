//! A [`Slab`] made field by field in the place where it stays: as one value it would be built on the stack first.
//!
//! `unsafe`: writing fields of a value that is not there yet.

#![allow(unsafe_code)]

use super::{Active, MAX_CACHES, MAX_CPUS, SLOTS, Slab, SlabOptions, SlabTotals};
use core::mem::MaybeUninit;

/// The allocator without any cache.
pub(super) fn without_caches<L>(
    slot: &mut MaybeUninit<Slab<L>>,
    linear: L,
    options: SlabOptions,
) -> &mut Slab<L> {
    let slab = slot.as_mut_ptr();
    // SAFETY: the pointer is the slot's; each field is written, none is read before. The pattern below names them all,
    // so that a new one can't be forgotten.
    unsafe {
        (&raw mut (*slab).linear).write(linear);
        for active in 0..MAX_CPUS * SLOTS {
            (&raw mut (*slab).active[active / SLOTS][active % SLOTS]).write(Active::idle());
        }
        (&raw mut (*slab).last).write([0; MAX_CPUS]);
        (&raw mut (*slab).freed_to).write([u32::MAX; MAX_CPUS]);
        for cache in 0..MAX_CACHES {
            (&raw mut (*slab).caches[cache]).write(None);
        }
        (&raw mut (*slab).options).write(options);
        (&raw mut (*slab).totals).write(SlabTotals::default());
        let slab = slot.assume_init_mut();
        let Slab { linear: _, active: _, last: _, freed_to: _, caches: _, options: _, totals: _ } = slab;
        slab
    }
}

#[cfg(test)]
impl<L: hal::LinearMap> Slab<L> {
    /// As [`Slab::new_in`], for hosts, whose stacks are large.
    pub(crate) fn new(linear: L, options: SlabOptions) -> Self {
        let mut slot = MaybeUninit::uninit();
        Self::new_in(&mut slot, linear, options);
        // SAFETY: it was just built there.
        unsafe { slot.assume_init() }
    }
}
