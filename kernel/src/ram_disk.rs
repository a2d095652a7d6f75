//! `/dev/ram0`: a file in memory, whose pages move. The user of movable driver buffers
//! ([`mm::migrate::MovableBuffers`]): the driver knows handles only, so a CMA allocation takes the pages that it needs,
//! whatever is in them.
//!
//! `echo WORDS > /dev/ram0` replaces the contents, `cat /dev/ram0` shows them.

use crate::memory::{self, BUFFERS_DRIVER, Buffers};
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt;
use mm::migrate::{BufferHandle, BufferSlot};
use shell::{Control, FsError, Output, Vfs};
use types::{Order, PAGE_SIZE};

/// Buffers of all users together.
const SLOTS: usize = 64;
/// Pages of the longest file: what the shell can write at once.
const PAGES: usize = 16;
const PAGE: usize = PAGE_SIZE as usize;

struct Disk {
    pages: Vec<BufferHandle>,
    len: usize,
}

static DISK: IrqLock<Option<Disk>> = IrqLock::new(None);

/// Makes room for buffers, and adds the file.
pub fn files(vfs: &mut Vfs) -> Result<(), FsError> {
    let mut slots: Vec<BufferSlot> = Vec::new();
    slots.resize_with(SLOTS, BufferSlot::default);
    let slots = slots.leak();
    memory::with(|mm| mm.buffers = Buffers::new(mm.linear, slots, BUFFERS_DRIVER));
    *DISK.lock() = Some(Disk { pages: Vec::with_capacity(PAGES), len: 0 });
    vfs.add(
        "/dev/ram0",
        Control(
            |out: &mut dyn Output| with(|disk| disk.read(out)),
            |text: &str| with(|disk| disk.write(text.as_bytes())),
        ),
    )
}

/// Runs `work` on the disk, which is out of its lock meanwhile: the console waits.
fn with(work: impl FnOnce(&mut Disk) -> Result<(), FsError>) -> Result<(), FsError> {
    let taken = DISK.lock().take();
    let mut disk = taken.ok_or(FsError::Busy)?;
    let done = work(&mut disk);
    *DISK.lock() = Some(disk);
    done
}

impl Disk {
    fn read(&self, out: &mut dyn Output) -> Result<(), FsError> {
        let mut page = Vec::new();
        page.try_reserve_exact(PAGE).map_err(|_| FsError::NoMemory)?;
        page.resize(PAGE, 0);
        for (at, handle) in self.pages.iter().enumerate() {
            let copied = memory::with(|mm| mm.buffers.with(handle, |bytes| page.copy_from_slice(bytes)));
            copied.and_then(Result::ok).ok_or(FsError::Busy)?;
            out.write_bytes(&page[..PAGE.min(self.len - at * PAGE)]).map_err(|fmt::Error| FsError::Io)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<(), FsError> {
        if text.len() > PAGES * PAGE {
            return Err(FsError::TooLarge);
        }
        self.clear();
        for part in text.chunks(PAGE) {
            let made = memory::with(|mm| {
                let handle = mm.buffers.alloc(mm.pages, Order::ZERO).ok()?;
                // Nobody else has the handle, so the buffer can be reached.
                let _ = mm.buffers.with(&handle, |bytes| bytes[..part.len()].copy_from_slice(part));
                Some(handle)
            });
            self.pages.push(made.flatten().ok_or(FsError::NoMemory)?);
            self.len += part.len();
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.len = 0;
        for handle in self.pages.drain(..) {
            // No guard is ever out.
            let _ = memory::with(|mm| mm.buffers.free(mm.pages, handle).is_ok());
        }
    }
}
