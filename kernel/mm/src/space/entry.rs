//! What the entries of a space's tables mean, invalid ones included.
//!
//! ```text
//! Pte::Page           zero page, or a page of the space; writable only when the page is dirty and the space's own
//! Pte::Soft, NONE     a page of the space in a region that allows nothing
//! Pte::Soft, MOVING   a page that is being moved: an access waits; the bits say what the entry was
//! ```

use super::vma::VmFlags;
use hal::{MemAttr, PageEntry, Prot, Pte, SoftPte};
use types::Pfn;

/// Bit 0: always, so that no kind is 0.
const SOFT: u16 = 1;
/// Being moved.
const MOVING: u16 = 2;
/// Was writable.
const WRITE: u16 = 4;
/// Was executable.
const EXEC: u16 = 8;
/// Was touched lately.
const YOUNG: u16 = 16;
/// The region allows nothing.
const NONE: u16 = 32;

/// An entry for a page of a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) pfn: Pfn,
    /// `None` when the region allows nothing.
    pub(crate) prot: Option<Prot>,
    pub(crate) young: bool,
    /// The page is being moved.
    pub(crate) moving: bool,
}

impl Entry {
    /// An entry for a page in a region with these flags; `write` lets stores through, if the region does.
    pub(crate) fn new(pfn: Pfn, flags: VmFlags, write: bool) -> Self {
        let write = if write && flags.contains(VmFlags::WRITE) { Prot::WRITE } else { Prot::empty() };
        Self { pfn, prot: flags.read_only().map(|prot| prot | write), young: true, moving: false }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.prot.is_some_and(|prot| prot.contains(Prot::WRITE))
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.prot.is_some_and(|prot| prot.contains(Prot::EXEC))
    }

    pub(crate) fn without_write(self) -> Self {
        Self { prot: self.prot.map(|prot| prot - Prot::WRITE), ..self }
    }

    #[inline]
    pub(crate) fn encode(self) -> Pte {
        match self.prot {
            Some(prot) if !self.moving => {
                Pte::Page(PageEntry { pfn: self.pfn, attr: MemAttr::Normal, prot, young: self.young })
            }
            prot => {
                let bit = |set: bool, bit: u16| if set { bit } else { 0 };
                let has = |flag: Prot| prot.is_some_and(|prot| prot.contains(flag));
                let kind = SOFT
                    | bit(self.moving, MOVING)
                    | bit(has(Prot::WRITE), WRITE)
                    | bit(has(Prot::EXEC), EXEC)
                    | bit(self.young, YOUNG)
                    | bit(prot.is_none(), NONE);
                SoftPte::new(self.pfn, kind).map_or(Pte::None, Pte::Soft)
            }
        }
    }

    /// What stands in place of an entry while its page is being moved.
    #[inline]
    pub(crate) fn waiting(entry: PageEntry) -> Option<SoftPte> {
        let write = if entry.prot.contains(Prot::WRITE) { WRITE } else { 0 };
        let exec = if entry.prot.contains(Prot::EXEC) { EXEC } else { 0 };
        let young = if entry.young { YOUNG } else { 0 };
        SoftPte::new(entry.pfn, SOFT | MOVING | write | exec | young)
    }

    #[inline]
    pub(crate) fn decode(pte: Pte) -> Option<Self> {
        match pte {
            Pte::None => None,
            Pte::Page(entry) => {
                Some(Self { pfn: entry.pfn, prot: Some(entry.prot), young: entry.young, moving: false })
            }
            Pte::Soft(soft) => {
                let has = |bit: u16| soft.kind() & bit != 0;
                let write = if has(WRITE) { Prot::WRITE } else { Prot::empty() };
                let exec = if has(EXEC) { Prot::EXEC } else { Prot::empty() };
                let prot = (!has(NONE)).then_some(Prot::USER | write | exec);
                Some(Self { pfn: soft.pfn(), prot, young: has(YOUNG), moving: has(MOVING) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_their_encoding() {
        for bits in 0..16u8 {
            for prot in
                [None, Some(Prot::USER), Some(Prot::USER | Prot::WRITE), Some(Prot::USER | Prot::EXEC)]
            {
                let moving = bits & 1 != 0;
                // The access flag has no place to be false in where nothing is allowed, and no use.
                let young = bits & 2 != 0;
                let entry = Entry { pfn: Pfn::new(0xf_ffff), prot, young, moving };
                let pte = entry.encode();
                assert_eq!(matches!(pte, Pte::Page(_)), prot.is_some() && !moving);
                assert_eq!(Entry::decode(pte), Some(entry));
                if let Pte::Page(page) = pte {
                    let waiting = Entry { moving: true, ..entry }.encode();
                    assert_eq!(Entry::waiting(page).map(Pte::Soft), Some(waiting));
                }
            }
        }
        assert_eq!(Entry::decode(Pte::None), None);
    }
}
