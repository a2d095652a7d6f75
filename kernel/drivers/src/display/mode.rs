//! Modes: size, timing, and bits a pixel.
//!
//! Sources: VESA Display Monitor Timing standard, version 1.0 revision 11, for the timings; Linux's
//! `Documentation/fb/modedb.rst` for how a mode is written: `WIDTHxHEIGHT-BITS`.

use core::fmt;

/// A size with its timing at 60 Hz.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// 640 by 480 pixels.
    Vga,
    /// 1024 by 768 pixels.
    Xga,
}

/// What surrounds the pixels, in pixels or lines: front porch, synchronisation, back porch.
pub(super) struct Blanking {
    pub(super) horizontal: [u32; 3],
    pub(super) vertical: [u32; 3],
}

impl Resolution {
    /// All, smallest first.
    pub const ALL: [Self; 2] = [Self::Vga, Self::Xga];

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::Vga => (640, 480),
            Self::Xga => (1024, 768),
        }
    }

    pub(super) const fn blanking(self) -> Blanking {
        match self {
            Self::Vga => Blanking { horizontal: [16, 96, 48], vertical: [10, 2, 33] },
            Self::Xga => Blanking { horizontal: [24, 136, 160], vertical: [3, 6, 29] },
        }
    }
}

/// Bits of a pixel in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// 5 bits of red, 6 of green, 5 of blue, red in the highest.
    Bits16,
    /// 8 bits each in the lower 24, red in the highest.
    Bits32,
}

impl Depth {
    /// Bytes of a pixel.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Bits16 => 2,
            Self::Bits32 => 4,
        }
    }
}

/// What a display shows. Displays as `640x480-16`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Its size.
    pub resolution: Resolution,
    /// Its pixels.
    pub depth: Depth,
}

/// Why there is no such mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeError<'a> {
    /// Not of the form, or not a size or depth that there is.
    Unknown(&'a str),
    /// The frame is larger than the memory for it.
    TooLarge {
        /// The mode.
        mode: Mode,
        /// Bytes that there are.
        room: u32,
    },
}

impl Mode {
    /// Bytes of a frame.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        let (width, height) = self.resolution.size();
        width * height * self.depth.bytes()
    }

    /// The mode that a text such as `1024x768-32` means; without the bits a pixel, 16.
    ///
    /// # Errors
    /// [`ModeError::Unknown`].
    pub fn parse(text: &str) -> Result<Self, ModeError<'_>> {
        let (size, bits) = text.split_once('-').unwrap_or((text, "16"));
        let depth = match bits {
            "16" => Depth::Bits16,
            "32" => Depth::Bits32,
            _ => return Err(ModeError::Unknown(text)),
        };
        let resolution = match size {
            "640x480" => Resolution::Vga,
            "1024x768" => Resolution::Xga,
            _ => return Err(ModeError::Unknown(text)),
        };
        Ok(Self { resolution, depth })
    }

    /// Whether `room` bytes hold a frame.
    ///
    /// # Errors
    /// [`ModeError::TooLarge`].
    pub const fn fits(self, room: u32) -> Result<Self, ModeError<'static>> {
        if self.bytes() <= room { Ok(self) } else { Err(ModeError::TooLarge { mode: self, room }) }
    }

    /// The mode with the most pixels, and the most bits for them, whose frame fits into `room` bytes.
    #[must_use]
    pub fn largest(room: u32) -> Option<Self> {
        let depths = [Depth::Bits32, Depth::Bits16];
        let mut all = Resolution::ALL.into_iter().rev();
        all.find_map(|resolution| {
            depths.map(|depth| Self { resolution, depth }).into_iter().find(|mode| mode.fits(room).is_ok())
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.resolution.size();
        write!(f, "{width}x{height}-{}", self.depth.bytes() * 8)
    }
}

impl fmt::Display for ModeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(_) => f.write_str("no such mode: there are 640x480 and 1024x768, with -16 or -32"),
            Self::TooLarge { mode, room } => {
                write!(f, "{mode} needs {} bytes, the frame buffer has {room}", mode.bytes())
            }
        }
    }
}

impl core::error::Error for ModeError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn modes_are_written_and_read() {
        for (text, bytes) in [
            ("640x480-16", 614_400),
            ("640x480-32", 1_228_800),
            ("1024x768-16", 1_572_864),
            ("1024x768-32", 0x30_0000),
        ] {
            let mode = Mode::parse(text).unwrap();
            assert_eq!((format!("{mode}").as_str(), mode.bytes()), (text, bytes));
            assert_eq!(mode.fits(bytes), Ok(mode));
            assert_eq!(mode.fits(bytes - 1), Err(ModeError::TooLarge { mode, room: bytes - 1 }));
        }
        assert_eq!(Mode::parse("1024x768").unwrap().depth, Depth::Bits16);
        for text in ["", "640", "640x480-24", "640x480-", "800x600", "0640x480", "640x480-16-16"] {
            assert_eq!(Mode::parse(text), Err(ModeError::Unknown(text)));
        }
    }

    #[test]
    fn the_largest_mode_that_fits() {
        let largest = |room| Mode::largest(room).map(|mode| format!("{mode}"));
        assert_eq!(largest(0x30_0000).as_deref(), Some("1024x768-32"));
        assert_eq!(largest(0x2f_ffff).as_deref(), Some("1024x768-16"));
        assert_eq!(largest(1_572_863).as_deref(), Some("640x480-32"));
        assert_eq!(largest(700_000).as_deref(), Some("640x480-16"));
        assert_eq!(largest(600_000), None);
    }
}
