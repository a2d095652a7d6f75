//! Random sequences of operations; after each one tables, errors and answers must be the model's.

use super::model::{CELLS, Model, Space, View};
use super::{Rng, listing, range, with_memblock};
use crate::memblock::{FlagChange, Memblock, RegionFlags, TableId};
use std::vec::Vec;
use types::{PhysAddr, PhysRange};

/// Sequences in a run: with those of the reservation code more than 100,000.
const SEQUENCES: u64 = if cfg!(miri) { 12 } else { 60_000 };
const STEPS: u32 = 12;

struct Pair<'p, 'a> {
    block: &'p mut Memblock<'a>,
    model: Model,
    rng: Rng,
    movable_node: bool,
    bottom_up: bool,
}

impl Pair<'_, '_> {
    fn span(&mut self) -> (usize, usize) {
        let from = self.rng.below(CELLS as u32) as usize;
        let longest = (CELLS - from).min(if self.rng.chance(6) { CELLS } else { 12 });
        (from, from + self.rng.below(longest as u32 + 1) as usize)
    }

    /// The span in bytes; one that reaches the end of the row sometimes reaches the end of the space.
    fn bytes(&self, (from, to): (usize, usize)) -> PhysRange {
        let start = self.model.space.edge(from);
        let beyond = to == CELLS && self.model.space.edge(CELLS) == u32::MAX;
        range(start, if beyond { u32::MAX } else { self.model.space.edge(to) - start })
    }

    fn step(&mut self) {
        let span = self.span();
        let bytes = self.bytes(span);
        let (a, b) = span;
        match self.rng.below(16) {
            0..=2 => self.both(|m| m.add(TableId::Memory, a, b, 0), |m| m.add(bytes).is_ok()),
            3 => {
                let flags = self.rng.below(16);
                let model = |m: &mut Model| m.add(TableId::Memory, a, b, flags);
                self.both(model, |m| m.add_flagged(bytes, RegionFlags::from_bits_retain(flags)).is_ok());
            }
            4..=5 => self.both(|m| m.add(TableId::Reserved, a, b, 0), |m| m.reserve(bytes).is_ok()),
            6 => self.both(|m| m.remove(TableId::Memory, a, b), |m| m.remove(bytes).is_ok()),
            7..=8 => self.both(|m| m.remove(TableId::Reserved, a, b), |m| m.free(bytes).is_ok()),
            9 => self.both(|m| m.change(a, b, 4, 0), |m| m.mark_nomap(bytes).is_ok()),
            10 => self.both(|m| m.change(a, b, 0, 4), |m| m.clear_nomap(bytes).is_ok()),
            11 => self.both(|m| m.change(a, b, 1, 0), |m| m.change_hotplug(bytes, FlagChange::Mark).is_ok()),
            12 => self.limits(span),
            _ => self.allocate(),
        }
        self.compare();
    }

    fn both(&mut self, model: impl Fn(&mut Model) -> bool, real: impl Fn(&mut Memblock<'_>) -> bool) {
        assert_eq!(real(self.block), model(&mut self.model));
    }

    fn limits(&mut self, (a, b): (usize, usize)) {
        let bytes = self.bytes((a, b));
        match self.rng.below(8) {
            0 => self.both(|m| m.cap(a, b), |m| m.cap_memory_range(bytes).is_ok()),
            1 => {
                let cells = 1 << self.rng.below(3);
                self.model.trim(cells);
                self.block.trim(cells as u32 * self.model.space.unit);
            }
            2 => self.enforce(),
            _ => {}
        }
    }

    fn enforce(&mut self) {
        let cells = self.rng.below(CELLS as u32) as usize;
        let amount = (self.model.space.unit as usize * cells) as u32;
        let mut ram = (0..CELLS).filter(|&i| self.model.ram[i].is_some());
        let last = if cells == 0 { None } else { ram.nth(cells - 1) };
        let short = last.is_some_and(|i| self.model.space.is_short(i + 1));
        if let Some(last) = last.filter(|_| !short) {
            self.both(
                |m| {
                    let memory = m.remove(TableId::Memory, last + 1, CELLS);
                    m.remove(TableId::Reserved, last + 1, CELLS) && memory
                },
                |m| m.enforce_memory_limit(amount).is_ok(),
            );
        } else {
            self.both(|_| true, |m| m.enforce_memory_limit(amount).is_ok());
        }
    }

    fn allocate(&mut self) {
        let space = self.model.space;
        let align = space.unit << self.rng.below(4);
        let size = 1 + self.rng.below(space.unit.saturating_mul(6));
        let (from, to) = self.span();
        let limit = self.block.current_limit().get();
        let (start, end) = match self.rng.below(3) {
            0 => (0, 0),
            1 => (space.edge(from), 1),
            _ => (space.edge(from), space.edge(to)),
        };
        let window = (start, if end <= 1 { limit } else { end });
        let view = View { open: 0, movable_node: self.movable_node };
        let expected = self.model.find(size, align, window, self.bottom_up, view);
        let found = self.block.find_in_range(start, end, size, align);
        assert_eq!(found.map(PhysAddr::get), expected, "{size:#x} aligned to {align:#x} in {window:x?}");
    }

    fn compare(&self) {
        let (memory, reserved) = (self.block.memory(), self.block.reserved());
        assert_eq!(listing(memory), self.model.listing(TableId::Memory));
        assert_eq!(listing(reserved), self.model.listing(TableId::Reserved));
        assert_eq!(memory.total_size(), self.model.memory_total);
        assert_eq!(reserved.total_size(), listing(reserved).iter().map(|r| r.1).sum::<u32>());
    }

    fn compare_walks(&mut self) {
        let view = View { open: self.rng.below(16), movable_node: self.movable_node };
        let flags = RegionFlags::from_bits_retain(view.open);
        let expected = self.model.free_runs(view);
        let bounds = |r: PhysRange| (r.base().get(), r.end().get());
        assert_eq!(self.block.free_ranges(flags).map(bounds).collect::<Vec<_>>(), expected);
    }

    fn compare_queries(&mut self) {
        let cell = self.rng.below(CELLS as u32 - 1) as usize;
        let addr = PhysAddr::new(self.model.space.edge(cell));
        let (ram, used) = (self.model.ram[cell], self.model.used[cell]);
        assert_eq!(self.block.is_memory(addr), ram.is_some());
        assert_eq!(self.block.is_map_memory(addr), ram.is_some_and(|flags| flags & 4 == 0));
        assert_eq!(self.block.is_reserved(addr), used.is_some());
        let (a, b) = self.span();
        let bytes = self.bytes((a, b));
        if a < b {
            assert_eq!(
                self.block.is_region_reserved(bytes),
                self.model.used[a..b].iter().any(Option::is_some)
            );
            let whole = self.model.ram[a..b].iter().all(|&c| c.is_some() && c == self.model.ram[a]);
            let cut = self.model.cut_inside(a, b);
            assert_eq!(self.block.is_region_memory(bytes), whole && !cut);
            assert_eq!(self.block.overlaps_memory(bytes), self.model.ram[a..b].iter().any(Option::is_some));
        }
    }
}

fn sequence(seed: u64) {
    let mut rng = Rng::new(seed);
    let space = Space::random(&mut rng);
    let entries = if rng.chance(3) { 3 + rng.below(6) as usize } else { 64 };
    with_memblock(entries, |block| {
        let (movable_node, bottom_up) = (rng.chance(4), rng.chance(4));
        block.set_movable_node(movable_node);
        block.set_bottom_up(bottom_up);
        if rng.chance(2) {
            block.set_current_limit(PhysAddr::new(space.edge(rng.below(CELLS as u32 + 1) as usize)));
        }
        let model = Model::new(space, entries);
        let mut pair = Pair { block, model, rng, movable_node, bottom_up };
        (0..STEPS).for_each(|_| pair.step());
        pair.compare_walks();
        pair.compare_queries();
    });
}

#[test]
fn random_sequences_agree_with_the_model() {
    for seed in 0..SEQUENCES {
        if let Err(panic) = std::panic::catch_unwind(|| sequence(seed)) {
            std::eprintln!("sequence {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
