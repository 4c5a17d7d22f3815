//! A batch as a whole: how far it is; and the look over all batches for assemblies that are due.
//!
//! It reads a batch's jobs, page by page, and keeps of them only what is said.

use crate::dataset::reason;
use crate::queue::{
    AssemblyState, BatchId, BatchRecord, ErrorKind, JobFilter, JobKind, JobRecord, JobStatus, Owner, Queue,
    QueueError,
};
use roboflow_fsm::id::JobId;
use std::collections::BTreeMap;

/// Jobs read at once.
const PAGE: usize = 512;

/// How far a batch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchState {
    /// Recordings that wait or are worked on.
    pub open: u64,
    /// Jobs that workers hold, the assembly too.
    pub held: Vec<Held>,
    /// Recordings that are converted.
    pub completed: u64,
    /// Bytes of recordings that are final.
    pub settled_bytes: u64,
    /// Recordings that will not be converted, by their names, and why.
    pub failed: BTreeMap<String, String>,
    /// Of those, how many were cancelled.
    pub cancelled: u64,
    /// Of those, the jobs that were given up since their workers were lost, not for errors of their own.
    pub crashed: Vec<JobId>,
    /// Where the assembly stands, once there is one, with the last error of it.
    pub assembly: Option<(JobStatus, String)>,
}

/// A job in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The recording's name; none for the assembly.
    pub source: Option<String>,
    /// Segments that are durable.
    pub segments_done: u32,
    /// By whom.
    pub owner: Owner,
}

/// Where a batch stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was submitted to it yet.
    Empty,
    /// Recordings wait or are worked on.
    Converting,
    /// All recordings are final, and more may come.
    Filling,
    /// The assembly is queued, or about to be.
    Assembling,
    /// The dataset is published.
    Published,
    /// Recordings failed, and nobody said to go on without them; or not one of them is converted.
    Failed,
    /// The assembly failed.
    AssemblyFailed,
    /// It was cancelled, and something of it is still held.
    Cancelling,
    /// It was cancelled.
    Cancelled,
}

impl Stage {
    /// The name, as the command line shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Converting => "converting",
            Self::Filling => "filling",
            Self::Assembling => "assembling",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::AssemblyFailed => "assembly-failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}

impl BatchState {
    /// Where the batch stands.
    pub fn stage(&self, batch: &BatchRecord) -> Stage {
        match &self.assembly {
            Some((JobStatus::Completed, _)) => Stage::Published,
            _ if batch.cancelled.is_some() && (self.open > 0 || !self.held.is_empty()) => Stage::Cancelling,
            _ if batch.cancelled.is_some() => Stage::Cancelled,
            Some((JobStatus::Dead | JobStatus::Cancelled, _)) => Stage::AssemblyFailed,
            Some((JobStatus::Ready | JobStatus::Leased, _)) => Stage::Assembling,
            None if self.recordings() == 0 => Stage::Empty,
            None if self.open > 0 => Stage::Converting,
            None if !batch.sealed => Stage::Filling,
            None if self.failed.is_empty() || (batch.skip_failed && self.completed > 0) => Stage::Assembling,
            None => Stage::Failed,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// The queue's.
    pub async fn read(queue: &Queue, batch: BatchId) -> Result<Self, QueueError> {
        let filter = JobFilter { batch: Some(batch), status: None };
        let (mut state, mut after) = (Self::default(), None);
        loop {
            let page = queue.list(&filter, after, PAGE).await?;
            for job in &page.jobs {
                state.held.extend(held(job));
                match (&job.kind, job.status) {
                    (JobKind::Assemble, status) => state.assembly = Some((status, reason(job))),
                    (JobKind::Convert { .. }, JobStatus::Ready | JobStatus::Leased) => state.open += 1,
                    (JobKind::Convert { source }, JobStatus::Completed) => {
                        state.completed += 1;
                        state.settled_bytes += source.size;
                    }
                    (JobKind::Convert { source }, JobStatus::Dead | JobStatus::Cancelled) => {
                        state.settled_bytes += source.size;
                        state.cancelled += u64::from(job.status == JobStatus::Cancelled);
                        state.failed.insert(source.name.clone(), reason(job));
                        let crashed = job.errors.last().is_some_and(|error| error.kind == ErrorKind::Crash);
                        if job.status == JobStatus::Dead && crashed {
                            state.crashed.push(job.id);
                        }
                    }
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(state),
            }
        }
    }

    /// Recordings of the batch.
    pub fn recordings(&self) -> u64 {
        self.open + self.completed + self.failed.len() as u64
    }
}

fn held(job: &JobRecord) -> Option<Held> {
    let owner = job.owner.clone().filter(|_| job.status == JobStatus::Leased)?;
    let source = match &job.kind {
        JobKind::Convert { source } => Some(source.name.clone()),
        JobKind::Assemble => None,
    };
    Some(Held { source, segments_done: job.checkpoint, owner })
}

/// Queues the assemblies that are due, of all batches that are not over. Gives those that this call queued.
///
/// # Errors
/// The queue's. What was queued until then stays so.
pub async fn assemble_due(queue: &Queue) -> Result<Vec<BatchId>, QueueError> {
    let (mut queued, mut after) = (Vec::new(), None);
    loop {
        let page = queue.active_batches(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(queued) };
        after = Some(*last);
        for batch in page {
            match queue.submit_assembly(batch).await {
                Ok(AssemblyState::Queued { job, new: true, .. }) => {
                    tracing::info!(%batch, %job, "the recordings are done: the assembly is queued");
                    queued.push(batch);
                }
                Ok(_waits) => {}
                // One batch that cannot be read must not keep the others from their end.
                Err(error @ (QueueError::Corrupt { .. } | QueueError::NotFound { .. })) => {
                    tracing::warn!(%batch, %error, "a batch is passed over");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
