//! The disk that U-Boot boots from: a FAT file system with the image, a tree and a boot script.
//!
//! U-Boot's standard boot looks for `boot.scr` on every disk and runs it; the script does what one would type:
//! load the two files, set `bootargs`, `bootz`.

use std::io::{self, Cursor, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::firmware::{Payload, u_boot_image};

const SECTOR: usize = 512;
const VOLUME_BYTES: usize = 16 << 20;
const VOLUME_START: usize = 1 << 20;
/// Where the tree is loaded, above the start of RAM: out of the image's way even with little RAM.
const TREE_OFFSET: u32 = 0x0100_0000;

/// A disk image with `zImage`, `board.dtb` and `boot.scr` for a machine whose RAM starts at `ram_base`.
///
/// # Errors
/// When the files don't fit.
pub fn disk(zimage: &[u8], tree: &[u8], ram_base: u32, cmdline: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(vec![0; VOLUME_BYTES]);
    fatfs::format_volume(&mut bytes, FormatVolumeOptions::new())?;
    {
        let volume = FileSystem::new(&mut bytes, FsOptions::new())?;
        let script = u_boot_image(Payload::Script, script(ram_base, cmdline).as_bytes());
        for (name, bytes) in [("zImage", zimage), ("board.dtb", tree), ("boot.scr", &script)] {
            volume.root_dir().create_file(name)?.write_all(bytes)?;
        }
    }
    let mut disk = partition_table();
    disk.resize(VOLUME_START, 0);
    disk.extend(bytes.into_inner());
    Ok(disk)
}

/// A master boot record whose one partition, bootable, is the volume. Without it U-Boot finds no script.
fn partition_table() -> Vec<u8> {
    const FAT16_LBA: u32 = 0x0e;
    const BOOTABLE: u32 = 0x80;
    let entry = [BOOTABLE, FAT16_LBA, (VOLUME_START / SECTOR) as u32, (VOLUME_BYTES / SECTOR) as u32];
    let mut sector = vec![0; 0x1be];
    sector.extend(entry.iter().flat_map(|word| word.to_le_bytes()));
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

fn script(ram_base: u32, cmdline: &str) -> String {
    let (kernel, tree) = (ram_base + 0x8000, ram_base + TREE_OFFSET);
    let quoted = cmdline.replace('\'', r"'\''");
    let load = "load ${devtype} ${devnum}:${distro_bootpart}";
    format!(
        "{load} {kernel:#x} zImage\n{load} {tree:#x} board.dtb\nsetenv bootargs '{quoted}'\n\
         bootz {kernel:#x} - {tree:#x}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_disk_holds_the_files_and_a_script_that_names_them() {
        let zimage = vec![0x5a; 600_000];
        let disk = disk(&zimage, b"tree", 0x4000_0000, "a='b c'").unwrap();
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        let volume = FileSystem::new(Cursor::new(disk[VOLUME_START..].to_vec()), FsOptions::new()).unwrap();
        let read = |name: &str| {
            let mut bytes = Vec::new();
            volume.root_dir().open_file(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read("zImage"), zimage);
        assert_eq!(read("board.dtb"), b"tree");
        let script = String::from_utf8(read("boot.scr")[72..].to_vec()).unwrap();
        assert!(script.contains("load ${devtype} ${devnum}:${distro_bootpart} 0x40008000 zImage\n"));
        assert!(script.contains(r"setenv bootargs 'a='\''b c'\'''"));
        assert!(script.ends_with("bootz 0x40008000 - 0x41000000\n"));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(disk(&vec![0; VOLUME_BYTES], b"", 0, "").is_err());
    }
}
