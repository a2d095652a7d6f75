use super::*;
use crate::board::{Board, boards_dir};
use crate::fdt::Tree;

fn request(board: &str) -> Request {
    Request::new(Board::load(&boards_dir(), board).unwrap())
}

fn line(request: Request) -> String {
    shell_line(&Plan::new(request).unwrap().args())
}

/// The line without the folder of the run's files.
fn short(request: Request) -> String {
    let plan = Plan::new(request).unwrap();
    let line = shell_line(&plan.args()).replace(&format!("{}/", plan.dir.display()), "RUN/");
    line.replace(&format!("{}/", image::work_dir().display()), "")
}

const VIRTIO: &str = "-drive if=none,id=vd0,format=raw,file=RUN/virtio.img,snapshot=on \
     -device virtio-blk-device,drive=vd0 -netdev user,id=net0,tftp=RUN/tftp \
     -device virtio-net-device,netdev=net0 -device virtio-rng-device";

const CONSOLE: &str = "-display none -monitor none -serial stdio -nic none";

#[test]
fn vexpress_gets_its_tree_in_r2() {
    assert_eq!(
        short(request("vexpress-a7")),
        format!(
            "qemu-system-arm -M vexpress-a15 -cpu cortex-a7 -m 128M -smp 1 {CONSOLE} -audiodev none,id=quiet \
             -global pl041.audiodev=quiet {VIRTIO} -device loader,file=zImage,addr=0x80008000,force-raw=on \
             -kernel RUN/shim.bin -dtb RUN/board.dtb"
        )
    );
}

#[test]
fn a_display_is_only_where_there_is_one() {
    let window = line(Request { display: true, ..request("vexpress-a7") });
    assert!(!window.contains("-display") && window.contains("-serial stdio"), "{window}");
    let file = Some("x.png".into());
    assert!(short(Request { screenshot: file.clone(), ..request("vexpress-a7") }).contains(CONSOLE));
    for asked in
        [Request { display: true, ..request("virt") }, Request { screenshot: file, ..request("ssd202") }]
    {
        let line = Plan::new(asked).unwrap_err().to_string();
        assert!(line.contains("it has no display"), "{line}");
    }
}

#[test]
fn vexpress_without_a_tree_gets_atags_and_firmware() {
    let mut request = request("vexpress-a7");
    request.tree = TreeChoice::None;
    request.cmdline = Some("cma=8M it's".into());
    request.devices = false;
    let line = short(request);
    assert!(line.contains("loader,file=RUN/firmware.bin,addr=0x80008000"), "{line}");
    assert!(line.ends_with(r"-kernel RUN/shim.bin -append 'cma=8M it'\''s'"), "{line}");
}

#[test]
fn ssd202_boots_firmware_at_the_seeds_address() {
    assert_eq!(
        short(request("ssd202")),
        format!(
            "qemu-system-arm -M raspi2b {CONSOLE} -accel tcg,thread=single \
             -device loader,file=RUN/firmware.bin,addr=0x20008000,force-raw=on -kernel RUN/shim.bin"
        )
    );
    let without = short(Request { tree: TreeChoice::None, ..request("ssd202") });
    assert!(without.contains("file=RUN/firmware.bin,addr=0x20008000"), "{without}");
    assert!(without.ends_with("-device loader,file=RUN/atags.bin,addr=0x20000100,force-raw=on"), "{without}");
}

#[test]
fn virt_has_qemus_tree_and_u_boot() {
    let plain = short(request("virt"));
    assert!(plain.contains("-device loader,file=zImage,addr=0x40008000"), "{plain}");
    assert!(plain.ends_with("-kernel RUN/shim.bin -append 'console=ttyAMA0 cma=16M'"), "{plain}");
    let without = short(Request { tree: TreeChoice::None, ..request("virt") });
    assert!(without.contains("file=RUN/firmware.bin,addr=0x40008000"), "{without}");
    assert!(without.ends_with("-device loader,file=RUN/atags.bin,addr=0x40000100,force-raw=on"), "{without}");
    assert!(!short(Request { devices: false, ..request("virt") }).contains("virtio"), "none were asked for");
    let disk = short(Request { disk: Some("a,b.img".into()), ..request("virt") });
    assert!(disk.contains("file=a,,b.img -device virtio-blk-device"), "{disk}");
    let u_boot = short(Request { u_boot: true, ..request("virt") });
    assert!(
        u_boot.contains("qemu_arm/u-boot.bin -drive if=none,id=disk,format=raw,file=RUN/disk.img"),
        "{u_boot}"
    );
    assert!(!u_boot.contains("-kernel"), "{u_boot}");
}

#[test]
fn options_reach_the_line() {
    let line = line(Request {
        mem: Size::parse("1G").ok(),
        smp: Some(2),
        icount: true,
        gdb: true,
        once: true,
        machine_options: Some("virtualization=on".into()),
        ..request("virt")
    });
    for part in ["-M virt,virtualization=on", "-m 1G", "-smp 2", "-no-reboot -icount shift=0,sleep=off -s -S"]
    {
        assert!(line.contains(part), "{part} not in {line}");
    }
}

#[test]
fn what_a_board_cannot_do_is_one_line() {
    let size = Size::parse("4G").ok();
    for (request, expected) in [
        (
            Request { mem: size, ..request("ssd202") },
            "--mem is not possible on board 'ssd202': its RAM is fixed",
        ),
        (
            Request { smp: Some(2), ..request("ssd202") },
            "--smp is not possible on board 'ssd202': its CPUs are fixed",
        ),
        (Request { mem: size, ..request("virt") }, "bad size '4G': the board can have at most 3G"),
        (Request { smp: Some(0), ..request("virt") }, "--smp 0: board 'virt' has 1 to 8 CPUs"),
        (
            Request { u_boot: true, ..request("vexpress-a7") },
            "--loader u-boot is not possible on board 'vexpress-a7': there is no U-Boot for it",
        ),
        (
            Request { u_boot: true, tree: TreeChoice::None, ..request("virt") },
            "--no-dtb is not possible on board 'virt': U-Boot hands over a device tree",
        ),
        (
            Request { append: Some("a\0".into()), ..request("virt") },
            "the kernel command line has a NUL in it",
        ),
    ] {
        assert_eq!(Plan::new(request).unwrap_err().to_string(), expected);
    }
}

#[test]
fn command_lines_replace_and_append() {
    let cmdline = |request| Plan::new(request).unwrap().cmdline().to_owned();
    let more = Some("memblock=debug".to_owned());
    assert_eq!(
        cmdline(Request { append: more.clone(), ..request("virt") }),
        "console=ttyAMA0 cma=16M memblock=debug"
    );
    let replaced = Request { cmdline: Some("a".into()), append: more.clone(), ..request("virt") };
    assert_eq!(cmdline(replaced), "a memblock=debug");
    let empty = Request { cmdline: Some(String::new()), append: more, ..request("virt") };
    assert_eq!(cmdline(empty), "memblock=debug");
}

#[test]
fn a_blob_brings_its_command_line() {
    let mut tree = Tree::parse(&dtoolkit::model::DeviceTree::new().to_dtb()).unwrap();
    tree.set_bootargs("from the blob");
    let blob = tree.to_blob();
    let with_blob = Request { tree: TreeChoice::Blob(blob), ..request("vexpress-a7") };
    assert_eq!(Plan::new(with_blob.clone()).unwrap().cmdline(), "from the blob");
    let replaced = Request { cmdline: Some("mine".into()), ..with_blob };
    assert_eq!(Plan::new(replaced).unwrap().cmdline(), "mine");
}

#[test]
fn different_requests_never_share_files() {
    let dir = |request| Plan::new(request).unwrap().dir;
    let base = dir(request("virt"));
    assert_eq!(base, dir(Request { icount: true, ..request("virt") }), "the files are the same");
    for other in [
        Request { append: Some("x".into()), ..request("virt") },
        Request { smp: Some(2), ..request("virt") },
        Request { u_boot: true, ..request("virt") },
        Request { tree: TreeChoice::None, ..request("virt") },
        Request { tree: TreeChoice::Raw(vec![1]), ..request("virt") },
        Request { mem: Size::parse("1G").ok(), ..request("virt") },
    ] {
        assert_ne!(base, dir(other));
    }
}

#[test]
fn words_are_quoted_only_where_a_shell_needs_it() {
    for (word, quoted) in [
        ("-m", "-m"),
        ("loader,file=/a/b,addr=0x1", "loader,file=/a/b,addr=0x1"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("it's", r"'it'\''s'"),
    ] {
        assert_eq!(shell_word(word), quoted);
    }
}
