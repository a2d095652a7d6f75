//! Builds the kernel and turns it into the image that boots.
//!
//! Cargo builds into a target folder of its own, so that neither a `cargo run` nor a `cargo test` that started us
//! can hold its lock. Files are replaced by renaming: a QEMU that is just reading the old one keeps it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::elf;
use crate::error::{Error, Result};
use crate::setup::{self, TARGET};

/// Which image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// The kernel that boards are flashed with.
    #[default]
    Kernel,
    /// The kernel with the benchmarks in it.
    Bench,
}

impl Flavor {
    /// Cargo's arguments that choose it. Both are built in one target folder and share what they depend on.
    fn cargo_args(self) -> &'static [&'static str] {
        match self {
            Self::Kernel => &["--bin", "kernel"],
            Self::Bench => &["--bin", "kernel-bench", "--features", "bench"],
        }
    }

    fn elf_name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel.elf",
            Self::Bench => "kernel-bench.elf",
        }
    }

    fn binary(self) -> &'static str {
        self.elf_name().trim_end_matches(".elf")
    }

    /// The raw image's file name.
    pub(crate) fn zimage_name(self) -> &'static str {
        match self {
            Self::Kernel => "zImage",
            Self::Bench => "zImage-bench",
        }
    }
}

/// The image of one build.
#[derive(Debug, Clone)]
pub struct Image {
    /// The linked file, with debug information.
    pub elf: PathBuf,
    /// The raw image.
    pub zimage: PathBuf,
}

/// The root of the source tree.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder for everything that a run makes: `target/image`, in Cargo's target folder of the moment.
pub fn work_dir() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace().join(target).join("image")
}

/// Builds the kernel, showing progress on stderr unless `quiet`.
///
/// # Errors
/// When the target can't be had, the build fails, or its result is no image.
pub fn build(quiet: bool) -> Result<Image> {
    build_flavor(Flavor::Kernel, quiet)
}

/// Builds one of the images, showing progress on stderr unless `quiet`.
///
/// # Errors
/// As [`build`].
pub fn build_flavor(flavor: Flavor, quiet: bool) -> Result<Image> {
    setup::ensure_target()?;
    let dir = work_dir();
    fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
    cargo(&dir, flavor, quiet)?;
    let built = dir.join(TARGET).join("release").join(flavor.binary());
    let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
    let bad_image = |reason| Error::BadImage { file: built.clone(), reason };
    let image = Image { elf: dir.join(flavor.elf_name()), zimage: dir.join(flavor.zimage_name()) };
    replace(&image.zimage, &elf::to_zimage(&bytes).map_err(bad_image)?)?;
    replace(&image.elf, &bytes)?;
    Ok(image)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Name,
    #[serde(default)]
    fresh: bool,
}

#[derive(Default, Deserialize)]
struct Name {
    name: String,
}

fn cargo(dir: &Path, flavor: Flavor, quiet: bool) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "kernel", "--release", "--target", TARGET]);
    command.args(flavor.cargo_args());
    command.arg("--message-format=json-render-diagnostics").arg("--target-dir").arg(dir);
    command.current_dir(workspace()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(Error::start("cargo build"))?;
    if let Some(output) = child.stdout.take() {
        show_progress(BufReader::new(output), quiet);
    }
    let status = child.wait().map_err(Error::start("cargo build"))?;
    let program = "cargo build -p kernel".to_owned();
    if status.success() { Ok(()) } else { Err(Error::Program { program, status }) }
}

/// Names each package as it is done: on a terminal in place, elsewhere in one line at the first that took work.
fn show_progress(messages: impl BufRead, quiet: bool) {
    let terminal = std::io::stderr().is_terminal();
    let bar = if quiet || !terminal { ProgressBar::hidden() } else { spinner("building the image") };
    let mut said = quiet || terminal;
    for line in messages.lines().map_while(std::result::Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message.reason != "compiler-artifact" || message.fresh {
            continue;
        }
        if !said {
            eprintln!("building the image");
            said = true;
        }
        bar.set_message(format!("building the image: {}", message.target.name));
    }
    bar.finish_and_clear();
}

/// A spinner on stderr that runs until it is cleared.
pub fn spinner(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Writes `bytes` to `file` in one step, as others see it. A file that has these bytes already is left alone.
///
/// # Errors
/// [`Error::File`].
pub fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(dir).map_err(Error::file("write", file))?;
    new.write_all(bytes).map_err(Error::file("write", file))?;
    new.persist(file).map_err(|error| Error::file("write", file)(error.error))?;
    // A temporary file is for its owner only; these are for everyone.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file, mode).map_err(Error::file("write", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_readable() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zImage");
        for bytes in [&b"one"[..], b"one", b"three"] {
            replace(&file, bytes).unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(replace(&dir.path().join("no/zImage"), b"").is_err());
    }
}
