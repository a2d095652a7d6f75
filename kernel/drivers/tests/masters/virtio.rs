//! virtio drivers against a fake device that walks the rings in memory behind caches, at bus addresses.
//!
//! The backend is one for the whole program, as in the kernel; each test's thread has a machine of its own behind it.

use crate::rig::{BASE, Block, Kernel, LOWMEM, machine};
use ::dma::virtio::VirtioDma;
use ::dma::{BusRange, Config, Device, Dma, DmaAddr, DmaDirection, Mappings, Streaming};
use ::hal::LinearMap;
use drivers::virtio::hal::{self, Backend};
use drivers::virtio::tftp::{FetchError, GATEWAY, GUEST, Station};
use drivers::virtio::{self, Disk, Entropy, Nic, SECTOR, Transfer};
use mm::Gfp;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;
use testkit::{Adversary, Machine};
use types::{PAGE_SIZE, PhysAddr};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const BUS: u32 = 0x1000_0000;

struct State {
    kernel: Kernel<'static>,
    dma: Dma<'static, Block>,
    streaming: Streaming<'static>,
    virtio: VirtioDma<'static, usize, Block>,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

fn slots<T>(count: usize) -> &'static mut [Option<T>] {
    Vec::leak((0..count).map(|_| None).collect())
}

/// A machine for this thread.
fn boot(adversary: Adversary) -> &'static Machine {
    let machine: &'static Machine = Box::leak(Box::new(machine(adversary, 5)));
    let mut device = Device::new("a003e00.virtio");
    device.ranges.add(BusRange { cpu: BASE.into(), bus: BUS.into(), size: LOWMEM.into() }).unwrap();
    let state = State {
        kernel: Kernel::new(machine),
        dma: Dma::new(Config { cma_alignment: 4, atomic_pool: 0, dma_end: None }),
        streaming: Streaming::new(Mappings::new(slots(64))),
        virtio: VirtioDma::new(device, slots(8), slots(48)),
    };
    STATE.set(Some(state));
    hal::register(&PerThread);
    assert!(!hal::register(&PerThread), "the first backend stays");
    machine
}

fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(|state| work(state.as_mut().expect("the test boots a machine")))
}

/// Everything was given back.
fn check_idle() {
    with(|state| {
        assert_eq!((state.virtio.bounced(), state.streaming.mappings().live().count()), (0, 0));
        assert_eq!(state.streaming.mappings().errors(), 0);
        state.kernel.check_idle();
    });
}

struct PerThread;

// SAFETY: the DMA API gives pages of the machine, which is never freed; there are no registers.
unsafe impl Backend for PerThread {
    fn alloc(&self, pages: usize) -> Option<(DmaAddr, NonNull<u8>)> {
        with(|State { kernel, dma, virtio, .. }| {
            let size = pages as u32 * PAGE_SIZE;
            let buffer = dma.alloc_coherent(kernel, virtio.device(), size, Gfp::KERNEL).ok()?;
            virtio.keep(buffer).ok()
        })
    }

    fn dealloc(&self, cpu: NonNull<u8>, pages: usize) -> bool {
        with(|State { kernel, dma, virtio, .. }| {
            virtio.take(cpu, pages).map(|buffer| dma.free(kernel, buffer)).is_some()
        })
    }

    unsafe fn share(&self, buffer: NonNull<[u8]>, direction: DmaDirection) -> Option<DmaAddr> {
        with(|State { kernel, streaming, virtio, .. }| {
            // SAFETY: the caller's contract.
            unsafe { virtio.share(streaming, &kernel.view, &mut kernel.pages, buffer, direction) }.ok()
        })
    }

    unsafe fn unshare(&self, addr: DmaAddr, buffer: NonNull<[u8]>, direction: DmaDirection) {
        with(|State { kernel, streaming, virtio, .. }| {
            // SAFETY: the caller's contract.
            unsafe { virtio.unshare(streaming, &kernel.view, &mut kernel.pages, addr, buffer, direction) }
        });
    }

    fn mmio(&self, _: u64, _: usize) -> Option<NonNull<u8>> {
        None
    }
}

/// A split queue, from the specification (2.7), as the device sees it.
#[derive(Clone, Copy, Default)]
struct Ring {
    size: u16,
    table: u64,
    avail: u64,
    used: u64,
    seen: u16,
    done: u16,
}

/// A buffer of a chain: where, how long, whether the device writes it.
type Part = (u64, u32, bool);

struct Bus(&'static Machine);

impl Bus {
    fn phys(addr: u64) -> PhysAddr {
        let offset = u32::try_from(addr).unwrap().checked_sub(BUS).expect("a bus address");
        assert!(offset < LOWMEM, "{addr:#x} is not memory");
        PhysAddr::new(BASE + offset)
    }

    fn read(&self, addr: u64, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.0.device_read(Self::phys(addr), &mut bytes);
        bytes
    }

    fn half(&self, addr: u64) -> u16 {
        u16::from_le_bytes(self.read(addr, 2).try_into().unwrap())
    }

    fn write(&self, addr: u64, bytes: &[u8]) {
        self.0.device_write(Self::phys(addr), bytes);
    }

    /// The next chain that the driver made available: its head and parts.
    fn pop(&self, ring: &mut Ring) -> Option<(u16, Vec<Part>)> {
        if self.half(ring.avail + 2) == ring.seen {
            return None;
        }
        let head = self.half(ring.avail + 4 + u64::from(ring.seen % ring.size) * 2);
        ring.seen = ring.seen.wrapping_add(1);
        let (mut parts, mut at) = (vec![], head);
        loop {
            let entry = self.read(ring.table + u64::from(at) * 16, 16);
            let flags = u16::from_le_bytes([entry[12], entry[13]]);
            let len = u32::from_le_bytes(entry[8..12].try_into().unwrap());
            parts.push((u64::from_le_bytes(entry[..8].try_into().unwrap()), len, flags & 2 != 0));
            if flags & 1 == 0 {
                return Some((head, parts));
            }
            at = u16::from_le_bytes([entry[14], entry[15]]);
        }
    }

    fn push(&self, ring: &mut Ring, head: u16, written: u32) {
        let at = ring.used + 4 + u64::from(ring.done % ring.size) * 8;
        self.write(at, &u32::from(head).to_le_bytes());
        self.write(at + 4, &written.to_le_bytes());
        ring.done = ring.done.wrapping_add(1);
        self.write(ring.used + 2, &ring.done.to_le_bytes());
    }
}

/// What a kind of device does with the chains of a queue.
trait Model {
    const TYPE: DeviceType;
    fn config(&self) -> Vec<u8>;
    fn serve(&mut self, bus: &Bus, rings: &mut [Ring; 2], queue: usize);
}

struct Fake<M> {
    bus: Bus,
    model: Rc<RefCell<M>>,
    rings: [Ring; 2],
    status: DeviceStatus,
}

impl<M: Model> Fake<M> {
    fn new(machine: &'static Machine, model: &Rc<RefCell<M>>) -> Self {
        let (bus, model) = (Bus(machine), model.clone());
        Self { bus, model, rings: Default::default(), status: DeviceStatus::empty() }
    }
}

impl<M: Model> Transport for Fake<M> {
    fn device_type(&self) -> DeviceType {
        M::TYPE
    }
    fn read_device_features(&mut self) -> u64 {
        1 << 32 | if M::TYPE == DeviceType::Network { 1 << 5 } else { 0 }
    }
    fn write_driver_features(&mut self, features: u64) {
        assert_eq!(features, self.read_device_features());
    }
    fn max_queue_size(&mut self, _: u16) -> u32 {
        64
    }
    fn notify(&mut self, queue: u16) {
        assert!(self.status.contains(DeviceStatus::DRIVER_OK));
        self.model.borrow_mut().serve(&self.bus, &mut self.rings, queue.into());
    }
    fn get_status(&self) -> DeviceStatus {
        self.status
    }
    fn set_status(&mut self, status: DeviceStatus) {
        self.status = status;
    }
    fn set_guest_page_size(&mut self, _: u32) {}
    fn requires_legacy_layout(&self) -> bool {
        false
    }
    fn queue_set(&mut self, queue: u16, size: u32, table: u64, avail: u64, used: u64) {
        let size = size as u16;
        self.rings[usize::from(queue)] = Ring { size, table, avail, used, ..Ring::default() };
    }
    fn queue_unset(&mut self, queue: u16) {
        self.rings[usize::from(queue)] = Ring::default();
    }
    fn queue_used(&mut self, queue: u16) -> bool {
        self.rings[usize::from(queue)].size != 0
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }
    fn read_config_generation(&self) -> u32 {
        0
    }
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<T> {
        let config = self.model.borrow().config();
        Ok(T::read_from_bytes(&config[offset..offset + size_of::<T>()]).unwrap())
    }
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> virtio_drivers::Result<()> {
        panic!("nothing to configure");
    }
}

/// A disk (5.2.6).
struct Sectors(Vec<u8>);

impl Model for Sectors {
    const TYPE: DeviceType = DeviceType::Block;

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; 64];
        config[..8].copy_from_slice(&(self.0.len() as u64 / 512).to_le_bytes());
        config
    }

    fn serve(&mut self, bus: &Bus, rings: &mut [Ring; 2], queue: usize) {
        while let Some((head, parts)) = bus.pop(&mut rings[queue]) {
            let header = bus.read(parts[0].0, parts[0].1);
            let sector = u64::from_le_bytes(header[8..16].try_into().unwrap()) as usize;
            let [(status, 1, true)] = parts[parts.len() - 1..] else { panic!("no status byte") };
            let (mut at, mut code) = (sector * 512, 0u8);
            for &(addr, len, device_writes) in &parts[1..parts.len() - 1] {
                let Some(place) = self.0.get_mut(at..at + len as usize) else {
                    code = 1;
                    break;
                };
                match header[0] {
                    0 if device_writes => bus.write(addr, place),
                    1 if !device_writes => place.copy_from_slice(&bus.read(addr, len)),
                    other => panic!("request {other}"),
                }
                at += len as usize;
            }
            bus.write(status, &[code]);
            bus.push(&mut rings[queue], head, 1);
        }
    }
}

/// Counts instead of rolling dice.
struct Dice(u8);

impl Model for Dice {
    const TYPE: DeviceType = DeviceType::EntropySource;

    fn config(&self) -> Vec<u8> {
        vec![]
    }

    fn serve(&mut self, bus: &Bus, rings: &mut [Ring; 2], queue: usize) {
        while let Some((head, parts)) = bus.pop(&mut rings[queue]) {
            let bytes: Vec<_> = (0..parts[0].1).map(|n| self.0.wrapping_add(n as u8)).collect();
            bus.write(parts[0].0, &bytes);
            bus.push(&mut rings[queue], head, parts[0].1);
        }
    }
}

/// A network with a TFTP server at 10.0.2.2, made of offsets (RFC 826, 791, 768, 1350).
struct Server {
    file: Vec<u8>,
    requests: Vec<String>,
    /// Packets that get lost, by number.
    lose: Vec<usize>,
    sent: usize,
}

impl Server {
    const MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match frame[12..14] {
            [8, 6] => {
                let mut reply = frame.to_vec();
                assert_eq!(
                    (frame[..6].to_vec(), frame[21], &frame[38..42]),
                    (vec![255; 6], 1, &[10, 0, 2, 2][..])
                );
                reply[..6].copy_from_slice(&frame[6..12]);
                reply[21] = 2;
                reply.copy_within(22..32, 32);
                reply[22..28].copy_from_slice(&Self::MAC);
                reply[28..32].copy_from_slice(&[10, 0, 2, 2]);
                Some(reply)
            }
            [8, 0] => self.udp(frame),
            _ => panic!("a frame of unknown type"),
        }
    }

    fn udp(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let sum: u32 = frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "header checksum");
        assert_eq!((&frame[..6], frame[23], &frame[30..34]), (&Self::MAC[..], 17, &[10, 0, 2, 2][..]));
        assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), frame.len() - 34);
        let (port, payload) = (u16::from_be_bytes([frame[36], frame[37]]), &frame[42..]);
        let block = match (port, payload[1]) {
            (69, 1) => {
                let name = payload[2..].split(|byte| *byte == 0).next().unwrap();
                self.requests.push(String::from_utf8(name.to_vec()).unwrap());
                assert!(payload.ends_with(b"\0octet\0"));
                if name == b"nothing" {
                    return Some(self.packet(frame, b"\0\x05\0\x01File not found\0"));
                }
                1
            }
            (4000, 4) => u16::from_be_bytes([payload[2], payload[3]]) as usize + 1,
            other => panic!("{other:?}"),
        };
        let from = (block - 1) * 512;
        let piece = self.file.get(from..)?;
        let data = [&[0, 3, (block >> 8) as u8, block as u8], &piece[..piece.len().min(512)]].concat();
        Some(self.packet(frame, &data))
    }

    fn packet(&self, to: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = to[..42].to_vec();
        (frame[..6]).copy_from_slice(&to[6..12]);
        frame[6..12].copy_from_slice(&Self::MAC);
        frame[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
        frame[26..30].copy_from_slice(&to[30..34]);
        frame[30..34].copy_from_slice(&to[26..30]);
        frame[24..26].fill(0);
        let sum: u32 = frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[34..36].copy_from_slice(&4000u16.to_be_bytes());
        frame[36..38].copy_from_slice(&to[34..36]);
        frame[38..40].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }
}

impl Model for Server {
    const TYPE: DeviceType = DeviceType::Network;

    fn config(&self) -> Vec<u8> {
        vec![0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 1, 0, 0, 0]
    }

    fn serve(&mut self, bus: &Bus, rings: &mut [Ring; 2], queue: usize) {
        const HEADER: usize = 12;
        if queue == 0 {
            return;
        }
        while let Some((head, parts)) = bus.pop(&mut rings[1]) {
            let bytes: Vec<u8> = parts.iter().flat_map(|(addr, len, _)| bus.read(*addr, *len)).collect();
            bus.push(&mut rings[1], head, 0);
            let reply = self.answer(&bytes[HEADER..]);
            self.sent += 1;
            let Some(reply) = reply.filter(|_| !self.lose.contains(&self.sent)) else { continue };
            let (head, parts) = bus.pop(&mut rings[0]).expect("a receive buffer");
            let frame = [&[0; HEADER], &reply[..]].concat();
            assert!(parts[0].1 as usize >= frame.len() && parts[0].2);
            bus.write(parts[0].0, &frame);
            bus.push(&mut rings[0], head, frame.len() as u32);
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 13 + n / 512) as u8).collect()
}

#[test]
fn a_disk_reads_and_writes_sectors() {
    for adversary in [Adversary::Worst, Adversary::Random] {
        let machine = boot(adversary);
        let model = Rc::new(RefCell::new(Sectors(pattern(64 * SECTOR))));
        let mut disk = Disk::new(Fake::new(machine, &model)).unwrap();
        assert_eq!(disk.capacity(), 64);
        let mut expected = pattern(64 * SECTOR);
        let mut heap = vec![0; 3 * SECTOR];
        disk.read_blocks(7, &mut heap).unwrap();
        assert_eq!(heap, expected[7 * SECTOR..10 * SECTOR], "through pages of its own");
        let start = machine.ptr(PhysAddr::new(BASE + 0x7_0000));
        // SAFETY: a page of the machine that nothing else uses.
        let direct = unsafe { std::slice::from_raw_parts_mut(start, 4096) };
        disk.read_blocks(16, direct).unwrap();
        assert_eq!(*direct, expected[16 * SECTOR..24 * SECTOR], "straight into cached memory");
        direct.iter_mut().for_each(|byte| *byte ^= 0x5a);
        disk.write_blocks(40, direct).unwrap();
        disk.write_blocks(1, &heap).unwrap();
        expected[40 * SECTOR..48 * SECTOR].copy_from_slice(direct);
        expected[SECTOR..4 * SECTOR].copy_from_slice(&heap);
        assert!(model.borrow().0 == expected);
        assert!(disk.read_blocks(63, direct).is_err(), "past the end");
        drop(disk);
        check_idle();
    }
}

/// A disk that works when it is told to.
struct Slow(Sectors, bool);

impl Model for Slow {
    const TYPE: DeviceType = DeviceType::Block;

    fn config(&self) -> Vec<u8> {
        self.0.config()
    }

    fn serve(&mut self, bus: &Bus, rings: &mut [Ring; 2], queue: usize) {
        if self.1 {
            self.0.serve(bus, rings, queue);
        }
    }
}

#[test]
fn transfers_end_when_the_disk_is_through() {
    let machine = boot(Adversary::Worst);
    let model = Rc::new(RefCell::new(Slow(Sectors(pattern(16 * SECTOR)), false)));
    let mut disk = Disk::new(Fake::new(machine, &model)).unwrap();
    let early = Transfer::read(&mut disk, 3, 2).unwrap();
    assert!(!early.is_done(&mut disk));
    model.borrow_mut().1 = true;
    let late = Transfer::write(&mut disk, 3, vec![7; SECTOR]).unwrap();
    assert!(early.is_done(&mut disk) && !late.is_done(&mut disk), "in the order of the used ring");
    assert_eq!(early.finish(&mut disk).unwrap(), pattern(16 * SECTOR)[3 * SECTOR..5 * SECTOR]);
    assert_eq!(late.finish(&mut disk).unwrap(), [7; SECTOR]);
    assert_eq!(model.borrow().0.0[3 * SECTOR..4 * SECTOR], [7; SECTOR]);
    for (sector, count) in [(15, 2), (16, 1), (0, 0), (usize::MAX, 1), (0, usize::MAX)] {
        assert!(Transfer::read(&mut disk, sector, count).is_err(), "{count} from {sector} on");
    }
    assert!(Transfer::write(&mut disk, 0, vec![0; 100]).is_err(), "not whole sectors");
    drop(disk);
    check_idle();
}

#[test]
fn a_transfer_that_never_ends_keeps_its_memory_and_says_so() {
    let machine = boot(Adversary::Worst);
    let model = Rc::new(RefCell::new(Slow(Sectors(pattern(16 * SECTOR)), false)));
    let mut disk = Disk::new(Fake::new(machine, &model)).unwrap();
    let transfer = Transfer::read(&mut disk, 0, 1).unwrap();
    let lines = testkit::log::capture(|| assert!(transfer.finish(&mut disk).is_err()));
    let expected = "virtio: a transfer of 512 bytes never ended; its memory is lost";
    assert!(lines.iter().any(|(_, line)| line == expected), "{lines:?}");
    assert_eq!(with(|state| state.streaming.mappings().live().count()), 3, "the device has them still");
}

#[test]
fn random_bytes() {
    let machine = boot(Adversary::Worst);
    let mut entropy = Entropy::new(Fake::new(machine, &Rc::new(RefCell::new(Dice(9))))).unwrap();
    let mut bytes = [0; 33];
    assert_eq!(entropy.request_entropy(&mut bytes).unwrap(), 33);
    assert!(bytes.iter().enumerate().all(|(n, byte)| *byte == n as u8 + 9));
    drop(entropy);
    check_idle();
}

fn fetch(file: usize, name: &str, lose: Vec<usize>) -> (Result<usize, FetchError>, Vec<u8>, Vec<String>) {
    let machine = boot(Adversary::Worst);
    let server = Server { file: pattern(file), requests: vec![], lose, sent: 0 };
    let model = Rc::new(RefCell::new(server));
    let virtio::Device::Net(mut nic) = virtio::Device::on(Fake::new(machine, &model)).unwrap() else {
        panic!("a network card")
    };
    let mut bytes = vec![];
    let result =
        Station::new(&mut *nic, GUEST, 3).fetch(GATEWAY, name, |piece| bytes.extend_from_slice(piece));
    let _: &Nic<_> = &*nic;
    let requests = std::mem::take(&mut model.borrow_mut().requests);
    (result, bytes, requests)
}

#[test]
fn files_over_tftp() {
    for len in [0, 1, 511, 512, 513, 5000] {
        let (result, bytes, requests) = fetch(len, "some/file", vec![]);
        assert_eq!(
            (result, bytes == pattern(len), &requests[..]),
            (Ok(len), true, &["some/file".into()][..])
        );
    }
}

#[test]
fn lost_packets_are_asked_for_again() {
    let (result, bytes, requests) = fetch(1200, "file", vec![1, 3, 5]);
    assert_eq!((result, bytes == pattern(1200), requests.len()), (Ok(1200), true, 2));
    let (result, bytes, _) = fetch(1200, "file", (3..40).collect());
    assert_eq!((result, bytes.len()), (Err(FetchError::Timeout { received: 512 }), 512));
    let (result, ..) = fetch(10, "file", (1..40).collect());
    assert_eq!(result.unwrap_err().to_string(), "no answer, after 0 bytes");
}

#[test]
fn refusals() {
    let (result, ..) = fetch(10, "nothing", vec![]);
    assert_eq!(result.unwrap_err().to_string(), "refused by the server, TFTP error 1");
    assert_eq!(fetch(10, &"n".repeat(600), vec![]).0, Err(FetchError::Name));
}
