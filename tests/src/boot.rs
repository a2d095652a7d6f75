//! Boots boards for the harness: through the runner's own parts, with the console kept instead of shown.

use std::sync::OnceLock;
use std::time::Duration;

use qemu::board::{Board, boards_dir};
use qemu::error::{Error, Result};
use qemu::files::compile;
use qemu::image::{self, Flavor, Image};
use qemu::plan::Plan;
use qemu::request::{Request, TreeChoice};
use qemu::run::{Inputs, run};
use qemu::session::{Purpose, Report};
use qemu::setup::{Host, Tool, ensure};
use qemu::size::Size;

use crate::host;
use crate::scenario::{self, Scenario, Tree};

/// The image that is flashed or, with the benchmarks, the large one, built once for all tests of a program.
///
/// # Panics
/// When QEMU or what the boards' trees are made with can't be had, or the image can't be built.
pub fn image(flavor: Flavor) -> &'static Image {
    static IMAGES: [OnceLock<Image>; 2] = [const { OnceLock::new() }; 2];
    IMAGES[usize::from(flavor == Flavor::Bench)].get_or_init(|| {
        let tools = ensure(&[Tool::Qemu, Tool::Dtc], &Host::here());
        tools.and_then(|()| image::build_flavor(flavor, false)).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Boots as a scenario says: what the run showed, and what is wrong with the disk that it left.
///
/// # Errors
/// When the scenario asks for what can't be, or QEMU fails.
pub fn play(scenario: &Scenario) -> Result<(Report, Vec<String>)> {
    let mut commands: Vec<_> = scenario.commands.iter().map(|step| step.run.clone()).collect();
    commands.extend(scenario.selftest.then(|| "selftest".to_owned()));
    let folder = scenario.disk.as_ref().map(|_| tempfile::tempdir()).transpose();
    let folder = folder.map_err(Error::file("make", "a temporary folder"))?;
    let disk = folder.as_ref().map(|folder| folder.path().join("disk.img"));
    if let Some(disk) = &disk {
        std::fs::write(disk, qemu::virtio::disk()).map_err(Error::file("write", disk))?;
    }
    let plan = Plan::new(Request { once: true, disk: disk.clone(), ..request(scenario)? })?;
    let timeout = Some(Duration::from_secs(scenario.timeout));
    let image = image(scenario.flavor());
    let report = run(&plan, image, Purpose::Commands(&commands), timeout, &mut (), Inputs::default())?;
    let written = scenario.disk.iter().zip(disk);
    let wrong = written.filter_map(|(written, disk)| host::check_disk(&disk, written)).collect();
    Ok((report, wrong))
}

/// The request that a scenario stands for.
///
/// # Errors
/// When it asks for what can't be.
pub fn request(scenario: &Scenario) -> Result<Request> {
    let mut request = Request::new(Board::load(&boards_dir(), &scenario.board)?);
    let bad_size = |text: &str| {
        let text = text.to_owned();
        move |reason| Error::BadSize { text, reason }
    };
    request.mem = scenario.mem.as_deref().map(|mem| Size::parse(mem).map_err(bad_size(mem))).transpose()?;
    request.smp = scenario.smp;
    let times = scenario.append_times;
    request.append = scenario.append.as_ref().map(|append| vec![append.as_str(); times].join(" "));
    request.cmdline.clone_from(&scenario.cmdline);
    request.u_boot = scenario.u_boot;
    request.icount = scenario.icount;
    request.devices = !scenario.no_devices;
    request.flavor = scenario.flavor();
    request.machine_options.clone_from(&scenario.machine);
    request.tree = tree(scenario, &request)?;
    Ok(request)
}

fn tree(scenario: &Scenario, request: &Request) -> Result<TreeChoice> {
    let whole = || {
        let plan = Plan::new(request.clone())?;
        plan.tree(plan.cmdline())
    };
    Ok(match &scenario.tree {
        Tree::Board => TreeChoice::Board,
        Tree::None => TreeChoice::None,
        Tree::Nowhere => TreeChoice::Nowhere,
        Tree::Source(file) => TreeChoice::Blob(compile(&scenario::dir().join(file))?),
        Tree::Cut(length) => {
            let mut blob = whole()?;
            blob.truncate(*length);
            TreeChoice::Raw(blob)
        }
        Tree::Poke(offset, value) => {
            let mut blob = whole()?;
            if let Some(byte) = blob.get_mut(*offset) {
                *byte = *value;
            }
            TreeChoice::Raw(blob)
        }
    })
}
