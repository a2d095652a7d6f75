//! Numbers on the command line, bit for bit as the kernel reads them.
//!
//! Source: Linux 6.1 `lib/cmdline.c` (`memparse`), `lib/vsprintf.c` (`simple_strtoull`) and `lib/kstrtox.c`.

/// A number as read from the start of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number<'a> {
    /// Modulo 2^64.
    pub value: u64,
    /// Whether the modulo took something away.
    pub wrapped: bool,
    /// What is left over.
    pub rest: &'a str,
}

/// Base 0 as in `simple_strtoull`: `0x` before a hex digit is 16, a leading `0` is 8, else 10. No sign, no
/// blanks. Overflow wraps modulo 2^64. Returns the value and what is left over.
#[must_use]
pub fn simple_strtoull(text: &str) -> (u64, &str) {
    let number = digits(text);
    (number.value, number.rest)
}

/// A number with an optional one-letter suffix, K M G T P E in either case, for powers of 1,024. Returns the
/// value modulo 2^64 and what is left over.
#[must_use]
pub fn memparse(text: &str) -> (u64, &str) {
    let number = size(text);
    (number.value, number.rest)
}

fn digits(text: &str) -> Number<'_> {
    let (base, start) = match text.as_bytes() {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let mut number = Number { value: 0, wrapped: false, rest: text };
    let mut len = start;
    for digit in text.bytes().skip(start).map_while(|b| char::from(b).to_digit(base)) {
        let (product, over) = number.value.overflowing_mul(base.into());
        let (sum, carry) = product.overflowing_add(digit.into());
        number.value = sum;
        number.wrapped |= over || carry;
        len += 1;
    }
    number.rest = text.get(len..).unwrap_or_default();
    number
}

/// [`memparse`] that also tells whether the value wrapped.
pub(crate) fn size(text: &str) -> Number<'_> {
    let number = digits(text);
    let shift = match number.rest.bytes().next().map(|b| b.to_ascii_uppercase()) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => return number,
    };
    let value = number.value << shift;
    let wrapped = number.wrapped || value >> shift != number.value;
    Number { value, wrapped, rest: number.rest.get(1..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cases_of_the_spec() {
        assert_eq!(memparse("0x8E"), (0x8e, ""));
        assert_eq!(memparse("0x"), (0, "x"));
        assert_eq!(memparse("0xg"), (0, "xg"));
        assert_eq!(memparse("08"), (0, "8"));
        assert_eq!(memparse("8MB"), (8 << 20, "B"));
        assert_eq!(memparse("010k"), (8 << 10, ""));
        assert_eq!(memparse("-1"), (0, "-1"));
        assert_eq!(memparse(" 1"), (0, " 1"));
        assert_eq!(memparse("M"), (0, ""));
        assert_eq!(memparse("18446744073709551617"), (1, ""));
        assert_eq!(memparse("16E"), (0, ""));
        assert_eq!(memparse("0x7f00000 rest"), (0x7f0_0000, " rest"));
    }

    /// Digits as a polynomial over a list of decimal limbs: a big integer that shares nothing with the reader.
    fn model(text: &str) -> (u64, String) {
        let chars: Vec<char> = text.chars().collect();
        let hex = chars.len() > 2 && text.to_lowercase().starts_with("0x") && chars[2].is_ascii_hexdigit();
        let (base, skip) = if hex { (16, 2) } else { (if text.starts_with('0') { 8 } else { 10 }, 0) };
        let end = (skip..chars.len()).find(|&i| chars[i].to_digit(base).is_none()).unwrap_or(chars.len());
        let mut limbs = vec![0u32];
        for c in &chars[skip..end] {
            let mut carry = c.to_digit(base).unwrap();
            for limb in &mut limbs {
                let sum = *limb * base + carry;
                (*limb, carry) = (sum % 10_000, sum / 10_000);
            }
            if carry > 0 {
                limbs.push(carry);
            }
        }
        let suffix = chars.get(end).and_then(|c| "KMGTPE".find(c.to_ascii_uppercase()));
        for _ in 0..suffix.map_or(0, |power| 10 * (power + 1)) {
            let mut carry = 0;
            for limb in &mut limbs {
                let sum = *limb * 2 + carry;
                (*limb, carry) = (sum % 10_000, sum / 10_000);
            }
            if carry > 0 {
                limbs.push(carry);
            }
        }
        let modulus = 1u128 << 64;
        let value = limbs.iter().rev().fold(0u128, |n, limb| (n * 10_000 + u128::from(*limb)) % modulus);
        (value as u64, chars[end + usize::from(suffix.is_some())..].iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
        fn memparse_agrees_with_big_integers(
            text in "(0|0x|0X|)[0-9a-fA-F]{0,30}[kKmMgGtTpPeE]{0,2}[-@,x zé]{0,3}"
        ) {
            let (value, rest) = memparse(&text);
            prop_assert_eq!((value, rest.to_string()), model(&text));
        }
    }
}
