//! A recorded trace: what Contig's own kernel allocated and freed, in order.
//!
//! Recorded on `vexpress-a7`, from the first allocation of the boot through 112 commands of a shell session: four times each
//! file of `/proc`, `help`, `ls`, `free`, an `echo` into `/proc/sys`, and the files of CMA and memblock in debugfs. The
//! global allocator printed each call; `examples/pack_trace.rs` packed that. All objects are aligned to 8 bytes in the replay,
//! which the slab, `kmalloc`, does anyway. A word of 16 bits an operation, little-endian:
//!
//! ```text
//! 0 sssssss ssssssss   allocate s bytes, into the lowest empty slot
//! 1 ttttttt tttttttt   free what is in slot t
//! ```

use alloc::vec::Vec;

/// The recording, packed.
pub const TRACE: &[u8] = include_bytes!("boot.trace");

const FREE: u16 = 1 << 15;

/// An operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceOp {
    /// An object of that many bytes, into an empty slot.
    Alloc {
        /// Where it goes.
        slot: u32,
        /// Bytes.
        size: u32,
    },
    /// The object in a slot.
    Free {
        /// Where it is.
        slot: u32,
    },
}

/// The operations of a packed trace. Frees of empty slots are left out.
#[must_use]
pub fn unpack(bytes: &[u8]) -> Vec<TraceOp> {
    let mut taken: Vec<bool> = Vec::new();
    let words = bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
    words.filter_map(|word| step(&mut taken, word)).collect()
}

fn step(taken: &mut Vec<bool>, word: u16) -> Option<TraceOp> {
    if word & FREE != 0 {
        let slot = u32::from(word & !FREE);
        let was = taken.get_mut(slot as usize)?;
        return core::mem::take(was).then_some(TraceOp::Free { slot });
    }
    let slot = lowest_empty(taken);
    Some(TraceOp::Alloc { slot: slot as u32, size: u32::from(word) })
}

fn lowest_empty(taken: &mut Vec<bool>) -> usize {
    let slot = taken.iter().position(|taken| !taken).unwrap_or_else(|| {
        taken.push(false);
        taken.len() - 1
    });
    taken[slot] = true;
    slot
}

/// Packs a recording: pairs of an object's name (its address, say) and its size, 0 for a free. Objects above 32,767
/// bytes and names that are not known are left out.
#[must_use]
pub fn pack(recorded: impl Iterator<Item = (u64, u32)>) -> Vec<u8> {
    let (mut taken, mut names, mut bytes) = (Vec::new(), Vec::<(u64, usize)>::new(), Vec::new());
    for (name, size) in recorded {
        let word = match size {
            0 => {
                let Some(at) = names.iter().position(|&(known, _)| known == name) else { continue };
                let (_, slot) = names.swap_remove(at);
                taken[slot] = false;
                FREE | slot as u16
            }
            size if size < u32::from(FREE) => {
                names.push((name, lowest_empty(&mut taken)));
                size as u16
            }
            _ => continue,
        };
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use TraceOp::{Alloc, Free};
    use alloc::vec;

    #[test]
    fn what_was_packed_comes_out() {
        let recorded = [(7, 10), (8, 20), (7, 0), (9, 30), (1, 0), (5, 40_000), (5, 0), (8, 0), (9, 0)];
        let ops = unpack(&pack(recorded.into_iter()));
        let expected = vec![
            Alloc { slot: 0, size: 10 },
            Alloc { slot: 1, size: 20 },
            Free { slot: 0 },
            Alloc { slot: 0, size: 30 },
            Free { slot: 1 },
            Free { slot: 0 },
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn the_recording_is_a_recording() {
        let ops = unpack(TRACE);
        let allocs = ops.iter().filter(|op| matches!(op, Alloc { .. })).count();
        assert!(allocs > 500 && ops.len() > allocs + 200, "{allocs} of {}", ops.len());
        assert_eq!(ops.len(), TRACE.len() / 2, "every word is an operation");
    }
}
