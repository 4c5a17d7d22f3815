//! Claiming a job, and finding out what became of a claim whose outcome was unknown.
//!
//! The ready index proposes (in the order that [`super::search`] tells of), the job's record decides. The lease is
//! written by the claim's own transaction.
//!
//! What a claim costs: one transaction of `begin`, `get` of the worker, `scan` of the index, `get` of the job, `scan`
//! of the batch and `commit`; an empty queue costs `begin`, `get` and at most two `scan`s. After a conflict, which
//! says that somebody else was faster, the same again with another candidate. A test counts them.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::Key;
use super::lease::Renewal;
use super::record::{BatchRecord, JobRecord, JobStatus, Owner, Ownership, Unreadable, WriteId};
use super::repair::Defect;
use super::search::Search;
use super::settings::Count;
use super::tx::{Read, Tx};
use super::worker::{ClaimMark, WorkerRecord};
use crate::fsm::id::{Epoch, JobId, Nonce};

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

/// What one transaction of a claim came to.
enum Attempt {
    Won(Box<Claim>),
    /// The candidate is not to be had.
    Passed,
    /// There is no candidate left.
    NoneLeft,
    /// This request was given up before.
    Fenced,
}

/// What stands behind an entry of the ready index.
enum Examined {
    Claimable(Box<(JobRecord, BatchRecord)>),
    /// Of a newer program: left to that program.
    Newer,
    Defective(Defect),
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
    /// Claims a ready job, if there is one; which one, `search` tells. `None`: all shards were seen and
    /// nothing is due. Asked again with the same nonce it gives the same job.
    ///
    /// [`QueueError::Lost`]: the lease has ended. [`QueueError::Unknown`]: go on with [`Queue::resolve_claim`].
    pub async fn claim(&self, by: &WriteId) -> Result<Option<Claim>, QueueError> {
        let _turn = self.claiming.lock().await;
        let mut conflicts = 0;
        loop {
            let conflicts_before = conflicts;
            let mut search = Search::new(&self.keys, self.settings.shards, &self.dice);
            loop {
                let attempt = match self.begin().await {
                    Ok(tx) => self.claim_once(tx, by, &mut search).await,
                    Err(halt) => Err(halt),
                };
                match attempt {
                    Ok(Attempt::Won(claim)) => return Ok(Some(*claim)),
                    Ok(Attempt::Fenced) => return Ok(None),
                    Ok(Attempt::Passed) => {}
                    Ok(Attempt::NoneLeft) => break,
                    Err(halt) => {
                        self.after("claim", halt, conflicts).await?;
                        conflicts += 1;
                    }
                }
            }
            // A conflict may have been about the worker's own record, and the candidate still be there.
            if conflicts == conflicts_before {
                return Ok(None);
            }
        }
    }

    async fn claim_once(&self, mut tx: Tx, by: &WriteId, search: &mut Search) -> Result<Attempt, Halt> {
        let mut worker = tx.live_worker(by.incarnation).await?;
        match earlier(&mut worker, by)? {
            Earlier::Won(job, epoch) => {
                let own = Ownership { job, epoch, incarnation: by.incarnation };
                return Ok(Attempt::Won(Box::new(read_back_once(tx, own).await?)));
            }
            Earlier::Fenced => return Ok(Attempt::Fenced),
            Earlier::New => {}
        }
        let Some(ready) = search.next(&mut tx, &self.keys, &self.dice).await? else {
            return Ok(Attempt::NoneLeft);
        };
        let (mut job, batch) = match self.examine(&mut tx, &ready).await? {
            Examined::Claimable(found) => *found,
            Examined::Newer => {
                self.counters.add(Count::Skipped);
                return Ok(Attempt::Passed);
            }
            Examined::Defective(defect) => {
                self.repair(tx, &ready, defect).await;
                return Ok(Attempt::Passed);
            }
        };
        self.grant(&mut tx, by, &mut worker, &mut job)?;
        tx.delete(ready);
        let lease = Renewal::of(&worker, tx.now);
        tx.commit().await?;
        Ok(Attempt::Won(Box::new(Claim { epoch: job.epoch, job, batch, lease })))
    }

    /// Reads the job behind an entry of the ready index, and its batch.
    async fn examine(&self, tx: &mut Tx, ready: &[u8]) -> Result<Examined, Halt> {
        let Some(Key::Ready { job: id, .. }) = self.keys.parse(ready) else {
            return Ok(Examined::Defective(Defect::Stray));
        };
        let job: JobRecord = match tx.try_read(&self.keys.job(id)).await? {
            Some(Ok(job)) => job,
            Some(Err(Unreadable::Version(version))) => {
                tracing::warn!(job = %id, version, "a job of a newer program is left alone");
                return Ok(Examined::Newer);
            }
            Some(Err(Unreadable::Damaged(reason))) => {
                return Ok(Examined::Defective(Defect::Unreadable { job: id, reason }));
            }
            None => return Ok(Examined::Defective(Defect::Stray)),
        };
        if job.status != JobStatus::Ready || self.keys.ready(&job) != ready {
            // Most likely somebody else was faster, and the entry is gone with the claim.
            return Ok(Examined::Defective(Defect::Stale(Box::new(job))));
        }
        let reason = match self.batch_of(tx, &job).await? {
            Some(Ok(batch)) => return Ok(Examined::Claimable(Box::new((job, batch)))),
            Some(Err(Unreadable::Version(version))) => {
                tracing::warn!(job = %id, version, "a batch of a newer program is left alone");
                return Ok(Examined::Newer);
            }
            Some(Err(Unreadable::Damaged(reason))) => {
                format!("its batch {} cannot be read: {reason}", job.batch)
            }
            None => format!("its batch {} is missing", job.batch),
        };
        Ok(Examined::Defective(Defect::Unreadable { job: id, reason }))
    }

    /// A job's batch. What a claim takes from it never changes, so it is read beside the conflict check: the claims
    /// of one batch would else meet each other in its record, and every submission. What cannot be used is read
    /// again within the check, since the job's quarantine rests on it.
    async fn batch_of(&self, tx: &mut Tx, job: &JobRecord) -> Result<Read<BatchRecord>, Halt> {
        let key = self.keys.batch(job.batch);
        match tx.peek(&key).await? {
            Some(Ok(batch)) => Ok(Some(Ok(batch))),
            Some(Err(_)) | None => tx.try_read(&key).await,
        }
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
