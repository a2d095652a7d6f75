//! The registers of an interrupted program, as vectors.S pushes them.

use core::fmt;

/// Registers at the moment of an exception.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Frame {
    /// r0 to r12; r7 is the frame pointer, as the image is compiled to Thumb code.
    pub r: [u32; 13],
    /// Stack pointer.
    pub sp: u32,
    /// Link register.
    pub lr: u32,
    /// Where the program goes on, or would have.
    pub pc: u32,
    /// Program status.
    pub cpsr: u32,
}

impl Frame {
    /// The frame pointer, for [`Backtrace`](super::Backtrace).
    #[must_use]
    pub const fn fp(&self) -> u32 {
        self.r[7]
    }

    /// Whether the program was in Thumb state.
    #[must_use]
    pub const fn is_thumb(&self) -> bool {
        self.cpsr & 1 << 5 != 0
    }

    /// Whether the program took interrupts.
    #[must_use]
    pub const fn irqs_on(&self) -> bool {
        self.cpsr & 1 << 7 == 0
    }

    const fn mode(&self) -> &'static str {
        match self.cpsr & 0x1f {
            0x10 => "USER_32",
            0x11 => "FIQ_32",
            0x12 => "IRQ_32",
            0x13 => "SVC_32",
            0x16 => "MON_32",
            0x17 => "ABT_32",
            0x1a => "HYP_32",
            0x1b => "UND_32",
            0x1f => "SYS_32",
            _ => "UK?_32",
        }
    }
}

impl fmt::Display for Frame {
    /// As Linux's `__show_regs` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.r;
        writeln!(f, "PC is at [<{:08x}>]", self.pc)?;
        writeln!(f, "LR is at [<{:08x}>]", self.lr)?;
        writeln!(f, "pc : [<{:08x}>]    lr : [<{:08x}>]    psr: {:08x}", self.pc, self.lr, self.cpsr)?;
        writeln!(f, "sp : {:08x}  ip : {:08x}  fp : {:08x}", self.sp, r[12], r[11])?;
        writeln!(f, "r10: {:08x}  r9 : {:08x}  r8 : {:08x}", r[10], r[9], r[8])?;
        writeln!(f, "r7 : {:08x}  r6 : {:08x}  r5 : {:08x}  r4 : {:08x}", r[7], r[6], r[5], r[4])?;
        writeln!(f, "r3 : {:08x}  r2 : {:08x}  r1 : {:08x}  r0 : {:08x}", r[3], r[2], r[1], r[0])?;
        let flag = |bit: u32, set, clear| if self.cpsr >> bit & 1 != 0 { set } else { clear };
        let flags = [flag(31, "N", "n"), flag(30, "Z", "z"), flag(29, "C", "c"), flag(28, "V", "v")];
        f.write_str("Flags: ")?;
        flags.iter().try_for_each(|flag| write!(f, "{flag}"))?;
        let (irqs, fiqs) = (flag(7, "off", "on"), flag(6, "off", "on"));
        let isa = flag(5, "Thumb", "ARM");
        write!(f, "  IRQs {irqs}  FIQs {fiqs}  Mode {}  ISA {isa}", self.mode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_layout_is_the_one_that_vectors_s_pushes() {
        use core::mem::offset_of;
        assert_eq!(size_of::<Frame>(), 17 * 4);
        assert_eq!(offset_of!(Frame, sp), 13 * 4);
        assert_eq!([offset_of!(Frame, lr), offset_of!(Frame, pc), offset_of!(Frame, cpsr)], [56, 60, 64]);
    }

    #[test]
    fn registers_print_as_linux_prints_them() {
        let mut frame = Frame {
            sp: 0xc001_fff0,
            lr: 0xc000_8abc,
            pc: 0xc000_9000,
            cpsr: 0x6000_0193,
            ..Frame::default()
        };
        frame.r = core::array::from_fn(|n| n as u32);
        let text = frame.to_string();
        let lines: std::vec::Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "pc : [<c0009000>]    lr : [<c0008abc>]    psr: 60000193");
        assert_eq!(lines[3], "sp : c001fff0  ip : 0000000c  fp : 0000000b");
        assert_eq!(lines[6], "r3 : 00000003  r2 : 00000002  r1 : 00000001  r0 : 00000000");
        assert_eq!(lines[7], "Flags: nZCv  IRQs off  FIQs on  Mode SVC_32  ISA ARM");
    }
}
