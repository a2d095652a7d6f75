//! The machine springs the traps that it is there for, and lets correct code pass.

use hal::{Asid, CacheOps, LinearMap, TlbOps};
use testkit::{Adversary, Machine, MemoryType, Op, Violation};
use types::{PhysAddr, VirtAddr};

const PA: PhysAddr = PhysAddr::new(0x8000_1000);
const BANK: (u32, u32) = (0x8000_0000, 0x8000);

fn cpu(machine: &Machine, pa: PhysAddr) -> u8 {
    let mut byte = [0];
    machine.cpu_read(pa, &mut byte);
    byte[0]
}

fn device(machine: &Machine, pa: PhysAddr) -> u8 {
    let mut byte = [0];
    machine.device_read(pa, &mut byte);
    byte[0]
}

fn at(offset: u32) -> PhysAddr {
    PhysAddr::new(PA.get() + offset)
}

#[test]
fn a_device_reads_old_data_until_it_is_cleaned() {
    let machine = Machine::new(&[BANK]);
    machine.cpu_write(PA, &[7]);
    assert_eq!(device(&machine, PA), 0);
    machine.clean(machine.ptr(PA), 1);
    assert_eq!((device(&machine, PA), cpu(&machine, PA)), (7, 7));
}

#[test]
fn stores_through_pointers_are_noticed() {
    let machine = Machine::new(&[BANK]);
    machine.ram().write(PA, &[9]);
    assert_eq!(device(&machine, PA), 0);
    machine.flush(machine.ptr(PA), 64);
    assert_eq!(device(&machine, PA), 9);
}

#[test]
fn dirty_lines_overwrite_what_a_device_wrote() {
    let machine = Machine::new(&[BANK]);
    machine.cpu_write(PA, &[1]);
    machine.device_write(PA, &[2]);
    assert_eq!((device(&machine, PA), cpu(&machine, PA)), (1, 1));
}

#[test]
fn speculative_fills_hide_what_a_device_wrote() {
    let machine = Machine::new(&[BANK]);
    machine.invalidate(machine.ptr(PA), 64);
    machine.device_write(PA, &[2]);
    assert_eq!((device(&machine, PA), cpu(&machine, PA)), (2, 0));
    machine.invalidate(machine.ptr(PA), 64);
    assert_eq!(cpu(&machine, PA), 2);
}

#[test]
fn partial_lines_are_cleaned_whole_ones_dropped() {
    let machine = Machine::new(&[BANK]);
    machine.cpu_write(PA, &[5; 192]);
    machine.invalidate(machine.ptr(at(32)), 128);
    assert_eq!([0, 32, 63, 64, 127, 128, 191].map(|n| cpu(&machine, at(n))), [5, 5, 5, 0, 0, 5, 5]);
    assert_eq!([63, 64, 191].map(|n| device(&machine, at(n))), [5, 0, 5]);
}

#[test]
fn uncached_memory_is_shared_but_old_lines_lurk() {
    let machine = Machine::new(&[BANK]);
    machine.cpu_write(PA, &[5]);
    machine.set_uncached(types::Pfn::containing(PA), true);
    assert_eq!(cpu(&machine, PA), 0);
    machine.cpu_write(PA, &[6]);
    assert_eq!(device(&machine, PA), 6);
    machine.device_write(PA, &[7]);
    assert_eq!(cpu(&machine, PA), 5, "the dirty line from before was evicted over the device's data");
    machine.device_write(PA, &[8]);
    assert_eq!(cpu(&machine, PA), 8);
}

#[test]
fn lines_survive_an_uncached_time() {
    let machine = Machine::new(&[BANK]);
    let page = types::Pfn::containing(PA);
    assert_eq!(cpu(&machine, PA), 0);
    machine.set_uncached(page, true);
    machine.device_write(PA, &[8]);
    machine.set_uncached(page, false);
    assert_eq!(cpu(&machine, PA), 0, "the line was never invalidated");
}

/// Cleaning before the remap leaves a window for speculation; cleaning after it doesn't.
#[test]
fn flushing_before_the_remap_is_too_early() {
    let page = types::Pfn::containing(PA);
    let run = |flush_early: bool| {
        let machine = Machine::new(&[BANK]);
        if flush_early {
            machine.flush(machine.ptr(PA), 64);
        }
        machine.set_uncached(page, true);
        if !flush_early {
            machine.flush(machine.ptr(PA), 64);
        }
        machine.device_write(PA, &[8]);
        machine.set_uncached(page, false);
        cpu(&machine, PA)
    };
    assert_eq!((run(true), run(false)), (0, 8));
}

#[test]
fn counting_and_leaving_out() {
    let machine = Machine::new(&[BANK]);
    machine.reset_ops(Some(1));
    (0..3).for_each(|n| machine.cpu_write(at(n * 64), &[1]));
    (0..3).for_each(|n| machine.clean(machine.ptr(at(n * 64)), 64));
    assert_eq!([0, 64, 128].map(|n| device(&machine, at(n))), [1, 0, 1]);
    assert_eq!((machine.counts().of(Op::Clean), machine.counts().total()), (3, 3));
    assert_eq!(machine.dropped(), Some(Op::Clean));
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn random_adversaries_break_careless_code_and_spare_careful_code() {
    let run = |seed, careful: bool| {
        let machine = Machine::with(&[BANK], 32, Adversary::Random, seed);
        machine.cpu_write(PA, &[1; 32]);
        if careful {
            machine.invalidate(machine.ptr(PA), 32);
        }
        machine.tick(4);
        machine.device_write(PA, &[2; 32]);
        machine.tick(4);
        if careful {
            machine.invalidate(machine.ptr(PA), 32);
        }
        cpu(&machine, PA) == 2
    };
    assert!((0..50).all(|seed| run(seed, true)));
    assert!((0..50).any(|seed| !run(seed, false)));
}

const ROOT: PhysAddr = PhysAddr::new(0x8000_4000);
const VIRT: VirtAddr = VirtAddr::new(0xc000_0000);
const SLOT: PhysAddr = PhysAddr::new(ROOT.get() + 0xc00 * 4);
/// Cacheable, uncached, and elsewhere; each writable and for the kernel.
const SECTION: u32 = 0x8001_141e;
const UNCACHED: u32 = 0x8001_1412;
const ELSEWHERE: u32 = 0x8101_141e;

fn mapped() -> Machine {
    let machine = Machine::new(&[(0x8000_0000, 0x8000)]);
    machine.set_kernel_root(ROOT);
    set(&machine, SECTION);
    machine
}

fn set(machine: &Machine, section: u32) {
    machine.ram().write(SLOT, &section.to_le_bytes());
    machine.publish(machine.ptr(SLOT), 4);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn a_valid_entry_over_a_valid_one_is_a_violation() {
    let machine = mapped();
    assert_eq!(machine.violations(), []);
    set(&machine, ELSEWHERE);
    assert!(matches!(machine.violations()[..], [Violation::BreakBeforeMake { .. }, ..]));
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn breaking_alone_does_not_help_without_a_flush() {
    let machine = mapped();
    set(&machine, 0);
    assert!(machine.translate(VIRT).is_ok(), "the old entry lingers");
    assert_eq!(machine.stale().len(), 256);
    set(&machine, ELSEWHERE);
    assert!(!machine.violations().is_empty());
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn break_flush_make_is_fine() {
    let machine = mapped();
    set(&machine, 0);
    machine.flush_all();
    assert!(machine.translate(VIRT).is_err());
    set(&machine, ELSEWHERE);
    assert_eq!((machine.violations(), machine.stale()), (vec![], vec![]));
    assert_eq!(machine.translate(VIRT).map(|seen| seen.phys.get()), Ok(0x8100_0000));
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn flushing_before_publishing_brings_the_old_entry_back() {
    let machine = mapped();
    machine.ram().write(SLOT, &[0; 4]);
    machine.flush_all();
    machine.publish(machine.ptr(SLOT), 4);
    assert_eq!(machine.stale().len(), 256);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn one_page_of_a_section_is_flushed_at_a_time() {
    let machine = mapped();
    set(&machine, 0);
    machine.flush_page(VirtAddr::new(0xc000_3000), Asid(0));
    assert_eq!(machine.stale().len(), 255);
    assert!(machine.translate(VirtAddr::new(0xc000_3000)).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn the_linear_map_decides_what_is_cached() {
    let machine = mapped();
    machine.track_linear(VIRT, PhysAddr::new(0x8000_0000));
    machine.store(VirtAddr::new(0xc000_1000), &[4], false).unwrap();
    assert_eq!(device(&machine, PA), 0);
    machine.flush(machine.ptr(PA), 64);
    set(&machine, 0);
    machine.flush_all();
    set(&machine, UNCACHED);
    machine.store(VirtAddr::new(0xc000_1000), &[6], false).unwrap();
    assert_eq!(device(&machine, PA), 6);
    assert_eq!(machine.violations(), []);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of table walks")]
fn a_second_mapping_of_another_type_is_found_when_used() {
    let machine = mapped();
    machine.track_linear(VIRT, PhysAddr::new(0x8000_0000));
    let alias = PhysAddr::new(SLOT.get() + 4);
    machine.ram().write(alias, &UNCACHED.to_le_bytes());
    machine.publish(machine.ptr(alias), 4);
    machine.load(VirtAddr::new(0xc010_1000), &mut [0], false).unwrap();
    let pfn = types::Pfn::containing(PA);
    let used = MemoryType::NormalNonCacheable;
    assert_eq!(machine.violations(), [Violation::MismatchedAlias { pfn, used }]);
}
