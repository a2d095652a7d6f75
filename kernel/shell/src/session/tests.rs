//! The console from the outside: bytes in, bytes out.

use super::*;
use crate::{
    Control, CrashKind,
    dmesg::{Record, Ring},
    selftest::{NotOk, Test},
};
use alloc::{format, rc::Rc, string::String};
use core::cell::RefCell;

const TESTS: &[Test] = &[
    Test { name: "mm::good", run: || Ok(()) },
    Test { name: "mm::bad", run: || Err(NotOk::Failed("3 != 4".into())) },
    Test { name: "smp", run: || Err(NotOk::Ignored("one CPU")) },
];

#[derive(Default)]
struct Machine {
    input: VecDeque<u8>,
    log: Ring<4096>,
    acts: Vec<String>,
    rests: u32,
    /// Typed once this many records of the log have been read: the user during a command.
    late: Option<(u64, &'static [u8])>,
}

impl System for Machine {
    fn read_byte(&mut self) -> Option<u8> {
        self.input.pop_front()
    }

    fn poweroff(&mut self) -> FsError {
        self.acts.push("poweroff".into());
        FsError::NoDevice
    }

    fn reboot(&mut self) -> FsError {
        self.acts.push("reboot".into());
        FsError::NoDevice
    }

    fn crash(&mut self, kind: CrashKind) -> FsError {
        self.acts.push(format!("{kind:?}"));
        FsError::InvalidArgument
    }

    fn log_record(&mut self, seq: u64, text: &mut String) -> Option<Record> {
        if let Some((_, keys)) = self.late.take_if(|(at, _)| *at == seq) {
            self.input.extend(keys);
        }
        let mut bytes = Vec::new();
        let record = self.log.read(seq, &mut |part| bytes.extend_from_slice(part))?;
        *text = String::from_utf8(bytes).ok()?;
        Some(record)
    }

    fn rest(&mut self) {
        self.rests += 1;
    }

    fn tests(&self) -> &'static [Test] {
        TESTS
    }
}

struct Console {
    shell: Shell,
    machine: Machine,
    written: Rc<RefCell<Vec<String>>>,
}

impl Console {
    fn new() -> Self {
        let (mut vfs, written) = (Vfs::new(), Rc::new(RefCell::new(Vec::new())));
        vfs.add_read("/proc/cmdline", |out| Ok(out.write_str("cma=8M\n")?)).unwrap();
        vfs.add_read("/proc/blob", |out| Ok(out.write_bytes(&[0, ETX, b'\r', 0xff])?)).unwrap();
        vfs.add_read("/proc/large", |out| Ok((0..70).try_for_each(|n| writeln!(out, "{n:1000}"))?)).unwrap();
        let sink = Rc::clone(&written);
        let write = move |text: &str| {
            sink.borrow_mut().push(text.into());
            Ok(())
        };
        vfs.add("/proc/knob", Control(|_: &mut dyn Output| Err(FsError::Io), write)).unwrap();
        Self { shell: Shell::new(vfs), machine: Machine::default(), written }
    }

    fn send(&mut self, bytes: &[u8]) -> String {
        self.machine.input.extend(bytes);
        let mut out = Capture::default();
        self.shell.poll(&mut self.machine, &mut out).unwrap();
        String::from_utf8_lossy(&out.0).into_owned()
    }

    /// Runs a line as the runner does; its output and status.
    fn exec(&mut self, line: &str) -> (String, u8) {
        let answer = self.send(format!("\x16{line}\n").as_bytes());
        let framed = answer.strip_prefix('\x02').expect("STX");
        let (output, status) = framed.split_once('\x03').expect("ETX");
        (output.into(), status.strip_suffix('\n').expect("newline").parse().expect("status"))
    }

    fn says(&mut self, line: &str, output: &str, status: u8) {
        assert_eq!(self.exec(line), (output.into(), status), "{line}");
    }
}

#[test]
fn a_person_sees_prompt_echo_and_output() {
    let mut console = Console::new();
    let mut out = Capture::default();
    console.shell.start(&mut out).unwrap();
    assert!(out.0 == b"\x05# ");
    let screen = console.send(b"cat /proc/cmdline\r");
    assert!(screen.starts_with("cat /proc/cmdline\ncma=8M\n# "), "{screen:?}");
    let screen = console.send(b"half\x03");
    assert!(screen.starts_with("half^C\n# "), "{screen:?}");
    assert_eq!(console.shell.status(), 130);
}

#[test]
fn files() {
    let mut console = Console::new();
    console.says("cat /proc/cmdline proc/cmdline", "cma=8M\ncma=8M\n", 0);
    console.says("cat /proc/nope", "cat: /proc/nope: No such file\n", 1);
    console.says("cat /proc/nope /proc/cmdline", "cat: /proc/nope: No such file\ncma=8M\n", 1);
    console.says("cat /proc", "cat: /proc: Is a directory\n", 1);
    console.says("cat /proc/knob", "cat: /proc/knob: Input/output error\n", 1);
    console.says("cat", "cat: usage: cat PATH...\n", 2);
    console.says("ls", "proc\n", 0);
    console.says("ls /proc", "blob\ncmdline\nknob\nlarge\n", 0);
    console.says("ls /nope", "ls: /nope: No such file\n", 1);
    console.says("echo 1 2  3 > /proc/knob; echo $?", "0\n", 0);
    console.says("echo -n x>/proc/knob", "", 0);
    console.says("cat /proc/nope > /proc/knob", "cat: /proc/nope: No such file\n", 1);
    assert_eq!(*console.written.borrow(), ["1 2 3\n", "x"]);
    console.says("echo x > /proc/cmdline", "echo: /proc/cmdline: Permission denied\n", 1);
    console.says("cat /proc/large > /proc/knob", "cat: File too large\n", 1);
    assert_eq!(console.written.borrow().len(), 2);
}

#[test]
fn lines_and_statuses() {
    let mut console = Console::new();
    console.says("echo a; nope; echo $?", "a\nsh: nope: Command not found\n127\n", 0);
    console.says("nope && echo a", "sh: nope: Command not found\n", 127);
    console.says("nope || echo b $?", "sh: nope: Command not found\nb 127\n", 0);
    console.says("# nothing", "", 0);
    console.says("echo a; echo 'b", "sh: Syntax error: unterminated '\n", 2);
    console.says("", "", 2);
    console.says(&"x".repeat(MAX_LINE + 1), "sh: Line too long\n", 2);
    assert_eq!(console.send(b"\x16\xff\n"), "\x02sh: Line is not UTF-8\n\x032\n");
}

/// The machine has time for itself after each command, failed ones and those of one line too.
#[test]
fn rests_between_commands() {
    let mut console = Console::new();
    console.exec("echo a; nope && echo b; cat /proc/nope");
    assert_eq!(console.machine.rests, 3);
    console.send(b"echo a\r\x16echo b\n");
    assert_eq!(console.machine.rests, 5);
}

#[test]
fn binary_output_stays_inside_the_frame() {
    let mut console = Console::new();
    let mut out = Capture::default();
    console.machine.input.extend(b"\x16cat /proc/blob\n");
    console.shell.poll(&mut console.machine, &mut out).unwrap();
    assert_eq!(out.0, b"\x02\x00\x10\x43\x10\x4d\xff\x030\n");
}

#[test]
fn machine_commands() {
    let mut console = Console::new();
    console.says("poweroff", "poweroff: No such device\n", 1);
    console.says("poweroff now", "poweroff: usage: poweroff\n", 2);
    console.says("reboot", "reboot: No such device\n", 1);
    console.says("crash double-free", "crash: double-free: Invalid argument\n", 1);
    console.says("crash test", "crash: test: Invalid argument\n", 1);
    console.says("crash", "crash: usage: crash panic|abort|undef|stack|double-free|object-double-free|page-after-free|object-after-free|object-overrun\n", 2);
    assert_eq!(console.machine.acts, ["poweroff", "reboot", "DoubleFree"]);
    console.machine.log.push(0, 6, format_args!("Booting Linux"));
    console.machine.log.push(1_500_000_000, 6, format_args!("two\nlines"));
    console.says("dmesg", "[    0.000000] Booting Linux\n[    1.500000] two\n[    1.500000] lines\n", 0);
    console.says("free", "free: /proc/meminfo: No such file\n", 1);
}

#[test]
fn selftests() {
    let mut console = Console::new();
    let bad = "ktest: mm::bad ... FAILED: 3 != 4\n";
    let (good, smp) = ("ktest: mm::good ... ok\n", "ktest: smp ... ignored: one CPU\n");
    console.says("selftest", &format!("{good}{bad}{smp}ktest: 1 passed; 1 failed; 1 ignored\n"), 1);
    console.says("selftest smp", &format!("{smp}ktest: 0 passed; 0 failed; 1 ignored\n"), 0);
    console.says("selftest mm::", &format!("{good}{bad}ktest: 1 passed; 1 failed; 0 ignored\n"), 1);
    console.says("selftest nope", "selftest: nope: No such test\n", 1);
}

#[test]
fn help_knows_every_command() {
    let mut console = Console::new();
    console.shell.register(Command { name: "fb", usage: "", help: "picture", run: |_| Ok(()) });
    let (text, _) = console.exec("help");
    let words = text.lines().filter_map(|line| line.split(' ').next());
    let names: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    assert_eq!(
        names,
        ["cat", "crash", "dmesg", "echo", "fb", "free", "help", "ls", "poweroff", "reboot", "selftest"]
    );
    assert!(text.lines().all(|line| line.len() < 44 || line.starts_with("crash") || &line[44..=44] == " "));
    assert!(console.exec("help fb").0.contains("picture"));
    console.says("help nope", "help: nope: No such command\n", 1);
}

#[test]
fn ctrl_c_ends_a_running_line_and_keeps_what_follows() {
    let mut console = Console::new();
    (0..20).for_each(|n| console.machine.log.push(n, 6, format_args!("record {n}")));
    console.machine.late = Some((5, b"dropped\x03ec"));
    let screen = console.send(b"dmesg; echo not reached\r");
    assert!(screen.contains("record 5\n^C\n# "), "{screen:?}");
    assert!(!screen.contains("record 6") && screen.matches("not reached\n").count() == 1, "{screen:?}");
    assert!(screen.ends_with("ec"), "{screen:?}");
    assert!(console.send(b"ho $?\r").contains("130\n"));
}

#[test]
fn a_program_may_break_in_on_a_person() {
    let mut console = Console::new();
    console.send(b"echo hel");
    console.says("echo x", "x\n", 0);
    assert!(console.send(b"lo\r").contains("\nhello\n"));
    assert_eq!(console.send(b"\x16echo lost\x03"), "");
    console.says("echo y", "y\n", 0);
}
