//! A list of at most `N` items in place: early boot has no allocator yet.

/// Items in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub struct List<T, const N: usize> {
    items: [Option<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: [None; N], len: 0 }
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
        self.items[..self.len].iter().flatten()
    }

    /// The item at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)?.as_ref()
    }

    /// The item at an index, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.items.get_mut(index)?.as_mut()
    }

    /// Appends an item and says at which index; the item comes back when there is no room.
    ///
    /// # Errors
    /// The item.
    pub fn push(&mut self, item: T) -> Result<usize, T> {
        let slot = self.items.get_mut(self.len).ok_or(item)?;
        *slot = Some(item);
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
