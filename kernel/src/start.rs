//! From start.S's call to the first log line.

use crate::{earlycon, log as kernel_log, machine};
use arch_armv7::{cpu, early};
use boot::{BootInfo, Handover, layout};
use types::PhysAddr;

/// Called by start.S, on the boot stack, with MMU and caches on and interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn kernel_entry(info: &'static BootInfo) -> ! {
    early::plug_fixmap(PhysAddr::new(info.phys_offset), machine::fixmap_table());
    if let Some(uart) = layout::machine_uart(info.machine) {
        // A slot that is free takes one page.
        let _ = earlycon::enable(PhysAddr::new(uart));
    }
    kernel_log::init();
    log::info!("Booting Contig on physical CPU {:#x}", cpu::id());
    log::info!("{info:x?}");
    if info.handover() == Handover::Nothing {
        log::error!("no device tree and no ATAGs");
    }
    panic!("nothing more to do")
}
