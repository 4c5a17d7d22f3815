//! What people ask of jobs: look at them, count them, cancel them, and give a final one a new attempt.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Key, Span};
use super::record::{BatchId, BatchRecord, ErrorKind, JobKind, JobRecord, JobStatus, decode};
use super::settings::{LIST_MIN, PAGE};
use super::tx::Tx;
use crate::fsm::id::JobId;
use crate::store::Pair;
use serde::de::DeserializeOwned;

/// Which jobs are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only this batch's.
    pub batch: Option<BatchId>,
    /// Only those in this place.
    pub status: Option<JobStatus>,
}

impl JobFilter {
    fn takes(&self, job: &JobRecord) -> bool {
        self.batch.is_none_or(|batch| job.batch == batch)
            && self.status.is_none_or(|status| job.status == status)
    }
}

/// A page of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPage {
    /// By id.
    pub jobs: Vec<JobRecord>,
    /// Jobs whose record cannot be read.
    pub unreadable: Vec<JobId>,
    /// Where to go on: give it as `after`. `None`: that was all.
    pub next: Option<JobId>,
}

/// How many jobs are in each place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// To be claimed.
    pub ready: u64,
    /// Held by workers.
    pub leased: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Not to be read: neither here nor there.
    pub unreadable: u64,
}

impl JobCounts {
    fn add(&mut self, status: JobStatus) {
        match status {
            JobStatus::Ready => self.ready += 1,
            JobStatus::Leased => self.leased += 1,
            JobStatus::Completed => self.completed += 1,
            JobStatus::Dead => self.dead += 1,
            JobStatus::Cancelled => self.cancelled += 1,
        }
    }

    /// All that were ever submitted (Q4).
    pub fn submitted(&self) -> u64 {
        self.ready + self.leased + self.completed + self.dead + self.cancelled + self.unreadable
    }
}

/// What cancelling did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled.
    Now,
    /// A worker holds it: it was told, and the job is cancelled as soon as it is handed back.
    Asked,
    /// It was final before; nothing was written.
    Already(JobStatus),
}

impl Queue {
    /// A job.
    pub async fn get(&self, job: JobId) -> Result<JobRecord, QueueError> {
        self.transact("get", |tx| read_job(tx, job)).await
    }

    /// The jobs behind `after` that the filter takes, by id, at most `limit`.
    pub async fn list(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<JobPage, QueueError> {
        let mut page = JobPage { next: after, ..JobPage::default() };
        loop {
            let wanted = limit.saturating_sub(page.jobs.len()).clamp(LIST_MIN, PAGE);
            let (pairs, last) = self.records(filter.batch, page.next, wanted).await?;
            let Some(last) = last else {
                page.next = None;
                return Ok(page);
            };
            for (key, value) in &pairs {
                let Some(Key::Job(id)) = self.keys.parse(key) else {
                    continue;
                };
                if page.jobs.len() >= limit {
                    return Ok(page);
                }
                page.next = Some(id);
                match decode::<JobRecord>(value) {
                    Ok(job) if filter.takes(&job) => page.jobs.push(job),
                    Ok(_) => {}
                    Err(_unreadable) => page.unreadable.push(id),
                }
            }
            page.next = Some(last);
        }
    }

    /// The records of the jobs behind `after`, of one batch or of all, by id, and the last one looked at: at most `limit`
    /// of one consistent view.
    async fn records(
        &self,
        batch: Option<BatchId>,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<(Vec<Pair>, Option<JobId>), QueueError> {
        if let Some(batch) = batch {
            let span = self.keys.members_after(batch, after);
            return self.transact("list", |tx| self.member_records(tx, &span, limit)).await;
        }
        let span = self.keys.jobs_after(after);
        let pairs = self.transact("list", |tx| scan(tx, &span, limit)).await?;
        let last = match pairs.last().and_then(|(key, _)| self.keys.parse(key)) {
            Some(Key::Job(id)) => Some(id),
            _ => None,
        };
        Ok((pairs, last))
    }

    async fn member_records(
        &self,
        mut tx: Tx,
        span: &Span,
        limit: usize,
    ) -> Result<(Vec<Pair>, Option<JobId>), Halt> {
        let members = tx.scan(span, limit).await?;
        let id = |key: &[u8]| match self.keys.parse(key) {
            Some(Key::Member(_, id)) => Some(id),
            _ => None,
        };
        let ids: Vec<JobId> = members.iter().filter_map(|(key, _)| id(key)).collect();
        let keys: Vec<Vec<u8>> = ids.iter().map(|id| self.keys.job(*id)).collect();
        let mut pairs = tx.peek_all(&keys).await?;
        pairs.sort_unstable();
        Ok((pairs, ids.last().copied()))
    }

    /// How many jobs are in each place, of one batch or of all. Reads each of them: for people and slow gauges.
    /// Each page is one consistent view, the whole is not.
    pub async fn counts(&self, batch: Option<BatchId>) -> Result<JobCounts, QueueError> {
        let mut counts = JobCounts::default();
        let mut after = None;
        loop {
            let (pairs, last) = self.records(batch, after, PAGE).await?;
            if last.is_none() {
                return Ok(counts);
            }
            after = last;
            for (_, value) in &pairs {
                match decode::<JobRecord>(value) {
                    Ok(job) => counts.add(job.status),
                    Err(_unreadable) => counts.unreadable += 1,
                }
            }
        }
    }

    /// Cancels a job: at once when nobody holds it, else as soon as its worker hands it back. Durable when it returns.
    pub async fn cancel(&self, job: JobId) -> Result<Cancelled, QueueError> {
        self.transact_idempotent("cancel", |tx| self.cancel_once(tx, job)).await
    }

    async fn cancel_once(&self, mut tx: Tx, id: JobId) -> Result<Cancelled, Halt> {
        let mut job = tx.job(id).await?;
        let done = match (job.status, job.owner.as_ref().map(|owner| owner.incarnation)) {
            (JobStatus::Ready, _) => {
                tx.delete(self.keys.ready(&job));
                tx.delete(self.keys.quarantine(id));
                self.place(&mut tx, &mut job, JobStatus::Cancelled)?;
                Cancelled::Now
            }
            (JobStatus::Leased, Some(incarnation)) => {
                job.cancel_requested = true;
                tx.put_job(&job)?;
                if let Some(mut worker) = tx.worker(incarnation).await? {
                    let cancel = (id, job.epoch);
                    if !worker.cancels.contains(&cancel) {
                        worker.cancels.push(cancel);
                        tx.put_worker(&worker)?;
                    }
                }
                Cancelled::Asked
            }
            (status, _) => return Ok(Cancelled::Already(status)),
        };
        tx.commit().await?;
        Ok(done)
    }

    /// Gives a dead or cancelled job a new attempt: an explicit reset, noted in its history with `reason`. Its
    /// checkpoint and epoch stay. A cancelled batch is alive again with it, until it is closed. Also lifts a job out of quarantine whose record can be read again.
    pub async fn retry(&self, job: JobId, reason: &str) -> Result<JobRecord, QueueError> {
        self.transact("retry", |tx| self.retry_once(tx, job, reason)).await
    }

    async fn retry_once(&self, mut tx: Tx, id: JobId, reason: &str) -> Result<JobRecord, Halt> {
        let mut job = tx.job(id).await?;
        let quarantine = self.keys.quarantine(id);
        if job.status == JobStatus::Ready && tx.get(&quarantine).await?.is_some() {
            tx.delete(quarantine);
            self.place(&mut tx, &mut job, JobStatus::Ready)?;
            tx.commit().await?;
            return Ok(job);
        }
        if !matches!(job.status, JobStatus::Dead | JobStatus::Cancelled) {
            let status = job.status.name();
            return Err(QueueError::refused(format!(
                "job {id} is {status}: only a dead or cancelled one is retried"
            ))
            .into());
        }
        let mut batch = tx.batch(job.batch).await?;
        self.check_reopens(&mut tx, &job, &batch).await?;
        job.note_error(tx.now, ErrorKind::Reset, reason);
        job.resets += 1;
        job.failures = 0;
        job.crashes = 0;
        job.crashes_in_place = 0;
        job.finished = None;
        job.not_before = tx.now;
        batch.reopened += 1;
        batch.cancelled = None;
        tx.delete(self.keys.failed(job.batch, id));
        tx.mark(self.keys.open(job.batch, id));
        tx.put_batch(&batch)?;
        self.place(&mut tx, &mut job, JobStatus::Ready)?;
        tx.commit().await?;
        tracing::info!(job = %id, reason, "a new attempt was asked for");
        Ok(job)
    }

    /// A recording is not opened again under an assembly that works or has worked on it, nor an assembly over open
    /// recordings, nor anything whose staging may be gone.
    async fn check_reopens(&self, tx: &mut Tx, job: &JobRecord, batch: &BatchRecord) -> Result<(), Halt> {
        let id = batch.id;
        if batch.closed.is_some() {
            let reason = format!("batch {id} is over, and its staging is swept: submit to another output");
            return Err(QueueError::refused(reason).into());
        }
        if job.kind != JobKind::Assemble {
            return self.check_not_assembled(tx, id).await;
        }
        let open = self.open_recordings(tx, id, PAGE).await?;
        if open > 0 || !batch.sealed {
            let what =
                if open > 0 { format!("has {open} open recordings") } else { "is not sealed".to_owned() };
            let reason = format!("batch {id} {what}: assemble it when all is done");
            return Err(QueueError::refused(reason).into());
        }
        if let Some(first) = self.waits_in_line(tx, batch).await? {
            let reason =
                format!("batch {first} comes before batch {id} in its output: assemble or cancel that one");
            return Err(QueueError::refused(reason).into());
        }
        Ok(())
    }

    /// One page of records; those that cannot be read are left out.
    pub(super) async fn page<T: DeserializeOwned + Send>(
        &self,
        span: Span,
        limit: usize,
    ) -> Result<Vec<T>, QueueError> {
        let pairs = self.transact("list", |tx| scan(tx, &span, limit)).await?;
        Ok(pairs.iter().filter_map(|(_, value)| decode(value).ok()).collect())
    }
}

async fn read_job(mut tx: Tx, job: JobId) -> Result<JobRecord, Halt> {
    tx.job(job).await
}

/// At most `limit` pairs of one consistent view.
pub(super) async fn scan(mut tx: Tx, span: &Span, limit: usize) -> Result<Vec<Pair>, Halt> {
    tx.scan(span, limit).await
}
