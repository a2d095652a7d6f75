//! A write-back, write-allocate data cache between what the CPU sees and what bus masters see.
//!
//! One cache stands for the caches of all CPUs: memory is mapped shareable, so the hardware keeps those coherent
//! with each other (ARM DDI 0406C, A3.5.7), and maintenance by address reaches all of them.
//!
//! The code under test writes through plain pointers, which nobody can observe. So stores are found by
//! comparison whenever a line is looked at: a line that differs from what it held before has been written.
//!
//! ```text
//!            line not cached          line cached                 page mapped uncached
//! CPU sees   memory, or its stores    the line's data             memory
//! memory     the same; not the stores older data                  the CPU's stores, at once
//! ```

use crate::{Ram, Rng};
use std::collections::{HashMap, HashSet};
use types::{PAGE_SIZE, Pfn, PhysAddr};

/// How the cache uses its freedom to evict and to fill lines at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adversary {
    /// The worst moment for the code under test: dirty lines are written back right after a device wrote below
    /// them, clean data is cached speculatively right before.
    Worst,
    /// Any moment, by the seed.
    Random,
    /// Never by itself, as an emulator without caches' side effects.
    Kind,
}

#[derive(Clone)]
struct Line {
    /// What it held when it was last equal to memory, or last looked at.
    known: Vec<u8>,
    dirty: bool,
}

pub(crate) struct Cache {
    line: u32,
    /// What is behind the cache.
    memory: Ram,
    lines: HashMap<u32, Line>,
    uncached: HashSet<u32>,
    adversary: Adversary,
    rng: Rng,
}

impl Cache {
    pub fn new(banks: &[(u32, u32)], line: u32, adversary: Adversary, seed: u64) -> Self {
        assert!(line.is_power_of_two() && line <= PAGE_SIZE);
        let (lines, uncached) = (HashMap::new(), HashSet::new());
        Self { line, memory: Ram::new(banks), lines, uncached, adversary, rng: Rng::new(seed) }
    }

    /// Sets memory, for everybody; nothing of it may be cached.
    pub fn preset(&self, ram: &Ram, pa: PhysAddr, bytes: &[u8]) {
        ram.write(pa, bytes);
        self.memory.write(pa, bytes);
    }

    pub const fn line_size(&self) -> u32 {
        self.line
    }

    pub fn is_uncached(&self, pa: u32) -> bool {
        self.uncached.contains(&(pa / PAGE_SIZE))
    }

    fn get(&self, ram: &Ram, pa: u32) -> Vec<u8> {
        let mut data = vec![0; self.line as usize];
        ram.read(PhysAddr::new(pa), &mut data);
        data
    }

    /// Makes the CPU see memory again in a line that is cached no longer.
    fn reload(&self, ram: &Ram, pa: u32) {
        ram.write(PhysAddr::new(pa), &self.get(&self.memory, pa));
    }

    /// Finds out what the CPU stored into the line since it was last looked at.
    fn look(&mut self, ram: &Ram, pa: u32) {
        let now = self.get(ram, pa);
        if self.is_uncached(pa) {
            self.memory.write(PhysAddr::new(pa), &now);
        } else if let Some(line) = self.lines.get_mut(&pa) {
            line.dirty |= line.known != now;
            line.known = now;
        } else if self.get(&self.memory, pa) != now {
            self.lines.insert(pa, Line { known: now, dirty: true });
        }
    }

    fn fill(&mut self, ram: &Ram, pa: u32) {
        if !self.is_uncached(pa) {
            let known = self.get(ram, pa);
            self.lines.entry(pa).or_insert(Line { known, dirty: false });
        }
    }

    fn clean(&mut self, ram: &Ram, pa: u32) {
        self.look(ram, pa);
        if let Some(line) = self.lines.get_mut(&pa)
            && line.dirty
        {
            self.memory.write(PhysAddr::new(pa), &line.known);
            line.dirty = false;
            if self.is_uncached(pa) {
                self.reload(ram, pa);
            }
        }
    }

    fn discard(&mut self, ram: &Ram, pa: u32) {
        self.look(ram, pa);
        if self.lines.remove(&pa).is_some() {
            self.reload(ram, pa);
        }
    }

    fn evict(&mut self, ram: &Ram, pa: u32) {
        self.clean(ram, pa);
        self.discard(ram, pa);
    }

    fn lines_of(&self, pa: PhysAddr, len: usize) -> impl Iterator<Item = u32> + use<> {
        let (first, end) = (pa.get() & !(self.line - 1), u64::from(pa.get()) + len as u64);
        (u64::from(first)..if len == 0 { 0 } else { end }).step_by(self.line as usize).map(|pa| pa as u32)
    }

    pub fn clean_range(&mut self, ram: &Ram, pa: PhysAddr, len: usize) {
        self.lines_of(pa, len).for_each(|line| self.clean(ram, line));
    }

    pub fn flush_range(&mut self, ram: &Ram, pa: PhysAddr, len: usize) {
        self.lines_of(pa, len).for_each(|line| self.evict(ram, line));
    }

    pub fn invalidate_range(&mut self, ram: &Ram, pa: PhysAddr, len: usize) {
        let (start, end) = (u64::from(pa.get()), u64::from(pa.get()) + len as u64);
        for line in self.lines_of(pa, len) {
            let whole = u64::from(line) >= start && u64::from(line) + u64::from(self.line) <= end;
            if whole { self.discard(ram, line) } else { self.evict(ram, line) }
        }
    }

    /// A bus master reads memory.
    pub fn device_read(&mut self, ram: &Ram, pa: PhysAddr, bytes: &mut [u8]) {
        for line in self.lines_of(pa, bytes.len()) {
            self.look(ram, line);
            if self.adversary == Adversary::Random && self.rng.once_in(2) {
                self.evict(ram, line);
            }
        }
        self.memory.read(pa, bytes);
    }

    /// A bus master writes memory.
    pub fn device_write(&mut self, ram: &Ram, pa: PhysAddr, bytes: &[u8]) {
        let lines: Vec<_> = self.lines_of(pa, bytes.len()).collect();
        lines.iter().for_each(|&line| self.before_device_write(ram, line));
        self.memory.write(pa, bytes);
        lines.iter().for_each(|&line| self.after_device_write(ram, line));
    }

    fn before_device_write(&mut self, ram: &Ram, pa: u32) {
        self.look(ram, pa);
        match self.adversary {
            Adversary::Worst => self.fill(ram, pa),
            Adversary::Random => match self.rng.below(3) {
                0 => self.evict(ram, pa),
                1 => self.fill(ram, pa),
                _ => {}
            },
            Adversary::Kind => {}
        }
    }

    fn after_device_write(&mut self, ram: &Ram, pa: u32) {
        match self.lines.get(&pa) {
            _ if self.is_uncached(pa) => self.reload(ram, pa),
            None => self.reload(ram, pa),
            Some(line) => {
                let evict = match self.adversary {
                    Adversary::Worst => line.dirty,
                    Adversary::Random => self.rng.once_in(2),
                    Adversary::Kind => false,
                };
                if evict {
                    self.evict(ram, pa);
                }
            }
        }
        // Lines left behind by a cacheable mapping write over memory that is mapped uncached now.
        if self.is_uncached(pa) && self.adversary != Adversary::Kind {
            self.write_back_leftover(ram, pa);
        }
    }

    fn write_back_leftover(&mut self, ram: &Ram, pa: u32) {
        if let Some(line) = self.lines.get(&pa).filter(|line| line.dirty).cloned() {
            self.memory.write(PhysAddr::new(pa), &line.known);
            self.lines.remove(&pa);
            self.reload(ram, pa);
        }
    }

    /// The CPU loads from cacheable or uncacheable memory, as the page is mapped.
    pub fn cpu_read(&mut self, ram: &Ram, pa: PhysAddr, bytes: &mut [u8]) {
        for line in self.lines_of(pa, bytes.len()) {
            self.look(ram, line);
            self.fill(ram, line);
        }
        ram.read(pa, bytes);
    }

    /// The CPU stores. Unlike stores through pointers, a store of what was there already is noticed.
    pub fn cpu_write(&mut self, ram: &Ram, pa: PhysAddr, bytes: &[u8]) {
        for line in self.lines_of(pa, bytes.len()) {
            self.look(ram, line);
            self.fill(ram, line);
            if let Some(cached) = self.lines.get_mut(&line)
                && !self.uncached.contains(&(line / PAGE_SIZE))
            {
                cached.dirty = true;
            }
        }
        ram.write(pa, bytes);
        self.lines_of(pa, bytes.len()).for_each(|line| self.look(ram, line));
    }

    /// A page is mapped cacheable or not from now on. Lines that are cached stay so: that is the trap.
    pub fn set_uncached(&mut self, ram: &Ram, page: Pfn, uncached: bool) {
        if self.uncached.contains(&page.get()) == uncached {
            return;
        }
        let lines: Vec<_> = self.lines_of(page.addr(), PAGE_SIZE as usize).collect();
        lines.iter().for_each(|&line| self.look(ram, line));
        if uncached {
            if self.adversary == Adversary::Worst {
                lines.iter().for_each(|&line| self.fill(ram, line));
            }
            self.uncached.insert(page.get());
            lines.iter().for_each(|&line| self.reload(ram, line));
        } else {
            self.uncached.remove(&page.get());
            lines.iter().for_each(|&line| {
                if let Some(cached) = self.lines.get(&line) {
                    ram.write(PhysAddr::new(line), &cached.known);
                }
            });
        }
    }

    /// Lets the cache do `count` things that it could do at any time.
    pub fn tick(&mut self, ram: &Ram, count: u32) {
        for _ in 0..count {
            let Some(bank) = ram.banks().nth(self.rng.below(ram.banks().count() as u32) as usize) else {
                return;
            };
            let pa = (bank.base().get() + self.rng.below(bank.size())) & !(self.line - 1);
            self.look(ram, pa);
            if self.rng.once_in(2) { self.evict(ram, pa) } else { self.fill(ram, pa) }
        }
    }
}
