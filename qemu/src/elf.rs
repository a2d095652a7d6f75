//! From the linked ELF file to the raw `zImage`, and the sizes of what is in it.
//!
//! The image is the bytes of the loadable segments, laid out by physical address; gaps are zeros and BSS is left
//! out. The Linux zImage header (magic and the two link addresses at 0x24) comes from `boot/`'s `start.S`; here
//! it is only checked (Linux, Documentation/arch/arm/booting.rst).

use std::fmt;
use std::ops::Range;

use object::LittleEndian;
use object::elf::{FileHeader32, PT_LOAD, SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// `0x016f2818` at offset 0x24 marks a zImage.
const MAGIC: u32 = 0x016f_2818;
const MAGIC_AT: usize = 0x24;
/// No image is near this size; a wild address in the ELF file must not make us allocate gigabytes.
const MAX_IMAGE: u64 = 64 << 20;

/// Bytes of text (with read-only data), data and BSS, as `size` counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Code and read-only data.
    pub text: u64,
    /// Initialised writable data.
    pub data: u64,
    /// Zeroed data, with the boot stacks.
    pub bss: u64,
}

/// Why an ELF file gives no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfError {
    /// Not a little-endian 32-bit ELF file, or damaged.
    NotElf(&'static str),
    /// No loadable bytes.
    Empty,
    /// The loadable bytes span too much.
    TooLarge {
        /// First and one past the last physical address.
        start: u64,
        /// One past the last physical address.
        end: u64,
    },
    /// The zImage magic is not at its place.
    NoMagic,
}

type Header = FileHeader32<LittleEndian>;

fn header(elf: &[u8]) -> Result<(&Header, LittleEndian), ElfError> {
    let not_elf = |_| ElfError::NotElf("no 32-bit ELF header");
    let header = Header::parse(elf).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    Ok((header, endian))
}

/// The raw image of the ELF file `elf`.
///
/// # Errors
/// An [`ElfError`] with the reason.
pub fn to_zimage(elf: &[u8]) -> Result<Vec<u8>, ElfError> {
    let image = flatten(elf)?;
    match image.get(MAGIC_AT..MAGIC_AT + 4) {
        Some(bytes) if bytes == MAGIC.to_le_bytes() => Ok(image),
        _ => Err(ElfError::NoMagic),
    }
}

fn flatten(elf: &[u8]) -> Result<Vec<u8>, ElfError> {
    let (header, endian) = header(elf)?;
    let segments =
        header.program_headers(endian, elf).map_err(|_| ElfError::NotElf("bad program headers"))?;
    let mut pieces = Vec::new();
    for segment in segments.iter().filter(|s| s.p_type(endian) == PT_LOAD && s.p_filesz(endian) > 0) {
        let bytes =
            segment.data(endian, elf).map_err(|()| ElfError::NotElf("segment outside of the file"))?;
        pieces.push((u64::from(segment.p_paddr(endian)), bytes));
    }
    place(&pieces)
}

fn place(pieces: &[(u64, &[u8])]) -> Result<Vec<u8>, ElfError> {
    let Range { start, end } = span(pieces).ok_or(ElfError::Empty)?;
    if end - start > MAX_IMAGE {
        return Err(ElfError::TooLarge { start, end });
    }
    let mut image = vec![0; (end - start) as usize];
    for (address, bytes) in pieces {
        let at = (address - start) as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    Ok(image)
}

fn span(pieces: &[(u64, &[u8])]) -> Option<Range<u64>> {
    let start = pieces.iter().map(|&(address, _)| address).min()?;
    let end = pieces.iter().map(|&(address, bytes)| address + bytes.len() as u64).max()?;
    Some(start..end)
}

/// The sizes of the ELF file's allocated sections.
///
/// # Errors
/// [`ElfError::NotElf`].
pub fn sizes(elf: &[u8]) -> Result<Sizes, ElfError> {
    let (header, endian) = header(elf)?;
    let sections = header.sections(endian, elf).map_err(|_| ElfError::NotElf("bad section headers"))?;
    let mut sizes = Sizes::default();
    for section in sections.iter().filter(|s| s.sh_flags(endian).contains(SHF_ALLOC)) {
        let writable = section.sh_flags(endian).contains(SHF_WRITE);
        let sum = match (section.sh_type(endian), writable) {
            (SHT_NOBITS, _) => &mut sizes.bss,
            (_, true) => &mut sizes.data,
            (_, false) => &mut sizes.text,
        };
        *sum += u64::from(section.sh_size(endian));
    }
    Ok(sizes)
}

/// The address of the symbol called `name`, if there is one.
pub fn symbol(elf: &[u8], name: &str) -> Option<u64> {
    use object::{Object, ObjectSymbol};
    Some(object::File::parse(elf).ok()?.symbol_by_name(name)?.address())
}

impl Sizes {
    /// Text, data and BSS together.
    pub fn total(self) -> u64 {
        self.text + self.data + self.bss
    }
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf(what) => f.write_str(what),
            Self::Empty => f.write_str("nothing to load in it"),
            Self::TooLarge { start, end } => write!(f, "it spans {start:#x} to {end:#x}"),
            Self::NoMagic => write!(f, "no zImage magic {MAGIC:#010x} at offset {MAGIC_AT:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::elf::ProgramHeader32;

    /// An ELF file with these (physical address, bytes, memory size) segments and no sections.
    fn elf(segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        // Everything the parser looks at; the rest is zero (System V ABI, "ELF Header").
        let mut file = vec![0; size_of::<Header>()];
        file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        let table = size_of::<Header>() as u32;
        file[28..32].copy_from_slice(&table.to_le_bytes());
        file[42] = size_of::<ProgramHeader32<LittleEndian>>() as u8;
        file[44] = segments.len() as u8;
        let mut at = file.len() + segments.len() * size_of::<ProgramHeader32<LittleEndian>>();
        for &(address, bytes, memory) in segments {
            let fields = [1, at as u32, address, address, bytes.len() as u32, memory, 5, 4];
            file.extend(fields.iter().flat_map(|field: &u32| field.to_le_bytes()));
            at += bytes.len();
        }
        segments.iter().for_each(|(_, bytes, _)| file.extend(*bytes));
        file
    }

    fn head() -> Vec<u8> {
        let mut head = vec![0xee; 0x30];
        head[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(&MAGIC.to_le_bytes());
        head
    }

    #[test]
    fn segments_are_placed_by_address_with_zeros_between_and_no_bss() {
        let head = head();
        let file = elf(&[(0xc000_9000, b"data", 0x8000), (0xc000_8000, &head, 0x30), (0xc002_0000, b"", 64)]);
        let image = to_zimage(&file).unwrap();
        assert_eq!(image.len(), 0x1004);
        assert_eq!(&image[..0x30], &head[..]);
        assert!(image[0x30..0x1000].iter().all(|&byte| byte == 0));
        assert_eq!(&image[0x1000..], b"data");
    }

    #[test]
    fn symbols_have_addresses() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(symbol(&this, "main").is_some_and(|address| address > 0));
        assert_eq!(symbol(&this, "no such symbol"), None);
        assert_eq!(symbol(b"MZ", "main"), None);
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(matches!(to_zimage(b"MZ"), Err(ElfError::NotElf(_))));
        assert_eq!(to_zimage(&elf(&[])), Err(ElfError::Empty));
        assert_eq!(to_zimage(&elf(&[(0, b"short", 5)])), Err(ElfError::NoMagic));
        assert_eq!(to_zimage(&elf(&[(0, &[0; 64], 64)])), Err(ElfError::NoMagic));
        let wild = elf(&[(0, &head(), 48), (0xf000_0000, b"x", 1)]);
        assert_eq!(to_zimage(&wild), Err(ElfError::TooLarge { start: 0, end: 0xf000_0001 }));
        let whole = elf(&[(0, &head(), 48)]);
        assert!(matches!(to_zimage(&whole[..whole.len() - 1]), Err(ElfError::NotElf(_))));
    }
}
