//! Sectors moved in the background: started, then finished after the disk's interrupt.
//!
//! ```text
//!  Transfer::read / write ──► the disk works ──► interrupt ──► is_done ──► finish ──► the bytes
//! ```
//!
//! The device may use the buffers until the transfer is done, so the transfer owns them, on the heap. One that is dropped
//! before leaks them and says so: the device may still write there.
//!
//! Unsafe code: the requests of `virtio-drivers` that don't wait, whose contract is this ownership (invariants 2 and 6).
#![allow(unsafe_code)]

use super::{Disk, SECTOR};
use alloc::{boxed::Box, vec, vec::Vec};
use virtio_drivers::{
    Error,
    device::blk::{BlkReq, BlkResp},
    transport::Transport,
};

/// What the device reads and writes.
struct Buffers {
    request: BlkReq,
    response: BlkResp,
    bytes: Vec<u8>,
}

/// A transfer that was started.
#[must_use = "a transfer that is dropped leaks its buffers"]
pub struct Transfer {
    buffers: Option<Box<Buffers>>,
    token: u16,
    writes: bool,
}

impl Transfer {
    /// Starts to read `count` sectors from `sector` on.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] for none or more than there are, or the driver's reason.
    pub fn read<T: Transport>(disk: &mut Disk<T>, sector: usize, count: usize) -> Result<Self, Error> {
        Self::start(disk, sector, vec![0; count.saturating_mul(SECTOR).min(1 << 20)], false)
    }

    /// Starts to write whole sectors to `sector` and those after it.
    ///
    /// # Errors
    /// As [`Transfer::read`].
    pub fn write<T: Transport>(disk: &mut Disk<T>, sector: usize, bytes: Vec<u8>) -> Result<Self, Error> {
        Self::start(disk, sector, bytes, true)
    }

    fn start<T: Transport>(
        disk: &mut Disk<T>,
        sector: usize,
        bytes: Vec<u8>,
        writes: bool,
    ) -> Result<Self, Error> {
        let end = (sector as u64).saturating_add((bytes.len() / SECTOR) as u64);
        if bytes.is_empty() || !bytes.len().is_multiple_of(SECTOR) || end > disk.capacity() {
            return Err(Error::InvalidParam);
        }
        let (request, response) = (BlkReq::default(), BlkResp::default());
        let mut buffers = Box::new(Buffers { request, response, bytes });
        let Buffers { request, response, bytes } = &mut *buffers;
        // SAFETY: the buffers are on the heap and this transfer's own; nobody looks at them before `finish`, and they are
        // never freed before.
        let token = unsafe {
            if writes {
                disk.write_blocks_nb(sector, request, bytes, response)
            } else {
                disk.read_blocks_nb(sector, request, bytes, response)
            }
        }?;
        Ok(Self { buffers: Some(buffers), token, writes })
    }

    /// Whether the disk is through with it.
    pub fn is_done<T: Transport>(&self, disk: &mut Disk<T>) -> bool {
        disk.peek_used() == Some(self.token)
    }

    /// Ends a transfer that [is done](Self::is_done): the bytes that were read, or that were written.
    ///
    /// # Errors
    /// What the disk says about it; [`Error::NotReady`] when it is not done, and its buffers are leaked then.
    pub fn finish<T: Transport>(mut self, disk: &mut Disk<T>) -> Result<Vec<u8>, Error> {
        if !self.is_done(disk) {
            return Err(Error::NotReady);
        }
        let Some(mut buffers) = self.buffers.take() else { return Err(Error::NotReady) };
        let Buffers { request, response, bytes } = &mut *buffers;
        // SAFETY: the buffers that the transfer was started with.
        unsafe {
            if self.writes {
                disk.complete_write_blocks(self.token, request, bytes, response)
            } else {
                disk.complete_read_blocks(self.token, request, bytes, response)
            }
        }?;
        Ok(buffers.bytes)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            log::error!(
                "virtio: a transfer of {} bytes never ended; its memory is lost",
                buffers.bytes.len()
            );
            Box::leak(buffers);
        }
    }
}
