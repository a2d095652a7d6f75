//! The DesignWare AXI DMAC's node, and its plans against a byte-by-byte copy.

use ::dma::DmaAddr;
use drivers::dma::Segment;
use drivers::dma::dw_axi::{Block, Config, ConfigError};
use dt::Tree;
use proptest::prelude::*;

const SEED: &[u8] = include_bytes!("data/dw-axi-dmac.dtb");

fn config(node: &str) -> Result<Config, ConfigError> {
    let tree = Tree::from_bytes(SEED).unwrap();
    let node = tree.find(node).unwrap();
    assert!(node.is_compatible(Config::COMPATIBLE));
    Config::parse(node)
}

#[test]
fn the_node_of_the_document() {
    let config = config("/soc/dma-controller@5700000").unwrap();
    assert_eq!((config.channels, config.masters, config.data_width), (8, 2, 4));
    assert_eq!(config.max_burst, Some(256));
    for channel in 0..8 {
        assert_eq!(config.block_size(channel), Some(512));
        assert_eq!(config.priority(channel), Some(channel as u32));
        let caps = config.caps(channel).unwrap();
        assert_eq!((caps.align, caps.max_segment), (1, 512 * 16));
        assert!(caps.directions.mem_to_mem);
    }
    assert!(config.block_size(8).is_none() && config.priority(8).is_none() && config.caps(8).is_none());
}

#[test]
fn the_example_of_the_binding() {
    let config = config("/soc/dma-controller@80000").unwrap();
    assert_eq!((config.channels, config.masters, config.data_width), (4, 2, 3));
    assert_eq!((config.max_burst, config.block_size(3)), (Some(16), Some(4096)));
}

#[test]
fn nodes_that_break_the_binding() {
    let said = |n: u32| config(&format!("/bad/dma-controller@{n}")).unwrap_err().to_string();
    let expected = [
        "property dma-channels is missing",
        "dma-channels[0] is 0, not 1 to 16",
        "dma-channels[0] is 17, not 1 to 16",
        "snps,dma-masters[0] is 3, not 1 to 2",
        "snps,data-width[0] is 7, not 0 to 6",
        "snps,block-size has 1 cells for 2 channels",
        "snps,block-size[1] is 0, not 1 to 2097152",
        "snps,block-size[0] is 2097153, not 1 to 2097152",
        "snps,priority[1] is 2, not 0 to 1",
        "snps,axi-max-burst-len[0] is 0, not 1 to 256",
        "snps,axi-max-burst-len[0] is 257, not 1 to 256",
        "property snps,priority is missing",
    ];
    for (n, line) in expected.into_iter().enumerate() {
        assert_eq!(said(n as u32), line);
    }
    let plain = config("/bad/dma-controller@12").unwrap();
    assert_eq!(plain.max_burst, None, "the burst length is optional");
}

fn copy(src: u32, dst: u32, len: u32) -> Segment {
    Segment { src: DmaAddr::new(src), dst: DmaAddr::new(dst), len }
}

#[test]
fn widths_rise_to_the_boundary_and_fall_behind_it() {
    let config = config("/soc/dma-controller@80000").unwrap();
    let blocks: Vec<_> = config.plan(0, copy(0x1003, 0x9003, 0x1013)).unwrap().collect();
    let shapes: Vec<_> = blocks.iter().map(|block| (block.width, block.items)).collect();
    assert_eq!(shapes, [(0, 1), (2, 1), (3, 0x201), (2, 1), (1, 1)]);
    assert_eq!(blocks[2].burst, 16);
    assert!(config.plan(4, copy(0, 0, 1)).is_none());
}

proptest! {
    #![proptest_config(testkit::cases(400, 6))]

    #[test]
    fn plans_copy_every_byte_within_the_limits(
        src in 0..0x100u32, dst in 0..0x100u32, len in 1..0x3000u32, wide: bool,
    ) {
        let config = config(if wide { "/soc/dma-controller@5700000" } else { "/bad/dma-controller@12" }).unwrap();
        let memory: Vec<u8> = (0..src + len).map(|n| (n * 7 + n / 256) as u8).collect();
        let mut copied = vec![0; (dst + len) as usize];
        let blocks: Vec<Block> = config.plan(0, copy(src, dst, len)).unwrap().collect();
        let (mut at, widest) = (0, (0..=config.data_width).rev().find(|w| (src ^ dst) % (1 << w) == 0).unwrap());
        for block in &blocks {
            prop_assert!(block.width <= config.data_width);
            prop_assert!((1..=config.block_size(0).unwrap()).contains(&block.items));
            prop_assert!([1, 4, 8, 16, 32, 64, 128, 256].contains(&block.burst));
            prop_assert!(block.burst <= config.max_burst.unwrap_or(256) && block.burst <= block.items);
            let (from, to) = (block.src.get(), block.dst.get());
            prop_assert!(from % (1 << block.width) == 0 && to % (1 << block.width) == 0);
            for item in 0..block.items << block.width {
                copied[(to + item) as usize] = memory[(from + item) as usize];
            }
            prop_assert_eq!((from, to), (src + at, dst + at));
            at += block.segment().len;
        }
        prop_assert_eq!(at, len);
        prop_assert_eq!(&copied[dst as usize..], &memory[src as usize..]);
        let narrow: u32 = blocks.iter().filter(|b| b.width < widest).map(|b| b.segment().len).sum();
        prop_assert!(narrow < 2 << widest, "{} bytes move in narrow items", narrow);
    }
}
