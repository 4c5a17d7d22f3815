//! What a claim brought: the job as the queue's record says it, and by what right it is worked on.

use crate::queue::{BatchRecord, JobKind, JobRecord, Ownership};
use roboflow_fsm::id::{Epoch, Generation, JobId};
use uuid::Uuid;

/// A job in hand.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// Our claim of it.
    pub epoch: Epoch,
    /// The lease that it was claimed under.
    pub generation: Generation,
    /// The incarnation that it was claimed under.
    pub incarnation: Uuid,
    /// The record as it was when it was claimed.
    pub record: JobRecord,
    /// Its batch.
    pub batch: BatchRecord,
}

impl Assignment {
    /// By what right its writes are made.
    pub fn ownership(&self) -> Ownership {
        Ownership { job: self.job, epoch: self.epoch, incarnation: self.incarnation }
    }

    /// What it is about, for people.
    pub fn source(&self) -> &str {
        match &self.record.kind {
            JobKind::Convert { source } => &source.name,
            JobKind::Assemble => "the dataset",
        }
    }
}
