//! A batch as a whole: how far it is; and the look over all batches for assemblies that are due.
//!
//! It reads a batch's jobs, page by page, and keeps of them only what is said.

use crate::dataset::reason;
use crate::queue::{AssemblyState, BatchId, ErrorKind, JobFilter, JobKind, JobStatus, Queue, QueueError};
use roboflow_fsm::id::JobId;
use std::collections::BTreeMap;

/// Jobs read at once.
const PAGE: usize = 512;

/// How far a batch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchState {
    /// Recordings that wait or are worked on.
    pub open: u64,
    /// Recordings that are converted.
    pub completed: u64,
    /// Bytes of recordings that are final.
    pub settled_bytes: u64,
    /// Recordings that will not be converted, by their names, and why.
    pub failed: BTreeMap<String, String>,
    /// Of those, the jobs that were given up since their workers were lost, not for errors of their own.
    pub crashed: Vec<JobId>,
    /// Where the assembly stands, once there is one, with the last error of it.
    pub assembly: Option<(JobStatus, String)>,
}

impl BatchState {
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
                match (&job.kind, job.status) {
                    (JobKind::Assemble, status) => state.assembly = Some((status, reason(job))),
                    (JobKind::Convert { .. }, JobStatus::Ready | JobStatus::Leased) => state.open += 1,
                    (JobKind::Convert { source }, JobStatus::Completed) => {
                        state.completed += 1;
                        state.settled_bytes += source.size;
                    }
                    (JobKind::Convert { source }, JobStatus::Dead | JobStatus::Cancelled) => {
                        state.settled_bytes += source.size;
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
