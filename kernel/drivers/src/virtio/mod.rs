//! virtio devices on MMIO transports: disks, network cards and sources of entropy, through the `virtio-drivers` crate.
//!
//! ```text
//!  virtio,mmio node ─ probe ─► Slot { Mmio, Irq } ─ Device::new ─► Device::{Block, Net, Entropy}
//!                                                                      │ rings, buffers
//!        Backend (kernel, under its lock) ◄── hal::KernelHal ◄─────────┘
//!          └─► dma::virtio::VirtioDma: coherent memory, streaming mappings by direction
//! ```
//!
//! QEMU's trees have a node for each transport, with or without a device behind it: [`Device::new`] gives `None` for an
//! empty one. A [`Transfer`] of a disk goes on in the background, as frames come in; calls that wait for a device poll it. Source: Virtual I/O Device specification 1.2, 4.2.

pub mod hal;
pub mod inet;
pub mod tftp;
mod transfer;

pub use transfer::Transfer;

use self::hal::KernelHal;
use crate::{irq::Irq, mmio::Mmio};
use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;
use types::PhysRange;
use virtio_drivers::{
    Error,
    device::{blk::VirtIOBlk, net::VirtIONet, rng::VirtIORng},
    transport::{
        DeviceType, Transport,
        mmio::{MmioError, VirtIOHeader},
    },
};

pub use virtio_drivers::transport::mmio::MmioTransport;

/// Bytes of a sector of a [`Disk`].
pub const SECTOR: usize = virtio_drivers::device::blk::SECTOR_SIZE;
/// Buffers of a network card in each direction.
const NET_QUEUE: usize = 16;
/// Bytes of such a buffer: a whole frame and the card's header, in whole cache lines.
const NET_BUFFER: usize = 2048;

/// A disk: sectors by number.
pub type Disk<T> = VirtIOBlk<KernelHal, T>;
/// A network card: frames.
pub type Nic<T> = VirtIONet<KernelHal, T, NET_QUEUE>;
/// A source of random bytes.
pub type Entropy<T> = VirtIORng<KernelHal, T>;

/// A transport that was found.
#[derive(Debug)]
pub struct Slot {
    /// Where its registers are.
    pub range: PhysRange,
    /// The registers.
    pub registers: Mmio,
    /// Its interrupt.
    pub irq: Irq,
}

/// Why a device can't be used.
#[derive(Debug)]
pub enum VirtioError {
    /// The transport is not a virtio one, or of an unknown version.
    Transport(MmioError),
    /// The device did not start.
    Device {
        /// What it is.
        kind: DeviceType,
        /// The driver's reason.
        error: Error,
    },
    /// There is no driver for it.
    Unsupported(DeviceType),
}

impl fmt::Display for VirtioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "{error}"),
            Self::Device { kind, error } => write!(f, "{kind:?}: {error}"),
            Self::Unsupported(kind) => write!(f, "no driver for {kind:?}"),
        }
    }
}

impl core::error::Error for VirtioError {}

/// A device with its driver.
pub enum Device<T: Transport> {
    /// A disk.
    Block(Box<Disk<T>>),
    /// A network card.
    Net(Box<Nic<T>>),
    /// A source of random bytes.
    Entropy(Box<Entropy<T>>),
}

impl Device<MmioTransport<'static>> {
    /// The device behind a transport; `None` when there is none. [`hal::register`] comes first.
    ///
    /// # Errors
    /// [`VirtioError`].
    #[allow(unsafe_code)]
    pub fn new(registers: Mmio) -> Result<Option<Self>, VirtioError> {
        let len = registers.len();
        let header: NonNull<VirtIOHeader> = registers.into_ptr().cast();
        // SAFETY: the block is mapped as Device memory for good, and the `Mmio` that owned it is gone.
        match unsafe { MmioTransport::new(header, len) } {
            Ok(transport) => Self::on(transport).map(Some),
            Err(MmioError::InvalidDeviceID(_)) => Ok(None),
            Err(error) => Err(VirtioError::Transport(error)),
        }
    }
}

impl<T: Transport> Device<T> {
    /// The driver for the device behind `transport`.
    ///
    /// # Errors
    /// [`VirtioError::Device`], [`VirtioError::Unsupported`].
    pub fn on(transport: T) -> Result<Self, VirtioError> {
        let kind = transport.device_type();
        let failed = |error| VirtioError::Device { kind, error };
        match kind {
            DeviceType::Block => Disk::new(transport).map(|disk| Self::Block(Box::new(disk))).map_err(failed),
            DeviceType::Network => {
                Nic::new(transport, NET_BUFFER).map(|nic| Self::Net(Box::new(nic))).map_err(failed)
            }
            DeviceType::EntropySource => {
                Entropy::new(transport).map(|entropy| Self::Entropy(Box::new(entropy))).map_err(failed)
            }
            _ => Err(VirtioError::Unsupported(kind)),
        }
    }

    /// Takes the device's interrupt, which it raises until then.
    pub fn ack_interrupt(&mut self) {
        match self {
            Self::Block(disk) => disk.ack_interrupt(),
            Self::Net(nic) => nic.ack_interrupt(),
            Self::Entropy(entropy) => entropy.ack_interrupt(),
        };
    }

    /// What Linux calls its driver.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block(_) => "virtio_blk",
            Self::Net(_) => "virtio_net",
            Self::Entropy(_) => "virtio_rng",
        }
    }
}

impl<T: Transport> inet::Wire for Nic<T> {
    fn mac(&self) -> [u8; 6] {
        self.mac_address()
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        let mut buffer = self.new_tx_buffer(frame.len());
        buffer.packet_mut().copy_from_slice(frame);
        Nic::send(self, buffer).is_ok()
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let buffer = Nic::receive(self).ok()?;
        let packet = buffer.packet();
        let len = packet.len().min(frame.len());
        frame[..len].copy_from_slice(&packet[..len]);
        self.recycle_rx_buffer(buffer).ok().map(|()| len)
    }
}
