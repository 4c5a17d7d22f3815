//! One transaction with typed reads and writes, and the loop that tries it again after a conflict.
//!
//! It knows records and keys, but no rule of the queue.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Keys, Span, following};
use super::record::{BatchId, BatchRecord, Incarnation, JobRecord, Ownership, Unreadable, decode, encode};
use super::settings::{Count, PAUSE_MAX_MS, TRIES_MAX};
use super::worker::{Receipt, Standing, WorkerRecord};
use crate::fsm::id::JobId;
use crate::store::{Pair, StoreTime, Txn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// A transaction.
pub(super) struct Tx {
    txn: Box<dyn Txn>,
    pub(super) keys: Arc<Keys>,
    pub(super) now: StoreTime,
}

/// A record that was read: there may be none, or one that cannot be read.
pub(super) type Read<T> = Option<Result<T, Unreadable>>;

impl Tx {
    pub(super) async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        Ok(self.txn.get(key).await?)
    }

    pub(super) async fn scan(&mut self, span: &Span, limit: usize) -> Result<Vec<Pair>, Halt> {
        Ok(self.txn.scan(&span.start, &span.end, limit).await?)
    }

    /// Reads a record; one that cannot be read is given back as such.
    pub(super) async fn try_read<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Read<T>, Halt> {
        Ok(self.get(key).await?.map(|bytes| decode(&bytes)))
    }

    /// Reads a record, which does not become part of the conflict check: for what no decision rests on.
    pub(super) async fn peek<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Read<T>, Halt> {
        let span = Span { start: key.to_vec(), end: following(key.to_vec()) };
        Ok(self.scan(&span, 1).await?.first().map(|(_, bytes)| decode(bytes)))
    }

    /// Those of these keys that are there; no decision rests on them.
    pub(super) async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, Halt> {
        Ok(self.txn.peek_all(keys).await?)
    }

    /// Reads a record; one that cannot be read is an error that names its key.
    pub(super) async fn read<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, Halt> {
        let record = self.try_read(key).await?.transpose();
        Ok(record.map_err(|unreadable: Unreadable| unreadable.at(key))?)
    }

    pub(super) fn write<T: Serialize>(&mut self, key: Vec<u8>, record: &T) -> Result<(), Halt> {
        let value = encode(&key, record)?;
        self.txn.put(key, value);
        Ok(())
    }

    /// Sets a key that says all by being there.
    pub(super) fn mark(&mut self, key: Vec<u8>) {
        self.txn.put(key, Vec::new());
    }

    pub(super) fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.txn.put(key, value);
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.txn.delete(key);
    }

    pub(super) async fn commit(self) -> Result<(), Halt> {
        Ok(self.txn.commit().await?)
    }

    pub(super) async fn job(&mut self, job: JobId) -> Result<JobRecord, Halt> {
        let key = self.keys.job(job);
        let record = self.read(&key).await?;
        Ok(record.ok_or_else(|| QueueError::not_found(format!("job {job}")))?)
    }

    pub(super) fn put_job(&mut self, job: &JobRecord) -> Result<(), Halt> {
        self.write(self.keys.job(job.id), job)
    }

    pub(super) async fn batch(&mut self, batch: BatchId) -> Result<BatchRecord, Halt> {
        let key = self.keys.batch(batch);
        let record = self.read(&key).await?;
        Ok(record.ok_or_else(|| QueueError::not_found(format!("batch {batch}")))?)
    }

    pub(super) fn put_batch(&mut self, batch: &BatchRecord) -> Result<(), Halt> {
        self.write(self.keys.batch(batch.id), batch)
    }

    pub(super) async fn worker(&mut self, incarnation: Incarnation) -> Result<Option<WorkerRecord>, Halt> {
        let key = self.keys.worker(incarnation);
        self.read(&key).await
    }

    pub(super) fn put_worker(&mut self, worker: &WorkerRecord) -> Result<(), Halt> {
        self.write(self.keys.worker(worker.info.incarnation), worker)
    }

    /// The worker's record, or else its receipt.
    pub(super) async fn standing(&mut self, incarnation: Incarnation) -> Result<Standing, Halt> {
        if let Some(worker) = self.worker(incarnation).await? {
            return Ok(Standing::Here(Box::new(worker)));
        }
        let key = self.keys.receipt(incarnation);
        let receipt: Option<Receipt> = self.read(&key).await?;
        Ok(receipt.map_or(Standing::Never, |receipt| Standing::Gone(Box::new(receipt))))
    }

    /// The worker's record, if it may still claim and renew.
    pub(super) async fn live_worker(&mut self, incarnation: Incarnation) -> Result<WorkerRecord, Halt> {
        let worker = self.worker(incarnation).await?;
        Ok(worker
            .filter(|worker| worker.expired.is_none())
            .ok_or_else(|| QueueError::lost(format!("the lease of worker {incarnation} has ended")))?)
    }

    /// The job, if this claim of it is the one that holds it.
    pub(super) async fn held_job(&mut self, own: &Ownership) -> Result<JobRecord, Halt> {
        let job = self.job(own.job).await?;
        check_held(&job, own)?;
        Ok(job)
    }
}

/// Refuses a claim that does not hold the job. Once refused it is so for ever: an epoch never comes back.
pub(super) fn check_held(job: &JobRecord, own: &Ownership) -> Result<(), QueueError> {
    if job.is_held_by(own) {
        return Ok(());
    }
    Err(QueueError::lost(format!(
        "job {} is {} at epoch {}, not held by worker {} at epoch {}",
        own.job,
        job.status.name(),
        job.epoch.0,
        own.incarnation,
        own.epoch.0
    )))
}

impl Queue {
    pub(super) async fn begin(&self) -> Result<Tx, Halt> {
        let txn = self.store.begin().await?;
        let now = txn.now();
        Ok(Tx { txn, keys: Arc::clone(&self.keys), now })
    }

    /// Runs a transaction, again after conflicts. An attempt ends with its commit.
    pub(super) async fn transact<T, F, Fut>(&self, what: &'static str, attempt: F) -> Result<T, QueueError>
    where
        F: Fn(Tx) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Halt>> + Send,
    {
        let mut tries = 0;
        loop {
            let halt = match self.begin().await {
                Ok(tx) => match attempt(tx).await {
                    Ok(value) => return Ok(value),
                    Err(halt) => halt,
                },
                Err(halt) => halt,
            };
            self.after(what, halt, tries).await?;
            tries += 1;
        }
    }

    /// Deals with a try that gave no result, after `conflicts` of the same: waits a little after a conflict, until
    /// there were too many.
    pub(super) async fn after(&self, what: &str, halt: Halt, conflicts: u32) -> Result<(), QueueError> {
        match halt {
            Halt::Conflict => {
                self.pause(conflicts).await;
                if conflicts + 1 < TRIES_MAX {
                    return Ok(());
                }
                self.counters.add(Count::Exhausted);
                let reason = format!("{what} met {TRIES_MAX} conflicts in a row");
                Err(QueueError::Unavailable { reason })
            }
            Halt::Failed(error) => {
                if matches!(error, QueueError::Lost { .. }) {
                    self.counters.add(Count::Fenced);
                }
                Err(error)
            }
        }
    }

    /// As [`Queue::transact`], for what may be done twice: an unknown outcome is tried again too. Where that does not come
    /// through, the outcome stays unknown.
    pub(super) async fn transact_idempotent<T, F, Fut>(
        &self,
        what: &'static str,
        attempt: F,
    ) -> Result<T, QueueError>
    where
        F: Fn(Tx) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Halt>> + Send,
    {
        let mut tries = 0;
        loop {
            match self.transact(what, &attempt).await {
                Err(QueueError::Unknown { .. }) if tries < TRIES_MAX => tries += 1,
                Err(QueueError::Unavailable { reason }) if tries > 0 => {
                    return Err(QueueError::Unknown { reason });
                }
                done => return done,
            }
            self.pause(tries).await;
        }
    }

    /// Counts a conflict and waits a little, longer with every try.
    pub(super) async fn pause(&self, tries: u32) {
        self.counters.add(Count::Conflicts);
        let most_ms = (1_u64 << tries.min(10)).min(PAUSE_MAX_MS);
        tokio::time::sleep(Duration::from_millis(self.dice.up_to(most_ms))).await;
    }
}
