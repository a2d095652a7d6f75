//! The runner: builds the image, picks machine and device tree, runs QEMU and talks to the serial line.
//!
//! ```text
//! cli ─ Request ─ plan ──── args ──────────┐
//!                  └ files (fdt, firmware, │
//! image ── zImage ─┘        uboot)         v
//!                                       machine ── bytes ── session (protocol, lines, symbols) ── terminal
//! ```
//! The harness in `tests/` uses the same parts, with a view of its own in the terminal's place.

#![deny(unsafe_code)]

pub mod bench;
pub mod board;
pub mod cli;
pub mod commands;
pub mod elf;
pub mod error;
pub mod fdt;
pub mod files;
pub mod firmware;
pub mod image;
pub mod lines;
pub mod machine;
pub mod map;
pub mod plan;
pub mod protocol;
pub mod request;
pub mod run;
pub mod screenshot;
pub mod session;
pub mod setup;
pub mod size;
pub mod symbols;
pub mod terminal;
pub mod trace;
pub mod uboot;
pub mod virtio;
