//! A TLB that forgets nothing until it is told to, fills itself as early as it may, and notices when a valid
//! translation is replaced by another valid one without an invalidation in between.
//!
//! The walker reads tables as they were last published: stores wait in write buffers for as long as they can.
//! First-level entries that point to tables are remembered too, until an invalidation for their MiB. Sections and
//! large pages are held in pieces of 4 KiB, as a TLB without larger entries does, and an invalidation by address
//! drops one piece.

use crate::Ram;
use crate::machine::Violation;
use crate::mmu::{Fault, FaultKind, Translation, walk};
use std::collections::{BTreeMap, HashMap};
use types::{PAGE_SIZE, Pfn, PhysAddr, SECTION_SIZE, VirtAddr};

/// Where TTBR1's half begins, with TTBCR.N = 2.
const TTBR1_START: u32 = 1 << 30;
/// Tag of entries that match all address spaces.
const GLOBAL: u16 = 256;
const NO_TABLE: Fault = Fault { kind: FaultKind::Translation, level: 1 };

#[derive(Clone, Copy)]
struct Context {
    root: u32,
    entries: u32,
    tag: u16,
}

#[derive(Default)]
pub(crate) struct Tlb {
    published: HashMap<u32, Vec<u8>>,
    user: Option<Context>,
    kernel: Option<Context>,
    /// By tag and page address.
    entries: BTreeMap<(u16, u32), Translation>,
    /// First-level descriptors of tables, by tag and MiB.
    walks: BTreeMap<(u16, u32), u32>,
    /// Which MiB of which context a second-level table was linked for.
    links: HashMap<u32, (u16, u32)>,
    pub violations: Vec<Violation>,
    /// Translations that came in since the machine last asked.
    pub fresh: Vec<Translation>,
}

impl Tlb {
    /// Nothing that is stored from now on reaches the walker before it is published.
    pub fn watch(&mut self, ram: &Ram) {
        for pfn in ram.banks().flat_map(types::PhysRange::pfns_inside) {
            self.published.entry(pfn).or_insert_with(|| Self::snapshot(ram, pfn));
        }
    }

    pub fn set_user(&mut self, root: PhysAddr, asid: u8) {
        self.user = Some(Context { root: root.get(), entries: TTBR1_START / SECTION_SIZE, tag: asid.into() });
    }

    pub fn set_kernel(&mut self, root: PhysAddr) {
        self.kernel = Some(Context { root: root.get(), entries: 4096, tag: GLOBAL });
    }

    fn context(&self, virt: u32) -> Option<Context> {
        if virt < TTBR1_START { self.user } else { self.kernel }
    }

    /// A word as the walker sees it.
    fn word(published: &HashMap<u32, Vec<u8>>, pa: u32) -> u32 {
        let page =
            published.get(&(pa / PAGE_SIZE)).unwrap_or_else(|| panic!("a table outside of memory: {pa:#x}"));
        let at = (pa % PAGE_SIZE) as usize;
        u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
    }

    fn snapshot(ram: &Ram, pfn: u32) -> Vec<u8> {
        let mut bytes = vec![0; PAGE_SIZE as usize];
        ram.read(Pfn::new(pfn).addr(), &mut bytes);
        bytes
    }

    /// Walks the tables for `virt`, as far as the walker remembers nothing better.
    pub fn walk(&mut self, virt: VirtAddr) -> Result<Translation, Fault> {
        let mib = virt.get() / SECTION_SIZE;
        let context = self.context(virt.get()).filter(|context| mib < context.entries).ok_or(NO_TABLE)?;
        let fresh = Self::word(&self.published, context.root + mib * 4);
        let l1 = self.walks.get(&(context.tag, mib)).copied().unwrap_or(fresh);
        if fresh & 3 == 1 && fresh != l1 {
            self.violations.push(Violation::TableReplaced { virt, old: l1, new: fresh });
        }
        if l1 & 3 == 1 {
            self.walks.insert((context.tag, mib), l1);
        }
        walk(l1, virt, |pa| Self::word(&self.published, pa.get()))
    }

    fn find(&self, virt: VirtAddr) -> Option<Translation> {
        let page = virt.align_down(PAGE_SIZE).get();
        let tags = [GLOBAL, self.user.map_or(GLOBAL, |user| user.tag)];
        tags.into_iter().find_map(|tag| self.entries.get(&(tag, page)).copied())
    }

    /// What an access to `virt` uses: a remembered translation, however old, else a walk's result.
    pub fn translate(&mut self, virt: VirtAddr) -> Result<Translation, Fault> {
        if let Some(entry) = self.find(virt) {
            return Ok(entry);
        }
        let entry = self.walk(virt)?;
        self.insert(entry);
        Ok(entry)
    }

    /// Takes in a translation for every page of it that the TLB doesn't hold; those that it holds must agree.
    fn insert(&mut self, new: Translation) {
        let tag = if new.global { GLOBAL } else { self.user.map_or(GLOBAL, |user| user.tag) };
        let mut fresh = false;
        for page in (0..new.size).step_by(PAGE_SIZE as usize).map(|at| new.virt.get() + at) {
            let held = [tag, GLOBAL].into_iter().find_map(|tag| self.entries.get(&(tag, page)).copied());
            match held {
                Some(old) if old != new => self.violations.push(Violation::BreakBeforeMake { old, new }),
                Some(_) => {}
                None => {
                    self.entries.insert((tag, page), new);
                    fresh = true;
                }
            }
        }
        if fresh {
            self.fresh.push(new);
        }
    }

    /// Walks speculatively.
    fn prefetch(&mut self, virt: VirtAddr) {
        if let Ok(entry) = self.walk(virt) {
            self.insert(entry);
        }
    }

    /// The words of `[pa, pa + len)` reach the walker, who at once looks at what changed.
    pub fn publish(&mut self, ram: &Ram, pa: PhysAddr, len: usize) {
        let first = pa.get() & !3;
        for at in (first..pa.get() + len as u32).step_by(4) {
            let old = Self::word(&self.published, at);
            let new = ram.read_u32(PhysAddr::new(at));
            if let Some(page) = self.published.get_mut(&(at / PAGE_SIZE)) {
                let at = (at % PAGE_SIZE) as usize;
                page[at..at + 4].copy_from_slice(&new.to_le_bytes());
            }
            if old != new {
                self.look_at(at, new);
            }
        }
    }

    fn look_at(&mut self, pa: u32, new: u32) {
        let in_root = |context: &Context| pa >= context.root && pa < context.root + context.entries * 4;
        if let Some(context) = [self.user, self.kernel].into_iter().flatten().find(in_root) {
            let mib = (pa - context.root) / 4;
            if self.context(mib * SECTION_SIZE).is_none_or(|used| used.root != context.root) {
                return;
            }
            let pages = if new & 3 == 1 { 256 } else { 1 };
            if new & 3 == 1 {
                self.links.insert(new & !0x3ff, (context.tag, mib));
            }
            (0..pages).for_each(|page| self.prefetch(VirtAddr::new(mib * SECTION_SIZE + page * PAGE_SIZE)));
        } else if let Some(&(tag, mib)) = self.links.get(&(pa & !0x3ff)) {
            let virt = VirtAddr::new(mib * SECTION_SIZE + (pa & 0x3ff) / 4 * PAGE_SIZE);
            if self.context(virt.get()).is_some_and(|context| context.tag == tag) {
                self.prefetch(virt);
            }
        }
    }

    pub fn flush_page(&mut self, virt: VirtAddr, asid: u8) {
        let mine = |tag: u16| tag == GLOBAL || tag == u16::from(asid);
        let (page, mib) = (virt.align_down(PAGE_SIZE).get(), virt.get() / SECTION_SIZE);
        self.forget(|tag, at| mine(tag) && at == page, |tag, at| mine(tag) && at == mib);
    }

    pub fn flush_asid(&mut self, asid: u8) {
        let mine = |tag: u16| tag == u16::from(asid);
        self.forget(|tag, _| mine(tag), |tag, _| mine(tag));
    }

    pub fn flush_all(&mut self) {
        self.forget(|_, _| true, |_, _| true);
    }

    /// Drops translations (by tag and page) and remembered descriptors (by tag and MiB), and walks for the same
    /// addresses again at once: what the tables still give to the walker comes straight back.
    fn forget(&mut self, entries: impl Fn(u16, u32) -> bool, walks: impl Fn(u16, u32) -> bool) {
        let pages: Vec<_> = self.entries.keys().copied().filter(|&(tag, page)| entries(tag, page)).collect();
        let mibs: Vec<_> = self.walks.keys().copied().filter(|&(tag, mib)| walks(tag, mib)).collect();
        for key in &pages {
            self.entries.remove(key);
        }
        for key in &mibs {
            self.walks.remove(key);
        }
        let mibs = mibs.into_iter().map(|(_, mib)| mib * SECTION_SIZE);
        for virt in pages.into_iter().map(|(_, page)| page).chain(mibs) {
            self.prefetch(VirtAddr::new(virt));
        }
    }

    /// Remembered translations, of the current address space and global ones, that the tables no longer give.
    pub fn stale(&mut self) -> Vec<Translation> {
        let tag = self.user.map(|user| user.tag);
        let mine = |of: u16| of == GLOBAL || Some(of) == tag;
        let held: Vec<_> =
            self.entries.iter().filter(|((of, _), _)| mine(*of)).map(|(k, e)| (k.1, *e)).collect();
        let now = |(page, old): &(u32, Translation)| self.walk(VirtAddr::new(*page)) != Ok(*old);
        held.into_iter().filter(now).map(|(_, old)| old).collect()
    }
}
