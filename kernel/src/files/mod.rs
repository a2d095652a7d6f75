//! The files of `/proc`, `/sys` and `/dev`: paths, and whom to ask.
//!
//! A file about something behind a lock is written into memory that was allocated before the lock was taken: the
//! console's output allocates, and it waits for the UART.

mod cma;
mod guards;
mod proc;
mod sys;
mod tree;

use ::picture::Regions;
use alloc::string::String;
use core::fmt::{self, Write};
use dt::{CommandLine, Tree};
use shell::{FsError, Output, Vfs};

/// Bytes that a file gets at first; doubled until it fits.
const FIRST_SIZE: usize = 4096;
/// Bytes of the longest file.
const LAST_SIZE: usize = 1 << 20;

/// Text in memory that does not grow.
struct Fixed {
    text: String,
}

impl Write for Fixed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.capacity() - self.text.len() < text.len() {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// Writes to `out` what `write` writes, which holds a lock meanwhile and allocates nothing.
fn snapshot(out: &mut dyn Output, write: impl Fn(&mut dyn Write) -> fmt::Result) -> Result<(), FsError> {
    let mut size = FIRST_SIZE;
    while size <= LAST_SIZE {
        let mut text = String::new();
        text.try_reserve_exact(size).map_err(|_| FsError::NoMemory)?;
        let mut fixed = Fixed { text };
        if write(&mut fixed).is_ok() {
            return Ok(out.write_str(&fixed.text)?);
        }
        size *= 2;
    }
    Err(FsError::TooLarge)
}

/// All files.
pub fn all(tree: Tree<'static>, command_line: CommandLine<'static>, regions: &'static Regions) -> Vfs {
    let mut vfs = Vfs::new();
    let added = proc::add(&mut vfs, command_line)
        .and_then(|()| sys::add(&mut vfs))
        .and_then(|()| cma::add(&mut vfs))
        .and_then(|()| guards::add(&mut vfs))
        .and_then(|()| crate::cma_test::files(&mut vfs))
        .and_then(|()| crate::ram_disk::files(&mut vfs))
        .and_then(|()| crate::page_map::file(&mut vfs, regions))
        .and_then(|()| crate::tracing::files::add(&mut vfs))
        .and_then(|()| vfs.mount("/proc/device-tree", tree::DeviceTree(tree)));
    if let Err(error) = added {
        log::error!("files: {error}");
    }
    vfs
}
