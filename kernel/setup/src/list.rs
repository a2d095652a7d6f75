//! A list of at most `N` items in place: early boot has no allocator yet.

/// Room for an item. Unlike an `Option`'s, an empty one is always zeros, whatever the item is: so a static of many takes
/// no room in the image file.
#[derive(Clone, Copy, Debug)]
#[repr(C, u8)]
pub(crate) enum Slot<T> {
    /// Nothing.
    Empty = 0,
    /// An item.
    Full(T) = 1,
}

impl<T> Slot<T> {
    pub(crate) const fn item(&self) -> Option<&T> {
        if let Self::Full(item) = self { Some(item) } else { None }
    }

    const fn item_mut(&mut self) -> Option<&mut T> {
        if let Self::Full(item) = self { Some(item) } else { None }
    }
}

/// Items in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub struct List<T, const N: usize> {
    items: [Slot<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: [Slot::Empty; N], len: 0 }
    }

    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no more fits.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len == N
    }

    /// The items.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items[..self.len].iter().filter_map(Slot::item)
    }

    /// The items, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items[..self.len].iter_mut().filter_map(Slot::item_mut)
    }

    /// The item at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)?.item()
    }

    /// The item at an index, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.items.get_mut(index)?.item_mut()
    }

    /// Appends an item and says at which index; the item comes back when there is no room.
    ///
    /// # Errors
    /// The item.
    pub fn push(&mut self, item: T) -> Result<usize, T> {
        let slot = self.items.get_mut(self.len).ok_or(item)?;
        *slot = Slot::Full(item);
        self.len += 1;
        Ok(self.len - 1)
    }

    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
    }
}

impl<T: Copy, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
