//! `memhog SIZE [--check]`: movable memory, filled with a pattern and verified, that stays until `memhog 0`.
//!
//! ```text
//! parent   | locked | ............. | stored to by the child |   | shared |
//! child    |        the same pages  | copies                 |   | shared |     pins: a page in each MiB
//! ```
//!
//! Each [`CHUNK`] is a pair of spaces like this ([`Shares`]), so that all that address spaces do with memory is done
//! with some of it.

use crate::memory;
use crate::user::{self, CurrentSpace};
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt;
use mm::memhog::{Memhog, MemhogError, Shares};
use mm::pin::{Foll, PinError, PinnedPage, unpin_user_page};
use mm::space::{Placement, SpaceError, SpaceId, VmFlags};
use shell::{Command, Context, Failure};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// Pages of a pair of spaces: few enough that a fork keeps interrupts off for some milliseconds only.
const CHUNK: u32 = (32 << 20) / PAGE_SIZE;
/// Pages that are locked in one go.
const LOCK_BATCH: u32 = 32;
/// Pages after which Ctrl-C is looked for.
const PATIENCE: u32 = 256;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
/// Seeds of what parent and child store, and both.
const SEEDS: [u32; 3] = [0x0bad_5eed, 0xc0ff_ee00, 0x5a5a_0f0f];

pub const COMMAND: Command = Command {
    name: "memhog",
    usage: "SIZE [--check]",
    help: "fill movable memory and keep it until `memhog 0`; verify all that is kept",
    run,
};

/// Why memory was not filled, or is not what it was.
enum Error {
    Space(SpaceError),
    Memory(MemhogError),
    Pin(PinError),
    /// A pinned page is somewhere else.
    Moved {
        pinned: Pfn,
        found: Option<Pfn>,
    },
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Pin(error) => error.fmt(f),
            Self::Moved { pinned, found: Some(found) } => {
                write!(f, "pinned pfn {pinned} was replaced by {found}")
            }
            Self::Moved { pinned, found: None } => write!(f, "pinned pfn {pinned} is gone"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<SpaceError> for Error {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

impl From<MemhogError> for Error {
    fn from(error: MemhogError) -> Self {
        Self::Memory(error)
    }
}

impl From<PinError> for Error {
    fn from(error: PinError) -> Self {
        Self::Pin(error)
    }
}

/// Runs `f` on the spaces.
fn with<R>(
    f: impl FnOnce(&mut ::user::Spaces, &mut ::user::Pages) -> Result<R, SpaceError>,
) -> Result<R, SpaceError> {
    user::with(|spaces, mm| f(spaces, mm.pages)).unwrap_or(Err(SpaceError::NoSpace))
}

/// A pair of spaces.
struct Hog {
    shares: Shares,
    parent: SpaceId,
    child: Option<SpaceId>,
    private: VirtAddr,
    shared: VirtAddr,
    pins: Vec<PinnedPage>,
}

impl Hog {
    fn new(pages: u32) -> Result<Self, Error> {
        let shares = Shares::of(pages);
        let parent = with(|spaces, pages| spaces.create(pages))?;
        let nowhere = VirtAddr::new(0);
        Ok(Self { shares, parent, child: None, private: nowhere, shared: nowhere, pins: Vec::new() })
    }

    /// What the private region holds before the part that differs, the parts that do, and the shared region.
    fn parts(&self) -> [Memhog; 4] {
        let Shares { private, copied, shared, .. } = self.shares;
        let at = |page: u32| VirtAddr::new(self.private.get() + page * PAGE_SIZE);
        [
            Memhog::new(self.private, (private - copied) * PAGE_SIZE, SEEDS[0]),
            Memhog::new(at(private - copied), copied * PAGE_SIZE, SEEDS[0]),
            Memhog::new(at(private - copied), copied * PAGE_SIZE, SEEDS[1]),
            Memhog::new(self.shared, shared * PAGE_SIZE, SEEDS[2]),
        ]
    }

    fn fill(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let Shares { private, shared, .. } = self.shares;
        let parent = self.parent;
        let map = |pages_wanted: u32, flags: VmFlags| {
            let len = pages_wanted * PAGE_SIZE;
            with(|spaces, pages| spaces.mmap(pages, parent, Placement::Anywhere, len, flags))
        };
        self.private = map(private, RW)?;
        if shared > 0 {
            self.shared = map(shared, RW | VmFlags::SHARED)?;
        }
        self.lock()?;
        let [same, parents, childs, both] = self.parts();
        user::enter(parent)?;
        for part in [same, parents, both] {
            each(&part, context, |page| part.fill(&mut CurrentSpace, page))?;
        }
        let child = with(|spaces, pages| spaces.fork(pages, parent))?;
        self.child = Some(child);
        user::enter(child)?;
        each(&childs, context, |page| childs.fill(&mut CurrentSpace, page))?;
        self.pin()
    }

    fn lock(&self) -> Result<(), Error> {
        let locked = self.shares.locked;
        for page in (0..locked).step_by(LOCK_BATCH as usize) {
            let virt = VirtAddr::new(self.private.get() + page * PAGE_SIZE);
            let len = LOCK_BATCH.min(locked - page) * PAGE_SIZE;
            with(|spaces, pages| spaces.mlock(pages, self.parent, virt, len))?;
        }
        Ok(())
    }

    fn pin_at(&self, pin: u32) -> VirtAddr {
        VirtAddr::new(self.private.get() + pin * Shares::PIN_DISTANCE * PAGE_SIZE)
    }

    fn pin(&mut self) -> Result<(), Error> {
        self.pins.reserve(self.shares.pinned as usize);
        for pin in 0..self.shares.pinned {
            let (virt, how) = (self.pin_at(pin), Foll::WRITE | Foll::LONGTERM);
            let pinned = user::with(|spaces, mm| spaces.pin_user_page(mm.pages, self.parent, virt, how));
            self.pins.push(pinned.unwrap_or(Err(SpaceError::NoSpace.into()))?);
        }
        Ok(())
    }

    fn check(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let [same, parents, childs, both] = self.parts();
        for (id, third) in [(Some(self.parent), parents), (self.child, childs)] {
            let Some(id) = id else { continue };
            user::enter(id)?;
            for part in [same, third, both] {
                each(&part, context, |page| part.check(&mut CurrentSpace, page))?;
            }
        }
        for (number, pin) in (0..).zip(&self.pins) {
            let found = with(|spaces, _| spaces.page_at(self.parent, self.pin_at(number)))?;
            if found != Some(pin.pfn()) {
                return Err(Error::Moved { pinned: pin.pfn(), found });
            }
        }
        Ok(())
    }

    fn free(self) {
        user::leave();
        let Self { parent, child, pins, .. } = self;
        for pin in pins {
            memory::with(|mm| unpin_user_page(mm.pages, pin, true));
        }
        for id in [child, Some(parent)].into_iter().flatten() {
            if let Err(error) = with(|spaces, pages| spaces.destroy(pages, id)) {
                log::error!("memhog: {id}: {error}");
            }
        }
    }
}

/// Does something with each page, unless Ctrl-C is pressed.
fn each(
    part: &Memhog,
    context: &mut Context<'_>,
    mut work: impl FnMut(u32) -> Result<(), MemhogError>,
) -> Result<(), Error> {
    for page in 0..part.pages() {
        if page % PATIENCE == 0 && context.interrupted() {
            return Err(Error::Interrupted);
        }
        work(page)?;
    }
    Ok(())
}

/// What is kept.
static HOGS: IrqLock<Vec<Hog>> = IrqLock::new(Vec::new());

fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let (mut size, mut check) = (None, false);
    for word in context.args {
        match dt::memparse(word) {
            _ if word == "--check" => check = true,
            (bytes, "") if size.is_none() && !word.is_empty() => {
                size = Some(bytes.div_ceil(PAGE_SIZE.into()))
            }
            _ => return Err(Failure::Usage),
        }
    }
    let pages = match size.map(u32::try_from) {
        Some(Ok(pages)) => Some(pages),
        None if check => None,
        _ => return Err(Failure::Usage),
    };
    let mut hogs = core::mem::take(&mut *HOGS.lock());
    let done = change(context, &mut hogs, pages).and_then(|()| verify(context, &hogs, check));
    user::leave();
    *HOGS.lock() = hogs;
    match done {
        Ok(()) => Ok(()),
        Err(Error::Interrupted) => Err(Failure::Interrupted),
        Err(error) => {
            let size = context.args.first().map_or("", |word| word.as_str());
            context.report(size, &error);
            Err(Failure::Status(1))
        }
    }
}

/// Frees everything, or fills more: all of it or none.
fn change(context: &mut Context<'_>, hogs: &mut Vec<Hog>, pages: Option<u32>) -> Result<(), Error> {
    if pages == Some(0) {
        hogs.drain(..).for_each(Hog::free);
    }
    let (kept, pages) = (hogs.len(), pages.unwrap_or(0));
    for at in (0..pages).step_by(CHUNK as usize) {
        let filled = Hog::new(CHUNK.min(pages - at)).and_then(|hog| {
            hogs.push(hog);
            hogs.last_mut().map_or(Ok(()), |hog| hog.fill(context))
        });
        if let Err(error) = filled {
            hogs.drain(kept..).for_each(Hog::free);
            return Err(error);
        }
    }
    Ok(())
}

fn verify(context: &mut Context<'_>, hogs: &[Hog], check: bool) -> Result<(), Error> {
    let pages = |hog: &Hog| {
        let Shares { private, copied, shared, pinned, .. } = hog.shares;
        private + copied + shared + pinned
    };
    let all: u32 = hogs.iter().map(pages).sum();
    if check {
        hogs.iter().try_for_each(|hog| hog.check(context))?;
    }
    let verified = if check { ", verified" } else { "" };
    // Ctrl-C is looked for elsewhere.
    let _ = fmt::Write::write_fmt(context, format_args!("memhog: {all} pages kept{verified}\n"));
    Ok(())
}
