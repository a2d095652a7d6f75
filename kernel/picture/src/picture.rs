//! The picture: what is on the screen, what has been counted, and how far a pass has come.
//!
//! A pass looks at all pages once, in [`Picture::steps`] steps that each take a part of the squares. The totals are
//! those of the last whole pass, so that they belong together.

use crate::{Canvas, Kind, Layout, Regions, Totals, furniture};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Tells what pages are used for.
pub trait PageKinds {
    /// Calls `each` with a first page, a number of pages, and their kind, for all of `pfns` in order. It may look at
    /// the pages in several pieces, with anything happening in between.
    fn read(&mut self, pfns: Range<u32>, each: &mut dyn FnMut(u32, u32, Kind));
}

/// Steps of a pass over memory that is not large.
const STEPS: u32 = 128;
/// Steps of any pass at most.
const MAX_STEPS: u32 = 400;
/// Pages that a step looks at, as long as there are not too many steps.
const PAGES: u32 = 256;
/// A square that is not on the screen yet.
const NOT_YET: u8 = u8::MAX;

/// See the [module](self).
#[derive(Debug)]
pub struct Picture {
    layout: Layout,
    /// The number of its kind, for each square.
    shown: Vec<u8>,
    /// The same, as the current step finds it.
    fresh: Vec<u8>,
    steps: u32,
    step: u32,
    counting: Totals,
    totals: Option<Totals>,
    /// Whose totals stand in the legend.
    written: Option<Totals>,
    passes: u32,
}

impl Picture {
    /// A picture that is not on the screen yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let squares = layout.squares();
        let pages: u32 = layout.spans().map(|span| span.end - span.start).sum();
        let steps = (pages / PAGES).clamp(STEPS, MAX_STEPS);
        Self {
            shown: vec![NOT_YET; squares as usize],
            fresh: vec![0; squares.div_ceil(steps) as usize],
            layout,
            steps,
            step: 0,
            counting: Totals::default(),
            totals: None,
            written: None,
            passes: 0,
        }
    }

    /// Where everything is.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Steps of a pass.
    #[must_use]
    pub const fn steps(&self) -> u32 {
        self.steps
    }

    /// Passes that have ended.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Pages of each kind as the last pass counted them.
    #[must_use]
    pub const fn totals(&self) -> Option<&Totals> {
        self.totals.as_ref()
    }

    /// What the square shows; `None` before its first time.
    #[must_use]
    pub fn shown(&self, square: u32) -> Option<Kind> {
        Kind::from_number(*self.shown.get(square as usize)?)
    }

    /// Draws what does not change, `regions` among it, on whatever is there, and begins a pass that draws everything.
    ///
    /// # Errors
    /// The canvas's.
    pub fn begin<C: Canvas>(&mut self, regions: &Regions, canvas: &mut C) -> Result<(), C::Error> {
        self.shown.fill(NOT_YET);
        self.written = None;
        self.restart();
        furniture::frame(&self.layout, regions, canvas)
    }

    /// Begins a pass from its first square.
    pub const fn restart(&mut self) {
        self.step = 0;
        self.counting = Totals::new();
    }

    /// Looks at the next part of memory and draws what has changed there, and a part of the totals; whether that ends
    /// the pass.
    ///
    /// # Errors
    /// The canvas's; the pass has to be begun anew then.
    pub fn step<S, C>(&mut self, source: &mut S, canvas: &mut C) -> Result<bool, C::Error>
    where
        S: PageKinds + ?Sized,
        C: Canvas,
    {
        let per_step = self.fresh.len() as u32;
        let end = self.layout.squares();
        let first = (self.step * per_step).min(end);
        let squares = first..(first + per_step).min(end);
        self.look(source, squares.clone());
        self.draw(squares, canvas)?;
        let place = |step: u32| step * furniture::NUMBERS / self.steps;
        for number in place(self.step)..place(self.step + 1) {
            self.write(number, canvas)?;
        }
        self.step += 1;
        if self.step < self.steps {
            return Ok(false);
        }
        self.written = self.totals;
        self.totals = Some(self.counting);
        self.passes = self.passes.wrapping_add(1);
        self.restart();
        Ok(true)
    }

    /// Brings the totals up to those of the last pass.
    ///
    /// # Errors
    /// The canvas's.
    pub fn finish<C: Canvas>(&mut self, canvas: &mut C) -> Result<(), C::Error> {
        (0..furniture::NUMBERS).try_for_each(|number| self.write(number, canvas))?;
        self.written = self.totals;
        Ok(())
    }

    fn look<S: PageKinds + ?Sized>(&mut self, source: &mut S, squares: Range<u32>) {
        let Self { layout, fresh, counting, .. } = self;
        fresh.fill(Kind::Hole as u8);
        for (first, pfns) in layout.pages(squares.clone()) {
            let (start, per_square) = (pfns.start, layout.pages_per_square());
            let place = |pfn: u32| ((pfn - start) / per_square + first - squares.start) as usize;
            source.read(pfns, &mut |pfn, pages, kind| {
                counting.add(kind, pages);
                for square in &mut fresh[place(pfn)..=place(pfn + pages - 1)] {
                    *square = (*square).max(kind as u8);
                }
            });
        }
    }

    fn draw<C: Canvas>(&mut self, squares: Range<u32>, canvas: &mut C) -> Result<(), C::Error> {
        for (square, &kind) in squares.zip(&self.fresh) {
            let shown = &mut self.shown[square as usize];
            if *shown != kind {
                *shown = kind;
                let color = Kind::from_number(kind).unwrap_or(Kind::Hole).color();
                canvas.fill(self.layout.square(square), color)?;
            }
        }
        Ok(())
    }

    /// A number that stands there already is left alone.
    fn write<C: Canvas>(&self, number: u32, canvas: &mut C) -> Result<(), C::Error> {
        let Some(totals) = &self.totals else { return Ok(()) };
        let pages = furniture::pages(number, totals);
        match &self.written {
            Some(written) if furniture::pages(number, written) == pages => Ok(()),
            _ => furniture::write_number(&self.layout, number, pages, canvas),
        }
    }
}
