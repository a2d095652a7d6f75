//! What the structure promises about work, independent of instructions.

use super::{Machine, on};
use crate::{Gfp, slab::SlabOptions};
use std::vec::Vec;

#[test]
fn a_hot_pair_touches_no_page() {
    let mut m = Machine::new(64, SlabOptions::default());
    let first = m.slab.kmalloc(&mut m.pages, on(0), 64, Gfp::KERNEL).unwrap();
    m.slab.kfree(&mut m.pages, on(0), first.as_ptr()).unwrap();
    let taken = m.pages.pages_taken();
    m.pages.allowance = 0;
    for _ in 0..1000 {
        let object = m.slab.kmalloc(&mut m.pages, on(0), 64, Gfp::KERNEL).unwrap();
        assert_eq!(object, first, "the object freed last comes back");
        m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap();
    }
    assert_eq!(m.pages.pages_taken(), taken);
}

#[test]
fn a_load_that_swings_around_a_slabs_edge_takes_no_pages() {
    let mut m = Machine::new(64, SlabOptions::default());
    let mut objects: Vec<_> =
        (0..5).map(|_| m.slab.kmalloc(&mut m.pages, on(0), 1024, Gfp::KERNEL).unwrap()).collect();
    m.pages.allowance = 0;
    for _ in 0..100 {
        m.slab.kfree(&mut m.pages, on(0), objects.pop().unwrap().as_ptr()).unwrap();
        m.slab.kfree(&mut m.pages, on(0), objects.pop().unwrap().as_ptr()).unwrap();
        objects.extend((0..2).map(|_| m.slab.kmalloc(&mut m.pages, on(0), 1024, Gfp::KERNEL).unwrap()));
    }
    m.validate();
}

#[test]
fn empty_slabs_do_not_pile_up() {
    let mut m = Machine::new(256, SlabOptions::default());
    let objects: Vec<_> =
        (0..1000).map(|_| m.slab.kmalloc(&mut m.pages, on(0), 64, Gfp::KERNEL).unwrap()).collect();
    assert_eq!(m.pages.pages_taken(), 1000u32.div_ceil(63));
    for object in objects {
        m.slab.kfree(&mut m.pages, on(0), object.as_ptr()).unwrap();
    }
    // The one the CPU works on, its drain, and the one that is kept.
    assert!(m.pages.pages_taken() <= 3, "{}", m.pages.pages_taken());
    m.assert_all_returned();
}
