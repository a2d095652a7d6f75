//! The parameters that this kernel knows, typed, in command line order.
//!
//! ```text
//! cma=8M@0x26000000 LX_MEM=0x7f00000 mma_heap=name,miu=0,sz=16M
//!   -> Cma(size, base, limit)  LxMem(0x7f00000)  MmaHeap { name, miu, size, .. }
//! ```
//!
//! A value that Linux takes although it can't be meant (`cma=-1`, `mem=8MB`) comes out as Linux takes it,
//! preceded by a [`ParamError`] that says so; a value that can't be taken comes out as the error alone, and
//! parsing goes on (invariant 12).
//!
//! Source: Linux 6.1 (`early_param` and `__setup` handlers of the names below); the SSD202 vendor kernel for
//! `LX_MEM*`, `mma_*` and `mmap_reserved`.

use crate::cmdline::{Arg, Args, CommandLine};
use crate::heap::{MmaHeap, MmapReserved};
use crate::parse::parse;
use core::fmt;

/// What is wrong with one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason<'a> {
    /// There is no value.
    Missing,
    /// A field of a list is not there.
    MissingField(&'static str),
    /// A field stands twice.
    Doubled(&'static str),
    /// A field that nobody knows.
    UnknownField(&'a str),
    /// No number starts here.
    NotANumber(&'a str),
    /// Something follows the number; Linux ignores it.
    Leftover(&'a str),
    /// A number below zero; Linux reads it as 0.
    Negative(&'a str),
    /// More than 32 bits.
    TooLarge(&'a str),
    /// A size of nothing.
    Zero(&'static str),
    /// The start of the window is not below its end.
    EmptyWindow {
        /// `max_start_off`.
        start: u32,
        /// `max_end_off`.
        end: u32,
    },
}

/// A parameter whose value is not, or not wholly, usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamError<'a> {
    /// The argument as it stands on the command line.
    pub arg: Arg<'a>,
    /// What is wrong with it.
    pub reason: Reason<'a>,
}

impl fmt::Display for ParamError<'_> {
    /// `mma_heap=a,miu=0: sz= is missing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.arg)?;
        match self.reason {
            Reason::Missing => f.write_str("a value is missing"),
            Reason::MissingField(field) => write!(f, "{field} is missing"),
            Reason::Doubled(field) => write!(f, "{field} is given twice"),
            Reason::UnknownField(field) => write!(f, "unknown field '{field}'"),
            Reason::NotANumber(text) => write!(f, "'{text}' is not a number"),
            Reason::Leftover(text) => write!(f, "'{text}' follows the number"),
            Reason::Negative(text) => write!(f, "'{text}' is negative"),
            Reason::TooLarge(text) => write!(f, "'{text}' does not fit 32 bits"),
            Reason::Zero(field) => write!(f, "{field} is 0"),
            Reason::EmptyWindow { start, end } => {
                write!(f, "max_start_off {start:#x} is not below max_end_off {end:#x}")
            }
        }
    }
}

impl core::error::Error for ParamError<'_> {}

/// One `cma=`, truncated to 32 bits as Linux's `phys_addr_t` does. Fold several with [`CmaParam::then`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaParam {
    /// Bytes asked for.
    pub size: u32,
    /// Base and limit, where there is an `@`.
    pub window: Option<CmaWindow>,
}

/// Where `cma=SIZE@BASE[-END]` wants the area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaWindow {
    /// First byte.
    pub base: u32,
    /// The byte after the last one allowed; base + size where no end is given.
    pub limit: u32,
}

impl CmaParam {
    /// Whether Linux takes a size as given at all: all ones is its mark for "not given".
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.size != u32::MAX
    }

    /// The lowest address allowed; 0 without an `@`.
    #[must_use]
    pub fn base(&self) -> u32 {
        self.window.map_or(0, |w| w.base)
    }

    /// The end of what is allowed; 0 (none) without an `@`.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.window.map_or(0, |w| w.limit)
    }

    /// Whether the area has to be at its base: the window is just as large as the area. A base of 0 clears
    /// this again when the area is declared.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.base().wrapping_add(self.size) == self.limit()
    }

    /// This one, followed by a later one: its size counts, and its window if it has one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self { size: later.size, window: later.window.or(self.window) }
    }
}

/// One `mem=SIZE[@START]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemParam {
    /// Bytes; 0 for what is no number.
    pub size: u64,
    /// Where; PHYS_OFFSET when not given.
    pub start: Option<u64>,
}

/// One `console=NAME[,OPTIONS]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Console<'a> {
    /// `ttyS0`, `ttyAMA0`.
    pub name: &'a str,
    /// `115200n8`.
    pub options: Option<&'a str>,
}

/// `earlycon` with a value: `DRIVER[,ACCESS],ADDRESS[,OPTIONS]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Earlycon<'a> {
    /// `pl011`, `uart8250`.
    pub driver: &'a str,
    /// `mmio`, `mmio16`, `mmio32`, `mmio32be`, `mmio32native`; how wide registers are.
    pub access: Option<&'a str>,
    /// Physical address; `None` when only the driver is named.
    pub address: Option<u32>,
    /// `115200n8`.
    pub options: Option<&'a str>,
}

/// A parameter of this kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Param<'a> {
    /// `mem=`: replaces the memory that the tree describes.
    Mem(MemParam),
    /// `cma=`: the default CMA area.
    Cma(CmaParam),
    /// `LX_MEM=SIZE`: the vendor's size of RAM at PHYS_OFFSET.
    LxMem {
        /// Bytes.
        size: u32,
    },
    /// `LX_MEM2=BASE,SIZE`: a second bank.
    LxMem2 {
        /// First byte.
        base: u32,
        /// Bytes.
        size: u32,
    },
    /// `LX_MEM3=BASE,SIZE`: a third bank.
    LxMem3 {
        /// First byte.
        base: u32,
        /// Bytes.
        size: u32,
    },
    /// `mma_heap=`: a vendor heap.
    MmaHeap(MmaHeap<'a>),
    /// `mma_memblock_remove=`: heaps leave memory altogether instead of being reserved.
    MmaMemblockRemove(bool),
    /// `mmap_reserved=`: a named reservation in a window.
    MmapReserved(MmapReserved<'a>),
    /// `console=`.
    Console(Console<'a>),
    /// `earlycon`, `earlycon=`; without a value the console of `stdout-path`.
    Earlycon(Option<Earlycon<'a>>),
    /// `loglevel=`.
    Loglevel(u32),
    /// `memblock=` with `debug` in it.
    MemblockDebug,
    /// `vmalloc=`: bytes of the vmalloc area.
    Vmalloc(u32),
    /// `coherent_pool=`: bytes of the pool for atomic coherent allocations.
    CoherentPool(u32),
}

/// The names that become a [`Param`].
const TYPED: [&str; 14] = [
    "mem",
    "cma",
    "LX_MEM",
    "LX_MEM2",
    "LX_MEM3",
    "mma_heap",
    "mma_memblock_remove",
    "mmap_reserved",
    "console",
    "earlycon",
    "loglevel",
    "memblock",
    "vmalloc",
    "coherent_pool",
];

/// Names that later parts read as raw text with [`CommandLine::last`].
const RAW: [&str; 11] = [
    "init_on_alloc",
    "init_on_free",
    "page_poison",
    "slub_debug",
    "page_owner",
    "fail_page_alloc",
    "failslab",
    "video",
    "trace",
    "trace_stack",
    "trace_buf_size",
];

/// Names that Linux takes and that mean nothing here: naming them as unknown would be noise that Linux lacks.
const TAKEN_BY_LINUX: [&str; 19] = [
    "root",
    "rootfstype",
    "rootflags",
    "rootdelay",
    "ro",
    "rw",
    "init",
    "rdinit",
    "quiet",
    "debug",
    "highres",
    "nohz",
    "ignore_loglevel",
    "panic",
    "debug_pagealloc",
    "dma_debug",
    "maxcpus",
    // init's environment has these two before any argument comes, so Linux does not list them either.
    "HOME",
    "TERM",
];

/// Whether the kernel, or Linux in its place, takes this argument.
#[must_use]
pub fn is_known(arg: &Arg<'_>) -> bool {
    let flag = arg.is("rootwait") && arg.value.is_none();
    flag || TYPED.iter().chain(&RAW).chain(&TAKEN_BY_LINUX).any(|name| arg.is(name))
}

/// Iterator over parameters and what is wrong with them.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    args: Args<'a>,
    pending: Option<Param<'a>>,
}

impl<'a> CommandLine<'a> {
    /// The typed parameters in order. An error that precedes a parameter says what Linux ignores in it; one
    /// that stands alone takes its parameter's place.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        Params { args: self.args(), pending: None }
    }

    /// All `cma=` of the line, folded as Linux's variables would end up; `None` without a usable one.
    #[must_use]
    pub fn cma(&self) -> Option<CmaParam> {
        let all = self.params().filter_map(|p| if let Ok(Param::Cma(cma)) = p { Some(cma) } else { None });
        all.reduce(CmaParam::then)
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, ParamError<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(param) = self.pending.take() {
            return Some(Ok(param));
        }
        loop {
            let arg = self.args.next()?;
            let Some(parsed) = parse(&arg) else { continue };
            let (param, reason) = match parsed {
                Ok((param, reason)) => (Some(param), reason),
                Err(reason) => (None, Some(reason)),
            };
            let Some(reason) = reason else { return param.map(Ok) };
            self.pending = param;
            return Some(Err(ParamError { arg, reason }));
        }
    }
}
