//! The display: the reserved region `fb` as its frame buffer, the picture of memory on it, and the command `fb`.
//!
//! ```text
//! fb refresh   console ── takes the screen out of its lock ── all steps of a pass, interrupts on
//! fb watch     timer ──── one step a tick, a pass in a tenth of a second; none while the console has the screen
//! ```
//!
//! A step is short, so that drawing in the timer's interrupt delays no other interrupt for long, and whatever command
//! runs goes on. It allocates nothing, and the memory map is only read. The interrupted code holds none of the
//! locks that a step takes, since each of them is held with interrupts off.
//!
//! The frame has one mapping, uncached (invariant 5): the linear map's own where it reaches, or one in the vmalloc area.
//! Lock order (invariant 11): [`SCREEN`] comes before the memory manager's lock.

use crate::devices;
use crate::memory::{self, EARLY, Mm};
use crate::page_map::{Kinds, shown};
use ::picture::{Layout, Picture, Regions, Size};
use alloc::string::String;
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt::{self, Write};
use core::ptr::NonNull;
use dma::DmaError;
use drivers::display::{Frame, Mode, ModeError, Pl111};
use drivers::mmio::Mmio;
use drivers::timer::TimerId;
use dt::CommandLine;
use hal::{MemAttr, Prot};
use mm::vmalloc::{self, VmallocError};
use setup::ClaimError;
use shell::{Command, Context, Failure, FsError};
use types::{PAGE_SIZE, PhysRange};

/// The region's name on the command line: `mmap_reserved=fb,…`.
const REGION: &str = "fb";
/// A picture is drawn anew after so many nanoseconds.
const PASS: u64 = 100_000_000;

/// A display that shows something.
struct Screen {
    display: Pl111<Mmio>,
    memory: FrameMemory,
    frame: Frame,
    picture: Picture,
    kinds: Kinds,
    /// Nanoseconds of the longest step in the timer's interrupt.
    longest: u64,
}

static SCREEN: IrqLock<Option<Screen>> = IrqLock::new(None);
static WATCH: IrqLock<Option<TimerId>> = IrqLock::new(None);

/// The region, mapped.
struct FrameMemory {
    range: PhysRange,
    base: NonNull<u8>,
}

// SAFETY: the mapping is the kernel's, which every CPU shares; the value is its only owner.
unsafe impl Send for FrameMemory {}

/// Why there is no picture on the display.
enum FbError {
    Claim(ClaimError),
    Uncached(DmaError),
    Vmap(VmallocError),
    TooSmall(PhysRange),
}

impl fmt::Display for FbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(error) => write!(f, "{REGION}: {error}"),
            Self::Uncached(error) => write!(f, "{REGION}: {error}"),
            Self::Vmap(error) => write!(f, "{REGION}: {error}"),
            Self::TooSmall(range) => write!(f, "{REGION}: {range} is too small for any mode"),
        }
    }
}

/// Switches the display on, if there is one and memory for it.
pub fn start(display: Option<Pl111<Mmio>>, regions: &'static Regions, command_line: &CommandLine<'_>) {
    let Some(display) = display else { return };
    match open(display, regions, command_line) {
        Ok(screen) => *SCREEN.lock() = Some(screen),
        Err(error) => log::warn!("clcd-pl11x: {error}"),
    }
}

fn open(
    display: Pl111<Mmio>,
    regions: &'static Regions,
    command_line: &CommandLine<'_>,
) -> Result<Screen, FbError> {
    let memory = FrameMemory::claim()?;
    let room = memory.range.size();
    let largest = Mode::largest(room).ok_or(FbError::TooSmall(memory.range))?;
    let video = command_line.last("video").and_then(|arg| arg.value);
    let wanted = video.map_or(Ok(largest), |text| Mode::parse(text).and_then(|mode| mode.fits(room)));
    let mode = wanted.unwrap_or_else(|error| {
        log::warn!("video={}: {error}", video.unwrap_or_default());
        largest
    });
    let (frame, picture) = (memory.frame(mode), picture_for(mode, regions));
    let mut screen = Screen { display, memory, frame, picture, kinds: Kinds(regions), longest: 0 };
    screen.restart();
    log::info!("clcd-pl11x: {mode} on {}", screen.memory.range);
    Ok(screen)
}

fn picture_for(mode: Mode, regions: &Regions) -> Picture {
    let (width, height) = mode.resolution.size();
    Picture::new(Layout::new(Size::new(width, height), shown(regions).into_iter()))
}

impl FrameMemory {
    fn claim() -> Result<Self, FbError> {
        let claim = |early: &mut memory::Early| early.setup.regions.claim(REGION);
        let claim = EARLY.lock().as_mut().map_or(Err(ClaimError::Unknown), claim).map_err(FbError::Claim)?;
        let range = claim.range();
        let in_linear_map = |mm: &mut Mm| {
            let (_, mut kernel) = mm.dma();
            dma::make_uncached(&mut kernel, range.base(), range.size())
        };
        let base = match claim.is_mapped().then(|| memory::with(in_linear_map)).flatten() {
            Some(Ok(base)) => base,
            Some(Err(DmaError::NotLinear { .. })) | None => vmap(range)?,
            Some(Err(error)) => return Err(FbError::Uncached(error)),
        };
        Ok(Self { range, base })
    }

    /// The frame of a mode in it. There is one at a time: the one before goes first.
    fn frame(&self, mode: Mode) -> Frame {
        // SAFETY: the region is claimed, mapped uncached for good (invariant 5), page-aligned, and large enough for the
        // mode, which was checked; a screen has one frame.
        unsafe { Frame::new(self.base, mode) }
    }
}

/// The region in the vmalloc area, where the linear map does not reach it.
fn vmap(range: PhysRange) -> Result<NonNull<u8>, FbError> {
    let context = vmalloc::Context { caller: vmap as *const () as u32, atomic: memory::in_atomic() };
    let mapped = memory::with(|mm| {
        let (vmalloc, mut backing) = mm.vmalloc();
        vmalloc.vmap_range(&mut backing, context, range, MemAttr::NormalNc, Prot::WRITE)
    });
    let virt = mapped.unwrap_or(Err(VmallocError::TableFull)).map_err(FbError::Vmap)?;
    NonNull::new(core::ptr::with_exposed_provenance_mut(virt.get() as usize)).ok_or(FbError::TooSmall(range))
}

impl Screen {
    /// Draws everything in the current mode and shows it.
    fn restart(&mut self) {
        let Ok(()) = self.picture.begin(self.kinds.0, &mut ::picture::Screen(&mut self.frame));
        self.refresh();
        self.display.show(self.frame.mode(), self.memory.range.base());
    }

    /// A whole pass, and the totals that it found.
    fn refresh(&mut self) {
        self.picture.restart();
        while !self.step() {}
        let Ok(()) = self.picture.finish(&mut ::picture::Screen(&mut self.frame));
        self.frame.flush();
    }

    fn step(&mut self) -> bool {
        let Ok(ended) = self.picture.step(&mut self.kinds, &mut ::picture::Screen(&mut self.frame));
        if ended {
            self.frame.flush();
        }
        ended
    }

    fn set_mode(&mut self, mode: Mode) {
        self.display.stop();
        self.frame = self.memory.frame(mode);
        self.picture = picture_for(mode, self.kinds.0);
        self.restart();
    }
}

/// What the timer does while `fb watch` is on.
fn tick() {
    if let Some(screen) = &mut *SCREEN.lock() {
        let start = devices::now();
        screen.step();
        screen.longest = screen.longest.max(devices::now() - start);
    }
}

/// Runs `work` on the screen, which is out of its lock meanwhile: the timer leaves it alone, and interrupts stay on.
fn with<R>(work: impl FnOnce(&mut Screen) -> R) -> Result<R, FsError> {
    let taken = SCREEN.lock().take();
    let mut screen = taken.ok_or(FsError::NoDevice)?;
    let result = work(&mut screen);
    *SCREEN.lock() = Some(screen);
    Ok(result)
}

fn stop_watching() -> bool {
    let timer = WATCH.lock().take();
    timer.map(devices::cancel).is_some()
}

fn watch() -> Result<(), FsError> {
    stop_watching();
    let steps = with(|screen| screen.picture.steps())?;
    let timer = devices::every(PASS / u64::from(steps), &tick);
    *WATCH.lock() = Some(timer);
    Ok(())
}

/// The command.
pub const COMMAND: Command = Command {
    name: "fb",
    usage: "[refresh|watch [off]|mode SIZE[-BITS]]",
    help: "show memory on the display",
    run,
};

fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let args: Vec<&str> = context.args.iter().map(String::as_str).collect();
    match args[..] {
        [] => status(context),
        ["refresh"] => Ok(with(Screen::refresh)?),
        ["watch"] => Ok(watch()?),
        ["watch", "off"] => {
            with(|_| ())?;
            stop_watching();
            Ok(())
        }
        ["mode", mode] => set_mode(context, mode),
        _ => Err(Failure::Usage),
    }
}

fn set_mode(context: &mut Context<'_>, text: &str) -> Result<(), Failure> {
    let watched = stop_watching();
    let set = with(|screen| {
        let mode = Mode::parse(text)?.fits(screen.memory.range.size())?;
        screen.set_mode(mode);
        Ok::<_, ModeError<'_>>(())
    });
    if watched {
        watch()?;
    }
    set?.map_err(|error| {
        context.report(text, &error);
        Failure::Status(1)
    })
}

fn status(context: &mut Context<'_>) -> Result<(), Failure> {
    let watched = WATCH.lock().is_some();
    let (mode, range, square, passes, longest) = with(|screen| {
        let picture = &screen.picture;
        let square = picture.layout().pages_per_square() * (PAGE_SIZE / 1024);
        (screen.frame.mode(), screen.memory.range, square, picture.passes(), screen.longest)
    })?;
    let first = range.base().get();
    let watched = if watched { "on" } else { "off" };
    writeln!(context, "mode     {mode}")?;
    writeln!(context, "frame    {first:08x}-{:08x} : {REGION}", first + (range.size() - 1))?;
    writeln!(context, "square   {square} kB")?;
    writeln!(context, "drawn    {passes}")?;
    writeln!(context, "watch    {watched}")?;
    Ok(writeln!(context, "longest  {longest} ns")?)
}
