//! What the guards show and take: `/sys/kernel/debug/page_owner`, `failslab/`, `fail_page_alloc/`.
//!
//! Source: Linux 6.1 `mm/page_owner.c`, `lib/fault-inject.c`, `mm/failslab.c`, `mm/page_alloc.c`.

use crate::memory::{self, Mm};
use alloc::format;
use alloc::string::String;
use core::fmt::Display;
use core::str::FromStr;
use mm::FaultAttr;
use shell::{Control, FsError, Output, Vfs};

/// Bytes of a block's text in `page_owner`.
const BLOCK: usize = 1024;

/// One of the two kinds of fault injection.
#[derive(Clone, Copy)]
struct Injection {
    dir: &'static str,
    get: fn(&Mm) -> FaultAttr,
    set: fn(&mut Mm, FaultAttr),
}

const PAGES: Injection = Injection {
    dir: "/sys/kernel/debug/fail_page_alloc",
    get: |mm| mm.pages.fail_page_alloc().clone(),
    set: |mm, attr| mm.pages.set_fail_page_alloc(attr),
};

const OBJECTS: Injection = Injection {
    dir: "/sys/kernel/debug/failslab",
    get: |mm| mm.slab.options().failslab.clone(),
    set: |mm, attr| mm.slab.set_failslab(mm.pages, attr),
};

/// Adds the files.
pub fn add(vfs: &mut Vfs) -> Result<(), FsError> {
    vfs.add_read("/sys/kernel/debug/page_owner", page_owner)?;
    for injection in [OBJECTS, PAGES] {
        injection.number(vfs, "probability", |attr| &mut attr.probability)?;
        injection.number(vfs, "interval", |attr| &mut attr.interval)?;
        injection.number(vfs, "times", |attr| &mut attr.times)?;
        injection.number(vfs, "space", |attr| &mut attr.space)?;
        injection.number(vfs, "verbose", |attr| &mut attr.verbose)?;
        injection.switch(vfs, "ignore-gfp-wait", |attr| &mut attr.ignore_wait)?;
    }
    PAGES.switch(vfs, "ignore-gfp-highmem", |attr| &mut attr.ignore_highmem)?;
    PAGES.number(vfs, "min-order", |attr| &mut attr.min_order)
}

/// Block by block: the text of all of them may be larger than memory.
fn page_owner(out: &mut dyn Output) -> Result<(), FsError> {
    if memory::with(|mm| mm.pages.tracks_owners()) != Some(true) {
        return Err(FsError::InvalidArgument);
    }
    let mut from = 0;
    loop {
        let mut text = String::new();
        text.try_reserve_exact(BLOCK).map_err(|_| FsError::NoMemory)?;
        let mut text = super::Fixed { text };
        match memory::with(|mm| mm.pages.write_owned(from, &mut text)).flatten() {
            Some(next) => from = next,
            None => return Ok(()),
        }
        out.write_str(&text.text)?;
    }
}

impl Injection {
    fn attr(&self) -> FaultAttr {
        memory::with(|mm| (self.get)(mm)).unwrap_or_default()
    }

    fn add(
        self,
        vfs: &mut Vfs,
        name: &str,
        show: impl Fn(&mut FaultAttr, &mut dyn Output) -> core::fmt::Result + 'static,
        take: impl Fn(&mut FaultAttr, &str) -> Option<()> + 'static,
    ) -> Result<(), FsError> {
        let read = move |out: &mut dyn Output| Ok(show(&mut self.attr(), out)?);
        let write = move |text: &str| {
            let mut attr = self.attr();
            take(&mut attr, text.trim()).ok_or(FsError::InvalidArgument)?;
            memory::with(|mm| (self.set)(mm, attr));
            Ok(())
        };
        vfs.add(&format!("{}/{name}", self.dir), Control(read, write))
    }

    fn number<T: Copy + Display + FromStr + 'static>(
        self,
        vfs: &mut Vfs,
        name: &str,
        field: fn(&mut FaultAttr) -> &mut T,
    ) -> Result<(), FsError> {
        let show = move |attr: &mut FaultAttr, out: &mut dyn Output| writeln!(out, "{}", *field(attr));
        self.add(vfs, name, show, move |attr, text| text.parse().ok().map(|number| *field(attr) = number))
    }

    fn switch(
        self,
        vfs: &mut Vfs,
        name: &str,
        field: fn(&mut FaultAttr) -> &mut bool,
    ) -> Result<(), FsError> {
        let show = move |attr: &mut FaultAttr, out: &mut dyn Output| {
            writeln!(out, "{}", if *field(attr) { 'Y' } else { 'N' })
        };
        self.add(vfs, name, show, move |attr, text| {
            *field(attr) = match text {
                "1" | "y" | "Y" | "on" => true,
                "0" | "n" | "N" | "off" => false,
                _ => return None,
            };
            Some(())
        })
    }
}
