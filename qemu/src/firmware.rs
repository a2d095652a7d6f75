//! The bytes that go around the image: `firmware.bin`, U-Boot's image header, ATAGs, and the boot shim.
//!
//! ```text
//! firmware.bin   | zImage | 0 to 8 | CONTIGDTB\0\0\0 | size, LE | device tree blob |
//!                0               8-aligned           +12        +16
//! ```
//! The same zImage bytes start everywhere; a board whose boot code has other ideas of where a kernel goes gets a
//! shim of a few words that jumps to it. Sources: U-Boot's `include/image.h` for the legacy header, Linux's
//! Documentation/arch/arm/booting.rst and `setup.h` for registers and ATAGs.

/// Marks the tree in `firmware.bin`; its size follows as a little-endian word.
pub const MARKER: &[u8; 12] = b"CONTIGDTB\0\0\0";

/// `firmware.bin`: the image, and the tree behind its marker, if there is one.
pub fn firmware(zimage: &[u8], tree: Option<&[u8]>) -> Vec<u8> {
    let mut file = zimage.to_vec();
    if let Some(tree) = tree {
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend(MARKER);
        file.extend((tree.len() as u32).to_le_bytes());
        file.extend(tree);
    }
    file
}

/// What a legacy U-Boot image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// A kernel for this load and entry address.
    Kernel(u32),
    /// Commands for U-Boot's shell.
    Script,
}

/// Wraps `data` into a legacy U-Boot image (big-endian 64-byte header, ARM, Linux, not compressed).
pub fn u_boot_image(payload: Payload, data: &[u8]) -> Vec<u8> {
    const LINUX: u8 = 5;
    const ARM: u8 = 2;
    let (kind, address) = match payload {
        Payload::Kernel(address) => (2, address),
        Payload::Script => (6, 0),
    };
    let body = match payload {
        Payload::Kernel(_) => data.to_vec(),
        // A script is a list of files: sizes up to a zero, then the files.
        Payload::Script => [&(data.len() as u32).to_be_bytes(), &[0; 4], data].concat(),
    };
    let words = [0x2705_1956, 0, 0, body.len() as u32, address, address, crc32fast::hash(&body)];
    let mut header: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    header.extend([LINUX, ARM, kind, 0]);
    header.resize(64, 0);
    let checksum = crc32fast::hash(&header);
    header[4..8].copy_from_slice(&checksum.to_be_bytes());
    [header, body].concat()
}

/// ATAGs for one bank of memory and a command line: CORE, MEM, CMDLINE, NONE.
pub fn atags(base: u32, size: u32, cmdline: &str) -> Vec<u8> {
    let mut text = cmdline.as_bytes().to_vec();
    text.push(0);
    text.resize(text.len().next_multiple_of(4), 0);
    let mut list = vec![2, 0x5441_0001, 4, 0x5441_0002, size, base, 2 + text.len() as u32 / 4, 0x5441_0009];
    list.extend(text.chunks(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])));
    list.extend([0, 0]);
    list.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A few ARM instructions that jump to `entry`, leaving r0 to r2 as they came.
pub fn shim(entry: u32) -> Vec<u8> {
    let words = [
        0xe51f_f004, // ldr pc, [pc, #-4]
        entry,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The same with r2 replaced, for boards whose boot code hands over a tree or ATAGs that are for another kernel.
pub fn shim_with_r2(entry: u32, r2: u32) -> Vec<u8> {
    let words = [
        0xe59f_2000, // ldr r2, [pc]      the word after the next
        0xe59f_f000, // ldr pc, [pc]      the word after that
        r2,
        entry,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn be(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_tree_is_behind_its_marker_on_eight_bytes() {
        for size in 40..50 {
            let file = firmware(&vec![0xaa; size], Some(b"tree"));
            let marker = file.windows(12).position(|w| w == MARKER).unwrap();
            assert_eq!(marker, size.next_multiple_of(8));
            assert_eq!(&file[marker + 12..], b"\x04\0\0\0tree");
        }
        assert_eq!(firmware(b"image", None), b"image");
    }

    #[test]
    fn image_header_has_the_checksums_u_boot_wants() {
        let file = u_boot_image(Payload::Kernel(0x8000_2000), b"12345");
        assert_eq!(
            (be(&file, 0), be(&file, 12), be(&file, 16), be(&file, 20)),
            (0x2705_1956, 5, 0x8000_2000, 0x8000_2000)
        );
        assert_eq!(&file[28..32], [5, 2, 2, 0]);
        assert_eq!(be(&file, 24), crc32fast::hash(&file[64..]));
        let mut header = file[..64].to_vec();
        header[4..8].fill(0);
        assert_eq!(be(&file, 4), crc32fast::hash(&header));
    }

    #[test]
    fn a_script_is_a_list_of_one_file() {
        let file = u_boot_image(Payload::Script, b"echo hi\n");
        assert_eq!((file[30], be(&file, 64), be(&file, 68), &file[72..]), (6, 8, 0, &b"echo hi\n"[..]));
    }

    #[test]
    fn atags_have_sizes_in_words() {
        let list = atags(0x2000_0000, 0x0800_0000, "cma=8M");
        let words: Vec<_> = list.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect();
        assert_eq!(words[..8], [2, 0x5441_0001, 4, 0x5441_0002, 0x0800_0000, 0x2000_0000, 4, 0x5441_0009]);
        assert_eq!(&list[32..40], b"cma=8M\0\0");
        assert_eq!(words[10..], [0, 0]);
    }

    #[test]
    fn shims_load_what_follows_them() {
        // In ARM state pc reads as the instruction's address + 8.
        let load = |code: &[u8], at: usize, offset: i64| {
            let from = (at as i64 + 8 + offset) as usize;
            u32::from_le_bytes(code[from..from + 4].try_into().unwrap())
        };
        assert_eq!(load(&shim(0x8000_8000), 0, -4), 0x8000_8000);
        let code = shim_with_r2(0x2000_8000, 0x2000_0100);
        assert_eq!(load(&code, 0, 0), 0x2000_0100);
        assert_eq!(load(&code, 4, 0), 0x2000_8000);
    }
}
