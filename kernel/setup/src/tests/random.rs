//! Random boards: tables, areas, lists and log lines must be the model's.

use super::board::Board;
use super::linux::Linux;
use super::rng::Rng;
use super::{Machine, boot, listing};
use std::string::String;
use std::vec::Vec;

/// Boards in a run: with memblock's own sequences more than 100,000.
const BOARDS: u64 = if cfg!(miri) { 6 } else { 50_000 };

/// Whether a line is about a parameter's value, which is `dt`'s to test.
fn about_a_parameter(line: &str) -> bool {
    ["cma=", "mem=", "vmalloc=", "LX_MEM=", "mma_heap=", "mmap_reserved="].iter().any(|p| line.starts_with(p))
}

fn compare(seed: u64) {
    let board = Board::random(&mut Rng::new(seed));
    let model = Linux::boot(&board);
    let pair = |(base, size): (u64, u64)| (base as u32, size as u32);
    let machine = Machine {
        phys: board.phys as u32,
        kernel: pair(board.kernel),
        dtb: pair(board.dtb),
        highmem: board.highmem,
        cma_size: board.built_in as u32,
    };
    let lines = boot(machine, &board.blob(), |_, memblock, setup| {
        assert_eq!(listing(memblock.memory()), model.paint.memory());
        assert_eq!(listing(memblock.reserved()), model.paint.reserved());
        let areas = setup.cma.iter().map(|a| (a.name, a.range.base().get(), a.range.size()));
        let expected = model.areas.iter().map(|a| (a.0.as_str(), a.1 as u32, a.2 as u32));
        assert_eq!(areas.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(setup.cma.default_index(), model.default);
        let list =
            setup.regions.nodes().map(|r| (r.node.name(), r.range.base().get(), r.range.size(), r.shared));
        let expected =
            model.entries.iter().map(|e| (e.spec.name.as_str(), e.base as u32, e.size as u32, e.shared));
        assert_eq!(list.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let vendor = setup.regions.vendor().map(|r| (r.name, r.range.base().get(), r.range.size(), r.shared));
        assert!(vendor.eq(model.vendor.iter().map(|v| (v.0.as_str(), v.1 as u32, v.2 as u32, v.3))));
        assert_eq!(u64::from(setup.lowmem.limit().get()), model.lowmem);
        assert_eq!(u64::from(memblock.current_limit().get()), model.memblock_limit);
        let initrd = setup.initrd.map(|r| (u64::from(r.base().get()), u64::from(r.end().get())));
        assert_eq!(initrd, model.initrd);
        assert_eq!(setup.dma_limit.map_or(0xffff_ffff, |last| last.get().into()), model.dma_limit);
        let phandles = setup.regions.nodes().map(|r| r.phandle);
        assert!(phandles.eq(model.entries.iter().map(|e| e.spec.phandle)), "phandles");
    });
    let lines: Vec<String> = lines.into_iter().filter(|line| !about_a_parameter(line)).collect();
    for (line, expected) in lines.iter().zip(&model.lines) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.len(), model.lines.len());
}

#[test]
fn random_boards_agree_with_the_model() {
    for seed in 0..BOARDS {
        if let Err(panic) = std::panic::catch_unwind(|| compare(seed)) {
            std::eprintln!("board {seed}: {:#?}", Board::random(&mut Rng::new(seed)));
            std::panic::resume_unwind(panic);
        }
    }
}
