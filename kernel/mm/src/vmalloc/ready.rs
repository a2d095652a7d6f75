//! Places of small areas that were released, kept in the tree for the next area of the same size.
//!
//! Most areas are a few pages large and short-lived. Taking such a place from here and putting it back costs a list operation
//! instead of two ways through the tree each. When the space gets short, all of them become gaps again.

use super::{
    build::NO_BLOCK,
    nodes::Id,
    tree::{Place, Tree},
};
use types::PAGE_SIZE;

/// Pages of the largest areas whose places are kept.
const SIZES: usize = 16;
/// How many are kept.
const LIMIT: u32 = 64;

/// See the [module](self).
pub(super) struct Ready {
    first: [Id; SIZES],
    count: u32,
}

/// The list for areas of `size` bytes.
fn list(size: u32) -> Option<usize> {
    let pages = (size / PAGE_SIZE) as usize;
    (1..=SIZES).contains(&pages).then(|| pages - 1)
}

impl Ready {
    pub const fn new() -> Self {
        Self { first: [Id::NIL; SIZES], count: 0 }
    }

    /// A kept place that will do.
    #[inline]
    pub fn take(&mut self, tree: &Tree, place: Place) -> Option<Id> {
        let id = self.first[list(place.size)?];
        if id == Id::NIL || (tree.area(id).start ^ place.offset) & (place.align - 1) != 0 {
            return None;
        }
        self.first[list(place.size)?] = tree.area(id).next;
        self.count -= 1;
        Some(id)
    }

    /// Keeps the place of an area that nothing is mapped in and no TLB knows; otherwise `false`.
    #[inline]
    pub fn keep(&mut self, tree: &mut Tree, id: Id) -> bool {
        let area = tree.area_mut(id);
        let Some(list) = list(area.size).filter(|_| self.count < LIMIT) else { return false };
        (area.mapped, area.stale, area.pages, area.block, area.phys) = (0, false, 0, NO_BLOCK, 0);
        area.next = self.first[list];
        self.first[list] = id;
        self.count += 1;
        true
    }

    /// Makes all of them gaps again.
    pub fn clear(&mut self, tree: &mut Tree) {
        for first in &mut self.first {
            while *first != Id::NIL {
                let id = *first;
                *first = tree.area(id).next;
                tree.remove(id);
            }
        }
        self.count = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
