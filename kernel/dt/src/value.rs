//! Property values: numbers of n cells, strings, lists of strings, tuples of cells.
//!
//! Source: Devicetree Specification 0.4, section 2.2.4; Linux's `of_read_number` for numbers.

/// A big-endian number of any number of 32-bit cells; above two cells the top ones are shifted out, as
/// Linux's `of_read_number` does.
#[must_use]
pub(crate) fn number(cells: &[u8]) -> u64 {
    cells.as_chunks().0.iter().fold(0, |n, word| n << 32 | u64::from(u32::from_be_bytes(*word)))
}

/// A property of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property<'a> {
    /// The name.
    pub name: &'a str,
    /// The raw value.
    pub value: &'a [u8],
}

impl<'a> Property<'a> {
    /// The first cell, whatever follows.
    #[must_use]
    pub fn u32(&self) -> Option<u32> {
        crate::flat::be32(self.value, 0)
    }

    /// The first two cells as one number, or the only cell.
    #[must_use]
    pub fn u64(&self) -> Option<u64> {
        match self.value.len() {
            0..4 => None,
            4..8 => self.u32().map(u64::from),
            _ => Some(number(&self.value[..8])),
        }
    }

    /// The first string; `None` without a NUL or when it is not text.
    #[must_use]
    pub fn str(&self) -> Option<&'a str> {
        self.strings().next()
    }

    /// All strings, up to the first that lacks its NUL or is not text.
    #[must_use]
    pub fn strings(&self) -> Strings<'a> {
        Strings { rest: self.value }
    }

    /// All whole cells.
    pub fn cells(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.value.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// (address, size) pairs of these numbers of cells; a trailing partial pair is left out.
    #[must_use]
    pub fn pairs(&self, cells: CellCounts) -> Pairs<'a> {
        Pairs { rest: self.value, cells }
    }
}

/// Iterator over the NUL-terminated strings of a value.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
}

impl Strings<'_> {
    /// Strings of a property that is not there.
    pub(crate) const NONE: Self = Strings { rest: &[] };
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let len = self.rest.iter().position(|&b| b == 0)?;
        let (text, rest) = self.rest.split_at(len);
        self.rest = &rest[1..];
        core::str::from_utf8(text).ok()
    }
}

/// How many cells an address and a size take on a bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellCounts {
    /// `#address-cells`.
    pub address: u32,
    /// `#size-cells`.
    pub size: u32,
}

impl CellCounts {
    /// Bytes of an (address, size) pair; `None` when that is nothing or beyond any property.
    #[must_use]
    pub fn pair_bytes(self) -> Option<usize> {
        let cells = self.address.checked_add(self.size).filter(|&cells| cells > 0 && cells < 1 << 28)?;
        Some(cells as usize * 4)
    }
}

/// Iterator over (address, size) pairs.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    cells: CellCounts,
}

impl Pairs<'_> {
    /// Pairs of a property that is not there.
    pub(crate) const NONE: Self = Pairs { rest: &[], cells: CellCounts { address: 1, size: 1 } };
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (pair, rest) = self.rest.split_at_checked(self.cells.pair_bytes()?)?;
        self.rest = rest;
        let (address, size) = pair.split_at(self.cells.address as usize * 4);
        Some((number(address), number(size)))
    }
}
