//! `free`: `/proc/meminfo` in the table of procps.
//!
//! procps 4: used = MemTotal - MemAvailable, buff/cache = Buffers + Cached + SReclaimable; the columns are 11 wide
//! behind an 8-character label. Source: procps-ng `src/free.c`, `library/meminfo.c`.

use crate::{Capture, Context, Failure, FsError};
use core::fmt::{self, Write};

const MEMINFO: &str = "/proc/meminfo";

/// The figures of the table, in KiB.
#[derive(PartialEq, Eq, Debug, Default)]
struct Table {
    total: u64,
    free: u64,
    shared: u64,
    cache: u64,
    available: u64,
    swap_total: u64,
    swap_free: u64,
}

impl Table {
    /// From the text of `/proc/meminfo`; lines that are missing count as zero, except the total.
    fn parse(meminfo: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = meminfo.lines().filter_map(|line| line.split_once(':'));
            let (_, text) = lines.find(|(key, _)| *key == name)?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        let sum = |names: &[&str]| names.iter().filter_map(|name| value(name)).sum();
        let free = sum(&["MemFree"]);
        Some(Self {
            total: value("MemTotal")?,
            free,
            shared: sum(&["Shmem"]),
            cache: sum(&["Buffers", "Cached", "SReclaimable"]),
            available: value("MemAvailable").unwrap_or(free),
            swap_total: sum(&["SwapTotal"]),
            swap_free: sum(&["SwapFree"]),
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, free, shared, cache, available, swap_total, swap_free } = *self;
        write!(f, "{:8}{:>12}", "", "total")?;
        ["used", "free", "shared", "buff/cache", "available"]
            .iter()
            .try_for_each(|t| write!(f, "{t:>12}"))?;
        let used = total.saturating_sub(available);
        write!(f, "\nMem:    {total:12}{used:12}{free:12}{shared:12}{cache:12}{available:12}")?;
        let swap_used = swap_total.saturating_sub(swap_free);
        writeln!(f, "\nSwap:   {swap_total:12}{swap_used:12}{swap_free:12}")
    }
}

pub(super) fn free(context: &mut Context<'_>) -> Result<(), Failure> {
    if !context.args.is_empty() {
        return Err(Failure::Usage);
    }
    let blame = |error| Failure::Argument(MEMINFO.into(), error);
    let mut meminfo = Capture::default();
    context.vfs.read(MEMINFO, &mut meminfo).map_err(blame)?;
    let text = core::str::from_utf8(&meminfo.0).ok();
    let table = text.and_then(Table::parse).ok_or(blame(FsError::InvalidArgument))?;
    Ok(write!(context, "{table}")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// Both from one run of procps 4.0.2 on a Linux machine.
    #[test]
    fn looks_like_procps() {
        let meminfo = "MemTotal:         110976 kB\nMemFree:           76464 kB\nMemAvailable:      80148 kB\n\
            Buffers:            1024 kB\nCached:            14332 kB\nSwapCached:            0 kB\n\
            Shmem:               708 kB\nSReclaimable:       2612 kB\nSwapTotal:             0 kB\n";
        let expected = "               total        used        free      shared  buff/cache   available\n\
            Mem:          110976       30828       76464         708       17968       80148\n\
            Swap:              0           0           0\n";
        assert_eq!(format!("{}", Table::parse(meminfo).unwrap()), expected);
    }

    #[test]
    fn without_a_total_there_is_no_table() {
        assert_eq!(Table::parse("MemTotalX: 3 kB\nMemTotal: ?\n"), None);
    }
}
