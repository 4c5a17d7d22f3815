//! What any worker does for all: puts the jobs of expired workers back, and opens assemblies that are due.
//!
//! It runs on the lease's thread, beside the renewals, and holds nothing: two of them at once are no harm.

use crate::batch;
use crate::metrics::Metrics;
use crate::queue::{Queue, QueueError};
use std::sync::Arc;
use std::time::Duration;

/// Jobs put back in one round at most.
const RECLAIMED_PER_ROUND: usize = 256;
/// Batches read at once.
const BATCHES_PER_PAGE: usize = 64;

/// One worker's reaper.
#[derive(Debug)]
pub struct Reaper {
    queue: Queue,
    interval: Duration,
    metrics: Arc<Metrics>,
}

impl Reaper {
    /// Looks every `interval_ms`.
    pub fn new(queue: Queue, interval_ms: u64, metrics: Arc<Metrics>) -> Self {
        Self { queue, interval: Duration::from_millis(interval_ms), metrics }
    }

    /// Goes on until it is dropped.
    pub async fn run(self) {
        let mut completed = None;
        loop {
            self.reclaim().await;
            // A batch can only have become due by a completion; the first look is for those of workers now gone.
            let count = Some(self.metrics.jobs_completed.get());
            if completed != count && self.assemblies().await.is_ok() {
                completed = count;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn reclaim(&self) {
        match self.queue.reclaim(RECLAIMED_PER_ROUND).await {
            Ok(workers) => {
                for (worker, job) in
                    workers.iter().flat_map(|worker| worker.jobs.iter().map(move |job| (worker, job)))
                {
                    self.metrics.jobs_reclaimed.inc();
                    tracing::info!(
                        job = %job.job,
                        epoch = job.epoch.0,
                        worker = worker.pod,
                        became = job.became.name(),
                        crashes = job.crashes,
                        "the worker that held this job is gone"
                    );
                }
            }
            Err(error) => tracing::debug!(%error, "expired workers could not be looked for"),
        }
    }

    async fn assemblies(&self) -> Result<(), QueueError> {
        let mut after = None;
        loop {
            let page = self.queue.batches(after, BATCHES_PER_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for batch in page {
                if let Some(job) = batch::assemble_when_due(&self.queue, batch.id).await? {
                    tracing::info!(batch = %batch.id, job = %job, "all recordings are converted: the assembly is queued");
                }
            }
        }
    }
}
