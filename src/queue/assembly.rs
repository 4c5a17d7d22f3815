//! The one Assemble job of a batch: when it is due, and that there is one.
//!
//! Whatever opens a recording of a batch writes the batch's record; the decision here has read it, so that no late
//! commit of either passes the other.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Key, following};
use super::record::{BatchId, BatchRecord, JobKind, JobRecord, JobStatus};
use super::settings::PAGE;
use super::tx::Tx;
use crate::fsm::id::JobId;
use crate::store::MAX_SCAN_PAIRS;

/// How far a batch is with its assembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssemblyState {
    /// No recording was ever submitted to it.
    Empty,
    /// So many of its recordings are not final yet, counted up to a few hundred.
    Open {
        /// How many.
        recordings: usize,
    },
    /// Its recordings are final, but more may come: it is not sealed.
    Unsealed,
    /// Recordings failed, and nobody said to go on without them. Retry them, or submit with `skip_failed`.
    HeldBack {
        /// How many are dead or cancelled, counted up to a few hundred.
        failed: u64,
    },
    /// Not one of its recordings is converted: there is nothing to assemble.
    NothingConverted,
    /// It was cancelled.
    Cancelled,
    /// Another batch is assembled into its output before it.
    Behind {
        /// That one: it is to be assembled, or cancelled.
        batch: BatchId,
    },
    /// Its one Assemble job exists.
    Queued {
        /// The job.
        job: JobId,
        /// Where it is.
        status: JobStatus,
        /// This call enqueued it.
        new: bool,
    },
}

impl Queue {
    /// Enqueues the batch's one Assemble job once it is due: the batch is sealed, all its recordings are final, at least
    /// one is converted, and none failed unless the batch skips those. Else says what it waits for. Whoever asks, and
    /// how often: there is one.
    pub async fn submit_assembly(&self, batch: BatchId) -> Result<AssemblyState, QueueError> {
        self.transact_idempotent("submit assembly", |tx| self.assembly_once(tx, batch)).await
    }

    async fn assembly_once(&self, mut tx: Tx, batch: BatchId) -> Result<AssemblyState, Halt> {
        let record = tx.batch(batch).await?;
        let id = batch.assemble_job();
        if let Some(job) = tx.read::<JobRecord>(&self.keys.job(id)).await? {
            return Ok(AssemblyState::Queued { job: id, status: job.status, new: false });
        }
        if let Some(waits) = self.assembly_waits(&mut tx, &record).await? {
            return Ok(waits);
        }
        if let Some(first) = self.waits_in_line(&mut tx, &record).await? {
            tx.commit().await?;
            return Ok(AssemblyState::Behind { batch: first });
        }
        self.enqueue(&mut tx, id, JobKind::Assemble, &record, u8::MAX, 0)?;
        tx.commit().await?;
        Ok(AssemblyState::Queued { job: id, status: JobStatus::Ready, new: true })
    }

    /// What the assembly waits for. The record must have been read with this transaction.
    async fn assembly_waits(&self, tx: &mut Tx, batch: &BatchRecord) -> Result<Option<AssemblyState>, Halt> {
        if batch.cancelled.is_some() {
            return Ok(Some(AssemblyState::Cancelled));
        }
        if batch.jobs == 0 {
            return Ok(Some(AssemblyState::Empty));
        }
        // First what is open, then what failed: a recording goes from the one to the other in one commit, and back only
        // with the batch's record.
        let recordings = self.open_recordings(tx, batch.id, PAGE).await?;
        if recordings > 0 {
            return Ok(Some(AssemblyState::Open { recordings }));
        }
        if !batch.sealed {
            return Ok(Some(AssemblyState::Unsealed));
        }
        let enough = if batch.skip_failed { batch.jobs } else { PAGE as u64 };
        let failed = self.failed_recordings(tx, batch.id, enough).await?;
        Ok(match failed {
            0 => None,
            failed if failed >= batch.jobs => Some(AssemblyState::NothingConverted),
            failed if !batch.skip_failed => Some(AssemblyState::HeldBack { failed }),
            _ => None,
        })
    }

    /// How many of a batch's recordings are not final, counted up to `limit`.
    pub(super) async fn open_recordings(
        &self,
        tx: &mut Tx,
        batch: BatchId,
        limit: usize,
    ) -> Result<usize, Halt> {
        let assembly = Some(Key::Open(batch, batch.assemble_job()));
        let pairs = tx.scan(&self.keys.open_of(batch), limit).await?;
        Ok(pairs.iter().filter(|(key, _)| self.keys.parse(key) != assembly).count())
    }

    /// How many of a batch's recordings are dead or cancelled, counted until there are `enough`.
    async fn failed_recordings(&self, tx: &mut Tx, batch: BatchId, enough: u64) -> Result<u64, Halt> {
        let mut span = self.keys.failed_of(batch);
        let mut count = 0;
        while count < enough {
            let limit = usize::try_from(enough - count).unwrap_or(MAX_SCAN_PAIRS).min(MAX_SCAN_PAIRS);
            let pairs = tx.scan(&span, limit).await?;
            let Some((last, _)) = pairs.last() else {
                break;
            };
            span.start = following(last.clone());
            count += pairs.len() as u64;
        }
        Ok(count)
    }
}
