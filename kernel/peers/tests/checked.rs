//! Every workload on every allocator, inside the checkers; and that the checkers see what is wrong.

mod support;

use peers::NoMeter;
use peers::frames::{Frames, FramesPeer, FramesVisitor, FramesWork};
use peers::heap::{Arena, Footprint, Heap, HeapPeer, HeapVisitor, HeapWork, Store};
use std::alloc::Layout;
use std::ptr::NonNull;
use support::{CheckedFrames, CheckedHeap};

struct AllFrames(FramesPeer);

impl FramesVisitor for AllFrames {
    fn visit<F: Frames>(&mut self, frames: &mut F) {
        let name = self.0.name();
        for work in FramesWork::ALL {
            let mut checked = CheckedFrames::new(frames);
            let costs = work.measure(&mut checked, &mut NoMeter);
            assert!(costs.is_some_and(|costs| !costs.is_empty()), "{name}: {} ran out", work.name());
            assert_eq!(checked.in_use(), 0, "{name}: {} leaks", work.name());
            assert!(checked.allocations > 8, "{name}: {} took nothing", work.name());
        }
    }
}

#[test]
fn every_frames_workload_on_every_allocator() {
    for peer in FramesPeer::ALL {
        peer.visit(&mut AllFrames(peer));
    }
}

struct AllObjects(HeapPeer);

impl HeapVisitor for AllObjects {
    fn visit<H: Heap>(&mut self, heap: &mut H) {
        let name = self.0.name();
        for work in HeapWork::ALL {
            let mut checked = CheckedHeap::new(heap);
            let costs = work.measure(&mut checked, &mut NoMeter);
            assert!(costs.is_some_and(|costs| !costs.is_empty()), "{name}: {} ran out", work.name());
            assert_eq!(checked.in_use(), 0, "{name}: {} leaks", work.name());
            assert!(checked.allocations > 100, "{name}: {} took nothing", work.name());
        }
    }
}

#[test]
fn every_object_workload_on_every_allocator() {
    let mut arena = Arena::new().unwrap();
    for peer in HeapPeer::ALL {
        peer.visit(&mut arena, &mut AllObjects(peer));
    }
}

#[test]
fn memory_is_never_less_than_what_lives_in_it() {
    let mut arena = Arena::new().unwrap();
    for peer in HeapPeer::ALL {
        for work in HeapWork::ALL {
            let peak = work.footprint(peer, &mut arena).unwrap();
            let (peer, work) = (peer.name(), work.name());
            assert!(peak.live >= 64 && peak.live <= peak.memory, "{peer}, {work}: {peak:?}");
            assert!(peak.memory.is_multiple_of(4096), "{peer}, {work}: {peak:?}");
        }
    }
}

/// Objects from 4 KiB of a buffer, in order, never reused; or what `fault` makes of that.
struct Bump {
    buffer: Box<[u64; 512]>,
    used: usize,
    fault: fn(usize) -> usize,
}

impl Bump {
    fn new(fault: fn(usize) -> usize) -> Self {
        Self { buffer: Box::new([0; 512]), used: 0, fault }
    }
}

// SAFETY: not kept, on purpose: what is wrong is only ever seen by the checkers. All of it lies in the buffer.
unsafe impl Heap for Bump {
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let at = (self.fault)(self.used);
        self.used += layout.size().next_multiple_of(8);
        let bytes = self.buffer.as_mut_ptr().cast::<u8>();
        (at + layout.size() <= 4096).then(|| NonNull::new(bytes.wrapping_add(at)).unwrap())
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, _: Layout) {
        if (self.fault)(8) == usize::MAX {
            // SAFETY: in the buffer.
            unsafe { ptr.add(64).write(0) };
        }
    }
}

fn use_two(fault: fn(usize) -> usize) {
    let mut bump = Bump::new(fault);
    let mut checked = CheckedHeap::new(&mut bump);
    let mut store = Store::new(&mut checked, 2);
    store.take(0, 64).unwrap();
    store.take(1, 64).unwrap();
}

#[test]
fn a_right_heap_passes() {
    use_two(|at| at);
}

#[test]
#[should_panic(expected = "overlaps")]
fn an_overlap_is_seen() {
    use_two(|at| (at / 2) & !7);
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_misaligned_object_is_seen() {
    use_two(|at| at + 4);
}

#[test]
#[should_panic(expected = "damaged")]
fn a_write_into_a_neighbour_is_seen() {
    let mut bump = Bump::new(|at| if at == 8 { usize::MAX } else { at });
    let mut checked = CheckedHeap::new(&mut bump);
    let mut store = Store::new(&mut checked, 2);
    store.take(0, 64).unwrap();
    store.take(1, 64).unwrap();
    store.give(0);
    store.give(1);
}

/// Frames from a counter, or what `fault` makes of that.
struct Counter(u32, fn(u32) -> u32);

impl Frames for Counter {
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let first = (self.1)(self.0);
        self.0 = (self.0 + (2 << order)) & !((1 << order) - 1);
        Some(first)
    }

    fn free(&mut self, _: u32, _: u8) {}

    fn alloc_run(&mut self) -> Option<u32> {
        None
    }

    fn free_run(&mut self, _: u32) {}
}

#[test]
#[should_panic(expected = "overlaps")]
fn a_frame_given_twice_is_seen() {
    let mut counter = Counter(0, |at| at / 4);
    FramesWork::Thousand.measure(&mut CheckedFrames::new(&mut counter), &mut NoMeter);
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_misaligned_block_is_seen() {
    let mut counter = Counter(0, |at| at + 1);
    FramesWork::Order3.measure(&mut CheckedFrames::new(&mut counter), &mut NoMeter);
}

#[test]
fn an_exhausted_allocator_has_no_figure() {
    let mut counter = Counter(0, |at| at);
    assert_eq!(FramesWork::Run.measure(&mut counter, &mut NoMeter), None);
    let mut bump = Bump::new(|at| at);
    assert_eq!(HeapWork::Random.measure(&mut bump, &mut NoMeter), None);
}

#[test]
fn memory_counts_by_touched_pages() {
    let mut bump = Bump::new(|at| at);
    let mut watched = Footprint::new(&mut bump);
    let mut store = Store::new(&mut watched, 1);
    for _ in 0..4 {
        store.take(0, 1000).unwrap();
        store.give(0);
    }
    drop(store);
    let peak = watched.peak();
    assert_eq!(peak.live, 1000);
    // 4,000 bytes lie in one page, or in two when the buffer does not begin with a page.
    assert!(peak.memory == 4096 || peak.memory == 8192, "{peak:?}");
}
