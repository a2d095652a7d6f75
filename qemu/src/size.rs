//! Memory sizes as people type them: `128M`, `1G`, `0x20000K`.

use std::fmt;

const PAGE: u64 = 4096;

/// A number of bytes, a whole number of 4 KiB pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Why a text is not a usable size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeError {
    /// No number, or something after it that is not a unit.
    NotASize,
    /// A bare number: QEMU would read MiB, Linux bytes.
    NoUnit,
    /// Zero, or not a multiple of the page size.
    NotWholePages,
    /// More than the board can have.
    TooLarge {
        /// The most the board can have.
        max: Size,
    },
}

impl Size {
    /// Reads a decimal or `0x` number with one of the units K, M and G.
    ///
    /// # Errors
    /// A [`SizeError`] that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let (digits, unit) = match text.char_indices().last() {
            Some((at, last)) if last.is_ascii_alphabetic() => (&text[..at], unit_bytes(last)),
            _ => return Err(number(text).map_or(SizeError::NotASize, |_| SizeError::NoUnit)),
        };
        // A hexadecimal number may end in a letter that is no unit.
        let unit = unit.ok_or_else(|| number(text).map_or(SizeError::NotASize, |_| SizeError::NoUnit))?;
        let bytes = number(digits).and_then(|n| n.checked_mul(unit)).ok_or(SizeError::NotASize)?;
        if bytes == 0 || !bytes.is_multiple_of(PAGE) {
            return Err(SizeError::NotWholePages);
        }
        Ok(Self(bytes))
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// This size, if it is at most `max`.
    ///
    /// # Errors
    /// [`SizeError::TooLarge`].
    pub fn at_most(self, max: Self) -> Result<Self, SizeError> {
        if self <= max { Ok(self) } else { Err(SizeError::TooLarge { max }) }
    }
}

fn unit_bytes(letter: char) -> Option<u64> {
    match letter.to_ascii_uppercase() {
        'K' => Some(1 << 10),
        'M' => Some(1 << 20),
        'G' => Some(1 << 30),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// In the largest unit that divides it, which is what QEMU's `-m` reads.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n % (1 << 30) == 0 => write!(f, "{}G", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}M", n >> 20),
            n => write!(f, "{}K", n >> 10),
        }
    }
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASize => f.write_str("not a number with K, M or G, such as 128M"),
            Self::NoUnit => f.write_str("no unit: say K, M or G, such as 128M"),
            Self::NotWholePages => f.write_str("not a whole number of 4 KiB pages"),
            Self::TooLarge { max } => write!(f, "the board can have at most {max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_radixes() {
        for (text, bytes, shown) in [
            ("128M", 128 << 20, "128M"),
            ("1g", 1 << 30, "1G"),
            ("4k", 4096, "4K"),
            ("0x10M", 16 << 20, "16M"),
            (" 1024K ", 1 << 20, "1M"),
            ("3072M", 3 << 30, "3G"),
        ] {
            let size = Size::parse(text).unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn refusals_say_why() {
        for (text, error) in [
            ("", SizeError::NotASize),
            ("M", SizeError::NotASize),
            ("12Q", SizeError::NotASize),
            ("-1M", SizeError::NotASize),
            ("+1M", SizeError::NotASize),
            ("1MM", SizeError::NotASize),
            ("99999999999999999999M", SizeError::NotASize),
            ("18446744073709551615G", SizeError::NotASize),
            ("128", SizeError::NoUnit),
            ("0xfff", SizeError::NoUnit),
            ("0M", SizeError::NotWholePages),
            ("3K", SizeError::NotWholePages),
            ("é", SizeError::NotASize),
        ] {
            assert_eq!(Size::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_board_sets_the_limit() {
        let max = Size::parse("2G").unwrap();
        assert_eq!(max.at_most(max), Ok(max));
        let more = Size::parse("2097156K").unwrap();
        assert_eq!(more.at_most(max), Err(SizeError::TooLarge { max }));
    }
}
