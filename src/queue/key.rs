//! The keys of the queue: how they are written, in an order that scans rely on, and how they are read back.
//!
//! All stand under one prefix, so that several queues share a store. Numbers are big-endian: byte order is number order.

use super::record::{BatchId, Incarnation, JobRecord, SeriesId, out_hash};
use crate::fsm::id::JobId;
use crate::store::StoreTime;

/// Where the parts of the keyspace begin, below the prefix.
const JOB: &[u8] = b"job/";
const READY: &[u8] = b"ready/";
const LEASED: &[u8] = b"leased/";
const WORKER: &[u8] = b"worker/";
const BATCH: &[u8] = b"batch/";
const OPEN: &[u8] = b"open/";
const SEEN: &[u8] = b"seen/";
const RECEIPT: &[u8] = b"receipt/";
const CONFIG: &[u8] = b"config/";
const QUARANTINE: &[u8] = b"quarantine/";
const MEMBER: &[u8] = b"member/";
const FAILED: &[u8] = b"failed/";
const ACTIVE: &[u8] = b"active/";
const LEADER: &[u8] = b"leader/";
const SCAN: &[u8] = b"scan/";
const LINE: &[u8] = b"line/";
const APPEND: &[u8] = b"append/";

/// The longest name of a role that is led.
pub const ROLE_MAX_BYTES: usize = 64;

/// A key, read back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A job's record.
    Job(JobId),
    /// A claimable job: by shard, higher priority first, then the earlier, then the id.
    Ready {
        /// Shard.
        shard: u8,
        /// Priority; the greatest is claimed first.
        priority: u8,
        /// Not before this instant.
        not_before: StoreTime,
        /// The job.
        job: JobId,
    },
    /// A job held by a worker.
    Leased(Incarnation, JobId),
    /// A worker's record.
    Worker(Incarnation),
    /// A batch's record.
    Batch(BatchId),
    /// A job of a batch that is not final.
    Open(BatchId, JobId),
    /// A recording that was submitted before.
    Seen([u8; 32]),
    /// How a worker ended.
    Receipt(Incarnation),
    /// A mapping's text.
    Config([u8; 32]),
    /// A job that was taken out of the ready index since it cannot be read.
    Quarantine(JobId),
    /// A job of a batch. Written with the job, never removed.
    Member(BatchId, JobId),
    /// A recording of a batch that is dead or cancelled.
    Failed(BatchId, JobId),
    /// A batch of which something is still to be done: it is not swept.
    Active(BatchId),
    /// Who leads this role.
    Leader(String),
    /// How far the scanner is with a series.
    Scan(SeriesId),
    /// The batches that are to be assembled into one output, by its hash.
    Line([u8; 32]),
    /// A batch that is added to a dataset.
    Append(BatchId),
}

/// A range of keys: `start <= key < end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Vec<u8>,
    pub(super) end: Vec<u8>,
}

/// Writes and reads the keys under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: Vec<u8>,
}

impl Keys {
    /// Under this prefix; `/` is put behind it.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: [prefix.as_bytes(), b"/"].concat() }
    }

    fn of(&self, section: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        [&[self.prefix.as_slice(), section], parts].concat().concat()
    }

    /// All keys of a section that begin with `parts`, from `from` on (or the first).
    fn span(&self, section: &[u8], parts: &[&[u8]], from: Option<Vec<u8>>) -> Span {
        let start = self.of(section, parts);
        let end = successor_of_prefix(&start);
        Span { start: from.unwrap_or(start), end }
    }

    /// All keys.
    pub(super) fn whole(&self) -> Span {
        Span { start: self.prefix.clone(), end: successor_of_prefix(&self.prefix) }
    }

    pub(super) fn job(&self, job: JobId) -> Vec<u8> {
        self.of(JOB, &[&job.0])
    }

    pub(super) fn jobs_after(&self, after: Option<JobId>) -> Span {
        self.span(JOB, &[], after.map(|job| following(self.job(job))))
    }

    pub(super) fn ready(&self, job: &JobRecord) -> Vec<u8> {
        let place = [job.shard, u8::MAX - job.priority];
        self.of(READY, &[&place, &job.not_before.0.to_be_bytes(), &job.id.0])
    }

    pub(super) fn all_ready(&self) -> Span {
        self.span(READY, &[], None)
    }

    /// Where a shard begins in the ready index.
    pub(super) fn ready_shard(&self, shard: u8) -> Vec<u8> {
        self.of(READY, &[&[shard]])
    }

    /// The first key behind all ready keys of this shard and priority.
    pub(super) fn ready_behind(&self, shard: u8, priority: u8) -> Vec<u8> {
        successor_of_prefix(&self.of(READY, &[&[shard, u8::MAX - priority]]))
    }

    pub(super) fn leased(&self, incarnation: Incarnation, job: JobId) -> Vec<u8> {
        self.of(LEASED, &[incarnation.as_bytes(), &job.0])
    }

    pub(super) fn leased_by(&self, incarnation: Incarnation) -> Span {
        self.span(LEASED, &[incarnation.as_bytes()], None)
    }

    /// What is leased by incarnations greater than this one.
    pub(super) fn leased_beyond(&self, incarnation: Option<Incarnation>) -> Span {
        self.span(LEASED, &[], incarnation.map(|incarnation| self.leased_by(incarnation).end))
    }

    pub(super) fn worker(&self, incarnation: Incarnation) -> Vec<u8> {
        self.of(WORKER, &[incarnation.as_bytes()])
    }

    pub(super) fn workers_after(&self, after: Option<Incarnation>) -> Span {
        self.span(WORKER, &[], after.map(|incarnation| following(self.worker(incarnation))))
    }

    pub(super) fn batch(&self, batch: BatchId) -> Vec<u8> {
        self.of(BATCH, &[&batch.0])
    }

    pub(super) fn batches_after(&self, after: Option<BatchId>) -> Span {
        self.span(BATCH, &[], after.map(|batch| following(self.batch(batch))))
    }

    pub(super) fn open(&self, batch: BatchId, job: JobId) -> Vec<u8> {
        self.of(OPEN, &[&batch.0, &job.0])
    }

    pub(super) fn open_of(&self, batch: BatchId) -> Span {
        self.span(OPEN, &[&batch.0], None)
    }

    pub(super) fn seen(&self, hash: &[u8; 32]) -> Vec<u8> {
        self.of(SEEN, &[hash])
    }

    pub(super) fn receipt(&self, incarnation: Incarnation) -> Vec<u8> {
        self.of(RECEIPT, &[incarnation.as_bytes()])
    }

    pub(super) fn receipts_after(&self, after: Option<Incarnation>) -> Span {
        self.span(RECEIPT, &[], after.map(|incarnation| following(self.receipt(incarnation))))
    }

    pub(super) fn config(&self, hash: &[u8; 32]) -> Vec<u8> {
        self.of(CONFIG, &[hash])
    }

    pub(super) fn quarantine(&self, job: JobId) -> Vec<u8> {
        self.of(QUARANTINE, &[&job.0])
    }

    pub(super) fn member(&self, batch: BatchId, job: JobId) -> Vec<u8> {
        self.of(MEMBER, &[&batch.0, &job.0])
    }

    pub(super) fn members_after(&self, batch: BatchId, after: Option<JobId>) -> Span {
        self.span(MEMBER, &[&batch.0], after.map(|job| following(self.member(batch, job))))
    }

    pub(super) fn failed(&self, batch: BatchId, job: JobId) -> Vec<u8> {
        self.of(FAILED, &[&batch.0, &job.0])
    }

    pub(super) fn all_failed(&self) -> Span {
        self.span(FAILED, &[], None)
    }

    pub(super) fn failed_of(&self, batch: BatchId) -> Span {
        self.span(FAILED, &[&batch.0], None)
    }

    pub(super) fn active(&self, batch: BatchId) -> Vec<u8> {
        self.of(ACTIVE, &[&batch.0])
    }

    pub(super) fn active_after(&self, after: Option<BatchId>) -> Span {
        self.span(ACTIVE, &[], after.map(|batch| following(self.active(batch))))
    }

    pub(super) fn leader(&self, role: &str) -> Vec<u8> {
        self.of(LEADER, &[role.as_bytes()])
    }

    pub(super) fn scan(&self, series: SeriesId) -> Vec<u8> {
        self.of(SCAN, &[&series.0])
    }

    pub(super) fn scans_after(&self, after: Option<SeriesId>) -> Span {
        self.span(SCAN, &[], after.map(|series| following(self.scan(series))))
    }

    pub(super) fn line(&self, out: &str) -> Vec<u8> {
        self.of(LINE, &[&out_hash(out)])
    }

    pub(super) fn append(&self, batch: BatchId) -> Vec<u8> {
        self.of(APPEND, &[&batch.0])
    }

    /// Whether the key stands under this prefix.
    pub fn owns(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
    }

    /// Reads a key back. `None`: it is not under the prefix, or not of a shape that this program writes.
    pub fn parse(&self, key: &[u8]) -> Option<Key> {
        let rest = key.strip_prefix(self.prefix.as_slice())?;
        let split = rest.iter().position(|byte| *byte == b'/')?.checked_add(1)?;
        let (section, tail) = rest.split_at_checked(split)?;
        match section {
            JOB => Some(Key::Job(JobId(tail.try_into().ok()?))),
            READY => parse_ready(tail),
            LEASED => two(tail).map(|(worker, job)| Key::Leased(Incarnation::from_bytes(worker), JobId(job))),
            WORKER => Some(Key::Worker(Incarnation::from_bytes(tail.try_into().ok()?))),
            BATCH => Some(Key::Batch(BatchId(tail.try_into().ok()?))),
            OPEN => two(tail).map(|(batch, job)| Key::Open(BatchId(batch), JobId(job))),
            SEEN => Some(Key::Seen(tail.try_into().ok()?)),
            RECEIPT => Some(Key::Receipt(Incarnation::from_bytes(tail.try_into().ok()?))),
            CONFIG => Some(Key::Config(tail.try_into().ok()?)),
            QUARANTINE => Some(Key::Quarantine(JobId(tail.try_into().ok()?))),
            MEMBER => two(tail).map(|(batch, job)| Key::Member(BatchId(batch), JobId(job))),
            FAILED => two(tail).map(|(batch, job)| Key::Failed(BatchId(batch), JobId(job))),
            ACTIVE => Some(Key::Active(BatchId(tail.try_into().ok()?))),
            LEADER => std::str::from_utf8(tail)
                .ok()
                .filter(|role| is_role(role))
                .map(|role| Key::Leader(role.to_owned())),
            SCAN => Some(Key::Scan(SeriesId(tail.try_into().ok()?))),
            LINE => Some(Key::Line(tail.try_into().ok()?)),
            APPEND => Some(Key::Append(BatchId(tail.try_into().ok()?))),
            _ => None,
        }
    }
}

/// Whether this is a name for a role: 1 to [`ROLE_MAX_BYTES`] printable ASCII characters without spaces.
pub(super) fn is_role(text: &str) -> bool {
    (1..=ROLE_MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn parse_ready(tail: &[u8]) -> Option<Key> {
    let (&shard, tail) = tail.split_first()?;
    let (&priority, tail) = tail.split_first()?;
    let (not_before, job) = tail.split_first_chunk::<8>()?;
    Some(Key::Ready {
        shard,
        priority: u8::MAX - priority,
        not_before: StoreTime(u64::from_be_bytes(*not_before)),
        job: JobId(job.try_into().ok()?),
    })
}

fn two(tail: &[u8]) -> Option<([u8; 16], [u8; 16])> {
    let (first, second) = tail.split_first_chunk::<16>()?;
    Some((*first, second.try_into().ok()?))
}

/// The first key behind this one.
pub(super) fn following(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The first key behind all that begin with these bytes. The prefix of a queue holds a byte below 0xff, so there is one.
fn successor_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

/// A key as errors and logs show it.
pub(super) fn printable(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
