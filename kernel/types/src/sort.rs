//! Sorting of short slices.

/// Sorts by insertion, which keeps equal elements in their order: for a few dozen elements, where the library's sort
/// would be as fast and take 3 KiB of code for each type.
pub fn insertion_sort_by_key<T, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K) {
    for sorted in 1..slice.len() {
        let mut at = sorted;
        while at > 0 && key(&slice[at]) < key(&slice[at - 1]) {
            slice.swap(at, at - 1);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::insertion_sort_by_key;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn sorts_as_the_library_does() {
        let mut state = 1u32;
        for len in 0..40 {
            let mut random = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 28
            };
            let mut ours: Vec<(u32, usize)> = (0..len).map(|n| (random(), n)).collect();
            let mut theirs = ours.clone();
            insertion_sort_by_key(&mut ours, |pair| pair.0);
            theirs.sort_by_key(|pair| pair.0);
            assert_eq!(ours, theirs);
        }
    }
}
