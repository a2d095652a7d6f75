//! From what was asked for to a QEMU command line and the files that it names.
//!
//! One image file boots every board; what differs is what is put beside it:
//!
//! ```text
//! handover   tree            at RAM + 0x8000   started by                         r2
//! registers  board's, --dtb  zImage            shim as -kernel, -dtb              tree
//! registers  QEMU's own      zImage            shim as -kernel, -append           tree
//! registers  --no-dtb        firmware.bin      shim as -kernel, -append           QEMU's ATAGs
//!   and QEMU's own           firmware.bin      shim as -kernel                    our ATAGs
//! firmware   board's, --dtb  firmware.bin      shim as -kernel                    0
//! firmware   --no-dtb        firmware.bin      shim as -kernel                    our ATAGs
//! U-Boot     any             -                 -bios, bootz from a FAT disk       tree
//! ```
//! The command line is a pure function of the request ([`Plan::new`]), so `--dry-run` needs neither a build nor
//! the tools; `files.rs` makes the files. Their folder is named after the request, so that runs in parallel
//! never write different bytes to one file.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::board::{Drain, Handover};
use crate::error::Result;
use crate::image;
use crate::request::{Request, TreeChoice};
use crate::size::Size;

/// A checked request: QEMU's arguments, and how to make the files in them.
#[derive(Debug, Clone)]
pub struct Plan {
    request: Request,
    /// The folder of this run's files.
    pub(crate) dir: PathBuf,
    cmdline: String,
    /// Of the plans of this process.
    number: u32,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What the kernel finds in r2, and where that comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handing {
    /// A tree from a file, through QEMU.
    Dtb,
    /// QEMU's own tree.
    QemuTree,
    /// ATAGs of QEMU's.
    QemuAtags,
    /// ATAGs of ours.
    OwnAtags,
    /// Nothing: the tree is behind the image.
    Nothing,
    /// What U-Boot makes of the tree on its disk.
    UBoot,
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
        let Request { mem, smp, tree, u_boot, machine_options, flavor, .. } = &request;
        let size = mem.map(Size::bytes);
        (&cmdline, size, smp, tree, u_boot, machine_options, flavor).hash(&mut hasher);
        let name = format!("{}-{:016x}", request.board.name, hasher.finish());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { dir: image::work_dir().join("run").join(name), cmdline, request, number })
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
        args.extend(words(if self.request.display { "" } else { "-display none" }));
        args.extend(words("-monitor none -serial stdio -nic none"));
        args.extend(self.request.board.spec.options.iter().cloned());
        args.extend(self.trace_args());
        args.extend(self.virtio_args());
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

    /// The way of the trace events out of the machine.
    fn trace_args(&self) -> Vec<String> {
        let spec = &self.request.board.spec;
        match spec.trace {
            _ if !self.request.trace => Vec::new(),
            Drain::Port => vec!["-serial".into(), format!("file:{}", self.trace_file().display())],
            Drain::Memory { size, .. } => {
                let size = size.or(self.request.memory()).unwrap_or(spec.ram).bytes();
                let file = self.ram_file().display().to_string().replace(',', ",,");
                let ram = format!("memory-backend-file,id=contig-ram,share=on,size={size},mem-path={file}");
                vec!["-object".into(), ram, "-machine".into(), "memory-backend=contig-ram".into()]
            }
        }
    }

    /// Where the frames of the trace events are while and after the machine runs.
    pub fn trace_file(&self) -> PathBuf {
        self.own_file("trace")
    }

    /// The machine's RAM, while it runs, if its ring is to be read there.
    pub(crate) fn ram_file(&self) -> PathBuf {
        self.own_file("ram")
    }

    /// A file that no other run has, at the same time, either.
    fn own_file(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}-{}-{}.bin", std::process::id(), self.number))
    }

    pub(crate) fn machine_args(&self, more: Option<&str>) -> Vec<String> {
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
        if self.handing() == Handing::UBoot {
            let bios = self.u_boot_file();
            let drive = format!("if=none,id=disk,format=raw,file={}", self.path("disk.img"));
            args.extend(["-bios".into(), bios, "-drive".into(), drive]);
            args.extend(words("-device virtio-blk-device,drive=disk"));
            return;
        }
        args.extend(["-device".into(), self.loader(self.image_name(), self.request.board.load_address())]);
        args.extend(["-kernel".into(), self.path("shim.bin")]);
        match self.handing() {
            Handing::Dtb => args.extend(["-dtb".into(), self.path("board.dtb")]),
            Handing::QemuTree | Handing::QemuAtags => self.append_args(args),
            Handing::OwnAtags => {
                args.extend(["-device".into(), self.loader(self.path("atags.bin"), self.atags_address())]);
            }
            Handing::Nothing | Handing::UBoot => {}
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

    pub(crate) fn has_source(&self) -> bool {
        self.request.board.spec.tree.is_some()
    }

    pub(crate) fn handing(&self) -> Handing {
        match (self.request.board.spec.boot, &self.request.tree) {
            _ if self.request.u_boot => Handing::UBoot,
            (Handover::Registers, TreeChoice::None | TreeChoice::Nowhere) if self.has_source() => {
                Handing::QemuAtags
            }
            (_, TreeChoice::None | TreeChoice::Nowhere) => Handing::OwnAtags,
            (Handover::Firmware, _) => Handing::Nothing,
            (Handover::Registers, TreeChoice::Board) if !self.has_source() => Handing::QemuTree,
            (Handover::Registers, _) => Handing::Dtb,
        }
    }

    /// Whether a tree follows the image.
    pub(crate) fn appended(&self) -> bool {
        self.request.tree == TreeChoice::None || self.handing() == Handing::Nothing
    }

    /// The file that brings the image to the machine: itself, the one with a tree behind it, or U-Boot's disk.
    pub fn image_file(&self) -> PathBuf {
        if self.request.u_boot { self.dir.join("disk.img") } else { self.image_name().into() }
    }

    /// The file at the load address: the bare image, or the one with a tree behind it.
    fn image_name(&self) -> String {
        if self.appended() {
            self.path("firmware.bin")
        } else {
            image::work_dir().join(self.request.flavor.zimage_name()).display().to_string()
        }
    }

    pub(crate) fn atags_address(&self) -> u32 {
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
