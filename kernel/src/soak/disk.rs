//! A virtio disk in a soak test: transfers that are under way while memory moves, and sectors whose contents are known.
//!
//! ```text
//! stripes   |0|1|2|3|   16 sectors each, from the middle of the disk; one transfer at a time for each
//! before    all are read, and kept        after    all are written back: the disk is as it was
//! ```

use super::{Wrong, room};
use crate::devices;
use crate::dmadev::{self, DiskTransfer};
use alloc::vec::Vec;
use mm::soak::Random;

const STRIPES: usize = 4;
/// Bytes of a sector, and sectors of a stripe.
const SECTOR: usize = 512;
const SECTORS: usize = 16;
/// Pages that have to be free for a transfer's buffers to be had.
const SPARE: u32 = 64;
/// Nanoseconds that the transfers at the end may take.
const PATIENCE: u64 = 30_000_000_000;

#[derive(Default)]
struct Stripe {
    /// What was last written.
    stamp: Option<u32>,
    running: Option<DiskTransfer>,
}

pub struct DiskUser {
    first: usize,
    original: Vec<u8>,
    stripes: [Stripe; STRIPES],
    pub bytes: u32,
    /// Of its own: how far the disk is must not decide what the test does next elsewhere.
    random: Random,
}

fn lost<E>(_: E) -> Wrong {
    Wrong::Device("the disk")
}

/// What a stripe holds with that stamp.
fn contents(stamp: u32) -> impl Iterator<Item = u8> {
    let mut random = Random::new(stamp);
    (0..SECTORS * SECTOR / 4).flat_map(move |_| random.next().to_le_bytes())
}

impl DiskUser {
    /// `None` without a disk that is large enough.
    pub fn new() -> Result<Option<Self>, Wrong> {
        let Some(sectors) = dmadev::disk_capacity() else { return Ok(None) };
        let (first, count) = (sectors as usize / 2, STRIPES * SECTORS);
        if first < count {
            return Ok(None);
        }
        let original = dmadev::read_disk(first, count).map_err(lost)?;
        Ok(Some(Self { first, original, stripes: Default::default(), bytes: 0, random: Random::new(1) }))
    }

    /// Begins a transfer, or looks whether one has ended.
    pub fn step(&mut self) -> Result<(), Wrong> {
        let random = &mut self.random;
        let at = random.below(STRIPES as u32) as usize;
        if self.stripes[at].running.is_some() {
            return self.look(at).map(|_| ());
        }
        if room() < SPARE {
            return Ok(());
        }
        let sector = self.first + at * SECTORS;
        let stripe = &mut self.stripes[at];
        let reads = stripe.stamp.is_some() && random.below(2) == 0;
        let started = if reads {
            DiskTransfer::read(sector, SECTORS)
        } else {
            let mut bytes: Vec<u8> = Vec::new();
            if bytes.try_reserve_exact(SECTORS * SECTOR).is_err() {
                return Ok(());
            }
            let stamp = random.next();
            bytes.extend(contents(stamp));
            stripe.stamp = Some(stamp);
            DiskTransfer::write(sector, bytes)
        };
        stripe.running = Some(started.map_err(lost)?);
        Ok(())
    }

    /// Looks at the transfer of a stripe; whether there is none any more.
    fn look(&mut self, at: usize) -> Result<bool, Wrong> {
        let stripe = &mut self.stripes[at];
        let Some(running) = &mut stripe.running else { return Ok(true) };
        let Some(ended) = running.ended() else { return Ok(false) };
        stripe.running = None;
        let bytes = ended.map_err(lost)?;
        self.bytes += bytes.len() as u32;
        let known = stripe.stamp.is_none_or(|stamp| contents(stamp).eq(bytes.iter().copied()));
        if known { Ok(true) } else { Err(lost(())) }
    }

    /// Looks at the transfers of all stripes; whether there is none any more.
    fn look_at_all(&mut self) -> Result<bool, Wrong> {
        (0..STRIPES).try_fold(true, |ended, at| Ok(self.look(at)? && ended))
    }

    /// Ends the transfers that are under way. The one that has ended first is seen first, so all are looked at.
    pub fn end(&mut self) -> Result<(), Wrong> {
        let ended = || self.look_at_all().map(|ended| ended.then_some(())).transpose();
        devices::wait(PATIENCE, ended).unwrap_or(Err(lost(())))
    }

    /// Compares everything once more, and writes back what was there.
    pub fn restore(self) -> Result<(), Wrong> {
        let now = dmadev::read_disk(self.first, STRIPES * SECTORS).map_err(lost)?;
        dmadev::write_disk(self.first, self.original).map_err(lost)?;
        let stripes = now.chunks(SECTORS * SECTOR).zip(&self.stripes);
        let mut known = stripes.filter_map(|(bytes, stripe)| Some((bytes, stripe.stamp?)));
        let all = known.all(|(bytes, stamp)| contents(stamp).eq(bytes.iter().copied()));
        if all { Ok(()) } else { Err(lost(())) }
    }
}
