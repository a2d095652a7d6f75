//! The console before there are drivers: a PL011 that the boot loader has set up, written to by polling.
//!
//! Its registers are reached through the fixmap's early console slot, which keeps its address when the final
//! tables take over. Source: ARM DDI 0183 (PL011), 3.3.1 UARTDR and 3.3.3 UARTFR.

use arch_armv7::fixmap::{FixmapError, Slot};
use core::sync::atomic::{AtomicUsize, Ordering};
use dt::{BootData, Param};
use hal::{MemAttr, Prot};
use types::{PAGE_SIZE, PhysAddr};

const UARTDR: usize = 0;
const UARTFR: usize = 0x18;
const TXFF: u32 = 1 << 5;

/// Virtual address of the registers; 0 before [`enable`].
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Maps the PL011 at `phys` and writes to it from now on.
///
/// # Errors
/// [`FixmapError`], as the fixmap gives it.
pub fn enable(phys: PhysAddr) -> Result<(), FixmapError> {
    let mut fixmap = crate::machine::FIXMAP.lock();
    fixmap.unmap(Slot::EarlyConsole);
    let virt = fixmap.map(Slot::EarlyConsole, phys, PAGE_SIZE, MemAttr::Device, Prot::WRITE)?;
    BASE.store(virt.get() as usize, Ordering::Relaxed);
    Ok(())
}

/// The PL011 that the command line's `earlycon=pl011,ADDRESS` or else the tree's `stdout-path` names.
#[must_use]
pub fn choose(data: &BootData<'_>) -> Option<PhysAddr> {
    let (command_line, _) = data.command_line();
    let named = command_line.params().find_map(|param| match param {
        Ok(Param::Earlycon(Some(earlycon))) if earlycon.driver == "pl011" => earlycon.address,
        _ => None,
    });
    named.map(PhysAddr::new).or_else(|| {
        let node = data.tree.stdout()?.node;
        let base = node.mmio(0).ok()?.base();
        node.is_compatible("arm,pl011").then_some(base)
    })
}

/// Writes `text` with a carriage return before every line end; nothing before [`enable`].
pub fn write(text: &[u8]) {
    let base = BASE.load(Ordering::Relaxed);
    if base == 0 {
        return;
    }
    for &byte in text {
        if byte == b'\n' {
            put(base, b'\r');
        }
        put(base, byte);
    }
}

fn put(base: usize, byte: u8) {
    let register = |offset| core::ptr::with_exposed_provenance_mut::<u32>(base + offset);
    // SAFETY: `enable` mapped the page of the registers there, as Device memory, and nothing unmaps it.
    unsafe {
        while register(UARTFR).read_volatile() & TXFF != 0 {}
        register(UARTDR).write_volatile(u32::from(byte));
    }
}
