//! The reader against trees whose contents are known: random models, and two other readers as second opinions.

mod support;

use dt::{Block, MAX_DEPTH, Node, ReservedError, Tree, TreeError};
use dtoolkit::{Node as _, Property as _};
use proptest::prelude::*;
use support::Model;

fn read(node: Node<'_>) -> Model {
    Model {
        name: node.name().into(),
        properties: node.properties().map(|p| (p.name.into(), p.value.into())).collect(),
        children: node.children().map(read).collect(),
    }
}

fn read_dtoolkit(node: &dtoolkit::fdt::FdtNode<'_>) -> Model {
    Model {
        name: node.name().into(),
        properties: node.properties().map(|p| (p.name().into(), p.value().into())).collect(),
        children: node.children().map(|child| read_dtoolkit(&child)).collect(),
    }
}

fn read_fdt(node: fdt::node::FdtNode<'_, '_>) -> Model {
    Model {
        name: if node.name == "/" { String::new() } else { node.name.into() },
        properties: node.properties().map(|p| (p.name.into(), p.value.into())).collect(),
        children: node.children().map(read_fdt).collect(),
    }
}

fn properties() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof!["[a-z#,-]{1,8}", Just("reg".into()), Just("phandle".into())];
    prop::collection::vec((name, prop::collection::vec(any::<u8>(), 0..14)), 0..4)
}

fn models() -> impl Strategy<Value = Model> {
    let node = |children: BoxedStrategy<Vec<Model>>| {
        ("[a-z]{1,5}(@[0-9a-f]{1,4})?", properties(), children)
            .prop_map(|(name, properties, children)| Model { name, properties, children })
    };
    node(Just(vec![]).boxed())
        .prop_recursive(5, 24, 4, move |inner| node(prop::collection::vec(inner, 0..4).boxed()))
}

/// All paths of the model in the order of the blob, with the depth of each.
fn paths(model: &Model, above: &str, out: &mut Vec<String>) {
    let path = if model.name.is_empty() { String::new() } else { format!("{above}/{}", model.name) };
    out.push(if path.is_empty() { "/".into() } else { path.clone() });
    model.children.iter().for_each(|child| paths(child, &path, out));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
    fn what_was_written_is_read(mut model in models(), pairs in prop::collection::vec((any::<u64>(), 1..u64::MAX), 0..4)) {
        model.name.clear();
        let mut blob = model.blob(&pairs);
        let exact = blob.len();
        blob.extend([0xaa; 9]);
        let tree = Tree::from_bytes(&blob).unwrap();
        prop_assert_eq!(tree.as_bytes().len(), exact);
        prop_assert_eq!(read(tree.root()), model.clone());
        prop_assert_eq!(tree.reservations().collect::<Vec<_>>(), pairs);
        let mut expected = Vec::new();
        paths(&model, "", &mut expected);
        let found: Vec<_> = tree.nodes().map(|n| n.path().to_string()).collect();
        prop_assert_eq!(&found, &expected);
        for node in tree.nodes() {
            let depth = node.lineage().depth();
            prop_assert_eq!(depth, node.path().to_string().matches('/').count() - usize::from(depth == 0));
            prop_assert_eq!(node.subtree().count(), read_count(&read(node)));
        }
        let own = dtoolkit::fdt::Fdt::new(&blob[..exact]).unwrap();
        prop_assert_eq!(read_dtoolkit(&own.root()), model);
    }

    #[test]
    #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
    fn every_cut_is_refused(mut model in models(), cut in any::<prop::sample::Index>()) {
        model.name.clear();
        let blob = model.blob(&[]);
        prop_assert!(Tree::from_bytes(&blob[..cut.index(blob.len())]).is_err());
    }
}

fn read_count(model: &Model) -> usize {
    1 + model.children.iter().map(read_count).sum::<usize>()
}

#[test]
#[cfg_attr(miri, ignore = "two foreign readers over big blobs take minutes")]
fn three_readers_agree_on_real_blobs() {
    let virt = include_bytes!("data/virt.dtb");
    let board = include_bytes!("data/board.dtb");
    for blob in [&virt[..], board] {
        let tree = Tree::from_bytes(blob).unwrap();
        let ours = read(tree.root());
        let theirs = fdt::Fdt::new(blob).unwrap();
        assert_eq!(ours, read_fdt(theirs.find_node("/").unwrap()));
        let reserved: Vec<_> =
            theirs.memory_reservations().map(|r| (r.address() as u64, r.size() as u64)).collect();
        assert_eq!(tree.reservations().collect::<Vec<_>>(), reserved);
        for node in tree.nodes() {
            assert_eq!(tree.find(&node.path().to_string()), Some(node));
        }
    }
    let small = dtoolkit::fdt::Fdt::new(virt).unwrap();
    assert_eq!(read_dtoolkit(&small.root()), read(Tree::from_bytes(virt).unwrap().root()));
}

/// A blob with the header word `index` replaced.
fn patched(mut blob: Vec<u8>, index: usize, value: u32) -> Vec<u8> {
    blob[index * 4..][..4].copy_from_slice(&value.to_be_bytes());
    blob
}

#[test]
fn headers_that_lie_are_named() {
    let blob = Model::new("").child(Model::new("a").with("b", [1, 2, 3])).blob(&[]);
    let error = |index, value| Tree::from_bytes(&patched(blob.clone(), index, value)).unwrap_err();
    let total = blob.len() as u32;
    assert_eq!(Tree::from_bytes(&blob[..7]).unwrap_err(), TreeError::TooShort { have: 7 });
    assert_eq!(error(0, 7), TreeError::Magic { found: 7 });
    assert_eq!(error(1, total + 1), TreeError::TotalSize { total: total + 1, have: blob.len() });
    assert_eq!(error(1, 39), TreeError::TotalSize { total: 39, have: blob.len() });
    assert_eq!(error(1, u32::MAX), TreeError::TotalSize { total: u32::MAX, have: blob.len() });
    assert_eq!(error(5, 3), TreeError::Version { version: 3, compatible: 16 });
    assert_eq!(error(6, 18), TreeError::Version { version: 17, compatible: 18 });
    let outside = |block, offset, size| TreeError::BlockOutside { block, offset, size };
    assert_eq!(error(9, total), outside(Block::Structure, 56, total));
    assert_eq!(error(8, u32::MAX), outside(Block::Strings, total - 2, u32::MAX));
    assert_eq!(error(4, 8), outside(Block::Reservations, 8, total - 8));
    assert_eq!(error(2, u32::MAX - 3), outside(Block::Structure, u32::MAX - 3, 44));
    assert_eq!(
        error(1, total + 1).to_string(),
        format!("device tree: total size {:#x} does not fit the {:#x} bytes there are", total + 1, total)
    );
    // Version 16 has no structure size and is read to the end token.
    let old = patched(patched(blob.clone(), 9, 0), 5, 16);
    assert_eq!(read(Tree::from_bytes(&old).unwrap().root()), read(Tree::from_bytes(&blob).unwrap().root()));
}

#[test]
fn structures_that_lie_are_named() {
    let blob = Model::new("").child(Model::new("a").with("b", [1, 2, 3])).blob(&[]);
    // 56 root, 64 child, 72 property, 88 end, 92 end, 96 end token.
    let error =
        |at: u32, value| Tree::from_bytes(&patched(blob.clone(), at as usize / 4, value)).unwrap_err();
    assert_eq!(error(56, 2), TreeError::Token { offset: 56, found: 2 });
    assert_eq!(error(64, 7), TreeError::Token { offset: 64, found: 7 });
    assert_eq!(error(68, 0), TreeError::NodeName { offset: 64 });
    assert_eq!(error(68, 0x6107_0000), TreeError::NodeName { offset: 64 });
    for length in [0x1000, i32::MAX as u32, u32::MAX - 11, u32::MAX] {
        assert_eq!(error(76, length), TreeError::Truncated { offset: 72 }, "{length:#x} can wrap 32 bits");
    }
    assert_eq!(error(80, 2), TreeError::PropertyName { offset: 72, name: 2 });
    assert_eq!(error(92, 9), TreeError::Token { offset: 92, found: 9 });
    assert_eq!(error(92, 4), TreeError::Token { offset: 96, found: 9 });
    assert!(
        Tree::from_bytes(&patched(blob.clone(), 96 / 4, 0)).is_ok(),
        "Linux does not look that far either"
    );
    let nops = patched(patched(blob.clone(), 64 / 4, 4), 68 / 4, 4);
    let root = read(Tree::from_bytes(&nops).unwrap().root());
    assert_eq!(root, Model::new("").with("b", [1, 2, 3]), "what follows the root's end does not count");
}

#[test]
fn nesting_is_limited() {
    let deep = |levels: usize| {
        let node = (1..levels).fold(Model::new("x"), |node, _| Model::new("x").child(node));
        Model { name: String::new(), ..node }
    };
    let blob = deep(MAX_DEPTH).blob(&[]);
    let deepest = Tree::from_bytes(&blob).unwrap().nodes().last().unwrap();
    assert_eq!(deepest.lineage().depth(), MAX_DEPTH - 1);
    assert!(matches!(Tree::from_bytes(&deep(MAX_DEPTH + 1).blob(&[])), Err(TreeError::Depth { .. })));
}

#[test]
fn reserved_memory_that_is_malformed_says_so_in_linuxs_words() {
    let parent = || Model::new("reserved-memory").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    let root = || Model::new("").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    let whole = |node| {
        let blob = root().child(node).blob(&[]);
        Tree::from_bytes(&blob).unwrap().reserved_memory().map(Iterator::count).map_err(|e| e.to_string())
    };
    let format = Err(ReservedError::Format.to_string());
    assert_eq!(whole(parent()), format, "no ranges");
    assert_eq!(whole(Model::new("reserved-memory").with("ranges", "")), format);
    assert_eq!(whole(parent().with("ranges", "").cells("x", &[])), Ok(0));
    let wide = Model::new("reserved-memory").cells("#address-cells", &[2]).cells("#size-cells", &[1]);
    assert_eq!(whole(wide.with("ranges", "")), format);

    let child = Model::new("c@1").with("reg", [0; 7]).with("size", [0; 8]).with("alignment", "");
    let parent = parent().with("ranges", "").child(child.with("alloc-ranges", [0; 4]));
    let blob = root().child(parent).blob(&[]);
    let tree = Tree::from_bytes(&blob).unwrap();
    let node = tree.reserved_memory().unwrap().next().unwrap();
    assert_eq!(node.reg().err(), Some(ReservedError::Reg("c@1")));
    assert_eq!(node.size(), Err(ReservedError::Size("c@1")));
    assert_eq!(node.alignment(), Err(ReservedError::Alignment("c@1")));
    assert_eq!(node.alloc_ranges().err(), Some(ReservedError::AllocRanges("c@1")));
}

#[test]
fn cell_counts_of_any_size_end() {
    for cells in [0, 3, 4, 1 << 16, 1 << 28, u32::MAX] {
        let memory = Model::new("memory").with("device_type", "memory\0").with("reg", [1; 32]);
        let node = Model::new("d").with("reg", [1; 32]).with("interrupts", [1; 32]);
        let bus = Model::new("b").cells("#address-cells", &[cells]).with("ranges", [1; 64]);
        let bus = bus.with("dma-ranges", [1; 64]).cells("#interrupt-cells", &[cells]).child(node);
        let root = Model::new("").cells("#address-cells", &[cells]).cells("#size-cells", &[cells]);
        let blob = root.child(memory).child(bus).blob(&[]);
        let tree = Tree::from_bytes(&blob).unwrap();
        assert!(tree.memory().count() <= 4);
        let device = tree.find("/b/d").unwrap();
        assert!(device.reg().count() <= 8);
        assert!(device.mmio(0).is_err());
        assert!(device.interrupt(0).is_err());
        assert!(device.dma_ranges().map_or(0, |r| r.map_or(0, Iterator::count)) <= 8);
    }
}
