//! Addresses that the linker script defines, under Linux's names.

use arch_armv7::kmap::{Image, Part};
use hal::Prot;
use types::VirtAddr;

macro_rules! symbols {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name() -> VirtAddr {
            unsafe extern "C" {
                static $symbol: u8;
            }
            VirtAddr::new((&raw const $symbol).addr() as u32)
        }
    )*};
}

symbols! {
    /// First byte of the image.
    text = _text;
    /// End of the code.
    etext = _etext;
    /// First byte of the memory manager's code.
    mm_text = __mm_text_start;
    /// Its end.
    mm_text_end = __mm_text_end;
    /// First byte of the constants.
    rodata = __start_rodata;
    /// End of the constants.
    rodata_end = __end_rodata;
    /// First byte of what is given back after boot; a page border.
    init_begin = __init_begin;
    /// Its end; a page border.
    init_end = __init_end;
    /// End of the code in it.
    init_etext = _einittext;
    /// First byte of the initialised data.
    data = _sdata;
    /// Its end, and that of the image file.
    edata = _edata;
    /// First byte of the zeroed data.
    bss_start = __bss_start;
    /// Its end; stacks follow.
    bss_stop = __bss_stop;
    /// End of everything; a page border.
    end = _end;
    /// The page below the boot stack.
    boot_stack_guard = __boot_stack_guard;
    /// The page below the overflow stack.
    overflow_stack_guard = __overflow_stack_guard;
    /// End of the stack for what happens when another one overflows.
    overflow_stack_top = __overflow_stack_top;
    /// The first-level table.
    swapper_pg_dir = swapper_pg_dir;
}

/// The parts of the image that are not read-write.
#[must_use]
pub fn parts() -> [Part; 5] {
    let page_end = |addr: VirtAddr| VirtAddr::new((addr.get() + 0xfff) & !0xfff);
    let part = |start, end, prot| Part { start, end: page_end(end), prot };
    let guard = |page: VirtAddr| part(page, VirtAddr::new(page.get() + 1), None);
    [
        part(text(), etext(), Some(Prot::EXEC)),
        part(rodata(), rodata_end(), Some(Prot::empty())),
        part(init_begin(), init_etext(), Some(Prot::EXEC)),
        guard(boot_stack_guard()),
        guard(overflow_stack_guard()),
    ]
}

/// The image as the plan of the final tables wants it.
#[must_use]
pub fn image(parts: &[Part]) -> Image<'_> {
    Image { start: swapper_pg_dir(), end: end(), parts }
}
