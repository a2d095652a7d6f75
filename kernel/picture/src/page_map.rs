//! The memory map as text: the file `/sys/kernel/debug/page_map`, written by the kernel and read by the host.
//!
//! ```text
//! page_map 1 #5120
//! span 80000-87f00
//! region 86400-86c00 cma cma-reserved
//! 80000-80004 B
//! 86400-86410 A #5102-5102 @c0012345 dma
//! 86410-86c00 c
//! ```
//!
//! | line | meaning |
//! | --- | --- |
//! | `page_map VERSION #N` | the first; `#N`: so many allocations have been noted (`page_owner=on`), 0 without |
//! | `span FIRST-END` | pages that the picture shows, END not among them; all page numbers are hexadecimal |
//! | `region FIRST-END WORD NAME` | a stretch with a name; [`Owner::word`] says whose |
//! | `FIRST-END LETTER [#FROM-TO] [@CALLER] [OWNER]` | pages of one [`Kind`] ([`Kind::letter`]) and one owner; the numbers of the requests that took them, oldest and youngest; the caller's address; the owner's name |
//!
//! The lines of pages come in order and leave nothing out. They are not one moment's: the kernel reads its map in pieces.

use crate::{Kind, Owner, PageKinds, Region, Regions};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Range;

/// Who has pages, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The kind says all.
    Kind,
    /// Somebody with a name.
    Name(&'static str),
    /// The address space with this number.
    Space(u16),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => Ok(()),
            Self::Name(name) => write!(f, " {name}"),
            Self::Space(slot) => write!(f, " space {slot}"),
        }
    }
}

/// Pages of one kind and one owner. Displays as a line without its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Which.
    pub pfns: Range<u32>,
    /// What they are.
    pub kind: Kind,
    /// Whose.
    pub holder: Holder,
    /// Address of the caller that took them; 0: not known.
    pub caller: u32,
    /// The numbers of the requests, oldest and youngest; `None`: not known.
    pub serials: Option<(u32, u32)>,
}

impl Run {
    /// Takes `next` in, if it follows and says the same.
    pub fn join(&mut self, next: &Self) -> bool {
        let same = (self.kind, self.holder, self.caller) == (next.kind, next.holder, next.caller);
        let joins =
            same && self.pfns.end == next.pfns.start && self.serials.is_some() == next.serials.is_some();
        if joins {
            self.pfns.end = next.pfns.end;
            self.serials = self.serials.zip(next.serials).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)));
        }
        joins
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x} {}", self.pfns.start, self.pfns.end, self.kind.letter())?;
        if let Some((oldest, youngest)) = self.serials {
            write!(f, " #{oldest}-{youngest}")?;
        }
        if self.caller != 0 {
            write!(f, " @{:08x}", self.caller)?;
        }
        self.holder.fmt(f)
    }
}

/// Writes the lines before those of the pages.
///
/// # Errors
/// Those of `out`.
pub fn write_head(
    out: &mut dyn Write,
    noted: u32,
    spans: impl Iterator<Item = Range<u32>>,
    regions: &Regions,
) -> fmt::Result {
    writeln!(out, "page_map 1 #{noted}")?;
    for span in spans {
        writeln!(out, "span {:x}-{:x}", span.start, span.end)?;
    }
    for Region { pfns, owner, name } in regions.all() {
        writeln!(out, "region {:x}-{:x} {} {name}", pfns.start, pfns.end, owner.word())?;
    }
    Ok(())
}

/// A run as read: its owner's name is text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pages {
    /// Which.
    pub pfns: Range<u32>,
    /// What they are.
    pub kind: Kind,
    /// The owner's name; empty when the kind says all.
    pub owner: String,
    /// Address of the caller that took them; 0: not known.
    pub caller: u32,
    /// The numbers of the requests, oldest and youngest.
    pub serials: Option<(u32, u32)>,
}

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PageMap {
    /// Allocations that have been noted.
    pub noted: u32,
    /// What the picture shows.
    pub spans: Vec<Range<u32>>,
    /// What has a name.
    pub regions: Regions,
    /// The pages, by address, apart from each other.
    pub pages: Vec<Pages>,
}

/// A line that is none of the file's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine(
    /// Its number, from 1 on.
    pub usize,
);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page_map: line {} makes no sense", self.0)
    }
}

impl core::error::Error for BadLine {}

impl PageMap {
    /// Reads the file.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut map = Self::default();
        if text.is_empty() {
            return Err(BadLine(1));
        }
        for (number, line) in text.lines().enumerate() {
            let parsed = if number == 0 { map.first(line) } else { map.line(line) };
            parsed.ok_or(BadLine(number + 1))?;
        }
        Ok(map)
    }

    fn first(&mut self, line: &str) -> Option<()> {
        self.noted = line.strip_prefix("page_map 1 #")?.parse().ok()?;
        Some(())
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "span" => self.spans.push(range(rest)?),
            "region" => {
                let mut words = rest.splitn(3, ' ');
                let (pfns, word) = (range(words.next()?)?, words.next()?);
                let owner = Owner::ALL.into_iter().find(|owner| owner.word() == word)?;
                return self.regions.add(Region { pfns, owner, name: words.next()?.into() }).then_some(());
            }
            pfns => self.pages.push(pages(range(pfns)?, rest)?),
        }
        let [.., before, last] = &self.pages[..] else { return Some(()) };
        (before.pfns.end <= last.pfns.start).then_some(())
    }

    /// What lies at `pfn`.
    #[must_use]
    pub fn at(&self, pfn: u32) -> Option<&Pages> {
        let at = self.pages.partition_point(|pages| pages.pfns.end <= pfn);
        self.pages.get(at).filter(|pages| pages.pfns.contains(&pfn))
    }
}

/// `FIRST-END`, hexadecimal.
fn range(text: &str) -> Option<Range<u32>> {
    let (first, end) = text.split_once('-')?;
    let number = |text| u32::from_str_radix(text, 16).ok().filter(|pfn| *pfn <= 1 << 20);
    let range = number(first)?..number(end)?;
    (!range.is_empty()).then_some(range)
}

fn pages(pfns: Range<u32>, text: &str) -> Option<Pages> {
    let (letter, rest) = text.split_at_checked(1)?;
    let kind = Kind::from_letter(letter.chars().next()?)?;
    let mut pages = Pages { pfns, kind, owner: String::new(), caller: 0, serials: None };
    for word in rest.split(' ').skip(1) {
        match word.split_at_checked(1)? {
            ("#", serials) if pages.owner.is_empty() => {
                let (oldest, youngest) = serials.split_once('-')?;
                pages.serials = Some((oldest.parse().ok()?, youngest.parse().ok()?));
            }
            ("@", caller) if pages.owner.is_empty() => {
                pages.caller = u32::from_str_radix(caller, 16).ok()?;
            }
            _ => {
                let gap = if pages.owner.is_empty() { "" } else { " " };
                pages.owner.extend([gap, word]);
            }
        }
    }
    rest.starts_with(' ').then_some(()).or(rest.is_empty().then_some(()))?;
    Some(pages)
}

impl PageKinds for PageMap {
    fn read(&mut self, pfns: Range<u32>, each: &mut dyn FnMut(u32, u32, Kind)) {
        let mut at = pfns.start;
        let first = self.pages.partition_point(|pages| pages.pfns.end <= at);
        for pages in self.pages[first..].iter().take_while(|pages| pages.pfns.start < pfns.end) {
            if pages.pfns.start > at {
                each(at, pages.pfns.start - at, Kind::Hole);
                at = pages.pfns.start;
            }
            let end = pages.pfns.end.min(pfns.end);
            each(at, end - at, pages.kind);
            at = end;
        }
        if at < pfns.end {
            each(at, pfns.end - at, Kind::Hole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use std::vec;

    fn run(pfns: Range<u32>, kind: Kind, holder: Holder, serial: Option<u32>) -> Run {
        Run { pfns, kind, holder, caller: 0, serials: serial.map(|serial| (serial, serial)) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut regions = Regions::new();
        assert!(regions.add(Region { pfns: 0x10..0x20, owner: Owner::Cma, name: "cma reserved".into() }));
        let mut text = String::new();
        write_head(&mut text, 77, std::iter::once(0..0x40), &regions).unwrap();
        let runs = [
            run(0..0x10, Kind::Boot, Holder::Kind, None),
            run(0x10..0x18, Kind::CmaTaken, Holder::Name("dma"), Some(12)),
            Run { caller: 0xc001_2344, ..run(0x18..0x20, Kind::CmaMovable, Holder::Space(3), Some(9)) },
            run(0x20..0x21, Kind::Slab, Holder::Name("kmalloc 64 #x"), None),
        ];
        runs.iter().for_each(|run| writeln!(text, "{run}").unwrap());
        assert!(text.contains("\n18-20 C #9-9 @c0012344 space 3\n"), "{text}");
        let map = PageMap::parse(&text).unwrap();
        assert_eq!(
            (map.noted, map.spans.len(), map.spans[0].clone(), &map.regions),
            (77, 1, 0..0x40, &regions)
        );
        assert_eq!(map.pages.len(), runs.len());
        for (pages, run) in map.pages.iter().zip(&runs) {
            let owner = format!("{}", run.holder);
            let expected = (&run.pfns, run.kind, owner.trim_start(), run.caller, run.serials);
            assert_eq!(
                (&pages.pfns, pages.kind, pages.owner.as_str(), pages.caller, pages.serials),
                expected
            );
        }
        assert_eq!(map.at(0x1f).map(|pages| pages.kind), Some(Kind::CmaMovable));
        assert!(map.at(0x21).is_none());
    }

    #[test]
    fn runs_join_when_they_follow_and_say_the_same() {
        let mut first = run(0..1, Kind::Movable, Holder::Space(1), Some(7));
        assert!(first.join(&run(1..4, Kind::Movable, Holder::Space(1), Some(5))));
        assert_eq!((first.pfns.clone(), first.serials), (0..4, Some((5, 7))));
        for other in [
            run(5..6, Kind::Movable, Holder::Space(1), Some(5)),
            run(4..5, Kind::CmaMovable, Holder::Space(1), Some(5)),
            run(4..5, Kind::Movable, Holder::Space(2), Some(5)),
            run(4..5, Kind::Movable, Holder::Space(1), None),
        ] {
            assert!(!first.clone().join(&other), "{other}");
        }
    }

    #[test]
    fn gaps_are_holes_and_ranges_are_cut() {
        let mut map = PageMap::parse("page_map 1 #0\n4-8 S\na-c T\n").unwrap();
        let mut seen = vec![];
        map.read(2..0xb, &mut |pfn, pages, kind| seen.push((pfn, pages, kind)));
        let expected =
            [(2, 2, Kind::Hole), (4, 4, Kind::Slab), (8, 2, Kind::Hole), (0xa, 1, Kind::PageTable)];
        assert_eq!(seen, expected);
        seen.clear();
        map.read(0xb..0xe, &mut |pfn, pages, kind| seen.push((pfn, pages, kind)));
        assert_eq!(seen, [(0xb, 1, Kind::PageTable), (0xc, 2, Kind::Hole)]);
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, line) in [
            ("", 1),
            ("page_map 2 #0\n", 1),
            ("page_map 1 #0\nspan 5\n", 2),
            ("page_map 1 #0\n5-5 S\n", 2),
            ("page_map 1 #0\n4-5 ?\n", 2),
            ("page_map 1 #0\n4-5 Sx\n", 2),
            ("page_map 1 #0\n4-5 S #3\n", 2),
            ("page_map 1 #0\n4-6 S\n5-7 S\n", 3),
            ("page_map 1 #0\nregion 1-2 x y\n", 2),
            ("page_map 1 #0\n4-200000 S\n", 2),
        ] {
            assert_eq!(PageMap::parse(text), Err(BadLine(line)), "{text:?}");
        }
    }
}
