//! The devices behind a board's virtio transports: a disk, a network with a TFTP server, a source of random bytes.
//!
//! What the disk and the server hold is fixed, so that whoever reads it through the guest knows what to expect. QEMU keeps
//! the guest's writes to itself, unless the request names a disk of its own.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::image;
use crate::plan::Plan;

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Sectors of the disk.
pub const SECTORS: usize = 2048;
/// Bytes of a line on the disk and in the files, its end included.
const LINE: usize = 64;

/// Lines that all differ: what they are of, a number, and a tail of digits that depends on both.
fn lines(of: &str, number: usize, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count * LINE);
    for line in number..number + count {
        let digest = crc32fast::hash(format!("{of} {line}").as_bytes());
        let head = format!("{of} line {line:06} ");
        let tail = format!("{digest:08x}").repeat(8);
        bytes.extend_from_slice(format!("{head}{}\n", &tail[..LINE - 1 - head.len()]).as_bytes());
    }
    bytes
}

/// The disk before anybody has written to it.
pub fn disk() -> Vec<u8> {
    lines("disk", 0, SECTORS * SECTOR / LINE)
}

/// The files of the TFTP server.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("hello.txt", b"Hello from the host\n".to_vec()),
        ("lines.txt", lines("file", 0, 1000)),
        ("whole.txt", lines("whole", 7, 1024 / LINE)),
    ]
}

impl Plan {
    /// Whether the machine gets the devices. U-Boot's disk is on a transport already.
    fn has_virtio(&self) -> bool {
        let request = self.request();
        request.board.spec.virtio_mmio && request.devices && !request.u_boot
    }

    fn tftp_dir(&self) -> PathBuf {
        self.dir.join("tftp")
    }

    fn shared_disk(&self) -> PathBuf {
        self.dir.join("virtio.img")
    }

    pub(crate) fn virtio_args(&self) -> Vec<String> {
        if !self.has_virtio() {
            return Vec::new();
        }
        let path = |path: PathBuf| path.display().to_string().replace(',', ",,");
        let (disk, keep) = match &self.request().disk {
            Some(disk) => (disk.clone(), ""),
            None => (self.shared_disk(), ",snapshot=on"),
        };
        [
            "-drive".to_owned(),
            format!("if=none,id=vd0,format=raw,file={}{keep}", path(disk)),
            "-device".to_owned(),
            "virtio-blk-device,drive=vd0".to_owned(),
            "-netdev".to_owned(),
            format!("user,id=net0,tftp={}", path(self.tftp_dir())),
            "-device".to_owned(),
            "virtio-net-device,netdev=net0".to_owned(),
            "-device".to_owned(),
            "virtio-rng-device".to_owned(),
        ]
        .into()
    }

    pub(crate) fn write_virtio(&self) -> Result<()> {
        if !self.has_virtio() {
            return Ok(());
        }
        let dir = self.tftp_dir();
        std::fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
        for (name, bytes) in files() {
            image::replace(&dir.join(name), &bytes)?;
        }
        match self.request().disk {
            Some(_) => Ok(()),
            None => image::replace(&self.shared_disk(), &disk()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_line_is_there_twice() {
        let mut all = disk();
        files().into_iter().for_each(|(_, bytes)| all.extend(bytes));
        let lines: Vec<_> = all.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len());
        assert_eq!(disk().len(), SECTORS * SECTOR);
        assert!(disk()[SECTOR..].starts_with(b"disk line 000008 "), "a sector is eight lines");
    }

    #[test]
    fn a_file_ends_inside_a_block_and_one_at_its_end() {
        let sizes: Vec<_> = files().into_iter().map(|(_, bytes)| bytes.len() % SECTOR).collect();
        assert!(sizes.contains(&0) && sizes.iter().any(|size| *size > 0), "{sizes:?}");
    }
}
