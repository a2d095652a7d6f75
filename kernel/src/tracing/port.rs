//! The ring's way out of boards with a second UART: in pieces, by interrupt, and when there is nothing else to do.
//!
//! ```text
//! ring half full ─▶ the port's interrupt is let through ─▶ handler: as much as the FIFO takes ─▶ again when it is empty
//! idle, power off, panic ─▶ all of it
//! ```
//!
//! The events of this very interrupt are not recorded: each would cause the next. On boards without such a port the
//! runner reads the ring in the guest's memory.

use crate::devices;
use ::trace::TRACE_RING;
use arch_armv7::cpu::IrqLock;
use core::sync::atomic::{AtomicU32, Ordering};
use drivers::irq::Irq;
use drivers::probe::SerialDevice;
use drivers::uart::{PATIENCE, Pl011Sender};

/// Bytes that one interrupt sends at most: so long it keeps the CPU from others.
const BURST: usize = 2048;

/// Bytes that the smallest PL011 takes at once.
const FIFO: usize = 16;

static PORT: IrqLock<Option<Pl011Sender>> = IrqLock::new(None);
/// Its interrupt; no line has number 0.
static IRQ: AtomicU32 = AtomicU32::new(0);

/// Whether this is the interrupt of the port.
#[inline]
pub fn is_own(irq: Irq) -> bool {
    irq.0 == IRQ.load(Ordering::Relaxed)
}

/// Sends frames to this port from now on.
pub fn start(device: SerialDevice) {
    let SerialDevice { port, irq, number, .. } = device;
    *PORT.lock() = Some(port.into_sender());
    if let Err(error) = devices::IRQS.lock().request(irq, "trace", &interrupt) {
        log::error!("ttyAMA{number}: {error}");
        return;
    }
    IRQ.store(irq.0, Ordering::Relaxed);
    arm();
}

/// Lets the ring call when it is half full.
fn arm() {
    ::trace::call_reader_at(TRACE_RING.control.size() / 2, || poll(FIFO));
}

fn interrupt() {
    poll(BURST);
}

/// Sends up to `most` bytes; the interrupt goes on with what is left. It comes when the FIFO has run almost empty, so
/// something has to be put in first.
fn poll(most: usize) {
    let Some(mut port) = PORT.try_lock() else { return };
    let Some(port) = &mut *port else { return };
    let mut left = most;
    let empty = ::trace::read(|bytes| {
        let sent = port.send(&bytes[..bytes.len().min(left)]);
        left -= sent;
        sent
    });
    port.let_interrupt(!empty);
    if empty {
        arm();
    }
}

/// There is nothing else to do: sends what waits.
pub fn idle() {
    if TRACE_RING.control.pending() > 0 {
        poll(BURST);
    }
}

/// Sends everything, and waits for it while the port takes bytes at all.
pub fn flush() {
    if let Some(mut port) = PORT.try_lock()
        && let Some(port) = &mut *port
    {
        let mut patience = PATIENCE;
        while patience > 0
            && !::trace::read(|bytes| {
                let sent = port.send(bytes);
                patience = if sent > 0 { PATIENCE } else { patience - 1 };
                sent
            })
        {}
        port.flush();
    }
}
