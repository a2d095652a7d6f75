//! Links the image: all code is in the library, whose `kernel_entry` start.S calls.
//!
//! On the host this package is empty, so that whole-workspace commands work.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
use kernel as _;

/// The image runs on the target; here is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("kernel: build the image with `cargo image`, run it with `cargo run`");
}
