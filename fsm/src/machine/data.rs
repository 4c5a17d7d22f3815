//! What the machine remembers between steps: the lease, the job in hand, what is in flight, how it was asked to
//! stop, and what it counted.
//!
//! Plain data and small questions about it. Decisions are in `active` and `stopping`; which leaf it is in is
//! statig's to know.

use super::disposition::Counters;
use crate::effect::{Cause, Exit, Family, HandBack, HandBackReason, Leaf};
use crate::event::Mode;
use crate::id::{Epoch, Generation, JobId, Nonce, RequestId};
use crate::policy::Settings;
use serde::{Deserialize, Serialize};

/// The job in hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The job.
    pub job: JobId,
    /// Our claim of it.
    pub epoch: Epoch,
    /// The lease it was claimed under.
    pub generation: Generation,
    /// Segments whose checkpoint is known to be committed: what another worker would go on from.
    pub segments_done: u32,
    /// Segments known to be durable in staging. Never less than `segments_done`.
    pub segments_durable: u32,
    /// Segments still to be converted, once the conversion has told.
    pub remaining: Option<u32>,
    /// Whether the queue was asked to cancel it.
    pub cancel_requested: bool,
    /// Why it goes back, once that is decided. Decided once.
    pub giving_back: Option<HandBackReason>,
    /// Frames made durable since the last checkpoint.
    pub frames_since_checkpoint: u32,
    /// When it was last checkpointed (or claimed), in event time.
    pub checkpointed_at_ms: u64,
    /// Moving average of a segment's conversion, once one was measured.
    pub pace_ms: Option<u64>,
}

/// The requests whose answers are awaited, by family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InFlight {
    /// `Claim` or `ResolveClaim`.
    pub claim: Option<RequestId>,
    /// `Convert`.
    pub convert: Option<RequestId>,
    /// `Checkpoint` or `Complete`.
    pub commit: Option<RequestId>,
    /// `Release`.
    pub release: Option<RequestId>,
}

impl InFlight {
    /// The request in flight in one family.
    pub fn get(&self, family: Family) -> Option<RequestId> {
        match family {
            Family::Claim => self.claim,
            Family::Convert => self.convert,
            Family::Commit => self.commit,
            Family::Release => self.release,
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Pursuit {
    /// To be emitted at this time, or later once the lease permits it.
    Due { at_ms: u64 },
    /// Emitted; its answer is awaited.
    InFlight { id: RequestId },
}

impl Pursuit {
    pub(crate) fn id(&self) -> Option<RequestId> {
        match self {
            Self::Due { .. } => None,
            Self::InFlight { id } => Some(*id),
        }
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Due { at_ms } => Some(*at_ms),
            Self::InFlight { .. } => None,
        }
    }
}

/// A claim, from its emission until its outcome is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ClaimIntent {
    pub(crate) nonce: Nonce,
    /// Whether its outcome turned out unknown, so that it must be read back.
    pub(crate) resolving: bool,
    /// Whether jobs were put on the queue since it was made.
    pub(crate) outdated: bool,
    pub(crate) attempt: u32,
    pub(crate) pursuit: Pursuit,
}

/// A segment's conversion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ConvertIntent {
    pub(crate) segment: u32,
    /// Whether `CancelConvert` was emitted for it.
    pub(crate) cancelled: bool,
    pub(crate) pursuit: Pursuit,
}

/// A checkpoint or completion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CommitIntent {
    pub(crate) completes: bool,
    pub(crate) nonce: Nonce,
    pub(crate) segments_done: u32,
    pub(crate) attempt: u32,
    /// Whether an earlier try may have happened: then it is asked again until known, and never dropped.
    pub(crate) unknown: bool,
    pub(crate) sent_at_ms: u64,
    pub(crate) pursuit: Pursuit,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ReleaseIntent {
    pub(crate) hand_back: Option<HandBack>,
    /// Whether the heartbeat is cleared and the receipt written with it.
    pub(crate) farewell: bool,
    pub(crate) nonce: Nonce,
    pub(crate) attempt: u32,
    /// Whether an earlier try may have happened.
    pub(crate) unknown: bool,
    /// When it was first wanted, in event time.
    pub(crate) since_ms: u64,
    pub(crate) pursuit: Pursuit,
}

/// What is known of this worker's lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The newest lease that was confirmed and is not known to be lost.
    pub(crate) confirmed: Option<Generation>,
    pub(crate) write_until_ms: u64,
    /// The newest lease known to be lost, with all before it.
    pub(crate) lost: Option<Generation>,
    /// Whether any was ever confirmed: without one there is no heartbeat to clear.
    pub(crate) ever: bool,
}

impl Lease {
    /// Whether writes under this lease may be started at `at_ms`.
    pub(crate) fn permits(&self, generation: Generation, at_ms: u64) -> bool {
        self.confirmed == Some(generation) && at_ms < self.write_until_ms
    }

    /// Whether this lease is known to be gone: lost, or replaced by a newer one.
    pub(crate) fn is_gone(&self, generation: Generation) -> bool {
        self.lost.is_some_and(|lost| generation <= lost)
            || self.confirmed.is_some_and(|confirmed| generation < confirmed)
    }
}

/// How the machine was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stop {
    pub(crate) cause: Cause,
    pub(crate) met: Leaf,
    pub(crate) mode: Mode,
    pub(crate) asked_at_ms: u64,
    /// When the budgets began to run. `None` while a drain by name finishes the job in hand.
    pub(crate) clock_ms: Option<u64>,
    /// Until when mode `Finish` holds, once a clock runs.
    pub(crate) finish_until_ms: Option<u64>,
    /// Stop signals that counted: a repeated SIGTERM within 2 s does not, nor does SIGUSR1.
    pub(crate) counted: u8,
    pub(crate) last_counted_ms: Option<u64>,
    /// A third signal counted, or the force deadline has come.
    pub(crate) forced: bool,
    /// What is known of the kill to come.
    pub(crate) kill: Option<Kill>,
}

/// What a kill leaves time for. Both only ever move nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Kill {
    /// The segment in flight is cancelled by then.
    pub(crate) cut_by_ms: u64,
    /// The process has left by then.
    pub(crate) leave_by_ms: u64,
}

/// How the epochs that this machine owned ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Claims won.
    pub owned: u64,
    /// Completed.
    pub completed: u64,
    /// Handed back as a failed attempt.
    pub failed: u64,
    /// Handed back unharmed: interrupted or cancelled.
    pub released: u64,
    /// Known to belong to somebody else.
    pub lost: u64,
    /// Left to the lease, for another worker to reclaim.
    pub left_to_lease: u64,
}

impl Tally {
    /// Epochs that have ended, however.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.released + self.lost + self.left_to_lease
    }
}

/// How one epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    HandedBack(HandBackReason),
    Lost,
    LeftToLease,
}

/// Statig's shared storage: everything but the leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    pub(crate) lease: Lease,
    pub(crate) held: Option<Held>,
    pub(crate) claim: Option<ClaimIntent>,
    pub(crate) convert: Option<ConvertIntent>,
    pub(crate) commit: Option<CommitIntent>,
    pub(crate) release: Option<ReleaseIntent>,
    pub(crate) stop: Option<Stop>,
    /// When Idle claims next.
    pub(crate) next_poll_ms: u64,
    /// Claims in a row that the store did not answer.
    pub(crate) claim_failures: u32,
    pub(crate) commit_ms: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) nonces: u64,
    /// Whether the machine met a fault that it cannot work on with.
    pub(crate) faulted: bool,
    pub(crate) exit: Option<Exit>,
    pub(crate) tally: Tally,
    pub(crate) counters: Counters,
}

impl Worker {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now_ms: 0,
            lease: Lease::default(),
            held: None,
            claim: None,
            convert: None,
            commit: None,
            release: None,
            stop: None,
            next_poll_ms: 0,
            claim_failures: 0,
            commit_ms: None,
            requests: 0,
            nonces: 0,
            faulted: false,
            exit: None,
            tally: Tally::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        InFlight {
            claim: self.claim.as_ref().and_then(|intent| intent.pursuit.id()),
            convert: self.convert.as_ref().and_then(|intent| intent.pursuit.id()),
            commit: self.commit.as_ref().and_then(|intent| intent.pursuit.id()),
            release: self.release.as_ref().and_then(|intent| intent.pursuit.id()),
        }
    }

    /// Whether the lease that the job in hand was claimed under permits starting a write at `at_ms`.
    pub(crate) fn may_write(&self, at_ms: u64) -> bool {
        self.held.as_ref().is_some_and(|held| self.lease.permits(held.generation, at_ms))
    }

    pub(crate) fn mode(&self) -> Option<Mode> {
        self.stop.as_ref().map(|stop| stop.mode)
    }

    /// Ends the epoch in hand, which then is in hand no more. Without one, nothing happens.
    pub(crate) fn end(&mut self, end: End) {
        if self.held.take().is_some() {
            self.count_end(end);
        }
    }

    pub(crate) fn count_end(&mut self, end: End) {
        let count = match end {
            End::Completed => &mut self.tally.completed,
            End::HandedBack(HandBackReason::FailedTransient | HandBackReason::FailedPermanent) => {
                &mut self.tally.failed
            }
            End::HandedBack(HandBackReason::Interrupted | HandBackReason::Cancelled) => {
                &mut self.tally.released
            }
            End::Lost => &mut self.tally.lost,
            End::LeftToLease => &mut self.tally.left_to_lease,
        };
        *count += 1;
    }

    pub(crate) fn new_nonce(&mut self) -> Nonce {
        self.nonces += 1;
        Nonce(self.nonces)
    }

    pub(crate) fn new_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }
}
