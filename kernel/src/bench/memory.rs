//! memset and memcpy.
//!
//! The buffers are pages, through slices, as safe code reaches them.

use super::Run;
use alloc::boxed::Box;
use core::hint::black_box;

#[repr(align(4096))]
struct Page([u8; 4096]);

pub fn run(run: &mut Run<'_, '_>) {
    let (mut to, from) = (Box::new(Page([0; 4096])), Box::new(Page([1; 4096])));
    run.repeat("memset/4K", 101, || {
        black_box(&mut to.0).fill(black_box(0x5a));
        Ok(())
    });
    run.repeat("memcpy/4K", 101, || {
        black_box(&mut to.0).copy_from_slice(black_box(&from.0));
        Ok(())
    });
}
