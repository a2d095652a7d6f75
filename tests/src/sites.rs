//! Trace events in the kernel's ELF file: where they may be told of, and what that costs.
//!
//! The table `.jump_table` has three words for each static branch: where its NOP is, where it would go, and its key
//! (`arch_armv7::jump_label`). The key of an event is a static that has its name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::{File, Object, ObjectSection, ObjectSymbol};

/// Thumb's NOP of 32 bits, as the little-endian word in memory.
pub const NOP_W: u32 = 0x8000_f3af;
/// Its short NOPs, which align the long one.
const NOPS: [u16; 2] = [0xbf00, 0x46c0];

/// A static branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Where it is.
    pub address: u32,
    /// What is there.
    pub instruction: u32,
    /// Short NOPs before it.
    pub padding: usize,
    /// Whose key it has, if that is an event's.
    pub event: Option<String>,
}

/// The name in a mangled path of `module`: `..5trace6events4keys13mm_page_alloc17h..`.
fn name_in(symbol: &str, module: &str) -> Option<String> {
    let (_, rest) = symbol.split_once(module)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let length: usize = rest[..digits].parse().ok()?;
    rest.get(digits..digits + length).map(str::to_owned)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The bytes at an address of the image.
fn at<'f>(file: &File<'f>, address: u32, length: usize) -> Option<&'f [u8]> {
    let address = u64::from(address);
    let section = file.sections().find(|s| (s.address()..s.address() + s.size()).contains(&address))?;
    let from = (address - section.address()) as usize;
    section.data().ok()?.get(from..from + length)
}

fn with<R>(elf: &Path, work: impl FnOnce(&File<'_>) -> R) -> R {
    let bytes = fs::read(elf).unwrap_or_else(|error| panic!("{}: {error}", elf.display()));
    work(&File::parse(&*bytes).unwrap_or_else(|error| panic!("{}: {error}", elf.display())))
}

fn keys(file: &File<'_>) -> BTreeMap<u32, String> {
    let key = |symbol: object::Symbol<'_, '_>| {
        Some((symbol.address() as u32, name_in(symbol.name().ok()?, "5trace6events4keys")?))
    };
    file.symbols().filter_map(key).collect()
}

/// Every static branch of the image.
#[must_use]
pub fn of(elf: &Path) -> Vec<Site> {
    with(elf, |file| {
        let address = |name| file.symbol_by_name(name).map_or(0, |symbol| symbol.address() as u32);
        let (start, end) = (address("__jump_table_start"), address("__jump_table_end"));
        let table = at(file, start, (end - start) as usize).unwrap_or_default();
        let keys = keys(file);
        let site = |entry: &[u8]| {
            let address = word(entry, 0)?;
            let short = |back: u32| {
                let bytes = at(file, address.checked_sub(back)?, 2)?;
                Some(u16::from_le_bytes([bytes[0], bytes[1]])).filter(|half| NOPS.contains(half))
            };
            let padding = (1..3).take_while(|&n| short(2 * n).is_some()).count();
            let instruction = word(at(file, address, 4)?, 0)?;
            Some(Site { address, instruction, padding, event: keys.get(&word(entry, 8)?).cloned() })
        };
        table.chunks_exact(12).map(|entry| site(entry).unwrap_or_else(|| panic!("{entry:x?}"))).collect()
    })
}

/// The events that the image has.
#[must_use]
pub fn events(elf: &Path) -> Vec<String> {
    with(elf, |file| keys(file).into_values().collect())
}

/// Instructions of the function of each event.
#[must_use]
pub fn emitters(elf: &Path) -> BTreeMap<String, usize> {
    with(elf, |file| {
        let emitter = |symbol: object::Symbol<'_, '_>| {
            let name = name_in(symbol.name().ok()?, "5trace6events4emit")?;
            let code = at(file, symbol.address() as u32 & !1, symbol.size() as usize)?;
            Some((name, instructions(code)))
        };
        file.symbols().filter_map(emitter).collect()
    })
}

/// Counts Thumb instructions: those whose first half is 0xe800 or more have two halves (ARM DDI 0406C, A6.1).
fn instructions(code: &[u8]) -> usize {
    let mut halves = code.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]]));
    let mut count = 0;
    while let Some(half) = halves.next() {
        if half >= 0xe800 {
            halves.next();
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_mangled_paths() {
        let symbol = "_ZN5trace6events4keys13mm_page_alloc17h0123456789abcdefE";
        assert_eq!(name_in(symbol, "5trace6events4keys").as_deref(), Some("mm_page_alloc"));
        assert_eq!(name_in(symbol, "5trace6events4emit"), None);
    }

    #[test]
    fn thumb_instructions_have_one_or_two_halves() {
        // push {r7, lr}; mov r7, sp; movw r0, #0; b.n
        assert_eq!(instructions(&[0x80, 0xb5, 0x6f, 0x46, 0x40, 0xf2, 0, 0, 0xfe, 0xe7]), 4);
    }
}
