//! `cma_test` and the SSD202's allocations before it, over a plain first-fit area: the document's transcript.

use drivers::cma_test::replay::{Replay, ReplayError};
use drivers::cma_test::{CmaTest, CoherentBuffers, Place};
use std::collections::BTreeMap;
use testkit::log::capture_with;

const AREA: u32 = 0x2640_0000;
const PAGES: u32 = 2048;

/// First fit, aligned to the size's order but at most 16 pages: what Linux's CMA does with the SSD202's settings.
#[derive(Default)]
struct Area {
    /// First page and count of what is taken.
    taken: BTreeMap<u32, u32>,
}

/// A buffer, and the words stored in it.
struct Buffer(u32, u32, BTreeMap<u32, u32>);

impl Area {
    /// As the area is when the first driver asks: with the pool for atomic allocations.
    fn booted() -> Self {
        Self { taken: BTreeMap::from([(0, 64)]) }
    }

    fn used(&self) -> u32 {
        self.taken.values().sum()
    }
}

impl CoherentBuffers for Area {
    type Buffer = Buffer;

    fn alloc(&mut self, size: u32) -> Option<Buffer> {
        let count = size.div_ceil(4096);
        let step = count.next_power_of_two().min(16);
        let free = |first: &u32| {
            first + count <= PAGES
                && self.taken.iter().all(|(at, n)| at + n <= *first || first + count <= *at)
        };
        let first = (0..PAGES).step_by(step as usize).find(free)?;
        self.taken.insert(first, count);
        Some(Buffer(first, count, BTreeMap::new()))
    }

    fn free(&mut self, buffer: Buffer) {
        assert_eq!(self.taken.remove(&buffer.0), Some(buffer.1));
    }

    fn place(buffer: &Buffer) -> Place {
        let phys = AREA + buffer.0 * 4096;
        Place { virt: phys - 0x2000_0000 + 0xc000_0000, phys }
    }

    fn store(buffer: &mut Buffer, offset: u32, word: u32) {
        assert!(offset.is_multiple_of(4) && offset < buffer.1 * 4096);
        buffer.2.insert(offset, word);
    }
}

fn lines<R>(test: impl FnOnce() -> R) -> (R, Vec<String>) {
    let (result, lines) = capture_with(test);
    (result, lines.into_iter().map(|(_, line)| line).collect())
}

#[test]
fn the_transcript_of_the_document() {
    let mut area = Area::booted();
    let (replay, said) = lines(|| Replay::run(&mut area).unwrap());
    assert_eq!(
        said,
        [
            "Sstar-ehci-2 soc:Sstar-ehci-2: EHCI Host Controller",
            "Sstar-ehci-2 soc:Sstar-ehci-2: new USB bus registered, assigned bus number 1",
            "MSYS: DMEM request: [BDMA]:0x00000840",
            "MSYS: DMEM request: [BDMA]:0x00000840 success, CPU phy:@0x26448000, virt:@0xC6448000",
            "MSYS: DMEM request: [emac0_buff]:0x00000812",
            "MSYS: DMEM request: [emac0_buff]:0x00000812 success, CPU phy:@0x26449000, virt:@0xC6449000",
            ">> [sdmmc] ms_sdmmc_probe",
        ]
    );
    let (mut test, said) = lines(CmaTest::register);
    assert_eq!(said, ["misc cma_test: registered."]);
    let ((), said) = lines(|| {
        test.write(&mut area);
        test.read(&mut area);
        (0..4).for_each(|_| test.write(&mut area));
    });
    assert_eq!(
        said,
        [
            "misc cma_test: [0] alloc virt: c64c0000 phys: 264c0000",
            "misc cma_test: free virt: c64c0000 phys: 264c0000",
            "misc cma_test: [0] alloc virt: c64c0000 phys: 264c0000",
            "misc cma_test: [1] alloc virt: c65c0000 phys: 265c0000",
            "misc cma_test: [2] alloc virt: c67c0000 phys: 267c0000",
            "misc cma_test: [3] no mem in CMA area",
        ]
    );
    (0..4).for_each(|_| test.read(&mut area));
    replay.free(&mut area);
    assert_eq!(area.used(), 64);
}

#[test]
fn every_page_is_touched_and_the_lowest_slot_comes_first() {
    let mut area = Area::default();
    let mut test = CmaTest::register();
    (0..2).for_each(|_| test.write(&mut area));
    for (number, buffer) in test.buffers() {
        let pages = (number as u32 + 1) * 256;
        assert!(
            buffer.2.iter().map(|(at, word)| (*at, *word)).eq((0..pages).map(|page| (page * 4096, page)))
        );
    }
    test.read(&mut area);
    assert_eq!(test.buffers().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
    test.write(&mut area);
    assert_eq!(test.buffers().count(), 2);
    (0..3).for_each(|_| test.read(&mut area));
    assert_eq!(area.used(), 0);
}

#[test]
fn a_full_house_of_ten() {
    struct Endless;
    impl CoherentBuffers for Endless {
        type Buffer = u32;
        fn alloc(&mut self, size: u32) -> Option<u32> {
            Some(size)
        }
        fn free(&mut self, _: u32) {}
        fn place(buffer: &u32) -> Place {
            Place { virt: *buffer, phys: *buffer }
        }
        fn store(buffer: &mut u32, offset: u32, _: u32) {
            assert!(offset < *buffer);
        }
    }
    let mut test = CmaTest::register();
    let ((), said) = lines(|| (0..11).for_each(|_| test.write(&mut Endless)));
    assert_eq!((said.len(), test.buffers().count()), (10, 10));
    assert_eq!(said[9], "misc cma_test: [9] alloc virt: 00a00000 phys: 00a00000");
}

#[test]
fn an_area_that_is_used_otherwise() {
    for free_before in 0..100 {
        let mut area = Area { taken: BTreeMap::from([(0, free_before + 1)]) };
        let used = area.used();
        let result = Replay::run(&mut area).map(|replay| replay.free(&mut area));
        assert_eq!(result.is_ok(), free_before < 0x41, "{free_before}");
        if let Err(error) = result {
            let found = AREA + (free_before + 1) * 4096;
            assert_eq!(error, ReplayError::Elsewhere { name: "soc", expected: AREA + 0x41000, found });
        }
        assert_eq!(area.used(), used, "all is given back");
    }
    let mut full = Area { taken: BTreeMap::from([(0, 64), (0x4a, PAGES - 0x4a)]) };
    let error = Replay::run(&mut full).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "sdmmc: no memory for 1 pages");
}
