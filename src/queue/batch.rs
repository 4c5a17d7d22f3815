//! Submitting recordings in batches, and the mapping they are converted by.
//!
//! Everything here may be asked for again without effect. What becomes of a batch afterwards is in `assembly` and
//! `ending`.

use super::Queue;
use super::error::{Halt, QueueError};
use super::record::{
    BatchId, BatchRecord, ConfigHash, JobKind, JobRecord, JobStatus, Source, TEXT_MAX_BYTES, clip,
    config_hash, short,
};
use super::settings::SUBMIT_PAGE;
use super::tx::Tx;
use crate::fsm::id::{Epoch, JobId};
use crate::store::MAX_VALUE_BYTES;

/// A batch to submit to. Submitting to it again must give the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// Its id; [`BatchId::derive`] makes one.
    pub id: BatchId,
    /// Where the dataset goes, as a location.
    pub out: String,
    /// Where segments are staged, as a location.
    pub staging: String,
    /// The mapping, stored before with [`Queue::put_config`].
    pub config: ConfigHash,
    /// Frames in a segment.
    pub segment_frames: u32,
    /// A recording is converted once for everything that is submitted under this text: the output, for a batch on its
    /// own.
    pub seen_under: String,
    /// Assemble it without the recordings that fail. The latest submission's word counts.
    pub skip_failed: bool,
}

/// A recording to submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The recording.
    pub source: Source,
    /// The greatest is claimed first.
    pub priority: u8,
}

/// What a submission did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Recordings enqueued by this call.
    pub new: u64,
    /// Recordings that had been submitted before.
    pub already: u64,
}

impl Queue {
    /// Stores a mapping's text under its hash. Durable when it returns.
    pub async fn put_config(&self, text: &str) -> Result<ConfigHash, QueueError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(QueueError::refused(format!(
                "a mapping of {} bytes is longer than {MAX_VALUE_BYTES} bytes",
                text.len()
            )));
        }
        let hash = config_hash(text);
        self.transact_idempotent("put config", |tx| self.put_config_once(tx, hash, text)).await?;
        Ok(hash)
    }

    async fn put_config_once(&self, mut tx: Tx, hash: ConfigHash, text: &str) -> Result<(), Halt> {
        tx.put_bytes(self.keys.config(&hash), text.as_bytes().to_vec());
        tx.commit().await
    }

    /// A mapping's text.
    pub async fn config(&self, hash: &ConfigHash) -> Result<String, QueueError> {
        let key = self.keys.config(hash);
        let bytes = self.transact("config", |tx| read_bytes(tx, &key)).await?;
        let bytes = bytes.ok_or_else(|| QueueError::not_found("mapping with this hash"))?;
        let damaged = |reason: &str| QueueError::Corrupt {
            key: super::key::printable(&key),
            reason: reason.to_owned(),
        };
        let text = String::from_utf8(bytes).map_err(|_not_text| damaged("it is not UTF-8"))?;
        if config_hash(&text) != *hash {
            return Err(damaged("its text has another hash"));
        }
        Ok(text)
    }

    /// Enqueues recordings, a page of them in one transaction, creates the batch, and seals it with the last page: it is
    /// assembled when its recordings are done. A recording that was submitted before under the same text with the same
    /// mapping is passed over; a new one is refused once the batch is being assembled, or was cancelled. What is counted
    /// is durable when it returns; after an error the same call may be made again.
    pub async fn submit(&self, batch: &NewBatch, jobs: &[NewJob]) -> Result<Submitted, QueueError> {
        self.submit_pages(batch, jobs, true).await
    }

    /// As [`Queue::submit`], but more comes: the batch stays open until [`Queue::submit`] or [`Queue::seal_batch`].
    pub async fn submit_part(&self, batch: &NewBatch, jobs: &[NewJob]) -> Result<Submitted, QueueError> {
        self.submit_pages(batch, jobs, false).await
    }

    async fn submit_pages(
        &self,
        batch: &NewBatch,
        jobs: &[NewJob],
        seal: bool,
    ) -> Result<Submitted, QueueError> {
        check_batch(batch)?;
        check_jobs(jobs)?;
        let submission = self.dice.up_to(u64::MAX);
        let mut submitted = Submitted::default();
        let mut pages = jobs.chunks(SUBMIT_PAGE);
        let mut page = pages.next().unwrap_or_default();
        loop {
            let next = pages.next();
            let last = seal && next.is_none();
            let done = self
                .transact_idempotent("submit", |tx| self.submit_page(tx, batch, page, submission, last))
                .await?;
            submitted.new += done.new;
            submitted.already += done.already;
            match next {
                Some(next) => page = next,
                None => return Ok(submitted),
            }
        }
    }

    async fn submit_page(
        &self,
        mut tx: Tx,
        batch: &NewBatch,
        page: &[NewJob],
        submission: u64,
        last: bool,
    ) -> Result<Submitted, Halt> {
        let before = tx.read::<BatchRecord>(&self.keys.batch(batch.id)).await?;
        let mut record = self.same_or_new(&mut tx, batch, before.as_ref()).await?;
        let jobs_before = record.jobs;
        let mut submitted = Submitted::default();
        for job in page {
            let hash = job.source.seen_hash(&record.seen_under, &record.config);
            if tx.get(&self.keys.seen(&hash)).await?.is_some() {
                // An earlier try of this very call, whose outcome was unknown, counts as this call's.
                let known = tx.peek::<JobRecord>(&self.keys.job(JobId(short(hash)))).await?;
                let ours = known.is_some_and(|job| job.is_ok_and(|job| job.submission == submission));
                submitted.new += u64::from(ours);
                submitted.already += u64::from(!ours);
                continue;
            }
            if record.jobs == jobs_before {
                self.check_takes_more(&mut tx, &record).await?;
            }
            self.enqueue_recording(&mut tx, &mut record, job, hash, submission)?;
            submitted.new += 1;
        }
        // Between two pages the batch is open, or workers that are faster than the pages would see its end too early.
        record.sealed = last || (record.sealed && record.jobs == jobs_before);
        if record.closed.is_none() {
            record.skip_failed = batch.skip_failed;
        }
        let is_wanted = before.is_some() || record.jobs > 0 || page.is_empty();
        if is_wanted && before.as_ref() != Some(&record) {
            self.put_new_batch(&mut tx, before.is_none(), &record)?;
        }
        tx.commit().await?;
        Ok(submitted)
    }

    /// Writes a batch's record, and with the first one that something is to be done about it.
    pub(super) fn put_new_batch(&self, tx: &mut Tx, is_new: bool, record: &BatchRecord) -> Result<(), Halt> {
        if is_new {
            tx.mark(self.keys.active(record.id));
        }
        tx.put_batch(record)
    }

    /// Refused once the batch is over, or its assembly is on its way or done: its dataset would miss what is opened now.
    /// Whatever opens a recording of a batch asks this and writes the batch's record; the assembly reads that record and
    /// writes the key that is read here. So neither misses the other.
    pub(super) async fn check_takes_more(&self, tx: &mut Tx, batch: &BatchRecord) -> Result<(), Halt> {
        let id = batch.id;
        if batch.cancelled.is_some() {
            let reason = format!("batch {id} was cancelled: retry its jobs, or submit to another output");
            return Err(QueueError::refused(reason).into());
        }
        self.check_not_assembled(tx, id).await
    }

    /// Refused once the batch's assembly is on its way or done.
    pub(super) async fn check_not_assembled(&self, tx: &mut Tx, batch: BatchId) -> Result<(), Halt> {
        let assembly = tx.read::<JobRecord>(&self.keys.job(batch.assemble_job())).await?;
        match assembly.map(|assembly| assembly.status) {
            Some(status @ (JobStatus::Ready | JobStatus::Leased | JobStatus::Completed)) => {
                let status = status.name();
                let reason = format!("the assembly of batch {batch} is {status}: submit to another output");
                Err(QueueError::refused(reason).into())
            }
            Some(JobStatus::Dead | JobStatus::Cancelled) | None => Ok(()),
        }
    }

    /// The batch's record as it is or is to be; refused where it differs.
    pub(super) async fn same_or_new(
        &self,
        tx: &mut Tx,
        batch: &NewBatch,
        before: Option<&BatchRecord>,
    ) -> Result<BatchRecord, Halt> {
        if let Some(record) = before {
            let same = record.out == batch.out
                && record.staging == batch.staging
                && record.config == batch.config
                && record.segment_frames == batch.segment_frames
                && record.seen_under == batch.seen_under;
            if same {
                return Ok(record.clone());
            }
            return Err(QueueError::refused(format!(
                "batch {} exists with another output, staging, mapping or segment length: use another output, or the \
                 same settings",
                batch.id
            ))
            .into());
        }
        self.check_config_stored(tx, &batch.config).await?;
        Ok(BatchRecord {
            id: batch.id,
            out: batch.out.clone(),
            staging: batch.staging.clone(),
            config: batch.config,
            segment_frames: batch.segment_frames,
            seen_under: batch.seen_under.clone(),
            sealed: false,
            skip_failed: batch.skip_failed,
            created: tx.now,
            cancelled: None,
            closed: None,
            swept: None,
            jobs: 0,
            reopened: 0,
        })
    }

    pub(super) async fn check_config_stored(&self, tx: &mut Tx, config: &ConfigHash) -> Result<(), Halt> {
        if tx.get(&self.keys.config(config)).await?.is_none() {
            let reason = "the batch's mapping must be stored before it is submitted";
            return Err(QueueError::refused(reason).into());
        }
        Ok(())
    }

    /// Enqueues a recording that was not seen before.
    pub(super) fn enqueue_recording(
        &self,
        tx: &mut Tx,
        batch: &mut BatchRecord,
        job: &NewJob,
        seen: [u8; 32],
        submission: u64,
    ) -> Result<(), Halt> {
        let id = JobId(short(seen));
        let kind = JobKind::Convert { source: job.source.clone() };
        tx.put_bytes(self.keys.seen(&seen), id.0.to_vec());
        batch.jobs += 1;
        self.enqueue(tx, id, kind, batch, job.priority, submission)
    }

    pub(super) fn enqueue(
        &self,
        tx: &mut Tx,
        id: JobId,
        kind: JobKind,
        batch: &BatchRecord,
        priority: u8,
        submission: u64,
    ) -> Result<(), Halt> {
        let [first, ..] = id.0;
        let mut job = JobRecord {
            id,
            kind,
            batch: batch.id,
            shard: first % self.settings.shards.max(1),
            priority,
            created: tx.now,
            submission,
            status: JobStatus::Ready,
            epoch: Epoch(0),
            owner: None,
            not_before: tx.now,
            checkpoint: 0,
            failures: 0,
            interruptions: 0,
            crashes: 0,
            crashes_in_place: 0,
            resets: 0,
            cancel_requested: false,
            finished: None,
            result: None,
            errors: Vec::new(),
        };
        tx.mark(self.keys.member(batch.id, id));
        tx.mark(self.keys.open(batch.id, id));
        self.place(tx, &mut job, JobStatus::Ready)
    }

    /// A batch.
    pub async fn batch(&self, batch: BatchId) -> Result<BatchRecord, QueueError> {
        self.transact("batch", |tx| read_batch(tx, batch)).await
    }

    /// The batches behind `after`, by id, at most `limit`. Those whose record cannot be read are left out.
    pub async fn batches(
        &self,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRecord>, QueueError> {
        self.page(self.keys.batches_after(after), limit).await
    }
}

async fn read_batch(mut tx: Tx, batch: BatchId) -> Result<BatchRecord, Halt> {
    tx.batch(batch).await
}

async fn read_bytes(mut tx: Tx, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
    tx.get(key).await
}

/// Refuses a batch that no record has room for.
pub(super) fn check_batch(batch: &NewBatch) -> Result<(), QueueError> {
    if batch.segment_frames == 0 {
        return Err(QueueError::refused("a segment has at least one frame"));
    }
    check_text("output", &batch.out)?;
    check_text("staging", &batch.staging)?;
    check_text("text that recordings are seen under", &batch.seen_under)
}

/// Refuses recordings that no record has room for.
pub(super) fn check_jobs(jobs: &[NewJob]) -> Result<(), QueueError> {
    for job in jobs {
        let Source { name, location, key, version, .. } = &job.source;
        check_text("name", name)?;
        check_text("location", location)?;
        check_text("key", key)?;
        check_text("version", version)?;
    }
    Ok(())
}

/// Refuses a text that is too long.
pub(super) fn check_text(what: &str, text: &str) -> Result<(), QueueError> {
    if text.len() <= TEXT_MAX_BYTES {
        return Ok(());
    }
    Err(QueueError::refused(format!(
        "the {what} of {} bytes is longer than {TEXT_MAX_BYTES} bytes: {}",
        text.len(),
        clip(text, 64)
    )))
}
