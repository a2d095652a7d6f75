//! Links the image with the benchmarks: the kernel as it is, and one more command on its console.
//!
//! On the host this package is empty, so that whole-workspace commands work.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
use kernel as _;

/// The image runs on the target; here is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("kernel-bench: `cargo run -- bench` builds and runs it");
}
