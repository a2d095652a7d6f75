//! The model: a row of cells, each a unit of address space, with "RAM, these flags" and "in use" in it.

use super::Rng;
use crate::memblock::TableId;
use std::collections::BTreeSet;
use std::vec::Vec;

pub const CELLS: usize = 64;
const NOMAP: u32 = 4;

/// Where the row of cells lies in the address space.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub base: u32,
    pub unit: u32,
}

impl Space {
    /// Anywhere, often with its end at the end of the space.
    pub fn random(rng: &mut Rng) -> Self {
        let unit = 1 << [0, 0, 6, 12, 20, 24][rng.below(6) as usize];
        let span = CELLS as u32 * unit;
        let room = 0u32.wrapping_sub(span) - u32::from(unit == 1);
        let base = if rng.chance(4) { room } else { rng.below(room) };
        Self { base: (base & !(unit - 1)).max(0x1000u32.next_multiple_of(unit)), unit }
    }

    /// The address of the edge before cell `i`; the one after the last cell of the space is short of a byte.
    pub fn edge(&self, i: usize) -> u32 {
        (u64::from(self.base) + i as u64 * u64::from(self.unit)).min(u64::from(u32::MAX)) as u32
    }

    /// Whether the cell before edge `i` misses the last byte of the space.
    pub fn is_short(&self, i: usize) -> bool {
        self.unit > 1 && self.edge(i) == u32::MAX
    }

    fn bytes(&self, from: usize, to: usize) -> u32 {
        self.edge(to) - self.edge(from)
    }
}

/// The rule by which RAM is shown to a walk.
#[derive(Clone, Copy)]
pub struct View {
    pub open: u32,
    pub movable_node: bool,
}

impl View {
    fn shows(self, flags: u32) -> bool {
        let hotplug_hidden = self.movable_node && flags & 1 != 0 && self.open & 1 == 0;
        let mirror_missing = self.open & 2 != 0 && flags & 2 == 0;
        let nomap_hidden = flags & 4 != 0 && self.open & 4 == 0;
        let driver_hidden = flags & 8 != 0 && self.open & 8 == 0;
        !(hotplug_hidden || mirror_missing || nomap_hidden || driver_hidden)
    }
}

pub struct Model {
    pub space: Space,
    pub ram: [Option<u32>; CELLS],
    pub used: [Option<u32>; CELLS],
    /// Edges inside NOMAP memory that capping cut and nothing has merged since.
    cuts: BTreeSet<usize>,
    pub memory_total: u32,
    entries: usize,
}

type Runs = Vec<(u32, u32, u32)>;

impl Model {
    pub fn new(space: Space, entries: usize) -> Self {
        let (ram, used) = ([None; CELLS], [None; CELLS]);
        Self { space, ram, used, cuts: BTreeSet::new(), memory_total: 0, entries }
    }

    fn cells(&mut self, table: TableId) -> &mut [Option<u32>; CELLS] {
        match table {
            TableId::Memory => &mut self.ram,
            TableId::Reserved => &mut self.used,
        }
    }

    fn runs(&self, table: TableId) -> Vec<(usize, usize, u32)> {
        let (cells, no_cuts) =
            (if table == TableId::Memory { &self.ram } else { &self.used }, BTreeSet::new());
        let cuts = if table == TableId::Memory { &self.cuts } else { &no_cuts };
        let mut runs: Vec<(usize, usize, u32)> = Vec::new();
        for (i, flags) in cells.iter().enumerate().filter_map(|(i, c)| c.map(|f| (i, f))) {
            match runs.last_mut() {
                Some(run) if run.1 == i && run.2 == flags && !cuts.contains(&i) => run.1 = i + 1,
                _ => runs.push((i, i + 1, flags)),
            }
        }
        runs
    }

    /// What the table should list.
    pub fn listing(&self, table: TableId) -> Runs {
        let runs = self.runs(table);
        if runs.is_empty() {
            return [(0, 0, 0)].into();
        }
        runs.iter().map(|&(a, b, f)| (self.space.edge(a), self.space.bytes(a, b), f)).collect()
    }

    /// Whether capping left an unmerged edge between two cells of a span.
    pub fn cut_inside(&self, from: usize, to: usize) -> bool {
        self.cuts.range(from + 1..to).next().is_some()
    }

    fn room(&self, table: TableId, more: usize) -> bool {
        self.runs(table).len().max(1) + more <= self.entries
    }

    /// Add or reserve; false when the table should be full.
    pub fn add(&mut self, table: TableId, from: usize, to: usize, flags: u32) -> bool {
        if from >= to {
            return true;
        }
        let cells = *self.cells(table);
        let gaps: Vec<usize> = (from..to).filter(|&i| cells[i].is_none()).collect();
        let pieces = gaps.iter().filter(|&&i| i == from || cells[i - 1].is_some()).count();
        let empty = cells.iter().all(Option::is_none);
        if pieces == 0 {
            return true;
        }
        if !empty && !self.room(table, pieces) {
            return false;
        }
        for &i in &gaps {
            self.cells(table)[i] = Some(flags);
        }
        if table == TableId::Memory {
            let added: u32 = gaps.iter().map(|&i| self.space.bytes(i, i + 1)).sum();
            self.memory_total = if empty { added } else { self.memory_total.wrapping_add(added) };
            if !empty {
                self.cuts.clear();
            }
        }
        true
    }

    pub fn remove(&mut self, table: TableId, from: usize, to: usize) -> bool {
        if from >= to {
            return true;
        }
        if !self.room(table, 2) {
            return false;
        }
        for i in from..to {
            let gone = self.cells(table)[i].take().is_some();
            if gone && table == TableId::Memory {
                self.memory_total = self.memory_total.wrapping_sub(self.space.bytes(i, i + 1));
            }
        }
        self.forget_cuts();
        true
    }

    /// A cut lasts while there is RAM on both sides.
    fn forget_cuts(&mut self) {
        let ram = self.ram;
        self.cuts.retain(|&edge| edge > 0 && edge < CELLS && ram[edge - 1].is_some() && ram[edge].is_some());
    }

    pub fn change(&mut self, from: usize, to: usize, set: u32, clear: u32) -> bool {
        if from >= to {
            return true;
        }
        if !self.room(TableId::Memory, 2) {
            return false;
        }
        for cell in self.ram[from..to].iter_mut().flatten() {
            *cell = (*cell | set) & !clear;
        }
        self.cuts.clear();
        true
    }

    /// Keeps `[from, to)` and NOMAP; the answer for the memory table only.
    pub fn cap(&mut self, from: usize, to: usize) -> bool {
        if from >= to || self.memory_total == 0 {
            return true;
        }
        if !self.room(TableId::Memory, 2) {
            return false;
        }
        self.cuts.extend([from, to]);
        let ram = self.ram;
        for i in (0..from).chain(to..CELLS).filter(|&i| ram[i].is_some_and(|f| f & NOMAP == 0)) {
            self.ram[i] = None;
            self.memory_total = self.memory_total.wrapping_sub(self.space.bytes(i, i + 1));
        }
        self.forget_cuts();
        let below = self.remove(TableId::Reserved, 0, from);
        self.remove(TableId::Reserved, to, CELLS) && below
    }

    pub fn trim(&mut self, cells: usize) {
        let at = |edge: usize| self.space.base as usize / self.space.unit as usize + edge;
        for (a, b, _) in self.runs(TableId::Memory) {
            let start = a + (cells - at(a) % cells) % cells;
            let short = self.space.is_short(b);
            let end =
                b as isize - (if short { (at(b) + cells - 1) % cells + 1 } else { at(b) % cells }) as isize;
            let keep = start as isize..end;
            if keep.is_empty() {
                self.memory_total = self.memory_total.wrapping_sub(self.space.bytes(a, b));
            }
            for i in (a..b).filter(|&i| !keep.contains(&(i as isize))) {
                self.ram[i] = None;
            }
        }
        self.forget_cuts();
    }

    /// Cells that a walk sees and nobody uses.
    fn free(&self, i: usize, view: View) -> Option<u32> {
        self.ram[i].filter(|&flags| view.shows(flags) && self.used[i].is_none())
    }

    /// Maximal free runs within one region each.
    pub fn free_runs(&self, view: View) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        for (a, b, _) in self.runs(TableId::Memory) {
            let mut start = None;
            for i in a..=b {
                match (start, i < b && self.free(i, view).is_some()) {
                    (None, true) => start = Some(i),
                    (Some(s), false) => {
                        out.push((self.space.edge(s), self.space.edge(i)));
                        start = None;
                    }
                    _ => {}
                }
            }
        }
        out
    }

    /// The best place for `size` bytes, tried at every edge from one end to the other; `align` is a multiple of
    /// the unit.
    pub fn find(
        &self,
        size: u32,
        align: u32,
        window: (u32, u32),
        bottom_up: bool,
        view: View,
    ) -> Option<u32> {
        let start = window.0.max(0x1000);
        let fits = |i: &usize| {
            let at = self.space.edge(*i);
            let end = u64::from(at) + u64::from(size);
            at.is_multiple_of(align)
                && at >= start
                && end <= u64::from(window.1)
                && self.all_free(*i, end, view)
        };
        let found = if bottom_up { (0..CELLS).find(fits) } else { (0..CELLS).rev().find(fits) };
        found.map(|i| self.space.edge(i))
    }

    fn all_free(&self, first: usize, end: u64, view: View) -> bool {
        let mut i = first;
        while u64::from(self.space.edge(i)) < end {
            if i == CELLS || self.free(i, view).is_none() || self.ram[i] != self.ram[first] {
                return false;
            }
            i += 1;
        }
        true
    }
}
