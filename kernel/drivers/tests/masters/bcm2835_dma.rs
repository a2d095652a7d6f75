//! The BCM2835 engine against a fake one that executes control blocks on memory with caches in front of the CPU.

use crate::rig::{BASE, Block, Kernel, LOWMEM, machine, survivors};
use ::dma::{
    BusRange, Coherent, Config, Device, Dma, DmaAddr, DmaDirection, DmaPool, DmaStream, FromDevice, Mappings,
    PlatformFor, PoolPage, SgEntry, Streaming, ToDevice,
};
use drivers::dma::bcm2835::Bcm2835;
use drivers::dma::{
    Channel, ChannelError, DmaRegisters, Finished, Hardware, PlanError, Status, TransferError, descriptors,
};
use drivers::mmio::Registers;
use hal::LinearMap;
use mm::Gfp;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use testkit::{Adversary, Machine};
use types::{PAGE_SIZE, PhysAddr};

const BUS: u32 = 0xc000_0000;

/// The engine's own state, from the manual.
struct Engine<'m> {
    machine: &'m Machine,
    cs: u32,
    block_at: u32,
    block: [u32; 8],
    debug: u32,
    /// Stores to memory were ordered before the start; loads after the end.
    barriers: (bool, bool),
    /// Control blocks it may execute before it must be asked again.
    budget: u32,
    executed: u32,
}

impl Engine<'_> {
    fn phys(&self, bus: u32) -> Option<PhysAddr> {
        let offset = bus.checked_sub(BUS).filter(|offset| *offset < LOWMEM)?;
        Some(PhysAddr::new(BASE + offset))
    }

    fn load(&mut self) {
        assert_eq!(self.block_at % 32, 0, "control blocks are aligned");
        let at = self.phys(self.block_at).expect("a control block in memory, by its bus address");
        let mut bytes = [0; 32];
        self.machine.device_read(at, &mut bytes);
        for (word, bytes) in self.block.iter_mut().zip(bytes.chunks(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
    }

    /// Runs control blocks while it is active and may.
    fn run(&mut self) {
        while self.cs & 1 != 0 && self.block_at != 0 && self.budget > 0 {
            self.budget -= 1;
            self.load();
            let [info, src, dst, len, stride, next, ..] = self.block;
            assert_eq!((info & !9, stride, len % 4), (1 << 4 | 1 << 8, 0, 0), "memory to memory, linear");
            let (Some(from), Some(to)) = (self.phys(src), self.phys(dst)) else {
                self.cs = self.cs & !1 | 1 << 8;
                self.debug |= 1 << 2;
                return;
            };
            let mut bytes = vec![0; len as usize];
            self.machine.device_read(from, &mut bytes);
            self.machine.device_write(to, &bytes);
            self.executed += 1;
            self.cs |= 1 << 1 | if info & 1 != 0 { 1 << 2 } else { 0 };
            self.block_at = next;
            if next != 0 {
                self.load();
            }
        }
        if self.block_at == 0 {
            self.cs &= !1;
        }
    }
}

#[derive(Clone)]
struct Block0<'m>(Rc<RefCell<Engine<'m>>>);

impl<'m> Block0<'m> {
    fn new(machine: &'m Machine) -> Self {
        let (barriers, budget) = ((false, false), u32::MAX);
        let (block, cs) = ([0; 8], 1 << 2);
        Self(Rc::new(RefCell::new(Engine {
            machine,
            cs,
            block_at: 0,
            block,
            debug: 0,
            barriers,
            budget,
            executed: 0,
        })))
    }

    fn go_on(&self, blocks: u32) {
        let mut engine = self.0.borrow_mut();
        engine.budget = blocks;
        engine.run();
    }
}

impl Registers for Block0<'_> {
    fn read(&self, offset: u32) -> u32 {
        let engine = self.0.borrow();
        match offset {
            0x00 => engine.cs,
            0x04 => engine.block_at,
            0x14 => engine.block[3],
            0x20 => engine.debug,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write(&self, offset: u32, value: u32) {
        let mut engine = self.0.borrow_mut();
        match offset {
            0x00 if value & 1 << 31 != 0 => {
                (engine.cs, engine.block_at, engine.block) = (0, 0, [0; 8]);
            }
            0x00 => {
                engine.cs &= !(value & 6);
                engine.cs = engine.cs & !1 | value & 1;
                if value & 1 != 0 {
                    assert!(std::mem::take(&mut engine.barriers.0), "started without a barrier");
                    assert_ne!(value & 1 << 28, 0, "the end must wait for the writes");
                    engine.run();
                }
            }
            0x04 => {
                assert_eq!(engine.cs & 1, 0, "the chain of a running channel");
                engine.block_at = value;
            }
            0x20 => engine.debug &= !(value & 7),
            _ => panic!("write of {offset:#x}"),
        }
    }
}

impl DmaRegisters for Block0<'_> {
    fn wmb(&self) {
        self.0.borrow_mut().barriers.0 = true;
    }

    fn rmb(&self) {
        self.0.borrow_mut().barriers.1 = true;
    }
}

type TestChannel<'m> = Channel<Bcm2835<Block0<'m>>>;
const CONFIG: Config = Config { cma_alignment: 4, atomic_pool: 0x4000, dma_end: None };

fn device() -> Device<'static, usize> {
    let mut device = Device::new("3f007000.dma-controller");
    let range = BusRange { cpu: BASE.into(), bus: BUS.into(), size: LOWMEM.into() };
    device.ranges.add(range).unwrap();
    device
}

/// A channel with `blocks` descriptors, handed to `test`; then nothing may be left.
fn with_channel(
    kernel: &mut Kernel<'_>,
    blocks: usize,
    test: impl FnOnce(&mut Kernel<'_>, &mut Dma<'_, Block>, &mut Channel<Bcm2835<Block0<'_>>>, &Block0<'_>),
) {
    type Fake<'m> = Bcm2835<Block0<'m>>;
    let machine = kernel.machine;
    let (mut dma, mut pages) = (Dma::new(CONFIG), [const { None::<PoolPage<Block>> }; 2]);
    let (size, align) = (Fake::DESCRIPTOR_SIZE, Fake::DESCRIPTOR_ALIGN);
    let mut pool = DmaPool::new("bcm2835-dma", size, align, 0, &mut pages).unwrap();
    let mut blocks = Vec::with_capacity(blocks);
    let result = descriptors(&mut pool, &mut dma, kernel, &device(), &mut blocks);
    assert_eq!((result, blocks.len()), (Ok(()), blocks.capacity()));
    let registers = Block0::new(machine);
    let mut channel: TestChannel<'_> = Channel::new(Bcm2835::new(registers.clone()), blocks);
    test(kernel, &mut dma, &mut channel, &registers);
    let (_, blocks) = channel.release();
    blocks.into_iter().for_each(|block| pool.free(block).unwrap());
    pool.destroy(&mut dma, kernel).unwrap();
}

fn finish(channel: &mut TestChannel<'_>, registers: &Block0<'_>) -> Finished {
    let finished = channel.interrupt().expect("the end is an interrupt");
    assert!(std::mem::take(&mut registers.0.borrow_mut().barriers.1), "loads could come too early");
    finished
}

fn coherent<P: PlatformFor<Block, Contiguous = crate::rig::Areas>>(
    dma: &mut Dma<'_, Block>,
    kernel: &mut P,
    size: u32,
) -> Coherent<Block> {
    dma.alloc_coherent(kernel, &device(), size, Gfp::KERNEL).unwrap()
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 256 + salt) as u8).collect()
}

#[test]
fn a_copy_between_coherent_buffers_by_bus_address() {
    let machine = machine(Adversary::Worst, 1);
    let mut kernel = Kernel::new(&machine);
    with_channel(&mut kernel, 4, |kernel, dma, channel, registers| {
        let (mut from, to) = (coherent(dma, kernel, 0x3000), coherent(dma, kernel, 0x3000));
        assert_eq!(from.addr().get(), from.phys().get() - BASE + BUS, "not the physical address");
        from.write(0, &pattern(0x3000, 1));
        let copy = channel.prep_memcpy(to.addr(), from.addr(), 0x3000).unwrap();
        let cookie = channel.submit(copy);
        assert_eq!(channel.status(cookie), Status::InProgress { residue: 0x3000 });
        assert_eq!(registers.0.borrow().executed, 0, "submitted, not issued");
        channel.issue_pending();
        assert_eq!(finish(channel, registers), Finished { cookie, result: Ok(()) });
        assert_eq!((channel.status(cookie), channel.interrupt()), (Status::Complete, None));
        let mut bytes = vec![0; 0x3000];
        to.read(0, &mut bytes);
        assert!(bytes == pattern(0x3000, 1));
        dma.free(kernel, from);
        dma.free(kernel, to);
    });
    kernel.check_idle();
}

/// Streaming buffers in cached memory, with a whole round trip.
fn streaming_copy(kernel: &mut Kernel<'_>) {
    with_channel(kernel, 2, |kernel, _, channel, registers| {
        let (mut slots, device) = ([None; 8], device());
        let mut streaming = Streaming::new(Mappings::new(&mut slots));
        let buffer = |page: u32| {
            let start = kernel.machine.ptr(PhysAddr::new(BASE + 0x7_0000 + page * PAGE_SIZE));
            // SAFETY: pages of the machine that nothing else uses, one for each buffer.
            unsafe { std::slice::from_raw_parts_mut(start, PAGE_SIZE as usize) }
        };
        let (source, target) = (buffer(0), buffer(1));
        source.copy_from_slice(&pattern(PAGE_SIZE as usize, 2));
        target.copy_from_slice(&pattern(PAGE_SIZE as usize, 3));
        let from = DmaStream::<ToDevice, _>::map(&mut streaming, &kernel.view, &device, source).unwrap();
        let to = DmaStream::<FromDevice, _>::map(&mut streaming, &kernel.view, &device, target).unwrap();
        let copy = channel.prep_memcpy(to.addr(), from.addr(), PAGE_SIZE).unwrap();
        channel.submit(copy);
        channel.issue_pending();
        finish(channel, registers).result.unwrap();
        from.unmap(&mut streaming, &kernel.view, &device);
        to.unmap(&mut streaming, &kernel.view, &device);
        assert_eq!(streaming.mappings().errors(), 0);
        assert!(*target == *pattern(PAGE_SIZE as usize, 2), "stale bytes");
    });
}

#[test]
fn every_maintenance_call_of_a_streaming_copy_counts() {
    for adversary in [Adversary::Worst, Adversary::Kind] {
        let machine = machine(adversary, 1);
        streaming_copy(&mut Kernel::new(&machine));
    }
    let mut survived = survivors(Adversary::Worst, streaming_copy);
    // What coherent memory needs, for the descriptors, is the `dma` package's to test.
    survived.retain(|call| call.contains("Some(Clean)") || call.contains("Some(Invalidate)"));
    assert_eq!(survived, Vec::<String>::new());
}

#[test]
fn residue_errors_and_termination() {
    let machine = machine(Adversary::Worst, 1);
    let mut kernel = Kernel::new(&machine);
    with_channel(&mut kernel, 6, |kernel, dma, channel, registers| {
        let buffer = coherent(dma, kernel, 0x6000);
        let entry = |page: u32, len| SgEntry {
            addr: buffer.addr().add(page * PAGE_SIZE),
            ..SgEntry::new(PhysAddr::new(0), len)
        };
        let (from, to) = ([entry(0, 0x800), entry(1, 0x400), entry(2, 0x100)], [entry(3, 0xd00)]);
        let first = channel.prep_sg(&to, &from).unwrap();
        assert_eq!(first.len(), 3);
        let second = channel.prep_memcpy(DmaAddr::new(0x1000), buffer.addr(), 64).unwrap();
        let third = channel.prep_memcpy(buffer.addr().add(0x4000), buffer.addr(), 64).unwrap();
        let cookies = [first, second, third].map(|copy| channel.submit(copy));
        registers.0.borrow_mut().budget = 1;
        channel.issue_pending();
        let left = |channel: &TestChannel<'_>, n: usize| match channel.status(cookies[n]) {
            Status::InProgress { residue } => residue,
            other => panic!("{other:?}"),
        };
        assert_eq!((left(channel, 0), left(channel, 1), channel.pending()), (0x500, 64, 3));
        assert_eq!(channel.interrupt(), None, "halfway there is no interrupt");
        registers.go_on(1);
        assert_eq!(left(channel, 0), 0x100);
        registers.go_on(2);
        assert_eq!(left(channel, 0), 0);
        assert!(finish(channel, registers).result.is_ok());
        registers.go_on(5);
        let failed = finish(channel, registers);
        let Err(error @ TransferError { read: true, fifo: false, at }) = failed.result else { panic!() };
        assert_eq!((failed.cookie, channel.status(cookies[1])), (cookies[1], Status::Error(error)));
        assert_eq!(error.to_string(), format!("read error at descriptor {at}"));
        registers.go_on(0);
        channel.terminate();
        assert_eq!((registers.read(4), channel.pending()), (0, 0), "the engine is reset");
        assert_eq!(channel.status(cookies[2]), Status::Complete);
        let copy = channel.prep_memcpy(buffer.addr(), buffer.addr().add(64), 64).unwrap();
        channel.discard(copy);
        dma.free(kernel, buffer);
    });
    kernel.check_idle();
}

#[test]
fn copies_that_cannot_be() {
    let machine = machine(Adversary::Worst, 1);
    let mut kernel = Kernel::new(&machine);
    with_channel(&mut kernel, 2, |_, _, channel, _| {
        let at = DmaAddr::new;
        let mut said = |dst, src, len| channel.prep_memcpy(at(dst), at(src), len).unwrap_err().to_string();
        assert_eq!(said(0, 0, 0), "nothing to copy, or an empty entry");
        assert_eq!(said(0, 2, 4), "4 bytes at 0x00000002 are not aligned to 4");
        assert_eq!(said(0, 4, 6), "6 bytes at 0x00000004 are not aligned to 4");
        let entry = |len| SgEntry::new(PhysAddr::new(0), len);
        let four = [4; 3].map(|len| SgEntry { addr: at(0), ..entry(len) });
        let error = channel.prep_sg(&four, &four[..2]).unwrap_err();
        assert_eq!(error, ChannelError::Plan(PlanError::Lengths { src: 8, dst: 12 }));
        assert_eq!(error.to_string(), "source of 8 bytes, destination of 12");
        let error = channel.prep_sg(&four, &four).unwrap_err();
        assert_eq!(error.to_string(), "the copy takes 3 descriptors, 2 are free");
    });
}

/// A side of a scatter-gather copy: lengths in cache lines, which follow each other with gaps.
fn list(lines: &[u32], page: u32) -> Vec<SgEntry> {
    let mut at = BASE + 0x6_0000 + page * PAGE_SIZE;
    lines
        .iter()
        .map(|lines| {
            let entry = SgEntry::new(PhysAddr::new(at), lines * 64);
            at += (lines + 1) * 64;
            entry
        })
        .collect()
}

proptest! {
    #![proptest_config(testkit::cases(60, 1))]

    #[test]
    fn scatter_gather(
        seed: u64, worst: bool, lens in prop::collection::vec(1..5u32, 1..6), cut in prop::collection::vec(1..5u32, 1..6),
    ) {
        let machine = machine(if worst { Adversary::Worst } else { Adversary::Random }, seed);
        let mut kernel = Kernel::new(&machine);
        let total: u32 = lens.iter().sum();
        let mut cut: Vec<_> = cut.iter().scan(0, |sum, len| {
            let len = (*len).min(total - *sum);
            *sum += len;
            Some(len)
        }).filter(|len| *len > 0).collect();
        cut.push(total - cut.iter().sum::<u32>());
        cut.retain(|len| *len > 0);
        with_channel(&mut kernel, 12, |kernel, _, channel, registers| {
            let (mut from, mut to, device) = (list(&lens, 0), list(&cut, 8), device());
            let mut model = pattern(total as usize * 64, seed as usize);
            let mut rest = &model[..];
            for entry in &from {
                let (bytes, more) = rest.split_at(entry.len as usize);
                machine.cpu_write(entry.phys, bytes);
                rest = more;
            }
            let mut slots = [None; 16];
            let mut streaming = Streaming::new(Mappings::new(&mut slots));
            streaming.map_sg(kernel, &device, &mut from, DmaDirection::ToDevice).unwrap();
            streaming.map_sg(kernel, &device, &mut to, DmaDirection::FromDevice).unwrap();
            let copy = channel.prep_sg(&to, &from).unwrap();
            channel.submit(copy);
            channel.issue_pending();
            finish(channel, registers).result.unwrap();
            streaming.unmap_sg(kernel, &device, &from, DmaDirection::ToDevice);
            streaming.unmap_sg(kernel, &device, &to, DmaDirection::FromDevice);
            assert_eq!((streaming.mappings().errors(), streaming.mappings().live().count()), (0, 0));
            for entry in &to {
                let mut bytes = vec![0; entry.len as usize];
                machine.cpu_read(entry.phys, &mut bytes);
                let rest = model.split_off(bytes.len());
                assert!(bytes == model, "other bytes at {}", entry.phys);
                model = rest;
            }
        });
        kernel.check();
    }
}
