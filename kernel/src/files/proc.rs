//! `/proc`.

use super::snapshot;
use crate::memory::{self, Mm};
use crate::{devices, iomem};
use core::fmt::{self, Write};
use core::ops::RangeInclusive;
use dt::CommandLine;
use mm::MemInfo;
use mm::pages::{BuddyInfo, PageTypeInfo, Tunables, ZoneInfo};
use shell::{Control, FsError, Vfs};

/// Adds the files.
pub fn add(vfs: &mut Vfs, command_line: CommandLine<'static>) -> Result<(), FsError> {
    vfs.add_read("/proc/cmdline", move |out| Ok(writeln!(out, "{command_line}")?))?;
    vfs.add_read("/proc/iomem", |out| snapshot(out, iomem::write))?;
    vfs.add_read("/proc/interrupts", |out| snapshot(out, |text| write!(text, "{}", *devices::IRQS.lock())))?;
    about_mm(vfs, "/proc/meminfo", meminfo)?;
    about_mm(vfs, "/proc/buddyinfo", |mm, text| write!(text, "{}", BuddyInfo(mm.pages.buddy())))?;
    about_mm(vfs, "/proc/pagetypeinfo", |mm, text| write!(text, "{}", PageTypeInfo(mm.pages.buddy())))?;
    about_mm(vfs, "/proc/zoneinfo", |mm, text| write!(text, "{}", ZoneInfo(mm.pages.buddy())))?;
    about_mm(vfs, "/proc/vmstat", |mm, text| write!(text, "{}", mm.pages.buddy().vmstat()))?;
    about_mm(vfs, "/proc/slabinfo", |mm, mut text| mm.slab.write_slabinfo(mm.pages, &mut text))?;
    about_mm(vfs, "/proc/vmallocinfo", |mm, mut text| mm.vmalloc.write_vmallocinfo(&mut text))?;
    tunable(vfs, "/proc/sys/vm/min_free_kbytes", 0..=i32::MAX as u32, |tunables| {
        &mut tunables.min_free_kbytes
    })?;
    tunable(vfs, "/proc/sys/vm/extra_free_kbytes", 0..=i32::MAX as u32, |tunables| {
        &mut tunables.extra_free_kbytes
    })?;
    tunable(vfs, "/proc/sys/vm/watermark_scale_factor", 1..=3000, |tunables| {
        &mut tunables.watermark_scale_factor
    })?;
    let compact = Control(|_: &mut dyn shell::Output| Err(FsError::PermissionDenied), compact_memory);
    vfs.add("/proc/sys/vm/compact_memory", compact)?;
    vfs.add(
        "/proc/sys/vm/drop_caches",
        Control(|out: &mut dyn shell::Output| Ok(writeln!(out, "0")?), drop_caches),
    )
}

/// A file that the memory manager writes, under its lock.
fn about_mm(
    vfs: &mut Vfs,
    path: &str,
    write: impl Fn(&mut Mm, &mut dyn Write) -> fmt::Result + 'static,
) -> Result<(), FsError> {
    vfs.add_read(path, move |out| snapshot(out, |text| memory::with(|mm| write(mm, text)).unwrap_or(Ok(()))))
}

fn meminfo(mm: &mut Mm, text: &mut dyn Write) -> fmt::Result {
    let buddy = mm.pages.buddy();
    let zones = mm::pages::ZoneKind::ALL;
    let info = MemInfo {
        buddy,
        slab: mm.slab.totals(),
        vmalloc: mm.vmalloc.totals(),
        cma: zones.iter().map(|&kind| buddy.zone(kind).cma()).sum(),
    };
    write!(text, "{info}")
}

/// A number in `/proc/sys/vm`, with the bounds that Linux's `kernel/sysctl.c` has.
fn tunable(
    vfs: &mut Vfs,
    path: &str,
    range: RangeInclusive<u32>,
    field: impl Fn(&mut Tunables) -> &mut u32 + Copy + 'static,
) -> Result<(), FsError> {
    let read = move |out: &mut dyn shell::Output| {
        let value = memory::with(|mm| *field(&mut mm.pages.buddy().tunables()));
        Ok(writeln!(out, "{}", value.unwrap_or(0))?)
    };
    let write = move |text: &str| {
        let value = text.trim().parse().ok().filter(|value| range.contains(value));
        let value = value.ok_or(FsError::InvalidArgument)?;
        memory::with(|mm| {
            let mut tunables = mm.pages.buddy().tunables();
            *field(&mut tunables) = value;
            mm.pages.buddy_mut().set_tunables(tunables);
        });
        Ok(())
    };
    vfs.add(path, Control(read, write))
}

/// Makes large free blocks. Linux takes no other number than 1.
fn compact_memory(text: &str) -> Result<(), FsError> {
    if text.trim() != "1" {
        return Err(FsError::InvalidArgument);
    }
    memory::contiguous::compact();
    Ok(())
}

/// Gives back what caches hold beyond need: empty slabs, per-CPU pages, areas that wait for a TLB flush.
fn drop_caches(text: &str) -> Result<(), FsError> {
    if !matches!(text.trim(), "1" | "2" | "3") {
        return Err(FsError::InvalidArgument);
    }
    memory::with(|mm| {
        mm.slab.reclaim(mm.pages);
        let (vmalloc, backing) = mm.vmalloc();
        vmalloc.purge(backing.pages, backing.tlb);
        mm.pages.buddy_mut().drain_all_pages();
    });
    Ok(())
}
