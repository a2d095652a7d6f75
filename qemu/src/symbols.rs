//! Names for the addresses in the kernel's reports, from the debug information of its ELF file.
//!
//! A report names places as `[<c0012345>]`, and the registers as `pc : c0012345` or `PC is at 0xc0012345`. All but
//! the pc, also as `[<c0012345>] (pc)`, are return addresses: the call is the instruction before.

use std::cell::OnceCell;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use addr2line::{Loader, demangle_auto};
use regex::Regex;

use crate::image;

/// Looks addresses up in one ELF file, which is read at the first need.
pub struct Symbols {
    elf: PathBuf,
    pattern: Regex,
    loader: OnceCell<Option<Loader>>,
}

/// An address of a line: the register that held it, if it says so, and the place it stands for.
struct Place {
    register: Option<String>,
    address: u64,
}

impl Symbols {
    /// Symbols of the kernel at `elf`.
    pub fn new(elf: &Path) -> Self {
        const PATTERN: &str = r"(?i)\b(pc|lr)(?: is at)?\s*[:=]?\s*(?:\[<|0x)?([0-9a-f]{8})\b|\[<(?:0x)?([0-9a-f]{8})>\]( \(pc\))?";
        let Ok(pattern) = Regex::new(PATTERN) else { unreachable!("a constant pattern, in every test") };
        Self { elf: elf.to_owned(), pattern, loader: OnceCell::new() }
    }

    /// What to add to the end of a line of a report: the functions and source lines of its addresses.
    pub fn annotate(&self, line: &str) -> Option<String> {
        let mut names = String::new();
        for place in self.places(line) {
            let Some(name) = self.name(&place) else { continue };
            let separator = if names.is_empty() { " " } else { ", " };
            let register = place.register.map(|register| format!("{register}: ")).unwrap_or_default();
            // Writing to a String can't fail.
            let _ = write!(names, "{separator}{register}{name}");
        }
        (!names.is_empty()).then_some(names)
    }

    fn places(&self, line: &str) -> Vec<Place> {
        let places = self.pattern.captures_iter(line).filter_map(|found| {
            let digits = found.get(2).or(found.get(3))?;
            let register = found.get(1).map(|name| name.as_str().to_lowercase());
            let register = register.or(found.get(4).map(|_| "pc".to_owned()));
            Some(Place { register, address: u64::from_str_radix(digits.as_str(), 16).ok()? })
        });
        places.collect()
    }

    /// The function that a call returns to, as one word: `function(file:line)`. Of functions that were inlined into one
    /// another, the innermost of this source tree, the tracing itself left out; else the outermost.
    pub fn function(&self, address: u32) -> Option<String> {
        let loader = self.loader.get_or_init(|| Loader::new(&self.elf).ok()).as_ref()?;
        let mut frames = loader.find_frames(u64::from(address.checked_sub(1)?)).ok()?;
        let mut found = None;
        while let Ok(Some(frame)) = frames.next() {
            let Some(name) =
                frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()))
            else {
                continue;
            };
            let at = frame.location.and_then(|at| Some((short(at.file?), at.line?)));
            found = Some(at.map_or_else(|| name.clone(), |(file, line)| format!("{name}({file}:{line})")));
            if at.is_some_and(|(file, _)| !file.starts_with('/') && !file.starts_with("kernel/trace/")) {
                break;
            }
        }
        found.map(|name| name.replace(' ', ""))
    }

    fn name(&self, place: &Place) -> Option<String> {
        let loader = self.loader.get_or_init(|| Loader::new(&self.elf).ok()).as_ref()?;
        let exact = place.register.as_deref() == Some("pc");
        let address = if exact { place.address } else { place.address.checked_sub(1)? };
        let mut frames = loader.find_frames(address).ok()?;
        let (mut innermost, mut outermost) = (None, None);
        while let Ok(Some(frame)) = frames.next() {
            let name =
                frame.function.as_ref().and_then(|name| name.demangle().ok()).map(|name| name.into_owned());
            let at = frame.location.and_then(|at| Some(format!("{}:{}", short(at.file?), at.line?)));
            innermost.get_or_insert((name.clone(), at));
            outermost = name;
        }
        let (name, at) = innermost.unwrap_or_default();
        let symbol = || loader.find_symbol(address).map(|name| demangle_auto(name.into(), None).into_owned());
        let name = name.or_else(symbol)?;
        let within = outermost.filter(|outer| *outer != name).map(|outer| format!(" in {outer}"));
        Some(format!("{name} ({}){}", at.unwrap_or_else(|| "?".into()), within.unwrap_or_default()))
    }
}

/// Paths of this source tree from its root, others from the last `/src/`'s package.
fn short(file: &str) -> &str {
    let root = image::workspace();
    let own = root.to_str().and_then(|root| file.strip_prefix(root));
    own.map_or(file, |path| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_with_their_registers() {
        let symbols = Symbols::new(Path::new("/nowhere"));
        let found = |line: &str| -> Vec<(Option<String>, u64)> {
            symbols.places(line).into_iter().map(|place| (place.register, place.address)).collect()
        };
        let (pc, lr) = (Some("pc".to_owned()), Some("lr".to_owned()));
        assert_eq!(found(" [<c0012345>]"), [(None, 0xc001_2345)]);
        assert_eq!(found(" [<c0012344>] (pc)"), [(Some("pc".into()), 0xc001_2344)]);
        assert_eq!(
            found("pc : [<c0012345>]    lr : [<C0abcdef>]    psr: 60000013"),
            [(pc.clone(), 0xc001_2345), (lr.clone(), 0xc0ab_cdef)]
        );
        assert_eq!(found("[    1.000000] PC is at 0xc0008000"), [(pc.clone(), 0xc000_8000)]);
        assert_eq!(found("pc: c0008000 lr: c0008004"), [(pc, 0xc000_8000), (lr, 0xc000_8004)]);
        assert!(found("20000000-27efffff : System RAM, sp : c0012345").is_empty());
    }

    #[test]
    fn without_an_elf_file_nothing_is_added() {
        assert_eq!(Symbols::new(Path::new("/nowhere")).annotate(" [<c0012345>]"), None);
    }

    #[test]
    fn this_very_program_has_names() {
        use object::{Object, ObjectSymbol};
        let exe = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&exe).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let function = file.symbols().find(|symbol| {
            symbol.size() > 0
                && symbol.name().is_ok_and(|name| name.contains("annotate") && name.contains("symbols"))
        });
        let address = function.unwrap().address();
        let symbols = Symbols::new(&exe);
        let text = symbols.annotate(&format!("pc : {address:08x}")).unwrap();
        assert!(text.contains("annotate") && text.contains("qemu/src/symbols.rs:"), "{text}");
        let text = symbols.annotate(&format!(" [<{:08x}>]", address + 4)).unwrap();
        assert!(text.starts_with(" qemu::symbols::"), "{text}");
    }
}
