//! Claiming a job, and finding out what became of a claim whose outcome was unknown.
//!
//! The ready index proposes, the job's record decides. The lease is written by the claim's own transaction.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Key, Keys, Span, following, printable};
use super::lease::Renewal;
use super::record::{BatchRecord, JobRecord, JobStatus, Owner, Ownership, Unreadable, WriteId};
use super::repair::Defect;
use super::settings::{CLAIM_PAGE, CLAIM_TRIES_MAX, Count};
use super::tx::Tx;
use super::worker::{ClaimMark, WorkerRecord};
use crate::fsm::id::{Epoch, JobId, Nonce};
use crate::store::StoreTime;

/// A job won: durable, with the lease, when it is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The job as claimed.
    pub job: JobRecord,
    /// Its batch.
    pub batch: BatchRecord,
    /// The claim's number.
    pub epoch: Epoch,
    /// The lease it is held under.
    pub lease: Renewal,
}

impl Claim {
    /// The right to write to the job.
    pub fn ownership(&self, by: &WriteId) -> Ownership {
        Ownership { job: self.job.id, epoch: self.epoch, incarnation: by.incarnation }
    }
}

/// What became of a candidate.
enum Candidate {
    Won(Box<Claim>),
    Passed,
}

/// What the last claim request of a machine says about this one.
enum Earlier {
    /// This request won before.
    Won(JobId, Epoch),
    /// This request was given up.
    Fenced,
    /// Nothing: it is a new one.
    New,
}

impl Queue {
    /// Claims a ready job, if there is one: higher priority first, from a random shard on, and through all shards
    /// before the answer is `None`. Asked again with the same nonce it gives the same job.
    ///
    /// [`QueueError::Lost`]: the lease has ended. [`QueueError::Unknown`]: go on with [`Queue::resolve_claim`].
    pub async fn claim(&self, by: &WriteId) -> Result<Option<Claim>, QueueError> {
        match self.transact("claim", |tx| self.before_claim(tx, by)).await? {
            Earlier::Won(job, epoch) => return self.read_back(by, job, epoch).await.map(Some),
            Earlier::Fenced => return Ok(None),
            Earlier::New => {}
        }
        let all = self.keys.all_ready();
        let last = u64::from(self.settings.shards.saturating_sub(1));
        let pivot = self.keys.ready_shard(u8::try_from(self.dice.up_to(last)).unwrap_or(0));
        let first = Span { start: pivot.clone(), end: all.end };
        let second = Span { start: all.start, end: pivot };
        for span in [first, second] {
            if let Some(claim) = self.claim_within(by, span).await? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    async fn before_claim(&self, mut tx: Tx, by: &WriteId) -> Result<Earlier, Halt> {
        let mut worker = tx.live_worker(by.incarnation).await?;
        let earlier = earlier(&mut worker, by)?;
        Ok(earlier)
    }

    /// Walks a part of the ready index until a candidate is won.
    async fn claim_within(&self, by: &WriteId, mut span: Span) -> Result<Option<Claim>, QueueError> {
        loop {
            let (now, candidates) = self.transact("claim", |tx| scan_ready(tx, &span)).await?;
            let Some(last) = candidates.last() else {
                return Ok(None);
            };
            span.start = following(last.clone());
            let mut skip_to: Vec<u8> = Vec::new();
            for ready in candidates.into_iter() {
                if ready < skip_to {
                    continue;
                }
                if let Some(behind) = not_yet(&self.keys, &ready, now) {
                    // Within one shard and priority the index is in order of time: the rest is later still.
                    span.start = span.start.max(behind.clone());
                    skip_to = behind;
                    continue;
                }
                if let Candidate::Won(claim) = self.try_candidate(by, &ready).await? {
                    return Ok(Some(*claim));
                }
            }
        }
    }

    /// Tries one candidate, again after a conflict, which may have been about the worker's own record.
    async fn try_candidate(&self, by: &WriteId, ready: &[u8]) -> Result<Candidate, QueueError> {
        for tries in 0..CLAIM_TRIES_MAX {
            let attempt = match self.begin().await {
                Ok(tx) => self.claim_once(tx, by, ready).await,
                Err(halt) => Err(halt),
            };
            match attempt {
                Ok(candidate) => return Ok(candidate),
                Err(Halt::Conflict) => self.pause(tries).await,
                Err(Halt::Failed(error)) => return Err(error),
            }
        }
        Ok(Candidate::Passed)
    }

    async fn claim_once(&self, mut tx: Tx, by: &WriteId, ready: &[u8]) -> Result<Candidate, Halt> {
        let mut worker = tx.live_worker(by.incarnation).await?;
        if !matches!(earlier(&mut worker, by)?, Earlier::New) {
            return Ok(Candidate::Passed);
        }
        let Some(Key::Ready { job: id, .. }) = self.keys.parse(ready) else {
            self.repair(tx, ready, Defect::Stray).await;
            return Ok(Candidate::Passed);
        };
        let job_key = self.keys.job(id);
        let mut job: JobRecord = match tx.try_read(&job_key).await? {
            Some(Ok(job)) => job,
            Some(Err(Unreadable::Version(version))) => {
                self.counters.add(Count::Skipped);
                tracing::warn!(job = %id, version, "a job of a newer program is left alone");
                return Ok(Candidate::Passed);
            }
            Some(Err(Unreadable::Damaged(reason))) => {
                self.repair(tx, ready, Defect::Unreadable { job: id, reason }).await;
                return Ok(Candidate::Passed);
            }
            None => {
                self.repair(tx, ready, Defect::Stray).await;
                return Ok(Candidate::Passed);
            }
        };
        if job.status != JobStatus::Ready || self.keys.ready(&job) != ready {
            // Most likely somebody else was faster, and the entry is gone with the claim.
            self.repair(tx, ready, Defect::Stale(Box::new(job))).await;
            return Ok(Candidate::Passed);
        }
        let batch: BatchRecord = match tx.try_read(&self.keys.batch(job.batch)).await? {
            Some(Ok(batch)) => batch,
            Some(Err(Unreadable::Version(version))) => {
                self.counters.add(Count::Skipped);
                tracing::warn!(job = %id, version, "a batch of a newer program is left alone");
                return Ok(Candidate::Passed);
            }
            Some(Err(Unreadable::Damaged(reason))) => {
                let reason = format!("its batch {} cannot be read: {reason}", job.batch);
                self.repair(tx, ready, Defect::Unreadable { job: id, reason }).await;
                return Ok(Candidate::Passed);
            }
            None => {
                let reason = format!("its batch {} is missing", job.batch);
                self.repair(tx, ready, Defect::Unreadable { job: id, reason }).await;
                return Ok(Candidate::Passed);
            }
        };
        self.grant(&mut tx, by, &mut worker, &mut job)?;
        tx.delete(ready.to_vec());
        let lease = Renewal::of(&worker, tx.now);
        tx.commit().await?;
        Ok(Candidate::Won(Box::new(Claim { epoch: job.epoch, job, batch, lease })))
    }

    /// Writes the job, what the worker holds, and the lease.
    fn grant(
        &self,
        tx: &mut Tx,
        by: &WriteId,
        worker: &mut WorkerRecord,
        job: &mut JobRecord,
    ) -> Result<(), Halt> {
        job.status = JobStatus::Leased;
        job.epoch = Epoch(job.epoch.0 + 1);
        let owner =
            Owner { incarnation: by.incarnation, machine: by.machine, nonce: by.nonce, since: tx.now };
        job.owner = Some(owner);
        worker.tally.claims += 1;
        worker.lease_until = self.settings.lease_end(tx.now).max(worker.lease_until);
        let won = ClaimMark::Won { nonce: by.nonce, job: job.id, epoch: job.epoch };
        worker.slot(by.machine).claim = Some(won);
        tx.put_job(job)?;
        tx.put_worker(worker)?;
        tx.mark(self.keys.leased(by.incarnation, job.id));
        Ok(())
    }

    /// Finds out what became of the claim with this nonce. When it did not happen, it cannot happen later either: that
    /// is durable when `None` is returned. Never claims anything new.
    ///
    /// [`QueueError::Lost`]: the lease has ended; whatever was claimed under it goes back to the queue.
    pub async fn resolve_claim(&self, by: &WriteId) -> Result<Option<Claim>, QueueError> {
        match self.transact_idempotent("resolve claim", |tx| self.resolve_once(tx, by)).await? {
            Some((job, epoch)) => self.read_back(by, job, epoch).await.map(Some),
            None => Ok(None),
        }
    }

    async fn resolve_once(&self, mut tx: Tx, by: &WriteId) -> Result<Option<(JobId, Epoch)>, Halt> {
        let mut worker = tx.live_worker(by.incarnation).await?;
        if let Earlier::Won(job, epoch) = earlier(&mut worker, by)? {
            tx.commit().await?;
            return Ok(Some((job, epoch)));
        }
        // A claim that is still on its way has read the worker's record as it was before this fence.
        worker.slot(by.machine).claim = Some(ClaimMark::Fenced { nonce: by.nonce });
        tx.put_worker(&worker)?;
        tx.commit().await?;
        Ok(None)
    }

    /// A claim that is known to have happened.
    async fn read_back(&self, by: &WriteId, job: JobId, epoch: Epoch) -> Result<Claim, QueueError> {
        let own = Ownership { job, epoch, incarnation: by.incarnation };
        self.transact("read a claim back", |tx| read_back_once(tx, own)).await
    }
}

async fn read_back_once(mut tx: Tx, own: Ownership) -> Result<Claim, Halt> {
    let worker = tx.live_worker(own.incarnation).await?;
    let job = tx.held_job(&own).await?;
    let batch = tx.batch(job.batch).await?;
    let lease = Renewal::of(&worker, tx.now);
    tx.commit().await?;
    Ok(Claim { epoch: own.epoch, job, batch, lease })
}

async fn scan_ready(mut tx: Tx, span: &Span) -> Result<(StoreTime, Vec<Vec<u8>>), Halt> {
    let pairs = tx.scan(span, CLAIM_PAGE).await?;
    Ok((tx.now, pairs.into_iter().map(|(key, _)| key).collect()))
}

/// Where to go on, if this candidate's time has not come.
fn not_yet(keys: &Keys, ready: &[u8], now: StoreTime) -> Option<Vec<u8>> {
    match keys.parse(ready) {
        Some(Key::Ready { shard, priority, not_before, .. }) if not_before > now => {
            Some(keys.ready_behind(shard, priority))
        }
        Some(_) => None,
        None => {
            tracing::warn!(key = %printable(ready), "not a key of the ready index");
            None
        }
    }
}

fn earlier(worker: &mut WorkerRecord, by: &WriteId) -> Result<Earlier, Halt> {
    let same = |nonce: Nonce| nonce == by.nonce;
    let slot = worker.slot(by.machine);
    if slot.left {
        let reason = format!("machine {} of worker {} said farewell before", by.machine, by.incarnation);
        return Err(QueueError::refused(reason).into());
    }
    Ok(match slot.claim {
        Some(ClaimMark::Won { nonce, job, epoch }) if same(nonce) => Earlier::Won(job, epoch),
        Some(ClaimMark::Fenced { nonce }) if same(nonce) => Earlier::Fenced,
        Some(_) | None => Earlier::New,
    })
}
