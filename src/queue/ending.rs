//! How a batch comes to its end: sealed, cancelled, closed, and swept.
//!
//! It moves no job but by cancelling it, and removes no object: whoever sweeps the staging does so between closing and
//! sweeping.

use super::Queue;
use super::error::{Halt, QueueError};
use super::jobs::{Cancelled, scan};
use super::key::{Key, following};
use super::leader::Leadership;
use super::record::{BatchId, JobRecord, JobStatus};
use super::settings::PAGE;
use super::tx::Tx;

/// What cancelling a batch did to its open jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CancelledBatch {
    /// Cancelled by this call.
    pub now: u64,
    /// Held by workers, which were told.
    pub asked: u64,
    /// Not to be read, and left as they are.
    pub unreadable: u64,
}

impl Queue {
    /// Says that nothing more comes: the batch is assembled when its recordings are done. Durable when it returns.
    pub async fn seal_batch(&self, batch: BatchId) -> Result<(), QueueError> {
        self.transact_idempotent("seal batch", |tx| seal_once(tx, batch)).await
    }

    /// Cancels a batch: it is not assembled any more, and each of its open jobs is cancelled as by [`Queue::cancel`],
    /// one by one. After an error the same call may be made again. A job that is given a new attempt afterwards brings
    /// the batch back.
    ///
    /// [`QueueError::Refused`]: it is assembled already.
    pub async fn cancel_batch(&self, batch: BatchId) -> Result<CancelledBatch, QueueError> {
        self.transact_idempotent("cancel batch", |tx| self.mark_cancelled(tx, batch)).await?;
        let mut done = CancelledBatch::default();
        let mut span = self.keys.open_of(batch);
        loop {
            let pairs = self.transact("cancel batch", |tx| scan(tx, &span, PAGE)).await?;
            let Some((last, _)) = pairs.last() else {
                return Ok(done);
            };
            span.start = following(last.clone());
            for (key, _) in &pairs {
                let Some(Key::Open(_, job)) = self.keys.parse(key) else {
                    continue;
                };
                match self.cancel(job).await {
                    Ok(Cancelled::Now) => done.now += 1,
                    Ok(Cancelled::Asked) => done.asked += 1,
                    Ok(Cancelled::Already(_)) => {}
                    Err(QueueError::Corrupt { .. } | QueueError::NotFound { .. }) => done.unreadable += 1,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn mark_cancelled(&self, mut tx: Tx, id: BatchId) -> Result<(), Halt> {
        let mut batch = tx.batch(id).await?;
        if self.is_assembled(&mut tx, id).await? {
            let reason = format!("batch {id} is assembled: there is nothing left to cancel");
            return Err(QueueError::refused(reason).into());
        }
        if batch.cancelled.is_none() || !batch.sealed {
            batch.cancelled.get_or_insert(tx.now);
            batch.sealed = true;
            tx.put_batch(&batch)?;
        }
        tx.commit().await
    }

    async fn is_assembled(&self, tx: &mut Tx, batch: BatchId) -> Result<bool, Halt> {
        let assembly = tx.read::<JobRecord>(&self.keys.job(batch.assemble_job())).await?;
        Ok(assembly.is_some_and(|job| job.status == JobStatus::Completed))
    }

    /// Closes a batch that is over: its dataset is assembled, or it was cancelled and nothing of it is open. From then
    /// on nothing of it is opened again, so that its staging may be removed. Whether it is closed now; durable when it
    /// returns.
    pub async fn close_batch(&self, lead: &Leadership, batch: BatchId) -> Result<bool, QueueError> {
        self.transact_idempotent("close batch", |tx| self.close_batch_once(tx, lead, batch)).await
    }

    async fn close_batch_once(&self, mut tx: Tx, lead: &Leadership, id: BatchId) -> Result<bool, Halt> {
        tx.check_leads(lead).await?;
        let mut batch = tx.batch(id).await?;
        if batch.closed.is_none() {
            let is_over = self.is_assembled(&mut tx, id).await?
                || (batch.cancelled.is_some() && tx.scan(&self.keys.open_of(id), 1).await?.is_empty());
            if !is_over {
                return Ok(false);
            }
            batch.closed = Some(tx.now);
            tx.put_batch(&batch)?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Notes that the staging of a closed batch is gone: there is nothing left to do about it. Durable when it returns.
    ///
    /// [`QueueError::Refused`]: it is not closed.
    pub async fn batch_swept(&self, lead: &Leadership, batch: BatchId) -> Result<(), QueueError> {
        self.transact_idempotent("sweep batch", |tx| self.swept_once(tx, lead, batch)).await
    }

    async fn swept_once(&self, mut tx: Tx, lead: &Leadership, id: BatchId) -> Result<(), Halt> {
        tx.check_leads(lead).await?;
        let mut batch = tx.batch(id).await?;
        if batch.closed.is_none() {
            let reason = format!("batch {id} is not closed: its staging may still be needed");
            return Err(QueueError::refused(reason).into());
        }
        if batch.swept.is_none() {
            batch.swept = Some(tx.now);
            tx.delete(self.keys.active(id));
            tx.put_batch(&batch)?;
        }
        tx.commit().await
    }

    /// The batches behind `after` that are not swept, by id, at most `limit`. A batch is among them from its first
    /// submission on.
    pub async fn active_batches(
        &self,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchId>, QueueError> {
        let span = self.keys.active_after(after);
        let pairs = self.transact("active batches", |tx| scan(tx, &span, limit)).await?;
        let id = |key: &[u8]| match self.keys.parse(key) {
            Some(Key::Active(batch)) => Some(batch),
            _ => None,
        };
        Ok(pairs.iter().filter_map(|(key, _)| id(key)).collect())
    }
}

async fn seal_once(mut tx: Tx, id: BatchId) -> Result<(), Halt> {
    let mut batch = tx.batch(id).await?;
    if !batch.sealed {
        batch.sealed = true;
        tx.put_batch(&batch)?;
    }
    tx.commit().await
}
