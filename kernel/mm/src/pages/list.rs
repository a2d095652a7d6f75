//! Doubly linked lists through the page records, by index.
//!
//! The outer links of the ends mean nothing and are never read: that is what `head`, `tail` and `len` are for, and
//! it saves a record access in each push and pop.

use crate::Page;

/// Index of a record in the memory map.
pub(crate) type Index = u32;

/// A list of block heads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct List {
    head: Index,
    tail: Index,
    len: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: 0, tail: 0, len: 0 };

    #[inline]
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<Index> {
        (self.len > 0).then_some(self.head)
    }

    #[inline]
    pub(crate) fn last(&self) -> Option<Index> {
        (self.len > 0).then_some(self.tail)
    }

    #[inline]
    pub(crate) fn push_front(&mut self, pages: &mut [Page], index: Index) {
        if self.len == 0 {
            self.tail = index;
        } else {
            pages[index as usize].set_next(self.head);
            pages[self.head as usize].set_prev(index);
        }
        self.head = index;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_back(&mut self, pages: &mut [Page], index: Index) {
        if self.len == 0 {
            self.head = index;
        } else {
            pages[index as usize].set_prev(self.tail);
            pages[self.tail as usize].set_next(index);
        }
        self.tail = index;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn pop_front(&mut self, pages: &[Page]) -> Option<Index> {
        let index = self.first()?;
        self.head = pages[index as usize].next();
        self.len -= 1;
        Some(index)
    }

    /// Takes out `index`, which is in this list.
    #[inline(always)]
    pub(crate) fn remove(&mut self, pages: &mut [Page], index: Index) {
        let page = &pages[index as usize];
        let (next, prev) = (page.next(), page.prev());
        self.len -= 1;
        if self.head == index {
            self.head = next;
        } else if self.tail == index {
            self.tail = prev;
        } else {
            pages[prev as usize].set_next(next);
            pages[next as usize].set_prev(prev);
        }
    }

    /// The indices from the head on.
    pub(crate) fn iter<'a>(&self, pages: &'a [Page]) -> impl Iterator<Item = Index> + 'a {
        let mut at = self.head;
        (0..self.len).map(move |_| {
            let here = at;
            at = pages[here as usize].next();
            here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PageState;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec, vec::Vec};

    #[derive(Clone, Debug)]
    enum Op {
        Front(u32),
        Back(u32),
        Pop,
        Remove(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..16u32).prop_map(Op::Front),
            (0..16u32).prop_map(Op::Back),
            Just(Op::Pop),
            (0..16u32).prop_map(Op::Remove)
        ]
    }

    proptest! {
        #![proptest_config(crate::pages::tests::world::proptest_config(256))]
        #[test]
        fn behaves_like_a_deque(ops in prop::collection::vec(op(), 0..200)) {
            let mut pages = vec![Page::new(PageState::Free); 16];
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            for op in ops {
                match op {
                    Op::Front(i) if !model.contains(&i) => {
                        list.push_front(&mut pages, i);
                        model.push_front(i);
                    }
                    Op::Back(i) if !model.contains(&i) => {
                        list.push_back(&mut pages, i);
                        model.push_back(i);
                    }
                    Op::Pop => assert_eq!(list.pop_front(&pages), model.pop_front()),
                    Op::Remove(i) if model.contains(&i) => {
                        list.remove(&mut pages, i);
                        model.retain(|x| *x != i);
                    }
                    _ => {}
                }
                assert_eq!(list.iter(&pages).collect::<Vec<_>>(), Vec::from(model.clone()));
                assert_eq!((list.first(), list.last()), (model.front().copied(), model.back().copied()));
            }
        }
    }
}
