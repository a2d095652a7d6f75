//! Where the image goes, when it was not loaded where it can run.
//!
//! The image runs at `PHYS_OFFSET + TEXT_OFFSET`, `PHYS_OFFSET` a multiple of 2 MiB. Boot loaders put a zImage
//! anywhere (QEMU at RAM + 0x10000, U-Boot at its load address), so start.S moves it:
//!
//! 1. it stays, when it lies at a multiple of 2 MiB + 0x8000;
//! 2. else it goes to the start of its 128 MiB, which Linux's `AUTO_ZRELADDR` takes as the start of RAM;
//! 3. else to the 2 MiB it lies in; 4. else to the next 2 MiB.
//!
//! Each candidate is taken only if neither the page tables nor the image with its BSS would cover the device tree
//! or ATAGs. The copy loop itself runs from `scratch`, beyond both images and the tree.
//!
//! [`boot_place`] runs with the MMU off, at its physical address: it does integer arithmetic on its arguments and
//! nothing else, so it needs no data, no absolute address, no atomic and no unaligned access (invariant 7). The
//! boot scenarios that load the image at an odd address execute it, and an absolute address would fault there.

use crate::layout::{PG_DIR_OFFSET, PHYS_ALIGN, TEXT_OFFSET};

/// Bytes that the copy loop may take at [`Placement::scratch`].
pub const SCRATCH_SIZE: u32 = 128;
/// The low word of [`boot_place`]'s answer when there is no place.
pub const NO_PLACE: u32 = 1;

/// What was loaded where, in physical addresses and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// First byte of the image.
    pub load: u32,
    /// Bytes of the image file with what is appended to it.
    pub file: u32,
    /// Bytes that the running image takes, from its first byte.
    pub total: u32,
    /// First byte of the device tree or the ATAGs.
    pub tree: u32,
    /// Their size; 0 when there are none.
    pub tree_len: u32,
}

/// Where the image runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The base of lowmem.
    pub phys_offset: u32,
    /// [`SCRATCH_SIZE`] bytes from here are free for the copy loop.
    pub scratch: u32,
}

impl Loaded {
    /// The first candidate that fits; `None` when each would overwrite the tree or leave the address space.
    #[must_use]
    #[inline]
    pub const fn place(self) -> Option<Placement> {
        let at = self.load.wrapping_sub(TEXT_OFFSET);
        if at & (PHYS_ALIGN - 1) == 0
            && let Some(place) = self.try_base(at)
        {
            return Some(place);
        }
        if let Some(place) = self.try_base(self.load & 0xf800_0000) {
            return Some(place);
        }
        let own = self.load & !(PHYS_ALIGN - 1);
        if let Some(place) = self.try_base(own) {
            return Some(place);
        }
        match own.checked_add(PHYS_ALIGN) {
            Some(next) => self.try_base(next),
            None => None,
        }
    }

    const fn try_base(self, phys_offset: u32) -> Option<Placement> {
        let image = phys_offset.wrapping_add(TEXT_OFFSET);
        let end = image.wrapping_add(self.total);
        let file_end = self.load.wrapping_add(self.file);
        // No RAM reaches within a megabyte of either end in a way that the sums could wrap unnoticed.
        if end < phys_offset || self.total > 0x1000_0000 || self.overlaps(phys_offset + PG_DIR_OFFSET, end) {
            return None;
        }
        let mut scratch = round_up(if file_end > end { file_end } else { end });
        if self.overlaps(scratch, scratch.wrapping_add(SCRATCH_SIZE)) {
            scratch = round_up(self.tree.wrapping_add(self.tree_len));
        }
        Some(Placement { phys_offset, scratch })
    }

    const fn overlaps(self, start: u32, end: u32) -> bool {
        self.tree_len > 0 && self.tree < end && start < self.tree.saturating_add(self.tree_len)
    }
}

const fn round_up(addr: u32) -> u32 {
    addr.wrapping_add(63) & !63
}

/// [`Loaded::place`] for start.S: `PHYS_OFFSET` in the low word (r0), the scratch address in the high word (r1);
/// [`NO_PLACE`] in the low word when there is none.
#[cfg_attr(target_os = "none", unsafe(link_section = ".init.text"), unsafe(no_mangle))]
pub extern "C" fn boot_place(load: u32, file: u32, total: u32, tree: u32, tree_len: u32) -> u64 {
    match (Loaded { load, file, total, tree, tree_len }).place() {
        Some(place) => (place.scratch as u64) << 32 | place.phys_offset as u64,
        None => NO_PLACE as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(load: u32, tree: u32, tree_len: u32) -> Loaded {
        Loaded { load, file: 0x4_8000, total: 0x7_0000, tree, tree_len }
    }

    #[test]
    fn stays_where_it_can_run() {
        for base in [0x2000_0000, 0x4000_0000, 0x8000_0000, 0x4020_0000] {
            let place = loaded(base + TEXT_OFFSET, 0x100, 0x200).place().unwrap();
            assert_eq!(place.phys_offset, base);
        }
    }

    #[test]
    fn boot_loaders_addresses_go_to_the_start_of_ram() {
        let place = |load| loaded(load, 0x4800_0000, 0x1_0000).place().unwrap().phys_offset;
        assert_eq!(place(0x8001_0000), 0x8000_0000, "QEMU -kernel");
        assert_eq!(place(0x4040_0000), 0x4000_0000, "U-Boot bootz 0x40400000");
        assert_eq!(place(0x4000_1000), 0x4000_0000, "below its own place");
    }

    #[test]
    fn a_tree_in_the_way_moves_the_image() {
        let place = |tree| loaded(0x8041_0000, tree, 0x2000).place().map(|p| p.phys_offset);
        assert_eq!(place(0x8000_0100), Some(0x8000_0000), "below the tables it may stay");
        assert_eq!(place(0x8000_2001), Some(0x8040_0000), "it would reach into the tables");
        assert_eq!(place(0x8007_7fff), Some(0x8040_0000), "over the last byte of the BSS");
        assert_eq!(place(0x8007_8000), Some(0x8000_0000), "just behind");
        let all =
            Loaded { load: 0x8041_0000, file: 1, total: 0x7_0000, tree: 0x8000_0000, tree_len: 64 << 20 };
        assert_eq!(all.place(), None);
        assert_eq!(boot_place(0x8041_0000, 1, 0x7_0000, 0x8000_0000, 64 << 20), u64::from(NO_PLACE));
    }

    #[test]
    fn nothing_wraps_at_the_end_of_the_space() {
        assert_eq!(
            Loaded { load: 0xffe1_0000, file: 0x1000, total: 0x0fff_ffff, tree: 0, tree_len: 0 }.place(),
            None
        );
    }

    /// Whatever is answered is free of tree and image, checked byte range by byte range in 64-bit arithmetic.
    #[test]
    fn answers_never_touch_what_must_survive() {
        let clash = |a: u64, a_len: u64, b: u64, b_len: u64| b_len > 0 && a < b + b_len && b < a + a_len;
        let mut state = 0x1234_5678_u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for _ in 0..if cfg!(miri) { 200 } else { 200_000 } {
            let near = 0x4000_0000 + random() % 0x80_0000;
            let case = Loaded {
                load: near & !3,
                file: random() % 0x8_0000 + 64,
                total: 0x8_0000 + random() % 0x1000,
                tree: 0x4000_0000 + random() % 0x100_0000,
                tree_len: random() % 0x2_0000,
            };
            let Some(place) = case.place() else { continue };
            let (base, tree, len) =
                (u64::from(place.phys_offset), u64::from(case.tree), u64::from(case.tree_len));
            let end = base + 0x8000 + u64::from(case.total);
            assert_eq!(base % 0x20_0000, 0);
            assert!(!clash(base + 0x4000, end - base - 0x4000, tree, len), "{case:x?} {place:x?}");
            let scratch = u64::from(place.scratch);
            assert!(!clash(scratch, 128, tree, len), "{case:x?} {place:x?}");
            assert!(!clash(scratch, 128, base + 0x4000, end - base - 0x4000), "{case:x?} {place:x?}");
            assert!(!clash(scratch, 128, u64::from(case.load), u64::from(case.file)), "{case:x?} {place:x?}");
        }
    }
}
