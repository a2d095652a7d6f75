//! What is around the squares: totals, borders of regions, their names, and the legend.

use crate::canvas::{BACKGROUND, BORDER, FAINT, INK};
use crate::{Canvas, Kind, Layout, Region, Regions, Totals};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use embedded_graphics::prelude::{Point, Size};
use embedded_graphics::primitives::Rectangle;
use types::{PAGE_SIZE, insertion_sort_by_key};

/// Digits of an amount in the legend: 4 GiB in KiB.
const AMOUNT_LETTERS: usize = 7;

const KIB: u32 = PAGE_SIZE / 1024;

/// Letters of the longest line.
const LINE: usize = 128;

/// A line of text in place: totals are drawn in interrupt handlers, where no allocation may be relied on. What does not
/// fit is left out. Texts made here are ASCII.
struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    fn new(text: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [b' '; LINE], len: 0 };
        // Taking no more is not a failure.
        let _ = line.write_fmt(text);
        line
    }

    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = room.len().min(text.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Everything that does not change while the picture is on the screen.
pub(crate) fn frame<C: Canvas>(layout: &Layout, regions: &Regions, canvas: &mut C) -> Result<(), C::Error> {
    canvas.fill(Rectangle::new(Point::zero(), layout.size()), BACKGROUND)?;
    let square = layout.pages_per_square() * KIB;
    let title = Line::new(format_args!(
        "Physical memory; a square is {square}K and shows what in it is hardest to move"
    ));
    canvas.text(cut(title.text(), layout.header_letters()), layout.header(0), layout.font(), INK)?;
    for (number, (words, _)) in SUMMARY.iter().enumerate() {
        canvas.text(words, field(layout, number).0, layout.font(), INK)?;
    }
    for region in regions.all() {
        outline(layout, region, canvas)?;
    }
    labels(layout, regions, canvas)?;
    for kind in Kind::ALL {
        let place = layout.legend(kind as u32).top_left;
        let letter = layout.font().letter();
        canvas.fill(
            Rectangle::new(place + Point::new(0, 1), Size::new_equal(letter.height - 2)),
            kind.color(),
        )?;
        canvas.text(kind.name(), place + Point::new(letter.height as i32 + 2, 0), layout.font(), INK)?;
    }
    Ok(())
}

/// Says whether a kind is meant.
type Which = fn(Kind) -> bool;

/// What the second line of the header tells: words, and of which kinds they give the pages.
const SUMMARY: [(&str, Which); 5] = [
    ("RAM", |kind| !matches!(kind, Kind::Hole)),
    ("free", Kind::is_free),
    ("CMA: free", |kind| matches!(kind, Kind::FreeCma)),
    ("movable", |kind| matches!(kind, Kind::CmaMovable)),
    ("taken", |kind| matches!(kind, Kind::CmaTaken)),
];

/// Numbers that change: those of the header, then the legend's.
pub(crate) const NUMBERS: u32 = (SUMMARY.len() + Kind::COUNT) as u32;

/// The pages that a number tells.
pub(crate) fn pages(number: u32, totals: &Totals) -> u32 {
    match SUMMARY.get(number as usize) {
        Some((_, which)) => totals.sum(which),
        None => Kind::from_number((number as usize - SUMMARY.len()) as u8).map_or(0, |kind| totals.of(kind)),
    }
}

/// Where the words of a field of the header begin, and its amount.
fn field(layout: &Layout, field: usize) -> (Point, Point) {
    let letters = |field: usize| SUMMARY[field].0.len() + 1;
    let before: usize = (0..field).map(|field| letters(field) + AMOUNT_LETTERS + 3).sum();
    let at = |letter: usize| {
        layout.header(1) + Point::new((letter as u32 * layout.font().letter().width) as i32, 0)
    };
    (at(before), at(before + letters(field)))
}

/// Writes a number; one at a time, because an interrupt handler waits for it.
pub(crate) fn write_number<C: Canvas>(
    layout: &Layout,
    number: u32,
    pages: u32,
    canvas: &mut C,
) -> Result<(), C::Error> {
    let text = Line::new(format_args!("{:>AMOUNT_LETTERS$}K", pages * KIB));
    let at = match (number as usize).checked_sub(SUMMARY.len()) {
        None => field(layout, number as usize).1,
        Some(kind) => {
            let place = layout.legend(kind as u32);
            let width = text.len as u32 * layout.font().letter().width;
            place.top_left + Point::new((place.size.width - width) as i32, 0)
        }
    };
    canvas.text(text.text(), at, layout.font(), if pages == 0 { FAINT } else { INK })
}

/// At most `letters` of a text.
fn cut(text: &str, letters: u32) -> &str {
    text.char_indices().nth(letters as usize).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Lines around the squares of a region, in the pixels between squares.
fn outline<C: Canvas>(layout: &Layout, region: &Region, canvas: &mut C) -> Result<(), C::Error> {
    let (first, last) = (layout.square_of(region.pfns.start), layout.square_of(region.pfns.end - 1));
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    let columns = layout.columns();
    let (top, bottom) = (first / columns, last / columns);
    // In each row the region goes from one column to another.
    let extent = |row: u32| {
        let start = if row == top { first % columns } else { 0 };
        (start, if row == bottom { last % columns + 1 } else { columns })
    };
    let mut line = |from: (u32, u32), to: (u32, u32)| match from.0 < to.0 || from.1 < to.1 {
        true => canvas
            .fill(Rectangle::with_corners(layout.corner(from.0, from.1), layout.corner(to.0, to.1)), BORDER),
        false => Ok(()),
    };
    for row in top..=bottom {
        let (start, end) = extent(row);
        line((start, row), (start, row + 1))?;
        line((end, row), (end, row + 1))?;
        let above = if row > top { extent(row - 1) } else { (end, end) };
        let below = if row < bottom { extent(row + 1) } else { (end, end) };
        for (edge, (from, to)) in [(row, above), (row + 1, below)] {
            line((start, edge), (end.min(from), edge))?;
            line((start.max(to), edge), (end, edge))?;
        }
    }
    Ok(())
}

/// The names of the regions beside their first rows, or as near as there is room, and lines that lead there.
fn labels<C: Canvas>(layout: &Layout, regions: &Regions, canvas: &mut C) -> Result<(), C::Error> {
    let column = layout.label_column();
    let font = layout.font();
    let letters = column.size.width / font.letter().width;
    let height = 2 * font.line();
    let room = (column.size.height / height) as usize;
    // What has no room has no name: the largest matter most.
    let mut shown: Vec<&Region> = regions.all().iter().collect();
    insertion_sort_by_key(&mut shown, |region| core::cmp::Reverse((region.pfns.len(), region.pfns.start)));
    shown.truncate(room);
    insertion_sort_by_key(&mut shown, |region| region.pfns.start);
    let row =
        |region: &Region| layout.square_of(region.pfns.start).map_or(0, |square| square / layout.columns());
    let wanted = shown.iter().map(|region| layout.corner(0, row(region)).y);
    let tops = spread(wanted, height as i32, column.top_left.y, (column.size.height - height) as i32);
    for (region, top) in shown.iter().zip(tops) {
        let anchor = layout.corner(layout.columns(), row(region)) + Point::new(1, 1);
        let text = Point::new(column.top_left.x, top);
        leader(anchor, text + Point::new(-2, font.letter().height as i32 / 2), canvas)?;
        canvas.text(cut(&region.name, letters), text, font, INK)?;
        let kib = region.pfns.len() as u32 * KIB;
        let place = Line::new(format_args!("{:05x}000 {kib}K", region.pfns.start));
        canvas.text(
            cut(place.text(), letters),
            text + Point::new(0, font.letter().height as i32),
            font,
            FAINT,
        )?;
    }
    Ok(())
}

/// Places for things of `height` near where they are wanted, ascending, apart, and from `first` to `first + last`.
fn spread(wanted: impl Iterator<Item = i32>, height: i32, first: i32, last: i32) -> Vec<i32> {
    let mut places: Vec<i32> = Vec::new();
    for place in wanted {
        places.push(places.last().map_or(place.max(first), |before| place.max(before + height)));
    }
    let mut limit = first + last;
    for place in places.iter_mut().rev() {
        *place = (*place).min(limit);
        limit = *place - height;
    }
    places
}

/// Three strokes from the squares to a name.
fn leader<C: Canvas>(from: Point, to: Point, canvas: &mut C) -> Result<(), C::Error> {
    let bend = Point::new(from.x + (to.x - from.x) / 2, from.y);
    canvas.fill(Rectangle::with_corners(from, bend), FAINT)?;
    canvas.fill(Rectangle::with_corners(bend, Point::new(bend.x, to.y)), FAINT)?;
    canvas.fill(Rectangle::with_corners(Point::new(bend.x, to.y), to), FAINT)
}
