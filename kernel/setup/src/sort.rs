//! Linux's heapsort (`lib/sort.c`), step for step.
//!
//! It is not stable, and the order of equal elements decides which of several dynamic regions is placed first.
//! So the very sequence of exchanges has to be Linux's; a sort from the library gives other addresses.

/// Sorts `n` elements that are reached through `not_less(i, j)` (element i >= element j) and `swap(i, j)`.
pub(crate) fn heapsort<C: ?Sized>(
    n: usize,
    context: &mut C,
    not_less: impl Fn(&C, usize, usize) -> bool,
    swap: impl Fn(&mut C, usize, usize),
) {
    let (mut root, mut end) = (n / 2, n);
    if root == 0 {
        return;
    }
    loop {
        if root > 0 {
            root -= 1;
        } else {
            end -= 1;
            if end == 0 {
                return;
            }
            swap(context, 0, end);
        }
        let target = target_of(root, end, |i, j| not_less(context, i, j));
        let mut at = target;
        while at != root {
            at = parent(at);
            swap(context, at, target);
        }
    }
}

const fn parent(i: usize) -> usize {
    (i - 1) / 2
}

/// Where the element at `root` belongs: down along the larger children to a leaf, then back up past everything
/// that is not larger.
fn target_of(root: usize, end: usize, not_less: impl Fn(usize, usize) -> bool) -> usize {
    let mut at = root;
    while 2 * at + 2 < end {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        at = if not_less(left, right) { left } else { right };
    }
    if 2 * at + 2 == end {
        at = 2 * at + 1;
    }
    while at != root && not_less(root, at) {
        at = parent(at);
    }
    at
}
