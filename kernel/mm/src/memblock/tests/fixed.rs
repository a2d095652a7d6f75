//! The cases that a coarse model can't reach, each from Linux's rules.

use super::{listing, range, with_memblock};
use crate::memblock::{BuddyBlocks, DebugFile, MemblockError, RegionFlags, TableId};
use std::string::ToString;
use std::vec::Vec;
use types::{PAGE_SIZE, Pfn, PhysAddr};

const SSD202: (u32, u32) = (0x2000_0000, 0x7f0_0000);

#[test]
fn an_empty_table_holds_one_empty_region() {
    with_memblock(4, |m| {
        assert_eq!(listing(m.memory()), [(0, 0, 0)]);
        assert_eq!(m.start_of_dram(), PhysAddr::new(0));
        assert_eq!(m.mem_ranges(RegionFlags::empty()).collect::<Vec<_>>(), [range(0, 0)]);
        assert_eq!(m.free_ranges(RegionFlags::empty()).count(), 0);
        m.add(range(SSD202.0, SSD202.1)).unwrap();
        m.remove(range(0, u32::MAX)).unwrap();
        assert_eq!(listing(m.memory()), [(0, 0, 0)]);
    });
}

#[test]
fn page_zero_is_never_found_and_size_zero_reserves_nothing() {
    with_memblock(8, |m| {
        m.add(range(0, 0x3000)).unwrap();
        assert_eq!(m.find_in_range(0, 0, 0x2000, 1), Some(PhysAddr::new(0x1000)));
        assert_eq!(m.find_in_range(0, 0, 0x2001, 1), None);
        let nothing = m.phys_alloc(0, 64).unwrap();
        assert_eq!((nothing.base().get(), nothing.size()), (0x3000, 0));
        assert_eq!(listing(m.reserved()), [(0, 0, 0)]);
        m.reserve(range(0x1000, 0)).unwrap();
        assert_eq!(listing(m.reserved()), [(0, 0, 0)]);
    });
}

#[test]
fn an_explicit_end_ignores_the_current_limit() {
    with_memblock(8, |m| {
        m.add(range(SSD202.0, SSD202.1)).unwrap();
        m.set_current_limit(PhysAddr::new(0x27e0_0000));
        assert_eq!(m.phys_alloc(0x1000, 0x1000).unwrap().base().get(), 0x27df_f000);
        let explicit = m.phys_alloc_range(0x1000, 0x1000, 0, u32::MAX).unwrap();
        assert_eq!(explicit.base().get(), 0x27ef_f000);
        let family = m.alloc_try_raw(0x1000, 0x1000, 0, u32::MAX).unwrap();
        assert_eq!(family.base().get(), 0x27df_e000);
        let lower = m.alloc_try_raw(0x1000, 0x1000, 0x27f0_0000, 0).unwrap();
        assert_eq!(lower.base().get(), 0x27df_d000, "the lower limit is given up");
    });
}

#[test]
fn only_the_base_is_aligned_and_zeroing_sees_what_was_found() {
    with_memblock(8, |m| {
        m.add(range(0x10_0000, 0x10_0001)).unwrap();
        let mut zeroed = Vec::new();
        let got = m.alloc(100, 0, &mut |r| zeroed.push(r)).unwrap();
        assert_eq!(got, range(0x1f_ff80, 100), "an alignment of 0 becomes a cache line");
        assert_eq!(zeroed, [got]);
        assert!(m.alloc(0x20_0000, 64, &mut |_| panic!("nothing to zero")).is_err());
    });
}

#[test]
fn the_last_byte_of_the_space_is_out_of_reach() {
    with_memblock(8, |m| {
        m.add(range(0xffff_f000, 0x1000)).unwrap();
        assert_eq!(listing(m.memory()), [(0xffff_f000, 0xfff, 0)]);
        assert_eq!(m.find_in_range(0, u32::MAX, PAGE_SIZE, 1), None);
        assert_eq!(m.free_page_runs(Pfn::new(0x10_0000)).count(), 0);
        m.trim(PAGE_SIZE);
        assert_eq!(listing(m.memory()), [(0, 0, 0)]);
    });
}

#[test]
fn a_full_table_names_what_it_did_not_record() {
    with_memblock(3, |m| {
        for i in 0..3 {
            m.reserve(range(0x1000 + i * 0x2000, 0x1000)).unwrap();
        }
        let refused = range(0x9000, 0x1000);
        let full = MemblockError::TableFull { table: TableId::Reserved, range: refused };
        assert_eq!(m.reserve(refused), Err(full));
        assert_eq!(
            full.to_string(),
            "memblock: reserved table is full, [0x00009000-0x00009fff] is not recorded"
        );
        assert_eq!(m.reserve(range(0x1000, 0x1000)), Ok(()), "nothing new needs no room");
        assert!(m.free(range(0x1000, 0x1000)).is_err(), "isolating asks for two more regions");
    });
}

#[test]
fn regions_with_other_flags_are_other_regions() {
    with_memblock(8, |m| {
        m.add(range(0x10_0000, 0x10_0000)).unwrap();
        m.mark_nomap(range(0x14_0000, 0x1_0000)).unwrap();
        m.add(range(0x10_0000, 0x20_0000)).unwrap();
        let expected = [(0x10_0000, 0x4_0000, 0), (0x14_0000, 0x1_0000, 4), (0x15_0000, 0x1b_0000, 0)];
        assert_eq!(listing(m.memory()), expected, "adding does not clear a flag");
        assert!(!m.is_region_memory(range(0x13_f000, 0x2000)));
        assert!(m.is_region_memory(range(0x14_0000, 0x1_0000)));
        assert!(m.is_memory(PhysAddr::new(0x14_0000)) && !m.is_map_memory(PhysAddr::new(0x14_0000)));
    });
}

#[test]
fn an_empty_range_overlaps_only_strictly_inside() {
    with_memblock(8, |m| {
        m.reserve(range(0x1000, 0x1000)).unwrap();
        assert!(!m.is_region_reserved(range(0x1000, 0)));
        assert!(m.is_region_reserved(range(0x1001, 0)));
        assert!(!m.is_region_reserved(range(0x2000, 0)));
    });
}

#[test]
fn mirrored_memory_is_preferred_once_the_kernel_asked_for_it() {
    with_memblock(8, |m| {
        m.add(range(0x10_0000, 0x10_0000)).unwrap();
        m.mark_mirror(range(0x10_0000, 0x1000)).unwrap();
        assert_eq!(m.memory().regions().len(), 1);
        m.set_mirrored_kernelcore(true);
        m.mark_mirror(range(0x10_0000, 0x1000)).unwrap();
        assert_eq!(m.phys_alloc(0x1000, 0x1000).unwrap().base().get(), 0x10_0000);
        assert_eq!(m.phys_alloc(0x1000, 0x1000).unwrap().base().get(), 0x1f_f000);
    });
}

#[test]
fn debugfs_lines_end_with_the_last_byte() {
    with_memblock(8, |m| {
        m.add(range(SSD202.0, SSD202.1)).unwrap();
        assert_eq!(DebugFile(m.memory()).to_string(), "   0: 0x20000000..0x27efffff\n");
        assert_eq!(DebugFile(m.reserved()).to_string(), "   0: 0x00000000..0xffffffff\n");
    });
}

#[test]
fn the_hand_over_rounds_free_inwards_and_reserved_outwards() {
    with_memblock(8, |m| {
        m.add(range(0x10_0800, 0x70_0000)).unwrap();
        m.reserve(range(0x10_2fff, 2)).unwrap();
        m.mark_nomap(range(0x20_0800, 0x800)).unwrap();
        let free: Vec<_> = m.free_page_runs(Pfn::new(0x700)).collect();
        assert_eq!(free, [0x101..0x102, 0x104..0x200, 0x201..0x700]);
        let reserved: Vec<_> = m.reserved_page_runs().collect();
        assert_eq!(reserved, [0x102..0x104, 0x200..0x201]);
    });
}

#[test]
fn blocks_are_maximal_aligned_and_complete() {
    for (start, end) in [(0x101, 0x102), (0x201, 0x1700), (0, 0x2000), (0x3ff, 0x401), (5, 5)] {
        let (mut at, mut last) = (start, None);
        for (pfn, order) in BuddyBlocks::new(start..end) {
            assert_eq!(pfn.get(), at);
            assert_eq!(at % order.pages(), 0);
            let bigger = order.pages() * 2;
            assert!(order.get() == 10 || at % bigger != 0 || at + bigger > end);
            at += order.pages();
            last = Some(order);
        }
        assert_eq!(at, end);
        assert_eq!(last.is_none(), start == end);
    }
}
