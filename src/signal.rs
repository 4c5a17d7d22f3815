//! Signals, from the handler to whoever must know: the bell that ctrlc rings, and who it was.
//!
//! ctrlc says that a signal came, on a thread of its own, but not which. So each signal also writes a byte into a
//! pipe of its own (signal-hook, which goes on to call ctrlc's handler), and a thread for each reads it: that is the
//! identity, and an exact count. A ring whose identity does not show within [`IDENTITY_WAIT`] counts as SIGTERM.
//!
//! Architecture Invariant: only `main.rs` and this file touch signals. The stream is read for the life of the process
//! (a second signal means more than the first), on plain threads, so that a runtime whose threads are all busy does
//! not delay it. What a signal means is not decided here.

use crate::cli::output::notice;
use crate::worker::watchdog;
use roboflow_fsm::event::Signal;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a ring may stay without a name before it counts as SIGTERM.
pub const IDENTITY_WAIT: Duration = Duration::from_millis(100);
/// Signals kept while nobody has read them. More are counted with the last.
const MAX_UNREAD_SIGNALS: usize = 64;
/// The bell that ctrlc's handler rings.
pub static BELL: Bell = Bell::new();

/// What [`Bell::ring`] and the pipes' readers leave for the listener.
#[derive(Debug)]
pub struct Bell {
    tally: Mutex<Tally>,
    changed: Condvar,
}

#[derive(Debug)]
struct Tally {
    /// Rings of ctrlc that no name was found for yet.
    nameless: u64,
    /// Names that were given before their ring came.
    ahead: u64,
    /// Rings that were taken for SIGTERM, whose name may still come late.
    assumed: u64,
    unread: VecDeque<Signal>,
}

impl Bell {
    const fn new() -> Self {
        let tally = Tally { nameless: 0, ahead: 0, assumed: 0, unread: VecDeque::new() };
        Self { tally: Mutex::new(tally), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal came; which one is not known here. Called by ctrlc's thread.
    pub fn ring(&self) {
        self.lock().ring();
        self.changed.notify_all();
    }

    fn name(&self, signal: Signal) {
        self.lock().name(signal);
        self.changed.notify_all();
    }

    /// The next signal, in the order of their names' arrival. Blocks.
    fn next(&self) -> Signal {
        let mut tally = self.lock();
        loop {
            if let Some(signal) = tally.unread.pop_front() {
                return signal;
            }
            if tally.nameless == 0 {
                tally = self.changed.wait(tally).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let deadline = Instant::now() + IDENTITY_WAIT;
            while tally.unread.is_empty() && tally.nameless > 0 {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    tally.assume_term();
                    break;
                }
                tally = self.changed.wait_timeout(tally, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Tally {
    fn ring(&mut self) {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else {
            self.nameless += 1;
        }
    }

    fn name(&mut self, signal: Signal) {
        if signal != Signal::Usr1 {
            if self.assumed > 0 {
                // Delivered already, as SIGTERM: delivering it again would escalate by itself.
                self.assumed -= 1;
                return;
            }
            if self.nameless > 0 {
                self.nameless -= 1;
            } else {
                self.ahead += 1;
            }
        }
        if self.unread.len() < MAX_UNREAD_SIGNALS {
            self.unread.push_back(signal);
        }
    }

    fn assume_term(&mut self) {
        self.nameless -= 1;
        self.assumed += 1;
        if self.unread.len() < MAX_UNREAD_SIGNALS {
            self.unread.push_back(Signal::Term);
        }
    }
}

/// Where signals go once something runs that can be asked to stop.
pub type Sink = Arc<dyn Fn(Signal) + Send + Sync>;

/// What a signal does at this moment of the process's life.
enum Phase {
    /// Nothing is held: the process leaves at once, with a word where there is one to say.
    Leave(LeaveCode, Option<String>),
    /// Something runs that decides for itself.
    Deliver(Sink),
}

/// The exit code of a process that leaves at a signal while it holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveCode {
    /// 0: a worker before its first claim, or after its last.
    Clean,
    /// 128 + the signal's number, as shells expect it of a command that was cut short.
    Signalled,
}

impl LeaveCode {
    fn code(self, signal: Signal) -> u8 {
        match (self, signal) {
            (Self::Clean, _) => 0,
            (Self::Signalled, Signal::Hup) => 129,
            (Self::Signalled, Signal::Int) => 130,
            (Self::Signalled, Signal::Usr1) => 138,
            (Self::Signalled, Signal::Term) => 143,
        }
    }
}

/// The stream of signals, for the life of the process.
#[derive(Clone)]
pub struct Stream {
    phase: Arc<Mutex<Phase>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// Registers the signals' names and starts to listen. Until told otherwise a signal ends the process.
    ///
    /// # Errors
    /// When the handlers cannot be registered or the threads not be started.
    pub fn listen(bell: &'static Bell) -> io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let named =
            [(SIGTERM, Signal::Term), (SIGINT, Signal::Int), (SIGHUP, Signal::Hup), (SIGUSR1, Signal::Usr1)];
        for (number, signal) in named {
            let (mut reader, writer) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(number, writer)?;
            thread::Builder::new().name(format!("signal-{number}")).spawn(move || {
                let mut byte = [0u8; 1];
                while reader.read_exact(&mut byte).is_ok() {
                    bell.name(signal);
                }
            })?;
        }
        let stream = Self { phase: Arc::new(Mutex::new(Phase::Leave(LeaveCode::Clean, None))) };
        let phase = Arc::clone(&stream.phase);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            loop {
                let signal = bell.next();
                // Cloned out, so that a slow sink never blocks a change of phase.
                let sink = match &*phase.lock().unwrap_or_else(PoisonError::into_inner) {
                    Phase::Leave(code, word) => {
                        word.iter().for_each(|word| notice(word));
                        watchdog::leave(code.code(signal))
                    }
                    Phase::Deliver(sink) => Arc::clone(sink),
                };
                sink(signal);
            }
        })?;
        Ok(stream)
    }

    /// From now on a signal ends the process at once: nothing is held.
    pub fn leave_at_once(&self, code: LeaveCode) {
        self.set(Phase::Leave(code, None));
    }

    /// As [`Stream::leave_at_once`], with a word to stderr for whoever sent the signal.
    pub fn leave_saying(&self, code: LeaveCode, word: String) {
        self.set(Phase::Leave(code, Some(word)));
    }

    /// From now on signals go to this sink, called from one plain thread.
    pub fn deliver_to(&self, sink: Sink) {
        self.set(Phase::Deliver(sink));
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaked() -> &'static Bell {
        Box::leak(Box::new(Bell::new()))
    }

    #[test]
    fn a_named_ring_is_one_signal_whichever_comes_first() {
        let bell = leaked();
        bell.ring();
        bell.name(Signal::Int);
        bell.name(Signal::Hup);
        bell.ring();
        assert_eq!(bell.next(), Signal::Int);
        assert_eq!(bell.next(), Signal::Hup);
        let tally = bell.lock();
        assert_eq!((tally.nameless, tally.ahead, tally.unread.len()), (0, 0, 0));
    }

    #[test]
    fn a_ring_without_a_name_counts_as_term() {
        let bell = leaked();
        bell.ring();
        assert_eq!(bell.next(), Signal::Term);
    }

    #[test]
    fn a_name_that_comes_after_it_was_assumed_is_not_a_second_signal() {
        let bell = leaked();
        bell.ring();
        assert_eq!(bell.next(), Signal::Term);
        bell.name(Signal::Int);
        assert!(bell.lock().unread.is_empty());
        bell.ring();
        bell.name(Signal::Int);
        assert_eq!(bell.next(), Signal::Int);
    }

    #[test]
    fn usr1_has_no_ring_and_needs_none() {
        let bell = leaked();
        bell.name(Signal::Usr1);
        assert_eq!(bell.next(), Signal::Usr1);
        assert_eq!(bell.lock().ahead, 0);
    }

    #[test]
    fn unread_signals_are_bounded() {
        let bell = leaked();
        for _ in 0..1_000 {
            bell.ring();
            bell.name(Signal::Int);
        }
        assert_eq!(bell.lock().unread.len(), MAX_UNREAD_SIGNALS);
    }
}
