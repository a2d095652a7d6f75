//! ARM's PrimeCell colour LCD controller PL111: one frame from memory, over and over.
//!
//! The pixel clock is the controller's input clock, which the board sets; the divider is passed by. The interrupts
//! stay off: a frame that changes while it is shown does no harm here.
//!
//! Source: ARM DDI 0293C, 3.2 (registers), 3.3 (identification).

use super::{Depth, Mode};
use crate::mmio::{Registers, wmb};
use types::PhysAddr;

const TIMING0: u32 = 0x00;
const TIMING1: u32 = 0x04;
const TIMING2: u32 = 0x08;
const UPBASE: u32 = 0x10;
const LPBASE: u32 = 0x14;
const CONTROL: u32 = 0x18;
const IMSC: u32 = 0x1c;
const PERIPH_ID: u32 = 0xfe0;
const CELL_ID: u32 = 0xff0;

/// The divider is passed by; both synchronisation pulses are low.
const BYPASS: u32 = 1 << 26;
const LOW_HSYNC: u32 = 1 << 12;
const LOW_VSYNC: u32 = 1 << 11;

const ENABLE: u32 = 1;
const DEPTH_24: u32 = 5 << 1;
const DEPTH_565: u32 = 6 << 1;
const TFT: u32 = 1 << 5;
/// Red in the highest bits: the plain order of this controller has it in the lowest.
const BGR: u32 = 1 << 8;
const POWER: u32 = 1 << 11;

/// Bytes of the register block.
const BLOCK: usize = 0x1000;

/// What the identification registers tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Part number: 0x111.
    pub part: u32,
    /// Designer: 0x41 is ARM.
    pub designer: u32,
    /// Revision.
    pub revision: u32,
}

/// The controller.
pub struct Pl111<R> {
    registers: R,
    identity: Identity,
}

impl Pl111<crate::mmio::Mmio> {
    /// The controller with this block of registers; `None` when the block is too short, or another device's.
    #[must_use]
    pub fn in_block(registers: crate::mmio::Mmio) -> Option<Self> {
        (registers.len() >= BLOCK).then(|| Self::new(registers)).flatten()
    }
}

impl<R: Registers> Pl111<R> {
    /// The controller with these registers; `None` when they are another device's.
    #[must_use]
    fn new(registers: R) -> Option<Self> {
        let word =
            |at: u32| (0..4).map(|byte| (registers.read(at + 4 * byte) & 0xff) << (8 * byte)).sum::<u32>();
        let id = word(PERIPH_ID);
        let identity = Identity { part: id & 0xfff, designer: id >> 12 & 0xff, revision: id >> 20 & 0xf };
        let known = word(CELL_ID) == 0xb105_f00d && identity.part == 0x111;
        known.then_some(Self { registers, identity })
    }

    /// What it is.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Switches the display off.
    pub fn stop(&mut self) {
        let control = self.registers.read(CONTROL);
        self.registers.write(CONTROL, control & !POWER);
        self.registers.write(CONTROL, 0);
    }

    /// Shows the frame at `base`, which is there before and stays. What is written to it from now on is shown.
    pub fn show(&mut self, mode: Mode, base: PhysAddr) {
        self.stop();
        self.registers.write(IMSC, 0);
        let (width, height) = mode.resolution.size();
        let blanking = mode.resolution.blanking();
        let [front, sync, back] = blanking.horizontal;
        let porches = (back - 1) << 24 | (front - 1) << 16 | (sync - 1) << 8;
        self.registers.write(TIMING0, porches | (width / 16 - 1) << 2);
        let [front, sync, back] = blanking.vertical;
        self.registers.write(TIMING1, back << 24 | front << 16 | (sync - 1) << 10 | (height - 1));
        self.registers.write(TIMING2, BYPASS | (width - 1) << 16 | LOW_HSYNC | LOW_VSYNC);
        self.registers.write(UPBASE, base.get());
        self.registers.write(LPBASE, 0);
        let depth = match mode.depth {
            Depth::Bits16 => DEPTH_565,
            Depth::Bits32 => DEPTH_24,
        };
        wmb();
        let control = depth | TFT | BGR | ENABLE;
        self.registers.write(CONTROL, control);
        self.registers.write(CONTROL, control | POWER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    /// Registers that keep what is written, and the order of it.
    struct Fake(RefCell<(Vec<u32>, Vec<Write>)>);

    /// Offset and value.
    type Write = (u32, u32);

    impl Fake {
        fn with_ids(part: [u32; 4], cell: [u32; 4]) -> Self {
            let mut words = alloc::vec![0; BLOCK / 4];
            words[PERIPH_ID as usize / 4..][..4].copy_from_slice(&part);
            words[CELL_ID as usize / 4..][..4].copy_from_slice(&cell);
            Self(RefCell::new((words, Vec::new())))
        }

        fn pl111() -> Self {
            Self::with_ids([0x11, 0x11, 0x24, 0], [0x0d, 0xf0, 0x05, 0xb1])
        }
    }

    impl Registers for &Fake {
        fn read(&self, offset: u32) -> u32 {
            self.0.borrow().0[offset as usize / 4]
        }

        fn write(&self, offset: u32, value: u32) {
            let (words, writes) = &mut *self.0.borrow_mut();
            words[offset as usize / 4] = value;
            writes.push((offset, value));
        }
    }

    #[test]
    fn only_a_pl111_is_one() {
        let expected = Identity { part: 0x111, designer: 0x41, revision: 2 };
        assert_eq!(Pl111::new(&Fake::pl111()).unwrap().identity(), expected);
        assert!(Pl111::new(&Fake::with_ids([0x10, 0x11, 4, 0], [0x0d, 0xf0, 5, 0xb1])).is_none());
        assert!(Pl111::new(&Fake::with_ids([0x11, 0x11, 0x24, 0], [0; 4])).is_none());
    }

    /// The field of `bits` bits at `shift` of a register.
    fn field(fake: &Fake, register: u32, shift: u32, bits: u32) -> u32 {
        (&fake).read(register) >> shift & ((1 << bits) - 1)
    }

    #[test]
    fn a_mode_is_in_the_timing_registers() {
        let fake = Fake::pl111();
        let mut display = Pl111::new(&fake).unwrap();
        display.show(Mode::parse("1024x768-16").unwrap(), PhysAddr::new(0x87c0_0000));
        assert_eq!(field(&fake, TIMING0, 2, 6), 1024 / 16 - 1);
        let horizontal =
            [field(&fake, TIMING0, 16, 8), field(&fake, TIMING0, 8, 8), field(&fake, TIMING0, 24, 8)];
        assert_eq!(horizontal, [23, 135, 159]);
        assert_eq!(field(&fake, TIMING1, 0, 10), 767);
        let vertical =
            [field(&fake, TIMING1, 16, 8), field(&fake, TIMING1, 10, 6), field(&fake, TIMING1, 24, 8)];
        assert_eq!(vertical, [3, 5, 29]);
        assert_eq!(field(&fake, TIMING2, 16, 10), 1023);
        assert_eq!((&fake).read(UPBASE), 0x87c0_0000);
        assert_eq!(
            (field(&fake, CONTROL, 1, 3), field(&fake, CONTROL, 0, 1), field(&fake, CONTROL, 11, 1)),
            (6, 1, 1)
        );
        display.show(Mode::parse("640x480-32").unwrap(), PhysAddr::new(0x1000));
        assert_eq!((field(&fake, TIMING0, 2, 6), field(&fake, TIMING1, 0, 10)), (39, 479));
        assert_eq!((&fake).read(CONTROL) >> 1 & 7, 5);
    }

    #[test]
    fn power_comes_last_and_goes_first() {
        let fake = Fake::pl111();
        let mut display = Pl111::new(&fake).unwrap();
        display.show(Mode::parse("640x480").unwrap(), PhysAddr::new(0x1000));
        fake.0.borrow_mut().1.clear();
        display.show(Mode::parse("640x480").unwrap(), PhysAddr::new(0x2000));
        let writes = fake.0.borrow().1.clone();
        let power: Vec<_> = writes
            .iter()
            .filter(|(at, _)| *at == CONTROL)
            .map(|(_, value)| value & (POWER | ENABLE))
            .collect();
        assert_eq!(power, [ENABLE, 0, ENABLE, ENABLE | POWER]);
        let base = writes.iter().position(|write| *write == (UPBASE, 0x2000)).unwrap();
        assert_eq!(
            writes[..base].iter().rfind(|(at, _)| *at == CONTROL),
            Some(&(CONTROL, 0)),
            "off while it changes"
        );
    }
}
