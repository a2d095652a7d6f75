//! From an argument's text to a [`Param`].
//!
//! Linux's own parameters are read as leniently as Linux reads them; the vendor's are refused when anything
//! about them is wrong, because a reservation at a guessed place is worse than none.

use crate::cmdline::Arg;
use crate::heap::{self, name_and_fields};
use crate::number::{Number, size};
use crate::param::{CmaParam, CmaWindow, Console, Earlycon, MemParam, Param, Reason};

/// A value, and what was ignored in it.
pub(crate) type Parsed<'a, T> = Result<(T, Option<Reason<'a>>), Reason<'a>>;

/// `arg` as a parameter; `None` when it is not one of ours.
pub(crate) fn parse<'a>(arg: &Arg<'a>) -> Option<Parsed<'a, Param<'a>>> {
    let value = arg.value.ok_or(Reason::Missing);
    Some(if arg.is("mem") {
        value.map(mem)
    } else if arg.is("cma") {
        value.map(cma)
    } else if arg.is("LX_MEM") {
        value.and_then(lx_mem)
    } else if arg.is("LX_MEM2") {
        value.and_then(bank).map(|(base, size)| (Param::LxMem2 { base, size }, None))
    } else if arg.is("LX_MEM3") {
        value.and_then(bank).map(|(base, size)| (Param::LxMem3 { base, size }, None))
    } else if arg.is("mma_heap") {
        value.and_then(name_and_fields).and_then(heap::mma_heap)
    } else if arg.is("mma_memblock_remove") {
        value.and_then(strict).map(|n| (Param::MmaMemblockRemove(n != 0), None))
    } else if arg.is("mmap_reserved") {
        value.and_then(name_and_fields).and_then(heap::mmap_reserved)
    } else if arg.is("console") {
        value.map(|text| (Param::Console(console(text)), None))
    } else if arg.is("earlycon") {
        earlycon(arg.value)
    } else if arg.is("loglevel") {
        value.and_then(strict).map(|n| (Param::Loglevel(n), None))
    } else if arg.is("memblock") {
        // Linux looks for the word anywhere in the value, and ignores every other value.
        let debug = |text: &str| text.as_bytes().windows(5).any(|word| word == b"debug");
        return value.map(|text| debug(text).then_some((Param::MemblockDebug, None))).transpose();
    } else if arg.is("vmalloc") {
        value.map(|text| lenient(text, Param::Vmalloc))
    } else if arg.is("coherent_pool") {
        value.map(|text| lenient(text, Param::CoherentPool))
    } else {
        return None;
    })
}

/// What a reader of `text` that takes any number ignores.
fn complaint<'a>(text: &'a str, number: &Number<'a>, limit: u64) -> Option<Reason<'a>> {
    if number.wrapped || number.value > limit {
        Some(Reason::TooLarge(text))
    } else if number.rest.is_empty() && !text.is_empty() {
        None
    } else if text.starts_with('-') {
        Some(Reason::Negative(text))
    } else if number.rest.len() == text.len() {
        Some(Reason::NotANumber(text))
    } else {
        Some(Reason::Leftover(number.rest))
    }
}

/// A number of at most 32 bits and nothing else.
pub(crate) fn strict(text: &str) -> Result<u32, Reason<'_>> {
    let number = size(text);
    match complaint(text, &number, u32::MAX.into()) {
        None => Ok(number.value as u32),
        Some(reason) => Err(reason),
    }
}

/// Whatever number stands at the start, truncated to 32 bits.
fn lenient<'a>(text: &'a str, make: fn(u32) -> Param<'a>) -> (Param<'a>, Option<Reason<'a>>) {
    let number = size(text);
    (make(number.value as u32), complaint(text, &number, u32::MAX.into()))
}

fn mem(text: &str) -> (Param<'_>, Option<Reason<'_>>) {
    let size_part = size(text);
    let start = size_part.rest.strip_prefix('@').map(|rest| (rest, size(rest)));
    let first = start.and_then(|(rest, _)| text.strip_suffix(rest)?.strip_suffix('@')).unwrap_or(text);
    let whole = Number { rest: if start.is_some() { "" } else { size_part.rest }, ..size_part };
    let reason =
        complaint(first, &whole, u64::MAX).or_else(|| start.and_then(|(t, n)| complaint(t, &n, u64::MAX)));
    (Param::Mem(MemParam { size: size_part.value, start: start.map(|(_, n)| n.value) }), reason)
}

fn cma(text: &str) -> (Param<'_>, Option<Reason<'_>>) {
    let bytes = size(text);
    let base = bytes.rest.strip_prefix('@').map(size);
    let limit = base.and_then(|base| base.rest.strip_prefix('-')).map(size);
    let window = base.map(|base| CmaWindow {
        base: base.value as u32,
        limit: limit.map_or(base.value.wrapping_add(bytes.value), |l| l.value) as u32,
    });
    let rest = limit.or(base).unwrap_or(bytes).rest;
    let numbers = [Some(bytes), base, limit];
    let wide = numbers.iter().flatten().any(|n| n.wrapped || n.value > u32::MAX.into());
    let reason = if wide {
        Some(Reason::TooLarge(text))
    } else {
        complaint(text, &Number { value: 0, wrapped: false, rest }, 0)
    };
    (Param::Cma(CmaParam { size: bytes.value as u32, window }), reason)
}

fn lx_mem(text: &str) -> Parsed<'_, Param<'_>> {
    match strict(text)? {
        0 => Err(Reason::Zero("the size")),
        size => Ok((Param::LxMem { size }, None)),
    }
}

fn bank(text: &str) -> Result<(u32, u32), Reason<'_>> {
    let (base, size) = text.split_once(',').ok_or(Reason::MissingField("the size"))?;
    Ok((strict(base)?, strict(size)?))
}

/// `NAME[,OPTIONS]`.
pub(crate) fn console(text: &str) -> Console<'_> {
    match text.split_once(',') {
        Some((name, options)) => Console { name, options: Some(options) },
        None => Console { name: text, options: None },
    }
}

fn earlycon(value: Option<&str>) -> Parsed<'_, Param<'_>> {
    let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok((Param::Earlycon(None), None)) };
    let (driver, rest) = text.split_once(',').unwrap_or((text, ""));
    let (access, rest) = match rest.split_once(',') {
        Some((access, rest)) if access.starts_with("mmio") => (Some(access), rest),
        _ => (None, rest),
    };
    let (address, options) = rest.split_once(',').map_or((rest, None), |(a, o)| (a, Some(o)));
    let address = if address.is_empty() { None } else { Some(strict(address)?) };
    Ok((Param::Earlycon(Some(Earlycon { driver, access, address, options })), None))
}
