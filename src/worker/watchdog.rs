//! The watchdog: on its own OS thread, with an absolute deadline, it ends a process that does not end by itself.
//!
//! Architecture Invariant: it touches no store, no runtime and no machine; it reads the board and a clock. It is the
//! one place that ends the process from outside `main`, through [`leave`].

use super::board::Board;
use crate::clock::Clock;
use roboflow_fsm::effect::{Exit, Leaf};
use roboflow_fsm::id::{Epoch, JobId};
use roboflow_fsm::policy::EXIT_MARGIN_MS;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

/// What the machines get beyond their own force deadline before the watchdog steps in.
pub const SLACK_MS: u64 = 500;

const _: () = assert!(SLACK_MS < EXIT_MARGIN_MS, "before a kill that is told of, it bites too");

/// Ends the process at once with this exit code. Nothing is flushed but stderr.
#[expect(
    clippy::exit,
    reason = "the one place that ends a process which holds nothing or does not end by itself"
)]
pub fn leave(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

/// Armed, then disarmed once. Copies are the same watchdog.
#[derive(Debug, Clone)]
pub struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Armed { deadline_ms: u64 },
    Disarmed,
}

impl Watchdog {
    /// Starts the thread. Not armed yet. `bite` is what happens at the deadline; [`bite`] in a real process.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(clock: Clock, bite: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Waiting), changed: Condvar::new() });
        let watch = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            if wait(&shared, clock) {
                bite();
            }
        })?;
        Ok(watch)
    }

    /// Sets the deadline, in event time, plus [`SLACK_MS`]. It only ever comes nearer.
    pub fn arm(&self, deadline_ms: u64) {
        let asked = deadline_ms.saturating_add(SLACK_MS);
        self.change(|state| match *state {
            State::Waiting => State::Armed { deadline_ms: asked },
            State::Armed { deadline_ms } => State::Armed { deadline_ms: deadline_ms.min(asked) },
            State::Disarmed => State::Disarmed,
        });
    }

    /// When it bites, in event time, once it is armed.
    pub fn deadline_ms(&self) -> Option<u64> {
        match *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Armed { deadline_ms } => Some(deadline_ms),
            State::Waiting | State::Disarmed => None,
        }
    }

    /// The machines have ended: the watchdog goes to sleep for good.
    pub fn disarm(&self) {
        self.change(|_| State::Disarmed);
    }

    fn change(&self, with: impl FnOnce(&State) -> State) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = with(&state);
        self.shared.changed.notify_all();
    }
}

/// Waits for the deadline (`true`) or to be disarmed (`false`).
fn wait(shared: &Shared, clock: Clock) -> bool {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        state = match *state {
            State::Disarmed => return false,
            State::Waiting => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            State::Armed { deadline_ms } => {
                let left = clock.until(deadline_ms);
                if left == Duration::ZERO {
                    return true;
                }
                shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// Says what a machine was doing when its time was over, and what becomes of its job.
pub fn tell_what_is_left(machine: u32, state: Leaf, held: Option<(JobId, Epoch)>, lease_ms: u64) {
    let state = state.name();
    let Some((job, epoch)) = held else {
        tracing::warn!(machine, state, "the drain did not end in time");
        return;
    };
    tracing::warn!(
        machine,
        state,
        job = %job,
        epoch = epoch.0,
        lease_ms,
        "the drain did not end in time: the job is left to its lease, and another worker goes on from its last \
         checkpoint once that has expired"
    );
}

/// Says of each machine that has not ended what it was doing and what becomes of its job, then ends the process with exit code 75.
pub fn bite(board: &Board, lease_ms: u64) -> ! {
    for (machine, place) in (0..).zip(board.read()) {
        if place.exit.is_none() {
            tell_what_is_left(machine, place.leaf, place.held, lease_ms);
        }
    }
    leave(Exit::LeftToLease.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn it_bites_at_the_nearest_deadline_it_was_given() {
        let (bitten, bites) = mpsc::channel();
        let watchdog = Watchdog::start(Clock::start(), move || bitten.send(()).unwrap()).unwrap();
        watchdog.arm(u64::MAX - SLACK_MS);
        watchdog.arm(0);
        watchdog.arm(u64::MAX);
        bites.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn disarmed_it_never_bites() {
        let (bitten, bites) = mpsc::channel::<()>();
        let watchdog = Watchdog::start(Clock::start(), move || bitten.send(()).unwrap()).unwrap();
        watchdog.disarm();
        watchdog.arm(0);
        // The thread ends without having sent: the channel closes empty.
        assert_eq!(bites.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
