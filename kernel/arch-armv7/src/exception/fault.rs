//! What a fault status register says, in words.
//!
//! Source: ARM DDI 0406C, B3.13.3, table B3-23 (short-descriptor fault status encodings), B4.1.51 (DFSR).

use core::fmt;
use types::VirtAddr;

const WRITE: u32 = 1 << 11;
const EXTERNAL: u32 = 1 << 12;
const MAINTENANCE: u32 = 1 << 13;

/// DFSR or IFSR in the short-descriptor format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultStatus(pub u32);

impl FaultStatus {
    /// Bits 10 and 3 to 0 as one number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0 >> 6 & 0x10 | self.0 & 0xf
    }

    /// A store, or cache maintenance, which counts as one.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & WRITE != 0
    }

    /// There is no translation, at either level.
    #[must_use]
    pub const fn is_translation(self) -> bool {
        matches!(self.code(), 0b00101 | 0b00111)
    }

    /// The access flag is clear, at either level.
    #[must_use]
    pub const fn is_access_flag(self) -> bool {
        matches!(self.code(), 0b00011 | 0b00110)
    }

    /// The rights don't allow it, at either level.
    #[must_use]
    pub const fn is_permission(self) -> bool {
        matches!(self.code(), 0b01101 | 0b01111)
    }

    /// The access that caused it is not known: an external abort or parity error that came late.
    #[must_use]
    pub const fn is_asynchronous(self) -> bool {
        matches!(self.code(), 0b10110 | 0b11000)
    }

    /// What happened; `section` is the first level, `page` the second.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.code() {
            0b00001 => "alignment fault",
            0b00010 => "debug event",
            0b00011 => "section access flag fault",
            0b00100 => "instruction cache maintenance fault",
            0b00101 => "section translation fault",
            0b00110 => "page access flag fault",
            0b00111 => "page translation fault",
            0b01000 => "synchronous external abort",
            0b01001 => "section domain fault",
            0b01011 => "page domain fault",
            0b01100 => "external abort on first-level table walk",
            0b01101 => "section permission fault",
            0b01110 => "external abort on second-level table walk",
            0b01111 => "page permission fault",
            0b10000 => "TLB conflict abort",
            0b10100 => "lockdown abort",
            0b10110 => "asynchronous external abort",
            0b11000 => "asynchronous parity error",
            0b11001 => "synchronous parity error",
            0b11010 => "coprocessor abort",
            0b11100 => "parity error on first-level table walk",
            0b11110 => "parity error on second-level table walk",
            _ => "unknown fault",
        }
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#05x}: {}", self.0, self.name())?;
        if self.0 & MAINTENANCE != 0 {
            f.write_str(", cache maintenance")?;
        }
        if self.0 & EXTERNAL != 0 {
            f.write_str(", slave error")?;
        }
        Ok(())
    }
}

/// An exception that nobody handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A load or store.
    Data {
        /// The address; not valid for an asynchronous abort.
        addr: VirtAddr,
        /// DFSR.
        status: FaultStatus,
    },
    /// An instruction fetch.
    Prefetch {
        /// The address.
        addr: VirtAddr,
        /// IFSR.
        status: FaultStatus,
    },
    /// An instruction that does not exist here.
    Undefined {
        /// Its address.
        addr: VirtAddr,
        /// Its encoding; `None` when it can't be read.
        code: Option<u32>,
    },
    /// The stack ran into its guard page, or the stack pointer points nowhere.
    StackOverflow {
        /// The address of the access.
        addr: VirtAddr,
        /// The stack pointer.
        sp: VirtAddr,
    },
    /// An exception that nothing here raises: SVC, FIQ, reset.
    Unexpected {
        /// Which.
        name: &'static str,
    },
}

impl fmt::Display for Fault {
    /// One line, in Linux's words where it has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Data { addr, status } => {
                let what = if addr.get() < 0x1000 { "NULL pointer dereference" } else { "paging request" };
                let access = if status.is_write() { "write" } else { "read" };
                let addr = addr.get();
                write!(f, "Unable to handle kernel {what} at virtual address {addr:08x} when {access}")?;
                write!(f, " (DFSR {status})")
            }
            Self::Prefetch { addr, status } => {
                let addr = addr.get();
                write!(
                    f,
                    "Unable to handle kernel paging request at virtual address {addr:08x} when execute"
                )?;
                write!(f, " (IFSR {status})")
            }
            Self::Undefined { addr, code: Some(code) } => {
                write!(f, "undefined instruction: pc={:08x} code={code:08x}", addr.get())
            }
            Self::Undefined { addr, code: None } => {
                write!(f, "undefined instruction: pc={:08x}", addr.get())
            }
            Self::StackOverflow { addr, sp } => {
                write!(f, "kernel stack overflow: access to {:08x}, sp={:08x}", addr.get(), sp.get())
            }
            Self::Unexpected { name } => write!(f, "unexpected {name} exception"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn codes_are_named_as_in_the_manual() {
        // DFSR values as a Cortex-A7 gives them: FS[4] is bit 10, WnR bit 11.
        assert_eq!(FaultStatus(0x005).to_string(), "0x005: section translation fault");
        assert_eq!(FaultStatus(0x80f).to_string(), "0x80f: page permission fault");
        assert_eq!(FaultStatus(0x1c06).to_string(), "0x1c06: asynchronous external abort, slave error");
        assert_eq!(FaultStatus(0x2807).to_string(), "0x2807: page translation fault, cache maintenance");
        assert_eq!(FaultStatus(0x40f).name(), "unknown fault");
    }

    #[test]
    fn classes_cover_both_levels() {
        let classes = |fsr| {
            let status = FaultStatus(fsr);
            (status.is_translation(), status.is_access_flag(), status.is_permission())
        };
        assert_eq!([0x5, 0x7].map(classes), [(true, false, false); 2]);
        assert_eq!([0x3, 0x6].map(classes), [(false, true, false); 2]);
        assert_eq!([0xd, 0xf].map(classes), [(false, false, true); 2]);
        assert_eq!(classes(0x405), (false, false, false), "bit 10 is part of the code");
        assert!(FaultStatus(0x1406).is_asynchronous() && !FaultStatus(0x1008).is_asynchronous());
    }

    #[test]
    fn a_data_abort_reads_like_linux() {
        let fault = Fault::Data { addr: VirtAddr::new(0), status: FaultStatus(0x805) };
        assert!(fault.to_string().starts_with(
            "Unable to handle kernel NULL pointer dereference at virtual address 00000000 when write"
        ));
    }
}
