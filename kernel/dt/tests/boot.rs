//! Tag lists, what they change in a tree, the order in which trees are looked for, and firmware files.

mod support;

use dt::firmware::{self, FirmwareError};
use dt::{Atag, AtagError, Atags, BootData, Candidates, Initrd, NoTree, Passed, Source, Tree, TreeError};
use support::Model;

const CORE: [u32; 5] = [5, 0x5441_0001, 0, 4096, 0];

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// CORE, `tags`, NONE.
fn list(tags: &[&[u32]]) -> Vec<u8> {
    bytes(&[&CORE[..], &tags.concat(), &[0, 0]].concat())
}

fn mem(size: u32, start: u32) -> [u32; 4] {
    [4, 0x5441_0002, size, start]
}

fn cmdline(text: &str) -> Vec<u32> {
    let mut padded = text.as_bytes().to_vec();
    padded.resize((text.len() + 1).next_multiple_of(4), 0);
    let words: Vec<u32> = padded.as_chunks().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
    [&[words.len() as u32 + 2, 0x5441_0009][..], &words].concat()
}

fn memory(start: u32, size: u32) -> Model {
    Model::new(&format!("memory@{start:x}")).with("device_type", "memory\0").cells("reg", &[start, size])
}

fn tree_blob() -> Vec<u8> {
    let chosen = Model::new("chosen").with("bootargs", "from=tree\0").cells("linux,initrd-start", &[1]);
    let chosen = chosen.cells("linux,initrd-end", &[2]);
    let root = Model::new("").child(chosen).child(memory(0x2000_0000, 0x100_0000));
    root.child(memory(0x3000_0000, 0x200_0000)).blob(&[])
}

#[test]
fn a_list_is_read_tag_by_tag() {
    let tags = [&mem(1 << 20, 2 << 20)[..], &cmdline("a=1"), &[4, 0x5442_0005, 16, 32], &[3, 0x5441_0007, 9]];
    let more = [&[4, 0x5441_0006, 1, 2][..], &[3, 0x41_0000, 7]];
    let blob = list(&[&tags[..], &more].concat());
    let atags = Atags::from_bytes(&blob).unwrap();
    let expected = [
        Atag::Core,
        Atag::Mem { size: 1 << 20, start: 2 << 20 },
        Atag::Cmdline(b"a=1"),
        Atag::Initrd2 { start: 16, size: 32 },
        Atag::Revision(9),
        Atag::Serial(0x2_0000_0001),
        Atag::Other { tag: 0x41_0000, body: &[7, 0, 0, 0] },
    ];
    assert_eq!(atags.iter().collect::<Vec<_>>(), expected);
    let short = bytes(&[2, 0x5441_0001, 0, 0]);
    assert_eq!(Atags::from_bytes(&short).unwrap().iter().collect::<Vec<_>>(), [Atag::Core]);
}

#[test]
fn broken_lists_say_what_is_broken() {
    let error = |words: &[u32]| Atags::from_bytes(&bytes(words)).unwrap_err();
    assert_eq!(error(&[]), AtagError::NoCore);
    assert_eq!(error(&[3, 0x5441_0001, 0]), AtagError::NoCore);
    assert_eq!(error(&CORE), AtagError::Unterminated { offset: 20 });
    let tag = 0x5441_0002;
    assert_eq!(error(&[2, 0x5441_0001, 3, tag, 1, 0, 0]), AtagError::Size { offset: 8, tag, words: 3 });
    assert_eq!(error(&[2, 0x5441_0001, 1, tag, 1, 0, 0]), AtagError::Size { offset: 8, tag, words: 1 });
    let endless = error(&[2, 0x5441_0001, u32::MAX, 7, 0, 0]);
    let too_long_anywhere = AtagError::Size { offset: 8, tag: 7, words: u32::MAX };
    let past_the_end = AtagError::Unterminated { offset: 8 };
    assert_eq!(endless, if cfg!(target_pointer_width = "32") { too_long_anywhere } else { past_the_end });
    assert_eq!(AtagError::NoCore.to_string(), "ATAGs: no CORE tag");
}

#[test]
fn tags_replace_what_the_tree_says() {
    let blob = tree_blob();
    let own = BootData::from_tree(Tree::from_bytes(&blob).unwrap());
    assert_eq!(own.initrd(), Some(Initrd { start: 1, end: 2 }));
    assert_eq!(own.memory().count(), 2);

    let with = |tags: &[&[u32]], check: &dyn Fn(BootData<'_>)| {
        let passed = list(tags);
        let places = Candidates { passed: Some(&passed), appended: Some(&blob), firmware: None };
        check(BootData::choose(&places).unwrap());
    };
    let text = |boot: BootData<'_>| boot.command_line().0.text().to_string();
    with(&[&mem(0x10_0000, 0x8000_0000), &mem(0, 5), &mem(0x20_0000, 0x9000_0000)], &|boot| {
        let ranges: Vec<_> = boot.memory().map(|m| (m.base, m.size)).collect();
        assert_eq!(ranges, [(0x8000_0000, 0x10_0000), (0x9000_0000, 0x20_0000), (0x3000_0000, 0x200_0000)]);
        assert_eq!((boot.source, text(boot)), (Source::Appended, "from=tree".into()));
        assert_eq!(boot.initrd(), Some(Initrd { start: 1, end: 2 }));
    });
    let initrd = [4, 0x5442_0005, 0xffff_f000, 0x2000];
    with(&[&cmdline("from=tags"), &initrd, &[3, 0x5441_0007, 3]], &|boot| {
        assert_eq!(text(boot), "from=tags");
        assert_eq!(boot.initrd(), Some(Initrd { start: 0xffff_f000, end: 0x1_0000_1000 }));
        assert_eq!((boot.revision(), boot.serial()), (Some(3), None));
        assert_eq!(boot.memory().count(), 2, "no banks, so the tree's memory stands");
    });
    let many: Vec<_> = (0..20).map(|i| mem(0x1000, i * 0x10_0000)).collect();
    let many: Vec<&[u32]> = many.iter().map(|m| &m[..]).collect();
    with(&many, &|boot| assert_eq!(boot.memory().count(), dt::MAX_BANKS + 1));
}

#[test]
fn trees_are_taken_in_linuxs_order() {
    let (good, image) = (tree_blob(), [1u8; 100]);
    let tree = Tree::from_bytes(&good).unwrap();
    let mut file = Vec::new();
    firmware::pack(&image, tree, &mut file);
    let tags = list(&[]);
    let bad = &good[..good.len() - 1];
    let source = |passed, appended, firmware| {
        BootData::choose(&Candidates { passed, appended, firmware }).map(|boot| boot.source)
    };
    assert_eq!(source(Some(&good[..]), Some(&good[..]), Some(&file[..])), Ok(Source::Passed));
    assert_eq!(source(Some(&tags[..]), Some(&good[..]), Some(&file[..])), Ok(Source::Appended));
    assert_eq!(source(Some(bad), None, Some(&file[..])), Ok(Source::Firmware));
    assert_eq!(source(None, Some(bad), Some(&file[..])), Ok(Source::Firmware));
    let boot = BootData::choose(&Candidates { passed: Some(bad), appended: Some(&good), firmware: None });
    assert!(matches!(boot.unwrap().passed, Passed::BadTree(TreeError::TotalSize { .. })));

    let none = source(Some(&[7; 64]), None, None).unwrap_err();
    assert_eq!(none, NoTree { passed: Passed::Unknown, appended: None, firmware: None });
    assert_eq!(
        none.to_string(),
        "no device tree: r2 points to neither a device tree nor ATAGs; none appended; no firmware file"
    );
    let none = source(Some(&tags[..8]), Some(bad), Some(&image)).unwrap_err();
    assert!(matches!(none.passed, Passed::BadAtags(AtagError::Unterminated { offset: 0 })));
    assert!(matches!(none.appended, Some(TreeError::TotalSize { .. })));
    assert_eq!(none.firmware, Some(FirmwareError::NoMarker { bytes: 100 }));
}

#[test]
fn a_packed_tree_is_found_and_decoys_are_not() {
    let blob = tree_blob();
    let tree = Tree::from_bytes(&blob).unwrap();
    for image_size in 0..40 {
        let mut file = Vec::new();
        firmware::pack(&vec![0xea; image_size], tree, &mut file);
        let found = firmware::find(&file, 0).unwrap();
        assert_eq!(found.tree.as_bytes(), blob);
        assert_eq!(found.offset, image_size.next_multiple_of(8) + firmware::HEADER_SIZE);
        assert_eq!(&file[found.offset..], blob);
        let past = image_size.next_multiple_of(8) + 1;
        assert!(matches!(firmware::find(&file, past), Err(FirmwareError::NoMarker { .. })));
    }
    // The marker alone, a marker with a wrong size, a marker off its grid, then the real one.
    let mut image =
        [&firmware::MARKER[..], &[0; 4], &firmware::MARKER, &64u32.to_le_bytes(), &[3; 64]].concat();
    image.extend(
        [&[9; 4][..], &firmware::MARKER, &(blob.len() as u32).to_le_bytes(), &blob, &[0; 3]].concat(),
    );
    assert!(matches!(firmware::find(&image, 0), Err(FirmwareError::Tree { offset: 16, .. })));
    let mut file = Vec::new();
    firmware::pack(&image, tree, &mut file);
    assert_eq!(&file[firmware::find(&file, 0).unwrap().offset..], blob);
    let cut = &file[..file.len() - 1];
    let size = blob.len() as u32;
    assert_eq!(
        firmware::find(cut, image.len()).unwrap_err(),
        FirmwareError::Size { offset: image.len().next_multiple_of(8), size }
    );
    assert_eq!(firmware::find(&[], 0).unwrap_err(), FirmwareError::NoMarker { bytes: 0 });
    assert_eq!(firmware::find(&[], usize::MAX).unwrap_err(), FirmwareError::NoMarker { bytes: 0 });
}
