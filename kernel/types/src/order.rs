//! The size of a buddy block, as a power of two of pages.

/// A block of 2^order pages; at most [`Order::MAX`], which is Linux's `MAX_ORDER - 1` = 10 (4 MiB).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One page.
    pub const ZERO: Self = Self(0);
    /// The largest block: 1,024 pages.
    pub const MAX: Self = Self(10);
    /// How many orders there are.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;

    /// The order `raw`; `None` above [`Order::MAX`].
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw <= Self::MAX.0 { Some(Self(raw)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number, for indexing tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Pages in a block of this order.
    #[must_use]
    pub const fn pages(self) -> u32 {
        1 << self.0
    }

    /// The smallest order that holds `pages` pages (Linux's `get_order`); `None` for 0 or above 1,024.
    #[must_use]
    pub const fn for_pages(pages: u32) -> Option<Self> {
        match pages.checked_next_power_of_two() {
            Some(p) if pages > 0 && p <= Self::MAX.pages() => Some(Self(p.trailing_zeros() as u8)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn smallest_order_that_holds() {
        for pages in 1..=1024u32 {
            let order = Order::for_pages(pages).unwrap();
            assert!(order.pages() >= pages);
            assert!(order == Order::ZERO || order.pages() / 2 < pages);
        }
        assert_eq!(Order::for_pages(0), None);
        assert_eq!(Order::for_pages(1025), None);
        assert_eq!(Order::for_pages(u32::MAX), None);
    }
}
