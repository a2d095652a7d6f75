//! The vectors, and whom they call.

use super::{Backtrace, Fault, FaultStatus, Frame};
use crate::cpu;
use crate::fixmap::Fixmap;
use crate::jump_label::{self, StaticKey};
use crate::patch::PatchError;
use crate::static_branch_unlikely;
use crate::tlb::Tlb;
use aarch32_cpu::asm;
use aarch32_cpu::register::{Dfar, Dfsr, Ifar, Ifsr, Vbar};
use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use types::VirtAddr;

global_asm!(include_str!("vectors.S"), options(raw));

unsafe extern "C" {
    static exception_vectors: u8;
    fn exception_set_abort_stack(top: u32);
    fn exception_capture(frame: *mut Frame);
}

/// What an abort handler did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// The access can be tried again.
    Yes,
    /// It was not for this handler.
    No,
}

/// Gets the interrupted registers, the faulting address and the status, of a data or a prefetch abort.
pub type DataAbortHandler = fn(&mut Frame, VirtAddr, FaultStatus) -> Handled;
/// Services pending interrupts; called with interrupts masked.
pub type IrqHandler = fn();
/// Reports and stops.
pub type FatalHandler = fn(&Frame, Fault) -> !;

/// A function pointer that can be replaced while it is in use.
struct Hook(AtomicPtr<()>);

/// True for the moment in which aborts are unmasked for the first time.
static ABORT_LEFT_BEHIND: AtomicBool = AtomicBool::new(false);
static DATA_ABORT: Hook = Hook(AtomicPtr::new(core::ptr::null_mut()));
static PREFETCH_ABORT: Hook = Hook(AtomicPtr::new(core::ptr::null_mut()));
static IRQ: Hook = Hook(AtomicPtr::new(core::ptr::null_mut()));
static FATAL: Hook = Hook(AtomicPtr::new(core::ptr::null_mut()));

impl Hook {
    fn set(&self, function: *mut ()) {
        self.0.store(function, Ordering::Release);
    }

    fn get(&self) -> Option<*mut ()> {
        let function = self.0.load(Ordering::Acquire);
        (!function.is_null()).then_some(function)
    }
}

/// Takes exceptions from here on: the vectors where they are linked, `overflow_stack_top` for what happens below a
/// stack. Once on each CPU, before anything can go wrong.
///
/// # Safety
/// A stack of at least 4 KiB ends at `overflow_stack_top`, and nothing else uses it.
pub unsafe fn init(overflow_stack_top: VirtAddr) {
    // SAFETY: the caller's promise; the section of the vectors is aligned to a page, VBAR wants 32 bytes.
    unsafe {
        exception_set_abort_stack(overflow_stack_top.get());
        Vbar::write(Vbar((&raw const exception_vectors).addr() as u32));
    }
    asm::isb();
}

/// Lets asynchronous external aborts in. One may be pending that the boot loader caused: it is dropped.
pub fn enable_async_aborts() {
    ABORT_LEFT_BEHIND.store(true, Ordering::Relaxed);
    // SAFETY: the vectors are installed, and `data_abort` drops what comes now.
    unsafe { core::arch::asm!("cpsie a", options(nostack, preserves_flags)) };
    asm::isb();
    ABORT_LEFT_BEHIND.store(false, Ordering::Relaxed);
}

/// The page of the vectors, for mapping it at 0xffff0000.
#[must_use]
pub fn vectors_page() -> VirtAddr {
    VirtAddr::new((&raw const exception_vectors).addr() as u32)
}

/// Asks `handler` first about each data abort, or nobody; who was asked until now.
pub fn set_data_abort_handler(handler: Option<DataAbortHandler>) -> Option<DataAbortHandler> {
    let new = handler.map_or(core::ptr::null_mut(), |handler| handler as *mut ());
    let old = DATA_ABORT.0.swap(new, Ordering::AcqRel);
    // SAFETY: only this function stores here, and `None` is the null pointer.
    unsafe { core::mem::transmute::<*mut (), Option<DataAbortHandler>>(old) }
}

/// Asks `handler` first about each prefetch abort.
pub fn set_prefetch_abort_handler(handler: DataAbortHandler) {
    PREFETCH_ABORT.set(handler as *mut ());
}

/// Calls `handler` for each interrupt. Without one, an interrupt is fatal.
pub fn set_irq_handler(handler: IrqHandler) {
    IRQ.set(handler as *mut ());
}

/// Calls `handler` for what nobody handled. Without one, the CPU stops silently.
pub fn set_fatal_handler(handler: FatalHandler) {
    FATAL.set(handler as *mut ());
}

/// The registers here, for a report.
#[must_use]
#[inline(always)]
pub fn capture() -> Frame {
    let mut frame = Frame::default();
    // SAFETY: the function stores 17 words at its argument, which has as many.
    unsafe { exception_capture(&raw mut frame) };
    frame
}

/// Return addresses from `frame` on. Memory that the MMU does not translate ends it.
pub fn backtrace(frame: &Frame) -> Backtrace<impl FnMut(u32) -> Option<u32>> {
    Backtrace::new(frame.fp(), read_word)
}

/// The word at a multiple of four, if it is mapped.
fn read_word(addr: u32) -> Option<u32> {
    cpu::translate(VirtAddr::new(addr))?;
    // SAFETY: the address can be read; a report may see a value in flux.
    Some(unsafe { core::ptr::with_exposed_provenance::<u32>(addr as usize).read_volatile() })
}

/// Something that just happened, for a tracer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceEvent {
    /// A data abort, before its handler runs.
    DataAbort {
        /// The faulting address.
        addr: VirtAddr,
        /// DFSR.
        status: FaultStatus,
        /// The instruction.
        pc: VirtAddr,
    },
    /// An interrupt, before its handler runs.
    Irq,
}

/// Gets each event, with interrupts masked.
pub type TraceHandler = fn(TraceEvent);

/// On while exceptions are traced: their paths cost a NOP for it otherwise.
static TRACING: StaticKey = StaticKey::new();
static TRACE: Hook = Hook(AtomicPtr::new(core::ptr::null_mut()));

/// Traces exceptions to `handler` from here on, or no longer, by patching their code.
///
/// # Errors
/// [`PatchError`].
pub fn set_tracer(fixmap: &mut Fixmap<Tlb>, handler: Option<TraceHandler>) -> Result<(), PatchError> {
    if let Some(handler) = handler {
        TRACE.set(handler as *mut ());
    }
    jump_label::set(fixmap, &TRACING, handler.is_some())
}

#[cold]
#[inline(never)]
fn trace(event: TraceEvent) {
    if let Some(handler) = TRACE.get() {
        // SAFETY: only `set_tracer` stores here.
        let handler: TraceHandler = unsafe { core::mem::transmute(handler) };
        handler(event);
    }
}

/// Called by vectors.S for everything but interrupts. It takes four bytes off the return address of an undefined
/// instruction or SVC, which in Thumb state is only two after it (ARM DDI 0406C, table B1-7).
#[unsafe(no_mangle)]
extern "C" fn exception_entry(frame: &mut Frame, kind: u32) {
    if matches!(kind, 1 | 2) && frame.is_thumb() {
        frame.pc += 2;
    }
    let handled = match kind {
        3 => prefetch_abort(frame),
        4 => data_abort(frame),
        _ => Handled::No,
    };
    if handled == Handled::Yes {
        return;
    }
    fatal(frame, fault(frame, kind))
}

fn data_abort(frame: &mut Frame) -> Handled {
    let (addr, status) = (VirtAddr::new(Dfar::read().0), FaultStatus(Dfsr::read().raw_value()));
    if static_branch_unlikely!(TRACING) {
        trace(TraceEvent::DataAbort { addr, status, pc: VirtAddr::new(frame.pc) });
    }
    if status.is_asynchronous() && ABORT_LEFT_BEHIND.load(Ordering::Relaxed) {
        return Handled::Yes;
    }
    let Some(handler) = DATA_ABORT.get() else { return Handled::No };
    // SAFETY: only `set_data_abort_handler` stores here.
    let handler: DataAbortHandler = unsafe { core::mem::transmute(handler) };
    handler(frame, addr, status)
}

/// The instruction at the frame's pc; a Thumb instruction of 32 bits with its first half above.
fn instruction(frame: &Frame) -> Option<u32> {
    if !frame.is_thumb() {
        return read_word(frame.pc & !3);
    }
    let half = |addr: u32| Some(read_word(addr & !3)? >> ((addr & 2) * 8) & 0xffff);
    let first = half(frame.pc)?;
    if first < 0xe800 { Some(first) } else { Some(first << 16 | half(frame.pc + 2)?) }
}

fn prefetch_abort(frame: &mut Frame) -> Handled {
    let (addr, status) = (VirtAddr::new(Ifar::read().0), FaultStatus(Ifsr::read().raw_value()));
    let Some(handler) = PREFETCH_ABORT.get() else { return Handled::No };
    // SAFETY: only `set_prefetch_abort_handler` stores here.
    let handler: DataAbortHandler = unsafe { core::mem::transmute(handler) };
    handler(frame, addr, status)
}

/// What `kind` of vectors.S means.
fn fault(frame: &Frame, kind: u32) -> Fault {
    match kind {
        1 => Fault::Undefined { addr: VirtAddr::new(frame.pc), code: instruction(frame) },
        3 => Fault::Prefetch {
            addr: VirtAddr::new(Ifar::read().0),
            status: FaultStatus(Ifsr::read().raw_value()),
        },
        4 => {
            Fault::Data { addr: VirtAddr::new(Dfar::read().0), status: FaultStatus(Dfsr::read().raw_value()) }
        }
        6 => Fault::StackOverflow { addr: VirtAddr::new(Dfar::read().0), sp: VirtAddr::new(frame.sp) },
        2 => Fault::Unexpected { name: "SVC" },
        5 => Fault::Unexpected { name: "FIQ" },
        _ => Fault::Unexpected { name: "reset" },
    }
}

fn fatal(frame: &Frame, fault: Fault) -> ! {
    match FATAL.get() {
        Some(handler) => {
            // SAFETY: only `set_fatal_handler` stores here.
            let handler: FatalHandler = unsafe { core::mem::transmute(handler) };
            handler(frame, fault)
        }
        None => cpu::stop(),
    }
}

/// Called by vectors.S for interrupts.
#[unsafe(no_mangle)]
extern "C" fn irq_entry() {
    if static_branch_unlikely!(TRACING) {
        trace(TraceEvent::Irq);
    }
    match IRQ.get() {
        Some(handler) => {
            // SAFETY: only `set_irq_handler` stores here.
            let handler: IrqHandler = unsafe { core::mem::transmute(handler) };
            handler();
        }
        None => unhandled_irq(),
    }
}

#[cold]
#[inline(never)]
fn unhandled_irq() -> ! {
    fatal(&capture(), Fault::Unexpected { name: "IRQ" })
}
