//! What was asked for: the board, and everything that decides how it is booted.

use std::fs;
use std::path::{Path, PathBuf};

use crate::board::Board;
use crate::error::{Error, Result};
use crate::fdt::Tree;
use crate::image::Flavor;
use crate::setup::Tool;
use crate::size::Size;

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
    /// Devices behind the virtio transports, where the board has those.
    pub devices: bool,
    /// The disk among them, instead of one whose changes are forgotten.
    pub disk: Option<PathBuf>,
    /// Open a window for the display.
    pub display: bool,
    /// Where to save what the display shows when the commands have run.
    pub screenshot: Option<PathBuf>,
    /// Record trace events.
    pub trace: bool,
    /// More options for QEMU's `-M`, as `virtualization=on`.
    pub machine_options: Option<String>,
    /// Which image.
    pub flavor: Flavor,
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
            devices: true,
            disk: None,
            display: false,
            screenshot: None,
            trace: false,
            machine_options: None,
            flavor: Flavor::default(),
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

    /// Whether the board can do what is asked.
    ///
    /// # Errors
    /// One that names what it can't.
    pub(crate) fn check(&self) -> Result<()> {
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
        self.check_display()?;
        self.check_loader()
    }

    fn check_display(&self) -> Result<()> {
        let wanted = [("--display", self.display), ("--screenshot", self.screenshot.is_some())];
        match wanted.iter().find(|(_, wanted)| *wanted && !self.board.spec.display) {
            Some((option, _)) => {
                Err(self.board.unsupported(option, "it has no display; `map --svg` draws the picture"))
            }
            None => Ok(()),
        }
    }

    fn check_loader(&self) -> Result<()> {
        match (self.u_boot, &self.board.spec.u_boot) {
            (true, None) => Err(self.board.unsupported("--loader u-boot", "there is no U-Boot for it")),
            (true, Some(_)) if self.no_tree() => {
                Err(self.board.unsupported("--no-dtb", "U-Boot hands over a device tree"))
            }
            _ => Ok(()),
        }
    }

    /// The kernel's command line. A blob's own counts as the default if a blob was given and has one.
    ///
    /// # Errors
    /// [`Error::BadCommandLine`].
    pub(crate) fn kernel_cmdline(&self) -> Result<String> {
        let own = match &self.tree {
            TreeChoice::Blob(blob) => Tree::parse(blob).ok().and_then(|tree| tree.bootargs()),
            _ => None,
        };
        let default = own.unwrap_or_else(|| self.board.cmdline.clone());
        let mut line = self.cmdline.clone().unwrap_or(default);
        if let Some(more) = &self.append {
            line = if line.is_empty() { more.clone() } else { format!("{line} {more}") };
        }
        // What is recorded is everything, unless the command line says what.
        if self.trace && !line.split_whitespace().any(|arg| arg.starts_with("trace=")) {
            line = format!("{line} trace=all").trim_start().to_owned();
        }
        if line.contains('\0') { Err(Error::BadCommandLine) } else { Ok(line) }
    }

    /// CPUs, where one can choose.
    pub(crate) fn cpus(&self) -> Option<u32> {
        self.smp.or(self.board.spec.cpus.as_ref().map(|cpus| cpus.default))
    }

    /// RAM, where one can choose.
    pub(crate) fn memory(&self) -> Option<Size> {
        self.board.spec.ram_max.map(|_| self.mem.unwrap_or(self.board.spec.ram))
    }

    /// Whether the boot code is to hand over no tree.
    pub(crate) fn no_tree(&self) -> bool {
        matches!(self.tree, TreeChoice::None | TreeChoice::Nowhere)
    }
}
