//! What became of an event: handled, ignored by name, or a counted fault; and the counters of each.
//!
//! Every event gets exactly one disposition; an event without one would have fallen through (F12).

use core::fmt;
use serde::{Deserialize, Serialize};

/// What became of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Disposition {
    /// It counted. Where it led is in [`crate::Machine::trail`].
    Handled,
    /// It changed nothing, and this is why.
    Ignored(Reason),
    /// It should not have happened; it was counted and dealt with.
    Fault(Fault),
}

/// Why an event was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The machine is done.
    Exited,
    /// No request with this id is in flight: the answer came late, or twice.
    LateAnswer,
    /// That lease is known to be gone already, or never was ours.
    StaleLease,
    /// A SIGTERM or SIGHUP that only repeats the signal before it.
    RepeatedSignal,
    /// The machine is stopping at least that hard already.
    AlreadyStopping,
    /// That claim of that job is not in hand.
    NotHeld,
    /// The job in hand is going back already, or its cancellation was asked for before.
    AlreadyGoingBack,
    /// Work may wait, but this machine has some, or is to stop.
    NotLooking,
    /// A tick at which nothing was due.
    NothingDue,
    /// A kill was told of, and nobody has asked to stop.
    NotStopping,
    /// A kill was told of that leaves no less time than what is known already.
    NoSooner,
}

/// What should not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// A claim failed for good.
    Claim,
    /// The conversion thread died.
    Convert,
    /// A conversion says that it was cancelled, and nobody had asked.
    UnaskedCancel,
    /// A checkpoint or completion failed for good.
    Commit,
    /// A release failed for good.
    Release,
    /// The machine awaited this answer, in a leaf that does not know it.
    Unexpected,
}

/// Events counted by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counters {
    /// Ignored, late answers among them.
    pub ignored: u64,
    /// Answers to requests that are not in flight.
    pub late_answers: u64,
    /// Faults.
    pub faults: u64,
    /// Farewells given up at their cap.
    pub given_up: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Handled => {}
            Disposition::Ignored(reason) => {
                self.ignored += 1;
                if reason == Reason::LateAnswer {
                    self.late_answers += 1;
                }
            }
            Disposition::Fault(_) => self.faults += 1,
        }
    }
}

impl Reason {
    /// The reason in words, as logs and tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::LateAnswer => "late answer",
            Self::StaleLease => "stale lease",
            Self::RepeatedSignal => "repeated signal",
            Self::AlreadyStopping => "already stopping",
            Self::NotHeld => "not held",
            Self::AlreadyGoingBack => "already going back",
            Self::NotLooking => "not looking",
            Self::NothingDue => "nothing due",
            Self::NotStopping => "not stopping",
            Self::NoSooner => "no sooner than known",
        }
    }
}

impl Fault {
    /// The fault in words, as logs and tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim failed for good",
            Self::Convert => "conversion thread died",
            Self::UnaskedCancel => "cancelled unasked",
            Self::Commit => "commit failed for good",
            Self::Release => "release failed for good",
            Self::Unexpected => "unexpected answer",
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled => f.write_str("handled"),
            Self::Ignored(reason) => write!(f, "ignored: {}", reason.name()),
            Self::Fault(fault) => write!(f, "fault: {}", fault.name()),
        }
    }
}
