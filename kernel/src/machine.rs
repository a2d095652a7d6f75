//! The one value of each thing that there is one of: the fixmap over the static page, symbols of the linker script.
//!
//! Lock order (invariant 11), outermost first: [`FIXMAP`], then the log's lock.

use arch_armv7::cpu::IrqLock;
use arch_armv7::fixmap::{self, Fixmap};
use arch_armv7::tlb::Tlb;

static FIXMAP_TABLE: fixmap::Table = fixmap::Table::new();

/// The fixmap.
pub static FIXMAP: IrqLock<Fixmap<Tlb>> = IrqLock::new(Fixmap::new(&FIXMAP_TABLE, Tlb));

/// The fixmap's second-level tables, for linking into a first-level table.
pub fn fixmap_table() -> &'static fixmap::Table {
    &FIXMAP_TABLE
}
