//! The host's side of the virtio devices: what the guest should have read, and what it left on the disk.

use std::fs;
use std::path::Path;

use qemu::virtio::{SECTOR, SECTORS, disk, files};

use crate::scenario::{Bytes, Written};

/// The bytes, if there are such.
pub fn bytes(of: &Bytes) -> Option<Vec<u8>> {
    match of {
        Bytes::Sectors(first, count) => {
            let end = first.checked_add(*count).filter(|end| *end <= SECTORS)?;
            Some(disk()[first * SECTOR..end * SECTOR].to_vec())
        }
        Bytes::Tftp(name) => files().into_iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes),
    }
}

/// What a disk is after these writes.
fn after(written: &[Written]) -> Result<Vec<u8>, String> {
    let mut disk = disk();
    for Written { sector, text } in written {
        let place = sector.checked_mul(SECTOR).and_then(|at| disk.get_mut(at..at.checked_add(SECTOR)?));
        match place {
            Some(place) if text.len() <= SECTOR => {
                place.fill(0);
                place[..text.len()].copy_from_slice(text.as_bytes());
            }
            _ => return Err(format!("sector {sector} can't be written with {} bytes", text.len())),
        }
    }
    Ok(disk)
}

/// How the disk in `file` differs from what it should be after these writes.
pub fn check_disk(file: &Path, written: &[Written]) -> Option<String> {
    let found = match fs::read(file) {
        Ok(found) => found,
        Err(error) => return Some(format!("{}: {error}", file.display())),
    };
    let expected = match after(written) {
        Ok(expected) => expected,
        Err(line) => return Some(line),
    };
    if found.len() != expected.len() {
        return Some(format!("the disk has {} bytes, not {}", found.len(), expected.len()));
    }
    let mut sectors = found.chunks(SECTOR).zip(expected.chunks(SECTOR));
    let other = sectors.position(|(found, expected)| found != expected)?;
    let text = String::from_utf8_lossy(&found[other * SECTOR..][..64]);
    Some(format!("sector {other} of the disk is not as expected; it begins with {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_compared_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk.img");
        let write = |bytes: &[u8]| fs::write(&file, bytes).unwrap();
        let written = [Written { sector: 9, text: "nine".into() }];
        write(&disk());
        assert_eq!(check_disk(&file, &[]), None);
        let line = check_disk(&file, &written).unwrap();
        assert!(line.starts_with("sector 9 of the disk is not as expected; it begins with"), "{line}");
        let mut disk = disk();
        disk[9 * SECTOR..10 * SECTOR].fill(0);
        disk[9 * SECTOR..9 * SECTOR + 4].copy_from_slice(b"nine");
        write(&disk);
        assert_eq!(check_disk(&file, &written), None);
        disk[SECTORS * SECTOR - 1] ^= 1;
        write(&disk);
        assert!(check_disk(&file, &written).unwrap().starts_with("sector 2047 "));
        write(&disk[1..]);
        assert_eq!(check_disk(&file, &written).unwrap(), "the disk has 1048575 bytes, not 1048576");
        let far = [Written { sector: SECTORS, text: String::new() }];
        assert!(check_disk(&file, &far).unwrap().starts_with("sector 2048 can't be written"));
    }

    #[test]
    fn bytes_of_the_host() {
        assert_eq!(bytes(&Bytes::Sectors(1, 2)).unwrap(), disk()[SECTOR..3 * SECTOR]);
        assert_eq!(bytes(&Bytes::Sectors(SECTORS, 1)), None);
        assert_eq!(bytes(&Bytes::Tftp("hello.txt".into())).unwrap(), b"Hello from the host\n");
        assert_eq!(bytes(&Bytes::Tftp("nothing".into())), None);
    }
}
