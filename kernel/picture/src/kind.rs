//! What a page is used for, as the picture tells it.

use embedded_graphics::pixelcolor::Rgb888;

/// The colours of the picture, in the order of how hard it is to get the page for something else: a square that stands
/// for several pages has the colour of the hardest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// No memory here, or not the kernel's and without a name.
    Hole = 0,
    /// In a free list of type `Movable`.
    FreeMovable = 1,
    /// In a free list of type `Reclaimable`.
    FreeReclaimable = 2,
    /// In a free list of type `Unmovable`.
    FreeUnmovable = 3,
    /// In a free list of type `HighAtomic`.
    FreeHighAtomic = 4,
    /// Free, in a CMA area.
    FreeCma = 5,
    /// Free, in a list of a CPU.
    PerCpu = 6,
    /// Free, and kept for a range that is being emptied.
    Isolated = 7,
    /// In use, and its owner can move it.
    Movable = 8,
    /// The same in a CMA area: it makes way when a driver takes the range.
    CmaMovable = 9,
    /// A slab, or a large `kmalloc`.
    Slab = 10,
    /// Behind a `vmalloc` area.
    Vmalloc = 11,
    /// A translation table.
    PageTable = 12,
    /// The kernel's own.
    Kernel = 13,
    /// DMA memory from the page allocator.
    Dma = 14,
    /// A driver's, taken out of a CMA area.
    CmaTaken = 15,
    /// Movable by nature, but somebody relies on the physical address.
    Pinned = 16,
    /// The kernel's code and data.
    Image = 17,
    /// Reserved while booting: the memory map, translation tables, the device tree.
    Boot = 18,
    /// A reserved region with a name: a frame buffer, a heap of the board's vendor.
    Region = 19,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 20;
    /// All, in numerical order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Hole,
        Self::FreeMovable,
        Self::FreeReclaimable,
        Self::FreeUnmovable,
        Self::FreeHighAtomic,
        Self::FreeCma,
        Self::PerCpu,
        Self::Isolated,
        Self::Movable,
        Self::CmaMovable,
        Self::Slab,
        Self::Vmalloc,
        Self::PageTable,
        Self::Kernel,
        Self::Dma,
        Self::CmaTaken,
        Self::Pinned,
        Self::Image,
        Self::Boot,
        Self::Region,
    ];

    /// Name in the legend, letter in the `page_map` file, colour as 0xRRGGBB.
    const fn row(self) -> (&'static str, u8, u32) {
        match self {
            Self::Hole => ("no memory", b'.', 0x23_27_2e),
            Self::FreeMovable => ("free movable", b'm', 0x2f_9e_44),
            Self::FreeReclaimable => ("free reclaimable", b'e', 0xa9_e3_4b),
            Self::FreeUnmovable => ("free unmovable", b'u', 0x08_7f_5b),
            Self::FreeHighAtomic => ("free high-atomic", b'h', 0x38_d9_a9),
            Self::FreeCma => ("free CMA", b'c', 0x1c_7e_d6),
            Self::PerCpu => ("per-CPU lists", b'p', 0xd8_f5_a2),
            Self::Isolated => ("isolated", b'i', 0x66_d9_e8),
            Self::Movable => ("movable", b'M', 0xf7_67_07),
            Self::CmaMovable => ("movable in CMA", b'C', 0xff_d4_3b),
            Self::Slab => ("slab, kmalloc", b'S', 0x9c_36_b5),
            Self::Vmalloc => ("vmalloc", b'V', 0xda_77_f2),
            Self::PageTable => ("page tables", b'T', 0xf7_83_ac),
            Self::Kernel => ("kernel pages", b'K', 0xa6_1e_4d),
            Self::Dma => ("DMA", b'D', 0x0b_72_85),
            Self::CmaTaken => ("CMA taken", b'A', 0xe0_31_31),
            Self::Pinned => ("pinned", b'P', 0xff_ff_ff),
            Self::Image => ("kernel image", b'I', 0x5c_7c_fa),
            Self::Boot => ("reserved at boot", b'B', 0x86_8e_96),
            Self::Region => ("reserved region", b'R', 0x99_6b_3d),
        }
    }

    /// The name in the legend.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The letter in the `page_map` file.
    #[must_use]
    pub const fn letter(self) -> char {
        self.row().1 as char
    }

    /// The kind with that letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }

    /// The kind with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The colour of its squares.
    #[must_use]
    pub const fn color(self) -> Rgb888 {
        crate::color(self.row().2)
    }

    /// Whether nobody owns the page.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(self as u8, 1..=7)
    }
}

/// Pages of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals([u32; Kind::COUNT]);

impl Totals {
    /// Nothing counted.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; Kind::COUNT])
    }

    /// Counts `pages` pages.
    pub const fn add(&mut self, kind: Kind, pages: u32) {
        self.0[kind as usize] += pages;
    }

    /// Pages of that kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u32 {
        self.0[kind as usize]
    }

    /// Pages of all kinds that `which` says yes to.
    pub fn sum(&self, which: impl Fn(Kind) -> bool) -> u32 {
        Kind::ALL.into_iter().filter(|&kind| which(kind)).map(|kind| self.of(kind)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::pixelcolor::{Rgb565, RgbColor};
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_has_a_number_a_letter_and_a_colour_of_its_own() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::from_number(number as u8)), (number, Some(kind)));
            assert_eq!(Kind::from_letter(kind.letter()), Some(kind));
            assert!(kind.name().len() <= 16, "{} does not fit the legend", kind.name());
        }
        assert_eq!((Kind::from_number(20), Kind::from_letter('?')), (None, None));
        let rough = |kind: Kind| {
            let color = Rgb565::from(kind.color());
            (color.r(), color.g(), color.b())
        };
        let colors: BTreeSet<_> = Kind::ALL.into_iter().map(rough).collect();
        assert_eq!(colors.len(), Kind::COUNT, "two kinds look the same with 16 bits a pixel");
    }

    #[test]
    fn free_is_what_nobody_owns() {
        let free: std::string::String =
            Kind::ALL.iter().filter(|k| k.is_free()).map(|k| k.letter()).collect();
        assert_eq!(free, "meuhcpi");
        let mut totals = Totals::default();
        totals.add(Kind::PerCpu, 3);
        totals.add(Kind::Slab, 4);
        assert_eq!((totals.sum(Kind::is_free), totals.sum(|_| true), totals.of(Kind::Slab)), (3, 7, 4));
    }
}
