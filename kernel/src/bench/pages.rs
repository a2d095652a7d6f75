//! Pages.

use super::{Error, Instructions, Run, rounded};
use crate::memory;
use ::bench::Meter;
use alloc::vec;
use mm::{Frames, Gfp};
use types::{Order, Pfn};

const NAMES: [&str; 4] =
    ["pages/order-0/pair", "pages/order-3/pair", "pages/order-9/pair", "pages/order-10/pair"];
const ZEROED: &str = "pages/order-0/zeroed-pair";
const MANY: [&str; 2] = ["pages/order-0/1000-taken", "pages/order-0/1000-freed"];
/// Pages that are taken before the first is freed.
const COUNT: u32 = 1000;

/// `alloc_pages`, as a driver calls it.
#[inline(always)]
pub(super) fn alloc_pages(gfp: Gfp, order: Order) -> Result<Frames, Error> {
    memory::alloc_pages(gfp, order).map_err(Error::Pages)
}

/// `__free_pages`.
#[inline(always)]
pub(super) fn free_pages(frames: Frames) {
    memory::free_pages(frames);
}

#[inline(always)]
pub(super) fn pair(gfp: Gfp, order: Order) -> Result<(), Error> {
    let frames = alloc_pages(gfp, order)?;
    free_pages(frames);
    Ok(())
}

/// A pair of calls with a constant order, as in a driver's function.
#[inline(never)]
fn order<const ORDER: u8>() -> Result<(), Error> {
    pair(Gfp::KERNEL, const { Order::new(ORDER).expect("an order") })
}

pub fn run(run: &mut Run<'_, '_>) {
    for (name, call) in NAMES.into_iter().zip([order::<0>, order::<3>, order::<9>, order::<10>]) {
        run.repeat(name, 1001, call);
    }
    run.repeat(ZEROED, 1001, || pair(Gfp::KERNEL | Gfp::__ZERO, Order::ZERO));
    let mut held = vec![0; COUNT as usize];
    run.samples(MANY[0], 21, |meter| Ok(many(meter, &mut held)?.0));
    run.samples(MANY[1], 21, |meter| Ok(many(meter, &mut held)?.1));
}

/// Many pages, then all of them back in the same order: the cost of each.
fn many(meter: &Meter<Instructions>, held: &mut [u32]) -> Result<(u32, u32), Error> {
    let taking = meter.turns(COUNT, |at| {
        held[at as usize] = alloc_pages(Gfp::KERNEL, Order::ZERO)?.into_raw().0.get();
        Ok(())
    })?;
    let freeing = meter.turns(COUNT, |at| {
        let pfn = Pfn::new(held[at as usize]);
        free_pages(Frames::from_raw(pfn, Order::ZERO));
        Ok(())
    })?;
    Ok((rounded(taking, COUNT), rounded(freeing, COUNT)))
}
