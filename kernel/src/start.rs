//! From start.S's call to the first log line.

use crate::bootdata::{self, Found};
use crate::{earlycon, log as kernel_log, machine, paging, panic, symbols};
use arch_armv7::linear::Linear;
use arch_armv7::{cpu, early, exception};
use boot::{BootInfo, layout};
use types::{PhysAddr, PhysRange};

/// Called by start.S, on the boot stack, with MMU and caches on and interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn kernel_entry(info: &'static BootInfo) -> ! {
    // SAFETY: the linker script ends the overflow stack there; nothing else uses it.
    unsafe { exception::init(symbols::overflow_stack_top()) };
    exception::set_fatal_handler(panic::fatal_exception);
    early::link_fixmap(PhysAddr::new(info.phys_offset), machine::fixmap_table());
    kernel_log::init();
    let found = bootdata::find(info);
    let uart = match &found {
        Ok(found) => earlycon::choose(&found.data),
        Err(_) => layout::machine_uart(info.machine).map(PhysAddr::new),
    };
    if let Some(uart) = uart {
        // The slot is free, and one page fits.
        let _ = earlycon::enable(uart);
    }
    log::info!("Booting Contig on physical CPU {:#x}", cpu::id());
    log::debug!("{info:x?}");
    match found {
        Ok(found) => start_kernel(info, &found),
        Err(error) => {
            log::error!("{error}");
            cpu::stop()
        }
    }
}

/// Everything that needs memory: the final tables, and what comes after.
fn start_kernel(info: &BootInfo, found: &Found) -> ! {
    let phys_offset = PhysAddr::new(info.phys_offset);
    let is_ours = |bank: &PhysRange| bank.contains(phys_offset);
    let Some(bank) = found
        .data
        .memory()
        .map(|bank| PhysRange::new(PhysAddr::new(bank.base as u32), bank.size as u32))
        .find(is_ours)
    else {
        log::error!("no memory at PHYS_OFFSET {phys_offset}");
        cpu::stop()
    };
    early::map_lowmem(phys_offset, bank);
    // SAFETY: the bank is mapped by the line above, and by the final tables.
    let linear = unsafe { Linear::new(phys_offset, bank.size()) };
    let mut top = bank.end().get();
    let alloc = |size: u32, align: u32| {
        top = (top - size) & !(align - 1);
        Some(PhysAddr::new(top))
    };
    // SAFETY: one CPU, interrupts masked; the top of the bank is nobody's yet.
    match unsafe { paging::install(linear, found, core::iter::once(bank), alloc) } {
        Ok((table, _)) => log::info!("swapper_pg_dir at {}", table.root()),
        Err(error) => panic!("{error}"),
    }
    loop {
        cpu::wait_for_interrupt();
    }
}
