//! What a job amounts to for those who run it: numbered segments, a stop flag, and how one can fail.
//!
//! Neutral ground between conversion, assembly and the worker: it knows none of them, and nothing of queues or signals.

use crate::error::{Class, Classified};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a conversion to stop soon. Cloned freely; polled at least every 50 ms of work.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks to stop. For good.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// `Err(WorkError::Stopped)` once asked to stop.
    pub fn check(&self) -> Result<(), WorkError> {
        if self.is_set() { Err(WorkError::Stopped) } else { Ok(()) }
    }
}

/// A job cut into segments whose bytes depend on the job alone. Converting a recording is one, assembling a dataset another.
pub trait Work: Send {
    /// How many segments the job has. At least 1.
    fn segments(&self) -> u32;

    /// Runs one segment, from 0; any one, in any order, any number of times, with the same bytes each time.
    /// When it returns `Ok`, all that the segment writes is durable. The last segment also writes what closes the job.
    ///
    /// # Errors
    /// [`WorkError::Stopped`] when the flag was set; nothing of the segment counts then.
    fn run(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, WorkError>;

    /// Frames of the whole job, whoever converted them. Final when the last segment has run.
    fn frames(&self) -> u64;

    /// What the user should know: a cut file, skipped messages. Grows while segments run.
    fn warnings(&self) -> Vec<String>;
}

/// What a finished segment amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentDone {
    /// Frames in it.
    pub frames: u32,
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Why a segment did not come about.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// It was asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// It will always fail: the message names file, topic or setting and what to do.
    #[error("{0}")]
    Permanent(String),
    /// A retry may succeed.
    #[error("{0}")]
    Transient(String),
}

impl Classified for WorkError {
    fn class(&self) -> Class {
        match self {
            Self::Stopped | Self::Transient(_) => Class::Transient,
            Self::Permanent(_) => Class::Permanent,
        }
    }
}
