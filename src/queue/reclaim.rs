//! Taking back what workers held whose lease has ended. Any worker does it; no leader is needed.
//!
//! Only an expired lease counts, in store time; never how long a job runs. An expired worker is fenced first, its jobs
//! go back one transaction each, and its record goes last: whoever is stopped in between, the next one goes on.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Key, Span, following};
use super::record::{ErrorKind, Incarnation, JobRecord, JobStatus, Ownership, Unreadable, decode};
use super::settings::{Count, PAGE};
use super::tx::Tx;
use super::worker::{End, WorkerRecord};
use crate::fsm::id::{Epoch, JobId};
use crate::store::{Pair, StoreTime};
use std::time::Duration;

/// A job that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReclaimedJob {
    /// The job.
    pub job: JobId,
    /// The claim that ended.
    pub epoch: Epoch,
    /// Where it is now: ready; dead after too many crashes; cancelled, if that was asked for.
    pub became: JobStatus,
    /// Workers lost while holding it, so far.
    pub crashes: u32,
}

/// What was taken back from one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaimed {
    /// The worker.
    pub incarnation: Incarnation,
    /// Its label.
    pub pod: String,
    /// Its jobs.
    pub jobs: Vec<ReclaimedJob>,
    /// Nothing is left of it but its receipt.
    pub closed: bool,
}

/// One look for expired workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReclaimRound {
    /// What this look took back, by worker. What another one was faster with is not in it.
    pub taken: Vec<Reclaimed>,
    /// How long it was, at the look, until the next of the other leases ends, in store time. A renewal moves it.
    pub next_end: Option<Duration>,
}

/// What became of an expired worker's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// Its receipt stands in its place now.
    Closed,
    /// Somebody else closed it.
    Gone,
    /// It still holds something.
    StillHolds,
}

impl Queue {
    /// As [`Queue::reclaim_round`], for whoever does not look again.
    pub async fn reclaim(&self, limit: usize) -> Result<Vec<Reclaimed>, QueueError> {
        Ok(self.reclaim_round(limit).await?.taken)
    }

    /// Takes back at most `limit` jobs of workers whose lease has ended. Each is durable when it returns. An error ends
    /// it early; what was taken back until then stays so.
    pub async fn reclaim_round(&self, limit: usize) -> Result<ReclaimRound, QueueError> {
        let (mut expired, next_end) = self.expired_workers().await?;
        expired.extend(self.owners_without_record().await?);
        let mut left = limit;
        let mut all = Vec::new();
        for incarnation in expired {
            if left == 0 {
                break;
            }
            let fenced = self.transact_idempotent("fence", |tx| self.fence_once(tx, incarnation)).await?;
            let Some(pod) = fenced else {
                continue;
            };
            let jobs = self.take_back(incarnation, left).await?;
            left = left.saturating_sub(jobs.len());
            let closing = self.transact_idempotent("close", |tx| self.close_once(tx, incarnation)).await?;
            if jobs.is_empty() && closing == Closing::Gone {
                tracing::debug!(worker = %incarnation, pod, "another one took a lost worker's jobs back");
                continue;
            }
            let closed = closing != Closing::StillHolds;
            tracing::warn!(worker = %incarnation, pod, jobs = jobs.len(), closed, "a lost worker's jobs were taken back");
            all.push(Reclaimed { incarnation, pod, jobs, closed });
        }
        Ok(ReclaimRound { taken: all, next_end })
    }

    /// Workers whose lease seems to have ended; each is looked at again before anything is done. And how long it is
    /// until the next lease ends.
    async fn expired_workers(&self) -> Result<(Vec<Incarnation>, Option<Duration>), QueueError> {
        let mut span = self.keys.workers_after(None);
        let mut expired = Vec::new();
        let mut next_end: Option<Duration> = None;
        loop {
            let (now, pairs) = self.transact("reclaim", |tx| scan_pairs(tx, &span, PAGE)).await?;
            let Some((last, _)) = pairs.last() else {
                return Ok((expired, next_end));
            };
            span.start = following(last.clone());
            for (key, value) in &pairs {
                let Some(Key::Worker(incarnation)) = self.keys.parse(key) else {
                    continue;
                };
                match decode::<WorkerRecord>(value) {
                    Ok(worker) if worker.lease_until < now || worker.expired.is_some() => {
                        expired.push(incarnation)
                    }
                    Ok(worker) => {
                        // It has ended once its last millisecond is over.
                        let end = Duration::from_millis(worker.lease_until.0.saturating_sub(now.0) + 1);
                        next_end = Some(next_end.map_or(end, |next| next.min(end)));
                    }
                    Err(Unreadable::Version(_)) => self.counters.add(Count::Skipped),
                    Err(Unreadable::Damaged(_)) => expired.push(incarnation),
                }
            }
        }
    }

    /// Workers that hold jobs but have no record, which only damage can bring about.
    async fn owners_without_record(&self) -> Result<Vec<Incarnation>, QueueError> {
        let mut orphans = Vec::new();
        let mut behind = None;
        loop {
            let span = self.keys.leased_beyond(behind);
            let (_, pairs) = self.transact("reclaim", |tx| scan_pairs(tx, &span, 1)).await?;
            let Some((key, _)) = pairs.first() else {
                return Ok(orphans);
            };
            let Some(Key::Leased(incarnation, _)) = self.keys.parse(key) else {
                return Ok(orphans);
            };
            behind = Some(incarnation);
            if self.transact("reclaim", |tx| self.has_no_record(tx, incarnation)).await? {
                orphans.push(incarnation);
            }
        }
    }

    async fn has_no_record(&self, mut tx: Tx, incarnation: Incarnation) -> Result<bool, Halt> {
        Ok(tx.get(&self.keys.worker(incarnation)).await?.is_none())
    }

    /// Marks a worker as expired, so that it claims and renews nothing more. `None`: it is well, or gone.
    async fn fence_once(&self, mut tx: Tx, incarnation: Incarnation) -> Result<Option<String>, Halt> {
        let read = tx.try_read::<WorkerRecord>(&self.keys.worker(incarnation)).await?;
        let mut worker = match read {
            Some(Ok(worker)) => worker,
            Some(Err(Unreadable::Version(_))) => return Ok(None),
            Some(Err(Unreadable::Damaged(_))) => {
                self.counters.add(Count::Repaired);
                WorkerRecord::stand_in(incarnation, tx.now, &self.settings)
            }
            None if tx.scan(&self.keys.leased_by(incarnation), 1).await?.is_empty() => return Ok(None),
            None => {
                self.counters.add(Count::Repaired);
                WorkerRecord::stand_in(incarnation, tx.now, &self.settings)
            }
        };
        if worker.expired.is_none() && worker.lease_until >= tx.now {
            return Ok(None);
        }
        worker.expired.get_or_insert(tx.now);
        tx.put_worker(&worker)?;
        tx.commit().await?;
        Ok(Some(worker.info.pod))
    }

    async fn take_back(
        &self,
        incarnation: Incarnation,
        limit: usize,
    ) -> Result<Vec<ReclaimedJob>, QueueError> {
        let mut span = self.keys.leased_by(incarnation);
        let mut jobs = Vec::new();
        while jobs.len() < limit {
            let page = PAGE.min(limit - jobs.len());
            let (_, pairs) = self.transact("reclaim", |tx| scan_pairs(tx, &span, page)).await?;
            let Some((last, _)) = pairs.last() else {
                break;
            };
            span.start = following(last.clone());
            for (key, _) in &pairs {
                if let Some(Key::Leased(_, job)) = self.keys.parse(key) {
                    let back =
                        self.transact_idempotent("reclaim", |tx| self.take_back_once(tx, incarnation, job));
                    jobs.extend(back.await?);
                }
            }
        }
        Ok(jobs)
    }

    async fn take_back_once(
        &self,
        mut tx: Tx,
        incarnation: Incarnation,
        id: JobId,
    ) -> Result<Option<ReclaimedJob>, Halt> {
        let Some(mut worker) = tx.worker(incarnation).await?.filter(|worker| worker.expired.is_some()) else {
            return Ok(None);
        };
        let leased = self.keys.leased(incarnation, id);
        if tx.get(&leased).await?.is_none() {
            return Ok(None);
        }
        let mut job = match tx.try_read::<JobRecord>(&self.keys.job(id)).await? {
            Some(Ok(job)) => job,
            Some(Err(Unreadable::Version(version))) => {
                self.counters.add(Count::Skipped);
                tracing::warn!(job = %id, version, "a job of a newer program is left to that program");
                return Ok(None);
            }
            Some(Err(Unreadable::Damaged(reason))) => {
                self.quarantine(&mut tx, id, &reason)?;
                return self.drop_lease(tx, worker, leased, id, Count::Quarantined).await;
            }
            None => return self.drop_lease(tx, worker, leased, id, Count::Repaired).await,
        };
        let own = Ownership { job: id, epoch: job.epoch, incarnation };
        if !job.is_held_by(&own) {
            self.counters.add(Count::Repaired);
            tx.delete(leased);
            tx.commit().await?;
            return Ok(None);
        }
        let became = self.after_crash(&tx, &worker, &mut job);
        self.let_go(&mut tx, &mut worker, &mut job, became, End::Expired)?;
        tx.put_worker(&worker)?;
        tx.commit().await?;
        Ok(Some(ReclaimedJob { job: id, epoch: job.epoch, became, crashes: job.crashes }))
    }

    /// Ends the claim of a job that there is no way to take back.
    async fn drop_lease(
        &self,
        mut tx: Tx,
        mut worker: WorkerRecord,
        leased: Vec<u8>,
        job: JobId,
        count: Count,
    ) -> Result<Option<ReclaimedJob>, Halt> {
        worker.note_end(job, Epoch(0), End::Expired, tx.now);
        tx.put_worker(&worker)?;
        tx.delete(leased);
        tx.commit().await?;
        self.counters.add(count);
        Ok(None)
    }

    /// Counts the crash, with the evidence, and says where the job goes.
    fn after_crash(&self, tx: &Tx, worker: &WorkerRecord, job: &mut JobRecord) -> JobStatus {
        job.crashes += 1;
        job.crashes_in_place += 1;
        let machine = job.owner.as_ref().map_or(0, |owner| owner.machine);
        let evidence = format!(
            "worker {} ({}, host {}, pid {}, machine {machine}) was lost at checkpoint {}: its lease ended at {} \
             (loss {} of {} at this checkpoint)",
            worker.info.incarnation,
            worker.info.pod,
            worker.info.host,
            worker.info.pid,
            job.checkpoint,
            worker.lease_until.0,
            job.crashes_in_place,
            self.settings.max_crashes
        );
        job.note_error(tx.now, ErrorKind::Crash, &evidence);
        match job.crashes_in_place >= self.settings.max_crashes {
            _ if job.cancel_requested => JobStatus::Cancelled,
            true => JobStatus::Dead,
            false => JobStatus::Ready,
        }
    }

    /// Replaces the record of a fenced worker that holds nothing any more by its receipt.
    async fn close_once(&self, mut tx: Tx, incarnation: Incarnation) -> Result<Closing, Halt> {
        let Some(worker) = tx.worker(incarnation).await? else {
            return Ok(Closing::Gone);
        };
        if worker.expired.is_none() || !tx.scan(&self.keys.leased_by(incarnation), 1).await?.is_empty() {
            return Ok(Closing::StillHolds);
        }
        self.close(&mut tx, worker)?;
        tx.commit().await?;
        Ok(Closing::Closed)
    }
}

async fn scan_pairs(mut tx: Tx, span: &Span, limit: usize) -> Result<(StoreTime, Vec<Pair>), Halt> {
    let pairs = tx.scan(span, limit).await?;
    Ok((tx.now, pairs))
}
