//! The SSD202's vendor arguments: `mma_heap=` and `mmap_reserved=`.
//!
//! ```text
//! mma_heap=NAME,miu=N,sz=S[,max_start_off=A,max_end_off=B]
//! mmap_reserved=NAME,miu=N,sz=S,max_start_off=A,max_end_off=B
//! ```
//!
//! Offsets count from the start of the memory interface unit's (MIU's) window, which for MIU 0 is PHYS_OFFSET.
//! Source: the SigmaStar vendor kernel's boot arguments, as in the SSD202 document.

use crate::param::{Param, Reason};
use crate::parse::{Parsed, strict};

/// Offsets from the start of the MIU that a reservation has to stay within.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetWindow {
    /// First byte.
    pub start: u32,
    /// The byte after the last; above `start`.
    pub end: u32,
}

/// One `mma_heap=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmaHeap<'a> {
    /// What drivers ask for it by.
    pub name: &'a str,
    /// Which memory interface unit.
    pub miu: u32,
    /// Bytes; never 0.
    pub size: u32,
    /// Where it may lie; anywhere in the MIU when not given.
    pub window: Option<OffsetWindow>,
}

/// One `mmap_reserved=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmapReserved<'a> {
    /// What drivers ask for it by.
    pub name: &'a str,
    /// Which memory interface unit.
    pub miu: u32,
    /// Bytes; never 0.
    pub size: u32,
    /// Where it has to lie.
    pub window: OffsetWindow,
}

const FIELDS: [&str; 4] = ["miu=", "sz=", "max_start_off=", "max_end_off="];

/// A name and the fields behind it, each read at most once.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    name: &'a str,
    values: [Option<u32>; FIELDS.len()],
    unknown: Option<&'a str>,
}

/// Splits `NAME,field=value,…`.
pub(crate) fn name_and_fields(text: &str) -> Result<Fields<'_>, Reason<'_>> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() || name.contains('=') {
        return Err(Reason::MissingField("the name"));
    }
    let mut fields = Fields { name, values: [None; FIELDS.len()], unknown: None };
    for part in parts {
        let known = FIELDS
            .iter()
            .zip(&mut fields.values)
            .find_map(|(field, slot)| part.strip_prefix(field).map(|value| (field, slot, value)));
        match known {
            None => fields.unknown = fields.unknown.or(Some(part)),
            Some((field, Some(_), _)) => return Err(Reason::Doubled(field)),
            Some((_, slot, value)) => *slot = Some(strict(value)?),
        }
    }
    Ok(fields)
}

impl<'a> Fields<'a> {
    fn required(&self, index: usize) -> Result<u32, Reason<'a>> {
        self.values[index].ok_or(Reason::MissingField(FIELDS[index]))
    }

    fn size(&self) -> Result<u32, Reason<'a>> {
        self.required(1).and_then(|size| if size == 0 { Err(Reason::Zero("sz=")) } else { Ok(size) })
    }

    fn window(&self) -> Result<OffsetWindow, Reason<'a>> {
        let (start, end) = (self.required(2)?, self.required(3)?);
        if start < end { Ok(OffsetWindow { start, end }) } else { Err(Reason::EmptyWindow { start, end }) }
    }

    fn ignored(&self) -> Option<Reason<'a>> {
        self.unknown.map(Reason::UnknownField)
    }
}

pub(crate) fn mma_heap(fields: Fields<'_>) -> Parsed<'_, Param<'_>> {
    let [miu, _, start, end] = fields.values;
    let window = if start.is_some() || end.is_some() { Some(fields.window()?) } else { None };
    let miu = miu.ok_or(Reason::MissingField(FIELDS[0]))?;
    Ok((Param::MmaHeap(MmaHeap { name: fields.name, miu, size: fields.size()?, window }), fields.ignored()))
}

pub(crate) fn mmap_reserved(fields: Fields<'_>) -> Parsed<'_, Param<'_>> {
    let (name, miu, size) = (fields.name, fields.required(0)?, fields.size()?);
    let window = fields.window()?;
    Ok((Param::MmapReserved(MmapReserved { name, miu, size, window }), fields.ignored()))
}
