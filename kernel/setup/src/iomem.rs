//! `/proc/iomem`: who has which part of the physical address space, as a tree.
//!
//! ```text
//! 20000000-27efffff : System RAM
//!   20008000-2003ffff : Kernel code
//!   20040000-2005dfff : Kernel data
//! 3f201000-3f201fff : serial@7e201000
//! ```
//!
//! A resource lies either wholly inside of another or beside it; so sorting by start, larger ones first, makes
//! the tree, and indentation is the number of resources around. As on ARM in Linux, RAM without a mapping
//! (NOMAP, removed) is not System RAM, and reservations inside of RAM are not listed.
//!
//! Source: Linux 6.1 `arch/arm/kernel/setup.c` (`request_standard_resources`), `kernel/resource.c`.

use core::fmt;
use mm::memblock::Memblock;
use types::{PhysAddr, PhysRange};

/// A named range; the last byte belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource<'a> {
    /// The first byte.
    pub start: PhysAddr,
    /// The last byte.
    pub last: PhysAddr,
    /// What it is.
    pub name: &'a str,
}

impl Resource<'_> {
    /// What fills unused places of a caller's array.
    pub const EMPTY: Self = Self { start: PhysAddr::new(0), last: PhysAddr::new(0), name: "" };

    fn covers(&self, other: &Resource<'_>) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    fn meets(&self, other: &Resource<'_>) -> bool {
        self.start <= other.last && other.start <= self.last
    }
}

/// Why a resource can't be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceError<'a> {
    /// It crosses the bounds of another one.
    Conflict {
        /// What was asked for.
        wanted: Resource<'a>,
        /// What is there.
        with: Resource<'a>,
    },
    /// The array is full.
    Full(Resource<'a>),
    /// A range of nothing.
    Empty(&'a str),
}

impl fmt::Display for ResourceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { wanted, with } => write!(f, "iomem: {wanted} crosses {with}"),
            Self::Full(wanted) => write!(f, "iomem: no room for {wanted}"),
            Self::Empty(name) => write!(f, "iomem: {name} is empty"),
        }
    }
}

impl core::error::Error for ResourceError<'_> {}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x} : {}", self.start.get(), self.last.get(), self.name)
    }
}

/// The resources, sorted, in a caller's array. Displays as the file.
pub struct Iomem<'t, 'a> {
    entries: &'t mut [Resource<'a>],
    len: usize,
}

impl<'t, 'a> Iomem<'t, 'a> {
    /// Nothing, with room for as many resources as the array is long.
    pub fn new(entries: &'t mut [Resource<'a>]) -> Self {
        Self { entries, len: 0 }
    }

    /// The resources, by start, larger ones first.
    #[must_use]
    pub fn resources(&self) -> &[Resource<'a>] {
        &self.entries[..self.len]
    }

    /// Adds a resource. One that covers others becomes their parent; an exact copy goes inside.
    ///
    /// # Errors
    /// [`ResourceError`]: nothing was added.
    pub fn request(&mut self, range: PhysRange, name: &'a str) -> Result<(), ResourceError<'a>> {
        if range.is_empty() {
            return Err(ResourceError::Empty(name));
        }
        let last = PhysAddr::new(range.end().get() - 1);
        let wanted = Resource { start: range.base(), last, name };
        let crosses = |r: &&Resource<'_>| r.meets(&wanted) && !r.covers(&wanted) && !wanted.covers(r);
        if let Some(&with) = self.resources().iter().find(crosses) {
            return Err(ResourceError::Conflict { wanted, with });
        }
        if self.len == self.entries.len() {
            return Err(ResourceError::Full(wanted));
        }
        let before =
            |r: &Resource<'_>| (r.start, u32::MAX - r.last.get()) <= (wanted.start, u32::MAX - last.get());
        let at = self.resources().partition_point(before);
        self.entries.copy_within(at..self.len, at + 1);
        self.entries[at] = wanted;
        self.len += 1;
        Ok(())
    }

    /// Mapped RAM, and the kernel's code and data where they lie inside of it.
    ///
    /// # Errors
    /// [`ResourceError`] for the first one that does not fit; those before it are there.
    pub fn add_ram(
        &mut self,
        memblock: &Memblock<'_>,
        code: PhysRange,
        data: PhysRange,
    ) -> Result<(), ResourceError<'a>> {
        for ram in memblock.mapped_ranges().filter(|ram| !ram.is_empty()) {
            self.request(ram, "System RAM")?;
            for (part, name) in [(code, "Kernel code"), (data, "Kernel data")] {
                if ram.covers(part) {
                    self.request(part, name)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Iomem<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, resource) in self.resources().iter().enumerate() {
            let around = self.resources()[..i].iter().filter(|outer| outer.covers(resource)).count();
            writeln!(f, "{:indent$}{resource}", "", indent = 2 * around)?;
        }
        Ok(())
    }
}
