//! The model's memory: the address line painted in segments. Knows nothing of tables of regions.

use std::collections::BTreeMap;
use std::vec::Vec;

const LAST: u64 = 0xffff_ffff;
const NOMAP: u32 = 4;
/// Entries that each table has and that can't grow this early.
const ENTRIES: usize = 128;

/// What a stretch of addresses is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Colour {
    ram: Option<u32>,
    used: bool,
}

/// From each key to the next one the line has this colour.
pub struct Paint(BTreeMap<u64, Colour>);

pub type Table = Vec<(u32, u32, u32)>;

impl Paint {
    pub fn new() -> Self {
        Self([(0, Colour::default()), (LAST, Colour::default())].into())
    }

    fn cut(&mut self, at: u64) {
        let colour = *self.0.range(..=at).next_back().unwrap().1;
        self.0.insert(at, colour);
    }

    fn paint(&mut self, start: u64, end: u64, brush: impl Fn(&mut Colour)) {
        let end = end.min(LAST);
        if start < end {
            self.cut(start);
            self.cut(end);
            self.0.range_mut(start..end).for_each(|(_, colour)| brush(colour));
        }
    }

    fn segments(&self) -> impl Iterator<Item = (u64, u64, Colour)> {
        self.0.iter().zip(self.0.keys().skip(1)).map(|((&start, &colour), &end)| (start, end, colour))
    }

    /// Maximal runs for which `key` gives the same.
    fn runs<K: PartialEq>(&self, key: impl Fn(Colour) -> Option<K>) -> Vec<(u64, u64, K)> {
        let mut runs: Vec<(u64, u64, K)> = Vec::new();
        for (start, end, colour) in self.segments() {
            let Some(k) = key(colour) else { continue };
            match runs.last_mut() {
                Some(run) if run.1 == start && run.2 == k => run.1 = end,
                _ => runs.push((start, end, k)),
            }
        }
        runs
    }

    fn table(runs: Vec<(u64, u64, u32)>) -> Table {
        if runs.is_empty() {
            return [(0, 0, 0)].into();
        }
        runs.into_iter().map(|(start, end, flags)| (start as u32, (end - start) as u32, flags)).collect()
    }

    pub fn memory(&self) -> Table {
        Self::table(self.runs(|c| c.ram))
    }

    pub fn reserved(&self) -> Table {
        Self::table(self.runs(|c| c.used.then_some(0)))
    }

    /// RAM that is mapped.
    pub fn mapped(&self) -> Vec<(u64, u64)> {
        let runs = self.runs(|c| c.ram.filter(|f| f & NOMAP == 0));
        runs.into_iter().map(|(start, end, _)| (start, end)).collect()
    }

    fn room(table: &Table, more: usize) -> bool {
        table.len() + more <= ENTRIES
    }

    fn pieces(&self, start: u64, end: u64, is: impl Fn(Colour) -> bool) -> usize {
        let runs = self.runs(|c| (!is(c)).then_some(()));
        runs.iter().filter(|run| run.0.max(start) < run.1.min(end.min(LAST))).count()
    }

    /// False when the table is full.
    pub fn add(&mut self, start: u64, size: u64) -> bool {
        let fits = Self::room(&self.memory(), self.pieces(start, start + size, |c| c.ram.is_some()))
            || self.memory() == [(0, 0, 0)];
        if fits {
            self.paint(start, start + size, |c| c.ram = c.ram.or(Some(0)));
        }
        fits
    }

    pub fn reserve(&mut self, start: u64, size: u64) -> bool {
        let fits = Self::room(&self.reserved(), self.pieces(start, start + size, |c| c.used))
            || self.reserved() == [(0, 0, 0)];
        if fits {
            self.paint(start, start + size, |c| c.used = true);
        }
        fits || size == 0
    }

    pub fn remove(&mut self, start: u64, size: u64) -> bool {
        let fits = size == 0 || Self::room(&self.memory(), 2);
        if fits {
            self.paint(start, start + size, |c| c.ram = None);
        }
        fits
    }

    pub fn free(&mut self, start: u64, size: u64) -> bool {
        let fits = size == 0 || Self::room(&self.reserved(), 2);
        if fits {
            self.paint(start, start + size, |c| c.used = false);
        }
        fits
    }

    pub fn flag(&mut self, start: u64, size: u64, set: u32, clear: u32) -> bool {
        let fits = size == 0 || Self::room(&self.memory(), 2);
        if fits {
            self.paint(start, start + size, |c| c.ram = c.ram.map(|f| (f | set) & !clear));
        }
        fits
    }

    pub fn any_used(&self, start: u64, size: u64) -> bool {
        let end = (start + size).min(LAST);
        if size == 0 {
            return self.runs(|c| c.used.then_some(())).iter().any(|run| run.0 < start && start < run.1);
        }
        self.segments().any(|(a, b, c)| c.used && a < end && start < b)
    }

    pub fn any_ram(&self, start: u64, size: u64) -> bool {
        let end = (start + size).min(LAST);
        self.segments().any(|(a, b, c)| c.ram.is_some() && a < end && start < b)
    }

    pub fn any_nomap(&self, start: u64, size: u64) -> bool {
        let end = (start + size).min(LAST);
        self.segments().any(|(a, b, c)| c.ram.is_some_and(|f| f & NOMAP != 0) && a < end && start < b)
    }

    /// All of it in RAM of one kind.
    pub fn one_region(&self, start: u64, size: u64) -> bool {
        self.runs(|c| c.ram)
            .iter()
            .any(|run| run.0 <= start && start < run.1 && (start + size).min(LAST) <= run.1)
    }

    pub fn dram(&self) -> (u64, u64) {
        let runs = self.runs(|c| c.ram);
        (runs.first().map_or(0, |r| r.0), runs.last().map_or(0, |r| r.1))
    }

    /// The highest place for `size` bytes in `[start, end)`.
    pub fn find(&self, size: u64, align: u64, start: u64, end: u64) -> Option<u64> {
        let start = start.max(0x1000);
        let free = self.runs(|c| c.ram.filter(|f| f & NOMAP == 0 && !c.used));
        let place = |&(a, b, _): &(u64, u64, u32)| {
            let (low, high) = (a.clamp(start, end.max(start)), b.clamp(start, end.max(start)));
            let top = high.checked_sub(size)?;
            let base = top / align * align;
            (base >= low).then_some(base)
        };
        free.iter().rev().find_map(place)
    }
}
