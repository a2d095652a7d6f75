//! Controllers against fake devices that follow the manuals, and the table over them.

use super::*;
use crate::mmio::Registers;
use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec::Vec};
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

extern crate std;

/// A device behind registers: what a read gives and a write does.
trait Device: Send {
    fn read(&mut self, block: u32, offset: u32) -> u32;
    fn write(&mut self, block: u32, offset: u32, value: u32);
}

/// One of the register blocks of a device that the test holds on to.
struct Block<D>(Arc<Mutex<D>>, u32);

impl<D: Device> Registers for Block<D> {
    fn read(&self, offset: u32) -> u32 {
        self.0.lock().unwrap().read(self.1, offset)
    }

    fn write(&self, offset: u32, value: u32) {
        self.0.lock().unwrap().write(self.1, offset, value);
    }
}

/// A GICv2 with 64 interrupts, in one security state's view.
struct FakeGic {
    enabled: u64,
    active: Option<u32>,
    lines: u64,
    config: [u32; 4],
    targets: [u32; 16],
    forwarding: bool,
    signalling: bool,
    mask: u32,
    priority: [u32; 16],
}

impl FakeGic {
    fn shared() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            enabled: u64::MAX,
            active: None,
            lines: 0,
            config: [u32::MAX; 4],
            targets: [0x0202_0202; 16],
            forwarding: false,
            signalling: false,
            mask: 0,
            priority: [u32::MAX; 16],
        }))
    }

    fn pending(&self) -> Option<u32> {
        let on = self.forwarding && self.signalling && self.active.is_none();
        let ready = |n: &u32| {
            let urgent = self.priority[*n as usize / 4] >> (n % 4 * 8) & 0xff < self.mask;
            let aimed = *n < 32 || self.targets[*n as usize / 4] >> (n % 4 * 8) & 2 != 0;
            self.lines & self.enabled & 1 << n != 0 && urgent && aimed
        };
        (0..64).filter(|_| on).find(ready)
    }
}

impl Device for FakeGic {
    fn read(&mut self, block: u32, offset: u32) -> u32 {
        match (block, offset) {
            (0, 0x004) => 1,
            (0, 0x800..0x840) => self.targets[(offset - 0x800) as usize / 4],
            (0, 0xc00..0xc10) => self.config[(offset - 0xc00) as usize / 4],
            (1, 0x00) => 0x60,
            (1, 0x0c) => {
                let taken = self.pending();
                self.active = taken.or(self.active);
                taken.map_or(1023, |n| n | 5 << 10)
            }
            other => panic!("read {other:x?}"),
        }
    }

    fn write(&mut self, block: u32, offset: u32, value: u32) {
        let word = |base: u32| (offset - base) as usize / 4;
        match (block, offset) {
            (0, 0x000) => self.forwarding = value == 1,
            (0, 0x100..0x108) => self.enabled |= u64::from(value) << (32 * word(0x100)),
            (0, 0x180..0x188) => self.enabled &= !(u64::from(value) << (32 * word(0x180))),
            (0, 0x400..0x440) => self.priority[word(0x400)] = value,
            (0, 0x820..0x840) => self.targets[word(0x800)] = value,
            (0, 0xc08..0xc10) => self.config[word(0xc00)] = value,
            (1, 0x00) => self.signalling = value == 0x61,
            (1, 0x04) => self.mask = value,
            (1, 0x10) => {
                let active = self.active.take().expect("end without acknowledge");
                assert_eq!(value, active | 5 << 10, "the whole IAR value");
            }
            other => panic!("write {other:x?}"),
        }
    }
}

fn gic(device: &Arc<Mutex<FakeGic>>) -> Gic<Block<FakeGic>> {
    Gic::new(Block(device.clone(), 0), Block(device.clone(), 1))
}

#[test]
fn gic_starts_with_everything_disabled_and_aimed_here() {
    let device = FakeGic::shared();
    assert_eq!(gic(&device).lines(), 64);
    let device = device.lock().unwrap();
    assert_eq!(device.enabled, 0xffff, "only software generated interrupts");
    assert_eq!(device.targets[8..], [0x0202_0202; 8]);
    assert_eq!(device.config[2..], [0, 0]);
}

#[test]
fn another_cpu_sets_up_its_own_interface() {
    let device = FakeGic::shared();
    let mut irqs = Irqs::new();
    irqs.add(1, Box::new(gic(&device)), None).unwrap();
    {
        let mut other = device.lock().unwrap();
        (other.signalling, other.mask, other.priority[6]) = (false, 0, u32::MAX);
    }
    irqs.init_cpu();
    let device = device.lock().unwrap();
    assert!(device.signalling && device.priority[6] & 0xff < device.mask);
}

#[test]
fn gic_specifiers() {
    let gic = gic(&FakeGic::shared());
    let input = |cells: &[u32]| gic.decode(cells).map(|input| (input.hwirq, input.trigger));
    assert_eq!(input(&[0, 5, 4]), Ok((37, Trigger::Level)));
    assert_eq!(input(&[0, 31, 1]), Ok((63, Trigger::Edge)));
    assert_eq!(input(&[1, 11, 0xf08]), Ok((27, Trigger::Level)));
    for wrong in [&[0, 32, 4][..], &[1, 16, 4], &[2, 0, 4], &[0, u32::MAX, 4], &[0, 5], &[]] {
        assert_eq!(input(wrong), Err(IrqError::specifier(wrong)));
    }
}

#[test]
fn an_interrupt_from_line_to_handler() {
    static HITS: AtomicU32 = AtomicU32::new(0);
    let device = FakeGic::shared();
    let mut irqs = Irqs::new();
    irqs.add(1, Box::new(gic(&device)), None).unwrap();
    let uart = irqs.map(1, &[0, 5, 4]).unwrap();
    assert_eq!(irqs.map(1, &[0, 5, 4]), Ok(uart), "the same input, the same number");
    irqs.request(uart, "uart-pl011", &|| _ = HITS.fetch_add(1, Ordering::Relaxed)).unwrap();
    device.lock().unwrap().lines = 1 << 37;
    let delivery = irqs.begin().unwrap();
    assert!(irqs.begin().is_none(), "active: not signalled again");
    device.lock().unwrap().lines = 0;
    delivery.handler.unwrap()();
    irqs.end(delivery);
    assert!(irqs.begin().is_none(), "spurious");
    assert_eq!((HITS.load(Ordering::Relaxed), irqs.count(uart)), (1, Ok(1)));
}

#[test]
fn what_nobody_handles_is_switched_off() {
    let device = FakeGic::shared();
    let mut irqs = Irqs::new();
    irqs.add(1, Box::new(gic(&device)), None).unwrap();
    {
        let mut device = device.lock().unwrap();
        device.lines = 1 << 40;
        device.enabled |= 1 << 40;
    }
    let delivery = irqs.begin().unwrap();
    assert!(delivery.handler.is_none());
    irqs.end(delivery);
    assert!(irqs.begin().is_none());
    assert!(irqs.to_string().ends_with("Err:          1\n"));
}

#[test]
fn mistakes_are_typed() {
    let mut irqs = Irqs::new();
    assert_eq!(irqs.map(7, &[0, 1, 4]), Err(IrqError::NoController { phandle: 7 }));
    irqs.add(7, Box::new(gic(&FakeGic::shared())), None).unwrap();
    let irq = irqs.map(7, &[0, 1, 4]).unwrap();
    irqs.request(irq, "a", &|| ()).unwrap();
    assert_eq!(irqs.request(irq, "b", &|| ()), Err(IrqError::Busy(irq)));
    assert_eq!(irqs.request(Irq(3), "b", &|| ()), Err(IrqError::NotMapped(Irq(3))));
    assert_eq!(irqs.free(Irq(99)), Err(IrqError::NotMapped(Irq(99))));
    irqs.free(irq).unwrap();
    assert_eq!(irqs.request(irq, "b", &|| ()), Ok(()));
    assert_eq!(format!("{}", irqs.map(7, &[9, 1, 4]).unwrap_err()), "irq: no input for 3 cells 9 1 4");
}

#[test]
fn proc_interrupts_is_linux_s_to_the_letter() {
    let device = FakeGic::shared();
    let mut irqs = Irqs::new();
    irqs.add(1, Box::new(gic(&device)), None).unwrap();
    let timer = irqs.map(1, &[1, 11, 4]).unwrap();
    irqs.map(1, &[0, 9, 4]).unwrap();
    let edge = irqs.map(1, &[0, 10, 1]).unwrap();
    irqs.request(timer, "arch_timer", &|| ()).unwrap();
    irqs.request(edge, "rtc-pl031", &|| ()).unwrap();
    device.lock().unwrap().lines = 1 << 27;
    for _ in 0..1234 {
        let delivery = irqs.begin().unwrap();
        irqs.end(delivery);
    }
    let expected = "           CPU0       \n \
        16:       1234     GIC-0  27 Level     arch_timer\n \
        18:          0     GIC-0  42 Edge      rtc-pl031\n\
        Err:          0\n";
    assert_eq!(irqs.to_string(), expected);
}

/// The two controllers of a BCM2836: block 0 is per CPU, block 1 the GPU's.
#[derive(Default)]
struct FakeBcm {
    timer_control: u32,
    timers: u32,
    enabled: [u32; 3],
    lines: [u32; 3],
}

/// Bits 10 to 20 of the basic pending register: (bank, input).
const SHORTCUTS: [(usize, u32); 11] =
    [(1, 7), (1, 9), (1, 10), (1, 18), (1, 19), (2, 21), (2, 22), (2, 23), (2, 24), (2, 25), (2, 30)];

impl FakeBcm {
    fn basic(&self) -> u32 {
        let mut pending = [0, 1, 2].map(|bank| self.enabled[bank] & self.lines[bank]);
        let mut basic = pending[0];
        for (at, (bank, input)) in SHORTCUTS.into_iter().enumerate() {
            if pending[bank] & 1 << input != 0 {
                basic |= 1 << (10 + at);
                pending[bank] &= !(1 << input);
            }
        }
        basic | u32::from(pending[1] != 0) << 8 | u32::from(pending[2] != 0) << 9
    }
}

impl Device for FakeBcm {
    fn read(&mut self, block: u32, offset: u32) -> u32 {
        match (block, offset) {
            (0, 0x40) => self.timer_control,
            (0, 0x60) => self.timers & self.timer_control | u32::from(self.basic() != 0) << 8,
            (1, 0x00) => self.basic(),
            (1, 0x04 | 0x08) => {
                let bank = offset as usize / 4;
                self.enabled[bank] & self.lines[bank]
            }
            other => panic!("read {other:x?}"),
        }
    }

    fn write(&mut self, block: u32, offset: u32, value: u32) {
        match (block, offset) {
            (0, 0x40) => self.timer_control = value,
            (0, 0x00 | 0x08 | 0x0c | 0x14 | 0x50) | (1, 0x0c) => {}
            (1, 0x10 | 0x14) => self.enabled[offset as usize / 4 - 3] |= value,
            (1, 0x18) => self.enabled[0] |= value,
            (1, 0x1c | 0x20) => self.enabled[offset as usize / 4 - 6] &= !value,
            (1, 0x24) => self.enabled[0] &= !value,
            other => panic!("write {other:x?}"),
        }
    }
}

fn bcm() -> (Arc<Mutex<FakeBcm>>, Irqs) {
    let device = Arc::new(Mutex::new(FakeBcm { enabled: [u32::MAX; 3], ..FakeBcm::default() }));
    let mut irqs = Irqs::new();
    irqs.add(1, Box::new(L1Intc::new(Block(device.clone(), 0))), None).unwrap();
    let gpu = irqs.map(1, &[8, 4]).unwrap();
    irqs.add(2, Box::new(ArmCtrl::new(Block(device.clone(), 1))), Some(gpu)).unwrap();
    assert_eq!(irqs.request(gpu, "nobody", &|| ()), Err(IrqError::Busy(gpu)));
    (device, irqs)
}

#[test]
fn every_input_behind_the_chained_controller_is_found() {
    let (device, mut irqs) = bcm();
    let inputs: Vec<(u32, u32)> =
        [(0, 8), (1, 32), (2, 32)].iter().flat_map(|&(bank, n)| (0..n).map(move |i| (bank, i))).collect();
    for (bank, input) in inputs {
        let irq = irqs.map(2, &[bank, input]).unwrap();
        irqs.request(irq, "device", &|| ()).unwrap();
        device.lock().unwrap().lines[bank as usize] = 1 << input;
        let delivery = irqs.begin().expect("delivered");
        assert!(delivery.handler.is_some());
        device.lock().unwrap().lines = [0; 3];
        irqs.end(delivery);
        assert_eq!(irqs.count(irq), Ok(1), "bank {bank} input {input}");
        assert!(irqs.begin().is_none());
    }
    assert_eq!(irqs.map(2, &[0, 8]), Err(IrqError::specifier(&[0, 8])));
    assert_eq!(irqs.map(2, &[3, 0]), Err(IrqError::specifier(&[3, 0])));
}

#[test]
fn the_core_timer_comes_directly() {
    let (device, mut irqs) = bcm();
    let timer = irqs.map(1, &[3, 4]).unwrap();
    device.lock().unwrap().timers = 8;
    assert!(irqs.begin().is_none(), "not enabled");
    irqs.request(timer, "arch_timer", &|| ()).unwrap();
    let delivery = irqs.begin().unwrap();
    assert!(delivery.handler.is_some());
    irqs.end(delivery);
    irqs.free(timer).unwrap();
    assert!(irqs.begin().is_none());
}
