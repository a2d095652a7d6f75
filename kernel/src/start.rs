//! From start.S's call to the first log line.

use crate::bootdata::{self, Found};
use crate::{
    cma_test, console, devices, earlycon, fb, files, log as kernel_log, machine, memory, page_map, panic,
    symbols, trace, tracing, user,
};
use arch_armv7::{cpu, early, exception};
use boot::{BootInfo, layout};
use dt::Param;
use types::PhysAddr;

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
        Err(error) => panic!("{error}"),
    }
}

/// Memory, devices, console.
#[inline(never)]
fn start_kernel(info: &'static BootInfo, found: &Found) -> ! {
    let (command_line, cut) = machine::command_line(&found.data);
    if let Some(cut) = cut {
        log::warn!("{cut}");
    }
    let loglevel = |param| if let Ok(Param::Loglevel(level)) = param { Some(level) } else { None };
    if let Some(level) = command_line.params().filter_map(loglevel).last() {
        trace::set_loglevel(level);
    }
    tracing::start(&command_line);
    if let Some(model) = found.data.tree.machine_model() {
        log::info!("OF: fdt: Machine model: {model}");
    }
    if let Err(error) = memory::bring_up(info, found, command_line) {
        panic!("{error}");
    }
    exception::enable_async_aborts();
    let display = devices::init(&found.data.tree);
    cma_test::start();
    memory::free_init();
    if let Err(error) = user::init() {
        log::error!("user memory: {error}");
    }
    let regions = page_map::regions();
    fb::start(display, regions, &command_line);
    console::run(files::all(found.data.tree, command_line, regions))
}
