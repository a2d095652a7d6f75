//! The model: the spec's sections 2 to 4 told once more, over a painted line and plain lists.

mod areas;

use super::board::{ArgSpec, Board, NodeSpec};
use super::paint::Paint;
use std::format;
use std::string::String;
use std::vec::Vec;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const FOUR: u64 = 4 * MIB;
const TOP: u64 = 0xffff_ffff;
const NOMAP: u32 = 4;

/// An entry of the reserved-memory list.
pub struct Entry {
    pub spec: NodeSpec,
    pub base: u64,
    pub size: u64,
    /// Whether its fixed place is also somebody else's: this project's own rule.
    pub shared: bool,
}

pub struct Linux<'b> {
    board: &'b Board,
    pub paint: Paint,
    pub lines: Vec<String>,
    pub entries: Vec<Entry>,
    /// Name, base, size.
    pub areas: Vec<(String, u64, u64)>,
    pub default: Option<usize>,
    /// Name, base, size, shared.
    pub vendor: Vec<(String, u64, u64, bool)>,
    pub lowmem: u64,
    pub memblock_limit: u64,
    pub initrd: Option<(u64, u64)>,
    /// `arm_dma_limit`.
    pub dma_limit: u64,
    vmalloc: u64,
    /// (size, base, limit) of `cma=`.
    cma: Option<(u64, u64, u64)>,
}

fn up(x: u64, to: u64) -> u64 {
    x.div_ceil(to) * to
}

fn low32(x: u64) -> u64 {
    x % (1 << 32)
}

impl<'b> Linux<'b> {
    pub fn boot(board: &'b Board) -> Self {
        let mut it = Self {
            board,
            paint: Paint::new(),
            lines: Vec::new(),
            entries: Vec::new(),
            areas: Vec::new(),
            default: None,
            vendor: Vec::new(),
            lowmem: 0,
            memblock_limit: 0,
            initrd: None,
            dma_limit: TOP,
            vmalloc: 240 * MIB,
            cma: None,
        };
        board.memory.iter().filter(|m| m.1 != 0).for_each(|&(base, size)| it.describe(base, size));
        it.reserve(board.dtb.0, board.dtb.1);
        it.parameters();
        it.bounds();
        it.bus_masters();
        it.reserve(board.kernel.0, board.kernel.1);
        it.initial_disk();
        it.reserve(board.phys + 0x4000, 0x4000);
        it.hook();
        for &(base, size) in &board.memreserve {
            it.meet(low32(base), low32(size), 0);
            it.reserve(low32(base), low32(size));
        }
        it.static_pass();
        it.second_pass();
        it.default_area();
        it.bounds();
        it
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn full(&mut self, table: &str, base: u64, size: u64) {
        let last = (base + size).min(TOP) - 1;
        self.say(format!("memblock: {table} table is full, [{base:#010x}-{last:#010x}] is not recorded"));
    }

    fn reserve(&mut self, base: u64, size: u64) -> bool {
        let ok = self.paint.reserve(base, size);
        if !ok {
            self.full("reserved", base, size);
        }
        ok
    }

    fn flag(&mut self, base: u64, size: u64, set: u32, clear: u32) -> bool {
        let ok = self.paint.flag(base, size, set, clear);
        if !ok {
            self.full("memory", base, size);
        }
        ok
    }

    fn free(&mut self, base: u64, size: u64) {
        if !self.paint.free(base, size) {
            self.full("reserved", base, size);
        }
    }

    /// 2.2, the device tree's way.
    fn describe(&mut self, base: u64, size: u64) {
        let (first, end) = (up(base, PAGE), (base + size) / PAGE * PAGE);
        // The size must reach the next boundary strictly above an aligned base.
        if base + size < (base / PAGE + 1) * PAGE {
            return self.say(format!("OF: fdt: Ignoring memory block {base:#x} - {:#x}", base + size));
        }
        if first > TOP {
            return self.say(format!("OF: fdt: Ignoring memory block {first:#x} - {end:#x}"));
        }
        let mut end = end;
        if end > TOP + 1 {
            self.say(format!("OF: fdt: Ignoring memory range {:#x} - {end:#x}", TOP + 1));
            end = TOP + 1;
        }
        let phys = self.board.phys;
        if end < phys {
            return self.say(format!("OF: fdt: Ignoring memory block {first:#x} - {end:#x}"));
        }
        if first < phys {
            self.say(format!("OF: fdt: Ignoring memory range {first:#x} - {phys:#x}"));
        }
        self.paint.add(first.max(phys), end - first.max(phys));
    }

    /// 2.2, the command line's way.
    fn given(&mut self, start: u64, size: u64) {
        let (first, mut end) = (up(start, PAGE), start + size);
        if first > TOP {
            return self
                .say(format!("Ignoring memory at {start:#010x} outside 32-bit physical address space"));
        }
        end = end.max(first);
        if end > TOP {
            self.say(format!("Truncating memory at {start:#010x} to fit in 32-bit physical address space"));
            end = TOP;
        }
        let phys = self.board.phys;
        if first < phys {
            let shown = end.min(phys);
            self.say(format!("Ignoring memory below PHYS_OFFSET: {first:#010x}-{shown:#010x}"));
        }
        let first = first.max(phys);
        let pages = end.saturating_sub(first) / PAGE;
        if pages > 0 {
            self.paint.add(first, pages * PAGE);
        }
    }

    fn forget_memory(&mut self) {
        let (start, end) = self.paint.dram();
        self.paint.remove(start, end - start);
    }

    fn parameters(&mut self) {
        let mut replaced = false;
        let mut lx = None;
        for arg in &self.board.args {
            match *arg {
                ArgSpec::Mem { size, start } => {
                    if !replaced {
                        self.forget_memory();
                    }
                    replaced = true;
                    self.given(start.unwrap_or(self.board.phys), size);
                }
                ArgSpec::Vmalloc(size) => self.vmalloc_size(size),
                ArgSpec::LxMem(size) => lx = Some(size),
                ArgSpec::Cma { size, window } => {
                    let old = self.cma.map_or((0, 0), |(_, base, limit)| (base, limit));
                    let (base, limit) = match window {
                        None => old,
                        Some((base, None)) => (base, base + size),
                        Some((base, Some(end))) => (base, end),
                    };
                    self.cma = Some((low32(size), low32(base), low32(limit)));
                }
                _ => {}
            }
        }
        let phys = self.board.phys;
        if let Some(size) = lx {
            self.say(format!("LXmem is {size:#x} PHYS_OFFSET is {phys:#x}"));
            if !replaced {
                self.forget_memory();
            }
            self.say(format!("Add mem start {phys:#x} size {size:#x}!!!!"));
            self.given(phys, size);
            self.say(String::new());
            self.say(format!("LX_MEM = {phys:#x}, {size:#x}"));
            for rest in ["LX_MEM2 = 0x0, 0x0", "LX_MEM3 = 0x0, 0x0", "EMAC_LEN= 0x0", "DRAM_LEN= 0x0"] {
                self.say(rest.into());
            }
        }
    }

    fn vmalloc_size(&mut self, size: u64) {
        let most = 0xff80_0000 - (0xc000_0000 + 32 * MIB + 8 * MIB);
        self.vmalloc = size;
        if size < 16 * MIB {
            self.vmalloc = 16 * MIB;
            self.say("vmalloc area is too small, limiting to 16MiB".into());
        } else if size > most {
            self.vmalloc = most;
            self.say(format!("vmalloc area is too big, limiting to {}MiB", most / MIB));
        }
    }

    /// 2.4.
    fn bounds(&mut self) {
        let ceiling = self.board.phys + 0xff80_0000 - 8 * MIB - 0xc000_0000 - self.vmalloc;
        if let Some(&(start, _)) = self.paint.mapped().first()
            && start % (2 * MIB) != 0
        {
            self.flag(start, up(start, 2 * MIB) - start, NOMAP, 0);
        }
        let low: Vec<_> = self.paint.mapped().into_iter().filter(|m| m.0 < ceiling).collect();
        self.lowmem = low.iter().map(|m| m.1.min(ceiling)).max().unwrap_or(0);
        let so_far = |i: usize| low[..=i].iter().map(|m| m.1.min(ceiling)).max().unwrap();
        let odd = |&(i, m): &(usize, &(u64, u64))| match (m.0 % (2 * MIB), m.1 % (2 * MIB)) {
            (0, 0) => None,
            (0, _) => Some(so_far(i)),
            _ => Some(m.0),
        };
        let first_odd = low.iter().enumerate().find_map(|m| odd(&m));
        self.memblock_limit = first_odd.unwrap_or(self.lowmem) / (2 * MIB) * (2 * MIB);
        let end = self.paint.dram().1;
        if !self.board.highmem && end > self.lowmem {
            let from = self.memblock_limit;
            self.say(format!("Ignoring RAM at {from:#010x}-{end:#010x}"));
            self.say("Consider using a HIGHMEM enabled kernel.".into());
            self.paint.remove(from, end.saturating_sub(from));
        }
    }

    /// The least of what the buses reach that reach any RAM, unless that is all.
    fn bus_masters(&mut self) {
        let (start, end) = self.paint.dram();
        for (base, size) in self.board.dma.iter().filter(|bus| bus.1 > 0) {
            let last = base + size - 1;
            if last >= start && last + 1 < end {
                self.dma_limit = self.dma_limit.min(last);
            }
        }
    }

    /// 2.5, 2.
    fn initial_disk(&mut self) {
        let Some((start, end)) = self.board.initrd.filter(|i| i.1 > i.0) else { return };
        let base = start / PAGE * PAGE;
        let size = up(end, PAGE) - base;
        let what = if !self.paint.one_region(base, size) {
            "is not a memory region - disabling initrd"
        } else if self.paint.any_used(base, size) {
            "overlaps in-use memory region"
        } else {
            self.reserve(base, size);
            self.initrd = Some((start, end));
            return;
        };
        self.say(format!("INITRD: {base:#010x}+{size:#010x} {what}"));
        if what.starts_with('o') {
            self.say(" - disabling initrd".into());
        }
    }

    /// The vendor's windows, then its heaps.
    fn hook(&mut self) {
        let remove = self.board.args.iter().any(|a| matches!(a, ArgSpec::RemoveHeaps));
        let (mut maps, mut heaps) = (0, 0);
        for arg in &self.board.args {
            if let ArgSpec::Mmap { name, size, window } = arg {
                let (start, end) = (self.board.phys + window.0, self.board.phys + window.1);
                if let Some(base) = self.vendor_place("mmap_reserved", name, *size, (start, end), false) {
                    self.say(format!(
                        "deal_with_reserved_mmap memblock_reserve success mmap_reserved_config[{maps}].reserved_start="
                    ));
                    self.say(format!("{base:#010x}"));
                    self.say(String::new());
                }
                maps += 1;
            }
        }
        for arg in &self.board.args {
            if let ArgSpec::Heap { name, size } = arg {
                let window = (self.board.phys, TOP);
                if let Some(base) = self.vendor_place("mma_heap", name, *size, window, remove) {
                    self.say(format!(
                        "deal_with_reserve_mma_heap memblock_reserve success mma_config[{heaps}].reserved_start="
                    ));
                    self.say(format!("{base:#010x}"));
                }
                heaps += 1;
            }
        }
    }

    fn vendor_place(
        &mut self,
        what: &str,
        name: &str,
        size: u64,
        (start, end): (u64, u64),
        remove: bool,
    ) -> Option<u64> {
        let rounded = up(size, PAGE);
        let found = if rounded > end - start { None } else { self.paint.find(rounded, PAGE, start, end) };
        let Some(base) = found else {
            let shown = if rounded > end - start { size } else { rounded };
            let last = end - 1;
            self.say(format!("{what} {name}: no free {shown:#x} bytes in [{start:#010x}-{last:#010x}]"));
            return None;
        };
        if remove {
            self.paint.remove(base, rounded);
        } else {
            self.paint.reserve(base, rounded);
        }
        self.vendor.push((name.into(), base, rounded, false));
        Some(base)
    }

    /// 3.5.
    fn static_pass(&mut self) {
        if !self.board.good_format {
            return self.say("OF: fdt: Reserved memory: unsupported node format, ignoring".into());
        }
        for spec in self.board.nodes.iter().filter(|n| !n.disabled) {
            if let Some(reg) = &spec.reg {
                let before = self.entries.len();
                for (i, &(base, size)) in reg.iter().enumerate() {
                    let mut shared = self.meet(base, size, before);
                    if size == 0 || !self.static_one(spec.no_map, base, size) {
                        shared = true;
                        let (name, mib) = (&spec.name, size / MIB);
                        self.lines.push(format!(
                            "OF: fdt: Reserved memory: failed to reserve memory for node '{name}': base {base:#010x}, size {mib} MiB"
                        ));
                    }
                    if i == 0 {
                        self.record(spec, base, size, shared && size > 0);
                    }
                }
            } else if spec.size.is_some() {
                self.record(spec, 0, 0, false);
            }
        }
    }

    /// Whether a range is not only its own; who has some of it already no longer has that alone.
    fn meet(&mut self, base: u64, size: u64, before: usize) -> bool {
        let common = |b: u64, s: u64| b.max(base) < (b + s).min(base + size).min(TOP);
        let mut met = size > 0 && (self.paint.any_used(base, size) || self.paint.any_nomap(base, size));
        for entry in self.entries.iter_mut().take(before).filter(|e| common(e.base, e.size)) {
            (entry.shared, met) = (true, true);
        }
        for region in self.vendor.iter_mut().filter(|v| common(v.1, v.2)) {
            (region.3, met) = (true, true);
        }
        met
    }

    fn static_one(&mut self, no_map: bool, base: u64, size: u64) -> bool {
        if !no_map {
            return self.reserve(base, size);
        }
        let refused = self.paint.any_ram(base, size) && self.paint.any_used(base, size);
        !refused && self.flag(base, size, NOMAP, 0)
    }

    fn record(&mut self, spec: &NodeSpec, base: u64, size: u64, shared: bool) {
        if self.entries.len() == 64 {
            self.say("OF: reserved mem: not enough space for all defined regions.".into());
        } else {
            // The project's ranges end a byte before the space does.
            let size = size.min(TOP - base);
            self.entries.push(Entry { spec: spec.clone(), base, size, shared });
        }
    }

    /// 3.9, to the word.
    fn sort(&mut self) {
        let key = |e: &Entry| (e.base, e.size);
        let v = &mut self.entries;
        let n = v.len();
        let (mut a, mut m) = (n / 2, n);
        if n < 2 {
            return;
        }
        loop {
            if a > 0 {
                a -= 1;
            } else {
                m -= 1;
                if m == 0 {
                    break;
                }
                v.swap(0, m);
            }
            let mut path = std::vec![a];
            loop {
                let b = *path.last().unwrap();
                let next = if 2 * b + 2 < m {
                    if key(&v[2 * b + 1]) >= key(&v[2 * b + 2]) { 2 * b + 1 } else { 2 * b + 2 }
                } else if 2 * b + 2 == m {
                    2 * b + 1
                } else {
                    break;
                };
                path.push(next);
            }
            while path.len() > 1 && key(&v[a]) >= key(&v[*path.last().unwrap()]) {
                path.pop();
            }
            // Exchanging the last of the path with each of its ancestors rotates the path by one.
            let c = *path.last().unwrap();
            path.iter().rev().skip(1).for_each(|&p| v.swap(p, c));
        }
    }

    /// 3.6 to 3.8.
    fn second_pass(&mut self) {
        self.sort();
        for pair in self.entries.windows(2) {
            if pair[0].base + pair[0].size > pair[1].base {
                let show =
                    |e: &Entry| format!("{} ({:#010x}--{:#010x})", e.spec.name, e.base, e.base + e.size);
                self.lines.push("OF: reserved mem: OVERLAP DETECTED!".into());
                self.lines.push(format!("{} overlaps with {}", show(&pair[0]), show(&pair[1])));
            }
        }
        for i in 0..self.entries.len() {
            if self.entries[i].size == 0 {
                let spec = self.entries[i].spec.clone();
                match self.dynamic(&spec) {
                    Some((base, size)) => (self.entries[i].base, self.entries[i].size) = (base, size),
                    None => continue,
                }
            }
            self.matching(i);
        }
    }

    fn dynamic(&mut self, spec: &NodeSpec) -> Option<(u64, u64)> {
        let size = spec.size?;
        let cma = spec.pool && spec.reusable && !spec.no_map;
        let asked = spec.align.unwrap_or(0);
        let align = match (cma, asked) {
            (true, asked) => asked.max(FOUR),
            (false, 0) => 64,
            (false, asked) => asked,
        };
        let windows = match &spec.ranges {
            None => [(0, TOP)].into(),
            Some(ranges) => ranges.iter().map(|r| (r.0, low32(r.0 + r.1))).collect::<Vec<_>>(),
        };
        for (start, end) in windows {
            let end = match end {
                0 => TOP,
                1 => self.memblock_limit,
                end => end,
            };
            let Some(base) = self.paint.find(size, align, start, end) else { continue };
            if !self.reserve(base, size) {
                continue;
            }
            if spec.no_map && !self.flag(base, size, NOMAP, 0) {
                self.free(base, size);
                continue;
            }
            return Some((base, size));
        }
        let (name, mib) = (&spec.name, size / MIB);
        self.lines
            .push(format!("OF: reserved mem: failed to allocate memory for node '{name}': size {mib} MiB"));
        None
    }
}
