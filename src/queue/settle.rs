//! How a claim ends by its worker's hand: completed, or handed back, with the farewell in the same transaction.
//!
//! Each is recognised by its nonce when it is asked for again: in the worker's record, or in its receipt. The job is
//! read before the nonce is looked for: a first try that arrives between the two reads is then found by its nonce, and
//! never taken for somebody else's doing.

use super::Queue;
use super::checkpoint::{advance, check_writer};
use super::error::{Halt, QueueError};
use super::record::{
    ERROR_TEXT_MAX_BYTES, ErrorKind, Incarnation, JobKind, JobRecord, JobResult, JobStatus, Ownership,
    WriteId, clip,
};
use super::settings::{Count, job_backoff_ms};
use super::tx::{Tx, check_held};
use super::worker::{End, MachineFarewell, Receipt, Standing, WorkerRecord};
use crate::fsm::effect::{Farewell, HandBackReason};
use crate::store::StoreTime;

/// A job going back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandBack {
    /// The right to it.
    pub own: Ownership,
    /// Why, which decides what it counts as.
    pub why: HandBackReason,
    /// What went wrong, for the job's error history.
    pub error: Option<String>,
}

/// A machine leaving for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarewellNote {
    /// What the machine knows about its leaving.
    pub farewell: Farewell,
}

/// What one release does, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// Whose it is, and by what it is recognised.
    pub by: WriteId,
    /// The job to hand back.
    pub hand_back: Option<HandBack>,
    /// Present when the machine leaves. The last one takes the worker's record with it and leaves the receipt.
    pub farewell: Option<FarewellNote>,
}

impl Queue {
    /// The last checkpoint of a job and its completion. Durable when it returns; asked again with the same nonce it
    /// answers the same.
    ///
    /// [`QueueError::Lost`]: the job is no longer ours.
    pub async fn complete(
        &self,
        own: &Ownership,
        by: &WriteId,
        segments_done: u32,
        result: &JobResult,
    ) -> Result<(), QueueError> {
        check_writer(own, by)?;
        self.transact("complete", |tx| self.complete_once(tx, own, by, segments_done, result)).await
    }

    async fn complete_once(
        &self,
        mut tx: Tx,
        own: &Ownership,
        by: &WriteId,
        segments_done: u32,
        result: &JobResult,
    ) -> Result<(), Halt> {
        let mut job = tx.job(own.job).await?;
        let standing = tx.standing(by.incarnation).await?;
        if standing.has_done(by, |slot| slot.completed) {
            return tx.commit().await;
        }
        let mut worker = here(standing, by.incarnation)?;
        check_held(&job, own)?;
        advance(&mut job, segments_done)?;
        job.result = Some(JobResult { note: clip(&result.note, ERROR_TEXT_MAX_BYTES), ..result.clone() });
        self.let_go(&mut tx, &mut worker, &mut job, JobStatus::Completed, End::Completed)?;
        worker.slot(by.machine).completed = Some(by.nonce);
        tx.put_worker(&worker)?;
        tx.commit().await
    }

    /// Hands a job back, lets a machine leave, or both, in one transaction: the job in its new place, the worker's
    /// record or its receipt. Durable when it returns; asked again with the same nonce it answers the same.
    ///
    /// [`QueueError::Lost`]: the lease or the job is no longer ours; nothing was written.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<(), QueueError> {
        if let Some(hand_back) = &request.hand_back {
            check_writer(&hand_back.own, &request.by)?;
        }
        self.transact("release", |tx| self.release_once(tx, request)).await
    }

    async fn release_once(&self, mut tx: Tx, request: &ReleaseRequest) -> Result<(), Halt> {
        let by = &request.by;
        let held = match &request.hand_back {
            Some(hand_back) => Some((hand_back, tx.job(hand_back.own.job).await?)),
            None => None,
        };
        let standing = tx.standing(by.incarnation).await?;
        if standing.has_done(by, |slot| slot.released) {
            return tx.commit().await;
        }
        let mut worker = here(standing, by.incarnation)?;
        if let Some((hand_back, job)) = held {
            self.hand_back(&mut tx, &mut worker, hand_back, job)?;
        }
        worker.slot(by.machine).released = Some(by.nonce);
        if let Some(note) = &request.farewell {
            let slot = worker.slot(by.machine);
            if !slot.left {
                slot.left = true;
                let farewell =
                    MachineFarewell { machine: by.machine, at: tx.now, farewell: note.farewell.clone() };
                worker.farewells.push(farewell);
            }
        }
        self.keep_or_close(&mut tx, worker).await?;
        tx.commit().await
    }

    fn hand_back(
        &self,
        tx: &mut Tx,
        worker: &mut WorkerRecord,
        hand_back: &HandBack,
        mut job: JobRecord,
    ) -> Result<(), Halt> {
        check_held(&job, &hand_back.own)?;
        let text = hand_back.error.as_deref();
        let (mut status, end) = match hand_back.why {
            HandBackReason::Interrupted => {
                job.interruptions += 1;
                (JobStatus::Ready, End::Released)
            }
            HandBackReason::FailedTransient => {
                job.failures += 1;
                job.note_error(tx.now, ErrorKind::Transient, text.unwrap_or("failed"));
                job.not_before = StoreTime(tx.now.0.saturating_add(job_backoff_ms(job.failures, &self.dice)));
                let spent = job.failures >= self.settings.max_attempts;
                (if spent { JobStatus::Dead } else { JobStatus::Ready }, End::Failed)
            }
            HandBackReason::FailedPermanent => {
                job.failures += 1;
                job.note_error(tx.now, ErrorKind::Permanent, text.unwrap_or("failed for good"));
                (JobStatus::Dead, End::Failed)
            }
            HandBackReason::Cancelled => (JobStatus::Cancelled, End::Cancelled),
        };
        if hand_back.why == HandBackReason::Cancelled && !job.cancel_requested {
            return Err(QueueError::refused(format!("nobody asked to cancel job {}", job.id)).into());
        }
        if status == JobStatus::Ready && job.cancel_requested {
            status = JobStatus::Cancelled;
        }
        self.let_go(tx, worker, &mut job, status, end)
    }

    /// Moves a held job to its next place, with all indexes, and counts the end of the claim.
    pub(super) fn let_go(
        &self,
        tx: &mut Tx,
        worker: &mut WorkerRecord,
        job: &mut JobRecord,
        status: JobStatus,
        end: End,
    ) -> Result<(), Halt> {
        tx.delete(self.keys.leased(worker.info.incarnation, job.id));
        worker.note_end(job.id, job.epoch, end, tx.now);
        job.owner = None;
        self.place(tx, job, status)
    }

    /// Writes a job that nobody holds into its place.
    pub(super) fn place(&self, tx: &mut Tx, job: &mut JobRecord, status: JobStatus) -> Result<(), Halt> {
        job.status = status;
        if status == JobStatus::Ready {
            tx.mark(self.keys.ready(job));
        }
        if status.is_final() {
            job.finished = Some(tx.now);
            job.cancel_requested = false;
            tx.delete(self.keys.open(job.batch, job.id));
            if status != JobStatus::Completed && job.kind != JobKind::Assemble {
                tx.mark(self.keys.failed(job.batch, job.id));
            }
        }
        tx.put_job(job)
    }

    /// Writes the worker's record, or, when its last machine has left, its receipt instead.
    async fn keep_or_close(&self, tx: &mut Tx, mut worker: WorkerRecord) -> Result<(), Halt> {
        if !worker.all_left() {
            return tx.put_worker(&worker);
        }
        let held = tx.scan(&self.keys.leased_by(worker.info.incarnation), 1).await?;
        if held.is_empty() {
            return self.close(tx, worker);
        }
        // All machines are gone, yet something is held: whoever reclaims takes it, at once.
        tracing::warn!(worker = %worker.info.incarnation, "all machines left, but a job is still held");
        self.counters.add(Count::Repaired);
        worker.lease_until = worker.lease_until.min(tx.now);
        tx.put_worker(&worker)
    }

    /// Removes a worker's record and writes its receipt.
    pub(super) fn close(&self, tx: &mut Tx, worker: WorkerRecord) -> Result<(), Halt> {
        let incarnation = worker.info.incarnation;
        tx.delete(self.keys.worker(incarnation));
        tx.write(self.keys.receipt(incarnation), &Receipt::of(worker, tx.now))
    }

    /// The receipts behind `after`, by incarnation, at most `limit`.
    pub async fn receipts(
        &self,
        after: Option<Incarnation>,
        limit: usize,
    ) -> Result<Vec<Receipt>, QueueError> {
        self.page(self.keys.receipts_after(after), limit).await
    }
}

fn here(standing: Standing, incarnation: Incarnation) -> Result<WorkerRecord, Halt> {
    match standing {
        Standing::Here(worker) => Ok(*worker),
        Standing::Gone(_) | Standing::Never => {
            Err(QueueError::lost(format!("worker {incarnation} has ended")).into())
        }
    }
}
