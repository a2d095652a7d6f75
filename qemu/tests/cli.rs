//! The program as people and scripts call it: what it prints and its exit status. None of this needs the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn qemu(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qemu"));
    command.args(args);
    command
}

struct Said {
    status: i32,
    out: String,
    err: String,
}

fn said(mut command: Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// One clear line on stderr, nothing on stdout, status 2.
fn refused(args: &[&str], line: &str) {
    let said = said(qemu(args));
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
    assert_eq!(said.err, format!("error: {line}\n"), "{args:?}");
}

#[test]
fn boards_are_listed() {
    for board in ["vexpress-a7", "ssd202", "virt"] {
        let said = said(qemu(&["boards"]));
        assert_eq!((said.status, said.err.as_str()), (0, ""));
        assert_eq!(said.out.lines().filter(|line| line.starts_with(board)).count(), 1, "{}", said.out);
    }
}

#[test]
fn a_dry_run_prints_one_line_and_needs_no_tools() {
    let empty = tempfile::tempdir().unwrap();
    for args in
        [&["--dry-run"][..], &["boot", "--dry-run", "--exec", "free"], &["--board", "virt", "--dry-run"]]
    {
        let mut command = qemu(args);
        command.env("PATH", empty.path());
        let said = said(command);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{args:?}");
        assert!(said.out.starts_with("qemu-system-arm -M v"), "{}", said.out);
        assert_eq!(said.out.lines().count(), 1);
    }
}

#[test]
fn boot_is_the_default_subcommand() {
    let (with, without) = (said(qemu(&["boot", "--dry-run"])), said(qemu(&["--dry-run"])));
    assert_eq!(with.out, without.out);
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    refused(&["--board", "pdp11"], "unknown board 'pdp11': there are ssd202, vexpress-a7, virt");
    refused(&["--mem", "lots"], "bad size 'lots': not a number with K, M or G, such as 128M");
    refused(&["--mem", "-1M"], "bad size '-1M': not a number with K, M or G, such as 128M");
    refused(&["--mem", "8G"], "bad size '8G': the board can have at most 2G");
    refused(
        &["--board", "ssd202", "--mem", "64M"],
        "--mem is not possible on board 'ssd202': its RAM is fixed",
    );
    refused(&["--smp", "9"], "--smp 9: board 'vexpress-a7' has 1 to 4 CPUs");
    refused(
        &["--loader", "u-boot"],
        "--loader u-boot is not possible on board 'vexpress-a7': there is no U-Boot for it",
    );
    refused(&["--dtb", "/no/such.dtb"], "can't read /no/such.dtb: No such file or directory (os error 2)");
    refused(&["--script", "/no/such"], "can't read /no/such: No such file or directory (os error 2)");
    refused(
        &["bench", "--check", "/no/such.json"],
        "can't read /no/such.json: No such file or directory (os error 2)",
    );
    refused(
        &["image", "--board", "pdp11", "--out", "/tmp"],
        "unknown board 'pdp11': there are ssd202, vexpress-a7, virt",
    );
}

#[test]
fn a_corrupt_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("odd.dtb");
    let name = file.to_str().unwrap();
    let header = [&0xd00d_feed_u32.to_be_bytes()[..], &4096_u32.to_be_bytes(), &[0; 32]].concat();
    for (bytes, reason) in [
        (&b""[..], "bad device tree: Invalid FDT length at offset 0"),
        (
            b"/dts-v1/; / { model = \"a text, not a blob\"; };",
            "bad device tree: Invalid FDT magic number at offset 0",
        ),
        (&header, "bad device tree: 40 bytes where its header says 4096"),
    ] {
        fs::write(&file, bytes).unwrap();
        refused(&["--dtb", name], &format!("{name}: {reason}"));
    }
}

#[test]
fn usage_errors_have_status_2_and_help_0() {
    for args in [
        &["--nonsense"][..],
        &["frobnicate"],
        &["--dtb", "a", "--no-dtb"],
        &["--smp", "two"],
        &["image"],
        &["bench", "all"],
    ] {
        let said = said(qemu(args));
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
    let help = said(qemu(&["--help"]));
    assert_eq!(help.status, 0);
    for option in
        "--board --mem --smp --append --cmdline --dtb --no-dtb --exec --script --quiet --icount --timeout \
                   --gdb --loader --screenshot --display --dry-run"
            .split_whitespace()
    {
        assert!(help.out.contains(option), "{option} is not in the help");
    }
}

#[test]
fn a_missing_or_old_qemu_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = qemu(&["--exec", "free"]);
        command.env("PATH", dir.path());
        said(command)
    };
    let missing = run();
    assert_eq!((missing.status, missing.out.as_str()), (2, ""));
    assert!(missing.err.starts_with("error: missing: qemu-system-arm, dtc; no known package manager here"));
    assert_eq!(missing.err.lines().count(), 1);
    for (program, body) in [("qemu-system-arm", "echo QEMU emulator version 5.2.0"), ("dtc", ":")] {
        let file = dir.path().join(program);
        fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let old = run();
    assert_eq!(old.status, 2);
    let line = "error: QEMU 7.0 or newer is needed; qemu-system-arm says: QEMU emulator version 5.2.0\n";
    assert_eq!(old.err, line);
}
