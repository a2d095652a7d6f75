//! The command line's switches for guards and fault injection.

use dt::{CommandLine, Param};
use mm::FaultAttr;
use mm::pages::{Guards, PageAllocator};
use mm::slab::{SlabOptions, SlubDebug};

/// A switch as Linux's `kstrtobool` reads it.
fn is_on(command_line: &CommandLine<'_>, name: &str) -> bool {
    let value = command_line.last(name).and_then(|arg| arg.value);
    value.is_some_and(|value| matches!(value, "1" | "y" | "Y" | "on"))
}

fn fault(command_line: &CommandLine<'_>, name: &str) -> Option<FaultAttr> {
    let value = command_line.last(name)?.value?;
    let parsed = FaultAttr::parse(value);
    if parsed.is_err() {
        log::warn!("FAULT_INJECTION: failed to parse arguments: {name}={value}");
    }
    parsed.ok()
}

/// `coherent_pool=`, or what Linux takes without it.
pub fn coherent_pool(command_line: &CommandLine<'_>) -> u32 {
    let given = command_line.params().filter_map(|param| match param {
        Ok(Param::CoherentPool(bytes)) => Some(bytes),
        _ => None,
    });
    given.last().unwrap_or(dma::Config::default().atomic_pool)
}

/// `page_owner=on`.
pub fn page_owner(command_line: &CommandLine<'_>) -> bool {
    is_on(command_line, "page_owner")
}

/// `init_on_alloc=`, `init_on_free=`, `page_poison=`, `fail_page_alloc=`.
pub fn apply(command_line: &CommandLine<'_>, pages: &mut PageAllocator<'static>) {
    pages.set_guards(Guards {
        init_on_alloc: is_on(command_line, "init_on_alloc"),
        init_on_free: is_on(command_line, "init_on_free"),
        page_poison: is_on(command_line, "page_poison"),
    });
    pages.set_fail_page_alloc(fault(command_line, "fail_page_alloc").unwrap_or_default().sparing());
}

/// `init_on_alloc=`, `init_on_free=`, `slub_debug`, `failslab=`.
pub fn slab(command_line: &CommandLine<'_>) -> SlabOptions {
    let slub_debug = command_line.last("slub_debug").map(|arg| arg.value.unwrap_or_default());
    SlabOptions {
        init_on_alloc: is_on(command_line, "init_on_alloc"),
        init_on_free: is_on(command_line, "init_on_free"),
        slub_debug: slub_debug.and_then(SlubDebug::parse).unwrap_or_default(),
        failslab: fault(command_line, "failslab").unwrap_or_default().sparing(),
        hooks: super::hooks::slab_hooks(),
    }
}
