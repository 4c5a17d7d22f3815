//! The supervisor of a run: submits, watches the batch, opens its assembly, and drains the worker when all is done.
//!
//! It runs as a task beside the worker and touches no job: whatever it does, another process may do as well.

use super::output::{Output, RunNote};
use super::progress::{Progress, Standing};
use crate::batch::BatchState;
use crate::dataset;
use crate::queue::{BatchId, JobStatus, Queue, QueueError};
use crate::session::Session;
use crate::worker::{Inputs, Worker};
use roboflow_fsm::Input;
use roboflow_fsm::event::Mode;
use roboflow_fsm::id::JobId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between two looks at the batch, at least.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A look takes at most this share of the time, one in so many parts: of a great batch it takes longer.
const LOOK_SHARE: u32 = 8;
/// Between two updates of the progress.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);
/// How long the last look may take.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What became of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not over.
    Open,
    /// The dataset is published.
    Complete,
    /// Recordings failed, and nobody said to go on without them.
    Failed,
    /// The assembly failed.
    AssemblyFailed,
}

/// Watches one batch.
#[derive(Debug)]
pub(super) struct Supervisor {
    batch: BatchId,
    queue: Queue,
    skip_failed: bool,
}

impl Supervisor {
    /// Submits the recordings; those submitted before are passed over. Durable when it returns. None: all were, in other
    /// batches, and nothing is to be added.
    ///
    /// # Errors
    /// The queue's.
    pub(super) fn submit(
        session: &Session,
        note: &RunNote,
        output: &Output,
        skip_failed: bool,
    ) -> Result<Option<Self>, QueueError> {
        let queue = session.queue();
        let (batch, jobs) = (output.batch(note, skip_failed), note.jobs());
        let is_there = session.runtime().block_on(async {
            queue.put_config(&note.recipe.mapping).await?;
            if output.append {
                queue.append_to(&batch.out, batch.id, None).await?;
            }
            let submitted = queue.submit(&batch, &jobs).await?;
            tracing::info!(new = submitted.new, known = submitted.already, batch = %batch.id, "submitted");
            match queue.batch(batch.id).await {
                Err(QueueError::NotFound { .. }) if output.append => return Ok(false),
                found => found?,
            };
            retry_assembly(&queue, batch.id).await?;
            Ok::<_, QueueError>(true)
        })?;
        Ok(is_there.then_some(Self { batch: batch.id, queue, skip_failed }))
    }

    /// Watches until the machines have ended, shows the progress, and gives the last state seen.
    pub(super) fn watch(
        &self,
        session: &Session,
        worker: &Worker,
        progress: &mut Progress,
        total_bytes: u64,
    ) {
        let (seen, state) = watch::channel(BatchState::default());
        let task = Watcher {
            batch: self.batch,
            queue: self.queue.clone(),
            skip_failed: self.skip_failed,
            inputs: worker.inputs(),
            revived: BTreeSet::new(),
            seen,
        };
        let task = session.runtime().spawn(task.run());
        while !worker.has_ended_within(SHOW_INTERVAL) {
            let state = state.borrow();
            progress.show(Standing {
                recordings: state.recordings(),
                settled: state.completed + state.failed.len() as u64,
                settled_bytes: state.settled_bytes,
                total_bytes,
            });
        }
        task.abort();
    }

    /// The state after the machines have ended.
    ///
    /// # Errors
    /// The queue's.
    pub(super) fn last(&self, session: &Session) -> Result<BatchState, QueueError> {
        session.runtime().block_on(async {
            timeout(LAST_LOOK_LIMIT, BatchState::read(&self.queue, self.batch))
                .await
                .unwrap_or_else(|elapsed| Err(QueueError::Unavailable { reason: elapsed.to_string() }))
        })
    }

    /// What became of the batch.
    pub(super) fn verdict(&self, state: &BatchState) -> Verdict {
        verdict(state, self.skip_failed)
    }
}

/// An assembly that failed before (a full disk) is tried again: that is what the same command again asks for.
async fn retry_assembly(queue: &Queue, batch: BatchId) -> Result<(), QueueError> {
    match queue.get(batch.assemble_job()).await {
        Ok(job) if matches!(job.status, JobStatus::Dead | JobStatus::Cancelled) => {
            tracing::info!(job = %job.id, before = dataset::reason(&job), "trying the assembly again");
            queue.retry(job.id, "the run was started again").await.map(drop)
        }
        Ok(_) | Err(QueueError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn verdict(state: &BatchState, skip_failed: bool) -> Verdict {
    match &state.assembly {
        Some((JobStatus::Completed, _)) => Verdict::Complete,
        Some((JobStatus::Dead | JobStatus::Cancelled, _)) => Verdict::AssemblyFailed,
        Some((JobStatus::Ready | JobStatus::Leased, _)) => Verdict::Open,
        None if state.open > 0 || state.recordings() == 0 => Verdict::Open,
        None if state.failed.is_empty() || (skip_failed && state.completed > 0) => Verdict::Open,
        None => Verdict::Failed,
    }
}

/// The task.
struct Watcher {
    batch: BatchId,
    queue: Queue,
    skip_failed: bool,
    inputs: Inputs,
    /// Jobs that were given a new attempt, each once a run.
    revived: BTreeSet<JobId>,
    seen: watch::Sender<BatchState>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let started = Instant::now();
            match self.look().await {
                Ok(true) => {
                    // The batch is over: the machines own nothing of it, and finish what else they may hold.
                    self.inputs.send(&Input::Drain(Mode::Finish));
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the batch could not be looked at"),
            }
            sleep(LOOK_INTERVAL.max(started.elapsed() * LOOK_SHARE)).await;
        }
    }

    /// Whether the batch is over.
    async fn look(&mut self) -> Result<bool, QueueError> {
        let state = BatchState::read(&self.queue, self.batch).await?;
        if self.revive(&state).await? {
            return Ok(false);
        }
        let over = verdict(&state, self.skip_failed) != Verdict::Open;
        let due = !over && state.open == 0 && state.recordings() > 0 && state.assembly.is_none();
        self.seen.send_replace(state);
        if due {
            self.queue.submit_assembly(self.batch).await?;
        }
        Ok(over)
    }
}

impl Watcher {
    /// Gives recordings that were given up only since processes died a new attempt: whoever kills a run and starts it
    /// again wants them, and whoever does not has `--skip-failed`. Whether there was one.
    async fn revive(&mut self, state: &BatchState) -> Result<bool, QueueError> {
        if self.skip_failed || state.assembly.is_some() {
            return Ok(false);
        }
        let mut any = false;
        for job in &state.crashed {
            if self.revived.insert(*job) {
                any = true;
                tracing::warn!(job = %job, "every worker that held this recording was lost: the run tries it again");
                self.queue.retry(*job, "the run was started again").await?;
            }
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(open: u64, completed: u64, failed: &[&str], assembly: Option<JobStatus>) -> BatchState {
        BatchState {
            open,
            completed,
            failed: failed.iter().map(|name| ((*name).to_owned(), "cut".to_owned())).collect(),
            assembly: assembly.map(|status| (status, String::new())),
            ..BatchState::default()
        }
    }

    #[test]
    fn failed_recordings_end_a_run_only_when_all_are_settled_and_nobody_said_to_skip_them() {
        assert_eq!(verdict(&state(1, 1, &["a"], None), false), Verdict::Open);
        assert_eq!(verdict(&state(0, 1, &["a"], None), false), Verdict::Failed);
        assert_eq!(verdict(&state(0, 1, &["a"], None), true), Verdict::Open);
        assert_eq!(verdict(&state(0, 0, &["a"], None), true), Verdict::Failed);
        assert_eq!(verdict(&state(0, 2, &[], None), false), Verdict::Open);
    }

    #[test]
    fn the_assembly_decides_once_there_is_one() {
        assert_eq!(verdict(&state(0, 1, &["a"], Some(JobStatus::Completed)), false), Verdict::Complete);
        assert_eq!(verdict(&state(0, 2, &[], Some(JobStatus::Leased)), false), Verdict::Open);
        assert_eq!(verdict(&state(0, 2, &[], Some(JobStatus::Dead)), false), Verdict::AssemblyFailed);
    }
}
