//! From the device tree to drivers.
//!
//! ```text
//! DRIVERS, in order of stages:   interrupt controllers -> timers -> serial ports -> the rest
//!   for every enabled node that a driver's `compatible` fits:
//!     reg -> ioremap -> Mmio        interrupts -> Irqs::map -> Irq        driver -> Devices
//! ```
//!
//! A device that can't be used costs one line in the log, and the boot goes on (invariant 12). Handlers are not
//! installed here: the devices move into the kernel's locks first.

use crate::{
    display::{Identity, Pl111},
    dma::bcm2835::{FoundEngine, channels},
    dma::dw_axi::{Config, ConfigError},
    irq::{ArmCtrl, Controller, Gic, Irq, IrqError, Irqs, L1Intc},
    mmio::Mmio,
    power::{Bcm2835Pm, Conduit, FirmwareCall, Power, Psci, VexpressSysreg},
    uart::Pl011,
    virtio::Slot,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use dt::{AddressError, InterruptError, Node, Tree};
use types::{PAGE_SIZE, PhysRange};

/// What drivers need from the kernel.
pub trait Platform {
    /// Maps device registers for good, as Device memory; `None` when there is no room.
    fn ioremap(&mut self, range: PhysRange) -> Option<Mmio>;
    /// A driver has taken the device `name`, whose registers these are (`/proc/iomem`).
    fn claimed(&mut self, range: PhysRange, name: &dyn fmt::Display);
    /// CNTFRQ, in Hz; 0 when the firmware did not set it.
    fn timer_frequency(&self) -> u32;
    /// How the firmware is called.
    fn firmware_call(&self) -> FirmwareCall;
}

/// A serial port that was found.
pub struct SerialDevice {
    /// The driver, with output ready and input off.
    pub port: Pl011,
    /// Its interrupt.
    pub irq: Irq,
    /// Number in its name: 0 for `ttyAMA0`.
    pub number: u32,
    /// Whether `/chosen` names it as the console.
    pub stdout: bool,
}

/// The generic timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerDevice {
    /// The virtual timer's interrupt.
    pub irq: Irq,
    /// Ticks a second.
    pub frequency: u32,
}

/// Everything that was found.
#[derive(Default)]
pub struct Devices {
    /// Controllers and interrupts.
    pub irqs: Irqs,
    /// The timer.
    pub timer: Option<TimerDevice>,
    /// Serial ports.
    pub serial: Vec<SerialDevice>,
    /// Ways to switch off.
    pub power: Vec<Box<dyn Power>>,
    /// The firmware's power interface, which also starts CPUs.
    pub psci: Option<Psci>,
    /// The first display.
    pub display: Option<Pl111<Mmio>>,
    /// DMA engines.
    pub dma: Vec<FoundEngine>,
    /// Transports of virtio devices, with or without a device behind them.
    pub virtio: Vec<Slot>,
}

/// Why a device can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeError<'a> {
    /// Its registers can't be found.
    Address(AddressError<'a>),
    /// Its interrupt can't be found.
    Interrupt(InterruptError<'a>),
    /// Its interrupt can't be used.
    Irq(IrqError),
    /// No address space for its registers.
    NoRoom(PhysRange),
    /// The register block is shorter than the device's.
    TooShort(PhysRange),
    /// What the node of a DesignWare AXI DMA controller says can't be.
    DwAxi(ConfigError),
    /// A property is absent or has a value that means nothing.
    Property(&'static str),
    /// The identification registers are another device's.
    Unidentified,
}

impl fmt::Display for ProbeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Interrupt(error) => error.fmt(f),
            Self::Irq(error) => error.fmt(f),
            Self::NoRoom(range) => write!(f, "no room to map {range}"),
            Self::TooShort(range) => write!(f, "registers {range} are too few"),
            Self::Unidentified => f.write_str("its registers are another device's"),
            Self::DwAxi(error) => error.fmt(f),
            Self::Property(name) => write!(f, "property {name} is missing or makes no sense"),
        }
    }
}

impl core::error::Error for ProbeError<'_> {}

impl<'a> From<AddressError<'a>> for ProbeError<'a> {
    fn from(error: AddressError<'a>) -> Self {
        Self::Address(error)
    }
}

impl<'a> From<InterruptError<'a>> for ProbeError<'a> {
    fn from(error: InterruptError<'a>) -> Self {
        Self::Interrupt(error)
    }
}

impl From<IrqError> for ProbeError<'_> {
    fn from(error: IrqError) -> Self {
        Self::Irq(error)
    }
}

/// A driver.
pub struct Driver {
    /// Name for the log.
    pub name: &'static str,
    /// The devices it fits.
    pub compatible: &'static [&'static str],
    /// Takes over one device.
    pub probe: for<'a> fn(Node<'a>, &mut Probe<'_>) -> Result<(), ProbeError<'a>>,
}

/// All drivers, in the order in which they look for their devices. A chained interrupt controller comes after the
/// one it interrupts.
pub static DRIVERS: &[Driver] = &[
    Driver {
        name: "gic",
        compatible: &[
            "arm,gic-400",
            "arm,cortex-a15-gic",
            "arm,cortex-a9-gic",
            "arm,cortex-a7-gic",
            "arm,pl390",
        ],
        probe: gic,
    },
    Driver { name: "bcm2836-l1-intc", compatible: &["brcm,bcm2836-l1-intc"], probe: l1_intc },
    Driver {
        name: "bcm2835-armctrl-ic",
        compatible: &["brcm,bcm2836-armctrl-ic", "brcm,bcm2835-armctrl-ic"],
        probe: armctrl,
    },
    Driver { name: "arch_timer", compatible: &["arm,armv7-timer", "arm,armv8-timer"], probe: timer },
    Driver { name: "uart-pl011", compatible: &["arm,pl011"], probe: pl011 },
    Driver { name: "clcd-pl11x", compatible: &["arm,pl111"], probe: pl111 },
    Driver { name: "psci", compatible: &["arm,psci-1.0", "arm,psci-0.2"], probe: psci },
    Driver { name: "vexpress-sysreg", compatible: &["arm,vexpress-sysreg"], probe: vexpress },
    Driver { name: "bcm2835-pm", compatible: &["brcm,bcm2835-pm", "brcm,bcm2835-pm-wdt"], probe: bcm2835_pm },
    Driver { name: "bcm2835-dma", compatible: &["brcm,bcm2835-dma"], probe: bcm2835_dma },
    Driver { name: "dw-axi-dmac", compatible: &[Config::COMPATIBLE], probe: dw_axi_dmac },
    Driver { name: "virtio-mmio", compatible: &["virtio,mmio"], probe: virtio_mmio },
];

/// What a driver's probe works with.
pub struct Probe<'p> {
    platform: &'p mut dyn Platform,
    /// What has been found so far.
    pub devices: Devices,
}

impl Probe<'_> {
    /// Maps entry `index` of the device's `reg`.
    ///
    /// # Errors
    /// [`ProbeError::Address`], [`ProbeError::NoRoom`].
    pub fn registers<'a>(&mut self, node: Node<'a>, index: usize) -> Result<Mmio, ProbeError<'a>> {
        let range = node.mmio(index)?;
        let registers = self.platform.ioremap(range).ok_or(ProbeError::NoRoom(range))?;
        self.platform.claimed(range, &DeviceName(node));
        Ok(registers)
    }

    /// Entry `index` of the device's interrupts.
    ///
    /// # Errors
    /// [`ProbeError::Interrupt`], [`ProbeError::Irq`].
    pub fn irq<'a>(&mut self, node: Node<'a>, index: usize) -> Result<Irq, ProbeError<'a>> {
        let interrupt = node.interrupt(index)?;
        Ok(self.devices.irqs.map(interrupt.phandle().unwrap_or(0), interrupt.cells())?)
    }
}

/// Finds every device of the tree that has a driver.
pub fn probe(tree: &Tree<'_>, platform: &mut dyn Platform) -> Devices {
    let mut probe = Probe { platform, devices: Devices::default() };
    for driver in DRIVERS {
        for node in tree.compatible(driver.compatible) {
            if let Err(error) = (driver.probe)(node, &mut probe) {
                log::warn!("{} {}: probe failed: {error}", driver.name, DeviceName(node));
            }
        }
    }
    probe.devices
}

/// A device as Linux's log names it: `1c090000.uart`.
struct DeviceName<'a>(Node<'a>);

impl fmt::Display for DeviceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.region(0) {
            Ok((base, _)) => write!(f, "{base:x}.{}", self.0.base_name()),
            Err(_) => f.write_str(self.0.base_name()),
        }
    }
}

fn add<'a>(
    node: Node<'a>,
    controller: impl Controller + 'static,
    parent: Option<Irq>,
    probe: &mut Probe<'_>,
) -> Result<(), ProbeError<'a>> {
    let phandle = node.phandle().unwrap_or(0);
    Ok(probe.devices.irqs.add(phandle, Box::new(controller), parent)?)
}

fn gic<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let (distributor, cpu) = (probe.registers(node, 0)?, probe.registers(node, 1)?);
    add(node, Gic::new(distributor, cpu), None, probe)
}

fn l1_intc<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let registers = probe.registers(node, 0)?;
    add(node, L1Intc::new(registers), None, probe)
}

fn armctrl<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let parent = match node.has("interrupts") || node.has("interrupts-extended") {
        true => Some(probe.irq(node, 0)?),
        false => None,
    };
    let registers = probe.registers(node, 0)?;
    add(node, ArmCtrl::new(registers), parent, probe)
}

/// The virtual timer is the third interrupt of the binding. Its counter is always usable from the kernel's mode.
fn timer<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    const VIRTUAL: usize = 2;
    let irq = probe.irq(node, VIRTUAL)?;
    let measured = Some(probe.platform.timer_frequency()).filter(|hz| *hz != 0);
    let frequency = node.u32("clock-frequency").or(measured).filter(|hz| *hz != 0);
    let frequency = frequency.ok_or(ProbeError::Property("clock-frequency"))?;
    let (mhz, rest) = (frequency / 1_000_000, frequency / 10_000 % 100);
    log::info!("arch_timer: cp15 timer(s) running at {mhz}.{rest:02}MHz (virt).");
    probe.devices.timer = Some(TimerDevice { irq, frequency });
    Ok(())
}

/// Trees of the BCM2835 end the block before the identification registers and give those as a property. The block
/// is a page of its own all the same, and is mapped as such.
fn pl011<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let range = node.mmio(0)?;
    let irq = probe.irq(node, 0)?;
    let whole = PhysRange::new(range.base(), range.size().max(PAGE_SIZE));
    let registers = probe.platform.ioremap(whole).ok_or(ProbeError::NoRoom(whole))?;
    probe.platform.claimed(range, &DeviceName(node));
    let mut port = Pl011::new(registers).ok_or(ProbeError::TooShort(whole))?;
    if let Some(clock) = fixed_clock(node) {
        // A clock that can't make the rate leaves the port as the boot loader had it.
        let _ = port.configure(baud(node), clock);
    }
    let number = node.alias_id("serial").unwrap_or(probe.devices.serial.len() as u32);
    let (device, base) = (DeviceName(node), range.base().get());
    let told = node.u32("arm,primecell-periphid").map(|id| id >> 20 & 0xf);
    let revision = told.or(port.revision().map(u32::from)).unwrap_or(0);
    log::info!(
        "{device}: ttyAMA{number} at MMIO {base:#x} (irq = {irq}, base_baud = 0) is a PL011 rev{revision}"
    );
    let stdout = node.tree().stdout().is_some_and(|stdout| stdout.node == node);
    probe.devices.serial.push(SerialDevice { port, irq, number, stdout });
    Ok(())
}

/// The rate that `stdout-path` asks for, or the usual one.
fn baud(node: Node<'_>) -> u32 {
    let stdout = node.tree().stdout().filter(|stdout| stdout.node == node);
    let options = stdout.and_then(|stdout| stdout.options).unwrap_or_default();
    let digits = options.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(115_200)
}

/// The rate of the device's first clock, when that is a fixed one.
fn fixed_clock(node: Node<'_>) -> Option<u32> {
    let clock = node.tree().by_phandle(node.u32("clocks")?)?;
    clock.is_compatible("fixed-clock").then(|| clock.u32("clock-frequency")).flatten()
}

fn psci<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    log::info!("psci: probing for conduit method from DT.");
    let conduit = node.str("method").and_then(Conduit::from_method).ok_or(ProbeError::Property("method"))?;
    let psci = Psci::new(conduit, probe.platform.firmware_call());
    let (major, minor) = psci.version();
    log::info!("psci: PSCIv{major}.{minor} detected in firmware.");
    probe.devices.psci = Some(psci);
    probe.devices.power.push(Box::new(psci));
    Ok(())
}

fn pl111<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let range = node.mmio(0)?;
    let display = Pl111::in_block(probe.registers(node, 0)?).ok_or(ProbeError::Unidentified)?;
    let Identity { part, designer, revision } = display.identity();
    let (device, base) = (DeviceName(node), range.base().get());
    log::info!("clcd-pl11x {device}: PL{part:03x} designer {designer:02x} rev{revision} at {base:#010x}");
    probe.devices.display.get_or_insert(display);
    Ok(())
}

fn vexpress<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let registers = probe.registers(node, 0)?;
    probe.devices.power.push(Box::new(VexpressSysreg(registers)));
    Ok(())
}

fn bcm2835_pm<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let registers = probe.registers(node, 0)?;
    probe.devices.power.push(Box::new(Bcm2835Pm(registers)));
    Ok(())
}

fn bcm2835_dma<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    const MASK: &str = "brcm,dma-channel-mask";
    let (range, mask) = (node.mmio(0)?, node.u32(MASK).ok_or(ProbeError::Property(MASK))?);
    let registers = probe.registers(node, 0)?;
    let channels = channels(registers, mask, |number| probe.irq(node, number as usize).ok());
    log::info!("{}: DMA engine with {} channels", DeviceName(node), channels.len());
    probe.devices.dma.push(FoundEngine { range, channels });
    Ok(())
}

/// There is no such engine on an emulated board: its node is checked, and what its channels could do is told.
fn dw_axi_dmac<'a>(node: Node<'a>, _: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let Config { channels, masters, data_width, .. } = Config::parse(node).map_err(ProbeError::DwAxi)?;
    log::info!(
        "dw_axi_dmac_platform {}: DesignWare AXI DMA Controller, {channels} channels, {masters} masters, {} bits",
        DeviceName(node),
        8u32 << data_width
    );
    Ok(())
}

/// Empty transports stay quiet: QEMU's trees have many.
fn virtio_mmio<'a>(node: Node<'a>, probe: &mut Probe<'_>) -> Result<(), ProbeError<'a>> {
    let range = node.mmio(0)?;
    let irq = probe.irq(node, 0)?;
    let registers = probe.platform.ioremap(range).ok_or(ProbeError::NoRoom(range))?;
    probe.devices.virtio.push(Slot { range, registers, irq });
    Ok(())
}
