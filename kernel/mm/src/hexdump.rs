//! Bytes as Linux's `print_hex_dump` shows them: in hexadecimal, then as characters.

use core::fmt;

/// Bytes in a row.
pub(crate) const ROW: u32 = 16;

/// A row of up to [`ROW`] bytes.
pub(crate) struct Row<F> {
    /// The byte at an index.
    pub(crate) byte: F,
    /// How many there are.
    pub(crate) len: u32,
}

impl<F: Fn(u32) -> u8> fmt::Display for Row<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in 0..ROW {
            if index < self.len {
                write!(f, "{:02x} ", (self.byte)(index))?;
            } else {
                f.write_str("   ")?;
            }
        }
        f.write_str(" ")?;
        for index in 0..self.len {
            let byte = (self.byte)(index);
            let shown = if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '.' };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Row;
    use std::string::ToString;

    #[test]
    fn rows_line_up() {
        let text = b"Contig: \x00\x7f!";
        let row = Row { byte: |at: u32| text[at as usize], len: text.len() as u32 };
        let dumped = "43 6f 6e 74 69 67 3a 20 00 7f 21                 Contig: ..!";
        assert_eq!(row.to_string(), dumped);
    }
}
