//! Every event once: what its frame holds is what its format string says.

use crate::ring::MAX_FRAME;
use crate::{NO_PAGE, capture, capture_events};
use defmt_parser::{Fragment, ParserMode, Type};
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

/// Every event, with fields that fill their place.
fn all_events() {
    crate::mm_page_alloc(0xf_ffff, 10, 5, 0x1f_ffff);
    crate::mm_page_free(0xf_ffff, 10);
    crate::mm_page_alloc_extfrag(1, 2, 3, 4, 5, true);
    crate::kmalloc(0xc000_0000, 100, 0xcc0);
    crate::kfree(0xc000_0000);
    crate::kmem_cache_alloc(0xc000_0000, "names", 24, 32, 0);
    crate::kmem_cache_free(0xc000_0000, "names");
    crate::cma_alloc_start(b"reserved\0\0", 1024, 8);
    crate::cma_alloc_finish(b"reserved\0\0", NO_PAGE, 1024, 8);
    crate::cma_alloc_busy_retry(b"reserved\0\0", 1, 1024, 8);
    crate::cma_release(b"reserved\0\0", 1, 1024);
    crate::mm_migrate_pages(1, 2, 3, 4);
    crate::mm_migrate_page(1, 2, 3, 4);
    crate::start_isolate_page_range(1, 2);
    crate::undo_isolate_page_range(1, 2);
    crate::test_pages_isolated(1, 3, 2);
    crate::dma_alloc_coherent("device", 1, 2, 3, 4);
    crate::dma_free_coherent(1, 2, 3);
    crate::dma_map("device", 1, 2, 3, 4);
    crate::dma_unmap(1, 2, 3);
    crate::dma_sync(1, 2, 3, true);
    crate::page_fault(1, 2, 3);
    crate::memblock_reserve(1, 2, file!(), line!());
    crate::irq_handler_entry(17, "uart-pl011");
    crate::irq_handler_exit(17, true);
    crate::vmstat((1, 2, 3), 2, 3, 4, [5; 7], (6, 24));
}

fn type_name(ty: &Type) -> &'static str {
    match ty {
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::Str => "str",
        Type::U8Slice => "[u8]",
        other => panic!("no value is a {other:?}"),
    }
}

/// The types of the values that a format string asks for. Those of bit fields are words here.
fn types_of(format: &str) -> Vec<&'static str> {
    let mut values = BTreeMap::new();
    for fragment in defmt_parser::parse(format, ParserMode::Strict).expect(format) {
        let Fragment::Parameter(parameter) = fragment else { continue };
        let name = match parameter.ty {
            Type::BitField(_) => "u32",
            ref plain => type_name(plain),
        };
        values.insert(parameter.index, name);
    }
    values.into_values().collect()
}

#[test]
fn frames_hold_what_their_strings_say() {
    let ((), events) = capture_events(all_events);
    assert_eq!(events.len(), 26);
    for event in &events {
        let held: Vec<&str> = event.values.iter().map(|(name, _)| *name).collect();
        assert_eq!(held, types_of(event.format), "{}", event.format);
        let name = event.text.split(' ').next().unwrap();
        assert!(event.format.starts_with(&std::format!("{name} ")), "{name}: {}", event.format);
    }
    let formats: std::collections::BTreeSet<&str> = events.iter().map(|event| event.format).collect();
    assert_eq!(formats.len(), events.len(), "the symbols of strings have to be different");
}

#[test]
fn the_longest_event_fits_in_a_frame() {
    let ((), events) = capture_events(all_events);
    let most = events.iter().map(|event| event.values.iter().map(|(_, max)| max).sum::<usize>()).max();
    // The number of the string, the time stamp, and for a stack trace a length.
    let frame = 2 + 4 + most.unwrap().max(4 + crate::value::BYTES_MAX);
    assert!(frame <= MAX_FRAME as usize, "{frame}");
}

#[test]
fn events_are_texts_here() {
    crate::mm_page_free(1, 0);
    let ((), texts) = capture(|| {
        crate::mm_page_free(7, 3);
        crate::lazy::cma_release(|| (b"reserved\0", 9, 4));
    });
    let expected: [String; 2] = [
        "kmem:mm_page_free pfn=7 order=3".to_string(),
        std::format!("cma:cma_release name={:?} pfn=9 count=4", b"reserved\0"),
    ];
    assert_eq!(texts, expected);
    assert!(capture(|| ()).1.is_empty(), "nothing is left from before");
}
