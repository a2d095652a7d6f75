//! `slub_debug`: what it finds.

use super::{Machine, on};
use crate::{
    Gfp,
    slab::{CacheSpec, FreeError, SlabOptions, SlubDebug},
};
use core::ptr::NonNull;

fn machine(letters: &str) -> Machine {
    let slub_debug = SlubDebug::parse(letters).unwrap();
    Machine::new(256, SlabOptions { slub_debug, ..SlabOptions::default() })
}

impl Machine {
    fn get(&mut self, size: usize) -> NonNull<u8> {
        self.slab.kmalloc(&mut self.pages, on(0), size, Gfp::KERNEL).unwrap()
    }
}

/// Writes one byte `at` bytes from the start of an object, inside or outside of it.
fn scribble(object: NonNull<u8>, at: isize) {
    // SAFETY: the byte lies in the slot of the object in the emulated memory; that the write is wrong is the point.
    unsafe { object.as_ptr().offset(at).write(0x11) }
}

#[test]
fn writes_past_either_end_are_found_at_the_free() {
    for (at, what) in [(64, "Right Redzone"), (-1, "Left Redzone"), (67, "Right Redzone")] {
        let mut m = machine("FZU");
        let object = m.get(64);
        scribble(object, at);
        let error = m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap_err();
        let FreeError::Damaged { cache: "kmalloc-64", damage, .. } = error else { panic!("{error}") };
        assert_eq!((damage.what, damage.found, damage.expected), (what, 0x11, 0xcc));
        m.validate();
        assert_eq!(m.slab.ksize(&m.pages, object.as_ptr()), Ok(64), "it stays allocated");
    }
}

#[test]
fn a_write_after_free_is_found_at_the_next_allocation() {
    for at in [0, 10, 63] {
        let mut m = machine("FP");
        let object = m.get(64);
        m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap();
        scribble(object, at);
        let next = m.get(64);
        assert_ne!(next, object, "the damaged object is taken out of use");
        m.validate();
        let mut clean = machine("FP");
        let object = clean.get(64);
        clean.slab.kfree(&mut clean.pages, on(0), object.as_ptr()).unwrap();
        assert_eq!(clean.get(64), object, "and a sound one is not");
    }
}

#[test]
fn a_write_after_free_harms_nothing_even_without_options() {
    let mut m = machine("-");
    let objects: std::vec::Vec<_> = (0..63).map(|_| m.get(64)).collect();
    for &object in &objects {
        m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap();
        // SAFETY: emulated memory; the write after free is the point.
        unsafe { object.as_ptr().write_bytes(0xff, 64) };
    }
    m.validate();
    m.assert_all_returned();
}

#[test]
fn only_the_caches_named_pay() {
    let mut m = machine("FZPU,kmalloc-64");
    m.get(64);
    m.get(128);
    let infos: std::vec::Vec<_> = m.slab.caches(&m.pages).collect();
    let size = |name| infos.iter().find(|info| info.name == name).unwrap().object_size;
    assert_eq!(size("kmalloc-64"), 192);
    assert_eq!(size("kmalloc-128"), 128);
}

#[test]
fn red_zones_keep_the_alignment() {
    let mut m = machine("FZPU");
    for size in [8usize, 64, 512, 4096] {
        assert_eq!(m.get(size).as_ptr().addr() % size, 0);
    }
}

#[test]
fn poison_spares_constructed_objects() {
    fn ctor(bytes: &mut [core::mem::MaybeUninit<u8>]) {
        bytes.fill(core::mem::MaybeUninit::new(9));
    }
    let mut m = machine("FZPU");
    let spec = CacheSpec { ctor: Some(ctor), ..CacheSpec::new("made", 40) };
    let cache = m.slab.cache_create(&spec).unwrap();
    for _ in 0..2 {
        let object = m.slab.cache_alloc(&mut m.pages, on(0), &cache, Gfp::KERNEL).unwrap();
        // SAFETY: our object, initialized by its constructor.
        let bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), 40) };
        assert!(bytes.iter().all(|&b| b == 9));
        m.slab.cache_free(&mut m.pages, on(0), &cache, object.as_ptr()).unwrap();
    }
}

#[test]
fn init_on_free_wipes() {
    let mut m = Machine::new(64, SlabOptions { init_on_free: true, ..SlabOptions::default() });
    let object = m.get(64);
    // SAFETY: our object.
    unsafe { object.as_ptr().write_bytes(0xee, 64) };
    m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap();
    // SAFETY: emulated memory, which is still there.
    let bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), 64) };
    assert!(bytes.iter().all(|&b| b == 0));
}
