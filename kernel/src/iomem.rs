//! `/proc/iomem`: RAM with the kernel in it, and the devices that have drivers.

use crate::devices;
use crate::memory::{EARLY, Early};
use crate::symbols;
use core::fmt::{self, Write};
use setup::iomem::{Iomem, Resource, ResourceError};
use types::{PhysRange, VirtAddr};

/// Resources that fit in the file.
const MAX_RESOURCES: usize = 64;

/// Writes the file.
pub fn write(text: &mut dyn Write) -> fmt::Result {
    let early = EARLY.lock();
    let Some(early) = early.as_ref() else { return Ok(()) };
    devices::with_claims(|claims| {
        let mut entries = [Resource::EMPTY; MAX_RESOURCES];
        let mut iomem = Iomem::new(&mut entries);
        if let Err(error) = fill(&mut iomem, early) {
            log::warn!("{error}");
        }
        for (range, name) in claims {
            if let Err(error) = iomem.request(*range, name) {
                log::warn!("{error}");
            }
        }
        write!(text, "{iomem}")
    })
}

fn fill<'a>(iomem: &mut Iomem<'_, 'a>, early: &Early) -> Result<(), ResourceError<'a>> {
    let phys = |virt: VirtAddr| early.linear.phys_of(virt).unwrap_or_default();
    let code = PhysRange::from_bounds(phys(symbols::text()), phys(symbols::etext()));
    let data = PhysRange::from_bounds(phys(symbols::data()), phys(symbols::bss_stop()));
    iomem.add_ram(&early.memblock, code, data)
}
