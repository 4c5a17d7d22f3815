//! Segments made before they are asked for: one thread reads them in order, the crew finishes several at once.
//!
//! Architecture Invariant: nothing here writes. What becomes of a segment, an error or a panic too, is told where that
//! segment is taken and nowhere else; what is not taken leaves no trace.
//!
//! Memory: nothing is read before it is entered in the process's [`super::ledger`], where it stays until whoever took it
//! drops the charge. Locks: whoever holds the ledger's may take the one of the segments here, never the other way round.

use super::crew::Member;
use super::ledger::Charge;
use super::{StopFlag, WorkError};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Segments ahead of the one that was asked for, at most, however small they are.
const SEGMENTS_MAX: u32 = 64;
/// How often the caller's stop flag is looked at while a segment is waited for.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// How segments are made, in two steps. Both are functions of the number alone.
pub(crate) trait Line: Send + Sync + 'static {
    /// What reading needs and only one thread has.
    type Reader: Send + 'static;
    /// A segment that was read.
    type Read: Send + 'static;
    /// A segment that is done.
    type Made: Send + 'static;

    /// Reads a segment; called in the order of the numbers.
    fn read(&self, number: u32, reader: &mut Self::Reader, stop: &StopFlag) -> Result<Self::Read, WorkError>;

    /// What a segment that was read holds in memory.
    fn size_bytes(read: &Self::Read) -> usize;

    /// Finishes a segment, on a thread of the crew.
    fn finish(&self, read: Self::Read, stop: &StopFlag) -> Result<Self::Made, WorkError>;
}

/// Segments in the making. Dropping it stops and ends all that is under way.
pub(crate) struct Ahead<L: Line> {
    shared: Arc<Shared<L>>,
    reading: Option<JoinHandle<()>>,
}

struct Shared<L: Line> {
    line: Arc<L>,
    member: Arc<Member>,
    /// For all that is under way; nobody but [`Ahead`]'s end sets it.
    stop: StopFlag,
    state: Mutex<State<L::Made>>,
    changed: Condvar,
}

struct State<M> {
    /// The segment that was asked for last.
    wanted: u32,
    /// The next one to be read.
    next: u32,
    /// What was read and not taken.
    slots: BTreeMap<u32, Slot<M>>,
    /// Tasks that the crew has of us.
    tasks: usize,
}

struct Slot<M> {
    charge: Arc<Charge>,
    /// About what it is entered with.
    bytes: usize,
    /// None while it is in the making.
    outcome: Option<thread::Result<Result<M, WorkError>>>,
}

impl<L: Line> Ahead<L> {
    /// Begins to make the segments from `first` to before `end`, of which the first has about `size_bytes`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        line: Arc<L>,
        member: Arc<Member>,
        reader: L::Reader,
        (first, end): (u32, u32),
        size_bytes: usize,
    ) -> io::Result<Self> {
        let state = State { wanted: first, next: first, slots: BTreeMap::new(), tasks: 0 };
        let shared = Arc::new(Shared {
            line,
            member,
            stop: StopFlag::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let reads = Arc::clone(&shared);
        let reading = thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || Shared::read_all(&reads, reader, end, size_bytes))?;
        Ok(Self { shared, reading: Some(reading) })
    }

    /// Whether this segment is the next to be taken.
    pub(crate) fn is_next(&self, number: u32) -> bool {
        let state = self.shared.lock();
        state.slots.keys().next().copied().unwrap_or(state.next) == number
    }

    /// Waits for the next segment (see [`Ahead::is_next`]) and takes it, with what it is entered in the books with. After an
    /// error nothing more can be taken.
    ///
    /// # Errors
    /// Those of its making; [`WorkError::Stopped`] when `stop` was set.
    ///
    /// # Panics
    /// With the panic of its making.
    pub(crate) fn take(&self, number: u32, stop: &StopFlag) -> Result<(L::Made, Arc<Charge>), WorkError> {
        let mut state = self.shared.lock();
        state.wanted = number;
        let begun = state.slots.get(&number).map(|slot| Arc::clone(&slot.charge));
        drop(state);
        self.shared.member.ledger().tell();
        if let Some(charge) = begun {
            charge.take_in_hand(stop)?;
        }
        let mut state = self.shared.lock();
        loop {
            stop.check()?;
            if state.slots.get(&number).is_some_and(|slot| slot.outcome.is_some())
                && let Some(Slot { outcome: Some(outcome), charge, .. }) = state.slots.remove(&number)
            {
                drop(state);
                let made = outcome.unwrap_or_else(|panic| resume_unwind(panic))?;
                return Ok((made, charge));
            }
            let waited = self.shared.changed.wait_timeout(state, STOP_LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<L: Line> Drop for Ahead<L> {
    fn drop(&mut self) {
        self.shared.stop.set();
        self.shared.member.ledger().tell();
        if let Some(reading) = self.reading.take() {
            reading.join().ok();
        }
        let mut state = self.shared.lock();
        while state.tasks > 0 {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<L: Line> Shared<L> {
    fn lock(&self) -> MutexGuard<'_, State<L::Made>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reading thread: until the last segment, the first error, or the end of it all.
    fn read_all(self: &Arc<Self>, mut reader: L::Reader, end: u32, mut size_bytes: usize) {
        while let Some(number) = self.next(end, size_bytes) {
            let read = catch_unwind(AssertUnwindSafe(|| self.line.read(number, &mut reader, &self.stop)));
            match read {
                Ok(Ok(read)) => {
                    size_bytes = L::size_bytes(&read);
                    self.give(number, read, size_bytes);
                }
                Ok(Err(error)) => return self.settle(number, Ok(Err(error))),
                Err(panic) => return self.settle(number, Err(panic)),
            }
        }
    }

    /// Waits until another segment may be read, one of about the size of the last, enters it and takes its number. None
    /// when there is none.
    fn next(&self, end: u32, size_bytes: usize) -> Option<u32> {
        let ledger = self.member.ledger();
        let mut ticket = None;
        ledger.ask(|books| {
            let mut state = self.lock();
            if self.stop.is_set() || state.next >= end {
                return Some(None);
            }
            let number = state.next;
            let in_hand = number <= state.wanted;
            let allowed = if in_hand {
                books.allows_in_hand(ledger, &mut ticket, size_bytes)
            } else {
                state.allows_ahead(size_bytes, self.member.ahead_bytes()) && books.allows_ahead(size_bytes)
            };
            allowed.then(|| {
                state.next += 1;
                let charge = Arc::new(books.enter(ledger, size_bytes, in_hand));
                state.slots.insert(number, Slot { charge, bytes: size_bytes, outcome: None });
                Some(number)
            })
        })
    }

    /// Hands a segment to the crew.
    fn give(self: &Arc<Self>, number: u32, read: L::Read, size_bytes: usize) {
        let mut state = self.lock();
        state.tasks += 1;
        let charge = state.slots.get_mut(&number).map(|slot| {
            slot.bytes = size_bytes;
            Arc::clone(&slot.charge)
        });
        drop(state);
        if let Some(charge) = charge {
            charge.correct(size_bytes);
        }
        let shared = Arc::clone(self);
        self.member.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| shared.line.finish(read, &shared.stop)));
            shared.settle(number, outcome);
            shared.lock().tasks -= 1;
            shared.changed.notify_all();
        });
    }

    fn settle(&self, number: u32, outcome: thread::Result<Result<L::Made, WorkError>>) {
        if let Some(slot) = self.lock().slots.get_mut(&number) {
            slot.outcome = Some(outcome);
        }
        self.changed.notify_all();
    }
}

impl<M> State<M> {
    /// Whether the next segment, of about this size, may be read before it is asked for, as far as this conversion goes:
    /// one, and more while they are small.
    fn allows_ahead(&self, size_bytes: usize, ahead_bytes: usize) -> bool {
        let ahead = self.slots.iter().filter(|(number, _)| **number > self.wanted);
        let held: usize = ahead.map(|(_, slot)| slot.bytes).sum();
        self.next - self.wanted <= SEGMENTS_MAX
            && (held == 0 || held.saturating_add(size_bytes) <= ahead_bytes)
    }
}

#[cfg(test)]
mod tests;
