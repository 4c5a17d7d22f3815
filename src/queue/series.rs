//! The record of a series: what a scanner looks for, which numbered batch it fills, and where in the listing it stands.
//!
//! Data only; its transactions are in `scan`.

use super::batch::NewBatch;
use super::error::{Halt, QueueError};
use super::record::{BatchId, ConfigHash, SeriesId};
use crate::recipe::{OWN_FOLDER, STAGING_FOLDER};
use crate::store::StoreTime;
use serde::{Deserialize, Serialize};

/// What a scanner looks for, and where it puts it. A series is known by its output alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeries {
    /// Where recordings are looked for, as a location.
    pub input: String,
    /// Below it the batches are numbered: `OUT/batch-0001` and so on.
    pub out: String,
    /// Which keys are recordings, as text.
    pub pattern: String,
    /// The mapping, stored before with [`super::Queue::put_config`]. With another one a new batch begins.
    pub config: ConfigHash,
    /// Frames in a segment. With another number a new batch begins.
    pub segment_frames: u32,
    /// Whether batches are assembled without their failed recordings. When that changes a new batch begins.
    pub skip_failed: bool,
    /// A batch with so many recordings is sealed, and the next one begins.
    pub batch_recordings_max: u64,
    /// At the end of a round a batch of this age is sealed, even if recordings still come.
    pub batch_age_max_ms: u64,
}

impl NewSeries {
    /// Its id.
    pub fn id(&self) -> SeriesId {
        SeriesId::derive(self.base())
    }

    pub(super) fn base(&self) -> &str {
        self.out.trim_end_matches('/')
    }

    /// Its batch of this number, from 1.
    pub fn batch(&self, generation: u32) -> NewBatch {
        let base = self.base();
        let out = format!("{base}/batch-{generation:04}");
        NewBatch {
            id: BatchId::derive(&out, &self.config),
            staging: format!("{out}/{OWN_FOLDER}/{STAGING_FOLDER}"),
            out,
            config: self.config,
            segment_frames: self.segment_frames,
            seen_under: base.to_owned(),
            skip_failed: self.skip_failed,
        }
    }
}

/// One listing of the input, from its first key to its last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Round {
    /// When it began.
    pub began: StoreTime,
    /// The leader's term then. Only who has listed all of it knows whether anything waits to settle.
    pub term: u64,
    /// The last key that was listed.
    pub cursor: Option<String>,
    /// Recordings that it enqueued so far.
    pub new: u64,
}

/// How far the scanner is with a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScanRecord {
    /// Where recordings are looked for.
    pub input: String,
    /// Below it the batches are numbered.
    pub out: String,
    /// Which keys are recordings.
    pub pattern: String,
    /// The mapping.
    pub config: ConfigHash,
    /// Frames in a segment.
    pub segment_frames: u32,
    /// Whether batches are assembled without their failed recordings.
    pub skip_failed: bool,
    /// The number of the latest batch; 0 before the first.
    pub generation: u32,
    /// The batch that is being filled.
    pub open: Option<BatchId>,
    /// The round under way.
    pub round: Option<Round>,
    /// When the last complete round ended.
    pub ended: Option<StoreTime>,
    /// Complete rounds.
    pub rounds: u64,
    /// Recordings enqueued in all rounds.
    pub enqueued: u64,
    /// The last write, by which a repeated one is recognised.
    pub(super) mark: Option<Mark>,
}

/// A write, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) nonce: u64,
    pub(super) term: u64,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Answer {
    Page(ScanPage),
    Round(RoundEnd),
}

/// What one page of a scan did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScanPage {
    /// Recordings enqueued.
    pub new: u64,
    /// Recordings that had been submitted before.
    pub already: u64,
}

/// What the end of a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RoundEnd {
    /// Recordings that the round enqueued.
    pub new: u64,
    /// The batch that is complete with it.
    pub sealed: Option<BatchId>,
}

impl ScanRecord {
    pub(super) fn new(series: &NewSeries) -> Self {
        Self {
            input: series.input.clone(),
            out: series.base().to_owned(),
            pattern: series.pattern.clone(),
            config: series.config,
            segment_frames: series.segment_frames,
            skip_failed: series.skip_failed,
            generation: 0,
            open: None,
            round: None,
            ended: None,
            rounds: 0,
            enqueued: 0,
            mark: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> SeriesId {
        SeriesId::derive(&self.out)
    }

    /// Whether the batch being filled is the one that this series would fill.
    pub(super) fn fills_like(&self, series: &NewSeries) -> bool {
        self.config == series.config
            && self.segment_frames == series.segment_frames
            && self.skip_failed == series.skip_failed
    }

    /// What this very write answered before.
    pub(super) fn answered(&self, nonce: u64, term: u64) -> Option<Answer> {
        let mark = self.mark.as_ref().filter(|mark| mark.nonce == nonce && mark.term == term);
        mark.map(|mark| mark.answer.clone())
    }

    pub(super) fn round_mut(&mut self, series: &NewSeries) -> Result<&mut Round, Halt> {
        let out = &series.out;
        if !self.fills_like(series) || self.input != series.input || self.pattern != series.pattern {
            let reason = format!("the series {out} is scanned with other settings: begin a round with these");
            return Err(QueueError::refused(reason).into());
        }
        let none = || QueueError::refused(format!("no round of the series {out} is under way: begin one"));
        Ok(self.round.as_mut().ok_or_else(none)?)
    }
}

impl Round {
    /// Refuses a cursor that goes back, and moves to it if this is the last part of its page.
    pub(super) fn move_to(&mut self, cursor: &str, last: bool) -> Result<(), Halt> {
        if let Some(before) = self.cursor.as_deref().filter(|before| *before > cursor) {
            let reason = format!("the scan stands at {before:?} and does not go back to {cursor:?}");
            return Err(QueueError::refused(reason).into());
        }
        if last {
            self.cursor = Some(cursor.to_owned());
        }
        Ok(())
    }
}
