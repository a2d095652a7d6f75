//! Buffers by address, for callers that can keep no token: foreign drivers, the shell.

use crate::{Coherent, DmaError};
use core::ptr::NonNull;

/// Tokens of coherent buffers, in slots that the caller owns.
#[derive(Debug)]
pub struct Handles<'a, B> {
    slots: &'a mut [Option<Coherent<B>>],
}

impl<'a, B> Handles<'a, B> {
    /// An empty table over `slots`, all of which must be `None`.
    pub const fn new(slots: &'a mut [Option<Coherent<B>>]) -> Self {
        Self { slots }
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// [`DmaError::TableFull`], and the token back.
    pub fn insert(&mut self, buffer: Coherent<B>) -> Result<(), (DmaError, Coherent<B>)> {
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(buffer);
                Ok(())
            }
            None => Err((DmaError::TableFull { slots: self.slots.len() }, buffer)),
        }
    }

    /// The token of the buffer of `size` bytes (in whole pages) at `cpu`; for anything else, Linux's complaint.
    pub fn take(&mut self, cpu: NonNull<u8>, size: u32) -> Option<Coherent<B>> {
        let ours = |slot: &&mut Option<Coherent<B>>| {
            slot.as_ref().is_some_and(|buffer| buffer.cpu() == cpu && buffer.size() == size)
        };
        let found = self.slots.iter_mut().find(ours).and_then(Option::take);
        if found.is_none() {
            log::warn!("Freeing invalid buffer {cpu:p}");
        }
        found
    }

    /// The buffers.
    pub fn iter(&self) -> impl Iterator<Item = &Coherent<B>> {
        self.slots.iter().flatten()
    }
}
