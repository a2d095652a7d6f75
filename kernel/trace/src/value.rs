//! What a frame is made of: `defmt`'s encoding of values, little-endian and without padding.
//!
//! Source: the `defmt` book, "Serialization"; a string is its length as 32 bits, then its bytes.

/// The longest name in a frame.
pub const NAME_MAX: usize = 24;
/// The longest array of bytes in a frame.
pub const BYTES_MAX: usize = 96;

/// A value in a frame.
pub trait Value {
    /// The type as a format string has it.
    #[cfg(not(all(target_arch = "arm", target_os = "none")))]
    const TYPE: &'static str;
    /// Bytes of the longest one.
    #[cfg(not(all(target_arch = "arm", target_os = "none")))]
    const MAX: usize;

    /// Writes the value at `at`; where the next one goes.
    ///
    /// # Safety
    /// There is room for it, in Normal memory.
    #[cfg(all(target_arch = "arm", target_os = "none"))]
    #[allow(unsafe_code)]
    unsafe fn put(self, at: *mut u8) -> *mut u8;
}

macro_rules! value {
    ($type:ty, $name:literal, $max:expr, |$value:ident, $at:ident| $put:block) => {
        impl Value for $type {
            #[cfg(not(all(target_arch = "arm", target_os = "none")))]
            const TYPE: &'static str = $name;
            #[cfg(not(all(target_arch = "arm", target_os = "none")))]
            const MAX: usize = $max;

            #[cfg(all(target_arch = "arm", target_os = "none"))]
            #[allow(unsafe_code)]
            #[inline(always)]
            unsafe fn put(self, at: *mut u8) -> *mut u8 {
                let ($value, mut $at) = (self, at);
                // SAFETY: the caller's promise. Stores may have any address there (SCTLR.A is clear), which the compiler
                // does not believe of this target, so it would store bytes.
                unsafe { $put };
                $at
            }
        }
    };
}

value!(u8, "u8", 1, |value, at| {
    core::arch::asm!("strb {1}, [{0}], #1", inout(reg) at, in(reg) u32::from(value), options(nostack, preserves_flags));
});
value!(u16, "u16", 2, |value, at| {
    core::arch::asm!("strh {1}, [{0}], #2", inout(reg) at, in(reg) u32::from(value), options(nostack, preserves_flags));
});
value!(u32, "u32", 4, |value, at| {
    core::arch::asm!("str {1}, [{0}], #4", inout(reg) at, in(reg) value, options(nostack, preserves_flags));
});
value!(u64, "u64", 8, |value, at| {
    at = (value as u32).put(at);
    at = ((value >> 32) as u32).put(at);
});
value!(&str, "str", 4 + NAME_MAX, |value, at| {
    at = value.as_bytes().put(at);
});
value!(&[u8], "[u8]", 4 + BYTES_MAX, |value, at| {
    at = (value.len() as u32).put(at);
    at.copy_from_nonoverlapping(value.as_ptr(), value.len());
    at = at.add(value.len());
});

/// As much of a name as a frame has room for.
pub(crate) fn short(name: &str) -> &str {
    name.get(..NAME_MAX).unwrap_or(name)
}

/// The name in an array that is filled up with zeros.
pub(crate) fn text(name: &[u8]) -> &str {
    let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    short(core::str::from_utf8(&name[..len]).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_what_a_frame_holds() {
        assert_eq!(short("reserved"), "reserved");
        assert_eq!(short("0123456789012345678901234567"), "012345678901234567890123");
        assert_eq!(text(b"linux,cma\0\0"), "linux,cma");
        assert_eq!(text(b"\xff\0"), "?");
        assert_eq!(text(&[b'x'; 31]).len(), NAME_MAX);
    }
}
