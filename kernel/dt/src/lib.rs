//! Device tree, kernel command line and boot arguments, turned into plain data.
//!
//! ```text
//! r2, image end, firmware.bin --boot--> BootData = Tree (flat, node, value) + Atags (atag)
//!     |-- memory()            RAM                          memory
//!     |-- tree.reserved_memory(), tree.reservations()      reserved, flat
//!     |-- command_line() -> params()                       cmdline, param, parse, heap, number
//!     |-- tree.compatible(..) -> mmio, interrupts, DMA     address, interrupt
//!     `-- tree.stdout(), tree.entry("cpus/name")           console, listing
//! ```
//!
//! Nothing here allocates, logs, panics or keeps state: values borrow from the bytes they were read from, errors
//! are enums whose `Display` is the line to log. Input may be anything (invariant 12); what Linux 6.1 accepts is
//! accepted with Linux's meaning.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod address;
mod atag;
mod boot;
mod cmdline;
mod console;
pub mod firmware;
mod flat;
mod heap;
mod interrupt;
mod listing;
mod memory;
mod node;
mod number;
mod param;
mod parse;
mod reserved;
mod value;

pub use address::{AddressError, DmaRange};
pub use atag::{Atag, AtagError, Atags};
pub use boot::{BootData, Candidates, MAX_BANKS, NoTree, Passed, Source};
pub use cmdline::{Arg, Args, COMMAND_LINE_SIZE, CommandLine, CommandLineError, Unknown};
pub use console::StdoutPath;
pub use flat::{Block, FDT_MAGIC, MAX_DEPTH, Tree, TreeError};
pub use heap::{MmaHeap, MmapReserved, OffsetWindow};
pub use interrupt::{Interrupt, InterruptError, MAX_INTERRUPT_CELLS};
pub use listing::{Entry, File};
pub use memory::{Initrd, MemoryRange};
pub use node::{Children, Lineage, Node, Properties, Subtree};
pub use number::{memparse, simple_strtoull};
pub use param::{
    CmaParam, CmaWindow, Console, Earlycon, MemParam, Param, ParamError, Params, Reason, is_known,
};
pub use reserved::{ReservedError, ReservedNode};
pub use value::{CellCounts, Pairs, Property, Strings};
