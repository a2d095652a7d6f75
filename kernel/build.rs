//! Links anew when the linker script has changed, which cargo can't know by itself.

fn main() {
    println!("cargo::rerun-if-changed=../linker.ld");
}
