//! What the leader does for all, every few seconds: jobs of lost workers back, assemblies that are due, staging of batches
//! that are over, old receipts.
//!
//! Workers do the first two as well, so that nothing waits for a leader. All of it may be done twice.

use super::leader::Lead;
use crate::batch;
use crate::metrics::Metrics;
use crate::queue::{BatchId, Queue, QueueError};
use crate::storage::{Places, StorageError, is_local, local_path};
use crate::work::StopFlag;
use roboflow_fsm::policy::backoff_ms;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Jobs put back in one round at most.
const RECLAIMED_PER_ROUND: usize = 256;
/// Batches looked at at once.
const BATCHES_PER_PAGE: usize = 256;
/// Receipts removed in one round at most.
const RECEIPTS_PER_ROUND: usize = 4_096;
/// Between two looks for old receipts.
const RECEIPTS_INTERVAL: Duration = Duration::from_secs(60);
/// Between two looks at how deep the queue is.
const DEPTH_INTERVAL: Duration = Duration::from_secs(15);
/// A staging that cannot be removed is tried again after this long at most.
const RETRY_MAX_MS: u64 = 600_000;
/// Doublings that the first such wait is ahead of a request's first.
const RETRY_SKIPS: u32 = 6;
/// Batches whose staging could not be removed that are remembered at most.
const FAILED_MAX: usize = 10_000;

/// The housekeeping of one scanner.
#[derive(Debug)]
pub struct House {
    queue: Queue,
    runtime: Handle,
    places: Places,
    keep_receipts_ms: u64,
    metrics: Arc<Metrics>,
    failed: BTreeMap<BatchId, (u32, Instant)>,
    receipts_at: Option<Instant>,
    depth_at: Option<Instant>,
}

/// What one round of it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Jobs of lost workers put back.
    pub reclaimed: u64,
    /// Assemblies queued.
    pub assemblies: u64,
    /// Batches whose staging is gone now.
    pub swept: u64,
    /// Receipts removed.
    pub receipts: u64,
}

impl House {
    /// Keeps receipts for so long.
    pub fn new(
        queue: Queue,
        runtime: Handle,
        places: Places,
        keep_receipts_ms: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            queue,
            runtime,
            places,
            keep_receipts_ms,
            metrics,
            failed: BTreeMap::new(),
            receipts_at: None,
            depth_at: None,
        }
    }

    /// One round. It ends early when the lead is lost.
    ///
    /// # Errors
    /// The queue's. What was done until then stays so.
    pub fn round(&mut self, lead: &Lead) -> Result<Kept, QueueError> {
        let mut kept = Kept::default();
        for worker in self.runtime.block_on(self.queue.reclaim(RECLAIMED_PER_ROUND))? {
            kept.reclaimed += worker.jobs.len() as u64;
        }
        self.metrics.jobs_reclaimed.add(kept.reclaimed);
        kept.assemblies = self.runtime.block_on(batch::assemble_due(&self.queue))?.len() as u64;
        kept.swept = self.sweep(lead)?;
        if self.receipts_at.is_none_or(|at| at.elapsed() >= RECEIPTS_INTERVAL) && !lead.lost.is_set() {
            let expiring =
                self.queue.expire_receipts(&lead.leadership, self.keep_receipts_ms, RECEIPTS_PER_ROUND);
            kept.receipts = self.runtime.block_on(expiring)? as u64;
            self.metrics.receipts_expired.add(kept.receipts);
            self.receipts_at = Some(Instant::now());
        }
        self.look(lead)?;
        Ok(kept)
    }

    /// Looks how deep the queue is, for whoever scales the workers: only the leader tells, so that nobody counts it twice.
    fn look(&mut self, lead: &Lead) -> Result<(), QueueError> {
        if lead.lost.is_set() {
            self.forget_depth();
        } else if self.depth_at.is_none_or(|at| at.elapsed() >= DEPTH_INTERVAL) {
            let depth = self.runtime.block_on(self.queue.depth())?;
            self.metrics.set_depth(Some(depth));
            self.depth_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Somebody else leads, or nobody knows: what was seen is not told any more.
    pub fn forget_depth(&mut self) {
        self.depth_at = None;
        self.metrics.set_depth(None);
    }

    fn sweep(&mut self, lead: &Lead) -> Result<u64, QueueError> {
        let (mut swept, mut after) = (0, None);
        loop {
            let page = self.runtime.block_on(self.queue.active_batches(after, BATCHES_PER_PAGE))?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for batch in page {
                if lead.lost.is_set() {
                    return Ok(swept);
                }
                swept += u64::from(self.sweep_batch(lead, batch)?);
            }
        }
        Ok(swept)
    }

    /// Whether its staging is gone now.
    fn sweep_batch(&mut self, lead: &Lead, batch: BatchId) -> Result<bool, QueueError> {
        if self.failed.get(&batch).is_some_and(|(_, again)| Instant::now() < *again) {
            return Ok(false);
        }
        let closed = self.runtime.block_on(self.queue.close_batch(&lead.leadership, batch));
        match closed {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // One that cannot be read must not keep the others from being swept.
            Err(error @ (QueueError::Corrupt { .. } | QueueError::NotFound { .. })) => {
                self.failed(batch, &error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let record = self.runtime.block_on(self.queue.batch(batch))?;
        let cleared =
            self.clear(&record.staging).and_then(|objects| Ok((objects, self.sweep_writers(&record.out)?)));
        match cleared {
            Ok((objects, writers)) => {
                self.runtime.block_on(self.queue.batch_swept(&lead.leadership, batch))?;
                self.failed.remove(&batch);
                self.metrics.batches_swept.inc();
                tracing::info!(%batch, out = record.out, objects, unfinished = writers, "the batch is over: its staging is removed");
                Ok(true)
            }
            Err(error) => {
                self.failed(batch, &error.to_string());
                Ok(false)
            }
        }
    }

    /// Removes what is staged: the batch is closed, so nothing of it is read or written any more.
    fn clear(&self, staging: &str) -> Result<u64, StorageError> {
        if is_missing(staging)? {
            return Ok(0);
        }
        let storage = self.places.open(staging, &StopFlag::default())?;
        let objects = storage.delete_all("")? + storage.sweep_all("")?;
        if is_local(staging) {
            // Object storage has no empty folders; one that stays here is no harm.
            fs::remove_dir(local_path(staging)?).ok();
        }
        Ok(objects)
    }

    /// Removes what killed assemblies left unfinished in the output.
    fn sweep_writers(&self, out: &str) -> Result<u64, StorageError> {
        if is_missing(out)? {
            return Ok(0);
        }
        self.places.open(out, &StopFlag::default())?.sweep_all("")
    }

    fn failed(&mut self, batch: BatchId, error: &str) {
        let tries = self.failed.get(&batch).map_or(1, |(tries, _)| tries.saturating_add(1));
        let wait_ms = backoff_ms(tries.saturating_add(RETRY_SKIPS), RETRY_MAX_MS, rand::random());
        tracing::warn!(%batch, error, again_in_ms = wait_ms, "the staging of a batch that is over cannot be removed");
        if self.failed.len() < FAILED_MAX || self.failed.contains_key(&batch) {
            self.failed.insert(batch, (tries, Instant::now() + Duration::from_millis(wait_ms)));
        }
    }
}

/// A folder that is not there holds nothing; of object storage that is told by listing.
fn is_missing(location: &str) -> Result<bool, StorageError> {
    Ok(is_local(location) && !local_path(location)?.exists())
}
