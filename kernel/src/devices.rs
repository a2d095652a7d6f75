//! The machine's devices behind their locks: interrupts, time, the console's port, ways to switch off.
//!
//! ```text
//! tree ─▶ drivers::probe ─▶ IRQS  CLOCK, TIMERS  PORT  POWER
//! interrupt ─▶ IRQS.begin ─▶ handler (no lock held) ─▶ IRQS.end
//! ```
//!
//! Lock order (invariant 11): these locks come before the memory manager's, since lists grow under them, and the log's; handlers run without any.

use crate::{log as kernel_log, memory, tracing};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use arch_armv7::cpu::{self, IrqGuard, IrqLock};
use arch_armv7::{exception, firmware, timer};
use core::fmt;
use core::ptr::NonNull;
use drivers::display::Pl111;
use drivers::irq::{Delivery, Handler, Irq, Irqs};
use drivers::mmio::Mmio;
use drivers::power::{Conduit, FirmwareCall, Power};
use drivers::probe::{Devices, Platform, SerialDevice, TimerDevice, probe};
use drivers::timer::{Action, Clock, TimerCpu, TimerId, Timers, program};
use drivers::uart::Pl011;
use dt::Tree;
use types::PhysRange;

/// Interrupts and their handlers.
pub static IRQS: IrqLock<Irqs> = IrqLock::new(Irqs::new());
/// What is to happen at a time.
static TIMERS: IrqLock<Timers> = IrqLock::new(Timers::new());
static CLOCK: IrqLock<Option<Clock>> = IrqLock::new(None);
/// The port of the console.
static PORT: IrqLock<Option<Pl011>> = IrqLock::new(None);
static POWER: IrqLock<Vec<Box<dyn Power>>> = IrqLock::new(Vec::new());

/// Failures of allocations are reported again after so long.
const REPORT_PERIOD: u64 = 5_000_000_000;

struct Kernel;

impl Platform for Kernel {
    fn ioremap(&mut self, range: PhysRange) -> Option<Mmio> {
        let mapped = memory::ioremap(range, Self::ioremap as *const () as u32);
        let virt = mapped.map_err(|error| log::error!("{error}")).ok()?;
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(virt.get() as usize))?;
        // SAFETY: just mapped as Device memory, for good, and handed out once.
        Some(unsafe { Mmio::new(base, range.size() as usize) })
    }

    fn claimed(&mut self, range: PhysRange, name: &dyn fmt::Display) {
        claim(range, name);
    }

    fn timer_frequency(&self) -> u32 {
        timer::frequency()
    }

    fn firmware_call(&self) -> FirmwareCall {
        |conduit, args| match conduit {
            Conduit::Hvc => firmware::hvc(args),
            Conduit::Smc => firmware::smc(args),
        }
    }
}

/// Registers that drivers have taken, and whose they are.
static CLAIMS: IrqLock<Vec<(PhysRange, String)>> = IrqLock::new(Vec::new());

/// Remembers that a driver has taken the device `name`.
pub fn claim(range: PhysRange, name: &dyn fmt::Display) {
    CLAIMS.lock().push((range, format!("{name}")));
}

/// Runs `work` on what is taken.
pub fn with_claims<R>(work: impl FnOnce(&[(PhysRange, String)]) -> R) -> R {
    work(&CLAIMS.lock())
}

/// The virtual timer of this CPU.
struct Cntv;

impl TimerCpu for Cntv {
    fn frequency(&self) -> u32 {
        timer::frequency()
    }

    fn now(&self) -> u64 {
        timer::now()
    }

    fn arm(&mut self, at: u64) {
        timer::arm(at);
    }

    fn disarm(&mut self) {
        timer::disarm();
    }
}

/// Finds the devices, and takes interrupts from then on. The display is the caller's: it wants memory first.
#[inline(never)]
pub fn init(tree: &Tree<'static>) -> Option<Pl111<Mmio>> {
    let Devices { irqs, timer, serial, power, dma, virtio, display, .. } = probe(tree, &mut Kernel);
    *IRQS.lock() = irqs;
    *POWER.lock() = power;
    exception::set_irq_handler(handle_irqs);
    match timer {
        Some(timer) => start_timer(timer),
        None => log::warn!("no timer"),
    }
    let (console, others) = console(serial);
    match console {
        Some(device) => start_console(device),
        None => log::warn!("no serial port with a driver: the console stays the early one, without input"),
    }
    // SAFETY: vectors and handler are installed; no lock is held.
    unsafe { cpu::irq_enable() };
    memory::set_running();
    if let Some(device) = others.into_iter().next() {
        tracing::port::start(device);
    }
    tracing::devices_are_up();
    crate::dmadev::init(tree, dma, virtio);
    every(REPORT_PERIOD, &|| {
        memory::with(|mm| mm.pages.allow_reports());
    });
    display
}

/// Takes all interrupts that wait.
pub fn handle_irqs() {
    loop {
        let Some(delivery) = IRQS.lock().begin() else { return };
        if let Some(handler) = delivery.handler {
            ::trace::set_hardirq(true);
            traced(&delivery, handler);
            ::trace::set_hardirq(false);
        }
        IRQS.lock().end(delivery);
    }
}

/// Runs a handler between the two events that tell of it.
fn traced(delivery: &Delivery, handler: Handler) {
    let (irq, name) = delivery.line.unwrap_or((Irq(0), ""));
    if tracing::port::is_own(irq) {
        return handler();
    }
    ::trace::irq_handler_entry(irq.0, name);
    handler();
    ::trace::irq_handler_exit(irq.0, true);
}

fn start_timer(device: TimerDevice) {
    kernel_log::set_frequency(device.frequency);
    *CLOCK.lock() = Clock::new(device.frequency, kernel_log::boot_ticks());
    timer::disarm();
    if let Err(error) = IRQS.lock().request(device.irq, "arch_timer", &timer_interrupt) {
        log::error!("arch_timer: {error}");
    }
}

/// Nanoseconds since boot; 0 without a timer.
pub fn now() -> u64 {
    let clock = *CLOCK.lock();
    clock.map_or(0, |clock| clock.nanoseconds(timer::now()))
}

/// Runs `action` in the timer's interrupt, again and again.
pub fn every(nanoseconds: u64, action: Action) -> TimerId {
    let now = now();
    let id = TIMERS.lock().add(now + nanoseconds, Some(nanoseconds), action);
    program_timer();
    id
}

/// Ends what [`every`] began.
pub fn cancel(id: TimerId) {
    TIMERS.lock().cancel(id);
    program_timer();
}

fn program_timer() {
    let clock = *CLOCK.lock();
    if let Some(clock) = clock {
        program(&TIMERS.lock(), &clock, &mut Cntv);
    }
}

fn timer_interrupt() {
    loop {
        let now = now();
        let Some(action) = TIMERS.lock().pop_due(now) else { break };
        action();
    }
    program_timer();
}

/// The port that the tree chooses, or else the first; and the others.
fn console(mut serial: Vec<SerialDevice>) -> (Option<SerialDevice>, Vec<SerialDevice>) {
    let chosen = serial.iter().position(|device| device.stdout).unwrap_or(0);
    let console = (chosen < serial.len()).then(|| serial.remove(chosen));
    (console, serial)
}

fn start_console(device: SerialDevice) {
    let SerialDevice { mut port, irq, number, .. } = device;
    port.start_receive();
    *PORT.lock() = Some(port);
    kernel_log::set_console(write);
    if let Err(error) = IRQS.lock().request(irq, "uart-pl011", &port_interrupt) {
        log::error!("ttyAMA{number}: {error}");
        return;
    }
    log::info!("printk: console [ttyAMA{number}] enabled");
}

fn port_interrupt() {
    if let Some(port) = &mut *PORT.lock() {
        port.interrupt();
    }
}

/// Writes to the console. A panic that hits the holder of the port's lock goes to the early console.
pub fn write(bytes: &[u8]) {
    match PORT.try_lock() {
        Some(mut port) => {
            if let Some(port) = &mut *port {
                port.write(bytes);
            }
        }
        None => crate::earlycon::write(bytes),
    }
}

/// The next byte from the console.
pub fn read_byte() -> Option<u8> {
    PORT.lock().as_mut()?.read_byte()
}

/// Sleeps until there may be something to do.
pub fn idle() {
    let _irq = IrqGuard::new();
    let has_input = PORT.lock().as_ref().is_some_and(Pl011::has_input);
    if !has_input {
        tracing::port::idle();
        cpu::wait_for_interrupt();
    }
}

/// Sleeps until an interrupt has made `ready` give something; `None` when that has not happened for `nanoseconds`.
pub fn wait<R>(nanoseconds: u64, mut ready: impl FnMut() -> Option<R>) -> Option<R> {
    const TICK: u64 = 10_000_000;
    let until = now() + nanoseconds;
    // Wakes the CPU for the look at the time.
    let tick = every(TICK, &|| {});
    let result = loop {
        let _irq = IrqGuard::new();
        if let Some(result) = ready() {
            break Some(result);
        }
        if now() >= until {
            break None;
        }
        cpu::wait_for_interrupt();
    };
    cancel(tick);
    result
}

/// Lets every device that can try to switch off or restart; returns when none did.
pub fn power(restart: bool) {
    const PATIENCE: u64 = 1_000_000_000;
    tracing::sample();
    tracing::port::flush();
    if let Some(port) = &*PORT.lock() {
        port.flush();
    }
    for device in &mut *POWER.lock() {
        if restart {
            device.reboot()
        } else {
            device.poweroff()
        }
        let until = now() + PATIENCE;
        while now() < until {
            core::hint::spin_loop();
        }
        log::warn!("{}: still here", device.name());
    }
}
