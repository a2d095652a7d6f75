//! `cargo run`: the runner's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    qemu::cli::main()
}
