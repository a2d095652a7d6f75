//! Commands that use the virtio devices.

use super::{Card, DiskError, random, read, write};
use alloc::{vec, vec::Vec};
use core::fmt::Write;
use drivers::virtio::SECTOR;
use drivers::virtio::tftp::{GATEWAY, GUEST, Station};
use shell::{Command, Context, Failure, FsError, Output};

/// Sectors that are printed at most.
const MAX_SECTORS: usize = 64;
/// Looks for a frame before the last packet is sent again.
pub const LOOKS: u32 = 4;

pub const BLK: Command = Command {
    name: "blk",
    usage: "read SECTOR [COUNT] | write SECTOR TEXT",
    help: "sectors of the first virtio disk",
    run: blk,
};

fn blk(context: &mut Context<'_>) -> Result<(), Failure> {
    let words: Vec<_> = context.args.iter().map(|word| word.as_str()).collect();
    let number = |word: &str| word.parse::<usize>().map_err(|_| Failure::Usage);
    let done = match words[..] {
        ["read", sector] => read(number(sector)?, 1),
        ["read", sector, count] => read(number(sector)?, number(count)?.clamp(1, MAX_SECTORS)),
        ["write", sector, text] if text.len() <= SECTOR => {
            let mut bytes = vec![0; SECTOR];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            write(number(sector)?, bytes).map(|()| Vec::new())
        }
        _ => return Err(Failure::Usage),
    };
    match done {
        Ok(bytes) => Ok(context.write_bytes(&bytes)?),
        Err(DiskError::NoDisk) => Err(Failure::Failed(FsError::NoDevice)),
        Err(error) => {
            let sector = context.args[1].clone();
            context.report(&sector, &error);
            Err(Failure::Status(1))
        }
    }
}

pub const TFTP: Command = Command {
    name: "tftp",
    usage: "FILE",
    help: "fetch a file from 10.0.2.2 through the virtio network card",
    run: tftp,
};

fn tftp(context: &mut Context<'_>) -> Result<(), Failure> {
    let [name] = context.args else { return Err(Failure::Usage) };
    let mut card = Card::first().ok_or(Failure::Failed(FsError::NoDevice))?;
    let mut bytes = Vec::new();
    let mut station = Station::new(&mut card, GUEST, LOOKS);
    match station.fetch(GATEWAY, name, |piece| bytes.extend_from_slice(piece)) {
        Ok(_) => Ok(context.write_bytes(&bytes)?),
        Err(error) => {
            context.report(name, &error);
            Err(Failure::Status(1))
        }
    }
}

pub const RNG: Command =
    Command { name: "rng", usage: "", help: "16 random bytes from the virtio device", run: rng };

fn rng(context: &mut Context<'_>) -> Result<(), Failure> {
    // On the heap: what a device writes should not share lines with the stack.
    let mut bytes = vec![0; 64];
    let len = random(&mut bytes).ok_or(Failure::Failed(FsError::NoDevice))?;
    bytes[..len.min(16)].iter().try_for_each(|byte| write!(context, "{byte:02x}"))?;
    Ok(context.write_str("\n")?)
}
