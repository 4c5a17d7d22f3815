//! What any worker does for all: puts the jobs of expired workers back, and opens assemblies that are due.
//!
//! It runs on the lease's thread, beside the renewals, and holds nothing: two of them at once are no harm.
//!
//! How long a killed worker's job lies idle, at worst, with the default settings: the lease, 10 s from its last renewal;
//! the look that is waited for its end, 100 ms; taking the job back, a few transactions. Then this process's idle
//! machines are told at once, as are those of every other process, whose reapers wait for the same end. So the next
//! claim comes after 10.1 s and a few round trips. Were each look on a grid of 3 s and the claim left to the poll
//! interval of 5 s, it would be 18 s.

use crate::batch;
use crate::metrics::Metrics;
use crate::queue::{JobStatus, Queue};
use crate::worker::mailbox::Mailbox;
use roboflow_fsm::Input;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Jobs put back in one round at most.
const RECLAIMED_PER_ROUND: usize = 256;
/// Between two looks over the batches at the latest. Most become due by what this process did, which is looked at at
/// once; this is for those sealed, or given up, elsewhere.
const BATCH_LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at least.
const LEAST_WAIT: Duration = Duration::from_millis(50);
/// The looks of many workers for the end of one lease are spread over so many milliseconds.
const SPREAD_MS: u64 = 100;

/// One worker's reaper.
#[derive(Debug)]
pub struct Reaper {
    queue: Queue,
    interval: Duration,
    mailboxes: Vec<Mailbox>,
    out_of_work: Arc<Notify>,
    metrics: Arc<Metrics>,
}

impl Reaper {
    /// Looks every `interval`, when a lease that it saw ends before that, and when a machine that ended a job is
    /// `out_of_work`. `mailboxes` hear when work may wait.
    pub fn new(
        queue: Queue,
        interval: Duration,
        mailboxes: Vec<Mailbox>,
        out_of_work: Arc<Notify>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { queue, interval, mailboxes, out_of_work, metrics }
    }

    /// Goes on until it is dropped.
    pub async fn run(self) {
        // The first look is for the batches of workers now gone.
        let mut looked: Option<(u64, Instant)> = None;
        let mut awaited_end = false;
        loop {
            let (put_back, next_end) = self.reclaim().await;
            let settled = self.settled();
            let is_fresh =
                looked.is_some_and(|(count, at)| count == settled && at.elapsed() < BATCH_LOOK_INTERVAL);
            let mut opened = false;
            if !is_fresh {
                match batch::assemble_due(&self.queue).await {
                    Ok(queued) => {
                        opened = !queued.is_empty();
                        looked = Some((settled, Instant::now()));
                    }
                    Err(error) => tracing::debug!(%error, "the batches could not be looked at"),
                }
            }
            // Where an end was waited for, another process may have been faster: then the jobs are back all the same.
            if put_back || opened || awaited_end {
                self.mailboxes.iter().for_each(|mailbox| mailbox.post(Input::WorkMayWait));
            }
            let wait = wait_before(self.interval, next_end, rand::random_range(0..=SPREAD_MS));
            awaited_end = next_end.is_some_and(|end| end <= wait);
            let is_early = timeout(wait, self.may_be_due(looked.map(|(count, _)| count))).await.is_ok();
            awaited_end &= !is_early;
        }
    }

    /// Until a machine finds nothing to claim, and jobs were settled here since the look that counted so many: what it did last may
    /// be what an assembly waited for. While there is other work, that can wait for the next look.
    async fn may_be_due(&self, seen: Option<u64>) {
        loop {
            self.out_of_work.notified().await;
            if seen.is_some_and(|seen| seen != self.settled()) {
                return;
            }
        }
    }

    /// Whether jobs are ready again that were not, and when the next lease ends.
    async fn reclaim(&self) -> (bool, Option<Duration>) {
        let round = match self.queue.reclaim_round(RECLAIMED_PER_ROUND).await {
            Ok(round) => round,
            Err(error) => {
                tracing::debug!(%error, "expired workers could not be looked for");
                return (false, None);
            }
        };
        let mut put_back = false;
        for (worker, job) in
            round.taken.iter().flat_map(|worker| worker.jobs.iter().map(move |job| (worker, job)))
        {
            put_back |= job.became == JobStatus::Ready;
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
        (put_back, round.next_end)
    }

    /// Grows with whatever may have been the last open recording of a batch.
    fn settled(&self) -> u64 {
        let Metrics { jobs_completed, releases, jobs_reclaimed, .. } = &*self.metrics;
        jobs_completed.get() + releases.get() + jobs_reclaimed.get()
    }
}

/// How long to wait before the next look.
fn wait_before(interval: Duration, next_end: Option<Duration>, spread_ms: u64) -> Duration {
    let aimed = next_end.map_or(interval, |end| end + Duration::from_millis(spread_ms));
    aimed.max(LEAST_WAIT).min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_when_a_lease_ends_but_never_later_than_the_interval() {
        let ms = Duration::from_millis;
        let wait = |next_end, spread| wait_before(ms(3_000), next_end, spread);
        assert_eq!(wait(None, 7), ms(3_000));
        assert_eq!(wait(Some(ms(9_000)), 7), ms(3_000));
        assert_eq!(wait(Some(ms(1_200)), 7), ms(1_207));
        assert_eq!(wait(Some(ms(2_950)), 100), ms(3_000));
        assert_eq!(wait(Some(ms(1)), 0), LEAST_WAIT);
        // An interval shorter than the least wait is what was asked for.
        assert_eq!(wait_before(ms(20), Some(ms(1)), 0), ms(20));
    }
}
