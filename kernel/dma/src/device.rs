//! What a bus master can reach, and where it sees it.
//!
//! ```text
//! raspi2b: dma-ranges <0xc0000000 0x00000000 0x3f000000>
//!   CPU 0x2000_0000  --phys_to_dma-->  bus 0xe000_0000
//! ```

use crate::DmaError;
use core::fmt;
use types::PhysAddr;

/// An address as a device sees it (`dma_addr_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct DmaAddr(u32);

impl DmaAddr {
    /// The address with this numeric value.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The numeric value.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// `bytes` further on, within the buffer that this address is in.
    #[must_use]
    pub const fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl fmt::Display for DmaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for DmaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaAddr({:#010x})", self.0)
    }
}

/// One entry of `dma-ranges`: `[cpu, cpu + size)` is what the device sees at `[bus, bus + size)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BusRange {
    /// The CPU's address.
    pub cpu: u64,
    /// The device's address.
    pub bus: u64,
    /// Bytes.
    pub size: u64,
}

impl BusRange {
    /// Whether the range holds `[addr, addr + len)`, counted from `from`.
    const fn holds(&self, from: u64, addr: u64, len: u64) -> bool {
        addr >= from && addr - from < self.size && len <= self.size - (addr - from)
    }
}

const MAX_RANGES: usize = 4;

/// The `dma-ranges` of a device's bus; without any, it sees memory where the CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BusRanges {
    list: [BusRange; MAX_RANGES],
    used: usize,
}

impl BusRanges {
    /// Adds an entry. With at least one, nothing outside of them can be reached.
    ///
    /// # Errors
    /// [`RangesFull`].
    pub fn add(&mut self, range: BusRange) -> Result<(), RangesFull> {
        let slot = self.list.get_mut(self.used).ok_or(RangesFull { range })?;
        *slot = range;
        self.used += 1;
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &BusRange> {
        self.list[..self.used].iter()
    }
}

/// A device has more DMA ranges than can be remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangesFull {
    /// The first range that had no room.
    pub range: BusRange,
}

impl fmt::Display for RangesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dma-ranges: no room for {:#x}, more than {MAX_RANGES} ranges", self.range.bus)
    }
}

/// A bus master. `A` names a CMA area.
#[derive(Clone, Debug)]
pub struct Device<'d, A> {
    /// As messages name it.
    pub name: &'d str,
    /// The highest address it can put out in streaming transfers (`dma_mask`); 0 when it can do none.
    pub dma_mask: u64,
    /// The same for coherent memory (`coherent_dma_mask`).
    pub coherent_mask: u64,
    /// It sees the CPU's caches (`dma-coherent`): no maintenance is needed.
    pub coherent: bool,
    /// Its own CMA area (`memory-region` of a reusable region).
    pub area: Option<A>,
    /// Its own pool (`memory-region` of a no-map region), by number as [`crate::Dma::add_pool`] gave it.
    pub pool: Option<usize>,
    /// What the bus lets it reach.
    pub ranges: BusRanges,
}

impl<'d, A: Copy> Device<'d, A> {
    /// A device with 32 address bits, not coherent, that sees memory where the CPU does.
    #[must_use]
    pub const fn new(name: &'d str) -> Self {
        Self {
            name,
            dma_mask: u32::MAX as u64,
            coherent_mask: u32::MAX as u64,
            coherent: false,
            area: None,
            pool: None,
            ranges: BusRanges { list: [BusRange { cpu: 0, bus: 0, size: 0 }; MAX_RANGES], used: 0 },
        }
    }

    /// The highest bus address of the ranges; 0 without ranges (`bus_dma_limit`).
    #[must_use]
    pub fn bus_limit(&self) -> u64 {
        self.ranges.iter().map(|range| (range.bus + range.size).saturating_sub(1)).max().unwrap_or(0)
    }

    /// The highest CPU address that `mask` and the bus let it reach.
    pub(crate) fn last_reached(&self, mask: u64) -> u64 {
        if self.ranges.used == 0 {
            return mask;
        }
        let reached = self.ranges.iter().filter(|range| range.bus <= mask && range.size > 0);
        let last = |range: &BusRange| range.cpu.saturating_add((range.size - 1).min(mask - range.bus));
        reached.map(last).max().unwrap_or(0)
    }

    /// Where the device sees all of `[phys, phys + len)`; `None` when it doesn't.
    #[must_use]
    #[inline]
    pub fn phys_to_dma(&self, phys: PhysAddr, len: u32) -> Option<DmaAddr> {
        if self.ranges.used == 0 {
            return Some(DmaAddr(phys.get()));
        }
        self.translated(phys, len)
    }

    fn translated(&self, phys: PhysAddr, len: u32) -> Option<DmaAddr> {
        let (cpu, len) = (u64::from(phys.get()), u64::from(len));
        let range = self.ranges.iter().find(|range| range.holds(range.cpu, cpu, len))?;
        u32::try_from(cpu - range.cpu + range.bus).ok().map(DmaAddr)
    }

    /// Where the CPU sees what the device sees at `addr`.
    #[must_use]
    #[inline]
    pub fn dma_to_phys(&self, addr: DmaAddr) -> Option<PhysAddr> {
        if self.ranges.used == 0 {
            return Some(PhysAddr::new(addr.0));
        }
        self.translated_back(addr)
    }

    #[inline(never)]
    fn translated_back(&self, addr: DmaAddr) -> Option<PhysAddr> {
        let bus = u64::from(addr.0);
        let range = self.ranges.iter().find(|range| range.holds(range.bus, bus, 1))?;
        u32::try_from(bus - range.bus + range.cpu).ok().map(PhysAddr::new)
    }

    /// The device's address of `[phys, phys + len)` if `mask` and the bus let it get there.
    ///
    /// # Errors
    /// [`DmaError::Unreachable`].
    #[inline]
    pub fn reach(&self, phys: PhysAddr, len: u32, mask: u64) -> Result<DmaAddr, DmaError> {
        // For no bytes this may say no: then the long way has the answer.
        let fits = phys.get() <= len.wrapping_neg();
        if self.ranges.used == 0 && mask >= u64::from(u32::MAX) && fits {
            return Ok(DmaAddr(phys.get()));
        }
        self.reach_by_bus(phys, len, mask)
    }

    #[inline(never)]
    fn reach_by_bus(&self, phys: PhysAddr, len: u32, mask: u64) -> Result<DmaAddr, DmaError> {
        let limit = self.bus_limit();
        let highest = if limit == 0 { mask } else { mask.min(limit) };
        let handle = self.phys_to_dma(phys, len);
        match handle {
            Some(addr) if u64::from(addr.0) + u64::from(len.max(1)) - 1 <= highest => Ok(addr),
            _ => {
                let addr = handle.map_or(u64::from(u32::MAX), |addr| addr.0.into());
                Err(DmaError::Unreachable { addr, size: len, mask, limit })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raspi() -> Device<'static, ()> {
        let mut device = Device::new("3f007000.dma");
        device.ranges.add(BusRange { cpu: 0, bus: 0xc000_0000, size: 0x3f00_0000 }).unwrap();
        device
    }

    #[test]
    fn an_offset_bus() {
        let device = raspi();
        let phys = PhysAddr::new(0x2640_0000);
        assert_eq!(device.phys_to_dma(phys, 0x1000), Some(DmaAddr(0xe640_0000)));
        assert_eq!(device.dma_to_phys(DmaAddr(0xe640_0000)), Some(phys));
        assert_eq!(device.phys_to_dma(PhysAddr::new(0x3eff_f000), 0x1001), None);
        assert_eq!(device.dma_to_phys(DmaAddr(0x2000_0000)), None);
        assert_eq!(device.bus_limit(), 0xfeff_ffff);
    }

    #[test]
    fn the_last_byte_reached() {
        let mut device = raspi();
        assert_eq!(device.last_reached(u32::MAX.into()), 0x3eff_ffff);
        assert_eq!(device.last_reached(0xc0ff_ffff), 0x00ff_ffff, "the mask is of bus addresses");
        assert_eq!(device.last_reached(0xbfff_ffff), 0);
        device.ranges.add(BusRange { cpu: 0x8000_0000, bus: 0, size: 0 }).unwrap();
        device.ranges.add(BusRange { cpu: 0x8000_0000, bus: 0, size: 0x1000 }).unwrap();
        assert_eq!(device.last_reached(0x7ff), 0x8000_07ff);
        device.ranges.add(BusRange { cpu: u64::MAX - 4, bus: 0x8000_0000, size: u64::MAX }).unwrap();
        assert_eq!(device.last_reached(u64::MAX), u64::MAX);
        assert_eq!(Device::<'_, ()>::new("all").last_reached(0xffff), 0xffff);
    }

    #[test]
    fn masks_and_limits() {
        let mut device: Device<'_, ()> = Device::new("narrow");
        let reach =
            |device: &Device<'_, ()>, phys| device.reach(PhysAddr::new(phys), 0x1000, device.dma_mask);
        assert!(reach(&device, 0xffff_f000).is_ok());
        device.dma_mask = 0x0fff_ffff;
        assert_eq!(reach(&device, 0x0fff_f000), Ok(DmaAddr(0x0fff_f000)));
        let error = reach(&device, 0x0fff_f001).unwrap_err();
        assert_eq!(std::format!("{error}"), "DMA addr 0x0ffff001+4096 overflow (mask fffffff, bus limit 0).");
    }

    #[test]
    fn too_many_ranges() {
        let mut device = raspi();
        let range = BusRange { cpu: 0, bus: 0x1234, size: 1 };
        (1..MAX_RANGES).for_each(|_| device.ranges.add(range).unwrap());
        let error = device.ranges.add(range).unwrap_err();
        assert_eq!(std::format!("{error}"), "dma-ranges: no room for 0x1234, more than 4 ranges");
    }
}
