//! Trace events: Linux's tracepoints, behind static branches, as `defmt` frames.
//!
//! ```text
//! mm, dma, kernel: trace::mm_page_alloc(..)
//!      │ off: a nop                   on: a branch, patched into the text (arch_armv7::jump_label)
//!      ▼
//! emit: a defmt frame: number of its string, time, values ─▶ ring in memory ─▶ UART, or the runner
//! ```
//!
//! An event is a function of its name; what it costs when off is one NOP (two where it needs alignment). Its text is a
//! `defmt` format string that stays on the host: `GROUP:NAME FIELD={..} ..`, fields by Linux's names, numbers as they are:
//! the host gives names to flags, reasons and addresses. On the host, where there are no frames, events are texts of the
//! same form for the tests ([`capture`]).
//!
//! The [`ring`] never blocks: an event that finds it full is dropped, and counted. It is [drained](ring) by whoever
//! the kernel says: a UART's interrupt and the idle loop, or the runner, which reads the guest's memory.
//!
//! `unsafe` is confined to `target.rs` and `value.rs`, the writer of the ring, and the names of the strings' symbols.
//!
//! Source: Linux 6.1 `include/trace/events/{kmem,cma,migrate,page_isolation,irq}.h` (names and fields); 6.12's `dma.h`;
//! the `defmt` book (frames).
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

#[macro_use]
mod macros;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod control;
mod events;
#[cfg(not(all(target_arch = "arm", target_os = "none")))]
mod host;
pub mod ring;
pub mod select;
#[cfg(all(target_arch = "arm", target_os = "none"))]
mod target;
#[cfg(test)]
mod tests;
mod value;

#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use control::Event;
pub use events::*;
#[cfg(not(all(target_arch = "arm", target_os = "none")))]
pub use host::{Event, Shape, capture, capture_events};
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use target::{Ring, TRACE_RING, attach, call_reader_at, read, set_hardirq};
