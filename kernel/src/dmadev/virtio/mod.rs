//! virtio devices behind a lock that their interrupt handlers take.
//!
//! ```text
//!  transfer, frame ─▶ DEVICES.lock ─▶ virtio queue        interrupt ─▶ DEVICES.lock ─▶ acknowledged
//!      └─ devices::wait: asleep until it is in the used ring ◀────────────┘
//! ```
//!
//! The disk's transfers and incoming frames are waited for asleep. Sending a frame and fetching random bytes poll, with
//! interrupts off: the device answers these at once.

mod backend;
mod commands;

pub use commands::{BLK, RNG, TFTP};

use crate::devices::{self, IRQS};
use crate::dmadev::memory_region::bus_master;
use alloc::boxed::Box;
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt;
use drivers::irq::Irq;
use drivers::virtio::inet::Wire;
use drivers::virtio::{Device, MmioTransport, Slot, Transfer};
use dt::Tree;

/// Nanoseconds until a disk counts as dead.
const DISK_PATIENCE: u64 = 30_000_000_000;
/// Nanoseconds that a look for a frame takes when there is none.
const FRAME_PATIENCE: u64 = 250_000_000;
const COMPATIBLE: [&str; 1] = ["virtio,mmio"];

type Started = Device<MmioTransport<'static>>;

/// The devices, in the tree's order; `None` is a dead one.
static DEVICES: IrqLock<Vec<Option<Started>>> = IrqLock::new(Vec::new());

/// Starts the devices behind the transports. They share what the first node says of the bus.
pub fn start(tree: &Tree<'static>, transports: Vec<Slot>) {
    let Some(node) = tree.compatible(&COMPATIBLE).next() else { return };
    match bus_master(node, "virtio") {
        Ok(device) => backend::start(device),
        Err(error) => return log::error!("virtio: {error}"),
    }
    for Slot { range, registers, irq } in transports {
        match Device::new(registers) {
            Ok(Some(device)) => {
                devices::claim(range, &format_args!("{:x}.virtio_mmio", range.base().get()));
                add(device, irq);
            }
            Ok(None) => {}
            Err(error) => log::warn!("virtio-mmio {:x}.virtio_mmio: {error}", range.base().get()),
        }
    }
}

fn add(device: Started, irq: Irq) {
    let name = device.name();
    let mut devices = DEVICES.lock();
    let at = devices.len();
    if let Device::Block(disk) = &device {
        let disks = devices.iter().flatten().filter(|device| matches!(device, Device::Block(_))).count();
        let (letter, sectors) = (char::from(b'a' + (disks % 26) as u8), disk.capacity());
        log::info!("{name} virtio{at}: [vd{letter}] {sectors} 512-byte logical blocks");
    }
    devices.push(Some(device));
    drop(devices);
    // Whoever waits looks at the queues; here the device is only to be quiet.
    let acknowledge = move || {
        with(at, Started::ack_interrupt);
    };
    if let Err(error) = IRQS.lock().request(irq, name, Box::leak(Box::new(acknowledge))) {
        log::error!("{name}: {error}");
    }
}

fn with<R>(at: usize, work: impl FnOnce(&mut Started) -> R) -> Option<R> {
    DEVICES.lock().get_mut(at)?.as_mut().map(work)
}

/// The number of the first device that `is` chooses.
fn find(is: fn(&Started) -> bool) -> Option<usize> {
    DEVICES.lock().iter().flatten().position(is)
}

/// Why the disk did not do it.
#[derive(Debug)]
pub enum DiskError {
    /// There is none.
    NoDisk,
    /// It refused, or failed.
    Failed,
    /// It never answered, and is not used any more.
    Dead,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDisk => "there is no disk",
            Self::Failed => "the disk refused, or failed",
            Self::Dead => "the disk never answered",
        })
    }
}

/// Sectors of the first disk.
pub fn capacity() -> Option<u64> {
    let at = find(|device| matches!(device, Device::Block(_)))?;
    with(at, |device| if let Device::Block(disk) = device { disk.capacity() } else { 0 })
}

/// Reads `count` sectors from `sector` on.
///
/// # Errors
/// [`DiskError`].
pub fn read(sector: usize, count: usize) -> Result<Vec<u8>, DiskError> {
    DiskTransfer::read(sector, count)?.wait()
}

/// Writes whole sectors to `sector` and those after it.
///
/// # Errors
/// [`DiskError`].
pub fn write(sector: usize, bytes: Vec<u8>) -> Result<(), DiskError> {
    DiskTransfer::write(sector, bytes)?.wait().map(|_| ())
}

/// A transfer of the first disk that is under way.
pub struct DiskTransfer {
    at: usize,
    running: Option<Transfer>,
}

impl DiskTransfer {
    /// Starts to read `count` sectors from `sector` on.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(sector: usize, count: usize) -> Result<Self, DiskError> {
        Self::start(|device| match device {
            Device::Block(disk) => Transfer::read(disk, sector, count).ok(),
            _ => None,
        })
    }

    /// Starts to write whole sectors to `sector` and those after it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write(sector: usize, bytes: Vec<u8>) -> Result<Self, DiskError> {
        Self::start(|device| match device {
            Device::Block(disk) => Transfer::write(disk, sector, bytes).ok(),
            _ => None,
        })
    }

    fn start(start: impl FnOnce(&mut Started) -> Option<Transfer>) -> Result<Self, DiskError> {
        let at = find(|device| matches!(device, Device::Block(_))).ok_or(DiskError::NoDisk)?;
        Ok(Self { at, running: Some(with(at, start).flatten().ok_or(DiskError::Failed)?) })
    }

    /// The bytes that were read or written, once; `None` while it is under way.
    pub fn ended(&mut self) -> Option<Result<Vec<u8>, DiskError>> {
        let running = &mut self.running;
        with(self.at, |device| {
            let Device::Block(disk) = device else { return None };
            let transfer = running.take_if(|transfer| transfer.is_done(disk))?;
            Some(transfer.finish(disk).map_err(|_| DiskError::Failed))
        })?
    }

    fn wait(mut self) -> Result<Vec<u8>, DiskError> {
        devices::wait(DISK_PATIENCE, || self.ended()).unwrap_or_else(|| {
            let dead = DEVICES.lock().get_mut(self.at).and_then(Option::take);
            drop(dead);
            Err(DiskError::Dead)
        })
    }
}

/// Fills `bytes` with random ones, or as many as there are; `None` without a source.
pub fn random(bytes: &mut [u8]) -> Option<usize> {
    let at = find(|device| matches!(device, Device::Entropy(_)))?;
    with(at, |device| match device {
        Device::Entropy(source) => source.request_entropy(bytes).ok(),
        _ => None,
    })?
}

/// The first network card.
pub struct Card(usize);

impl Card {
    /// `None` without one.
    pub fn first() -> Option<Self> {
        find(|device| matches!(device, Device::Net(_))).map(Self)
    }
}

impl Wire for Card {
    fn mac(&self) -> [u8; 6] {
        with(self.0, |device| if let Device::Net(nic) = device { nic.mac() } else { [0; 6] })
            .unwrap_or_default()
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        let sent = with(self.0, |device| match device {
            Device::Net(nic) => Wire::send(&mut **nic, frame),
            _ => false,
        });
        sent.unwrap_or(false)
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        devices::wait(FRAME_PATIENCE, || {
            with(self.0, |device| match device {
                Device::Net(nic) => Wire::receive(&mut **nic, frame),
                _ => None,
            })?
        })
    }
}
