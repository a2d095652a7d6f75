//! What log and debugfs print of an area.

use super::area::CmaArea;
use core::fmt;

/// `48@16+192@64=> 240 free of 256 total pages`: pages at bit for each free run.
#[derive(Clone, Copy, Debug)]
pub struct AvailablePages<'a, 'm>(pub &'a CmaArea<'m>);

impl fmt::Display for AvailablePages<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (area, mut total) = (self.0, 0);
        for (bit, bits) in area.bitmap.iter().flat_map(|bitmap| bitmap.zero_runs()) {
            let plus = if total == 0 { "" } else { "+" };
            let pages = bits << area.order_per_bit;
            write!(f, "{plus}{pages}@{bit}")?;
            total += pages;
        }
        write!(f, "=> {total} free of {} total pages", area.count)
    }
}

/// `/sys/kernel/debug/cma/cma-NAME/bitmap`: the words, decimal, in one line.
#[derive(Clone, Copy, Debug)]
pub struct BitmapWords<'a, 'm>(pub &'a CmaArea<'m>);

impl fmt::Display for BitmapWords<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.bitmap.as_ref().map_or(&[][..], |bitmap| bitmap.words());
        for (nth, word) in words.iter().enumerate() {
            write!(f, "{}{word}", if nth == 0 { "" } else { " " })?;
        }
        writeln!(f)
    }
}
