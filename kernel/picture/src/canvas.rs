//! What the picture is drawn on: filled rectangles and lines of text.
//!
//! A [`Screen`] makes a canvas of any `embedded-graphics` draw target. The host's SVG is another canvas: there a text
//! stays a text.

use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_8X13};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyleBuilder};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

/// The colour 0xRRGGBB.
#[must_use]
pub const fn color(rgb: u32) -> Rgb888 {
    Rgb888::new((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// Behind everything.
pub const BACKGROUND: Rgb888 = color(0x0d_11_17);
/// Texts.
pub const INK: Rgb888 = color(0xe6_ed_f3);
/// Texts that matter less, and lines that lead to texts.
pub const FAINT: Rgb888 = color(0x8b_94_9e);
/// Borders of regions.
pub const BORDER: Rgb888 = color(0xf0_f6_fc);

/// A font of fixed width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Font {
    /// 6 by 10 pixels, for 640x480.
    Small,
    /// 8 by 13 pixels.
    Large,
}

impl Font {
    const fn mono(self) -> &'static MonoFont<'static> {
        match self {
            Self::Small => &FONT_6X10,
            Self::Large => &FONT_8X13,
        }
    }

    /// Pixels of a letter.
    #[must_use]
    pub const fn letter(self) -> Size {
        self.mono().character_size
    }

    /// Pixels from a line to the next.
    #[must_use]
    pub const fn line(self) -> u32 {
        self.letter().height + 2
    }
}

/// Takes the parts of a picture.
pub trait Canvas {
    /// Why it can't.
    type Error;

    /// Fills a rectangle.
    ///
    /// # Errors
    /// The canvas's own.
    fn fill(&mut self, area: Rectangle, color: Rgb888) -> Result<(), Self::Error>;

    /// Writes a line, the upper left corner of its first letter at `at`, over whatever is there.
    ///
    /// # Errors
    /// The canvas's own.
    fn text(&mut self, text: &str, at: Point, font: Font, color: Rgb888) -> Result<(), Self::Error>;
}

/// A draw target as a canvas.
#[derive(Debug)]
pub struct Screen<'t, D>(
    /// Where it is drawn.
    pub &'t mut D,
);

impl<D: DrawTarget<Color = Rgb888>> Canvas for Screen<'_, D> {
    type Error = D::Error;

    fn fill(&mut self, area: Rectangle, color: Rgb888) -> Result<(), D::Error> {
        self.0.fill_solid(&area, color)
    }

    fn text(&mut self, text: &str, at: Point, font: Font, color: Rgb888) -> Result<(), D::Error> {
        let style = MonoTextStyleBuilder::new().font(font.mono()).text_color(color);
        let style = style.background_color(BACKGROUND).build();
        Text::with_baseline(text, at, style, Baseline::Top).draw(self.0).map(|_| ())
    }
}
