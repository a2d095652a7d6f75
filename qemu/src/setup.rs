//! Gets what a run needs onto a machine that has only rustup's Rust.
//!
//! The first line says what is missing and what is being run to get it; where nothing can be run, an
//! [`Error::Missing`] says in one line what to install. Progress is the package manager's own output, on stderr.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, NotInstalled, Result};

/// The target of the image.
pub const TARGET: &str = "armv7a-none-eabi";
/// The oldest QEMU with all of what the boards use.
const OLDEST_QEMU: (u32, u32) = (7, 0);
const QEMU: &str = "qemu-system-arm";

/// Something that a run needs from the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// `qemu-system-arm`.
    Qemu,
    /// The device tree compiler.
    Dtc,
    /// A U-Boot binary in one of these places.
    UBoot(Vec<PathBuf>),
}

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora.
    Dnf,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// openSUSE.
    Zypper,
    /// macOS.
    Brew,
}

/// The machine as far as installing goes: where programs are, and whether we may install.
#[derive(Debug, Clone)]
pub struct Host {
    /// Folders with programs, in order.
    pub path: Vec<PathBuf>,
    /// Effective user 0.
    pub root: bool,
}

impl Tool {
    /// The name people know it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Qemu => QEMU,
            Self::Dtc => "dtc",
            Self::UBoot(_) => "u-boot-qemu",
        }
    }

    fn present(&self, host: &Host) -> bool {
        match self {
            Self::UBoot(files) => files.iter().any(|file| file.is_file()),
            Self::Qemu | Self::Dtc => host.find(self.name()).is_some(),
        }
    }

    /// The package in a manager's archive, if it has one.
    fn package(&self, manager: Manager) -> Option<&'static str> {
        use Manager::{Apk, Apt, Brew, Dnf, Pacman, Zypper};
        Some(match (self, manager) {
            (Self::Qemu, Apt | Dnf | Pacman | Apk) => QEMU,
            (Self::Qemu, Zypper) => "qemu-arm",
            (Self::Qemu, Brew) => "qemu",
            (Self::Dtc, Apt) => "device-tree-compiler",
            (Self::Dtc, Dnf | Pacman | Apk | Zypper | Brew) => "dtc",
            (Self::UBoot(_), Apt | Apk) => "u-boot-qemu",
            (Self::UBoot(_), Dnf) => "uboot-images-armv7",
            (Self::UBoot(_), Pacman | Zypper | Brew) => return None,
        })
    }
}

impl Manager {
    const ALL: [Self; 6] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Apk, Self::Zypper, Self::Brew];

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
            Self::Zypper => "zypper",
            Self::Brew => "brew",
        }
    }

    fn install_args(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["install", "-y", "--no-install-recommends"],
            Self::Dnf => &["install", "-y"],
            Self::Pacman => &["-Sy", "--noconfirm", "--needed"],
            Self::Apk => &["add"],
            Self::Zypper => &["--non-interactive", "install"],
            Self::Brew => &["install"],
        }
    }

    /// The command that installs `tools`, for people.
    pub fn install_line(self, tools: &[Tool]) -> String {
        let words = [self.program()].into_iter().chain(self.install_args().iter().copied());
        let packages = tools.iter().filter_map(|tool| tool.package(self));
        words.chain(packages).collect::<Vec<_>>().join(" ")
    }
}

impl Host {
    /// This machine.
    pub fn here() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self { path: env::split_paths(&path).collect(), root: rustix::process::geteuid().is_root() }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        self.path.iter().map(|dir| dir.join(program)).find(|file| file.is_file())
    }

    fn manager(&self) -> Option<Manager> {
        Manager::ALL.into_iter().find(|manager| self.find(manager.program()).is_some())
    }

    /// The command that gets the rights, if one is needed: `Some(None)` when we have them already.
    fn rights(&self, manager: Manager) -> Option<Option<&'static str>> {
        if self.root || manager == Manager::Brew {
            return Some(None);
        }
        self.find("sudo").map(|_| Some("sudo"))
    }

    fn path_variable(&self) -> OsString {
        env::join_paths(&self.path).unwrap_or_default()
    }
}

/// Makes sure that `tools` are there, installing them if need be, and that QEMU is new enough.
///
/// # Errors
/// [`Error::Missing`] or [`Error::OldQemu`].
pub fn ensure(tools: &[Tool], host: &Host) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| !tool.present(host)).cloned().collect();
    if !missing.is_empty() {
        install(missing, host)?;
    }
    if tools.contains(&Tool::Qemu) { check_qemu(host) } else { Ok(()) }
}

fn install(missing: Vec<Tool>, host: &Host) -> Result<()> {
    let give_up = |tools, reason| Err(Error::Missing { tools, reason });
    let Some(manager) = host.manager() else {
        return give_up(missing, NotInstalled::NoManager);
    };
    if missing.iter().any(|tool| tool.package(manager).is_none()) {
        return give_up(missing, NotInstalled::NoPackage(manager));
    }
    let Some(rights) = host.rights(manager) else {
        return give_up(missing, NotInstalled::NoRights(manager));
    };
    let names: Vec<_> = missing.iter().map(Tool::name).collect();
    let line = manager.install_line(&missing);
    eprintln!("missing: {}; running: {}{line}", names.join(", "), rights.map_or("", |_| "sudo "));
    if manager == Manager::Apt {
        // The lists of a fresh machine are empty; when updating fails, the install below says why.
        run(host, rights, &["apt-get", "update", "-q"]);
    }
    run(host, rights, &line.split(' ').collect::<Vec<_>>());
    let left: Vec<_> = missing.into_iter().filter(|tool| !tool.present(host)).collect();
    if left.is_empty() { Ok(()) } else { give_up(left, NotInstalled::StillMissing(manager)) }
}

/// Runs a command with its output on our stderr. Whether it worked is seen by what is there afterwards.
fn run(host: &Host, rights: Option<&str>, words: &[&str]) {
    let words: Vec<_> = rights.into_iter().chain(words.iter().copied()).collect();
    let Some(program) = host.find(words[0]) else { return };
    let mut command = Command::new(program);
    command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive").env("PATH", host.path_variable());
    if let Err(error) = command.stdout(std::io::stderr()).status() {
        eprintln!("can't run {}: {error}", words[0]);
    }
}

fn check_qemu(host: &Host) -> Result<()> {
    let program = host.find(QEMU).unwrap_or_else(|| QEMU.into());
    let output = Command::new(program).arg("--version").output().map_err(Error::start(QEMU))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or("nothing").to_owned();
    match qemu_version(&first) {
        Some(version) if version >= OLDEST_QEMU => Ok(()),
        _ => Err(Error::OldQemu { found: first }),
    }
}

fn qemu_version(line: &str) -> Option<(u32, u32)> {
    let numbers = line.strip_prefix("QEMU emulator version ")?;
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Makes sure that rustc can build for [`TARGET`], with `rustup` if need be.
///
/// # Errors
/// When rustup is not there or fails.
pub fn ensure_target() -> Result<()> {
    let has_target = |sysroot: &Path| sysroot.join("lib/rustlib").join(TARGET).is_dir();
    if sysroot().is_ok_and(|sysroot| has_target(&sysroot)) {
        return Ok(());
    }
    eprintln!("missing: Rust target {TARGET}; running: rustup target add {TARGET}");
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).stdout(std::io::stderr());
    let status = command.status().map_err(Error::start("rustup target add"))?;
    let program = format!("rustup target add {TARGET}");
    if status.success() { Ok(()) } else { Err(Error::Program { program, status }) }
}

fn sysroot() -> Result<PathBuf> {
    rustc(&["--print", "sysroot"]).map(PathBuf::from)
}

/// Which compiler builds the image: `rustc 1.95.0 (59807616e 2026-04-14)`.
///
/// # Errors
/// When there is none.
pub fn compiler() -> Result<String> {
    rustc(&["--version"])
}

fn rustc(args: &[&str]) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(args).stderr(Stdio::inherit());
    let output = command.output().map_err(Error::start("rustc"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A machine whose only programs are these shell scripts.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(programs: &[(&str, &str)]) -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            programs.iter().for_each(|(name, body)| fake.add(name, body));
            fake
        }

        fn add(&self, name: &str, body: &str) {
            let file = self.0.path().join(name);
            fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn host(&self, root: bool) -> Host {
            Host { path: vec![self.0.path().to_owned()], root }
        }

        fn log(&self) -> String {
            fs::read_to_string(self.0.path().join("log")).unwrap_or_default()
        }

        /// A manager that logs how it was called, and "installs" a QEMU of this version.
        fn manager(&self, name: &str, version: &str) {
            let dir = self.0.path().display();
            let qemu = format!(r"#!/bin/sh\necho QEMU emulator version {version}\n");
            self.add(
                name,
                &format!(
                    "echo {name} \"$@\" >> {dir}/log\n\
                     case \"$*\" in *update*) exit 100;; esac\n\
                     printf '{qemu}' > {dir}/qemu-system-arm\n/bin/chmod 755 {dir}/qemu-system-arm"
                ),
            );
        }
    }

    #[test]
    fn nothing_is_run_when_nothing_is_missing() {
        let fake = Fake::new(&[("qemu-system-arm", "echo QEMU emulator version 7.0.0"), ("dtc", ":")]);
        fake.manager("apt-get", "9.9.9");
        ensure(&[Tool::Qemu, Tool::Dtc], &fake.host(true)).unwrap();
        assert_eq!(fake.log(), "");
    }

    #[test]
    fn a_missing_program_is_installed_even_if_updating_fails() {
        let fake = Fake::new(&[("dtc", ":")]);
        fake.manager("apt-get", "7.2.22");
        ensure(&[Tool::Qemu, Tool::Dtc], &fake.host(true)).unwrap();
        let install = "apt-get install -y --no-install-recommends qemu-system-arm\n";
        assert_eq!(fake.log(), format!("apt-get update -q\n{install}"));
    }

    #[test]
    fn sudo_is_used_when_not_root() {
        let fake = Fake::new(&[("sudo", "exec \"$@\"")]);
        fake.manager("pacman", "8.1.0");
        ensure(&[Tool::Qemu], &fake.host(false)).unwrap();
        assert_eq!(fake.log(), "pacman -Sy --noconfirm --needed qemu-system-arm\n");
    }

    #[test]
    fn no_rights_no_manager_and_no_success_are_one_line_each() {
        let line = |fake: &Fake, root| {
            let line = ensure(&[Tool::Qemu, Tool::Dtc], &fake.host(root)).unwrap_err().to_string();
            assert!(!line.contains('\n'), "{line}");
            line
        };
        let bare = Fake::new(&[]);
        assert_eq!(
            line(&bare, true),
            "missing: qemu-system-arm, dtc; no known package manager here: install them by hand (on Debian: \
             apt-get install -y --no-install-recommends qemu-system-arm device-tree-compiler)"
        );
        let fake = Fake::new(&[("dnf", ":")]);
        assert_eq!(
            line(&fake, false),
            "missing: qemu-system-arm, dtc; no rights to install: as root run: dnf install -y qemu-system-arm dtc"
        );
        assert_eq!(
            line(&fake, true),
            "missing: qemu-system-arm, dtc; not there after: dnf install -y qemu-system-arm dtc"
        );
    }

    #[test]
    fn an_old_or_odd_qemu_is_refused() {
        for (says, ok) in [
            ("QEMU emulator version 6.2.0 (Debian 1:6.2)", false),
            ("QEMU emulator version 7.0.0", true),
            ("QEMU emulator version 10.1.50 (v10.1.0-1)", true),
            ("qemu: not found", false),
        ] {
            let fake = Fake::new(&[("qemu-system-arm", &format!("echo '{says}'"))]);
            let result = ensure(&[Tool::Qemu], &fake.host(true));
            assert_eq!(result.is_ok(), ok, "{says}");
            if let Err(error) = result {
                assert!(error.to_string().ends_with(says), "{error}");
            }
        }
    }

    #[test]
    fn u_boot_is_a_file_somewhere() {
        let fake = Fake::new(&[("apk", ":"), ("u-boot.bin", ":")]);
        let there = fake.0.path().join("u-boot.bin");
        ensure(&[Tool::UBoot(vec!["/nowhere".into(), there])], &fake.host(true)).unwrap();
        let line = ensure(&[Tool::UBoot(vec!["/nowhere".into()])], &fake.host(true)).unwrap_err().to_string();
        assert_eq!(line, "missing: u-boot-qemu; not there after: apk add u-boot-qemu");
    }
}
