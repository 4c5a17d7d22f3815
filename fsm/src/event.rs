//! What can happen to the machine: signals, time, the lease, and answers to its requests.
//!
//! An event is plain data. It carries the time and the chance it happened with, since the machine has neither
//! a clock nor a die; it never carries error texts, only their class.

use crate::id::{Epoch, Generation, JobId, RequestId};
use serde::{Deserialize, Serialize};

/// One event as the driver delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Monotonic milliseconds since the process started. Never falls from one event to the next.
    pub at_ms: u64,
    /// A uniformly random number, for jitter.
    pub dice: u32,
    /// What happened.
    pub input: Input,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// A signal reached the process.
    Signal(Signal),
    /// Somebody asked by name to drain: the admin surface, a command, or the supervisor of `run`.
    Drain(Mode),
    /// Time passed: the driver sends it at [`crate::Machine::wake_at_ms`], and may send it at any other time.
    Tick,
    /// Whoever stops the process told when it will be killed: a pod that is deleted knows. It only ever shortens a stop.
    TimeLeft {
        /// From now until the kill.
        left_ms: u64,
        /// What a last checkpoint and a release take of it, as measured, with a margin.
        reserve_ms: u64,
    },
    /// A renewal is known to be committed: writes are allowed until `write_until_ms` (event time).
    LeaseRenewed {
        /// Which lease.
        generation: Generation,
        /// When this worker must stop writing unless renewed again, in event time.
        write_until_ms: u64,
    },
    /// The lease is known to be gone: its jobs belong to others. A new one is registered by the lease thread.
    LeaseLost {
        /// Which lease.
        generation: Generation,
    },
    /// The queue was asked to cancel this job while we hold it.
    CancelRequested {
        /// The job.
        job: JobId,
        /// The claim under which it was seen.
        epoch: Epoch,
    },
    /// This process put jobs on the queue, durably: a look at it may find one. Only a hint: whoever misses it finds
    /// them at the next poll.
    WorkMayWait,
    /// The answer to `Claim` or `ResolveClaim`.
    ClaimAnswered {
        /// The request.
        id: RequestId,
        /// What became of it.
        answer: ClaimAnswer,
    },
    /// The answer to `Convert`.
    ConvertAnswered {
        /// The request.
        id: RequestId,
        /// What became of it.
        answer: ConvertAnswer,
    },
    /// The answer to `Checkpoint` or `Complete`.
    CommitAnswered {
        /// The request.
        id: RequestId,
        /// What became of it.
        answer: CommitAnswer,
    },
    /// The answer to `Release`.
    ReleaseAnswered {
        /// The request.
        id: RequestId,
        /// What became of it.
        answer: CommitAnswer,
    },
}

/// A signal, by what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// SIGTERM: an orchestrator wants us gone. Repeated within 2 s it counts once.
    Term,
    /// SIGINT: a person. Every further one escalates.
    Int,
    /// SIGHUP: the terminal went away. Counts like SIGTERM.
    Hup,
    /// SIGUSR1: finish the job in hand, then exit.
    Usr1,
}

/// How hard to stop. Only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Finish the job in hand.
    Finish,
    /// Current segment to its boundary, checkpoint, release.
    Interrupt,
    /// Cancel the segment, release with the last durable checkpoint.
    Abort,
}

/// What a claim was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimAnswer {
    /// A job is ours, durably.
    Won(Grant),
    /// There is nothing to claim. As the answer to `ResolveClaim`: the claim did not happen and cannot any more.
    Empty,
    /// The commit's outcome is unknown: it must be read back.
    Unknown,
    /// It failed without effect; the store may be back later.
    Unavailable,
    /// The lease under which it was tried is gone; nothing was claimed.
    Lost,
    /// It failed for good: a fault in this program or its store.
    Fault,
}

/// A job won.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The job.
    pub job: JobId,
    /// Our claim's number.
    pub epoch: Epoch,
    /// The lease it was claimed under.
    pub generation: Generation,
    /// Segments already durable and checkpointed by earlier claims.
    pub segments_done: u32,
}

/// What a conversion request was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConvertAnswer {
    /// The segment is durable in staging.
    Durable {
        /// Frames in it.
        frames: u32,
        /// How long it took.
        elapsed_ms: u64,
        /// How many segments of this job are still to be converted. 0: this was the last.
        remaining: u32,
    },
    /// It failed; a retry may succeed (storage trouble).
    Transient,
    /// It failed and will always fail (bad recording, bad mapping).
    Permanent,
    /// It stopped since it was cancelled; nothing of it counts.
    Cancelled,
    /// The conversion thread died: a fault in this program.
    Fault,
}

/// What a checkpoint, completion or release was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommitAnswer {
    /// Durable.
    Committed,
    /// The outcome is unknown: ask again with the same nonce.
    Unknown,
    /// Nothing happened; the store may be back later.
    Unavailable,
    /// The job is no longer ours: somebody else's epoch stands there. Nothing was written.
    Lost,
    /// It failed for good: a fault in this program or its store.
    Fault,
}

impl Event {
    /// The name of what happened, as logs, tables and diagrams show it.
    pub fn name(&self) -> &'static str {
        self.input.name()
    }
}

impl Input {
    /// The name of what happened, as logs, tables and diagrams show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signal(Signal::Term) => "SIGTERM",
            Self::Signal(Signal::Int) => "SIGINT",
            Self::Signal(Signal::Hup) => "SIGHUP",
            Self::Signal(Signal::Usr1) => "SIGUSR1",
            Self::Drain(Mode::Finish) => "Drain(Finish)",
            Self::Drain(Mode::Interrupt) => "Drain(Interrupt)",
            Self::Drain(Mode::Abort) => "Drain(Abort)",
            Self::Tick => "Tick",
            Self::TimeLeft { .. } => "TimeLeft",
            Self::LeaseRenewed { .. } => "LeaseRenewed",
            Self::LeaseLost { .. } => "LeaseLost",
            Self::CancelRequested { .. } => "CancelRequested",
            Self::WorkMayWait => "WorkMayWait",
            Self::ClaimAnswered { answer, .. } => match answer {
                ClaimAnswer::Won(_) => "Claim:Won",
                ClaimAnswer::Empty => "Claim:Empty",
                ClaimAnswer::Unknown => "Claim:Unknown",
                ClaimAnswer::Unavailable => "Claim:Unavailable",
                ClaimAnswer::Lost => "Claim:Lost",
                ClaimAnswer::Fault => "Claim:Fault",
            },
            Self::ConvertAnswered { answer, .. } => match answer {
                ConvertAnswer::Durable { remaining: 0, .. } => "Convert:DurableLast",
                ConvertAnswer::Durable { .. } => "Convert:Durable",
                ConvertAnswer::Transient => "Convert:Transient",
                ConvertAnswer::Permanent => "Convert:Permanent",
                ConvertAnswer::Cancelled => "Convert:Cancelled",
                ConvertAnswer::Fault => "Convert:Fault",
            },
            Self::CommitAnswered { answer, .. } => match answer {
                CommitAnswer::Committed => "Commit:Committed",
                CommitAnswer::Unknown => "Commit:Unknown",
                CommitAnswer::Unavailable => "Commit:Unavailable",
                CommitAnswer::Lost => "Commit:Lost",
                CommitAnswer::Fault => "Commit:Fault",
            },
            Self::ReleaseAnswered { answer, .. } => match answer {
                CommitAnswer::Committed => "Release:Committed",
                CommitAnswer::Unknown => "Release:Unknown",
                CommitAnswer::Unavailable => "Release:Unavailable",
                CommitAnswer::Lost => "Release:Lost",
                CommitAnswer::Fault => "Release:Fault",
            },
        }
    }
}
