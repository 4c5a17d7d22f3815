//! Submitting recordings in batches, the mapping they are converted by, and the one Assemble job of a batch.
//!
//! Everything here may be asked for again without effect. Whatever opens a recording of a batch writes the batch's record
//! and has read the key of its Assemble job; the assembly has read that record and writes that key. So neither misses
//! the other.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::Key;
use super::record::{
    BatchId, BatchRecord, ConfigHash, JobKind, JobRecord, JobStatus, Source, TEXT_MAX_BYTES, config_hash,
    short,
};
use super::settings::SUBMIT_PAGE;
use super::tx::Tx;
use crate::fsm::id::{Epoch, JobId};
use crate::store::{MAX_SCAN_PAIRS, MAX_VALUE_BYTES};

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

/// How far a batch is with its assembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssemblyState {
    /// So many of its recordings are not final yet (counted up to [`MAX_SCAN_PAIRS`]).
    Open {
        /// How many.
        recordings: usize,
    },
    /// No recording was ever submitted to it.
    Empty,
    /// Its one Assemble job exists.
    Queued {
        /// The job.
        job: JobId,
        /// Where it is.
        status: JobStatus,
        /// This call enqueued it.
        new: bool,
    },
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

    /// Enqueues recordings, a page of them in one transaction, and creates the batch. A recording that was submitted
    /// before to the same output with the same mapping is passed over; a new one is refused once the batch is being
    /// assembled. What is counted is durable when it returns; after
    /// an error the same call may be made again.
    pub async fn submit(&self, batch: &NewBatch, jobs: &[NewJob]) -> Result<Submitted, QueueError> {
        check_texts(batch, jobs)?;
        let submission = self.dice.up_to(u64::MAX);
        let mut submitted = Submitted::default();
        let empty: &[NewJob] = &[];
        for page in std::iter::once(empty).filter(|_| jobs.is_empty()).chain(jobs.chunks(SUBMIT_PAGE)) {
            let done = self
                .transact_idempotent("submit", |tx| self.submit_page(tx, batch, page, submission))
                .await?;
            submitted.new += done.new;
            submitted.already += done.already;
        }
        Ok(submitted)
    }

    async fn submit_page(
        &self,
        mut tx: Tx,
        batch: &NewBatch,
        page: &[NewJob],
        submission: u64,
    ) -> Result<Submitted, Halt> {
        let mut record = self.open_batch(&mut tx, batch).await?;
        let mut submitted = Submitted::default();
        let jobs_before = record.jobs;
        for job in page {
            let hash = job.source.seen_hash(&batch.out, &batch.config);
            let seen = self.keys.seen(&hash);
            let id = JobId(short(hash));
            if tx.get(&seen).await?.is_some() {
                // An earlier try of this very call, whose outcome was unknown, counts as this call's.
                let known = tx.try_read::<JobRecord>(&self.keys.job(id)).await?;
                let ours = known.is_some_and(|job| job.is_ok_and(|job| job.submission == submission));
                submitted.new += u64::from(ours);
                submitted.already += u64::from(!ours);
                continue;
            }
            if record.jobs == jobs_before {
                self.check_not_assembled(&mut tx, batch.id).await?;
            }
            let kind = JobKind::Convert { source: job.source.clone() };
            tx.put_bytes(seen, id.0.to_vec());
            self.enqueue(&mut tx, id, kind, &record, job.priority, submission)?;
            record.jobs += 1;
            submitted.new += 1;
        }
        if record.jobs != jobs_before || page.is_empty() {
            tx.put_batch(&record)?;
        }
        tx.commit().await?;
        Ok(submitted)
    }

    /// Refused once the batch's assembly is on its way or done: its dataset would miss what is opened now.
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

    /// The batch's record, made where there is none; refused where it differs.
    async fn open_batch(&self, tx: &mut Tx, batch: &NewBatch) -> Result<BatchRecord, Halt> {
        let key = self.keys.batch(batch.id);
        if let Some(record) = tx.read::<BatchRecord>(&key).await? {
            let same = record.out == batch.out
                && record.staging == batch.staging
                && record.config == batch.config
                && record.segment_frames == batch.segment_frames;
            if same {
                return Ok(record);
            }
            return Err(QueueError::refused(format!(
                "batch {} exists with another output, staging, mapping or segment length: use another output, or the \
                 same settings",
                batch.id
            ))
            .into());
        }
        if tx.get(&self.keys.config(&batch.config)).await?.is_none() {
            return Err(
                QueueError::refused("the batch's mapping must be stored before it is submitted").into()
            );
        }
        Ok(BatchRecord {
            id: batch.id,
            out: batch.out.clone(),
            staging: batch.staging.clone(),
            config: batch.config,
            segment_frames: batch.segment_frames,
            created: tx.now,
            jobs: 0,
            reopened: 0,
        })
    }

    fn enqueue(
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
            resets: 0,
            cancel_requested: false,
            finished: None,
            result: None,
            errors: Vec::new(),
        };
        tx.mark(self.keys.open(batch.id, id));
        self.place(tx, &mut job, JobStatus::Ready)
    }

    /// Enqueues the batch's one Assemble job once all its recordings are final; else says what is still open. Whoever
    /// asks, and how often: there is one.
    pub async fn submit_assembly(&self, batch: BatchId) -> Result<AssemblyState, QueueError> {
        self.transact_idempotent("submit assembly", |tx| self.assembly_once(tx, batch)).await
    }

    async fn assembly_once(&self, mut tx: Tx, batch: BatchId) -> Result<AssemblyState, Halt> {
        let record = tx.batch(batch).await?;
        let id = batch.assemble_job();
        if let Some(job) = tx.read::<JobRecord>(&self.keys.job(id)).await? {
            return Ok(AssemblyState::Queued { job: id, status: job.status, new: false });
        }
        if record.jobs == 0 {
            return Ok(AssemblyState::Empty);
        }
        let open = self.open_recordings(&mut tx, batch, MAX_SCAN_PAIRS).await?;
        if open > 0 {
            return Ok(AssemblyState::Open { recordings: open });
        }
        self.enqueue(&mut tx, id, JobKind::Assemble, &record, u8::MAX, 0)?;
        tx.commit().await?;
        Ok(AssemblyState::Queued { job: id, status: JobStatus::Ready, new: true })
    }

    /// How many of a batch's recordings are not final, counted up to `limit`.
    pub(super) async fn open_recordings(
        &self,
        tx: &mut Tx,
        batch: BatchId,
        limit: usize,
    ) -> Result<usize, Halt> {
        let assembly = Key::Open(batch, batch.assemble_job());
        let pairs = tx.scan(&self.keys.open_of(batch), limit).await?;
        Ok(pairs.iter().filter(|(key, _)| self.keys.parse(key) != Some(assembly)).count())
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

fn check_texts(batch: &NewBatch, jobs: &[NewJob]) -> Result<(), QueueError> {
    let sources = jobs.iter().flat_map(|job| {
        let Source { name, location, key, version, .. } = &job.source;
        [("name", name), ("location", location), ("key", key), ("version", version)]
    });
    let texts = [("output", &batch.out), ("staging", &batch.staging)];
    for (what, text) in texts.into_iter().chain(sources) {
        if text.len() > TEXT_MAX_BYTES {
            return Err(QueueError::refused(format!(
                "the {what} of {} bytes is longer than {TEXT_MAX_BYTES} bytes: {}",
                text.len(),
                super::record::clip(text, 64)
            )));
        }
    }
    if batch.segment_frames == 0 {
        return Err(QueueError::refused("a segment has at least one frame"));
    }
    Ok(())
}
