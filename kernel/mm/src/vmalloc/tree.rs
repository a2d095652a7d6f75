//! The areas in address order, with the gaps between them: a treap, augmented with the largest gap of each subtree.
//!
//! The last node is a sentinel of size 0 at the end of the space, so that every gap lies before some node.

use super::{
    VmallocError,
    nodes::{Area, Id, Kind, Nodes},
};
use crate::PageSource;
use hal::LinearMap;
use types::{PAGE_SIZE, xorshift};

/// What a place must be like: `size` bytes and a guard page, the start `offset` bytes after a multiple of `align`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub size: u32,
    pub align: u32,
    pub offset: u32,
}

impl Place {
    /// Bytes that it takes.
    fn whole(&self) -> Option<u32> {
        self.size.checked_add(PAGE_SIZE)
    }

    /// The lowest start in `[low, high)`.
    fn lowest(&self, low: u32, high: u32) -> Option<u32> {
        let skip = self.offset.wrapping_sub(low) & (self.align - 1);
        let start = low.checked_add(skip)?;
        (start.checked_add(self.whole()?)? <= high).then_some(start)
    }
}

/// See the [module](self).
pub(super) struct Tree {
    nodes: Nodes,
    root: Id,
    start: u32,
    end: u32,
    random: u32,
}

impl Tree {
    /// One gap, `[start, end)`.
    pub fn new<S: PageSource>(
        linear: &impl LinearMap,
        pages: &mut S,
        start: u32,
        end: u32,
    ) -> Result<Self, VmallocError> {
        let mut nodes = Nodes::new();
        let sentinel = Area { gap: end - start, largest: end - start, ..Area::new(end, 0, Kind::Vmap, 0, 0) };
        let root = nodes.insert(pages, linear, sentinel)?;
        Ok(Self { nodes, root, start, end, random: 0x2545_f491 })
    }

    #[inline]
    pub fn area(&self, id: Id) -> &Area {
        self.nodes.get(id)
    }

    #[inline]
    pub fn area_mut(&mut self, id: Id) -> &mut Area {
        self.nodes.get_mut(id)
    }

    /// Pages that the records take.
    pub fn record_pages(&self) -> u32 {
        self.nodes.pages()
    }

    /// Puts a new area at the lowest place that will do.
    pub fn place<S: PageSource>(
        &mut self,
        (pages, linear): (&mut S, &impl LinearMap),
        place: Place,
        kind: Kind,
        caller: u32,
    ) -> Result<Id, VmallocError> {
        let (next, start) = self.find(place).ok_or(VmallocError::NoSpace { size: place.size })?;
        let priority = self.priority();
        let id = self.nodes.insert(pages, linear, Area::new(start, place.size, kind, caller, priority))?;
        let low = self.area(next).start - self.area(next).gap;
        let gap = start - low;
        let area = self.area_mut(id);
        (area.gap, area.largest) = (gap, gap);
        let end = area.end();
        let next_start = self.area(next).start;
        self.area_mut(next).gap = next_start - end;
        self.refresh(self.root, next_start);
        self.root = self.insert(self.root, id, start);
        Ok(id)
    }

    /// Takes an area out; its place becomes part of the gap before the next one.
    pub fn remove(&mut self, id: Id) {
        let area = self.area(id);
        let (start, room) = (area.start, area.gap + (area.end() - area.start));
        self.root = self.unlink(self.root, start);
        let next = self.first_from(start);
        self.area_mut(next).gap += room;
        let next_start = self.area(next).start;
        self.refresh(self.root, next_start);
        self.nodes.remove(id);
    }

    /// The area that starts at `start`.
    pub fn at(&self, start: u32) -> Option<Id> {
        let id = self.first_from(start);
        let area = self.area(id);
        (area.start == start && start != self.end).then_some(id)
    }

    /// The first node that starts at or after `addr`; at least the sentinel does.
    pub fn first_from(&self, addr: u32) -> Id {
        let (mut at, mut best) = (self.root, self.root);
        while at != Id::NIL {
            let area = self.area(at);
            if area.start >= addr {
                best = at;
                at = area.left;
            } else {
                at = area.right;
            }
        }
        best
    }

    /// The areas in address order.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Area)> {
        let mut from = self.start;
        core::iter::from_fn(move || {
            let id = self.first_from(from);
            let area = self.area(id);
            from = area.start.saturating_add(1);
            (area.start < self.end).then_some((id, area))
        })
    }

    /// The node before whose gap the place is found, and its start. First the lowest gap that is large enough wherever
    /// it starts, in O(log n); only when there is none, each gap that is large enough if it starts well.
    fn find(&self, place: Place) -> Option<(Id, u32)> {
        let slack = place.align.saturating_sub(PAGE_SIZE);
        let surely = place.whole()?.checked_add(slack);
        surely
            .and_then(|need| self.lowest_gap(need, place))
            .or_else(|| if slack == 0 { None } else { self.tight_gap(self.root, place) })
    }

    fn largest(&self, id: Id) -> u32 {
        if id == Id::NIL { 0 } else { self.area(id).largest }
    }

    fn fit(&self, id: Id, place: Place) -> Option<(Id, u32)> {
        let area = self.area(id);
        place.lowest(area.start - area.gap, area.start).map(|start| (id, start))
    }

    fn lowest_gap(&self, need: u32, place: Place) -> Option<(Id, u32)> {
        let mut at = self.root;
        while self.largest(at) >= need {
            let area = self.area(at);
            if self.largest(area.left) >= need {
                at = area.left;
            } else if area.gap >= need {
                return self.fit(at, place);
            } else {
                at = area.right;
            }
        }
        None
    }

    fn tight_gap(&self, at: Id, place: Place) -> Option<(Id, u32)> {
        if self.largest(at) < place.whole()? {
            return None;
        }
        let area = self.area(at);
        self.tight_gap(area.left, place)
            .or_else(|| self.fit(at, place))
            .or_else(|| self.tight_gap(area.right, place))
    }

    /// Recomputes `largest` of a node from its children.
    fn pull(&mut self, id: Id) {
        let area = self.area(id);
        let largest = area.gap.max(self.largest(area.left)).max(self.largest(area.right));
        self.area_mut(id).largest = largest;
    }

    /// Recomputes `largest` from the node at `start` up to `at`.
    fn refresh(&mut self, at: Id, start: u32) {
        let area = self.area(at);
        let (left, right, here) = (area.left, area.right, area.start);
        if start < here {
            self.refresh(left, start);
        } else if start > here {
            self.refresh(right, start);
        }
        self.pull(at);
    }

    /// Adds `id` below `at`; returns the new top.
    fn insert(&mut self, at: Id, id: Id, start: u32) -> Id {
        if at == Id::NIL {
            return id;
        }
        if self.area(id).priority > self.area(at).priority {
            let (left, right) = self.split(at, start);
            let area = self.area_mut(id);
            (area.left, area.right) = (left, right);
            self.pull(id);
            return id;
        }
        let area = self.area(at);
        if start < area.start {
            let left = self.insert(area.left, id, start);
            self.area_mut(at).left = left;
        } else {
            let right = self.insert(area.right, id, start);
            self.area_mut(at).right = right;
        }
        self.pull(at);
        at
    }

    /// Parts the subtree `at` into what starts below `start` and the rest.
    fn split(&mut self, at: Id, start: u32) -> (Id, Id) {
        if at == Id::NIL {
            return (Id::NIL, Id::NIL);
        }
        let area = self.area(at);
        let parts = if area.start < start {
            let (left, right) = self.split(area.right, start);
            self.area_mut(at).right = left;
            (at, right)
        } else {
            let (left, right) = self.split(area.left, start);
            self.area_mut(at).left = right;
            (left, at)
        };
        self.pull(at);
        parts
    }

    /// Takes the node at `start` out of the subtree `at`; returns the new top.
    fn unlink(&mut self, at: Id, start: u32) -> Id {
        let area = self.area(at);
        let (left, right, here) = (area.left, area.right, area.start);
        if start == here {
            return self.merge(left, right);
        }
        if start < here {
            let left = self.unlink(left, start);
            self.area_mut(at).left = left;
        } else {
            let right = self.unlink(right, start);
            self.area_mut(at).right = right;
        }
        self.pull(at);
        at
    }

    /// Joins two subtrees, all of `left` below all of `right`.
    fn merge(&mut self, left: Id, right: Id) -> Id {
        if left == Id::NIL || right == Id::NIL {
            return if left == Id::NIL { right } else { left };
        }
        if self.area(left).priority > self.area(right).priority {
            let joined = self.merge(self.area(left).right, right);
            self.area_mut(left).right = joined;
            self.pull(left);
            return left;
        }
        let joined = self.merge(left, self.area(right).left);
        self.area_mut(right).left = joined;
        self.pull(right);
        right
    }

    /// xorshift (Marsaglia 2003): what balances the tree need not be secret.
    fn priority(&mut self) -> u32 {
        self.random = xorshift(self.random);
        self.random
    }

    /// Counts the nodes below `at`, and checks the order, the priorities, the gaps and their maxima on the way. `low` and
    /// `high` bound the subtree. `None` when something is wrong.
    pub fn check(&self) -> Option<u32> {
        let mut end = self.start;
        let count = self.check_below(self.root, &mut end, u32::MAX)?;
        (end == self.end + PAGE_SIZE).then_some(count - 1)
    }

    fn check_below(&self, at: Id, end: &mut u32, priority: u32) -> Option<u32> {
        if at == Id::NIL {
            return Some(0);
        }
        let area = self.area(at);
        let left = self.check_below(area.left, end, area.priority)?;
        let gap_is_right = area.start.checked_sub(*end)? == area.gap;
        *end = area.start.wrapping_add(area.size).wrapping_add(PAGE_SIZE);
        let right = self.check_below(area.right, end, area.priority)?;
        let largest = area.gap.max(self.largest(area.left)).max(self.largest(area.right));
        (gap_is_right && area.priority <= priority && area.largest == largest).then_some(left + 1 + right)
    }
}
