//! Growing tables: what is recorded stays recorded, and the arrays lie in memory that was free.

use super::{Rng, listing, range};
use crate::memblock::{Memblock, Region, TableId, TableMemory};
use std::vec::Vec;
use types::PhysRange;

const RAM: (u32, u32) = (0x2000_0000, 0x10_0000);
const FIRST_ENTRIES: usize = 8;

/// Memory for tables, ready made.
struct Arrays<'a>(Vec<&'a mut [Region]>);

impl<'a> TableMemory<'a> for Arrays<'a> {
    fn array(&mut self, range: PhysRange, entries: usize) -> Option<&'a mut [Region]> {
        assert!(entries * 12 <= range.size() as usize, "{entries} entries in {range}");
        self.0.pop()
    }
}

/// Runs a test on a memblock that has RAM and may grow.
fn growing(test: impl FnOnce(&mut Memblock<'_>)) {
    let mut backing = std::vec![std::vec![Region::EMPTY; 4096]; 16];
    let mut arrays = Arrays(backing.iter_mut().map(Vec::as_mut_slice).collect());
    let (mut memory, mut reserved) = ([Region::EMPTY; FIRST_ENTRIES], [Region::EMPTY; FIRST_ENTRIES]);
    let mut m = Memblock::new(&mut memory, &mut reserved);
    m.add(range(RAM.0, RAM.1)).unwrap();
    m.allow_resize(&mut arrays);
    test(&mut m);
}

#[test]
fn reservations_survive_growth() {
    growing(|m| {
        let mut rng = Rng::new(7);
        let mut mine: Vec<PhysRange> = Vec::new();
        for _ in 0..if cfg!(miri) { 60 } else { 800 } {
            let free = m.phys_alloc(1 + rng.below(60), 128).unwrap();
            assert!(mine.iter().all(|r| !r.overlaps(free)));
            assert!(m.reserved().array_range().is_none_or(|array| !array.overlaps(free)));
            mine.push(free);
        }
        assert!(mine.iter().all(|&r| m.is_region_reserved(r)));
        let array = m.reserved().array_range().unwrap();
        assert!(m.is_region_reserved(array) && array.size() as usize >= m.reserved().capacity() * 12);
        mine.iter().for_each(|&r| m.free(r).unwrap());
        assert_eq!(
            listing(m.reserved()),
            [(array.base().get(), array.size(), 0)],
            "old arrays were given back"
        );
    });
}

#[test]
fn the_memory_table_grows_and_reserves_its_array() {
    growing(|m| {
        for i in 0..20 {
            m.mark_nomap(range(RAM.0 + i * 0x2000, 0x1000)).unwrap();
        }
        assert_eq!(m.memory().capacity(), 64);
        assert_eq!(m.memory().regions().len(), 40);
        assert!(m.is_region_reserved(m.memory().array_range().unwrap()));
    });
}

#[test]
fn the_new_array_keeps_clear_of_the_range_being_reserved() {
    growing(|m| {
        for i in 0..FIRST_ENTRIES as u32 {
            m.reserve(range(RAM.0 + i * 0x100, 0x80)).unwrap();
        }
        let top = range(RAM.0 + 0x8000, RAM.1 - 0x8000);
        m.reserve(top).unwrap();
        let array = m.reserved().array_range().unwrap();
        assert_eq!(array, range(RAM.0 + 0x7000, 0x1000), "below the range, because there is nothing above");
    });
}

#[test]
fn without_memory_the_table_stays_full() {
    growing(|m| {
        m.reserve(range(RAM.0, RAM.1)).unwrap();
        for i in 0..FIRST_ENTRIES as u32 - 1 {
            m.reserve(range(0x1000_0000 + i * 0x2000, 0x1000)).unwrap();
        }
        let refused = range(0x5000_0000, 0x1000);
        let error = m.reserve(refused).unwrap_err();
        assert_eq!(
            error,
            super::super::MemblockError::TableFull { table: TableId::Reserved, range: refused }
        );
    });
}
