//! What regions are used for: private and default CMA areas, coherent pools.

use super::{Entry, FOUR, Linux, MIB, NOMAP, TOP, low32, up};
use crate::tests::board::NodeSpec;
use std::format;

impl Linux<'_> {
    pub(super) fn matching(&mut self, i: usize) {
        let Entry { ref spec, base, size, shared } = self.entries[i];
        let spec = spec.clone();
        if !spec.pool {
            return;
        }
        if shared {
            let name = &spec.name;
            self.lines
                .push(format!("OF: reserved mem: node {name} not used: some of it is somebody else's too"));
            return;
        }
        let ok = self.cma_setup(&spec, base, size) || self.coherent_setup(&spec, base, size);
        let name = &spec.name;
        if ok {
            self.lines
                .push(format!("OF: reserved mem: initialized node {name}, compatible id shared-dma-pool"));
        } else {
            self.lines.push(format!("OF: reserved mem: node {name} compatible matching fail"));
            if spec.no_map {
                self.flag(base, size, 0, NOMAP);
            } else {
                self.free(base, size);
            }
        }
    }

    fn cma_setup(&mut self, spec: &NodeSpec, base: u64, size: u64) -> bool {
        if spec.cma_default && self.cma.is_some_and(|c| c.0 != TOP) {
            let name = &spec.name;
            self.lines.push(format!("Reserved memory: bypass {name} node, using cmdline CMA params instead"));
            return false;
        }
        if spec.no_map || !spec.reusable {
            return false;
        }
        if !base.is_multiple_of(FOUR) || !size.is_multiple_of(FOUR) {
            self.say("Reserved memory: incorrect alignment of CMA region".into());
            return false;
        }
        if !self.area(&spec.name, base, size) {
            self.say("Reserved memory: unable to setup CMA region".into());
            return false;
        }
        if spec.cma_default {
            self.default = Some(self.areas.len() - 1);
        }
        let mib = size / MIB;
        self.say(format!("Reserved memory: created CMA memory pool at {base:#010x}, size {mib} MiB"));
        true
    }

    fn coherent_setup(&mut self, spec: &NodeSpec, base: u64, size: u64) -> bool {
        if !spec.reusable && !spec.no_map {
            self.say("Reserved memory: regions without no-map are not yet supported".into());
        }
        if !spec.reusable && spec.no_map {
            let mib = size / MIB;
            self.say(format!("Reserved memory: created DMA memory pool at {base:#010x}, size {mib} MiB"));
        }
        !spec.reusable && spec.no_map
    }

    /// 4.5.
    fn area(&mut self, name: &str, base: u64, size: u64) -> bool {
        if self.areas.len() == 8 {
            self.say("cma: Not enough slots for CMA reserved regions!".into());
            return false;
        }
        let fine = size > 0
            && self.paint.any_used(base, size)
            && base.is_multiple_of(FOUR)
            && size.is_multiple_of(FOUR);
        if fine {
            self.areas.push((name.into(), base, size.min(TOP - base)));
        }
        fine
    }

    /// 4.3 and 4.4.
    pub(super) fn default_area(&mut self) {
        let (size, base, limit) = match self.cma.filter(|c| c.0 != TOP) {
            Some((size, base, 0)) => (size, base, TOP),
            Some(given) => given,
            None => (self.board.built_in, 0, TOP),
        };
        let limit = limit.min(self.dma_limit);
        if size == 0 || self.default.is_some() {
            return;
        }
        let given_limit = self.cma.map_or(0, |c| c.2);
        let fixed = self.cma.is_some_and(|c| c.0 != TOP) && low32(base + size) == given_limit;
        if self.areas.len() == 8 {
            return self.say("cma: Not enough slots for CMA reserved regions!".into());
        }
        if fixed && base % FOUR != 0 {
            self.say(format!("cma: Region at {base:#010x} must be aligned to 0x00400000 bytes"));
            return self.say(format!("cma: Failed to reserve {} MiB", size / MIB));
        }
        let (base, size) = (low32(up(base, FOUR)), low32(up(size, FOUR)));
        if !self.declare(base, size, limit / FOUR * FOUR, fixed && base != 0) {
            self.say(format!("cma: Failed to reserve {} MiB", size / MIB));
        }
    }

    fn declare(&mut self, base: u64, size: u64, limit: u64, fixed: bool) -> bool {
        let end = low32(base + size);
        let highmem = self.lowmem;
        if fixed && base < highmem && end > highmem {
            self.say(format!(
                "cma: Region at {base:#010x} defined on low/high memory boundary ({highmem:#010x})"
            ));
            return false;
        }
        let dram_end = self.paint.dram().1;
        let limit = if limit == 0 { dram_end } else { limit.min(dram_end) };
        if end > limit {
            self.say(format!(
                "cma: Size ({size:#010x}) of region at {base:#010x} exceeds limit ({limit:#010x})"
            ));
            return false;
        }
        let mut place = None;
        if fixed {
            place = (!self.paint.any_used(base, size)).then_some(base);
        } else {
            let crossing = base < highmem && limit > highmem;
            let windows = [(highmem, limit), (base, if crossing { highmem } else { limit })];
            for (start, end) in windows.into_iter().skip(usize::from(!crossing)) {
                place = place.or_else(|| self.paint.find(size, FOUR, start, end));
            }
        }
        let Some(at) = place.filter(|&at| self.paint.reserve(at, size)) else { return false };
        if !self.area("reserved", at, size) {
            self.free(at, size);
            return false;
        }
        self.default = Some(self.areas.len() - 1);
        self.say(format!("cma: Reserved {} MiB at {at:#010x}", size / MIB));
        true
    }
}
