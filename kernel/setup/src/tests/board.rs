//! Random boards: what a boot loader, a device tree author and a user may come up with.

use super::blob::{Blob, cells};
use super::rng::Rng;
use std::format;
use std::string::String;
use std::vec::Vec;

#[derive(Clone, Default, Debug)]
pub struct NodeSpec {
    pub name: String,
    pub reg: Option<Vec<(u64, u64)>>,
    pub size: Option<u64>,
    pub align: Option<u64>,
    pub ranges: Option<Vec<(u64, u64)>>,
    pub no_map: bool,
    pub reusable: bool,
    pub pool: bool,
    pub cma_default: bool,
    pub phandle: Option<u32>,
    pub disabled: bool,
}

/// A command line argument, as meant and as text.
#[derive(Clone, Debug)]
pub enum ArgSpec {
    Mem { size: u64, start: Option<u64> },
    Cma { size: u64, window: Option<(u64, Option<u64>)> },
    Vmalloc(u64),
    LxMem(u64),
    Mmap { name: String, size: u64, window: (u64, u64) },
    Heap { name: String, size: u64 },
    RemoveHeaps,
}

#[derive(Clone, Debug)]
pub struct Board {
    pub phys: u64,
    pub kernel: (u64, u64),
    pub dtb: (u64, u64),
    pub highmem: bool,
    pub built_in: u64,
    pub words: u32,
    pub memory: Vec<(u64, u64)>,
    pub memreserve: Vec<(u64, u64)>,
    pub initrd: Option<(u64, u64)>,
    pub good_format: bool,
    pub nodes: Vec<NodeSpec>,
    pub args: Vec<ArgSpec>,
    /// What buses let their masters reach: base as the CPU sees it, size.
    pub dma: Vec<(u64, u64)>,
}

const MIB: u64 = 1 << 20;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u32) as usize]
}

fn round(rng: &mut Rng, value: u64) -> u64 {
    let to = pick(rng, &[1, 64, 0x1000, 0x1_0000, MIB, 4 * MIB, 4 * MIB]);
    value / to * to
}

fn size(rng: &mut Rng, most: u64) -> u64 {
    let raw = u64::from(rng.below(most as u32)) + 1;
    round(rng, raw).max(pick(rng, &[1, 0x1000, 0x1000, MIB, 4 * MIB]))
}

impl Board {
    pub fn random(rng: &mut Rng) -> Self {
        let phys = pick(rng, &[0x2000_0000, 0x4000_0000, 0x6000_0000, 0x8000_0000]);
        let ram = pick(rng, &[32 * MIB, 0x7f0_0000, 128 * MIB, 256 * MIB, 1024 * MIB]);
        let kernel = (phys + 0x8000, u64::from(rng.below(0x60_0000)) + 0x1000);
        let dtb_at = phys + u64::from(rng.below(ram as u32));
        let dtb = (round(rng, dtb_at), 0x100 + u64::from(rng.below(0x1_0000)));
        let mut board = Self {
            phys,
            kernel,
            dtb,
            highmem: !rng.chance(4),
            built_in: pick(rng, &[0, 16 * MIB, 16 * MIB, 8 * MIB]),
            words: pick(rng, &[1, 2]),
            memory: [(phys, ram)].into(),
            memreserve: Vec::new(),
            initrd: None,
            good_format: !rng.chance(20),
            nodes: Vec::new(),
            args: Vec::new(),
            dma: Vec::new(),
        };
        board.more_memory(rng, ram);
        board.furnish(rng, ram);
        board
    }

    fn more_memory(&mut self, rng: &mut Rng, ram: u64) {
        if rng.chance(6) {
            self.memory[0].0 += pick(rng, &[0x1000, 0x800, MIB, 3 * MIB]);
        }
        if rng.chance(6) {
            self.memory[0].1 -= pick(rng, &[1, 0x800, 0x1000, MIB]);
        }
        let after = self.phys + ram;
        match rng.below(8) {
            0 => self.memory.push((after + size(rng, 64 * MIB), size(rng, 256 * MIB))),
            1 => self.memory.push((self.phys - size(rng, 16 * MIB), size(rng, 32 * MIB))),
            2 => self.memory.push((0xffff_f000 - size(rng, 4 * MIB), size(rng, 8 * MIB))),
            3 => self.memory.push((after, size(rng, 64 * MIB))),
            _ => {}
        }
    }

    fn furnish(&mut self, rng: &mut Rng, ram: u64) {
        let many = rng.chance(50);
        for _ in 0..if many { 60 } else { rng.below(4) } {
            let place = self.place(rng, ram);
            self.memreserve.push(place);
        }
        for i in 0..if many { 90 } else { rng.below(7) } {
            let node = self.node(rng, ram, i);
            self.nodes.push(node);
        }
        if rng.chance(3) {
            let (start, len) = self.place(rng, ram);
            self.initrd = Some((start, start + len));
        }
        for i in 0..rng.below(4) {
            let arg = self.arg(rng, ram, i);
            self.args.push(arg);
        }
        for _ in 0..rng.below(9).saturating_sub(6) {
            let base = pick(rng, &[0, self.phys, self.phys, self.phys + 64 * MIB]);
            let last = self.phys - MIB + u64::from(rng.below((ram + 2 * MIB) as u32));
            let end = round(rng, last);
            self.dma.push((base, end.saturating_sub(base)));
        }
    }

    fn place(&self, rng: &mut Rng, ram: u64) -> (u64, u64) {
        let base = match rng.below(12) {
            0 => self.kernel.0 + u64::from(rng.below(self.kernel.1 as u32)),
            1 => self.phys + ram - size(rng, 4 * MIB),
            2 => u64::from(rng.below(u32::MAX)),
            _ => self.phys + u64::from(rng.below(ram as u32)),
        };
        let base = round(rng, base);
        let most = (0xfff0_0000u64.saturating_sub(base)).clamp(1, 8 * MIB);
        (base, size(rng, most))
    }

    fn node(&self, rng: &mut Rng, ram: u64, i: u32) -> NodeSpec {
        let mut node = NodeSpec { name: format!("region{i}@{i:x}"), ..NodeSpec::default() };
        match rng.below(8) {
            0..=3 => node.reg = Some([self.place(rng, ram)].into()),
            4 if rng.chance(2) => node.reg = Some([self.place(rng, ram), self.place(rng, ram)].into()),
            4 => node.reg = Some([(self.place(rng, ram).0, 0)].into()),
            _ => {
                node.size = Some(if rng.chance(3) { 4 * MIB } else { size(rng, 8 * MIB) });
                node.align = (!rng.chance(2)).then(|| pick(rng, &[0, 1, 64, 0x1000, MIB, 8 * MIB]));
                let window = |rng: &mut Rng| {
                    let start = self.place(rng, ram).0;
                    // Some end at 2^32 or one byte later: as 32-bit ends they mean something else.
                    let len =
                        if rng.chance(6) { (1 << 32) - start + pick(rng, &[0, 1]) } else { size(rng, ram) };
                    (start, len)
                };
                node.ranges = rng.chance(3).then(|| [window(rng), window(rng)].into());
            }
        }
        node.no_map = rng.chance(4);
        node.pool = rng.chance(2);
        node.reusable = rng.chance(2);
        node.cma_default = rng.chance(3);
        node.phandle = (!rng.chance(3)).then_some(i + 1);
        node.disabled = rng.chance(12);
        node
    }

    fn arg(&self, rng: &mut Rng, ram: u64, i: u32) -> ArgSpec {
        match rng.below(12) {
            0 => ArgSpec::Mem { size: size(rng, ram), start: rng.chance(3).then(|| self.place(rng, ram).0) },
            1 => ArgSpec::Vmalloc(pick(rng, &[8 * MIB, 128 * MIB, 400 * MIB, 1100 * MIB])),
            2 => ArgSpec::LxMem(pick(rng, &[ram, ram - MIB, 16 * MIB])),
            3..=4 => {
                let start = u64::from(rng.below(ram as u32)) / 0x1000 * 0x1000;
                let window = (start, start + size(rng, 8 * MIB) + 0x1000);
                ArgSpec::Mmap { name: format!("map{i}"), size: size(rng, 4 * MIB), window }
            }
            5..=6 => ArgSpec::Heap { name: format!("heap{i}"), size: size(rng, 16 * MIB) },
            7 => ArgSpec::RemoveHeaps,
            _ => self.cma(rng, ram),
        }
    }

    fn cma(&self, rng: &mut Rng, ram: u64) -> ArgSpec {
        let base = self.place(rng, ram).0;
        let cma_size = pick(rng, &[0, 0xffff_ffff, 8 * MIB, 8 * MIB, 3 * MIB, 9999 * MIB, ram]);
        let window = match rng.below(4) {
            0 => Some((base, None)),
            1 => Some((base, Some(base + cma_size + pick(rng, &[0, 4 * MIB, 64 * MIB])))),
            2 if rng.chance(4) => Some((0, None)),
            2 => Some((base & !(4 * MIB - 1), None)),
            _ => None,
        };
        ArgSpec::Cma { size: cma_size, window }
    }

    pub fn command_line(&self) -> String {
        let text = |arg: &ArgSpec| match arg {
            ArgSpec::Mem { size, start: None } => format!("mem={size}"),
            ArgSpec::Mem { size, start: Some(start) } => format!("mem={size:#x}@{start:#x}"),
            ArgSpec::Cma { size, window: None } if size % MIB == 0 => format!("cma={}M", size / MIB),
            ArgSpec::Cma { size, window: None } => format!("cma={size:#x}"),
            ArgSpec::Cma { size, window: Some((base, None)) } => format!("cma={size}@{base:#x}"),
            ArgSpec::Cma { size, window: Some((base, Some(end))) } => format!("cma={size}@{base:#x}-{end}"),
            ArgSpec::Vmalloc(size) => format!("vmalloc={}k", size / 1024),
            ArgSpec::LxMem(size) => format!("LX_MEM={size:#x}"),
            ArgSpec::Mmap { name, size, window } => format!(
                "mmap_reserved={name},miu=0,sz={size:#x},max_start_off={:#x},max_end_off={:#x}",
                window.0, window.1
            ),
            ArgSpec::Heap { name, size } => format!("mma_heap={name},miu=0,sz={size:#x}"),
            ArgSpec::RemoveHeaps => "mma_memblock_remove=1".into(),
        };
        self.args.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    /// A value as a cell group of the root's width, cut as a writer of 32-bit trees has to.
    fn pairs(&self, pairs: &[(u64, u64)]) -> Vec<u8> {
        cells(&pairs.iter().flat_map(|&(a, b)| [(a, self.words), (b, self.words)]).collect::<Vec<_>>())
    }

    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Blob::new(&self.memreserve);
        blob.word_property("#address-cells", self.words);
        blob.word_property("#size-cells", self.words);
        blob.begin("chosen");
        blob.string("bootargs", &self.command_line());
        if let Some((start, end)) = self.initrd {
            blob.property("linux,initrd-start", &cells(&[(start, 1)]));
            blob.property("linux,initrd-end", &cells(&[(end, 2)]));
        }
        blob.end();
        for (i, pair) in self.memory.iter().enumerate() {
            blob.begin(&format!("memory@{i}"));
            blob.string("device_type", "memory");
            blob.property("reg", &self.pairs(&[*pair]));
            blob.end();
        }
        blob.begin("reserved-memory");
        blob.word_property("#address-cells", self.words);
        blob.word_property("#size-cells", self.words);
        if self.good_format {
            blob.property("ranges", &[]);
        }
        self.nodes.iter().for_each(|node| self.node_blob(&mut blob, node));
        blob.end();
        for (i, &(base, size)) in self.dma.iter().enumerate() {
            blob.begin(&format!("bus@{i}"));
            let entry = [(0xc000_0000, self.words), (base, self.words), (size, self.words)];
            blob.property("dma-ranges", &cells(&entry));
            blob.end();
        }
        blob.finish()
    }

    fn node_blob(&self, blob: &mut Blob, node: &NodeSpec) {
        blob.begin(&node.name);
        if let Some(reg) = &node.reg {
            blob.property("reg", &self.pairs(reg));
        }
        for (name, value) in [("size", node.size), ("alignment", node.align)] {
            if let Some(value) = value {
                blob.property(name, &cells(&[(value, self.words)]));
            }
        }
        if let Some(ranges) = &node.ranges {
            blob.property("alloc-ranges", &self.pairs(ranges));
        }
        let flags =
            [("no-map", node.no_map), ("reusable", node.reusable), ("linux,cma-default", node.cma_default)];
        for (name, _) in flags.iter().filter(|(_, on)| *on) {
            blob.property(name, &[]);
        }
        if node.pool {
            blob.string("compatible", "Shared-DMA-Pool");
        }
        if let Some(phandle) = node.phandle {
            blob.word_property("phandle", phandle);
        }
        if node.disabled {
            blob.string("status", "disabled");
        }
        blob.end();
    }
}
