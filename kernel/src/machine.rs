//! The one value of each thing that there is one of: the fixmap over the static page, symbols of the linker script.
//!
//! Lock order (invariant 11), outermost first: [`FIXMAP`], then the log's lock.

use arch_armv7::cpu::IrqLock;
use arch_armv7::fixmap::{self, Fixmap};
use arch_armv7::tlb::Tlb;
use dt::{BootData, COMMAND_LINE_SIZE, CommandLine, CommandLineError};
use spin::{Mutex, MutexGuard};

static FIXMAP_TABLE: fixmap::Table = fixmap::Table::new();

/// The fixmap.
pub static FIXMAP: IrqLock<Fixmap<Tlb>> = IrqLock::new(Fixmap::new(&FIXMAP_TABLE, Tlb));

/// The fixmap's second-level tables, for linking into a first-level table.
pub fn fixmap_table() -> &'static fixmap::Table {
    &FIXMAP_TABLE
}

static COMMAND_LINE: Mutex<[u8; COMMAND_LINE_SIZE]> = Mutex::new([0; COMMAND_LINE_SIZE]);

/// The kernel command line, copied to where it stays: ATAGs lie in memory that the page allocator gets. Called once.
pub fn command_line(data: &BootData<'static>) -> (CommandLine<'static>, Option<CommandLineError>) {
    let (line, cut) = data.command_line();
    let copy = MutexGuard::leak(COMMAND_LINE.lock());
    let text = line.text().as_bytes();
    copy[..text.len()].copy_from_slice(text);
    (CommandLine::new(copy).0, cut)
}
