//! What spaces ought to contain: plain maps of pages, copied at a fork, shared by reference.

use crate::space::{SpaceId, VmFlags};
use core::cell::RefCell;
use std::{collections::BTreeMap, rc::Rc, vec, vec::Vec};
use types::{PAGE_SIZE, VirtAddr};

/// The bytes of a page; empty for zeroes.
pub(crate) type Bytes = Rc<RefCell<Vec<u8>>>;

/// A page of a space.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) bytes: Bytes,
    pub(crate) flags: VmFlags,
    /// For shared memory: which, and which page of it.
    pub(crate) object: (u32, u32),
}

/// By page number.
pub(crate) type Contents = BTreeMap<u32, Cell>;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) spaces: BTreeMap<SpaceId, Contents>,
    objects: u32,
}

pub(crate) const fn page_of(virt: VirtAddr) -> u32 {
    virt.get() / PAGE_SIZE
}

/// The bytes as they are read.
pub(crate) fn whole(bytes: &Bytes) -> Vec<u8> {
    let bytes = bytes.borrow();
    if bytes.is_empty() { vec![0; PAGE_SIZE as usize] } else { bytes.clone() }
}

/// A store of `data` at `offset`.
pub(crate) fn store(bytes: &Bytes, offset: usize, data: &[u8]) {
    let mut bytes = bytes.borrow_mut();
    if bytes.is_empty() {
        bytes.resize(PAGE_SIZE as usize, 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Model {
    pub(crate) fn at(&mut self, id: SpaceId) -> &mut Contents {
        self.spaces.get_mut(&id).unwrap()
    }

    pub(crate) fn map(&mut self, id: SpaceId, first: u32, count: u32, flags: VmFlags) {
        self.objects += 1;
        for page in 0..count {
            let cell = Cell { bytes: Bytes::default(), flags, object: (self.objects, page) };
            self.at(id).insert(first + page, cell);
        }
    }

    pub(crate) fn unmap(&mut self, id: SpaceId, first: u32, count: u32) {
        self.at(id).retain(|page, _| !(first..first + count).contains(page));
    }

    /// Whether a range has no hole.
    pub(crate) fn is_mapped(&self, id: SpaceId, first: u32, count: u32) -> bool {
        (first..first + count).all(|page| self.spaces[&id].contains_key(&page))
    }

    pub(crate) fn change(
        &mut self,
        id: SpaceId,
        first: u32,
        count: u32,
        change: impl Fn(VmFlags) -> VmFlags,
    ) {
        for (_, cell) in self.at(id).range_mut(first..first + count) {
            cell.flags = change(cell.flags);
        }
    }

    pub(crate) fn fork(&mut self, parent: SpaceId, child: SpaceId) {
        let copy = |cell: &Cell| {
            let shared = cell.flags.contains(VmFlags::SHARED);
            let own = || Rc::new(RefCell::new(cell.bytes.borrow().clone()));
            let bytes = if shared { Rc::clone(&cell.bytes) } else { own() };
            Cell { bytes, flags: cell.flags - VmFlags::LOCKED, object: cell.object }
        };
        let contents = self.spaces[&parent].iter().map(|(&page, cell)| (page, copy(cell))).collect();
        self.spaces.insert(child, contents);
    }

    /// The pages of the shared region from `page` on, in order.
    pub(crate) fn shared_from(&self, id: SpaceId, page: u32) -> Vec<Cell> {
        let contents = &self.spaces[&id];
        let Some(first) = contents.get(&page).filter(|cell| cell.flags.contains(VmFlags::SHARED)) else {
            return vec![];
        };
        let follows = |&number: &u32| {
            contents.get(&(page + number)).is_some_and(|cell| {
                cell.flags == first.flags && cell.object == (first.object.0, first.object.1 + number)
            })
        };
        (0..).take_while(follows).map(|number| contents[&(page + number)].clone()).collect()
    }
}
