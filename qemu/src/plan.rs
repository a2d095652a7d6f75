//! From what was asked for to a QEMU command line and the files that it names.
//!
//! One image file boots every board; what differs is what is put beside it:
//!
//! ```text
//! handover   tree            at RAM + 0x8000   started by                         r2
//! registers  board's, --dtb  zImage            shim as -kernel, -dtb              tree
//! registers  QEMU's own      zImage            shim as -kernel, -append           tree
//! registers  --no-dtb        firmware.bin      shim as -kernel, -append           ATAGs
//!   and QEMU's own           zImage            shim as -kernel                    0
//! firmware   board's, --dtb  firmware.bin      shim as -kernel                    0
//! firmware   --no-dtb        firmware.bin      shim as -kernel, ATAGs             ATAGs
//! U-Boot     any             -                 -bios, bootz from a FAT disk       tree
//! ```
//! The command line is a pure function of the request ([`Plan::new`]), so `--dry-run` needs neither a build nor
//! the tools; [`Plan::write`] makes the files. Their folder is named after the request, so that runs in parallel
//! never write different bytes to one file.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::board::{Board, Handover};
use crate::error::{Error, Result};
use crate::fdt::{Tree, TreeError};
use crate::firmware::{self, Payload};
use crate::image::{self, Image};
use crate::setup::Tool;
use crate::size::Size;
use crate::uboot;

/// The device tree to boot with.
#[derive(Debug, Clone, Default, Hash, PartialEq, Eq)]
pub enum TreeChoice {
    /// The board's: its own source, or QEMU's.
    #[default]
    Board,
    /// Another blob, checked.
    Blob(Vec<u8>),
    /// Any bytes, handed over as they are: for tests of bad input.
    Raw(Vec<u8>),
    /// None: the boot code passes ATAGs; where it has a tree of its own to append, `firmware.bin` has it.
    None,
    /// None, and none behind the image either.
    Nowhere,
}

/// Everything that decides how a board is booted.
#[derive(Debug, Clone)]
pub struct Request {
    /// The board.
    pub board: Board,
    /// RAM, instead of the board's default.
    pub mem: Option<Size>,
    /// CPUs, instead of the board's default.
    pub smp: Option<u32>,
    /// Replaces the default kernel command line.
    pub cmdline: Option<String>,
    /// Added to the kernel command line.
    pub append: Option<String>,
    /// The device tree.
    pub tree: TreeChoice,
    /// Boot through U-Boot.
    pub u_boot: bool,
    /// Count instructions.
    pub icount: bool,
    /// Wait for a debugger.
    pub gdb: bool,
    /// A reset ends the run.
    pub once: bool,
    /// More options for QEMU's `-M`, as `virtualization=on`.
    pub machine_options: Option<String>,
}

/// A checked request: QEMU's arguments, and how to make the files in them.
#[derive(Debug, Clone)]
pub struct Plan {
    request: Request,
    /// The folder of this run's files.
    dir: PathBuf,
    cmdline: String,
}

impl Request {
    /// A plain boot of `board`.
    pub fn new(board: Board) -> Self {
        Self {
            board,
            mem: None,
            smp: None,
            cmdline: None,
            append: None,
            tree: TreeChoice::Board,
            u_boot: false,
            icount: false,
            gdb: false,
            once: false,
            machine_options: None,
        }
    }

    /// Takes the tree from a file.
    ///
    /// # Errors
    /// When it can't be read or is no device tree.
    pub fn load_tree(&mut self, file: &Path) -> Result<()> {
        let blob = fs::read(file).map_err(Error::file("read", file))?;
        let bad_tree = |reason| Error::BadTree { file: file.to_owned(), reason };
        self.tree = TreeChoice::Blob(Tree::parse(&blob).map_err(bad_tree)?.to_blob());
        Ok(())
    }

    /// What the machine needs for this run.
    pub fn tools(&self) -> Vec<Tool> {
        let mut tools = vec![Tool::Qemu];
        tools.extend(self.board.tree_source().map(|_| Tool::Dtc));
        if let (true, Some(u_boot)) = (self.u_boot, &self.board.spec.u_boot) {
            tools.push(Tool::UBoot(u_boot.files.clone()));
        }
        tools
    }

    fn check(&self) -> Result<()> {
        let board = &self.board;
        match (self.mem, board.spec.ram_max) {
            (Some(_), None) => return Err(board.unsupported("--mem", "its RAM is fixed")),
            (Some(size), Some(max)) => {
                let bad_size = |reason| Error::BadSize { text: size.to_string(), reason };
                size.at_most(max).map_err(bad_size)?;
            }
            (None, _) => {}
        }
        match (self.smp, &board.spec.cpus) {
            (Some(_), None) => return Err(board.unsupported("--smp", "its CPUs are fixed")),
            (Some(count), Some(cpus)) if !(1..=cpus.max).contains(&count) => {
                return Err(Error::BadCpuCount { count, max: cpus.max, board: board.name.clone() });
            }
            _ => {}
        }
        self.check_loader()
    }

    fn check_loader(&self) -> Result<()> {
        let no_tree = matches!(self.tree, TreeChoice::None | TreeChoice::Nowhere);
        match (self.u_boot, &self.board.spec.u_boot) {
            (true, None) => Err(self.board.unsupported("--loader u-boot", "there is no U-Boot for it")),
            (true, Some(_)) if no_tree => {
                Err(self.board.unsupported("--no-dtb", "U-Boot hands over a device tree"))
            }
            _ => Ok(()),
        }
    }

    /// The blob's own command line counts as the default if a blob was given and has one.
    fn kernel_cmdline(&self) -> Result<String> {
        let own = match &self.tree {
            TreeChoice::Blob(blob) => Tree::parse(blob).ok().and_then(|tree| tree.bootargs()),
            _ => None,
        };
        let default = own.unwrap_or_else(|| self.board.cmdline.clone());
        let mut line = self.cmdline.clone().unwrap_or(default);
        if let Some(more) = &self.append {
            line = if line.is_empty() { more.clone() } else { format!("{line} {more}") };
        }
        if line.contains('\0') { Err(Error::BadCommandLine) } else { Ok(line) }
    }

    fn cpus(&self) -> Option<u32> {
        self.smp.or(self.board.spec.cpus.as_ref().map(|cpus| cpus.default))
    }

    fn memory(&self) -> Option<Size> {
        self.board.spec.ram_max.map(|_| self.mem.unwrap_or(self.board.spec.ram))
    }
}

impl Plan {
    /// Checks a request and fixes where its files go.
    ///
    /// # Errors
    /// When the board can't do what is asked.
    pub fn new(request: Request) -> Result<Self> {
        request.check()?;
        let cmdline = request.kernel_cmdline()?;
        let mut hasher = DefaultHasher::new();
        let Request { mem, smp, tree, u_boot, machine_options, .. } = &request;
        let size = mem.map(Size::bytes);
        (&cmdline, size, smp, tree, u_boot, machine_options).hash(&mut hasher);
        let name = format!("{}-{:016x}", request.board.name, hasher.finish());
        Ok(Self { dir: image::work_dir().join("run").join(name), cmdline, request })
    }

    /// The kernel's command line.
    pub fn cmdline(&self) -> &str {
        &self.cmdline
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// QEMU's arguments.
    pub fn args(&self) -> Vec<String> {
        let mut args = self.machine_args(None);
        args.extend(words("-display none -monitor none -serial stdio -nic none"));
        args.extend(self.request.board.spec.options.iter().cloned());
        self.boot_args(&mut args);
        let request = &self.request;
        for (on, option) in [
            (request.once, "-no-reboot"),
            (request.icount, "-icount shift=0,sleep=off"),
            (request.gdb, "-s -S"),
        ] {
            args.extend(words(if on { option } else { "" }));
        }
        args
    }

    fn machine_args(&self, more: Option<&str>) -> Vec<String> {
        let request = &self.request;
        let spec = &request.board.spec;
        let options = request.machine_options.as_deref().into_iter().chain(more);
        let machine = options.fold(spec.machine.clone(), |machine, option| format!("{machine},{option}"));
        let mut args = vec!["-M".to_owned(), machine];
        let cpus = self.request.cpus().map(|count| count.to_string());
        let memory = self.request.memory().map(|size| size.to_string());
        for (option, value) in [("-cpu", spec.cpu.clone()), ("-m", memory), ("-smp", cpus)] {
            args.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        }
        args
    }

    fn boot_args(&self, args: &mut Vec<String>) {
        if self.request.u_boot {
            let bios = self.u_boot_file();
            let drive = format!("if=none,id=disk,format=raw,file={}", self.path("disk.img"));
            args.extend(["-bios".into(), bios, "-drive".into(), drive]);
            args.extend(words("-device virtio-blk-device,drive=disk"));
            return;
        }
        args.extend(["-device".into(), self.loader(self.image_name(), self.request.board.load_address())]);
        args.extend(["-kernel".into(), self.path("shim.bin")]);
        match (self.handover(), &self.request.tree) {
            (Handover::Firmware, TreeChoice::None | TreeChoice::Nowhere) => {
                args.extend(["-device".into(), self.loader(self.path("atags.bin"), self.atags_address())]);
            }
            (Handover::Firmware, _) => {}
            (Handover::Registers, TreeChoice::None | TreeChoice::Nowhere) => self.append_args(args),
            (Handover::Registers, TreeChoice::Board) if !self.has_source() => self.append_args(args),
            (Handover::Registers, _) => args.extend(["-dtb".into(), self.path("board.dtb")]),
        }
    }

    fn append_args(&self, args: &mut Vec<String>) {
        if !self.cmdline.is_empty() {
            args.extend(["-append".to_owned(), self.cmdline.clone()]);
        }
    }

    fn loader(&self, file: impl AsRef<str>, address: u32) -> String {
        format!("loader,file={},addr={address:#x},force-raw=on", file.as_ref().replace(',', ",,"))
    }

    fn handover(&self) -> Handover {
        self.request.board.spec.boot
    }

    fn has_source(&self) -> bool {
        self.request.board.spec.tree.is_some()
    }

    /// The file that brings the image to the machine: itself, the one with a tree behind it, or U-Boot's disk.
    pub fn image_file(&self) -> PathBuf {
        if self.request.u_boot { self.dir.join("disk.img") } else { self.image_name().into() }
    }

    /// The file at the load address: the bare image, or the one with a tree behind it.
    fn image_name(&self) -> String {
        let appended = match (&self.request.tree, self.handover()) {
            (TreeChoice::Nowhere, _) => false,
            (TreeChoice::None, _) => self.has_source(),
            (_, handover) => handover == Handover::Firmware,
        };
        if appended {
            self.path("firmware.bin")
        } else {
            image::work_dir().join("zImage").display().to_string()
        }
    }

    fn atags_address(&self) -> u32 {
        self.request.board.spec.ram_base + 0x100
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn u_boot_file(&self) -> String {
        let files = self.request.board.spec.u_boot.iter().flat_map(|u_boot| &u_boot.files);
        let mut files = files.clone();
        let first = files.clone().next();
        let found = files.find(|file| file.is_file()).or(first);
        found.map(|file| file.display().to_string()).unwrap_or_default()
    }

    /// Makes the files that the arguments name. QEMU and dtc must be there.
    ///
    /// # Errors
    /// When a file can't be made.
    pub fn write(&self, image: &Image) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(Error::file("make", &self.dir))?;
        let zimage = fs::read(&image.zimage).map_err(Error::file("read", &image.zimage))?;
        if self.request.u_boot {
            let disk = uboot::disk(&zimage, &self.tree("")?, self.request.board.spec.ram_base, &self.cmdline);
            let file = self.dir.join("disk.img");
            return image::replace(&file, &disk.map_err(Error::file("write", &file))?);
        }
        self.write_shim()?;
        match &self.request.tree {
            TreeChoice::Nowhere => self.write_atags(),
            TreeChoice::None if self.has_source() => {
                self.put("firmware.bin", &firmware::firmware(&zimage, Some(&self.source_tree()?)))?;
                self.write_atags()
            }
            TreeChoice::None => Ok(()),
            _ if self.handover() == Handover::Firmware => {
                let tree = self.tree(&self.cmdline)?;
                self.put("firmware.bin", &firmware::firmware(&zimage, Some(&tree)))
            }
            TreeChoice::Board if !self.has_source() => Ok(()),
            _ => self.put("board.dtb", &self.tree(&self.cmdline)?),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        image::replace(&self.dir.join(name), bytes)
    }

    /// QEMU starts the shim as the kernel, with r0 to r2 as for Linux; where its tree or ATAGs in r2 are for another
    /// kernel, the shim has its own. As a U-Boot image it says itself where it goes: above ATAGs, below the page
    /// tables.
    fn write_shim(&self) -> Result<()> {
        let entry = self.request.board.load_address();
        let no_tree = matches!(self.request.tree, TreeChoice::None | TreeChoice::Nowhere);
        let wrapped = |code: &[u8]| {
            let at = Payload::Kernel(self.request.board.spec.ram_base + 0x2000);
            firmware::u_boot_image(at, code)
        };
        let shim = match (self.handover(), no_tree) {
            (Handover::Firmware, true) => firmware::shim_with_r2(entry, self.atags_address()),
            (Handover::Firmware, false) => firmware::shim_with_r2(entry, 0),
            (Handover::Registers, true) if !self.has_source() => wrapped(&firmware::shim_with_r2(entry, 0)),
            (Handover::Registers, _) => wrapped(&firmware::shim(entry)),
        };
        self.put("shim.bin", &shim)
    }

    fn write_atags(&self) -> Result<()> {
        if self.handover() != Handover::Firmware {
            return Ok(());
        }
        let spec = &self.request.board.spec;
        self.put("atags.bin", &firmware::atags(spec.ram_base, spec.ram.bytes() as u32, &self.cmdline))
    }

    /// The tree as a blob, with this command line unless it is empty.
    ///
    /// # Errors
    /// When dtc or QEMU can't make it.
    pub fn tree(&self, bootargs: &str) -> Result<Vec<u8>> {
        let blob = match &self.request.tree {
            TreeChoice::Raw(bytes) => return Ok(bytes.clone()),
            TreeChoice::Blob(blob) => blob.clone(),
            _ if self.has_source() => self.source_tree()?,
            _ => self.qemu_tree()?,
        };
        self.edit(&blob, |tree| {
            if !bootargs.is_empty() {
                tree.set_bootargs(bootargs);
            }
        })
    }

    fn edit(&self, blob: &[u8], change: impl FnOnce(&mut Tree)) -> Result<Vec<u8>> {
        let bad_tree = |reason: TreeError| Error::BadTree { file: self.dir.join("board.dtb"), reason };
        let mut tree = Tree::parse(blob).map_err(bad_tree)?;
        change(&mut tree);
        Ok(tree.to_blob())
    }

    /// The board's own source, compiled, with as many CPUs as the machine has.
    fn source_tree(&self) -> Result<Vec<u8>> {
        let blob = compile(&self.request.board.tree_source().unwrap_or_default())?;
        self.edit(&blob, |tree| {
            if let Some(count) = self.request.cpus() {
                tree.keep_cpus(count);
            }
        })
    }

    /// The tree that QEMU makes for this machine.
    fn qemu_tree(&self) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().map_err(Error::file("make", "a temporary folder"))?;
        let file = dir.path().join("qemu.dtb");
        let mut qemu = Command::new(QEMU);
        qemu.args(self.machine_args(Some(&format!("dumpdtb={}", file.display()))));
        qemu.args(["-display", "none", "-nic", "none"]).stdin(std::process::Stdio::null());
        let output = qemu.output().map_err(Error::start(QEMU))?;
        if !output.status.success() {
            return Err(Error::Program { program: format!("{QEMU} -M dumpdtb"), status: output.status });
        }
        fs::read(&file).map_err(Error::file("read", file))
    }
}

/// Compiles a device tree source. Its own errors go to stderr.
///
/// # Errors
/// When dtc can't be run or fails.
pub fn compile(source: &Path) -> Result<Vec<u8>> {
    let mut dtc = Command::new("dtc");
    dtc.args(["-q", "-I", "dts", "-O", "dtb", "-o", "-"]).arg(source);
    let output = dtc.output().map_err(Error::start("dtc"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Program { program: format!("dtc {}", source.display()), status: output.status })
}

/// The emulator.
pub const QEMU: &str = "qemu-system-arm";

fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split_whitespace().map(str::to_owned)
}

/// A command line that a POSIX shell reads back as these words.
pub fn shell_line(args: &[String]) -> String {
    let words = [QEMU.to_owned()].into_iter();
    words.chain(args.iter().map(|arg| shell_word(arg))).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
