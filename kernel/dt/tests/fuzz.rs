//! Fuzz targets. As ordinary tests they replay the corpus in `__fuzz__/` and then run a bounded number of random
//! inputs; `cargo bolero test -p dt fuzz::tree` runs one under libFuzzer for as long as one likes.
//!
//! What has to hold for any input: no panic, no endless loop, and what is accepted can be used to its end.
#![cfg(not(miri))]

use bolero::check;
use dt::{
    Atags, BootData, COMMAND_LINE_SIZE, Candidates, CommandLine, Entry, Node, Tree, firmware, is_known,
    memparse,
};
use std::fmt::Write;

const SEEDS: [&[u8]; 2] = [include_bytes!("data/small.dtb"), include_bytes!("data/board.dtb")];

/// Asks a node everything that a driver may ask.
fn ask(node: Node<'_>, out: &mut String) {
    write!(out, "{}{:?}{:?}", node.path(), node.compatible(), node.alias_id("s")).unwrap();
    let _ = node.mmio(0).map_err(|e| write!(out, "{e}").unwrap());
    let told = node.interrupts().map(|i| i.map_err(|e| write!(out, "{e}").unwrap()));
    let told = told.count();
    let ranges = node.dma_ranges().map(|ranges| ranges.map_or(0, Iterator::count));
    let counts = [node.reg().count(), told, node.memory_regions().count()];
    assert!(counts.iter().all(|&n| n <= node.tree().as_bytes().len()));
    assert!(ranges.unwrap_or(0) <= node.tree().as_bytes().len());
    for entry in node.entries() {
        if let Entry::File(file) = entry {
            assert_eq!(file.bytes().count(), file.len());
        }
    }
    assert!(node.lineage().upwards().next() == Some(node), "the way down leads here");
}

/// Asks boot data everything that early memory asks.
fn boot(boot: BootData<'_>, out: &mut String) {
    let (line, error) = boot.command_line();
    write!(out, "{line}{error:?}{:?}{:?}{:?}", boot.initrd(), boot.serial(), boot.revision()).unwrap();
    let count = boot.memory().count() + boot.tree.usable_memory().count() + boot.tree.reservations().count();
    assert!(count <= boot.tree.as_bytes().len());
    if let Ok(nodes) = boot.tree.reserved_memory() {
        for node in nodes {
            write!(out, "{:?}{:?}{:?}", node.size(), node.alignment(), node.phandle()).unwrap();
            let pairs = [node.reg(), node.alloc_ranges()].map(|p| p.map(|p| p.map_or(0, Iterator::count)));
            assert!(pairs.iter().flatten().all(|&n| n <= boot.tree.as_bytes().len()));
        }
    }
    assert!(boot.tree.dma_limits().count() <= boot.tree.as_bytes().len());
    write!(out, "{:?}{:?}", boot.tree.stdout(), boot.tree.machine_model()).unwrap();
}

fn use_tree(bytes: &[u8]) -> bool {
    let Ok(tree) = Tree::from_bytes(bytes) else { return false };
    let mut out = String::new();
    tree.nodes().for_each(|node| ask(node, &mut out));
    boot(BootData::from_tree(tree), &mut out);
    true
}

#[test]
fn tree() {
    check!().with_iterations(2_000).for_each(|bytes: &[u8]| {
        use_tree(bytes);
    });
}

/// Real blobs with up to eight places overwritten: most pass the header's check, many the whole check.
#[test]
fn mutated_tree() {
    let mut accepted = 0u32;
    let mut seen = 0u32;
    let interesting = [0, 1, 2, 3, 4, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX];
    check!().with_iterations(100_000).with_type().for_each(|(seed, edits): &(u8, [(u16, u8, u32); 8])| {
        let mut blob = SEEDS[usize::from(*seed == 0)].to_vec();
        for &(at, kind, value) in &edits[..usize::from(seed % 8) + 1] {
            let at = usize::from(at) % blob.len();
            match kind % 4 {
                0 => blob[at] = value as u8,
                1 => blob[at] ^= 1 << (value % 8),
                _ => {
                    let word =
                        if kind % 4 == 2 { interesting[value as usize % interesting.len()] } else { value };
                    let at = at & !3;
                    let end = blob.len().min(at + 4);
                    blob[at..end].copy_from_slice(&word.to_be_bytes()[..end - at]);
                }
            }
        }
        seen += 1;
        accepted += u32::from(use_tree(&blob));
    });
    println!("{accepted} of {seen} mutated trees were accepted and used to their end");
}

#[test]
fn command_line() {
    check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        let (line, _) = CommandLine::new(bytes);
        assert!(line.text().len() < COMMAND_LINE_SIZE);
        let mut out = String::new();
        for event in line.params() {
            match event {
                Ok(param) => write!(out, "{param:?}").unwrap(),
                Err(e) => write!(out, "{e}").unwrap(),
            }
        }
        write!(out, "{}", line.unknown(is_known)).unwrap();
        assert!(line.args().count() <= COMMAND_LINE_SIZE);
        let (_, rest) = memparse(line.text());
        assert!(line.text().ends_with(rest));
    });
}

#[test]
fn atags() {
    check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        // Random bytes hardly ever start with a CORE tag.
        let core = [2u32, 0x5441_0001].map(u32::to_le_bytes).concat();
        for list in [bytes, &[&core, bytes].concat()] {
            if let Ok(atags) = Atags::from_bytes(list) {
                assert!(atags.iter().count() * 8 <= list.len());
                let places = Candidates { passed: Some(list), appended: Some(SEEDS[0]), firmware: None };
                boot(BootData::choose(&places).unwrap(), &mut String::new());
            }
        }
    });
}

#[test]
fn firmware_file() {
    check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        let marked = [&firmware::MARKER[..], bytes].concat();
        for file in [bytes, &marked] {
            if let Ok(found) = firmware::find(file, 0) {
                assert_eq!(&file[found.offset..][..found.tree.as_bytes().len()], found.tree.as_bytes());
            }
        }
    });
}
