//! What the conversions of a process together hold of segments, in bytes, and who may read the next.
//!
//! A segment is entered before it is read and stays until it is written and let go. There are two accounts:
//!
//! - in hand: segments that a caller waits for or writes. They are admitted in the order in which they were asked for; what
//!   is larger than all of [`HAND_BYTES`] is admitted alone.
//! - ahead: segments that nobody has asked for. They are admitted while there is room in [`AHEAD_BYTES`].
//!
//! Nobody waits for ever: what is in hand ends by itself, without anything that it would have to wait for here; who waits
//! to be in hand waits for that alone; and nobody waits for what is ahead but whom no caller waits for.

use super::{StopFlag, WorkError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What all conversions of a process together hold of segments that were asked for, in bytes of values; but for a single one
/// that is larger.
pub const HAND_BYTES: usize = 64 << 20;
/// What they hold of segments that nobody has asked for yet, in bytes of values.
pub const AHEAD_BYTES: usize = 48 << 20;
/// How often a caller's stop flag is looked at while it waits.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// The books of a process.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    changed: Condvar,
}

/// What is entered.
#[derive(Debug, Default)]
pub(crate) struct Books {
    entries: BTreeMap<u64, Entry>,
    /// Who waits to be in hand, the first first.
    line: BTreeSet<u64>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: usize,
    in_hand: bool,
}

/// A segment in the books, until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    number: u64,
}

/// A place in the line of those who wait to be in hand, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks again and again, whenever something has changed, until there is an answer.
    pub(crate) fn ask<T>(&self, mut answer: impl FnMut(&mut Books) -> Option<T>) -> T {
        let mut books = self.lock();
        loop {
            if let Some(answer) = answer(&mut books) {
                return answer;
            }
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Something has changed that those who ask look at: they do so once more.
    pub(crate) fn tell(&self) {
        // Whoever looked before the change waits by now, and is woken.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// What is entered in hand and ahead, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let books = self.lock();
        (books.sum(true), books.sum(false))
    }
}

impl Books {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn sum(&self, in_hand: bool) -> usize {
        self.entries.values().filter(|entry| entry.in_hand == in_hand).map(|entry| entry.bytes).sum()
    }

    /// Whether so much more may be in hand, for who waits in the line with this ticket, or begins to.
    pub(crate) fn allows_in_hand(
        &mut self,
        ledger: &Arc<Ledger>,
        ticket: &mut Option<Ticket>,
        bytes: usize,
    ) -> bool {
        let ticket = ticket.get_or_insert_with(|| {
            let number = self.number();
            self.line.insert(number);
            Ticket { ledger: Arc::clone(ledger), number }
        });
        let held = self.sum(true);
        self.line.first() == Some(&ticket.number) && (held == 0 || held.saturating_add(bytes) <= HAND_BYTES)
    }

    /// Whether so much more may be ahead.
    pub(crate) fn allows_ahead(&self, bytes: usize) -> bool {
        self.sum(false).saturating_add(bytes) <= AHEAD_BYTES
    }

    /// Enters a segment of about so many bytes.
    pub(crate) fn enter(&mut self, ledger: &Arc<Ledger>, bytes: usize, in_hand: bool) -> Charge {
        let number = self.number();
        self.entries.insert(number, Entry { bytes, in_hand });
        Charge { ledger: Arc::clone(ledger), number }
    }
}

impl Charge {
    /// It turned out to be so large.
    pub(crate) fn correct(&self, bytes: usize) {
        if let Some(entry) = self.ledger.lock().entries.get_mut(&self.number) {
            entry.bytes = bytes;
        }
        self.ledger.changed.notify_all();
    }

    /// Waits until it may be in hand, where it is not.
    ///
    /// # Errors
    /// [`WorkError::Stopped`] when `stop` was set.
    pub(crate) fn take_in_hand(&self, stop: &StopFlag) -> Result<(), WorkError> {
        let mut ticket = None;
        let mut books = self.ledger.lock();
        loop {
            let Some(Entry { bytes, .. }) =
                books.entries.get(&self.number).filter(|entry| !entry.in_hand).copied()
            else {
                return Ok(());
            };
            stop.check()?;
            if books.allows_in_hand(&self.ledger, &mut ticket, bytes) {
                books.entries.insert(self.number, Entry { bytes, in_hand: true });
                return Ok(());
            }
            let waited = self.ledger.changed.wait_timeout(books, STOP_LOOK);
            books = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.lock().entries.remove(&self.number);
        self.ledger.changed.notify_all();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.lock().line.remove(&self.number);
        self.ledger.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_goes_first_and_what_is_small_does_not_slip_by() {
        let ledger = Arc::new(Ledger::default());
        let ask = |ticket: &mut Option<Ticket>, bytes| ledger.lock().allows_in_hand(&ledger, ticket, bytes);
        let held = ledger.lock().enter(&ledger, HAND_BYTES / 2, true);
        let (mut large, mut small) = (None, None);
        assert!(!ask(&mut large, HAND_BYTES), "there is no room");
        assert!(!ask(&mut small, 1), "there is, but somebody came before");
        drop(held);
        assert!(!ask(&mut small, 1), "who still waits");
        assert!(ask(&mut large, HAND_BYTES));
        drop(large);
        assert!(ask(&mut small, 1));
    }
}
