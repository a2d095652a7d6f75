//! A frame in memory, to be drawn on with `embedded-graphics`.
//!
//! One of this crate's modules with `unsafe`: pixels are stored through a pointer, with volatile stores, because the
//! display reads them behind the compiler's back.

use super::{Depth, Mode};
use crate::mmio::wmb;
use core::convert::Infallible;
use core::ptr::NonNull;
use embedded_graphics_core::pixelcolor::raw::RawU16;
use embedded_graphics_core::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics_core::prelude::*;
use embedded_graphics_core::primitives::Rectangle;

/// See the [module](self). It takes 24-bit colours in every mode.
#[derive(Debug)]
pub struct Frame {
    base: NonNull<u8>,
    mode: Mode,
}

// SAFETY: the memory belongs to the frame alone, and any CPU can store to it.
unsafe impl Send for Frame {}

impl Frame {
    /// The frame of `mode` at `base`.
    ///
    /// # Safety
    /// `base` is aligned to 4 bytes and followed by [`Mode::bytes`] bytes that stay mapped for stores, and that nobody
    /// but the frame and the display accesses while it lives.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, mode: Mode) -> Self {
        Self { base, mode }
    }

    /// What is shown.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Everything drawn so far is in memory when this returns.
    pub fn flush(&mut self) {
        wmb();
    }

    /// Stores `count` pixels from `x`, `y` on, which lie in one row of the frame.
    fn store(&mut self, x: u32, y: u32, count: u32, color: Rgb888) {
        let (width, height) = self.mode.resolution.size();
        debug_assert!(x + count <= width && y < height);
        let first = (y * width + x) as usize;
        match self.mode.depth {
            Depth::Bits16 => {
                let raw = RawU16::from(Rgb565::from(color)).into_inner();
                for pixel in first..first + count as usize {
                    // SAFETY: a pixel of the frame (`draw_iter` and `fill_solid` clip), whose memory is ours.
                    unsafe { self.base.cast::<u16>().add(pixel).write_volatile(raw) }
                }
            }
            Depth::Bits32 => {
                let raw = color.into_storage();
                for pixel in first..first + count as usize {
                    // SAFETY: as above.
                    unsafe { self.base.cast::<u32>().add(pixel).write_volatile(raw) }
                }
            }
        }
    }
}

impl OriginDimensions for Frame {
    fn size(&self) -> Size {
        let (width, height) = self.mode.resolution.size();
        Size::new(width, height)
    }
}

impl DrawTarget for Frame {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let Size { width, height } = self.size();
        for Pixel(Point { x, y }, color) in pixels {
            let (x, y) = (x as u32, y as u32);
            // A negative coordinate is a large one now.
            if x < width && y < height {
                self.store(x, y, 1, color);
            }
        }
        Ok(())
    }

    /// Letters come this way: in the frame as a whole, they need no look at each pixel.
    fn fill_contiguous<I: IntoIterator<Item = Rgb888>>(
        &mut self,
        area: &Rectangle,
        colors: I,
    ) -> Result<(), Infallible> {
        if area.intersection(&self.bounding_box()) != *area {
            return self.draw_iter(area.points().zip(colors).map(|(point, color)| Pixel(point, color)));
        }
        let (left, top) = (area.top_left.x as u32, area.top_left.y as u32);
        let mut colors = colors.into_iter();
        for y in top..top + area.size.height {
            for (x, color) in (left..left + area.size.width).zip(&mut colors) {
                self.store(x, y, 1, color);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let Rectangle { top_left, size } = area.intersection(&self.bounding_box());
        for row in 0..size.height {
            self.store(top_left.x as u32, top_left.y as u32 + row, size.width, color);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const RED: Rgb888 = Rgb888::new(0xff, 0x41, 0x08);

    fn drawn(text: &str, draw: impl FnOnce(&mut Frame)) -> Vec<u32> {
        let mode = Mode::parse(text).unwrap();
        // A word behind the frame, which nobody may touch.
        let mut memory = vec![0u32; mode.bytes() as usize / 4 + 1];
        // SAFETY: the memory outlives the frame and is read after its last use.
        let mut frame = unsafe { Frame::new(NonNull::from(&mut memory[..]).cast(), mode) };
        draw(&mut frame);
        assert_eq!(memory.pop(), Some(0), "beyond the frame");
        memory
    }

    #[test]
    fn pixels_have_the_modes_form() {
        let draw = |frame: &mut Frame| {
            frame.draw_iter([Pixel(Point::new(1, 0), RED), Pixel(Point::new(639, 479), RED)]).unwrap();
            frame.flush();
        };
        let deep = drawn("640x480-32", draw);
        assert_eq!((deep[0], deep[1], deep[640 * 480 - 1]), (0, 0x00ff_4108, 0x00ff_4108));
        let flat = drawn("640x480-16", draw);
        assert_eq!((flat[0], flat[640 * 240 - 1]), (0xfa01_0000, 0xfa01_0000));
    }

    #[test]
    fn rows_of_colours_are_cut_at_the_edges() {
        let colors = || (0..12).map(|shade| Rgb888::new(0, 0, shade + 1));
        let lit = |at: Point| {
            let area = Rectangle::new(at, Size::new(4, 3));
            let memory = drawn("640x480-32", |frame| frame.fill_contiguous(&area, colors()).unwrap());
            (0..memory.len())
                .filter(|&at| memory[at] != 0)
                .map(|at| (at % 640, at / 640, memory[at]))
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..12).map(|n| (7 + n % 4, 9 + n / 4, n as u32 + 1)).collect();
        assert_eq!(lit(Point::new(7, 9)), all);
        assert_eq!(lit(Point::new(638, 478)), [(638, 478, 1), (639, 478, 2), (638, 479, 5), (639, 479, 6)]);
        assert_eq!(lit(Point::new(-2, -1)), [(0, 0, 7), (1, 0, 8), (0, 1, 11), (1, 1, 12)]);
        let few = |frame: &mut Frame| {
            frame
                .fill_contiguous(&Rectangle::new(Point::new(0, 0), Size::new(4, 3)), colors().take(2))
                .unwrap()
        };
        assert_eq!(drawn("640x480-32", few)[..4], [1, 2, 0, 0]);
    }

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let memory = drawn("640x480-32", |frame| {
            let outside = [(-1, 0), (640, 0), (0, -1), (0, 480), (i32::MAX, i32::MAX), (i32::MIN, 5)];
            frame.draw_iter(outside.map(|(x, y)| Pixel(Point::new(x, y), RED))).unwrap();
            frame.fill_solid(&Rectangle::new(Point::new(700, 3), Size::new(5, 5)), RED).unwrap();
            assert!(frame.size() == Size::new(640, 480) && frame.mode().bytes() == 640 * 480 * 4);
        });
        assert!(memory.iter().all(|&pixel| pixel == 0));
        let corner = drawn("640x480-32", |frame| {
            frame.fill_solid(&Rectangle::new(Point::new(-3, 478), Size::new(5, 9)), RED).unwrap();
        });
        let lit: Vec<_> = (0..corner.len()).filter(|&at| corner[at] != 0).collect();
        assert_eq!(lit, [478 * 640, 478 * 640 + 1, 479 * 640, 479 * 640 + 1]);
    }
}
