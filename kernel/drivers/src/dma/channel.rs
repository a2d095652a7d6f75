//! A channel: what waits, what runs, what is through. See the [module above](super).

use super::{Caps, Event, Hardware, PlanError, Segment, TransferError, plan, plan_sg};
use ::dma::{Device, Dma, DmaAddr, DmaError, DmaPool, PlatformFor, PoolBlock, SgEntry};
use alloc::{collections::VecDeque, vec::Vec};
use core::fmt;
use mm::Gfp;

/// The number of a submitted transfer on its channel; they are completed in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cookie(u64);

/// Why a transfer can't be prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelError {
    /// The engine can't make this copy.
    Plan(PlanError),
    /// The channel has too few descriptors that are free.
    Descriptors {
        /// How many it takes.
        needed: usize,
        /// How many are free.
        free: usize,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Descriptors { needed, free } => {
                write!(f, "the copy takes {needed} descriptors, {free} are free")
            }
        }
    }
}

impl core::error::Error for ChannelError {}

impl From<PlanError> for ChannelError {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

/// A prepared transfer: a chain of descriptors. It goes back to its channel, by [`Channel::submit`] or
/// [`Channel::discard`].
#[derive(Debug)]
#[must_use = "dropping it loses the channel's descriptors"]
pub struct Descriptor {
    blocks: Vec<(PoolBlock, u32)>,
}

impl Descriptor {
    /// Hardware descriptors in the chain.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Never: a transfer copies something.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    /// Bytes left when the engine is at `place`.
    fn residue(&self, place: Option<(DmaAddr, u32)>) -> u64 {
        let Some((at, left)) = place else { return self.bytes() };
        match self.blocks.iter().position(|(block, _)| block.addr() == at) {
            Some(n) => {
                u64::from(left) + self.blocks[n + 1..].iter().map(|(_, len)| u64::from(*len)).sum::<u64>()
            }
            None => self.bytes(),
        }
    }
}

/// How far a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It waits, or runs.
    InProgress {
        /// Bytes that are still to be copied.
        residue: u64,
    },
    /// It is through, or was terminated.
    Complete,
    /// It stopped with an error.
    Error(TransferError),
}

/// A transfer that has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Which one.
    pub cookie: Cookie,
    /// How.
    pub result: Result<(), TransferError>,
}

/// Fills `blocks` up to its capacity with descriptors for a channel of `H`, out of a pool made with its size and
/// alignment. Allocates nothing else, so that it can run under the lock of the allocators.
///
/// # Errors
/// [`DmaError`]; what was had so far is in `blocks`.
pub fn descriptors<B, P: PlatformFor<B>>(
    pool: &mut DmaPool<'_, B>,
    dma: &mut Dma<'_, B>,
    platform: &mut P,
    device: &Device<'_, <P::Contiguous as ::dma::Areas>::Area>,
    blocks: &mut Vec<PoolBlock>,
) -> Result<(), DmaError> {
    while blocks.len() < blocks.capacity() {
        blocks.push(pool.alloc(dma, platform, device, Gfp::KERNEL)?);
    }
    Ok(())
}

/// A channel of a DMA engine. The kernel keeps it in a lock that its interrupt handler takes.
#[derive(Debug)]
pub struct Channel<H> {
    hardware: H,
    free: Vec<PoolBlock>,
    /// Submitted, oldest first; the first `issued` of them may run, and the very first does.
    queue: VecDeque<(Cookie, Descriptor)>,
    issued: usize,
    last: u64,
    failed: Option<Finished>,
}

impl<H: Hardware> Channel<H> {
    /// A channel with its descriptors, which [`descriptors`] gives.
    #[must_use]
    pub fn new(hardware: H, blocks: Vec<PoolBlock>) -> Self {
        Self { hardware, free: blocks, queue: VecDeque::new(), issued: 0, last: 0, failed: None }
    }

    /// What the engine can do.
    pub fn caps(&self) -> Caps {
        self.hardware.caps()
    }

    /// Prepares a copy of `len` bytes.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn prep_memcpy(&mut self, dst: DmaAddr, src: DmaAddr, len: u32) -> Result<Descriptor, ChannelError> {
        let segments: Vec<_> = plan(self.caps(), dst, src, len)?.collect();
        self.chain(&segments)
    }

    /// Prepares a copy from one mapped list to another.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn prep_sg(&mut self, dst: &[SgEntry], src: &[SgEntry]) -> Result<Descriptor, ChannelError> {
        let segments: Vec<_> = plan_sg(self.caps(), dst, src)?.collect();
        self.chain(&segments)
    }

    fn chain(&mut self, segments: &[Segment]) -> Result<Descriptor, ChannelError> {
        let (needed, free) = (segments.len(), self.free.len());
        let rest = free.checked_sub(needed).ok_or(ChannelError::Descriptors { needed, free })?;
        let mut blocks: Vec<_> = self.free.drain(rest..).zip(segments.iter().map(|s| s.len)).collect();
        let mut next = None;
        for ((block, _), segment) in blocks.iter_mut().zip(segments).rev() {
            self.hardware.fill(block, *segment, next);
            next = Some(block.addr());
        }
        Ok(Descriptor { blocks })
    }

    /// Gives a prepared transfer's descriptors back.
    pub fn discard(&mut self, descriptor: Descriptor) {
        self.free.extend(descriptor.blocks.into_iter().map(|(block, _)| block));
    }

    /// Queues a prepared transfer. It does not start before [`Channel::issue_pending`].
    pub fn submit(&mut self, descriptor: Descriptor) -> Cookie {
        self.last += 1;
        let cookie = Cookie(self.last);
        self.queue.push_back((cookie, descriptor));
        cookie
    }

    /// Lets everything that was submitted so far run.
    pub fn issue_pending(&mut self) {
        let idle = self.issued == 0;
        self.issued = self.queue.len();
        if idle {
            self.start_next();
        }
    }

    fn start_next(&mut self) {
        let first = self.queue.front().filter(|_| self.issued > 0);
        if let Some((block, _)) = first.and_then(|(_, descriptor)| descriptor.blocks.first()) {
            self.hardware.start(block.addr());
        }
    }

    /// To be called when the channel's interrupt was raised, or to poll. The transfer that ended, if one has; the
    /// next one runs already. The caller wakes or calls whoever waits for it.
    pub fn interrupt(&mut self) -> Option<Finished> {
        let result = match self.hardware.acknowledge() {
            Event::None => return None,
            Event::Done => Ok(()),
            Event::Failed(error) => Err(error),
        };
        self.issued = self.issued.checked_sub(1)?;
        let (cookie, descriptor) = self.queue.pop_front()?;
        self.discard(descriptor);
        let finished = Finished { cookie, result };
        if result.is_err() {
            self.failed = Some(finished);
        }
        self.start_next();
        Some(finished)
    }

    /// How far a transfer is. Of those that failed, the last one is remembered.
    pub fn status(&self, cookie: Cookie) -> Status {
        match self.queue.iter().position(|(queued, _)| *queued == cookie) {
            Some(0) if self.issued > 0 => {
                let (_, descriptor) = &self.queue[0];
                Status::InProgress {
                    residue: self.hardware.position().map_or(0, |at| descriptor.residue(Some(at))),
                }
            }
            Some(n) => Status::InProgress { residue: self.queue[n].1.residue(None) },
            None => match self.failed {
                Some(Finished { cookie: failed, result: Err(error) }) if failed == cookie => {
                    Status::Error(error)
                }
                _ => Status::Complete,
            },
        }
    }

    /// Stops what runs and drops what waits (`dmaengine_terminate_sync`). Afterwards the engine accesses no memory.
    pub fn terminate(&mut self) {
        if self.issued > 0 {
            self.hardware.abort();
        }
        self.issued = 0;
        while let Some((_, descriptor)) = self.queue.pop_front() {
            self.discard(descriptor);
        }
    }

    /// Transfers that are queued or run.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Ends the channel; the descriptors go back to their pool.
    #[must_use]
    pub fn release(mut self) -> (H, Vec<PoolBlock>) {
        self.terminate();
        (self.hardware, self.free)
    }
}
