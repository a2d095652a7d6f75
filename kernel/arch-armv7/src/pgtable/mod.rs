//! Translation tables in the ARMv7 short-descriptor format, for the kernel and for address spaces.
//!
//! Portable: nothing here executes a CP15 instruction, so the host tests walk the tables with `testkit`'s own MMU.
//! Keeps invariant 10 (nothing is writable and executable), and break-before-make: a valid entry is made invalid,
//! published, and its TLB entries are dropped before another valid entry takes its place.
//!
//! ```text
//! KernelTable  swapper_pg_dir, 16 KiB, all of TTBR1's span   global, second-level tables stay
//! UserTable    one page, TTBR0's 1 GiB                       by ASID, second-level tables come and go
//!      \___ Tables: pieces of at most 1 MiB -> section, or 64 KiB large pages, or 4 KiB small pages
//! ```
//!
//! Sources: ARM DDI 0406C, B3.5 (formats), B3.10 (maintenance requirements).

mod change;
pub mod desc;
mod kernel;
mod memory;
mod protect;
mod tables;
mod user;

pub use kernel::{KERNEL_ROOT_SIZE, KernelTable};
pub use user::UserTable;
