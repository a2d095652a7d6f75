//! The picture of an emulated machine's memory, compared square by square and pixel by pixel with a model that knows
//! who owns what from the tokens alone.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use mm::cma::{Cma, CmaId, CmaPages};
use mm::pages::{Hooks, MapLayout, PageAllocator, Setup};
use mm::{Frames, Gfp, MigrateError, MigrateReason, Mover, Page, PageSource, PageState};
use picture::page_map::{Holder, PageMap, Run, write_head};
use picture::{Canvas, Font, Kind, Layout, Owner, PageKinds, Picture, Region, Regions, Screen, Totals, walk};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::mem::MaybeUninit;
use std::ops::Range;
use types::{Order, Pfn, PhysAddr, PhysRange};

const BASE: u32 = 0x80000;
const END: u32 = 0x82800;
/// Reserved: the kernel, what booting left, a frame buffer.
const IMAGE: Range<u32> = 0x80008..0x80088;
const LEFT: Range<u32> = 0x80100..0x80133;
const FRAME: Range<u32> = 0x82700..0x82800;
const CMA: Range<u32> = 0x81000..0x81800;
/// A second bank, and a heap outside of the memory map, which follows the first.
const BANK: Range<u32> = 0x90000..0x90345;
const HEAP: Range<u32> = 0x82800..0x82900;

/// A linear map that nobody follows.
#[derive(Debug)]
struct NoMemory;

// SAFETY: gives no pointer at all.
unsafe impl hal::LinearMap for NoMemory {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        panic!("touches {pa}")
    }

    fn phys(&self, _: *const u8) -> Option<PhysAddr> {
        None
    }
}

type Pages<'m> = PageAllocator<'m>;

/// Nothing has to be moved here.
struct Nobody;

impl<'m> Mover<Pages<'m>> for Nobody {
    fn migrate(&mut self, _: &mut Pages<'m>, _: Pfn, _: MigrateReason) -> Result<(), MigrateError> {
        Err(MigrateError::NotMovable)
    }
}

fn phys(pfns: &Range<u32>) -> PhysRange {
    PhysRange::new(Pfn::new(pfns.start).addr(), (pfns.end - pfns.start) << 12)
}

fn regions() -> Regions {
    let mut regions = Regions::new();
    for (pfns, owner, name) in [
        (IMAGE, Owner::Image, "kernel"),
        (LEFT, Owner::Boot, "mem_map"),
        (CMA, Owner::Cma, "cma-reserved"),
        (FRAME, Owner::Device, "fb"),
        (HEAP, Owner::Device, "a_heap_with_a_name_that_does_not_end"),
    ] {
        assert!(regions.add(Region { pfns, owner, name: name.into() }));
    }
    regions
}

struct World<'s, 'm> {
    pages: &'s mut Pages<'m>,
    cma: Cma<'m>,
    area: CmaId,
    /// The kind of each page that has an owner; the others are free.
    owned: BTreeMap<u32, Kind>,
    random: u32,
}

fn with_world(test: impl FnOnce(&mut World<'_, '_>)) {
    let memory = [phys(&(BASE..END)), phys(&BANK)];
    let free = [BASE..IMAGE.start, IMAGE.end..LEFT.start, LEFT.end..CMA.start, CMA.end..FRAME.start, BANK];
    let layout = MapLayout::new(memory.iter().copied()).unwrap();
    let mut metadata: Vec<MaybeUninit<Page>> = Vec::new();
    metadata.resize_with(layout.records(), MaybeUninit::uninit);
    let free: Vec<_> = free.iter().map(phys).collect();
    let setup = Setup {
        memory: memory.iter().copied(),
        free: free.iter().copied(),
        dma_end: None,
        highmem_start: None,
        cpus: 1,
    };
    let mut slot = MaybeUninit::uninit();
    let pages = PageAllocator::new_in(&mut slot, setup, &mut metadata, &NoMemory, Hooks::default()).unwrap();
    let mut bitmap = vec![0; 64];
    let mut cma = Cma::default();
    let area = cma.declare("reserved", Pfn::new(CMA.start), CMA.end - CMA.start, 0).unwrap();
    let mut world = World { pages, cma, area, owned: BTreeMap::new(), random: 0x1234_5677 };
    world.cma.activate(world.pages, area, &mut bitmap).unwrap();
    for (pfns, kind) in
        [(IMAGE, Kind::Image), (LEFT, Kind::Boot), (FRAME, Kind::Region), (HEAP, Kind::Region)]
    {
        world.owned.extend(pfns.map(|pfn| (pfn, kind)));
    }
    test(&mut world);
}

impl World<'_, '_> {
    fn random(&mut self, below: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % below
    }

    fn alloc(&mut self, order: u8, state: PageState, movable: bool) -> Frames {
        let gfp = if movable { Gfp::HIGHUSER_MOVABLE } else { Gfp::KERNEL };
        let frames = self.pages.alloc_pages(gfp, Order::new(order).unwrap(), state).unwrap();
        let first = frames.pfn().get();
        for pfn in first..first + (1 << order) {
            let kind = match state {
                PageState::Anon | PageState::DriverMovable if CMA.contains(&pfn) => Kind::CmaMovable,
                PageState::Anon | PageState::DriverMovable => Kind::Movable,
                PageState::Slab | PageState::LargeKmalloc => Kind::Slab,
                PageState::PageTable => Kind::PageTable,
                PageState::Vmalloc => Kind::Vmalloc,
                PageState::Dma => Kind::Dma,
                _ => Kind::Kernel,
            };
            assert!(self.owned.insert(pfn, kind).is_none(), "{pfn:#x} given twice");
        }
        frames
    }

    fn free(&mut self, frames: Frames) {
        let (first, pages) = (frames.pfn().get(), 1 << frames.order().get());
        (first..first + pages).for_each(|pfn| assert!(self.owned.remove(&pfn).is_some()));
        self.pages.free_pages(frames);
    }

    fn take_cma(&mut self, count: u32) -> Option<CmaPages> {
        let taken = self.cma.alloc(
            self.pages,
            self.area,
            (count, 0),
            Gfp::KERNEL | Gfp::__NOWARN,
            "dma",
            &mut Nobody,
        );
        let taken = taken.ok()?;
        let first = taken.pfn().get();
        (first..first + count).for_each(|pfn| assert!(self.owned.insert(pfn, Kind::CmaTaken).is_none()));
        Some(taken)
    }

    /// Pins the page, as the code that owns it would.
    fn pin(&mut self, frames: &Frames) {
        self.pages.page_mut(frames.pfn()).unwrap().set_pins(1);
        self.owned.insert(frames.pfn().get(), Kind::Pinned);
    }

    /// Owners of every kind, some of whom go again, so that memory is in pieces.
    fn live(&mut self, operations: u32) -> Vec<Frames> {
        const STATES: [PageState; 9] = [
            PageState::Kernel,
            PageState::Slab,
            PageState::LargeKmalloc,
            PageState::PageTable,
            PageState::Vmalloc,
            PageState::Dma,
            PageState::Anon,
            PageState::Anon,
            PageState::DriverMovable,
        ];
        let mut held: Vec<Frames> = Vec::new();
        for _ in 0..operations {
            if self.random(3) == 0 && !held.is_empty() {
                let at = self.random(held.len() as u32) as usize;
                let frames = held.swap_remove(at);
                self.free(frames);
            } else {
                let state = STATES[self.random(9) as usize];
                let order =
                    if state == PageState::Anon { 0 } else { self.random(16).trailing_zeros().min(4) as u8 };
                held.push(self.alloc(order, state, state.is_movable()));
            }
        }
        held
    }

    /// Whether the model can accept `kind` for the page; which of the free kinds it is, only counters tell.
    fn agrees(&self, pfn: u32, kind: Kind) -> bool {
        match self.owned.get(&pfn) {
            Some(&expected) => kind == expected,
            None if CMA.contains(&pfn) => matches!(kind, Kind::FreeCma | Kind::PerCpu),
            None if (BASE..END).contains(&pfn) || BANK.contains(&pfn) => {
                kind.is_free() && kind != Kind::FreeCma
            }
            None => kind == Kind::Hole,
        }
    }
}

impl PageKinds for World<'_, '_> {
    fn read(&mut self, pfns: Range<u32>, each: &mut dyn FnMut(u32, u32, Kind)) {
        // In pieces that cut blocks.
        let regions = regions();
        let mut at = pfns.start;
        while at < pfns.end {
            let end = (at + 1 + self.random(77)).min(pfns.end);
            walk(self.pages.buddy(), &regions, at..end, &mut |block| {
                each(block.pfns.start, block.pfns.end - block.pfns.start, block.kind);
            });
            at = end;
        }
    }
}

/// A display of plain memory.
struct Display {
    size: Size,
    pixels: Vec<Rgb888>,
    touched: usize,
}

impl Display {
    fn new(size: Size) -> Self {
        Self { size, pixels: vec![Rgb888::new(1, 2, 3); (size.width * size.height) as usize], touched: 0 }
    }

    fn at(&self, point: Point) -> Rgb888 {
        self.pixels[point.y as usize * self.size.width as usize + point.x as usize]
    }
}

impl OriginDimensions for Display {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Display {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            assert!(self.bounding_box().contains(point), "{point:?} is not on the display");
            self.pixels[point.y as usize * self.size.width as usize + point.x as usize] = color;
            self.touched += 1;
        }
        Ok(())
    }
}

fn layout(size: Size) -> Layout {
    let named = regions().all().iter().map(|region| region.pfns.clone()).collect::<Vec<_>>();
    Layout::new(size, [BASE..END, BANK].into_iter().chain(named))
}

fn sizes() -> Vec<Size> {
    if cfg!(miri) { vec![Size::new(640, 480)] } else { vec![Size::new(640, 480), Size::new(1024, 768)] }
}

/// Looks at every square of the display, and counts again.
fn compare(world: &mut World<'_, '_>, picture: &Picture, display: &Display) {
    let layout = picture.layout();
    let mut kinds: BTreeMap<u32, Kind> = BTreeMap::new();
    let mut counted = Totals::default();
    for (_, pfns) in layout.pages(0..layout.squares()) {
        world.read(pfns, &mut |first, pages, kind| {
            counted.add(kind, pages);
            kinds.extend((first..first + pages).map(|pfn| (pfn, kind)));
        });
    }
    let mut hardest: BTreeMap<u32, Kind> = BTreeMap::new();
    for (&pfn, &kind) in &kinds {
        assert!(world.agrees(pfn, kind), "{pfn:#x} is {kind:?}, the model says {:?}", world.owned.get(&pfn));
        let entry = hardest.entry(layout.square_of(pfn).unwrap()).or_insert(kind);
        *entry = kind.max(*entry);
    }
    assert!(world.owned.keys().all(|pfn| kinds.contains_key(pfn)), "a page is not in the picture");
    assert_eq!(picture.totals(), Some(&counted));
    for (square, kind) in hardest {
        assert_eq!(picture.shown(square), Some(kind));
        let area = layout.square(square);
        assert!(
            area.points().all(|point| display.at(point) == kind.color()),
            "square {square} is not {kind:?}"
        );
    }
    // The free kinds, by the allocator's own counters.
    let buddy = world.pages.buddy();
    let zone = buddy.zone(mm::pages::ZoneKind::Normal);
    assert_eq!(counted.of(Kind::PerCpu), buddy.pcp_pages());
    assert_eq!(counted.sum(Kind::is_free), buddy.free_page_count() + buddy.pcp_pages());
    for (kind, list) in [
        (Kind::FreeMovable, mm::MigrateType::Movable),
        (Kind::FreeUnmovable, mm::MigrateType::Unmovable),
        (Kind::FreeReclaimable, mm::MigrateType::Reclaimable),
        (Kind::FreeCma, mm::MigrateType::Cma),
    ] {
        let blocks =
            (0..=Order::MAX.get()).map(|order| zone.free_blocks(list, Order::new(order).unwrap()) << order);
        assert_eq!(counted.of(kind), blocks.sum::<u32>(), "{kind:?}");
    }
}

fn pass(picture: &mut Picture, world: &mut World<'_, '_>, display: &mut Display) {
    let mut canvas = Screen(display);
    while !picture.step(world, &mut canvas).unwrap() {}
    picture.finish(&mut canvas).unwrap();
}

#[test]
fn squares_agree_with_who_owns_what() {
    for size in sizes() {
        with_world(|world| {
            let mut display = Display::new(size);
            let mut picture = Picture::new(layout(size));
            picture.begin(&regions(), &mut Screen(&mut display)).unwrap();
            pass(&mut picture, world, &mut display);
            compare(world, &picture, &display);
            let mut held = world.live(if cfg!(miri) { 40 } else { 900 });
            let taken = world.take_cma(100).or_else(|| world.take_cma(8));
            assert!(taken.is_some());
            let anon = world.alloc(0, PageState::Anon, true);
            world.pin(&anon);
            pass(&mut picture, world, &mut display);
            compare(world, &picture, &display);
            assert_eq!(picture.totals().unwrap().of(Kind::Pinned), 1);
            if !cfg!(miri) {
                for kind in
                    [Kind::CmaMovable, Kind::Movable, Kind::CmaTaken, Kind::Slab, Kind::Dma, Kind::PerCpu]
                {
                    assert!(picture.totals().unwrap().of(kind) > 0, "the test has no {kind:?}");
                }
            }
            held.drain(..).for_each(|frames| world.free(frames));
            pass(&mut picture, world, &mut display);
            compare(world, &picture, &display);
        });
    }
}

#[test]
fn a_pass_over_the_same_memory_draws_nothing() {
    with_world(|world| {
        let size = sizes()[0];
        let mut display = Display::new(size);
        let mut picture = Picture::new(layout(size));
        picture.begin(&regions(), &mut Screen(&mut display)).unwrap();
        pass(&mut picture, world, &mut display);
        display.touched = 0;
        pass(&mut picture, world, &mut display);
        assert_eq!((display.touched, picture.passes()), (0, 2));
        let frames = world.alloc(0, PageState::Dma, false);
        pass(&mut picture, world, &mut display);
        assert!((1..20_000).contains(&display.touched), "{}", display.touched);
        world.free(frames);
    });
}

#[test]
fn the_text_file_gives_the_same_picture() {
    with_world(|world| {
        let size = sizes()[0];
        let _held = world.live(if cfg!(miri) { 20 } else { 300 });
        let layout = layout(size);
        let mut text = String::new();
        write_head(&mut text, 0, layout.spans(), &regions()).unwrap();
        for span in layout.spans() {
            world.read(span, &mut |first, pages, kind| {
                let run =
                    Run { pfns: first..first + pages, kind, holder: Holder::Kind, caller: 0, serials: None };
                writeln!(text, "{run}").unwrap();
            });
        }
        let mut map = PageMap::parse(&text).unwrap();
        assert_eq!(map.regions, regions());
        let (mut here, mut there) = (Display::new(size), Display::new(size));
        let mut picture = Picture::new(layout.clone());
        picture.begin(&regions(), &mut Screen(&mut here)).unwrap();
        pass(&mut picture, world, &mut here);
        let mut copy = Picture::new(Layout::new(size, map.spans.iter().cloned()));
        let mut canvas = Screen(&mut there);
        copy.begin(&map.regions, &mut canvas).unwrap();
        while !copy.step(&mut map, &mut canvas).unwrap() {}
        copy.finish(&mut canvas).unwrap();
        assert_eq!(copy.layout(), &layout);
        assert!(here.pixels == there.pixels, "the two pictures differ");
    });
}

/// Notes where texts are.
#[derive(Default)]
struct Notes {
    texts: Vec<(String, Rectangle)>,
    fills: Vec<Rectangle>,
}

impl Canvas for Notes {
    type Error = Infallible;

    fn fill(&mut self, area: Rectangle, _: Rgb888) -> Result<(), Infallible> {
        self.fills.push(area);
        Ok(())
    }

    fn text(&mut self, text: &str, at: Point, font: Font, _: Rgb888) -> Result<(), Infallible> {
        let letter = font.letter();
        let area = Rectangle::new(at, Size::new(letter.width * text.len() as u32, letter.height));
        self.texts.retain(|(_, other)| *other != area);
        self.texts.push((text.into(), area));
        Ok(())
    }
}

fn meet(a: &Rectangle, b: &Rectangle) -> bool {
    !a.intersection(b).is_zero_sized()
}

fn inside(outer: &Rectangle, inner: &Rectangle) -> bool {
    outer.intersection(inner) == *inner
}

/// Memory of `mib` MiB with `count` regions one after the other, a page each, and a large one.
fn crowded(mib: u32, count: u32) -> (Range<u32>, Regions) {
    let pfns = 0x100..0x100 + mib * 256;
    let mut regions = Regions::new();
    for at in 0..count {
        let name = format!("region_number_{at}_of_many_with_a_long_name");
        assert!(regions.add(Region {
            pfns: pfns.start + at..pfns.start + at + 1,
            owner: Owner::Device,
            name
        }));
    }
    let last = Region { pfns: pfns.end - 200..pfns.end, owner: Owner::Cma, name: "last".into() };
    assert!(regions.add(last));
    (pfns, regions)
}

#[test]
fn texts_neither_overlap_nor_leave_the_display() {
    for size in sizes() {
        for (mib, count) in [(16, 0), (127, 3), (127, 60), (2047, 9), (4090, 1)] {
            let (pfns, regions) = crowded(mib, count);
            let names: Vec<_> = regions.all().iter().map(|region| region.name.clone()).collect();
            let mut picture = Picture::new(Layout::new(size, std::iter::once(pfns.clone())));
            let mut notes = Notes::default();
            picture.begin(&regions, &mut notes).unwrap();
            let mut map =
                PageMap::parse(&format!("page_map 1 #0\n{:x}-{:x} m\n", pfns.start, pfns.end)).unwrap();
            while !picture.step(&mut map, &mut notes).unwrap() {}
            picture.finish(&mut notes).unwrap();
            let screen = Rectangle::new(Point::zero(), size);
            let grid = picture.layout().grid();
            assert!(notes.fills.iter().all(|area| inside(&screen, area)), "{size:?} {mib} MiB");
            for (nth, (text, area)) in notes.texts.iter().enumerate() {
                assert!(inside(&screen, area) && !meet(&grid, area), "{text:?} at {area:?}");
                for (other, place) in &notes.texts[nth + 1..] {
                    assert!(!meet(area, place), "{text:?} and {other:?} overlap: {area:?}, {place:?}");
                }
            }
            let legend = Kind::ALL.iter().all(|kind| notes.texts.iter().any(|(text, _)| text == kind.name()));
            assert!(legend, "the legend is not complete");
            let total = format!("{}K", mib * 1024);
            assert!(notes.texts.iter().any(|(text, _)| text.trim() == total), "no total {total}");
            // As many names as there is room for, cut but recognisable, the largest region's among them.
            let shown = names
                .iter()
                .filter(|name| {
                    notes.texts.iter().any(|(text, _)| text.len() > 3 && name.starts_with(text.as_str()))
                })
                .count();
            assert!(notes.texts.iter().any(|(text, _)| text == "last"));
            assert!(shown >= names.len().min(10), "{shown} of {} names", names.len());
        }
    }
}

#[test]
fn borders_are_closed_lines_between_squares() {
    let size = sizes()[0];
    for (first, pages) in [(0, 4), (5, 300), (500, 24), (1000, 2500), (510, 516), (3, 1), (0, 4096)] {
        let mut regions = Regions::new();
        let pfns = BASE + first..BASE + first + pages;
        assert!(regions.add(Region { pfns: pfns.clone(), owner: Owner::Boot, name: "x".into() }));
        let mut display = Display::new(size);
        let layout = Layout::new(size, std::iter::once(BASE..BASE + 0x1000));
        let mut picture = Picture::new(layout.clone());
        picture.begin(&regions, &mut Screen(&mut display)).unwrap();
        let white = |point: Point| display.at(point) == Rgb888::new(0xf0, 0xf6, 0xfc);
        let within = |square: Option<u32>| {
            square.is_some_and(|square| {
                (layout.square_of(pfns.start)..=layout.square_of(pfns.end - 1)).contains(&Some(square))
            })
        };
        let columns = layout.columns();
        for square in 0..layout.squares() {
            let area = layout.square(square);
            let left = (square % columns > 0).then(|| square - 1);
            let above = square.checked_sub(columns);
            let middle = area.center();
            let border = |other| within(Some(square)) != within(other);
            assert_eq!(
                white(Point::new(area.top_left.x - 1, middle.y)),
                border(left),
                "{first} {pages} left of {square}"
            );
            assert_eq!(
                white(Point::new(middle.x, area.top_left.y - 1)),
                border(above),
                "{first} {pages} above {square}"
            );
            assert!(area.points().all(|point| !white(point)));
        }
        let last = layout.square(layout.squares() - 1);
        let end = last.bottom_right().unwrap();
        assert_eq!(white(Point::new(end.x + 1, end.y)), within(Some(layout.squares() - 1)));
    }
}
