//! Boards as data: one folder under `qemu/boards` each, read when the runner starts.
//!
//! ```text
//! boards/NAME/board.toml     the machine, what can be chosen, how the kernel is handed over
//!             cmdline.txt    the default kernel command line, one line
//!             board.dts      the device tree source, unless QEMU brings its own tree
//! ```
//! A new board is a new folder; no code names one.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::size::Size;

/// Where the boards of this source tree are.
pub fn boards_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("boards")
}

/// A board, as its folder describes it.
#[derive(Debug, Clone)]
pub struct Board {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub dir: PathBuf,
    /// The default kernel command line, without a line end.
    pub cmdline: String,
    /// `board.toml`.
    pub spec: Spec,
}

/// The contents of `board.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// One line for `boards`.
    pub summary: String,
    /// QEMU's `-M`.
    pub machine: String,
    /// QEMU's `-cpu`, where the machine lets one choose.
    pub cpu: Option<String>,
    /// More of QEMU's options, as words.
    #[serde(default)]
    pub options: Vec<String>,
    /// Physical address of the first byte of RAM; the kernel goes 32 KiB above it.
    pub ram_base: u32,
    /// The console's UART, for people.
    pub console: String,
    /// The device tree source's file name; QEMU's own tree if there is none.
    pub tree: Option<String>,
    /// What the boot loader hands over.
    pub boot: Handover,
    /// RAM without `--mem`, which is also what ATAGs of the runner's own say.
    #[serde(deserialize_with = "size")]
    pub ram: Size,
    /// The most RAM there can be, where one can choose.
    #[serde(default, deserialize_with = "some_size")]
    pub ram_max: Option<Size>,
    /// CPU counts, where one can choose.
    pub cpus: Option<Cpus>,
    /// Whether there are virtio transports for a disk, a network card and random bytes.
    #[serde(default)]
    pub virtio_mmio: bool,
    /// Whether the kernel has a driver for its display.
    #[serde(default)]
    pub display: bool,
    /// How trace events leave the board.
    pub trace: Drain,
    /// U-Boot, where the board has one.
    pub u_boot: Option<UBoot>,
}

/// How the kernel learns of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// r0 = 0, r1 = machine type, r2 = tree or ATAGs, from QEMU's own boot code.
    Registers,
    /// `firmware.bin`: the tree follows the image and is found by its marker; r2 = 0.
    Firmware,
}

/// How trace events leave a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// Through its second UART.
    Port,
    /// In RAM, whose file the runner reads.
    #[serde(untagged)]
    Memory {
        /// Physical address of the first byte of QEMU's RAM.
        ram: u32,
        /// Bytes of it, where they are not what `--mem` says.
        #[serde(default, deserialize_with = "some_size")]
        size: Option<Size>,
    },
}

/// The choice of CPU counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpus {
    /// Without `--smp`.
    pub default: u32,
    /// The most there can be.
    pub max: u32,
}

/// Where a distribution may have put the board's U-Boot.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UBoot {
    /// Candidates, in order.
    pub files: Vec<PathBuf>,
}

fn size<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Size, D::Error> {
    let text = String::deserialize(from)?;
    Size::parse(&text).map_err(serde::de::Error::custom)
}

fn some_size<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Option<Size>, D::Error> {
    size(from).map(Some)
}

impl Board {
    /// Reads the board called `name` from `dir`, the folder of all boards.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`], or what is wrong with its files.
    pub fn load(dir: &Path, name: &str) -> Result<Self> {
        let known = names(dir)?;
        if !known.iter().any(|board| board == name) {
            return Err(Error::UnknownBoard { name: name.to_owned(), known });
        }
        let dir = dir.join(name);
        let spec = parse_spec(&dir.join("board.toml"))?;
        let cmdline = read(&dir.join("cmdline.txt"))?.trim_end().to_owned();
        Ok(Self { name: name.to_owned(), dir, cmdline, spec })
    }

    /// Where the kernel's first byte goes: 32 KiB above the start of RAM, as Linux's `TEXT_OFFSET`.
    pub fn load_address(&self) -> u32 {
        self.spec.ram_base + 0x8000
    }

    /// The device tree source, if QEMU does not bring the tree.
    pub fn tree_source(&self) -> Option<PathBuf> {
        self.spec.tree.as_ref().map(|name| self.dir.join(name))
    }

    /// An [`Error::Unsupported`] for this board.
    pub fn unsupported(&self, option: &'static str, reason: &'static str) -> Error {
        Error::Unsupported { board: self.name.clone(), option, reason }
    }
}

/// The names of all boards, sorted.
///
/// # Errors
/// When the folder can't be read.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::file("read", dir))? {
        let entry = entry.map_err(Error::file("read", dir))?;
        if entry.path().join("board.toml").is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

fn parse_spec(file: &Path) -> Result<Spec> {
    let reason = |reason| Error::BadBoard { file: file.to_owned(), reason: Box::new(reason) };
    toml::from_str(&read(file)?).map_err(reason)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(Error::file("read", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_of_this_tree_loads() {
        let names = names(&boards_dir()).unwrap();
        for name in ["ssd202", "vexpress-a7", "virt"] {
            assert!(names.iter().any(|n| n == name), "{name} missing from {names:?}");
        }
        for name in names {
            let board = Board::load(&boards_dir(), &name).unwrap();
            assert!(!board.cmdline.contains('\n'), "{name}: the command line is one line");
            assert!(board.tree_source().is_none_or(|file| file.is_file()), "{name}: no tree source");
            assert_eq!(board.load_address() & 0x1f_ffff, 0x8000, "{name}: RAM starts at a multiple of 2 MiB");
        }
    }

    #[test]
    fn the_seeds_command_line_is_unchanged() {
        let board = Board::load(&boards_dir(), "ssd202").unwrap();
        assert_eq!(
            board.cmdline,
            "wt_board=WT2022 console=ttyS0,115200 rootfstype=squashfs,ubifs rootwait=1 cma=8M LX_MEM=0x7f00000 \
             mma_heap=mma_heap_name0,miu=0,sz=0x1000000 mma_memblock_remove=1 highres=off \
             mmap_reserved=fb,miu=0,sz=0x300000,max_start_off=0x7C00000,max_end_off=0x7F00000"
        );
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let line = Board::load(&boards_dir(), "pdp11").unwrap_err().to_string();
        assert!(line.starts_with("unknown board 'pdp11': there are ssd202, vexpress-a7, virt"), "{line}");
        assert!(matches!(Board::load(&boards_dir(), "../boards"), Err(Error::UnknownBoard { .. })));
    }

    #[test]
    fn a_bad_board_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let board = dir.path().join("odd");
        fs::create_dir(&board).unwrap();
        fs::write(board.join("board.toml"), "machine = \"virt\"\n").unwrap();
        let line = Board::load(dir.path(), "odd").unwrap_err().to_string();
        assert!(line.contains("odd/board.toml: missing field `summary`"), "{line}");
    }
}
