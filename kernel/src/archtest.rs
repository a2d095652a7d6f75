//! Tests of `arch-armv7` that need the real MMU, caches and vectors.

use crate::ktest;
use crate::ktest::{NotOk, TestResult, check};
use crate::machine::FIXMAP;
use crate::symbols;
use alloc::format;
use alloc::string::ToString;
use arch_armv7::cpu::{self, IrqGuard, IrqLock};
use arch_armv7::exception::{self, DataAbortHandler, FaultStatus, Frame, Handled, TraceEvent};
use arch_armv7::jump_label::{self, Instruction};
use arch_armv7::kmap;
use arch_armv7::pgtable::desc::{self, L1, L2, Leaf};
use arch_armv7::timer;
use boot::layout::{PAGE_OFFSET, PG_DIR_OFFSET};
use core::sync::atomic::{AtomicU32, Ordering};
use hal::{MemAttr, Prot};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

ktest!("kmap::writable_or_executable", writable_or_executable);
ktest!("kmap::image_rights", image_rights);
ktest!("kmap::nothing_left_of_boot", nothing_left_of_boot);
ktest!("fixmap::early_ioremap", early_ioremap);
ktest!("exception::handled_abort", handled_abort);
ktest!("jump_label::tracing", tracing);
ktest!("cpu::irq_lock", irq_lock);
ktest!("timer::counts", counts);

/// An address that is never mapped: above the tree's window, below the fixmap.
const NOWHERE: u32 = 0xffb0_0000;

fn phys_offset() -> u32 {
    cpu::translate(symbols::swapper_pg_dir()).map_or(0, |root| root.get() - PG_DIR_OFFSET)
}

/// The words of a table in lowmem.
fn table(phys: u32, words: u32) -> impl Iterator<Item = u32> {
    let start = core::ptr::with_exposed_provenance::<u32>((phys - phys_offset() + PAGE_OFFSET) as usize);
    // SAFETY: translation tables lie in lowmem, which is mapped; a word is read whole.
    (0..words as usize).map(move |word| unsafe { start.add(word).read_volatile() })
}

/// Every leaf of `swapper_pg_dir`.
fn leaves() -> impl Iterator<Item = Leaf> {
    let root = table(phys_offset() + PG_DIR_OFFSET, 4096);
    root.flat_map(|entry| {
        let (section, second) = match desc::decode_l1(entry) {
            L1::Section(leaf) => (Some(leaf), None),
            L1::Table(phys) => (None, Some(table(phys.get(), 256))),
            L1::Fault | L1::Foreign => (None, None),
        };
        let pages = second.into_iter().flatten().filter_map(|entry| match desc::decode_l2(entry) {
            L2::Small(leaf) | L2::Large(leaf) => Some(leaf),
            L2::Fault(_) | L2::Foreign => None,
        });
        section.into_iter().chain(pages)
    })
}

fn writable_or_executable() -> TestResult {
    let both = Prot::WRITE | Prot::EXEC;
    match leaves().find(|leaf| leaf.prot.contains(both)) {
        Some(leaf) => Err(NotOk::Failed(format!("{} is writable and executable", leaf.phys))),
        None => check(leaves().any(|leaf| leaf.prot.contains(Prot::EXEC)), "nothing is executable"),
    }
}

fn image_rights() -> TestResult {
    let readable = |addr| cpu::translate(addr).is_some();
    let writable = |addr| cpu::translate_for_write(addr).is_some();
    check(readable(symbols::text()) && !writable(symbols::text()), "text is writable")?;
    check(readable(symbols::rodata()) && !writable(symbols::rodata()), "rodata is writable")?;
    check(writable(symbols::data()), "data is read-only")?;
    check(readable(VirtAddr::new(kmap::VECTORS)), "no vectors")?;
    check(!writable(VirtAddr::new(kmap::VECTORS)), "vectors are writable")
}

fn nothing_left_of_boot() -> TestResult {
    let mapped = |addr| cpu::translate(addr).is_some();
    check(!mapped(symbols::boot_stack_guard()), "the boot stack has no guard page")?;
    check(!mapped(symbols::overflow_stack_guard()), "the overflow stack has no guard page")?;
    check(!mapped(VirtAddr::new(boot::layout::UART_WINDOW)), "the early UART section is left")?;
    let identity = VirtAddr::new(phys_offset());
    check(identity.get() >= PAGE_OFFSET || !mapped(identity), "the identity map is left")
}

fn early_ioremap() -> TestResult {
    static WORD: AtomicU32 = AtomicU32::new(0);
    WORD.store(0x5afe_c0de, Ordering::Relaxed);
    let virt = VirtAddr::new((&raw const WORD).addr() as u32);
    let phys = cpu::translate(virt).ok_or_else(|| NotOk::Failed("statics are not mapped".to_string()))?;
    let failed = |error| NotOk::Failed(format!("{error}"));
    let mapping = FIXMAP.lock().early_ioremap(phys, 4, MemAttr::Normal, Prot::empty()).map_err(failed)?;
    let alias = core::ptr::with_exposed_provenance::<u32>(mapping.virt().get() as usize);
    // SAFETY: the mapping reaches the word, which lives for good.
    let read = unsafe { alias.read_volatile() };
    let gone = mapping.virt();
    FIXMAP.lock().end(mapping);
    check(read == 0x5afe_c0de, "the alias shows something else")?;
    check(cpu::translate(gone).is_none(), "the alias outlives its mapping")
}

static ABORTS: AtomicU32 = AtomicU32::new(0);

/// Skips an access to [`NOWHERE`].
fn skip(frame: &mut Frame, addr: VirtAddr, status: FaultStatus) -> Handled {
    if addr.get() != NOWHERE || !status.is_translation() {
        return Handled::No;
    }
    ABORTS.fetch_add(1, Ordering::Relaxed);
    frame.pc += 4;
    frame.r[0] = 0x600d;
    Handled::Yes
}

/// Reads [`NOWHERE`] into r0, with [`skip`] as the handler.
fn abort_once() -> u32 {
    let _irq = IrqGuard::new();
    let old = exception::set_data_abort_handler(Some(skip as DataAbortHandler));
    let read: u32;
    // SAFETY: the load faults; the handler goes on behind it with another r0. Nothing else is touched.
    unsafe { core::arch::asm!("ldr.w r0, [r0]", inout("r0") NOWHERE => read, options(nostack)) };
    exception::set_data_abort_handler(old);
    read
}

fn handled_abort() -> TestResult {
    let before = ABORTS.load(Ordering::Relaxed);
    check(abort_once() == 0x600d, "the handler's register did not come back")?;
    check(ABORTS.load(Ordering::Relaxed) == before + 1, "the handler was not called once")
}

static TRACED: AtomicU32 = AtomicU32::new(0);

fn count(event: TraceEvent) {
    if matches!(event, TraceEvent::DataAbort { addr, .. } if addr.get() == NOWHERE) {
        TRACED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many of `sites` hold a NOP now.
fn nops() -> usize {
    let is_nop = |site: &&jump_label::Site| {
        let code = core::ptr::with_exposed_provenance::<u32>(site.code().get() as usize);
        // SAFETY: a site is an instruction in the image's text.
        unsafe { code.read_volatile() == Instruction::Nop.encoding() }
    };
    jump_label::sites().iter().filter(is_nop).count()
}

fn tracing() -> TestResult {
    let failed = |error| NotOk::Failed(format!("{error}"));
    let (off, before) = (nops(), TRACED.load(Ordering::Relaxed));
    check(!jump_label::sites().is_empty(), "no static branches")?;
    if off < jump_label::sites().len() {
        return Err(NotOk::Ignored("loglevel= traces exceptions already"));
    }
    abort_once();
    exception::set_tracer(&mut FIXMAP.lock(), Some(count)).map_err(failed)?;
    let on = nops();
    abort_once();
    exception::set_tracer(&mut FIXMAP.lock(), None).map_err(failed)?;
    abort_once();
    check(on < off && nops() == off, "the text was not patched and restored")?;
    check(TRACED.load(Ordering::Relaxed) == before + 1, "not exactly the traced abort was seen")?;
    check(cpu::translate_for_write(symbols::text()).is_none(), "text stayed writable")
}

fn irq_lock() -> TestResult {
    static LOCK: IrqLock<u32> = IrqLock::new(0);
    let before = cpu::irqs_on();
    {
        let mut outer = LOCK.lock();
        *outer += 1;
        check(!cpu::irqs_on(), "interrupts are on under the lock")?;
        check(LOCK.try_lock().is_none(), "the lock was taken twice")?;
        check(!cpu::irqs_on(), "a failed try turned interrupts on")?;
    }
    check(cpu::irqs_on() == before, "interrupts are not as before")
}

fn counts() -> TestResult {
    if timer::frequency() == 0 {
        return Err(NotOk::Ignored("CNTFRQ is not set"));
    }
    let start = timer::now();
    let later = (0..1_000_000).any(|_| timer::now() > start);
    check(later, "the counter stands still")?;
    let page = PhysAddr::new(phys_offset() + PAGE_SIZE);
    check(cpu::translate(VirtAddr::new(PAGE_OFFSET + PAGE_SIZE)) == Some(page), "lowmem is not linear")
}
