//! What the command line can switch on: `slub_debug`, `init_on_alloc`, `init_on_free`, `failslab`.

use crate::FaultAttr;
use bitflags::bitflags;

bitflags! {
    /// Letters of `slub_debug`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DebugFlags: u8 {
        /// `F`: check red zones and poison at each allocation and free.
        const CONSISTENCY = 1;
        /// `Z`: guard bytes before and after each object.
        const RED_ZONE = 2;
        /// `P`: fill free objects with a pattern.
        const POISON = 4;
        /// `U`: remember who allocated and who freed.
        const STORE_USER = 8;
    }
}

/// Bytes of `slub_debug`'s value that are kept.
const TEXT: usize = 192;

/// The value of `slub_debug`: `[FLAGS][,CACHE[,CACHE…]][;…]`, where a cache may end in `*`.
///
/// As in Linux: no flags means all, `-` means none; flags without caches hold for every cache that no other block names.
#[derive(Clone, Debug)]
pub struct SlubDebug {
    text: [u8; TEXT],
    len: usize,
}

impl Default for SlubDebug {
    /// Not given: no debugging.
    fn default() -> Self {
        Self { text: [0; TEXT], len: 0 }
    }
}

impl SlubDebug {
    /// The value behind `slub_debug=`, empty for a bare `slub_debug`. `None` when it is longer than 192 bytes.
    ///
    /// Unknown letters are named in the log and skipped.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let value = if value.is_empty() { "fzpu" } else { value };
        let mut text = [0; TEXT];
        text.get_mut(..value.len())?.copy_from_slice(value.as_bytes());
        for letter in value.split(';').flat_map(|block| Self::parts(block).0.chars()) {
            if letter != '-' && Self::letter(letter).is_none() {
                log::error!("slub_debug option '{letter}' unknown. skipped");
            }
        }
        Some(Self { text, len: value.len() })
    }

    /// The flags for the cache `name`: of the first block that lists it, else of the last one that lists none.
    #[must_use]
    pub fn flags_for(&self, name: &str) -> DebugFlags {
        let mut global = DebugFlags::empty();
        let text = core::str::from_utf8(&self.text[..self.len]).unwrap_or("");
        for block in text.split(';').filter(|block| !block.is_empty()) {
            let (letters, caches) = Self::parts(block);
            match caches {
                Some(list) if list.split(',').any(|pattern| Self::matches(pattern, name)) => {
                    return Self::flags(letters);
                }
                Some(_) => {}
                None => global = Self::flags(letters),
            }
        }
        global
    }

    fn parts(block: &str) -> (&str, Option<&str>) {
        match block.split_once(',') {
            Some((letters, caches)) => (letters, Some(caches)),
            None => (block, None),
        }
    }

    fn matches(pattern: &str, name: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        }
    }

    fn letter(letter: char) -> Option<DebugFlags> {
        match letter.to_ascii_lowercase() {
            'f' => Some(DebugFlags::CONSISTENCY),
            'z' => Some(DebugFlags::RED_ZONE),
            'p' => Some(DebugFlags::POISON),
            'u' => Some(DebugFlags::STORE_USER),
            _ => None,
        }
    }

    fn flags(letters: &str) -> DebugFlags {
        if letters.is_empty() {
            return DebugFlags::all();
        }
        if letters.starts_with('-') {
            return DebugFlags::empty();
        }
        letters.chars().filter_map(Self::letter).fold(DebugFlags::empty(), |all, one| all | one)
    }
}

/// What the allocator needs of the kernel around it, to report what went wrong.
#[derive(Clone, Copy, Debug)]
pub struct SlabHooks {
    /// Prints a backtrace.
    pub dump_stack: fn(),
    /// Fills in the addresses of the memory manager's callers, the innermost first.
    pub backtrace: fn(&mut [u32]),
    /// Time in jiffies.
    pub jiffies: fn() -> u32,
}

impl Default for SlabHooks {
    /// No backtrace and no clock.
    fn default() -> Self {
        Self { dump_stack: || (), backtrace: |_| (), jiffies: || 0 }
    }
}

/// Options of the whole allocator; the default is all off.
#[derive(Clone, Debug, Default)]
pub struct SlabOptions {
    /// `init_on_alloc=1`: every object is zeroed when it is handed out, except those of caches with a constructor.
    pub init_on_alloc: bool,
    /// `init_on_free=1`: every object is zeroed when it comes back, with the same exception.
    pub init_on_free: bool,
    /// `slub_debug=`.
    pub slub_debug: SlubDebug,
    /// `failslab=`.
    pub failslab: FaultAttr,
    /// How to report.
    pub hooks: SlabHooks,
}

impl SlabOptions {
    /// Whether nothing has to be done at each single allocation and free.
    pub(super) fn allows_fast_paths(&self) -> bool {
        !self.init_on_alloc && !self.init_on_free && !self.failslab.is_on()
    }
}

#[cfg(test)]
mod tests {
    use super::{DebugFlags as D, SlubDebug};

    fn flags(value: &str, name: &str) -> D {
        SlubDebug::parse(value).unwrap().flags_for(name)
    }

    #[test]
    fn the_syntax_of_linux() {
        assert_eq!(SlubDebug::default().flags_for("kmalloc-64"), D::empty());
        assert_eq!(flags("", "kmalloc-64"), D::all());
        assert_eq!(flags("FZ", "kmalloc-64"), D::CONSISTENCY | D::RED_ZONE);
        assert_eq!(flags("fpq", "any"), D::CONSISTENCY | D::POISON);
        assert_eq!(flags("-", "any"), D::empty());
        assert_eq!(flags(",dentry", "dentry"), D::all());
        assert_eq!(flags(",dentry", "kmalloc-64"), D::empty());
        assert_eq!(flags("Z,kmalloc-*,dentry", "kmalloc-64"), D::RED_ZONE);
        assert_eq!(flags("Z,kmalloc-*,dentry", "dentry"), D::RED_ZONE);
        assert_eq!(flags("Z,kmalloc-*,dentry", "dentry2"), D::empty());
        assert_eq!(flags("FZ;P,dentry", "dentry"), D::POISON);
        assert_eq!(flags("FZ;P,dentry", "inode"), D::CONSISTENCY | D::RED_ZONE);
        assert_eq!(flags("U;-,kmalloc-64", "kmalloc-64"), D::empty());
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        let long = std::string::String::from_utf8(std::vec![b'f'; 193]).unwrap();
        assert!(SlubDebug::parse(&long).is_none());
        assert!(SlubDebug::parse(&long[..192]).is_some());
    }
}
