//! A batch as a whole: how far it is, and whether its assembly is due.
//!
//! It reads all of a batch's jobs, page by page, and keeps of them only what is said.

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

/// Queues the assembly of a batch whose recordings are all converted. A recording that failed keeps it from being due:
/// whether to publish without is for people to say. Gives the job when this call made it.
///
/// # Errors
/// The queue's.
pub async fn assemble_when_due(queue: &Queue, batch: BatchId) -> Result<Option<JobId>, QueueError> {
    let filter = JobFilter { batch: Some(batch), status: None };
    let (mut recordings, mut after) = (0usize, None);
    loop {
        let page = queue.list(&filter, after, PAGE).await?;
        for job in &page.jobs {
            if job.kind == JobKind::Assemble || job.status != JobStatus::Completed {
                return Ok(None);
            }
        }
        recordings += page.jobs.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if recordings == 0 {
        return Ok(None);
    }
    match queue.submit_assembly(batch).await? {
        AssemblyState::Queued { job, new: true, .. } => Ok(Some(job)),
        AssemblyState::Queued { .. } | AssemblyState::Open { .. } | AssemblyState::Empty => Ok(None),
    }
}
