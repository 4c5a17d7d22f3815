//! Memory of pictures that are done with, to be filled again: fresh memory costs a page fault for every 4 KiB of it, and
//! pictures are nearly all that a conversion moves.
//!
//! It knows nothing of what the bytes were, and gives none of them back.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all conversions of a process together keep, in bytes: about a segment of four cameras.
pub(crate) const SPARE_BYTES_MAX: usize = 24 << 20;

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer, with room where there is a spare one.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
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
        let again = spares.take();
        assert!(again.is_empty() && again.capacity() >= 1000);
        assert_eq!(spares.take().capacity(), 0);
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
