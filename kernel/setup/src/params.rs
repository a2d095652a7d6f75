//! The command line's say in early memory, in its own order.
//!
//! `mem=`, `vmalloc=` and `memblock=debug` act at once, as early parameters do in Linux; the rest is collected for
//! its turn. What is wrong with a parameter gets its one line here, whichever part of the kernel uses it.
//!
//! Source: Linux 6.1 `arch/arm/kernel/setup.c` (`early_mem`), `init/main.c` (`do_early_param`).

use crate::MemorySetup;
use crate::list::List;
use crate::ram::add_given;
use crate::vendor::{Bank, Vendor};
use dt::{CmaParam, CommandLine, MemParam, Param, ParamError, Reason};
use mm::memblock::Memblock;
use types::{PhysAddr, PhysRange};

/// What the command line asks of later steps.
#[derive(Default)]
pub(crate) struct EarlyParams<'a> {
    pub(crate) cma: Option<CmaParam>,
    pub(crate) vendor: Vendor<'a>,
    mem_given: bool,
}

impl<'a> EarlyParams<'a> {
    /// Goes through the command line once.
    #[inline(never)]
    pub(crate) fn parse(
        &mut self,
        line: &CommandLine<'a>,
        memblock: &mut Memblock<'_>,
        setup: &mut MemorySetup<'a>,
        phys_offset: PhysAddr,
    ) {
        for param in line.params() {
            match param {
                Ok(Param::Mem(mem)) => self.mem(mem, memblock, phys_offset),
                Ok(Param::Vmalloc(bytes)) => setup.lowmem.set_vmalloc_size(bytes),
                Ok(Param::MemblockDebug) => memblock.set_debug(true),
                Ok(Param::Cma(cma)) => self.cma = Some(self.cma.map_or(cma, |earlier| earlier.then(cma))),
                Ok(other) => self.vendor_param(other, phys_offset),
                Err(error) => say(&error),
            }
        }
        self.vendor.add_banks(memblock, phys_offset, self.mem_given);
    }

    /// The first `mem=` does away with the memory that the tree describes; each adds its own.
    fn mem(&mut self, mem: MemParam, memblock: &mut Memblock<'_>, phys_offset: PhysAddr) {
        if !self.mem_given {
            self.mem_given = true;
            let dram = PhysRange::from_bounds(memblock.start_of_dram(), memblock.end_of_dram());
            crate::note(memblock.remove(dram));
        }
        add_given(memblock, mem.start.unwrap_or(u64::from(phys_offset.get())), mem.size, phys_offset);
    }

    fn vendor_param(&mut self, param: Param<'a>, phys_offset: PhysAddr) {
        let vendor = &mut self.vendor;
        match param {
            Param::LxMem { size } => vendor.banks[0] = Some(Bank { base: phys_offset.get(), size }),
            Param::LxMem2 { base, size } => vendor.banks[1] = Some(Bank { base, size }),
            Param::LxMem3 { base, size } => vendor.banks[2] = Some(Bank { base, size }),
            Param::MmaHeap(heap) => keep(&mut vendor.heaps, heap, heap.name),
            Param::MmapReserved(mmap) => keep(&mut vendor.mmaps, mmap, mmap.name),
            Param::MmaMemblockRemove(remove) => vendor.remove_heaps = remove,
            _ => {}
        }
    }
}

fn keep<T: Copy, const N: usize>(list: &mut List<T, N>, item: T, name: &str) {
    if list.push(item).is_err() {
        log::error!("{name}: more than {N} regions on the command line");
    }
}

fn say(error: &ParamError<'_>) {
    if error.arg.is("cma") && error.reason == Reason::Missing {
        log::error!("Config string not provided");
        log::warn!("Malformed early option 'cma'");
    } else {
        log::warn!("{error}");
    }
}
