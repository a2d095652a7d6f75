//! vmalloc and vfree.

use super::{Error, Run};
use crate::memory;
use types::VirtAddr;

/// Name, bytes, samples, and calls a sample: enough for several flushes of the TLB in each.
const PAIRS: [(&str, u32, usize, u32); 3] = [
    ("vmalloc/4K/pair", 4 << 10, 21, 66),
    ("vmalloc/64K/pair", 64 << 10, 21, 51),
    ("vmalloc/1M/pair", 1 << 20, 21, 10),
];

/// `vmalloc`, as a driver calls it.
#[inline(always)]
pub(super) fn vmalloc(size: u32) -> Result<VirtAddr, Error> {
    memory::vmalloc(size, memory::VMALLOC).map_err(Error::Vmalloc)
}

/// `vfree`.
#[inline(always)]
pub(super) fn vfree(area: VirtAddr) -> Result<(), Error> {
    memory::vfree(area).map_err(Error::Vfree)
}

fn purge() {
    memory::with(|mm| {
        let (vmalloc, backing) = mm.vmalloc();
        vmalloc.purge(backing.pages, backing.tlb)
    });
}

pub fn run(run: &mut Run<'_, '_>) {
    for (name, size, samples, turns) in PAIRS {
        purge();
        run.average(name, (samples, turns), |_| vmalloc(size).and_then(vfree));
    }
    purge();
}
