//! Tests of the functions against what they are defined to do, byte by byte.
//!
//! The buffers are read and written with volatile accesses of single bytes, so that the compiler does not put the functions
//! under test into the test itself.

use core::{ffi::c_int, fmt};

/// Alignments that are tried: those of a cache line's words and bytes.
const ALIGNMENTS: usize = 32;
/// The largest size that is tried.
const SIZES: usize = 300;
/// Bytes before and after that must stay as they are.
const GUARD: usize = 40;
const BUFFER: usize = GUARD + ALIGNMENTS + SIZES + GUARD;
const UNTOUCHED: u8 = 0xa5;

/// The functions that are tested.
#[derive(Clone, Copy)]
pub struct Functions {
    /// `memcpy`.
    pub memcpy: unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8,
    /// `memmove`.
    pub memmove: unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8,
    /// `memset`.
    pub memset: unsafe extern "C" fn(*mut u8, c_int, usize) -> *mut u8,
    /// `memcmp`.
    pub memcmp: unsafe extern "C" fn(*const u8, *const u8, usize) -> c_int,
}

unsafe extern "C" {
    fn memcpy(destination: *mut u8, source: *const u8, len: usize) -> *mut u8;
    fn memmove(destination: *mut u8, source: *const u8, len: usize) -> *mut u8;
    fn memset(destination: *mut u8, byte: c_int, len: usize) -> *mut u8;
    fn memcmp(left: *const u8, right: *const u8, len: usize) -> c_int;
}

impl Functions {
    /// Those that are linked under the usual names.
    pub const LINKED: Self = Self { memcpy, memmove, memset, memcmp };
}

/// What went wrong first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The function.
    pub function: &'static str,
    /// Alignment of the destination, or of the first buffer.
    pub destination: usize,
    /// Alignment of the source, or of the second buffer.
    pub source: usize,
    /// Bytes asked for.
    pub len: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, destination, source, len } = *self;
        write!(f, "{function}: wrong for {len} bytes at alignments {destination} and {source}")
    }
}

/// A buffer whose first byte lies at a multiple of [`ALIGNMENTS`].
#[repr(align(32))]
struct Buffer([u8; BUFFER]);

impl Buffer {
    const fn new() -> Self {
        Self([UNTOUCHED; BUFFER])
    }

    fn at(&mut self, index: usize) -> *mut u8 {
        (&raw mut self.0).cast::<u8>().wrapping_add(index)
    }

    fn get(&mut self, index: usize) -> u8 {
        assert!(index < BUFFER);
        // SAFETY: in bounds of a buffer that is borrowed exclusively.
        unsafe { self.at(index).read_volatile() }
    }

    fn put(&mut self, index: usize, byte: u8) {
        assert!(index < BUFFER);
        // SAFETY: as in `get`.
        unsafe { self.at(index).write_volatile(byte) }
    }

    /// Whether the bytes around `[start, start + len)`, and those in it, are as they should be; they are reset.
    fn check(&mut self, start: usize, len: usize, inside: impl Fn(usize) -> u8) -> bool {
        let mut right = true;
        for index in start - GUARD..start + len + GUARD {
            let expected =
                if (start..start + len).contains(&index) { inside(index - start) } else { UNTOUCHED };
            right &= self.get(index) == expected;
            self.put(index, UNTOUCHED);
        }
        right
    }
}

/// Byte `index` of a source: neighbours differ, and so do bytes a power of two apart.
fn pattern(index: usize) -> u8 {
    (index.wrapping_mul(167) >> 3) as u8 ^ index as u8
}

/// Tests `functions` on every alignment and on sizes from 0 to 300 bytes.
///
/// # Errors
/// The first [`Failure`].
pub fn selftest_of(functions: &Functions) -> Result<(), Failure> {
    let mut to = Buffer::new();
    let mut from = Buffer::new();
    (0..BUFFER).for_each(|index| from.put(index, pattern(index)));
    for destination in 0..ALIGNMENTS {
        for len in 0..=SIZES {
            set(functions, &mut to, destination, len)?;
            for source in 0..ALIGNMENTS {
                copy(functions, &mut to, &mut from, destination, source, len)?;
            }
        }
    }
    overlaps(functions, &mut to)?;
    comparisons(functions, &mut to, &mut from)
}

fn copy(
    functions: &Functions,
    to: &mut Buffer,
    from: &mut Buffer,
    destination: usize,
    source: usize,
    len: usize,
) -> Result<(), Failure> {
    let (target, origin) = (to.at(GUARD + destination), from.at(GUARD + source));
    // SAFETY: both ranges are inside of their buffers, which are two.
    let result = unsafe { (functions.memcpy)(target, origin, len) };
    let copied = to.check(GUARD + destination, len, |i| pattern(GUARD + source + i));
    if copied && result == target {
        return Ok(());
    }
    Err(Failure { function: "memcpy", destination, source, len })
}

fn set(functions: &Functions, to: &mut Buffer, destination: usize, len: usize) -> Result<(), Failure> {
    for byte in [0u8, 0x80 | len as u8] {
        let target = to.at(GUARD + destination);
        // Only the low byte of the argument counts.
        let argument = c_int::from(byte) | 0x5500;
        // SAFETY: the range is inside of the buffer.
        let result = unsafe { (functions.memset)(target, argument, len) };
        if !to.check(GUARD + destination, len, |_| byte) || result != target {
            return Err(Failure { function: "memset", destination, source: 0, len });
        }
    }
    Ok(())
}

/// Moves inside of one buffer, by each distance up and down.
fn overlaps(functions: &Functions, buffer: &mut Buffer) -> Result<(), Failure> {
    for source in 0..8 {
        for destination in 0..ALIGNMENTS * 2 {
            for len in 0..=SIZES - ALIGNMENTS {
                let (to, from) = (GUARD + destination, GUARD + 24 + source);
                (0..len).for_each(|i| buffer.put(from + i, pattern(i)));
                // SAFETY: both ranges are inside of the buffer.
                let result = unsafe { (functions.memmove)(buffer.at(to), buffer.at(from), len) };
                let mut right = result == buffer.at(to);
                right &= (0..len).all(|i| buffer.get(to + i) == pattern(i));
                for index in to.min(from) - 8..to.max(from) + len + 8 {
                    let written = (to..to + len).contains(&index);
                    let original =
                        if (from..from + len).contains(&index) { pattern(index - from) } else { UNTOUCHED };
                    right &= written || buffer.get(index) == original;
                    buffer.put(index, UNTOUCHED);
                }
                if !right {
                    return Err(Failure { function: "memmove", destination, source: 24 + source, len });
                }
            }
        }
    }
    Ok(())
}

/// Compares equal ranges, and ranges that differ in one byte, behind which more differs the other way.
fn comparisons(functions: &Functions, left: &mut Buffer, right: &mut Buffer) -> Result<(), Failure> {
    for destination in 0..8 {
        for source in 0..8 {
            for len in 0..=64 {
                let (l, r) = (GUARD + destination, GUARD + source);
                (0..len).for_each(|i| left.put(l + i, pattern(i)));
                (0..len).for_each(|i| right.put(r + i, pattern(i)));
                // What lies next to the ranges differs and must not count.
                left.put(l + len, 1);
                right.put(r + len, 2);
                let failure = Failure { function: "memcmp", destination, source, len };
                compare(functions, left, right, (l, r, len)).map_err(|()| failure)?;
                left.put(l + len, UNTOUCHED);
                right.put(r + len, UNTOUCHED);
            }
        }
    }
    Ok(())
}

fn compare(
    functions: &Functions,
    left: &mut Buffer,
    right: &mut Buffer,
    (l, r, len): (usize, usize, usize),
) -> Result<(), ()> {
    // SAFETY: both ranges are inside of their buffers.
    let call =
        |left: &mut Buffer, right: &mut Buffer| unsafe { (functions.memcmp)(left.at(l), right.at(r), len) };
    if call(left, right) != 0 {
        return Err(());
    }
    for (at, change) in (0..len).flat_map(|at| [(at, 1), (at, 0x80)]) {
        let byte = pattern(at);
        let changed = byte.wrapping_add(change);
        left.put(l + at, changed);
        // Bytes compare as unsigned ones.
        let expected = changed.cmp(&byte);
        if at + 1 < len {
            left.put(l + at + 1, if expected.is_gt() { 0 } else { 255 });
        }
        let result = call(left, right).cmp(&0);
        left.put(l + at, byte);
        if at + 1 < len {
            left.put(l + at + 1, pattern(at + 1));
        }
        if result != expected {
            return Err(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn copy_one_less(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: as in the caller.
        unsafe { to.copy_from(from, if len == 77 { 76 } else { len }) };
        to
    }

    extern "C" fn copy_one_more(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the buffers have guards.
        unsafe { to.copy_from(from, if len == 33 && to.addr() % 4 == 3 { 34 } else { len }) };
        to
    }

    extern "C" fn move_upwards(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: as in the caller; that it ignores the overlap is the point.
        (0..len).for_each(|i| unsafe { to.add(i).write(from.add(i).read()) });
        to
    }

    extern "C" fn compare_signed(left: *const u8, right: *const u8, len: usize) -> c_int {
        // SAFETY: as in the caller.
        let differ = (0..len).find(|&i| unsafe { left.add(i).read() != right.add(i).read() });
        // SAFETY: as in the caller.
        differ.map_or(0, |i| unsafe {
            c_int::from(left.add(i).read() as i8) - c_int::from(right.add(i).read() as i8)
        })
    }

    extern "C" fn set_whole_argument(to: *mut u8, byte: c_int, len: usize) -> *mut u8 {
        // SAFETY: as in the caller.
        unsafe { to.write_bytes((byte | byte >> 8) as u8, len) };
        to
    }

    #[test]
    fn the_hosts_functions_pass() {
        if !cfg!(miri) {
            assert_eq!(crate::selftest(), Ok(()));
        }
    }

    #[test]
    fn wrong_functions_are_found() {
        let good = Functions::LINKED;
        let failing = |functions: Functions| selftest_of(&functions).unwrap_err();
        let f = failing(Functions { memcpy: copy_one_less, ..good });
        assert_eq!((f.function, f.len), ("memcpy", 77));
        let f = failing(Functions { memcpy: copy_one_more, ..good });
        assert_eq!((f.function, f.len, f.destination % 4), ("memcpy", 33, 3));
        assert_eq!(failing(Functions { memmove: move_upwards, ..good }).function, "memmove");
        assert_eq!(failing(Functions { memcmp: compare_signed, ..good }).function, "memcmp");
        assert_eq!(failing(Functions { memset: set_whole_argument, ..good }).function, "memset");
    }
}
