//! `/sys/kernel/debug/cma/cma-NAME/`: what is in an area, and taking pages from it by hand.
//!
//! Source: Linux 6.1 `mm/cma_debug.c`: `alloc` takes so many pages, `free` gives back the allocations made so, newest
//! first, until so many pages are back; of one that is larger than what is left, a part.

use super::snapshot;
use crate::memory::{self, contiguous};
use ::user::Request;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt::{self, Write};
use mm::Gfp;
use mm::cma::{BitmapWords, CmaArea, CmaError, CmaId, CmaPages, MAX_AREAS, NAME_LEN};
use shell::{File, FsError, Output, Vfs};

/// Allocations that `alloc` can hold at a time.
const MAX_HELD: usize = 256;

/// What was taken through the files, oldest first.
static HELD: IrqLock<Vec<CmaPages>> = IrqLock::new(Vec::new());

/// Adds the files of every area.
pub fn add(vfs: &mut Vfs) -> Result<(), FsError> {
    let room = Vec::with_capacity(MAX_HELD);
    *HELD.lock() = room;
    let mut areas = [None; MAX_AREAS];
    memory::with(|mm| mm.cma.areas().zip(&mut areas).for_each(|((id, _), slot)| *slot = Some(id)));
    areas.into_iter().flatten().try_for_each(|id| add_area(vfs, id))
}

fn add_area(vfs: &mut Vfs, id: CmaId) -> Result<(), FsError> {
    let mut name = String::with_capacity(NAME_LEN);
    memory::with(|mm| mm.cma.area(id).map(|area| name.push_str(area.name())));
    let dir = format!("/sys/kernel/debug/cma/cma-{}", name.trim_end());
    let mut file = |name: &str, write: fn(&CmaArea<'_>, &mut dyn Write) -> fmt::Result| {
        vfs.add_read(&format!("{dir}/{name}"), move |out: &mut dyn Output| {
            snapshot(out, |text| {
                memory::with(|mm| mm.cma.area(id).map_or(Ok(()), |area| write(area, text))).unwrap_or(Ok(()))
            })
        })
    };
    file("base_pfn", |area, text| writeln!(text, "{}", area.base_pfn().get()))?;
    file("count", |area, text| writeln!(text, "{}", area.count()))?;
    file("order_per_bit", |area, text| writeln!(text, "{}", area.order_per_bit()))?;
    file("used", |area, text| writeln!(text, "{}", area.used()))?;
    file("maxchunk", |area, text| writeln!(text, "{}", area.maxchunk()))?;
    file("bitmap", |area, text| write!(text, "{}", BitmapWords(area)))?;
    vfs.add(&format!("{dir}/alloc"), WriteOnly(move |pages| take(id, pages)))?;
    vfs.add(&format!("{dir}/free"), WriteOnly(move |pages| give_back(id, pages)))
}

/// A file that takes a number of pages and can't be read.
struct WriteOnly<W>(W);

impl<W: Fn(u32) -> Result<(), FsError>> File for WriteOnly<W> {
    fn read(&self, _out: &mut dyn Output) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }

    fn write(&self, text: &str) -> Result<(), FsError> {
        let (pages, rest) = dt::simple_strtoull(text.trim());
        match u32::try_from(pages) {
            Ok(pages) if rest.is_empty() && pages > 0 => (self.0)(pages),
            _ => Err(FsError::InvalidArgument),
        }
    }
}

fn take(id: CmaId, pages: u32) -> Result<(), FsError> {
    if HELD.lock().len() == MAX_HELD {
        return Err(FsError::NoMemory);
    }
    let request = Request { area: id, count: pages, align: 0, gfp: Gfp::KERNEL, owner: "cma_debug" };
    match contiguous::cma_alloc(&request) {
        // Only the console takes any, so there is still room.
        Ok(taken) => HELD.lock().push(taken),
        Err(CmaError::Blocked { .. } | CmaError::Migration { .. }) => return Err(FsError::Busy),
        Err(_) => return Err(FsError::NoMemory),
    }
    Ok(())
}

fn give_back(id: CmaId, mut pages: u32) -> Result<(), FsError> {
    let mut held = HELD.lock();
    while pages > 0 {
        let Some(newest) = held.iter().rposition(|taken| taken.id() == id) else { break };
        let taken = held.remove(newest);
        let part = taken.count().min(pages);
        pages -= part;
        let rest = memory::with(|mm| mm.cma.release_part(mm.pages, taken, part));
        match rest {
            Some(Ok(None)) | None => {}
            Some(Ok(Some(rest))) => held.push(rest),
            Some(Err(whole)) => {
                held.push(whole);
                log::info!("cma: cma_free_mem: cma partial block");
                break;
            }
        }
    }
    Ok(())
}
