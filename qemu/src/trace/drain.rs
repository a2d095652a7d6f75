//! The ring of a board without a second UART: QEMU keeps its RAM in a file, and we read the ring there.
//!
//! The file is mapped by QEMU, so reading and writing it is reading and writing the guest's memory. The ring's control
//! block is where the ELF file says that `TRACE_RING` is, as far above the image's first byte as it is linked.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use object::{Object, ObjectSymbol};
use trace::ring::Snapshot;

use crate::error::{Error, Result};

/// Where the image is linked.
const LINKED_AT: u64 = 0xc000_8000;
/// The ring has room for so much longer at a million events a second.
const PERIOD: Duration = Duration::from_millis(1);

/// Where the ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Physical address of the first byte of the RAM's file.
    pub base: u64,
    /// Physical address of the ring's control block.
    pub control: u64,
}

impl Place {
    /// In a guest that has the image of `elf` at `load`.
    ///
    /// # Errors
    /// When the image has no ring.
    pub fn find(elf: &[u8], load: u32, base: u32) -> Result<Self> {
        let bad = |reason: String| Error::BadTrace { reason };
        let file = object::File::parse(elf).map_err(|error| bad(error.to_string()))?;
        let ring =
            file.symbol_by_name("TRACE_RING").ok_or_else(|| bad("the image has no TRACE_RING".into()))?;
        let control = ring.address() - LINKED_AT + u64::from(load);
        Ok(Self { base: u64::from(base), control })
    }
}

/// Reads the ring while the guest runs.
#[derive(Debug)]
pub struct Drain {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Drain {
    /// Reads from the RAM in file `ram`, which appears when QEMU has started, and writes to `out`.
    ///
    /// # Errors
    /// When `out` can't be written.
    pub fn start(ram: &Path, place: Place, out: &Path) -> Result<Self> {
        let mut sink = File::create(out).map_err(Error::file("write", out))?;
        let (stop, ram) = (Arc::new(AtomicBool::new(false)), ram.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut reader = None;
            loop {
                // The last look is after QEMU has ended.
                let last = stopped.load(Ordering::Acquire);
                if reader.is_none() {
                    reader = OpenOptions::new().read(true).write(true).open(&ram).ok();
                }
                if let Some(file) = &reader {
                    copy(file, place, &mut sink)?;
                }
                if last {
                    return Ok(());
                }
                thread::sleep(PERIOD);
            }
        });
        Ok(Self { stop, thread })
    }

    /// QEMU has ended: reads the rest.
    ///
    /// # Errors
    /// What went wrong while reading or writing, as a text.
    pub fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        let bad = |reason: String| Error::BadTrace { reason };
        let ended = self.thread.join().map_err(|_| bad("the reader of the ring panicked".into()))?;
        ended.map_err(|error| bad(error.to_string()))
    }
}

/// Copies what waits in the ring, and tells the guest so.
fn copy(ram: &File, place: Place, out: &mut impl Write) -> std::io::Result<()> {
    let control = place.control - place.base;
    let mut block = [0; Snapshot::BYTES];
    // Before the image is there, and before QEMU has made the file large enough, there is no ring.
    if ram.read_exact_at(&mut block, control).is_err() {
        return Ok(());
    }
    while let Some(found) = Snapshot::parse(&block) {
        let (at, len) = found.readable();
        if len == 0 {
            break;
        }
        let mut bytes = vec![0; len as usize];
        ram.read_exact_at(&mut bytes, u64::from(found.phys) - place.base + u64::from(at))?;
        ram.read_exact_at(&mut block, control)?;
        // The guest takes another buffer meanwhile: what was read may be from neither.
        if Snapshot::parse(&block).is_none_or(|now| (now.phys, now.size) != (found.phys, found.size)) {
            continue;
        }
        out.write_all(&bytes)?;
        let tail = found.tail.wrapping_add(len);
        ram.write_all_at(&tail.to_le_bytes(), control + Snapshot::TAIL_OFFSET as u64)?;
        ram.read_exact_at(&mut block, control)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_copied_and_the_guest_told() {
        let mut ram = tempfile::tempfile().unwrap();
        let (control, buffer, size) = (0x100_u32, 0x1000_u32, 256_u32);
        let (head, tail) = (0x310_u32, 0x2f0_u32);
        let words = [trace::ring::MAGIC, 0x8000_0000 + buffer, size, head, tail, 5];
        ram.write_all(&vec![0; 0x2000]).unwrap();
        for (at, word) in words.iter().enumerate() {
            ram.write_all_at(&word.to_le_bytes(), u64::from(control) + 4 * at as u64).unwrap();
        }
        for count in tail..head {
            ram.write_all_at(&[count as u8], u64::from(buffer + count % size)).unwrap();
        }
        let place = Place { base: 0x8000_0000, control: 0x8000_0000 + u64::from(control) };
        let mut out = Vec::new();
        copy(&ram, place, &mut out).unwrap();
        assert_eq!(out, (tail..head).map(|count| count as u8).collect::<Vec<_>>());
        copy(&ram, place, &mut out).unwrap();
        assert_eq!(out.len() as u32, head - tail, "not twice");
    }
}
