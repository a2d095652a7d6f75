//! Physical and virtual addresses, and page frame numbers.

use crate::{PAGE_SHIFT, PAGE_SIZE, align_down, align_up};
use core::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The address with this numeric value.
            #[must_use]
            pub const fn new(raw: u32) -> Self {
                Self(raw)
            }

            /// The numeric value.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// Rounded down to a multiple of the power of two `align`.
            #[must_use]
            pub const fn align_down(self, align: u32) -> Self {
                Self(align_down(self.0, align))
            }

            /// Rounded up to a multiple of the power of two `align`; `None` past the end of the 32-bit space.
            #[must_use]
            pub const fn align_up(self, align: u32) -> Option<Self> {
                match align_up(self.0, align) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Whether this is a multiple of the power of two `align`.
            #[must_use]
            pub const fn is_aligned(self, align: u32) -> bool {
                self.0 & (align - 1) == 0
            }

            /// `bytes` further on; `None` past the end of the 32-bit space.
            #[must_use]
            pub const fn checked_add(self, bytes: u32) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Bytes from `base` to here; `None` when `base` lies above.
            #[must_use]
            pub const fn checked_sub(self, base: Self) -> Option<u32> {
                self.0.checked_sub(base.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#010x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#010x})"), self.0)
            }
        }
    };
}

address! {
    /// An address on the memory bus as the CPU sees it.
    PhysAddr
}

address! {
    /// An address that the CPU's MMU translates: a kernel mapping or a user mapping.
    VirtAddr
}

/// A page frame number: a physical address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pfn(u32);

impl Pfn {
    /// The frame with this number.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The frame that holds `addr`.
    #[must_use]
    pub const fn containing(addr: PhysAddr) -> Self {
        Self(addr.get() >> PAGE_SHIFT)
    }

    /// The first byte of the frame. Frames at or above 2^20 do not exist in a 32-bit physical space and wrap.
    #[must_use]
    pub const fn addr(self) -> PhysAddr {
        PhysAddr::new(self.0.wrapping_mul(PAGE_SIZE))
    }

    /// The frame `pages` further on.
    #[must_use]
    pub const fn add(self, pages: u32) -> Self {
        Self(self.0 + pages)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#07x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#07x})", self.0)
    }
}
