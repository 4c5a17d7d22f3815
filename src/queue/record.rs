//! What the queue keeps about jobs and batches, and how a record is written: a version byte, then postcard.
//!
//! A record of an unknown version is an error that names its key, never a guess.

use super::error::QueueError;
use super::key::printable;
use crate::fsm::id::{Epoch, JobId, Nonce};
use crate::store::StoreTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The version that this program writes, and the only one that it reads.
pub const RECORD_VERSION: u8 = 2;
/// The longest error text that is kept; longer ones are cut.
pub const ERROR_TEXT_MAX_BYTES: usize = 2 * 1024;
/// How many errors of a job are kept: the first ones and the latest.
pub const ERRORS_KEPT: usize = 8;
/// The longest location, key, name or other text that a submitter gives.
pub const TEXT_MAX_BYTES: usize = 4 * 1024;

/// One process start of a worker; never used again. A pod's name is only a label.
pub type Incarnation = uuid::Uuid;

/// The sha256 of a mapping's text.
pub type ConfigHash = [u8; 32];

/// A batch: the recordings that become one dataset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId(pub [u8; 16]);

impl fmt::Display for BatchId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A series: the numbered batches that a scanner fills under one output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesId(pub [u8; 16]);

impl fmt::Display for SeriesId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SeriesId {
    /// The id of the series that fills this output, whatever its mapping.
    pub fn derive(out: &str) -> Self {
        Self(short(digest("series", &[out.as_bytes()])))
    }
}

impl BatchId {
    /// The id of the batch that fills this output with this mapping: the same at every submission.
    pub fn derive(out: &str, config: &ConfigHash) -> Self {
        Self(short(digest("batch", &[out.as_bytes(), config])))
    }

    /// The id of the batch that adds these recordings to the dataset at this output: the same for the same recordings, in
    /// whatever order they are given, and another one for any others.
    pub fn derive_append<'a>(
        out: &str,
        config: &ConfigHash,
        sources: impl IntoIterator<Item = &'a Source>,
    ) -> Self {
        let mut seen: Vec<[u8; 32]> =
            sources.into_iter().map(|source| source.seen_hash(out, config)).collect();
        seen.sort_unstable();
        Self(short(digest("append", &[out.as_bytes(), config, &seen.concat()])))
    }

    /// The id of this batch's one Assemble job.
    pub fn assemble_job(self) -> JobId {
        JobId(short(digest("assemble", &[&self.0])))
    }
}

/// A recording to convert.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// What episodes are ordered and named by.
    pub name: String,
    /// The storage it lies in, as a location without secrets.
    pub location: String,
    /// Its key there.
    pub key: String,
    /// Its size in bytes when it was submitted.
    pub size: u64,
    /// Its version there (an etag, or a change time): other bytes have another one.
    pub version: String,
}

impl Source {
    /// The same for the same bytes at the same place, converted by the same mapping for the same output.
    pub fn seen_hash(&self, seen_under: &str, config: &ConfigHash) -> [u8; 32] {
        let size = self.size.to_be_bytes();
        digest(
            "seen",
            &[
                self.location.as_bytes(),
                self.key.as_bytes(),
                self.version.as_bytes(),
                &size,
                config,
                seen_under.as_bytes(),
            ],
        )
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobKind {
    /// One recording into staged segments.
    Convert {
        /// The recording.
        source: Source,
    },
    /// All staged episodes of the batch into the dataset.
    Assemble,
}

/// Where a job is: in exactly one place (Q1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// To be claimed, from `not_before` on.
    Ready,
    /// Held by a worker.
    Leased,
    /// Done. Final.
    Completed,
    /// Given up, with the errors in its record. Final until an explicit retry.
    Dead,
    /// Cancelled by somebody. Final until an explicit retry.
    Cancelled,
}

impl JobStatus {
    /// All of them, in the order that counts are shown in.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Leased, Self::Completed, Self::Dead, Self::Cancelled];

    /// Whether no worker will touch it any more (Q3).
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled)
    }

    /// The name, as the command line and metrics show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Completed => "completed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who holds a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The worker process.
    pub incarnation: Incarnation,
    /// Which of its machines.
    pub machine: u32,
    /// The claim's nonce.
    pub nonce: Nonce,
    /// Since when.
    pub since: StoreTime,
}

/// What a finished job gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobResult {
    /// Frames written.
    pub frames: u64,
    /// Bytes written under the claim that completed it.
    pub bytes: u64,
    /// What a person should know, a line each; cut at [`ERROR_TEXT_MAX_BYTES`].
    pub note: String,
}

/// What kind of mishap an entry of the error history tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// It failed; a retry might have cured it.
    Transient,
    /// It failed for good.
    Permanent,
    /// Its worker was lost while holding it.
    Crash,
    /// Somebody asked for a new attempt: not an error, but part of the history.
    Reset,
}

/// One entry of a job's error history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// When, in store time.
    pub at: StoreTime,
    /// Under which claim.
    pub epoch: Epoch,
    /// What kind.
    pub kind: ErrorKind,
    /// What was seen; cut at [`ERROR_TEXT_MAX_BYTES`].
    pub text: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The batch it belongs to.
    pub batch: BatchId,
    /// Its shard of the ready index.
    pub shard: u8,
    /// The greatest is claimed first.
    pub priority: u8,
    /// When it was submitted.
    pub created: StoreTime,
    /// By which call of `submit`: a random number, so that a repeated page recognises its own jobs.
    pub submission: u64,
    /// Where it is.
    pub status: JobStatus,
    /// The number of its latest claim; 0 before the first. Only grows (Q2).
    pub epoch: Epoch,
    /// Who holds it: present exactly while it is leased.
    pub owner: Option<Owner>,
    /// It is not claimed before this instant.
    pub not_before: StoreTime,
    /// Count of durable segments. Never moves back (F9).
    pub checkpoint: u32,
    /// Attempts that failed by the job's own errors.
    pub failures: u32,
    /// Attempts that ended since the worker was asked to stop. Count toward nothing (F10).
    pub interruptions: u32,
    /// Attempts that ended with the worker's lease.
    pub crashes: u32,
    /// Of those, the ones since the checkpoint last advanced: these make it dead, since whoever gets on is no poison.
    pub crashes_in_place: u32,
    /// Explicit new attempts after it was final.
    pub resets: u32,
    /// Somebody asked to cancel it while it was held.
    pub cancel_requested: bool,
    /// When it became final.
    pub finished: Option<StoreTime>,
    /// What it gave, once completed.
    pub result: Option<JobResult>,
    /// What went wrong: the first entries and the latest, [`ERRORS_KEPT`] in all.
    pub errors: Vec<ErrorEntry>,
}

impl JobRecord {
    /// Adds to the error history, and keeps it bounded: the oldest half stays, of the rest the latest.
    pub(super) fn note_error(&mut self, at: StoreTime, kind: ErrorKind, text: &str) {
        if self.errors.len() >= ERRORS_KEPT {
            self.errors.remove(ERRORS_KEPT / 2);
        }
        let text = clip(text, ERROR_TEXT_MAX_BYTES);
        self.errors.push(ErrorEntry { at, epoch: self.epoch, kind, text });
    }

    /// Whether this claim of it is the one that holds it now.
    pub fn is_held_by(&self, own: &Ownership) -> bool {
        self.status == JobStatus::Leased
            && self.epoch == own.epoch
            && self.owner.as_ref().is_some_and(|owner| owner.incarnation == own.incarnation)
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its id.
    pub id: BatchId,
    /// Where the dataset goes, as a location.
    pub out: String,
    /// Where segments are staged, as a location.
    pub staging: String,
    /// The mapping, found with [`super::Queue::config`].
    pub config: ConfigHash,
    /// Frames in a segment.
    pub segment_frames: u32,
    /// A recording is converted once for everything that is submitted under this text.
    pub seen_under: String,
    /// Nothing more comes: it is assembled when its recordings are done. A later submission opens it again.
    pub sealed: bool,
    /// It is assembled without its failed recordings.
    pub skip_failed: bool,
    /// When it was first submitted.
    pub created: StoreTime,
    /// When somebody cancelled it: it is not assembled, unless a job of it is given a new attempt.
    pub cancelled: Option<StoreTime>,
    /// When it was found to be over. From then on nothing of it is opened again, and its staging may go.
    pub closed: Option<StoreTime>,
    /// When its staging was gone.
    pub swept: Option<StoreTime>,
    /// How many recordings were submitted to it so far.
    pub jobs: u64,
    /// How often one of its final jobs was opened again.
    pub reopened: u64,
}

/// By what right a worker writes to a job: compared with the record in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// The job.
    pub job: JobId,
    /// The claim.
    pub epoch: Epoch,
    /// The worker process.
    pub incarnation: Incarnation,
}

/// What makes a write recognisable when its outcome is unknown: the same over all tries of one intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteId {
    /// The worker process.
    pub incarnation: Incarnation,
    /// Which of its machines, from 0.
    pub machine: u32,
    /// Unique within the machine.
    pub nonce: Nonce,
}

/// Writes a record.
pub(super) fn encode<T: Serialize>(key: &[u8], record: &T) -> Result<Vec<u8>, QueueError> {
    postcard::to_extend(record, vec![RECORD_VERSION]).map_err(|error| QueueError::Corrupt {
        key: printable(key),
        reason: format!("it cannot be written: {error}"),
    })
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Another program's version, older or newer: leave it to that program.
    Version(u8),
    /// Damaged.
    Damaged(String),
}

impl Unreadable {
    pub(super) fn at(&self, key: &[u8]) -> QueueError {
        QueueError::Corrupt { key: printable(key), reason: self.reason() }
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Self::Version(version) => format!(
                "it has version {version}, this program knows {RECORD_VERSION}: use the program that wrote it"
            ),
            Self::Damaged(reason) => format!("it is damaged: {reason}"),
        }
    }
}

/// Reads a record.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let (version, body) = bytes.split_first().ok_or_else(|| Unreadable::Damaged("it is empty".to_owned()))?;
    if *version != RECORD_VERSION {
        return Err(Unreadable::Version(*version));
    }
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(Unreadable::Damaged(format!("{} bytes follow its end", rest.len()))),
        Err(error) => Err(Unreadable::Damaged(error.to_string())),
    }
}

/// The text, cut at a character's boundary where it is too long.
pub(super) fn clip(text: &str, max_bytes: usize) -> String {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default().to_owned()
}

/// A hash over parts of any length, each told apart from its neighbours by its length.
fn digest(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first half of a hash, as an id.
pub(super) fn short(hash: [u8; 32]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The hash by which an output's line is found.
pub(super) fn out_hash(out: &str) -> [u8; 32] {
    digest("line", &[out.as_bytes()])
}

/// The hash by which a mapping is found.
pub fn config_hash(text: &str) -> ConfigHash {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests;
