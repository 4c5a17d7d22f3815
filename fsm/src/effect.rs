//! What the machine wants done, as data. One executor carries each out with one match.
//!
//! An effect says which answer ends it. Nothing here does anything.

use crate::event::Mode;
use crate::id::{Epoch, JobId, Nonce, RequestId};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The effects of one step, in the order they are to be started.
pub type Effects = Vec<Effect>;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Claim a job in one transaction that also writes the lease. Ended by `ClaimAnswered`.
    Claim {
        /// This request.
        id: RequestId,
        /// By which the claim is recognised when read back.
        nonce: Nonce,
    },
    /// Find out what became of the claim with this nonce, and make sure that it cannot happen later.
    /// Never claims anything new. Ended by `ClaimAnswered`.
    ResolveClaim {
        /// This request.
        id: RequestId,
        /// The claim's nonce.
        nonce: Nonce,
    },
    /// Convert one segment and make it durable in staging. Ended by `ConvertAnswered`.
    Convert {
        /// This request.
        id: RequestId,
        /// The job.
        job: JobId,
        /// Our claim of it.
        epoch: Epoch,
        /// Which segment, from 0.
        segment: u32,
    },
    /// Stop that conversion soon (within 50 ms). No answer of its own: the conversion's answer ends both.
    CancelConvert {
        /// The `Convert` request.
        convert: RequestId,
    },
    /// Commit that segments `0..segments_done` are durable. Ended by `CommitAnswered`.
    Checkpoint {
        /// This request.
        id: RequestId,
        /// By which the commit is recognised when its outcome is unknown.
        nonce: Nonce,
        /// The job.
        job: JobId,
        /// Our claim of it.
        epoch: Epoch,
        /// Count of durable segments.
        segments_done: u32,
    },
    /// The last checkpoint of a job and its completion, in one transaction. Ended by `CommitAnswered`.
    Complete {
        /// This request.
        id: RequestId,
        /// By which the commit is recognised when its outcome is unknown.
        nonce: Nonce,
        /// The job.
        job: JobId,
        /// Our claim of it.
        epoch: Epoch,
        /// Count of durable segments: all of them.
        segments_done: u32,
    },
    /// Hand the job back, and, when leaving, clear the heartbeat and write the receipt, all in one transaction.
    /// Ended by `ReleaseAnswered`.
    Release {
        /// This request.
        id: RequestId,
        /// By which the commit is recognised when its outcome is unknown.
        nonce: Nonce,
        /// The job to hand back, if one is held.
        hand_back: Option<HandBack>,
        /// Present when this machine is leaving for good.
        farewell: Option<Farewell>,
    },
    /// Nothing is owned any more and nothing will be: the lease need not be renewed on this machine's behalf.
    /// No answer.
    StopRenewing,
    /// The machine is done. No answer.
    Exit {
        /// How it ended.
        outcome: Exit,
    },
}

/// A job going back to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HandBack {
    /// The job.
    pub job: JobId,
    /// Our claim of it.
    pub epoch: Epoch,
    /// Segments whose checkpoint is known to be committed. Informative: the record already holds them.
    pub segments_done: u32,
    /// Why, which decides what it counts as.
    pub why: HandBackReason,
}

/// Why a job goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HandBackReason {
    /// We were asked to stop: ready again at once, never an attempt.
    Interrupted,
    /// It failed in a way that a retry may cure: a failed attempt, retried after a backoff.
    FailedTransient,
    /// It failed for good: dead at once.
    FailedPermanent,
    /// Its cancellation was asked for.
    Cancelled,
}

/// What the machine knows about its own leaving, for the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Farewell {
    /// What first asked for the stop, as an event name.
    pub cause: Cause,
    /// The leaf state that the stop met.
    pub met: Leaf,
    /// How hard it was asked for in the end.
    pub mode: Mode,
    /// When it was first asked for, in event time.
    pub asked_at_ms: u64,
    /// When this release was emitted, in event time.
    pub released_at_ms: u64,
}

/// What first asked for the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// Asked by name.
    Drain,
    /// The machine itself met a fault that it cannot work on with.
    Fault,
}

/// The leaves of the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Leaf {
    /// Owns nothing, nothing in flight.
    Idle,
    /// A claim transaction is in flight.
    Claiming,
    /// A segment is being converted.
    Processing,
    /// A checkpoint or completion is being committed.
    Checkpointing,
    /// Draining, with a claim in flight.
    AwaitingClaim,
    /// Draining, with a segment in flight.
    Finishing,
    /// Draining, with a checkpoint or completion in flight.
    Saving,
    /// The job, or only the heartbeat, is being handed back.
    Releasing,
    /// Done.
    Exited,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// Everything owned was completed, released, failed or known lost.
    Clean,
    /// A job (or a commit of unknown outcome) was left to its lease: exit code 75.
    LeftToLease,
    /// A fault in the machine: exit code 70. Ranks worst.
    Fault,
}

/// Effects of one family exclude each other: at most one of each is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// `Claim`, `ResolveClaim`.
    Claim,
    /// `Convert`.
    Convert,
    /// `Checkpoint`, `Complete`.
    Commit,
    /// `Release`.
    Release,
}

impl Effect {
    /// The name, as logs, metrics, tables and diagrams show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "Claim",
            Self::ResolveClaim { .. } => "ResolveClaim",
            Self::Convert { .. } => "Convert",
            Self::CancelConvert { .. } => "CancelConvert",
            Self::Checkpoint { .. } => "Checkpoint",
            Self::Complete { .. } => "Complete",
            Self::Release { .. } => "Release",
            Self::StopRenewing => "StopRenewing",
            Self::Exit { .. } => "Exit",
        }
    }

    /// The request and the family of answers that ends it, or `None` where no answer is expected.
    pub fn request(&self) -> Option<(RequestId, Family)> {
        match self {
            Self::Claim { id, .. } | Self::ResolveClaim { id, .. } => Some((*id, Family::Claim)),
            Self::Convert { id, .. } => Some((*id, Family::Convert)),
            Self::Checkpoint { id, .. } | Self::Complete { id, .. } => Some((*id, Family::Commit)),
            Self::Release { id, .. } => Some((*id, Family::Release)),
            Self::CancelConvert { .. } | Self::StopRenewing | Self::Exit { .. } => None,
        }
    }
}

impl Exit {
    /// The process exit code (sysexits): 0 clean, 75 something was left to its lease, 70 fault.
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::LeftToLease => 75,
            Self::Fault => 70,
        }
    }
}

impl Leaf {
    /// All leaves, in the order of the hierarchy.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Claiming,
        Self::Processing,
        Self::Checkpointing,
        Self::AwaitingClaim,
        Self::Finishing,
        Self::Saving,
        Self::Releasing,
        Self::Exited,
    ];

    /// The leaf's own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Claiming => "Claiming",
            Self::Processing => "Processing",
            Self::Checkpointing => "Checkpointing",
            Self::AwaitingClaim => "AwaitingClaim",
            Self::Finishing => "Finishing",
            Self::Saving => "Saving",
            Self::Releasing => "Releasing",
            Self::Exited => "Exited",
        }
    }

    /// One of the seven names that the outside sees.
    pub fn public_name(self) -> &'static str {
        match self {
            Self::AwaitingClaim | Self::Finishing | Self::Saving => "Draining",
            other => other.name(),
        }
    }
}
