//! Memory of pictures that are done with, to be filled again: fresh memory costs a page fault for every 4 KiB of it, and
//! pictures are nearly all that a conversion moves.
//!
//! It knows nothing of what the bytes were, and gives none of them back.

use super::ledger::{AHEAD_BYTES, HAND_BYTES};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all conversions of a process together keep, in bytes: as much as they may use. What is used is not spare, and what
/// is made anew takes the place of spare memory, so that both together are hardly more than that.
pub(crate) const SPARE_BYTES_MAX: usize = HAND_BYTES + AHEAD_BYTES;
/// A buffer may be so much larger than what is asked for, beside twice that.
const SLACK_BYTES: usize = 1 << 20;

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with room for so many bytes: the smallest spare one that is not much too large, or a new one.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut held = self.lock();
        let fits = bytes..=bytes.saturating_mul(2).saturating_add(SLACK_BYTES);
        let fitting = held.iter().enumerate().filter(|(_, buffer)| fits.contains(&buffer.capacity()));
        if let Some((at, _)) = fitting.min_by_key(|(_, buffer)| buffer.capacity()) {
            return held.swap_remove(at);
        }
        let mut made_room = 0;
        while made_room < bytes {
            let Some(gone) = held.pop() else { break };
            made_room += gone.capacity();
        }
        drop(held);
        Vec::with_capacity(bytes)
    }

    /// Keeps a buffer's memory, unless there is enough already.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut held = self.lock();
        let held_bytes: usize = held.iter().map(Vec::capacity).sum();
        if buffer.capacity() > 0 && held_bytes + buffer.capacity() <= SPARE_BYTES_MAX {
            held.push(buffer);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_with_its_room() {
        let spares = Spares::default();
        spares.give(vec![7; 1000]);
        let again = spares.take(900);
        assert!(again.is_empty() && again.capacity() >= 1000);
        assert_eq!(spares.take(500).capacity(), 500);
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_none_that_is_far_too_large() {
        let spares = Spares::default();
        let mib = |count: usize| count << 20;
        [8, 4, 6].iter().for_each(|count| spares.give(Vec::with_capacity(mib(*count))));
        assert_eq!(spares.take(mib(3)).capacity(), mib(4));
        assert_eq!(spares.take(mib(3)).capacity(), mib(6));
        assert_eq!(spares.take(mib(3)).capacity(), mib(3), "8 is over twice as large and one");
        assert_eq!(spares.count(), 0, "and gave way to the new one");
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let spares = Spares::default();
        (0..5).for_each(|_| spares.give(Vec::with_capacity(SPARE_BYTES_MAX / 2)));
        assert_eq!(spares.count(), 2);
        spares.give(Vec::new());
        assert_eq!(spares.count(), 2, "what has no room is not kept");
    }
}
