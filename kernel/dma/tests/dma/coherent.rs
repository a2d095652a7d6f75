//! Coherent buffers under random traffic: CPU and device always see the same, and what is freed is ordinary memory.

use crate::rig::{Areas, BASE, Block, HIGHMEM, Kernel, MAPPINGS, Table, View, machine, survivors};
use dma::{Bitmap, BusRange, Coherent, Config, CpuView, Device, Dma, DmaError, Fresh, Idle, PagePool};
use hal::LinearMap;
use log::Level;
use mm::Gfp;
use proptest::prelude::*;
use testkit::{Adversary, Machine, log::capture_with};
use types::{PAGE_SIZE, Pfn, PhysAddr};

pub const CONFIG: Config = Config { cma_alignment: 4, atomic_pool: 0x4000, dma_end: None };

pub fn device() -> Device<'static, usize> {
    Device::new("5000000.test")
}

/// A buffer and what it should hold.
struct Buffer {
    token: Coherent<Block>,
    model: Vec<u8>,
}

impl Buffer {
    fn new(token: Coherent<Block>) -> Self {
        let model = vec![0; token.size() as usize];
        let buffer = Self { token, model };
        assert!(buffer.token.phys().is_aligned(PAGE_SIZE));
        buffer
    }

    fn cpu_write(&mut self, offset: usize, bytes: &[u8]) {
        self.token.write(offset, bytes);
        self.model[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn device_write(&mut self, machine: &Machine, offset: usize, bytes: &[u8]) {
        machine.device_write(PhysAddr::new(self.token.phys().get() + offset as u32), bytes);
        self.model[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn check(&self, machine: &Machine) {
        let mut seen = vec![0; self.model.len()];
        machine.device_read(self.token.phys(), &mut seen);
        assert!(seen == self.model, "the device sees something else");
        self.token.read(0, &mut seen);
        assert!(seen == self.model, "the CPU sees something else");
    }
}

/// The calls as a kernel makes them that tries the short way first, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Short,
    Long,
}

/// What the short ways work with.
fn idle<'k, 'm>(kernel: &'k mut Kernel<'m>) -> Idle<'k, View<'m>, Areas, Table<'m>> {
    Idle { view: &kernel.view, areas: &mut kernel.areas, table: &mut kernel.table }
}

/// The rest of the way for a buffer whose section of the linear map has to be split.
fn complete(
    dma: &mut Dma<'_, Block>,
    kernel: &mut Kernel<'_>,
    device: &Device<'_, usize>,
    mut fresh: Fresh<Block>,
    gfp: Gfp,
) -> Result<Coherent<Block>, DmaError> {
    if let Err(error) = fresh.remap(kernel, u32::MAX) {
        fresh = dma.recover(kernel, device, fresh, (error, gfp))?;
        fresh.zero(kernel.cache());
    }
    Ok(fresh.finish(kernel.cache()))
}

impl Way {
    fn alloc<'m>(
        self,
        dma: &mut Dma<'_, Block>,
        kernel: &mut Kernel<'m>,
        device: &Device<'_, usize>,
        size: u32,
        gfp: Gfp,
    ) -> Result<Coherent<Block>, DmaError> {
        if let (Self::Short, Some(number)) = (self, device.pool) {
            return dma.alloc_pooled(device, number, size, gfp);
        }
        let before = (kernel.leaked(), kernel.areas.asked.len());
        if self == Self::Short {
            match dma.alloc_idle(&mut idle(kernel), device, size, gfp) {
                Ok(buffer) => return Ok(buffer),
                Err(Some(fresh)) => return complete(dma, kernel, device, fresh, gfp),
                Err(None) => {}
            }
            assert_eq!(kernel.leaked(), before.0, "a short way that fails changes nothing");
            kernel.areas.asked.truncate(before.1);
        }
        dma.alloc_coherent(kernel, device, size, gfp)
    }

    fn free(self, dma: &mut Dma<'_, Block>, kernel: &mut Kernel<'_>, buffer: Coherent<Block>) {
        let left = match self {
            Self::Short if buffer.is_pooled() => dma.free_pooled(buffer),
            Self::Short => dma.free_idle(&mut idle(kernel), buffer),
            Self::Long => Err(buffer),
        };
        if let Err(buffer) = left {
            dma.free(kernel, buffer);
        }
    }
}

#[derive(Clone, Debug)]
enum Do {
    Alloc { way: Way, size: u32, atomic: bool, area: Option<usize> },
    Free(Way, usize),
    Write { buffer: usize, at: usize, len: usize, by_device: bool },
    Tick,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Short), Just(Way::Long)]
}

fn step() -> impl Strategy<Value = Do> {
    prop_oneof![
        3 => (way(), 1..0x6000u32, any::<bool>(), prop::option::of(0..3usize))
            .prop_map(|(way, size, atomic, area)| Do::Alloc { way, size, atomic, area }),
        2 => (way(), any::<usize>()).prop_map(|(way, at)| Do::Free(way, at)),
        4 => (any::<usize>(), any::<usize>(), 1..300usize, any::<bool>())
            .prop_map(|(buffer, at, len, by_device)| Do::Write { buffer, at, len, by_device }),
        1 => Just(Do::Tick),
    ]
}

proptest! {
    #![proptest_config(testkit::cases(48, 1))]

    #[test]
    #[cfg_attr(miri, ignore = "thousands of pages and walks")]
    fn random_traffic(seed in any::<u64>(), worst: bool, steps in prop::collection::vec(step(), 1..if cfg!(miri) { 6 } else { 50 })) {
        let machine = machine(if worst { Adversary::Worst } else { Adversary::Random }, seed);
        let mut kernel = Kernel::new(&machine);
        let mut words = [0; 1];
        let mut dma = Dma::new(CONFIG);
        dma.init_atomic_pool(&mut kernel, &mut words).unwrap();
        let atomic_backing = kernel.leaked();
        let mut buffers: Vec<Buffer> = vec![];
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Do::Alloc { way, size, atomic, area } => {
                    let gfp = if atomic { Gfp::ATOMIC } else { Gfp::KERNEL };
                    let device = Device { area, ..device() };
                    if let Ok(token) = way.alloc(&mut dma, &mut kernel, &device, size, gfp | Gfp::__NOWARN) {
                        prop_assert!(token.is_uncached());
                        let buffer = Buffer::new(token);
                        buffer.check(&machine);
                        buffers.push(buffer);
                    }
                }
                Do::Free(way, at) if !buffers.is_empty() => {
                    let at = at % buffers.len();
                    way.free(&mut dma, &mut kernel, buffers.swap_remove(at).token);
                }
                Do::Write { buffer, at, len, by_device } if !buffers.is_empty() => {
                    let count = buffers.len();
                    let buffer = &mut buffers[buffer % count];
                    let at = at % buffer.model.len();
                    let bytes = vec![n as u8 ^ 0x5a; len.min(buffer.model.len() - at)];
                    if by_device { buffer.device_write(&machine, at, &bytes) } else { buffer.cpu_write(at, &bytes) }
                    buffer.check(&machine);
                }
                Do::Tick => machine.tick(32),
                _ => {}
            }
            kernel.check();
        }
        buffers.iter().for_each(|buffer| buffer.check(&machine));
        buffers.into_iter().for_each(|buffer| dma.free(&mut kernel, buffer.token));
        prop_assert_eq!(dma.atomic_pool().unwrap().free_pages(), 4);
        prop_assert!(kernel.leaked() <= atomic_backing + 1);
    }
}

/// The area in highmem.
pub const HIGH: Option<usize> = Some(2);

fn life(kernel: &mut Kernel<'_>, way: Way, gfp: Gfp, area: Option<usize>) {
    let machine = kernel.machine;
    let mut dma = Dma::new(CONFIG);
    for round in 0..2 {
        let token = way.alloc(&mut dma, kernel, &Device { area, ..device() }, 0x2000, gfp).unwrap();
        let mut buffer = Buffer::new(token);
        buffer.check(machine);
        buffer.cpu_write(100, &[round + 1; 200]);
        buffer.check(machine);
        buffer.device_write(machine, 0x1100, &[round + 7; 300]);
        buffer.check(machine);
        kernel.check();
        way.free(&mut dma, kernel, buffer.token);
        kernel.check_idle();
    }
}

/// Whichever call is left out, somebody sees stale data or the MMU sees two translations.
#[test]
#[cfg_attr(miri, ignore = "as many runs as there are calls")]
fn every_maintenance_call_is_needed() {
    let none = [] as [String; 0];
    assert_eq!(survivors(Adversary::Worst, |kernel| life(kernel, Way::Long, Gfp::KERNEL, None)), none);
    assert_eq!(survivors(Adversary::Worst, |kernel| life(kernel, Way::Long, Gfp::ATOMIC, None)), none);
    assert_eq!(survivors(Adversary::Worst, |kernel| life(kernel, Way::Short, Gfp::KERNEL, None)), none);
    assert_eq!(survivors(Adversary::Worst, |kernel| life(kernel, Way::Long, Gfp::KERNEL, HIGH)), none);
}

/// What lies idle is had the short way; what has to be thought about isn't, and is as it was.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn what_the_short_way_takes() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let begun = |dma: &mut Dma<'_, Block>, kernel: &mut Kernel<'_>| {
        let made = dma.alloc_idle(&mut idle(kernel), &device(), PAGE_SIZE, Gfp::KERNEL);
        let fresh = made.expect_err("its mapping can't be changed").expect("it was idle");
        let made = complete(dma, kernel, &device(), fresh, Gfp::KERNEL);
        made.map(|buffer| dma.free_idle(&mut idle(kernel), buffer).expect("it is from an area"))
    };
    assert_eq!(begun(&mut dma, &mut kernel), Ok(()), "the linear map was a section");
    kernel.areas.asked.clear();
    kernel.split();
    let mut short = |kernel: &mut Kernel<'_>, device: &Device<'_, usize>, pages: u32, gfp| {
        let made = dma.alloc_idle(&mut idle(kernel), device, pages * PAGE_SIZE, gfp);
        let made = made.map(|buffer| dma.free_idle(&mut idle(kernel), buffer).is_ok());
        made.unwrap_or_else(|begun| {
            assert!(begun.is_none(), "it was not refused");
            false
        })
    };
    let mine = Device { area: Some(1), ..device() };
    assert!(short(&mut kernel, &device(), 1, Gfp::KERNEL) && short(&mut kernel, &mine, 16, Gfp::KERNEL));
    assert_eq!(kernel.areas.asked.iter().map(|asked| asked.0).collect::<Vec<_>>(), [0, 1]);
    let others = [
        Device { coherent: true, ..device() },
        Device { coherent_mask: 0, ..device() },
        Device { coherent_mask: 0xff_ffff, ..device() },
        Device { pool: Some(0), ..device() },
    ];
    assert!(others.iter().all(|device| !short(&mut kernel, device, 1, Gfp::KERNEL)));
    assert!(!short(&mut kernel, &device(), 1, Gfp::ATOMIC) && !short(&mut kernel, &device(), 0, Gfp::KERNEL));
    assert!(!short(&mut kernel, &device(), 0x21, Gfp::KERNEL), "more than the area has");
    let first = types::VirtAddr::new(crate::rig::PAGE_OFFSET);
    assert!(kernel.table.keep(first, types::VirtAddr::new(crate::rig::PAGE_OFFSET + 0xf_ffff)));
    let refused = begun(&mut dma, &mut kernel);
    assert!(matches!(refused, Err(DmaError::Remap(_))), "the kernel stands on it: {refused:?}");
    kernel.check_idle();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn sources_in_order_and_fallback() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut words = [0; 1];
    let mut dma = Dma::new(CONFIG);
    let (result, lines) = capture_with(|| dma.init_atomic_pool(&mut kernel, &mut words));
    assert_eq!(result, Ok(()));
    assert_eq!(
        lines,
        [(Level::Info, "DMA: preallocated 16 KiB pool for atomic coherent allocations".into())]
    );
    let page = |phys: PhysAddr| Pfn::containing(phys).get();
    let mine = Device { area: Some(1), ..device() };
    let mut held = vec![];
    let mut alloc =
        |dma: &mut Dma<'_, Block>, kernel: &mut Kernel<'_>, device: &Device<'_, usize>, gfp, pages: u32| {
            let token = dma.alloc_coherent(kernel, device, pages * PAGE_SIZE, gfp).unwrap();
            let pfn = page(token.phys());
            held.push(token);
            pfn
        };
    // Its own area; then the default one; then pages; then, for little, the atomic pool.
    assert!((0x8_00a0..0x8_00c0).contains(&alloc(&mut dma, &mut kernel, &mine, Gfp::KERNEL, 0x20)));
    assert!((0x8_0080..0x8_00a0).contains(&alloc(&mut dma, &mut kernel, &mine, Gfp::KERNEL, 0x10)));
    assert!((0x8_00c0..0x8_0100).contains(&alloc(&mut dma, &mut kernel, &mine, Gfp::KERNEL, 0x20)));
    assert!((0x8_0080..0x8_0084).contains(&alloc(&mut dma, &mut kernel, &mine, Gfp::ATOMIC, 4)));
    // The atomic pool is empty: pages for those who can't sleep.
    assert!((0x8_00c0..0x8_0100).contains(&alloc(&mut dma, &mut kernel, &mine, Gfp::ATOMIC, 1)));
    // Outside of the linear map as long as it can be mapped.
    let high = Device { area: HIGH, ..device() };
    for _ in 0..MAPPINGS {
        assert!((0x9_0010..0x9_0020).contains(&alloc(&mut dma, &mut kernel, &high, Gfp::KERNEL, 3)));
    }
    assert!((0x8_0080..0x8_00a0).contains(&alloc(&mut dma, &mut kernel, &high, Gfp::KERNEL, 3)));
    held.into_iter().for_each(|token| dma.free(&mut kernel, token));
    assert_eq!((kernel.leaked(), kernel.mapped.len()), (4 + 1, 0));
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn the_alignment_is_capped() {
    let machine = machine(Adversary::Kind, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(Config { cma_alignment: 2, ..CONFIG });
    for (pages, align) in [(1, 0), (2, 1), (3, 2), (8, 2)] {
        let token = dma.alloc_coherent(&mut kernel, &device(), pages * PAGE_SIZE, Gfp::KERNEL).unwrap();
        assert_eq!(kernel.areas.asked.pop(), Some((0, pages, align)));
        dma.free(&mut kernel, token);
    }
    let block = dma.alloc_from_contiguous(&mut kernel, &device(), 5, 3, true).unwrap();
    assert_eq!((kernel.areas.asked.pop(), block.count), (Some((0, 5, 2)), 5));
    dma.release_from_contiguous(&mut kernel, block);
    kernel.areas.default = None;
    let error = dma.alloc_from_contiguous(&mut kernel, &device(), 5, 3, true).unwrap_err();
    assert_eq!(error.to_string(), "no mem in CMA area for 5 pages");
    kernel.check_idle();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn devices_that_see_the_caches_get_cached_memory() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let device = Device { coherent: true, ..device() };
    let small = dma.alloc_coherent(&mut kernel, &device, 1, Gfp::KERNEL).unwrap();
    assert!(!small.is_uncached() && small.phys().get() >= 0x800c_0000, "one page is not worth an area");
    let large = dma.alloc_coherent(&mut kernel, &device, 0x1001, Gfp::KERNEL).unwrap();
    assert!(!large.is_uncached() && large.phys().get() < 0x800c_0000);
    let mut bytes = [1; 16];
    large.read(0x1000, &mut bytes);
    assert_eq!(bytes, [0; 16]);
    dma.free(&mut kernel, small);
    dma.free(&mut kernel, large);
    assert_eq!(kernel.leaked(), 0);
}

#[test]
fn noncoherent_buffers_are_clean() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let mut buffer = dma.alloc_noncoherent(&mut kernel, &device(), 0x1800, Gfp::KERNEL).unwrap();
    assert_eq!((buffer.size(), machine.is_uncached(Pfn::new(buffer.addr().get() >> 12))), (0x2000, false));
    let phys = PhysAddr::new(buffer.addr().get());
    let mut seen = [1; 64];
    machine.device_read(phys, &mut seen);
    assert_eq!(seen, [0; 64]);
    assert!(buffer.bytes().iter().all(|&byte| byte == 0));
    dma.free_noncoherent(&mut kernel, buffer);
    // Streaming needs it in the linear map, whatever the device's area.
    let high = Device { area: HIGH, ..device() };
    let buffer = dma.alloc_noncoherent(&mut kernel, &high, 1, Gfp::KERNEL).unwrap();
    assert!(buffer.addr().get() < HIGHMEM);
    dma.free_noncoherent(&mut kernel, buffer);
    assert_eq!(kernel.leaked(), 0);
}

#[test]
fn a_private_pool_is_the_only_source() {
    [Way::Short, Way::Long].into_iter().for_each(private_pool);
}

fn private_pool(way: Way) {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let phys = PhysAddr::new(BASE + 0x2_0000);
    let mut words = [0; Bitmap::words(8)];
    (0..8).for_each(|page| machine.set_uncached(Pfn::new(0x8_0020 + page), true));
    // SAFETY: the machine's memory, which nothing else in this test uses.
    let pool = unsafe { PagePool::new(phys, machine.ptr(phys), 0x8000, &mut words) }.unwrap();
    let device = Device { pool: Some(dma.add_pool(pool).unwrap()), ..device() };
    let offset = |token: &Coherent<Block>| token.phys().get() - phys.get();
    let one = way.alloc(&mut dma, &mut kernel, &device, 1, Gfp::KERNEL).unwrap();
    let three = way.alloc(&mut dma, &mut kernel, &device, 0x3000, Gfp::ATOMIC).unwrap();
    assert_eq!((offset(&one), offset(&three)), (0, 0x4000), "naturally aligned, first fit");
    let mut buffer = Buffer::new(three);
    buffer.check(&machine);
    buffer.device_write(&machine, 0x2fff, &[9]);
    buffer.check(&machine);
    let (result, lines) = capture_with(|| way.alloc(&mut dma, &mut kernel, &device, 0x3000, Gfp::KERNEL));
    assert_eq!(result.unwrap_err(), DmaError::PoolExhausted { pages: 3, free: 3 });
    let line = "5000000.test: dma_alloc_coherent of 12288 bytes failed: the pool has no 3 pages in one stretch, 3 are free";
    assert_eq!(lines, [(Level::Warn, line.into())]);
    way.free(&mut dma, &mut kernel, buffer.token);
    way.free(&mut dma, &mut kernel, one);
    assert_eq!(dma.pool(0).unwrap().free_pages(), 8);
    assert_eq!(kernel.areas.asked, []);
}

#[test]
fn bad_pools() {
    let machine = machine(Adversary::Kind, 0);
    let phys = PhysAddr::new(BASE);
    for size in [0x2_1000, 0x800] {
        let mut word = [0];
        // SAFETY: never used.
        let error = unsafe { PagePool::new(phys, machine.ptr(phys), size, &mut word) }.unwrap_err();
        let line = format!("a DMA pool of {size} bytes is not whole pages, or more than its bitmap holds");
        assert_eq!(error.to_string(), line);
    }
    let mut dma: Dma<'_, Block> = Dma::new(CONFIG);
    let mut words = [[0]; 9];
    let results = words.each_mut().map(|words| {
        // SAFETY: never used.
        dma.add_pool(unsafe { PagePool::new(phys, machine.ptr(phys), 0x1000, words) }.unwrap())
    });
    assert_eq!(results[8], Err(DmaError::TableFull { slots: 8 }));
}

/// A buffer made and given back in pieces, while another one comes and goes between each two of them.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn in_steps_between_which_others_go_on() {
    for (adversary, most) in [(Adversary::Worst, 1), (Adversary::Random, 3 * PAGE_SIZE + 5)] {
        let machine = machine(adversary, 11);
        let mut kernel = Kernel::new(&machine);
        let mut dma = Dma::new(CONFIG);
        let other = |kernel: &mut Kernel<'_>, dma: &mut Dma<'_, Block>, n: u8| {
            let mut buffer = Buffer::new(dma.alloc_coherent(kernel, &device(), 1, Gfp::KERNEL).unwrap());
            buffer.device_write(&machine, 7, &[n; 90]);
            buffer.check(&machine);
            dma.free(kernel, buffer.token);
            machine.tick(8);
        };
        let mut pieces = 0;
        let mut fresh = dma.begin(&mut kernel, &device(), 8 * PAGE_SIZE, Gfp::KERNEL).unwrap();
        fresh.zero(kernel.cache());
        while fresh.remap(&mut kernel, most).unwrap() {
            pieces += 1;
            other(&mut kernel, &mut dma, pieces);
        }
        let mut buffer = Buffer::new(fresh.finish(&machine));
        buffer.check(&machine);
        buffer.cpu_write(0x1ff0, &[1; 64]);
        buffer.device_write(&machine, 0x7fc0, &[2; 64]);
        buffer.check(&machine);
        let mut retired = buffer.token.retire();
        while retired.restore(&mut kernel, most) {
            pieces += 1;
            other(&mut kernel, &mut dma, pieces);
        }
        dma.end(&mut kernel, retired);
        assert_eq!(pieces, if most == 1 { 14 } else { 4 });
        kernel.check_idle();
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn an_offset_bus_sees_other_addresses() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let mut device = device();
    device.ranges.add(BusRange { cpu: 0x8000_0000, bus: 0xc000_0000, size: 0x3f00_0000 }).unwrap();
    let token = dma.alloc_wc(&mut kernel, &device, 1, Gfp::KERNEL).unwrap();
    assert_eq!(token.addr().get(), token.phys().get() + 0x4000_0000);
    dma.free(&mut kernel, token);
    kernel.check_idle();
}

/// The default area is above zone DMA: the atomic pool is not from there.
#[test]
fn the_atomic_pool_passes_an_area_by_that_is_above_zone_dma() {
    const END: u32 = 0x8_00a0;
    let machine = machine(Adversary::Kind, 0);
    let mut kernel = Kernel::new(&machine);
    let zone = core::mem::take(&mut kernel.areas.free[0]);
    kernel.pages.0.extend(zone);
    kernel.pages.1 = Some(END);
    kernel.areas.default = Some(1);
    let mut words = [0; 1];
    let mut dma = Dma::new(Config { dma_end: Some(Pfn::new(END)), ..CONFIG });
    dma.init_atomic_pool(&mut kernel, &mut words).unwrap();
    let buffer = dma.alloc_coherent(&mut kernel, &device(), 1, Gfp::ATOMIC).unwrap();
    assert!(Pfn::containing(buffer.phys()).get() < END && dma.atomic_pool().unwrap().free_pages() == 3);
}

/// Half of the pages are in zone DMA: it is for those that reach nothing else, and for the atomic pool.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn zone_dma_for_devices_that_reach_nothing_else() {
    const END: u32 = 0x8_00e0;
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    kernel.areas.default = None;
    kernel.pages.1 = Some(END);
    let mut words = [0; 1];
    let mut dma = Dma::new(Config { dma_end: Some(Pfn::new(END)), ..CONFIG });
    dma.init_atomic_pool(&mut kernel, &mut words).unwrap();
    let limited = |cpu: u64, size: u64| {
        let mut device = device();
        device.ranges.add(BusRange { cpu, bus: 0xfff0_0000, size }).unwrap();
        device
    };
    let base = u64::from(BASE);
    // Its bus reaches the zone, its mask does, it reaches more than the zone but not the next page, or all.
    let end = u64::from(END - 0x8_0000) * u64::from(PAGE_SIZE);
    let devices = [
        (limited(base, end), true),
        (Device { coherent_mask: base + end - 1, ..device() }, true),
        (limited(base, end + 1), true),
        (limited(base, 0x10_0000), false),
        (device(), false),
    ];
    for (device, in_zone) in devices {
        // Zone bits are not the caller's to choose.
        for gfp in [Gfp::KERNEL, Gfp::KERNEL | Gfp::DMA, Gfp::ATOMIC] {
            let token = dma.alloc_coherent(&mut kernel, &device, 0x5000, gfp).unwrap();
            assert_eq!(Pfn::containing(token.phys()).get() < END, in_zone, "{device:?}, {gfp}");
            dma.free(&mut kernel, token);
        }
    }
    let (token, device) =
        (dma.alloc_coherent(&mut kernel, &limited(base, end), 1, Gfp::ATOMIC), limited(base, end));
    let token = token.unwrap();
    assert_eq!(dma.atomic_pool().unwrap().free_pages(), 3, "it is from the pool, so the pool is in the zone");
    assert_eq!(token.addr().get(), device.phys_to_dma(token.phys(), 1).unwrap().get());
    dma.free(&mut kernel, token);
    kernel.check();
    // Without the zone's pages there are none for it, and nothing was lost in trying.
    let free = kernel.pages.0.len();
    let zone: Vec<u32> = kernel.pages.0.iter().copied().filter(|&pfn| pfn < END).collect();
    zone.iter().for_each(|pfn| assert!(kernel.pages.0.remove(pfn)));
    let quiet = Gfp::KERNEL | Gfp::__NOWARN;
    for device in [limited(base, end), limited(base, end + 1)] {
        let error = dma.alloc_coherent(&mut kernel, &device, 0x5000, quiet).unwrap_err();
        assert!(matches!(error, DmaError::NoMemory(_)), "{error}");
    }
    assert_eq!(kernel.pages.0.len() + zone.len(), free);
}

#[test]
fn words_and_bounds() {
    let machine = machine(Adversary::Worst, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let mut token = dma.alloc_coherent(&mut kernel, &device(), 1, Gfp::KERNEL).unwrap();
    token.write_u32(0xffc, 0x0102_0304);
    let mut seen = [0; 4];
    machine.device_read(PhysAddr::new(token.phys().get() + 0xffc), &mut seen);
    assert_eq!((seen, token.read_u32(0xffc)), ([4, 3, 2, 1], 0x0102_0304));
    let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| token.read_u32(0x1000)));
    assert!(beyond.is_err());
    dma.free(&mut kernel, token);
}

/// A caller that takes contiguous pages beforehand takes exactly those that the call asks for.
#[test]
fn areas_wanted_are_the_areas_asked() {
    let dma = Dma::new(CONFIG);
    let pool = |mut device: Device<'static, usize>| {
        device.pool = Some(0);
        device
    };
    let unset = |mut device: Device<'static, usize>| {
        device.coherent_mask = 0;
        device
    };
    let sees_caches = Device { coherent: true, ..device() };
    let devices = [
        (device(), 1),
        (Device { area: Some(1), ..device() }, 2),
        (Device { area: Some(0), ..device() }, 1),
        (sees_caches, 0),
        (pool(device()), 0),
        (unset(device()), 0),
    ];
    for (device, areas) in devices {
        for (size, gfp) in [(PAGE_SIZE, Gfp::KERNEL), (PAGE_SIZE, Gfp::ATOMIC), (0, Gfp::KERNEL)] {
            let machine = machine(Adversary::Random, 5);
            let mut kernel = Kernel::new(&machine);
            // Empty areas refuse, so all of them are asked.
            kernel.areas.free.iter_mut().for_each(std::collections::BTreeSet::clear);
            let wanted = dma.areas_wanted(&mut kernel, &device, size, gfp);
            let mut dma = Dma::new(CONFIG);
            let made = dma.alloc_coherent(&mut kernel, &device, size, gfp | Gfp::__NOWARN);
            let wanted: Vec<_> =
                wanted.areas.into_iter().flatten().map(|area| (area, wanted.count, wanted.align)).collect();
            assert_eq!(kernel.areas.asked, wanted, "{device:?}, {size} bytes, {gfp}");
            assert_eq!(wanted.len(), if size > 0 && gfp.may_block() { areas } else { 0 });
            made.into_iter().for_each(|buffer| dma.free(&mut kernel, buffer));
        }
    }
}
