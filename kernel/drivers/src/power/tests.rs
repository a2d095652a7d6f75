//! What the requests write, against what the manuals and Linux ask for.

use super::*;
use crate::mmio::Registers;
use alloc::{vec, vec::Vec};
use std::sync::Mutex;

extern crate std;

/// Remembers writes; reads give one value.
struct Recorder<'a> {
    reads: u32,
    writes: &'a Mutex<Vec<(u32, u32)>>,
}

impl Registers for Recorder<'_> {
    fn read(&self, _offset: u32) -> u32 {
        self.reads
    }

    fn write(&self, offset: u32, value: u32) {
        self.writes.lock().unwrap().push((offset, value));
    }
}

fn writes(act: impl FnOnce(Recorder<'_>)) -> Vec<(u32, u32)> {
    let writes = Mutex::new(Vec::new());
    act(Recorder { reads: 0x6312_3fff, writes: &writes });
    writes.into_inner().unwrap()
}

#[test]
fn vexpress() {
    let off = writes(|registers| VexpressSysreg(registers).poweroff());
    assert_eq!(off, [(0xa8, 0), (0xa0, 0), (0xa4, 0xc080_0000)]);
    assert_eq!(writes(|registers| VexpressSysreg(registers).reboot())[2], (0xa4, 0xc090_0000));
}

#[test]
fn bcm2835() {
    let off = writes(|registers| Bcm2835Pm(registers).poweroff());
    assert_eq!(off, [(0x20, 0x5a12_3fff), (0x24, 0x5a00_000a), (0x1c, 0x5a12_3fef)]);
    let again = writes(|registers| Bcm2835Pm(registers).reboot());
    assert_eq!(again[0], (0x20, 0x5a12_3aaa), "partition 0: boot");
}

static CALLS: Mutex<Vec<(Conduit, [u32; 4])>> = Mutex::new(Vec::new());

#[test]
fn psci() {
    let call = |conduit, args: [u32; 4]| {
        CALLS.lock().unwrap().push((conduit, args));
        if args[0] == 0x8400_0000 { 0x0001_0002 } else { -2i32 as u32 }
    };
    let mut psci = Psci::new(Conduit::from_method("hvc").unwrap(), call);
    assert_eq!(psci.version(), (1, 2));
    assert_eq!(psci.cpu_on(1, 0x8000, 7), Err(-2));
    psci.poweroff();
    psci.reboot();
    let ids: Vec<u32> = CALLS.lock().unwrap().iter().map(|(_, args)| args[0]).collect();
    assert_eq!(ids, vec![0x8400_0000, 0x8400_0003, 0x8400_0008, 0x8400_0009]);
    assert_eq!(CALLS.lock().unwrap()[1], (Conduit::Hvc, [0x8400_0003, 1, 0x8000, 7]));
    assert_eq!(Conduit::from_method("mailbox"), None);
}
