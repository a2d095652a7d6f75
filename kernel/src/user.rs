//! User address spaces on the CPU: TTBR0, ASIDs, and the aborts that populate them.
//!
//! ```text
//! access below 1 GiB ─▶ abort ─▶ Spaces::handle_fault ─▶ again; waits while the page is being moved
//!                                      └ refused, in `CurrentSpace`: the access is skipped, the caller told
//! ```
//!
//! There is no user mode here: the kernel itself accesses the space that TTBR0 shows, with the rights of the entries.
//!
//! The spaces are under the memory manager's lock, as all that moves.

use crate::machine::FIXMAP;
use crate::memory::{self, MM, Mm};
use ::user::{Cpu, Highmem, Slot, Spaces};
use alloc::boxed::Box;
use alloc::vec::Vec;
use arch_armv7::cpu::{self, IrqGuard, IrqLock};
use arch_armv7::exception::{self, DataAbortHandler, FaultStatus, Frame, Handled};
use arch_armv7::fixmap::EarlyMapping;
use arch_armv7::kmap::{TTBCR_N2, TTBCR_PD0};
use boot::section::TTBR_FLAGS;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::memhog::{UserMemory, words};
use mm::pages::ZoneKind;
use mm::space::{Access, Context, FaultOutcome, KmapSlot, SpaceError, SpaceId, USER_END};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// Spaces, objects of shared memory included.
const SLOTS: usize = 256;

/// What the two places for temporary mappings hold.
static KMAPS: IrqLock<[Option<EarlyMapping>; 2]> = IrqLock::new([None, None]);

#[cold]
fn kmap_high(pfn: Pfn, slot: KmapSlot) -> *mut u8 {
    let mapping = FIXMAP.lock().kmap_local(pfn.addr());
    match mapping {
        Ok(mapping) => {
            let ptr = core::ptr::with_exposed_provenance_mut(mapping.virt().get() as usize);
            KMAPS.lock()[slot as usize] = Some(mapping);
            ptr
        }
        Err(error) => panic!("kmap of pfn {pfn}: {error}"),
    }
}

fn kunmap_high(slot: KmapSlot) {
    if let Some(mapping) = KMAPS.lock()[slot as usize].take() {
        FIXMAP.lock().end(mapping);
    }
}

/// Makes room for spaces, and takes data aborts on user memory.
///
/// # Errors
/// No memory.
#[inline(never)]
pub fn init() -> Result<(), SpaceError> {
    let mut slots: Vec<Slot> = Vec::new();
    slots.resize_with(SLOTS, Slot::default);
    let slots = slots.leak();
    let made = memory::with(|mm| {
        let high = mm.pages.buddy().zone(ZoneKind::HighMem).present() > 0;
        let highmem = high.then_some(Highmem { map: kmap_high, unmap: kunmap_high });
        // SAFETY: the fixmap maps the whole page until it is unmapped; who needs a page of highmem holds the lock of
        // the spaces, so the two places are one user's.
        let cpu = unsafe { Cpu::new(mm.linear, highmem) };
        Spaces::new(cpu, slots, mm.pages)
    });
    if let Some(spaces) = made {
        let spaces = Box::leak(Box::new(spaces?));
        memory::with(|mm| mm.spaces = Some(spaces));
        exception::set_data_abort_handler(Some(data_abort as DataAbortHandler));
        exception::set_prefetch_abort_handler(prefetch_abort);
    }
    Ok(())
}

/// Runs `f` on the spaces and the rest of the memory manager, with interrupts off; `None` before there are any. What
/// `f` calls can't move pages of spaces.
pub fn with<R>(f: impl FnOnce(&mut Spaces, &mut Mm) -> R) -> Option<R> {
    memory::with(|mm| with_spaces(mm, f)).flatten()
}

fn with_spaces<R>(mm: &mut Mm, f: impl FnOnce(&mut Spaces, &mut Mm) -> R) -> Option<R> {
    let spaces = mm.spaces.take()?;
    let result = f(spaces, mm);
    mm.spaces = Some(spaces);
    Some(result)
}

/// Shows a space below 1 GiB.
///
/// # Errors
/// [`SpaceError`].
pub fn enter(id: SpaceId) -> Result<(), SpaceError> {
    let _irq = IrqGuard::new();
    let context = with(|spaces, _| spaces.switch_to(cpu::id() as usize, id)).ok_or(SpaceError::NoSpace)??;
    load_ttbr0(Some(context));
    Ok(())
}

/// Shows nothing below 1 GiB.
pub fn leave() {
    let _irq = IrqGuard::new();
    load_ttbr0(None);
    with(|spaces, _| spaces.leave(cpu::id() as usize));
}

/// Below 1 GiB is nothing, then the ASID and the space's table, then they are shown: the walker never sees a table with
/// another's ASID (ARM DDI 0406C, B3.10.4).
fn load_ttbr0(context: Option<Context>) {
    let closed = TTBCR_N2 | TTBCR_PD0;
    let (root, asid, ttbcr) =
        context.map_or((0, 0, closed), |context| (context.root.get(), u32::from(context.asid.0), TTBCR_N2));
    // SAFETY: the table covers user memory only, of which the kernel needs nothing to run; interrupts are off.
    unsafe {
        asm!(
            "mcr p15, 0, {closed}, c2, c0, 2",
            "isb",
            "mcr p15, 0, {asid}, c13, c0, 1",
            "mcr p15, 0, {root}, c2, c0, 0",
            "isb",
            "mcr p15, 0, {ttbcr}, c2, c0, 2",
            "isb",
            closed = in(reg) closed,
            asid = in(reg) asid,
            root = in(reg) root | TTBR_FLAGS,
            ttbcr = in(reg) ttbcr,
            options(nostack, preserves_flags),
        );
    }
}

/// Set while [`CurrentSpace::access`] runs code.
static ACCESSING: AtomicBool = AtomicBool::new(false);
/// Why that access was skipped.
static REFUSED: IrqLock<Option<FaultOutcome>> = IrqLock::new(None);

fn data_abort(frame: &mut Frame, addr: VirtAddr, status: FaultStatus) -> Handled {
    let access = if status.is_write() { Access::Write } else { Access::Read };
    abort(frame, addr, status, access)
}

fn prefetch_abort(frame: &mut Frame, addr: VirtAddr, status: FaultStatus) -> Handled {
    abort(frame, addr, status, Access::Exec)
}

fn abort(frame: &mut Frame, addr: VirtAddr, status: FaultStatus, access: Access) -> Handled {
    let ours = status.is_translation() || status.is_access_flag() || status.is_permission();
    if addr >= USER_END || !ours {
        return Handled::No;
    }
    trace::page_fault(addr.get(), frame.pc, status.0);
    // The abort masked interrupts; what counts is whether the interrupted code had.
    let atomic = !frame.irqs_on();
    match handle(addr, access, atomic) {
        Some(FaultOutcome::Handled) => Handled::Yes,
        // The access is tried again, with interrupts on before it, until who moves the page has moved it.
        Some(FaultOutcome::Retry) if !atomic => Handled::Yes,
        Some(outcome) if !atomic && access != Access::Exec && ACCESSING.load(Ordering::Relaxed) => {
            *REFUSED.lock() = Some(outcome);
            frame.pc += 4;
            Handled::Yes
        }
        _ => Handled::No,
    }
}

fn handle(addr: VirtAddr, access: Access, atomic: bool) -> Option<FaultOutcome> {
    let mut held = MM.try_lock()?;
    let mm = &mut *held;
    mm.pages.set_atomic(atomic);
    let spaces = mm.spaces.as_deref_mut()?;
    let id = spaces.current(cpu::id() as usize)?;
    Some(::user::fault(spaces, mm.pages, id, addr, access))
}

/// The memory of the space that this CPU shows, reached as the space itself reaches it.
#[derive(Debug)]
pub struct CurrentSpace;

impl CurrentSpace {
    /// Runs code whose accesses to user memory may be refused, and says why one was.
    fn access<R>(instruction: impl FnOnce() -> R) -> Result<R, FaultOutcome> {
        ACCESSING.store(true, Ordering::Relaxed);
        let value = instruction();
        ACCESSING.store(false, Ordering::Relaxed);
        match REFUSED.lock().take() {
            None => Ok(value),
            Some(outcome) => Err(outcome),
        }
    }
}

/// A word of user memory below 1 GiB; skipped by the abort handler when it is refused.
///
/// # Safety
/// Called by [`CurrentSpace::access`] only, with a multiple of four below [`USER_END`].
#[inline(always)]
unsafe fn store(virt: VirtAddr, value: u32) {
    // SAFETY: there is only user memory; a refused store is skipped.
    unsafe { asm!("str.w {}, [{}]", in(reg) value, in(reg) virt.get(), options(nostack, preserves_flags)) }
}

/// As [`store`]; 0 when it is refused.
///
/// # Safety
/// As for [`store`].
#[inline(always)]
unsafe fn load(virt: VirtAddr) -> u32 {
    let value: u32;
    // SAFETY: there is only user memory; a refused load leaves the register as it was.
    unsafe {
        asm!("ldr.w {0}, [{1}]", inout(reg) 0 => value, in(reg) virt.get(), options(nostack, preserves_flags));
    }
    value
}

/// Whether the kernel may try `len` bytes at `virt`.
fn reachable(virt: VirtAddr, len: u32) -> Result<(), FaultOutcome> {
    let inside = virt.get() <= USER_END.get() - len && virt.is_aligned(4);
    if inside { Ok(()) } else { Err(FaultOutcome::NoRegion) }
}

impl UserMemory for CurrentSpace {
    fn store(&mut self, virt: VirtAddr, value: u32) -> Result<(), FaultOutcome> {
        reachable(virt, 4)?;
        // SAFETY: the address is good.
        Self::access(|| unsafe { store(virt, value) })
    }

    fn load(&mut self, virt: VirtAddr) -> Result<u32, FaultOutcome> {
        reachable(virt, 4)?;
        // SAFETY: the address is good.
        Self::access(|| unsafe { load(virt) })
    }

    fn store_page(&mut self, page: VirtAddr, word: impl Fn(VirtAddr) -> u32) -> Result<(), FaultOutcome> {
        reachable(page, PAGE_SIZE)?;
        self.store(page, word(page))?;
        Self::access(|| {
            for virt in words(page).skip(1) {
                // SAFETY: the whole page is below the end.
                unsafe { store(virt, word(virt)) };
            }
        })
    }

    fn find_other(
        &mut self,
        page: VirtAddr,
        word: impl Fn(VirtAddr) -> u32,
    ) -> Result<Option<(VirtAddr, u32)>, FaultOutcome> {
        reachable(page, PAGE_SIZE)?;
        Self::access(|| {
            // SAFETY: the whole page is below the end.
            words(page).map(|virt| (virt, unsafe { load(virt) })).find(|&(virt, found)| found != word(virt))
        })
    }
}
