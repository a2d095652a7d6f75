//! A [`PageAllocator`] made field by field in the place where it stays: as one value it would be built on the stack
//! first.
//!
//! `unsafe`: writing fields of a value that is not there yet.

#![allow(unsafe_code)]

use super::{
    Guards, Hooks, MAX_CPUS, Tunables, VmStat, Zone, ZoneKind,
    alloc::{PageAllocator, REPORTS},
    buddy::Buddy,
    contig::Isolations,
    map::MemoryMap,
    pcp::{PLACES, PcpZone, PerCpu},
};
use crate::FaultAttr;
use core::mem::MaybeUninit;
use hal::LinearMap;

/// The allocator over `map`, with zones that know of no memory yet: [`Buddy::populate`] follows.
pub(super) fn unpopulated<'s, 'm>(
    slot: &'s mut MaybeUninit<PageAllocator<'m>>,
    map: MemoryMap<'m>,
    cpus: u32,
    linear: &'m dyn LinearMap,
    hooks: Hooks,
) -> &'s mut PageAllocator<'m> {
    let at = slot.as_mut_ptr();
    // SAFETY: the pointer is the slot's; each field is written, none is read before. The pattern below names them all,
    // so that a new one can't be forgotten.
    unsafe {
        buddy(&raw mut (*at).buddy, map, cpus);
        (&raw mut (*at).linear).write(linear);
        (&raw mut (*at).hooks).write(hooks);
        (&raw mut (*at).zone_of_gfp).write([ZoneKind::Normal as u8; 4]);
        (&raw mut (*at).guards).write(Guards::default());
        (&raw mut (*at).fault).write(FaultAttr::default());
        (&raw mut (*at).owners).write(&mut []);
        (&raw mut (*at).serial).write(0);
        (&raw mut (*at).reports).write(REPORTS);
        let allocator = slot.assume_init_mut();
        #[rustfmt::skip]
        let PageAllocator {
            buddy: Buddy {
                divert: _, here: _, map: _, in_use: _, stat: _, pcp: PerCpu { places: _ }, zones: _, cpus: _, cpu: _,
                atomic: _, tunables: _, isolations: _, grouping_disabled: _, kswapd_wanted: _,
            },
            linear: _, hooks: _, zone_of_gfp: _, guards: _, fault: _, owners: _, serial: _, reports: _,
        } = allocator;
        allocator
    }
}

/// # Safety
/// `at` is valid for writes.
unsafe fn buddy<'m>(at: *mut Buddy<'m>, map: MemoryMap<'m>, cpus: u32) {
    // SAFETY: the caller's promise; each field is written, none is read before.
    unsafe {
        (&raw mut (*at).divert).write(u32::MAX);
        (&raw mut (*at).here).write(PerCpu::place(0, ZoneKind::Normal as usize));
        (&raw mut (*at).map).write(map);
        (&raw mut (*at).in_use).write([0; 16]);
        (&raw mut (*at).stat).write(VmStat::default());
        for place in 0..PLACES {
            (&raw mut (*at).pcp.places[place]).write(PcpZone::EMPTY);
        }
        for kind in ZoneKind::ALL {
            (&raw mut (*at).zones[kind as usize]).write(Zone::new(kind));
        }
        (&raw mut (*at).cpus).write(cpus.clamp(1, MAX_CPUS as u32));
        (&raw mut (*at).cpu).write(0);
        (&raw mut (*at).atomic).write(false);
        (&raw mut (*at).tunables).write(Tunables::default());
        (&raw mut (*at).isolations).write(Isolations::default());
        (&raw mut (*at).grouping_disabled).write(false);
        (&raw mut (*at).kswapd_wanted).write(false);
    }
}

#[cfg(test)]
impl<'m> PageAllocator<'m> {
    /// As [`PageAllocator::new_in`], for hosts, whose stacks are large.
    pub(crate) fn new<M, F>(
        setup: super::Setup<M, F>,
        metadata: &'m mut [MaybeUninit<crate::Page>],
        linear: &'m dyn LinearMap,
        hooks: Hooks,
    ) -> Result<Self, super::MapError>
    where
        M: Iterator<Item = types::PhysRange> + Clone,
        F: Iterator<Item = types::PhysRange> + Clone,
    {
        let mut slot = MaybeUninit::uninit();
        Self::new_in(&mut slot, setup, metadata, linear, hooks)?;
        // SAFETY: it was just built there.
        Ok(unsafe { slot.assume_init() })
    }
}
