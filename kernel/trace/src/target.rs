//! Frames into the ring.
//!
//! An event's frame is what `defmt`'s macros would make of it: the number of its interned string, the time stamp, the
//! values. Those macros call a global logger for each piece, some 200 instructions in all; here the pieces are stored one
//! after another, about fifty. The strings are interned as `defmt` interns its own (the book's "Interning"), so its linker
//! script, decoder and tools know them.
//!
//! `unsafe`: a frame is written straight into the ring, by its only writer: interrupts are masked from its beginning to
//! its end, and one CPU runs kernel code.
#![allow(unsafe_code)]

use crate::ring::Control;
use crate::value::{BYTES_MAX, Value};
use arch_armv7::exception;
use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
// For the version of the format and its encoding, which are symbols of this crate.
use defmt as _;

/// Addresses of a stack trace.
const STACK_DEPTH: usize = BYTES_MAX / 4;
const CPSR_I: u32 = 1 << 7;
/// Bits of a time stamp that tell the context, below the ticks.
const CONTEXT_BITS: u32 = 2;

/// The ring, and what only its writer needs.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// What the reader shares.
    pub control: Control,
    /// Virtual address of the buffer.
    buffer: AtomicUsize,
    /// So many bytes in the ring call for the reader; `u32::MAX` once it has been called.
    call_at: AtomicU32,
    call: AtomicPtr<()>,
    /// 2 while an interrupt's handler runs, as the time stamps have it.
    hardirq: AtomicU32,
    /// Bit n: event n is followed by a stack trace.
    stacks: AtomicU32,
}

/// The ring; the runner looks for this symbol.
#[unsafe(no_mangle)]
pub static TRACE_RING: Ring = Ring {
    control: Control::new(),
    buffer: AtomicUsize::new(0),
    call_at: AtomicU32::new(u32::MAX),
    call: AtomicPtr::new(core::ptr::null_mut()),
    hardirq: AtomicU32::new(0),
    stacks: AtomicU32::new(0),
};

/// A frame under construction: interrupts are masked as long as it lives. No destructor: it ends in
/// [`Frame::commit`].
pub(crate) struct Frame {
    start: *mut u8,
    offset: u32,
    cpsr: u32,
    /// Where the next value goes.
    at: *mut u8,
}

impl Frame {
    /// Begins the frame of the event with this interned string; `None` when there is no room, which is counted.
    #[inline(always)]
    pub(crate) fn begin(string: u16) -> Option<Self> {
        let cpsr: u32;
        // SAFETY: masking interrupts is always allowed.
        unsafe { asm!("mrs {}, cpsr", "cpsid i", out(reg) cpsr, options(nostack, preserves_flags)) };
        let Some(offset) = TRACE_RING.control.begin() else {
            full(cpsr);
            return None;
        };
        let buffer = TRACE_RING.buffer.load(Ordering::Relaxed);
        let start = core::ptr::with_exposed_provenance_mut::<u8>(buffer + offset as usize);
        let off = cpsr >> 7 & 1;
        let context = TRACE_RING.hardirq.load(Ordering::Relaxed) | off;
        let mut frame = Self { start, offset, cpsr, at: start };
        frame.put(string);
        frame.put(arch_armv7::timer::low() << CONTEXT_BITS | context);
        Some(frame)
    }

    /// Appends a value. All of an event's are at most [`MAX_FRAME`](crate::ring::MAX_FRAME) bytes, which a test on the host checks.
    #[inline(always)]
    pub(crate) fn put(&mut self, value: impl Value) {
        // SAFETY: the ring had room for the longest frame, and interrupts are masked.
        self.at = unsafe { value.put(self.at) };
    }

    /// Publishes the frame.
    #[inline(always)]
    pub(crate) fn commit(self) {
        let len = (self.at.addr() - self.start.addr()) as u32;
        let over = TRACE_RING.control.overrun(self.offset, len);
        if over > 0 {
            wrap(over);
        }
        if TRACE_RING.control.commit(len) >= TRACE_RING.call_at.load(Ordering::Relaxed) {
            call_reader();
        }
        restore(self.cpsr);
    }
}

#[inline(always)]
fn restore(cpsr: u32) {
    if cpsr & CPSR_I == 0 {
        // SAFETY: they were on when the frame began.
        unsafe { asm!("cpsie i", options(nostack, preserves_flags)) };
    }
}

#[cold]
#[inline(never)]
fn full(cpsr: u32) {
    TRACE_RING.control.count_dropped();
    restore(cpsr);
}

/// Copies what lies in the slack to the start.
#[cold]
#[inline(never)]
fn wrap(over: u32) {
    let start = core::ptr::with_exposed_provenance_mut::<u8>(TRACE_RING.buffer.load(Ordering::Relaxed));
    // SAFETY: the slack is behind the ring, in the same buffer; the frame had room, so the start is free.
    unsafe {
        start.copy_from_nonoverlapping(start.add(TRACE_RING.control.size() as usize), over as usize);
    }
}

#[cold]
#[inline(never)]
fn call_reader() {
    TRACE_RING.call_at.store(u32::MAX, Ordering::Relaxed);
    let call = TRACE_RING.call.load(Ordering::Relaxed);
    if !call.is_null() {
        // SAFETY: only `call_reader_at` stores here, a function of this type.
        let call: fn() = unsafe { core::mem::transmute(call) };
        call();
    }
}

/// What a time stamp is, for the decoder. Its two lowest bits tell the context: bit 0 that interrupts were off, bit 1
/// that a handler ran; the others are the generic timer's.
#[used]
#[unsafe(link_section = ".defmt.end.timestamp")]
#[unsafe(export_name = r#"{"package":"trace","tag":"defmt_timestamp","data":"{=u32}","disambiguator":"0","crate_name":"trace"}"#)]
static TIMESTAMP: u8 = 0;

/// Says that a handler runs from here on, or no longer.
#[inline(always)]
pub fn set_hardirq(runs: bool) {
    TRACE_RING.hardirq.store(u32::from(runs) << 1, Ordering::Relaxed);
}

/// The address that the function returns to whose event this is. Called by the event's own function, which has a
/// frame record, as every function has (`-C force-frame-pointers`).
#[inline(always)]
pub(crate) fn caller() -> u32 {
    let address: u32;
    // SAFETY: r7 points at the record of the running function: its caller's r7 and the return address; the first leads
    // to the record of the caller.
    unsafe {
        asm!("ldr {0}, [r7]", "ldr {0}, [{0}, #4]", out(reg) address, options(nostack, readonly, preserves_flags));
    }
    address
}

/// What follows an event: its stack trace, if one is wanted.
#[inline(always)]
pub(crate) fn after(number: u32) {
    if TRACE_RING.stacks.load(Ordering::Relaxed) >> number & 1 != 0 {
        stack_trace();
    }
}

#[cold]
#[inline(never)]
fn stack_trace() {
    let mut bytes = [0; 4 * STACK_DEPTH];
    let mut len = 0;
    let here = exception::capture();
    let callers = exception::backtrace(&here);
    for (to, address) in bytes.chunks_exact_mut(4).zip(callers) {
        to.copy_from_slice(&address.to_le_bytes());
        len += 4;
    }
    if let Some(mut frame) = Frame::begin(string!("ftrace:kernel_stack addresses={=[u8]}")) {
        frame.put(&bytes[..len]);
        frame.commit();
    }
}

/// Which events are followed by stack traces: bit n for the nth.
pub(crate) fn stacks() -> u32 {
    TRACE_RING.stacks.load(Ordering::Relaxed)
}

pub(crate) fn set_stacks(bits: u32) {
    TRACE_RING.stacks.store(bits, Ordering::Relaxed);
}

/// Gives the ring this buffer of `size` bytes, a power of two, and [`MAX_FRAME`](crate::ring::MAX_FRAME) more, at physical address `phys`. What
/// is in the ring moves along.
///
/// # Safety
/// The buffer is Normal memory, writable, and nobody else's from here on, for good. It is no smaller than the one before.
pub unsafe fn attach(buffer: *mut u8, phys: u32, size: u32) {
    let _irq = arch_armv7::cpu::IrqGuard::new();
    let control = &TRACE_RING.control;
    let old = core::ptr::with_exposed_provenance::<u8>(TRACE_RING.buffer.load(Ordering::Relaxed));
    let (from, count) = (control.tail(), control.pending());
    for at in (0..count).map(|n| from.wrapping_add(n)) {
        // SAFETY: both offsets are below the sizes of their buffers.
        unsafe {
            let byte = old.add((at & (control.size() - 1)) as usize).read();
            buffer.add((at & (size - 1)) as usize).write(byte);
        }
    }
    TRACE_RING.buffer.store(buffer.expose_provenance(), Ordering::Relaxed);
    control.attach(phys, size);
}

/// Lets `call` be called, with interrupts masked, when `bytes` or more wait in the ring; once, then this is to be called
/// again.
pub fn call_reader_at(bytes: u32, call: fn()) {
    TRACE_RING.call.store(call as *mut (), Ordering::Relaxed);
    TRACE_RING.call_at.store(bytes, Ordering::Relaxed);
}

/// Hands the next bytes of the ring to `take`, which says how many it took; 0 ends it. Returns whether the ring
/// is empty then. For the one reader, when that is the kernel; with interrupts masked.
pub fn read(mut take: impl FnMut(&[u8]) -> usize) -> bool {
    let control = &TRACE_RING.control;
    loop {
        let (at, len) = control.readable();
        if len == 0 {
            return true;
        }
        let first = TRACE_RING.buffer.load(Ordering::Relaxed) + at as usize;
        let first = core::ptr::with_exposed_provenance::<u8>(first);
        // SAFETY: these bytes have been written, and stay as they are until they are consumed.
        let taken = take(unsafe { core::slice::from_raw_parts(first, len as usize) });
        control.consume(taken as u32);
        if taken == 0 {
            return false;
        }
    }
}
