//! The files that a plan's arguments name, and the device tree in them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::board::Handover;
use crate::error::{Error, Result};
use crate::fdt::{Tree, TreeError};
use crate::firmware::{self, Payload};
use crate::image::{self, Image};
use crate::plan::{Handing, Plan, QEMU};
use crate::request::TreeChoice;
use crate::uboot;

impl Plan {
    /// Makes the files that the arguments name. QEMU and dtc must be there.
    ///
    /// # Errors
    /// When a file can't be made.
    pub fn write(&self, image: &Image) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(Error::file("make", &self.dir))?;
        let zimage = fs::read(&image.zimage).map_err(Error::file("read", &image.zimage))?;
        let handing = self.handing();
        if handing == Handing::UBoot {
            return self.write_disk(&zimage);
        }
        self.write_virtio()?;
        self.write_shim(handing)?;
        if self.appended() {
            // Where ATAGs bring the command line, it is theirs alone.
            let bootargs = if handing == Handing::Nothing { self.cmdline() } else { "" };
            self.put("firmware.bin", &firmware::firmware(&zimage, Some(&self.tree(bootargs)?)))?;
        }
        match handing {
            Handing::Dtb => self.put("board.dtb", &self.tree(self.cmdline())?),
            Handing::OwnAtags => self.write_atags(),
            _ => Ok(()),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        image::replace(&self.dir.join(name), bytes)
    }

    fn write_disk(&self, zimage: &[u8]) -> Result<()> {
        let ram_base = self.request().board.spec.ram_base;
        let disk = uboot::disk(zimage, &self.tree("")?, ram_base, self.cmdline());
        let file = self.dir.join("disk.img");
        image::replace(&file, &disk.map_err(Error::file("write", &file))?)
    }

    /// QEMU starts the shim as the kernel, with r0 to r2 as for Linux; where what it has in r2 is for another kernel,
    /// the shim has its own. Wrapped as a U-Boot image it says itself where it goes: above ATAGs, below the page
    /// tables. A machine whose RAM starts elsewhere takes it bare, wherever that is.
    fn write_shim(&self, handing: Handing) -> Result<()> {
        let board = &self.request().board;
        let entry = board.load_address();
        let code = match handing {
            Handing::OwnAtags => firmware::shim_with_r2(entry, self.atags_address()),
            Handing::Nothing => firmware::shim_with_r2(entry, 0),
            _ => firmware::shim(entry),
        };
        if board.spec.boot == Handover::Firmware {
            return self.put("shim.bin", &code);
        }
        let at = Payload::Kernel(board.spec.ram_base + 0x2000);
        self.put("shim.bin", &firmware::u_boot_image(at, &code))
    }

    fn write_atags(&self) -> Result<()> {
        let request = self.request();
        let spec = &request.board.spec;
        let size = request.memory().unwrap_or(spec.ram);
        self.put("atags.bin", &firmware::atags(spec.ram_base, size.bytes() as u32, self.cmdline()))
    }

    /// The tree as a blob, with this command line unless it is empty.
    ///
    /// # Errors
    /// When dtc or QEMU can't make it.
    pub fn tree(&self, bootargs: &str) -> Result<Vec<u8>> {
        let blob = match &self.request().tree {
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
        let blob = compile(&self.request().board.tree_source().unwrap_or_default())?;
        self.edit(&blob, |tree| {
            if let Some(count) = self.request().cpus() {
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
        qemu.args(["-display", "none", "-nic", "none"]).stdin(Stdio::null());
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
