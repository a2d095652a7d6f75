//! The reservations against a second telling of Linux's rules, and the documents' figures.

mod blob;
mod board;
mod fixed;
mod linux;
mod paint;
mod random;
mod rng;
mod text;

use crate::{BootFacts, DEFAULT_CMA_SIZE, EarlyMemoryError, MemorySetup, early_memory};
use dt::{BootData, Tree};
use mm::memblock::{Memblock, Region, Table};
use std::string::String;
use std::vec::Vec;
use types::{PhysAddr, PhysRange};

/// A table as plain numbers: base, size, flags.
fn listing(table: &Table<'_>) -> Vec<(u32, u32, u32)> {
    let numbers = |r: &Region| (r.range().base().get(), r.range().size(), r.flags().bits());
    table.regions().iter().map(numbers).collect()
}

/// What a test says of the machine besides its tree.
#[derive(Clone, Copy)]
struct Machine {
    phys: u32,
    kernel: (u32, u32),
    dtb: (u32, u32),
    highmem: bool,
    cma_size: u32,
}

impl Machine {
    /// A 512 KiB kernel, its tree at 32 MiB.
    fn at(phys: u32) -> Self {
        let (kernel, dtb) = ((phys + 0x8000, 0x8_0000), (phys + 0x200_0000, 0x4000));
        Self { phys, kernel, dtb, highmem: true, cma_size: DEFAULT_CMA_SIZE }
    }
}

/// Boots `blob` and hands the result to `check`; returns the log without debug lines.
fn boot(
    machine: Machine,
    blob: &[u8],
    check: impl FnOnce(Result<(), EarlyMemoryError>, &mut Memblock<'_>, &mut MemorySetup<'_>),
) -> Vec<String> {
    let range = |(base, size): (u32, u32)| PhysRange::new(PhysAddr::new(base), size);
    let tree = Tree::from_bytes(blob).unwrap();
    let boot = BootData::from_tree(tree);
    let facts = BootFacts {
        phys_offset: PhysAddr::new(machine.phys),
        kernel: range(machine.kernel),
        dtb: Some(range(machine.dtb)),
        boot,
        command_line: boot.command_line().0,
        highmem: machine.highmem,
        cma_size: machine.cma_size,
    };
    let (mut memory, mut reserved) = ([Region::EMPTY; 128], [Region::EMPTY; 128]);
    let mut memblock = Memblock::new(&mut memory, &mut reserved);
    let mut setup = MemorySetup::new();
    let (result, lines) = testkit::log::capture_with(|| early_memory(&facts, &mut memblock, &mut setup));
    check(result, &mut memblock, &mut setup);
    lines.into_iter().filter(|line| line.0 < log::Level::Debug).map(|line| line.1).collect()
}
