//! Recounts everything from the tree, the page records and the translation table.

use super::{
    Vmalloc,
    build::NO_BLOCK,
    nodes::{Area, Kind},
};
use crate::{PageSource, PageState};
use core::fmt;
use hal::{LinearMap, PageTable};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// Two things that should agree and don't.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmallocInconsistency {
    /// The tree of areas is out of order, or a gap in it is wrong.
    Tree,
    /// A counter is not what the areas add up to.
    Totals,
    /// The pages behind an area are not recorded as its own, or not as many as it says.
    Pages {
        /// The area.
        start: VirtAddr,
    },
    /// A page of the area is not mapped, or one beyond is.
    Mapping {
        /// The page.
        virt: VirtAddr,
    },
}

impl fmt::Display for VmallocInconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree => write!(f, "vmalloc: the tree of areas is damaged"),
            Self::Totals => write!(f, "vmalloc: the areas don't add up to the counters"),
            Self::Pages { start } => write!(f, "vmalloc: the pages of {start} are not its own"),
            Self::Mapping { virt } => {
                write!(f, "vmalloc: {virt} is mapped and should not be, or the reverse")
            }
        }
    }
}

impl<L: LinearMap> Vmalloc<L> {
    /// See the [module](self). Takes time in proportion to the pages mapped.
    ///
    /// # Errors
    /// The first [`VmallocInconsistency`] found.
    pub fn validate<S: PageSource, P: PageTable>(
        &self,
        pages: &S,
        table: &P,
    ) -> Result<(), VmallocInconsistency> {
        let count = self.tree.check().ok_or(VmallocInconsistency::Tree)?;
        let (mut areas, mut stale, mut live_pages, mut stale_pages) = (0, 0, 0, 0);
        for (_, area) in self.tree.iter() {
            Self::validate_pages(area, pages)?;
            Self::validate_mapping(area, table)?;
            areas += 1;
            stale += u32::from(area.stale);
            let own = if area.kind == Kind::Vmalloc { area.pages } else { 0 };
            *(if area.stale { &mut stale_pages } else { &mut live_pages }) += own;
        }
        let right = areas == count
            && stale == self.stale.areas()
            && live_pages == self.pages
            && stale_pages == self.stale.pages();
        if right { Ok(()) } else { Err(VmallocInconsistency::Totals) }
    }

    fn validate_pages<S: PageSource>(area: &Area, pages: &S) -> Result<(), VmallocInconsistency> {
        let error = VmallocInconsistency::Pages { start: VirtAddr::new(area.start) };
        let (mut block, mut count) = (area.block, 0);
        while block != NO_BLOCK {
            let page = pages.page(Pfn::new(block)).ok_or(error)?;
            if page.state() != PageState::Vmalloc || page.word(0) != area.start || count > area.pages {
                return Err(error);
            }
            count += 1 << page.order();
            block = page.word(1);
        }
        if area.kind == Kind::Vmalloc && count != area.pages { Err(error) } else { Ok(()) }
    }

    fn validate_mapping<P: PageTable>(area: &Area, table: &P) -> Result<(), VmallocInconsistency> {
        let mapped = if area.stale { 0 } else { area.mapped };
        for offset in (0..=area.size).step_by(PAGE_SIZE as usize) {
            let virt = VirtAddr::new(area.start.wrapping_add(offset));
            if table.translate(virt).is_some() != (offset < mapped) {
                return Err(VmallocInconsistency::Mapping { virt });
            }
        }
        Ok(())
    }
}
