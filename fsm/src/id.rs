//! Names of things the machine speaks of: requests, jobs, epochs. Opaque numbers only.
//!
//! It does not make them up: job ids and epochs come from the queue, request ids are counted by the machine.

use core::fmt;
use serde::{Deserialize, Serialize};

/// One request of this machine: rises by one with every request emitted, never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What makes a store write recognisable when its outcome is unknown: stays the same over the retries of one
/// intent, so that a second try finds the first one's traces. Unique together with the worker's incarnation
/// and the machine's number in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce(pub u64);

/// A job's id: 16 bytes, given by the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub [u8; 16]);

/// The claim number of a job: grows with every claim, and fences every write made under an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Which of this process's leases is meant: 1 for the first, one more after each that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JobId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
