//! Activates the CMA areas that early memory set aside.

use super::early::Early;
use super::with;
use alloc::vec;
use mm::cma::CmaId;
use types::{PAGE_SIZE, Pfn};

/// Makes every area ordinary memory for what can move. The heap and the memory manager are up.
pub fn activate(early: &Early) {
    for (index, area) in early.setup.cma.iter().enumerate() {
        let (first, count) = (Pfn::containing(area.range.base()), area.range.size() / PAGE_SIZE);
        let declared = with(|mm| {
            let id = mm.cma.declare(area.name, first, count, area.order_per_bit)?;
            let pointer = mm.cma.area(id).map_or(0, |area| core::ptr::from_ref(area).addr() as u32);
            mm.cma.set_pointer(id, pointer);
            Ok::<_, mm::cma::CmaError>((id, mm.cma.bitmap_words(id)))
        });
        let result = declared.and_then(Result::ok).map(|(id, words)| fill(id, words));
        if result == Some(true) && early.setup.cma.default_index() == Some(index) {
            with(|mm| mm.default_cma = mm.cma.area_of(first));
        }
    }
}

/// Gives the area its bitmap; whether it is active now. What went wrong is in the log.
fn fill(id: CmaId, words: usize) -> bool {
    let bitmap = vec![0u32; words].leak();
    with(|mm| mm.cma.activate(mm.pages, id, bitmap).is_ok()).unwrap_or(false)
}
