//! Links anew when the linker script has changed, which cargo can't know by itself, and tells it how large each image may
//! be.

/// Bytes of text, data and BSS of the image that is flashed.
const IMAGE_LIMIT: u32 = 512 << 10;
/// The same of the image with the benchmarks, which is only ever emulated.
const BENCH_IMAGE_LIMIT: u32 = 4 << 20;

fn main() {
    println!("cargo::rerun-if-changed=../linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bin=kernel=--defsym=__image_limit={IMAGE_LIMIT}");
        if std::env::var_os("CARGO_FEATURE_BENCH").is_some() {
            println!("cargo::rustc-link-arg-bin=kernel-bench=--defsym=__image_limit={BENCH_IMAGE_LIMIT}");
        }
    }
}
