//! Which square stands for which pages, and where everything is.
//!
//! ```text
//! +--------------------------------------------+
//! | two lines of totals                        |
//! | +----------------------------+  name       |
//! | | rows of squares; a row is  |--  address  |
//! | | a power of two of pages    |  name       |
//! | +----------------------------+             |
//! | legend: three columns                      |
//! +--------------------------------------------+
//! ```
//! A row begins at a multiple of its size, so that alignment can be seen. Memory after a large gap begins a new row.
//! Between the squares is a pixel, in which the borders of regions are drawn.
//!
//! The number of pages in a square is the smallest power of two with which all squares fit.

use crate::{Font, Kind};
use alloc::vec::Vec;
use core::ops::Range;
use embedded_graphics::prelude::{Point, Size};
use embedded_graphics::primitives::Rectangle;
use types::{align_down, insertion_sort_by_key};

/// Columns of the legend.
const LEGEND_COLUMNS: u32 = 3;
/// Pixels around.
const MARGIN: u32 = 4;
/// Letters for which there is room beside the squares.
const LABEL_LETTERS: u32 = 18;
/// Pixels between the squares and the names.
const GUTTER: u32 = 10;
/// Smallest and largest distance of squares.
const CELLS: Range<u32> = 3..9;
/// Squares in a row.
const COLUMNS: [u32; 3] = [256, 128, 64];

/// A stretch of memory in whole rows.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Span {
    pfns: Range<u32>,
    first_row: u32,
}

/// See the [module](self).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    size: Size,
    font: Font,
    spans: Vec<Span>,
    shift: u32,
    columns: u32,
    cell: u32,
    rows: u32,
}

impl Layout {
    /// A layout on `size` pixels for the pages `pfns`, in any order.
    #[must_use]
    pub fn new(size: Size, pfns: impl Iterator<Item = Range<u32>>) -> Self {
        let mut pfns: Vec<_> = pfns.filter(|range| !range.is_empty()).collect();
        insertion_sort_by_key(&mut pfns, |range| range.start);
        let font = if size.width < 800 { Font::Small } else { Font::Large };
        let mut layout = Self { size, font, spans: Vec::new(), shift: 0, columns: 0, cell: 0, rows: 0 };
        // With 2^20 pages to a square everything fits: a row holds the whole address space.
        (0..=20).find(|&shift| layout.fit(shift, &pfns));
        layout
    }

    /// Lays the squares out with 2^`shift` pages each, as large as can be; whether they fit at all.
    fn fit(&mut self, shift: u32, pfns: &[Range<u32>]) -> bool {
        let room = self.room();
        let mut best = 0;
        for columns in COLUMNS {
            let spans = rows(pfns, columns << shift);
            let rows = spans.last().map_or(0, |last| last.first_row + count(&last.pfns, columns << shift));
            let cell = (room.width / columns).min(room.height / rows.max(1)).min(CELLS.end - 1);
            if cell >= CELLS.start && cell > best {
                best = cell;
                (self.spans, self.shift, self.columns, self.cell, self.rows) =
                    (spans, shift, columns, cell, rows);
            }
        }
        best > 0
    }

    /// Pixels for squares.
    fn room(&self) -> Size {
        let letter = self.font.letter();
        let beside = 2 * MARGIN + GUTTER + LABEL_LETTERS * letter.width + 1;
        let below = self.header_height() + self.legend_height() + 2 * MARGIN + 1;
        Size::new(self.size.width.saturating_sub(beside), self.size.height.saturating_sub(below))
    }

    fn header_height(&self) -> u32 {
        2 * self.font.line() + MARGIN
    }

    fn legend_height(&self) -> u32 {
        (Kind::COUNT as u32).div_ceil(LEGEND_COLUMNS) * self.font.line()
    }

    /// Pixels of the whole picture.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The font of all texts.
    #[must_use]
    pub const fn font(&self) -> Font {
        self.font
    }

    /// Squares, those beyond the end of a stretch of memory included.
    #[must_use]
    pub const fn squares(&self) -> u32 {
        self.rows * self.columns
    }

    /// Squares in a row.
    #[must_use]
    pub const fn columns(&self) -> u32 {
        self.columns
    }

    /// Pages in a square.
    #[must_use]
    pub const fn pages_per_square(&self) -> u32 {
        1 << self.shift
    }

    /// What of the pages follows each other, in one piece, ascending.
    #[must_use]
    pub fn merged(mut pfns: Vec<Range<u32>>) -> Vec<Range<u32>> {
        insertion_sort_by_key(&mut pfns, |range| range.start);
        rows(&pfns, 1).into_iter().map(|span| span.pfns).collect()
    }

    /// All pages in the picture, in stretches.
    pub fn spans(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.spans.iter().map(|span| span.pfns.clone())
    }

    /// The square of a page.
    #[must_use]
    pub fn square_of(&self, pfn: u32) -> Option<u32> {
        let span = self.spans.iter().find(|span| span.pfns.contains(&pfn))?;
        Some(span.first_row * self.columns + ((pfn - span.pfns.start) >> self.shift))
    }

    /// The pages of the squares, in stretches that follow each other, each with its first square.
    pub fn pages(&self, squares: Range<u32>) -> impl Iterator<Item = (u32, Range<u32>)> + '_ {
        self.spans.iter().filter_map(move |span| {
            let first = span.first_row * self.columns;
            let behind = first + count(&span.pfns, self.pages_per_square());
            let (from, to) = (squares.start.max(first), squares.end.min(behind));
            let pfn = |square: u32| span.pfns.start + ((square - first) << self.shift);
            (from < to).then(|| (from, pfn(from)..pfn(to).min(span.pfns.end)))
        })
    }

    /// Where a square is, without the pixel beside it.
    #[must_use]
    pub fn square(&self, square: u32) -> Rectangle {
        let corner = self.corner(square % self.columns, square / self.columns);
        Rectangle::new(corner + Point::new(1, 1), Size::new(self.cell - 1, self.cell - 1))
    }

    /// The corner between squares that is the upper left one of square `column` in `row`.
    pub(crate) fn corner(&self, column: u32, row: u32) -> Point {
        Point::new((MARGIN + column * self.cell) as i32, (self.header_height() + row * self.cell) as i32)
    }

    /// The whole of the squares and the borders around.
    #[must_use]
    pub fn grid(&self) -> Rectangle {
        let size = Size::new(self.columns * self.cell + 1, self.rows * self.cell + 1);
        Rectangle::new(self.corner(0, 0), size)
    }

    /// Where line `line` of the header begins.
    pub(crate) fn header(&self, line: u32) -> Point {
        Point::new(MARGIN as i32, (MARGIN / 2 + line * self.font.line()) as i32)
    }

    /// Letters that fit into a line of the header.
    pub(crate) fn header_letters(&self) -> u32 {
        (self.size.width - 2 * MARGIN) / self.font.letter().width
    }

    /// Where the names beside the squares are.
    pub(crate) fn label_column(&self) -> Rectangle {
        let grid = self.grid();
        let x = grid.top_left.x as u32 + grid.size.width + GUTTER;
        let width = self.size.width.saturating_sub(x + MARGIN);
        let top = self.header_height();
        let height = self.legend_top().saturating_sub(top);
        Rectangle::new(Point::new(x as i32, top as i32), Size::new(width, height))
    }

    fn legend_top(&self) -> u32 {
        self.size.height - self.legend_height() - MARGIN
    }

    /// Where entry `number` of the legend is: column by column.
    pub(crate) fn legend(&self, number: u32) -> Rectangle {
        let lines = (Kind::COUNT as u32).div_ceil(LEGEND_COLUMNS);
        let width = (self.size.width - 2 * MARGIN) / LEGEND_COLUMNS;
        let (x, y) = (MARGIN + number / lines * width, self.legend_top() + number % lines * self.font.line());
        Rectangle::new(Point::new(x as i32, y as i32), Size::new(width - 2 * MARGIN, self.font.line()))
    }
}

/// Rows of `row` pages that `pfns` takes.
fn count(pfns: &Range<u32>, row: u32) -> u32 {
    (pfns.end - pfns.start).div_ceil(row)
}

/// The pages in stretches that begin at multiples of `row` and share no row.
fn rows(pfns: &[Range<u32>], row: u32) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for range in pfns {
        let start = align_down(range.start, row);
        let first_row = match spans.last_mut() {
            Some(last) if start <= last.pfns.start + count(&last.pfns, row) * row => {
                last.pfns.end = last.pfns.end.max(range.end);
                continue;
            }
            last => last.map_or(0, |last| last.first_row + count(&last.pfns, row)),
        };
        spans.push(Span { pfns: start..range.end, first_row });
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SIZES: [Size; 2] = [Size::new(640, 480), Size::new(1024, 768)];

    #[test]
    fn the_usual_machine() {
        let pfns = || [0x87c00..0x87f00, 0x80000..0x86c00, 0x86c00..0x87c00].into_iter();
        let small = Layout::new(SIZES[0], pfns());
        assert_eq!((small.pages_per_square(), small.columns(), small.squares()), (4, 128, 64 * 128));
        assert!(small.spans().eq(core::iter::once(0x80000..0x87f00)));
        let large = Layout::new(SIZES[1], pfns());
        assert_eq!((large.pages_per_square(), large.columns(), large.cell), (1, 256, 3));
    }

    #[test]
    fn no_memory_is_an_empty_picture() {
        let layout = Layout::new(SIZES[0], core::iter::empty());
        assert_eq!((layout.squares(), layout.square_of(5), layout.pages(0..9).count()), (0, None, 0));
    }

    fn inside(outer: Rectangle, inner: Rectangle) -> bool {
        let corner = inner.bottom_right().unwrap_or(inner.top_left);
        outer.contains(inner.top_left) && outer.contains(corner)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            // Miri has no file system to keep failures in.
            failure_persistence: None,
            ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 })
        })]
        #[test]
        fn each_page_has_one_square(
            banks in prop::collection::vec((0..0x100u32, 1..0x3000u32), 1..5),
            large in any::<bool>(),
            odd in 0..0x400u32,
        ) {
            let banks: Vec<_> = banks.iter().map(|&(base, pages)| base << 12 | odd..(base << 12 | odd) + pages).collect();
            let layout = Layout::new(SIZES[usize::from(large)], banks.iter().cloned());
            let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
            let mut before = None;
            for (first, pfns) in layout.pages(0..layout.squares()) {
                prop_assert!(before < Some(first));
                prop_assert_eq!(pfns.start % (layout.columns() * layout.pages_per_square()), 0);
                for pfn in pfns {
                    let square = first + (pfn - layout.spans().find(|span| span.contains(&pfn)).unwrap().start) / layout.pages_per_square();
                    prop_assert!(seen.insert(pfn, square).is_none(), "{:#x} twice", pfn);
                    before = Some(square);
                }
            }
            for pfn in banks.iter().flat_map(|bank| [bank.start, bank.end - 1, (bank.start + bank.end) / 2]) {
                let square = layout.square_of(pfn);
                prop_assert_eq!(square, seen.get(&pfn).copied());
                prop_assert!(inside(layout.grid(), layout.square(square.unwrap())));
            }
            // The same pages, asked for a few squares at a time.
            let pieces = (0..layout.squares()).step_by(57).flat_map(|at| layout.pages(at..(at + 57).min(layout.squares())));
            prop_assert_eq!(pieces.map(|(_, pfns)| pfns.len()).sum::<usize>(), seen.len());
        }
    }
}
