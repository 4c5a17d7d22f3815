//! How far the scanner is with a series: which numbered batch it fills, and where in the listing it stands.
//!
//! It lists nothing and knows no storage. Each page of a listing is one transaction: what is new is enqueued and the
//! cursor moved, by the leader alone, so that a scan that dies anywhere goes on behind its last page.

use super::Queue;
use super::batch::{NewBatch, NewJob, check_batch, check_jobs, check_text};
use super::error::{Halt, QueueError};
use super::leader::Leadership;
use super::record::{BatchId, BatchRecord, ConfigHash, SeriesId};
use super::tx::Tx;
use crate::recipe::{OWN_FOLDER, STAGING_FOLDER};
use crate::store::StoreTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most recordings in one page of a scan: its transaction writes several keys for each.
pub const SCAN_PAGE_MAX: usize = 256;

/// What a scanner looks for, and where it puts it. A series is known by its output alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeries {
    /// Where recordings are looked for, as a location.
    pub input: String,
    /// Below it the batches are numbered: `OUT/batch-0001` and so on.
    pub out: String,
    /// Which keys are recordings, as text.
    pub pattern: String,
    /// The mapping, stored before with [`Queue::put_config`]. With another one a new batch begins.
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

    fn base(&self) -> &str {
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
    mark: Option<Mark>,
}

/// A write, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Mark {
    nonce: u64,
    term: u64,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Answer {
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

impl Queue {
    /// Begins a round, or goes on with the one under way: its cursor says behind which key. Under another mapping,
    /// segment length or way with failed recordings the batch being filled is sealed and the listing starts over; under
    /// another input or pattern only the latter. Durable when it returns.
    ///
    /// [`QueueError::Lost`]: we lead no more; as of every other write of a leader.
    pub async fn scan_begin(&self, lead: &Leadership, series: &NewSeries) -> Result<ScanRecord, QueueError> {
        check_batch(&series.batch(u32::MAX))?;
        check_text("input", &series.input)?;
        check_text("pattern", &series.pattern)?;
        self.transact_idempotent("begin a scan", |tx| self.scan_begin_once(tx, lead, series)).await
    }

    async fn scan_begin_once(
        &self,
        mut tx: Tx,
        lead: &Leadership,
        series: &NewSeries,
    ) -> Result<ScanRecord, Halt> {
        tx.check_leads(lead).await?;
        let key = self.keys.scan(series.id());
        let before = tx.read::<ScanRecord>(&key).await?;
        let mut record = before.clone().unwrap_or_else(|| ScanRecord::new(series));
        if record.config != series.config || before.is_none() {
            self.check_config_stored(&mut tx, &series.config).await?;
        }
        if !record.fills_like(series) {
            self.seal_open(&mut tx, &mut record).await?;
            record.round = None;
        }
        if record.input != series.input || record.pattern != series.pattern {
            record.round = None;
        }
        record = ScanRecord {
            input: series.input.clone(),
            pattern: series.pattern.clone(),
            config: series.config,
            segment_frames: series.segment_frames,
            skip_failed: series.skip_failed,
            ..record
        };
        record.round.get_or_insert(Round { began: tx.now, term: lead.term, cursor: None, new: 0 });
        if before.as_ref() != Some(&record) {
            tx.write(key, &record)?;
            tx.commit().await?;
        }
        Ok(record)
    }

    /// One page of the listing, in one transaction: enqueues what is new into the batch being filled, or the next one,
    /// and moves the cursor. `page` holds the recordings that are ready, at most [`SCAN_PAGE_MAX`]; `cursor` is the last
    /// key listed, also where that one still waits. Durable when it returns; after an error the same page may be given
    /// again.
    ///
    /// [`QueueError::Refused`]: no round of this series is under way, or it stands behind the cursor.
    pub async fn scan_page(
        &self,
        lead: &Leadership,
        series: &NewSeries,
        page: &[NewJob],
        cursor: &str,
    ) -> Result<ScanPage, QueueError> {
        if page.len() > SCAN_PAGE_MAX {
            let reason =
                format!("a page of a scan has at most {SCAN_PAGE_MAX} recordings, not {}", page.len());
            return Err(QueueError::refused(reason));
        }
        check_jobs(page)?;
        check_text("cursor", cursor)?;
        let nonce = self.dice.up_to(u64::MAX);
        self.transact_idempotent("scan a page", |tx| {
            self.scan_page_once(tx, lead, series, page, cursor, nonce)
        })
        .await
    }

    async fn scan_page_once(
        &self,
        mut tx: Tx,
        lead: &Leadership,
        series: &NewSeries,
        page: &[NewJob],
        cursor: &str,
        nonce: u64,
    ) -> Result<ScanPage, Halt> {
        tx.check_leads(lead).await?;
        let mut record = self.read_scan(&mut tx, series).await?;
        if let Some(Answer::Page(done)) = record.answered(nonce, lead.term) {
            return Ok(done);
        }
        record.round_mut(series)?.move_to(cursor)?;
        let done = self.enqueue_page(&mut tx, &mut record, series, page, nonce).await?;
        record.round_mut(series)?.new += done.new;
        record.enqueued += done.new;
        record.mark = Some(Mark { nonce, term: lead.term, answer: Answer::Page(done) });
        tx.write(self.keys.scan(series.id()), &record)?;
        tx.commit().await?;
        Ok(done)
    }

    async fn enqueue_page(
        &self,
        tx: &mut Tx,
        record: &mut ScanRecord,
        series: &NewSeries,
        page: &[NewJob],
        nonce: u64,
    ) -> Result<ScanPage, Halt> {
        let known = self.known(tx, series, page).await?;
        let mut done = ScanPage::default();
        let mut filling: Option<BatchRecord> = None;
        for job in page {
            let hash = job.source.seen_hash(series.base(), &series.config);
            let seen = self.keys.seen(&hash);
            // What is seen once is seen for ever; that something was not seen must be part of the conflict check.
            if known.contains(&seen) || tx.get(&seen).await?.is_some() {
                done.already += 1;
                continue;
            }
            let mut batch = match filling.take() {
                Some(batch) if batch.jobs < series.batch_recordings_max => batch,
                full => self.next_to_fill(tx, record, series, full).await?,
            };
            self.enqueue_recording(tx, &mut batch, job, hash, nonce)?;
            filling = Some(batch);
            done.new += 1;
        }
        if let Some(batch) = filling {
            tx.put_batch(&batch)?;
        }
        Ok(done)
    }

    /// Which recordings of a page were submitted before, read in one journey.
    async fn known(
        &self,
        tx: &mut Tx,
        series: &NewSeries,
        page: &[NewJob],
    ) -> Result<BTreeSet<Vec<u8>>, Halt> {
        let seen = |job: &NewJob| self.keys.seen(&job.source.seen_hash(series.base(), &series.config));
        let keys: Vec<Vec<u8>> = page.iter().map(seen).collect();
        Ok(tx.peek_all(&keys).await?.into_iter().map(|(key, _)| key).collect())
    }

    /// The batch to fill: the open one, or the next number when there is none, or when it is full or was sealed.
    async fn next_to_fill(
        &self,
        tx: &mut Tx,
        record: &mut ScanRecord,
        series: &NewSeries,
        full: Option<BatchRecord>,
    ) -> Result<BatchRecord, Halt> {
        if let Some(full) = full {
            tx.put_batch(&BatchRecord { sealed: true, ..full })?;
            record.open = None;
        }
        if let Some(open) = record.open {
            let batch = tx.batch(open).await?;
            if !batch.sealed && batch.jobs < series.batch_recordings_max {
                return Ok(batch);
            }
            if !batch.sealed {
                tx.put_batch(&BatchRecord { sealed: true, ..batch })?;
            }
        }
        loop {
            record.generation += 1;
            let new = series.batch(record.generation);
            // One that is there already was filled by somebody else: its number is passed over.
            if tx.get(&self.keys.batch(new.id)).await?.is_none() {
                let batch = self.same_or_new(tx, &new, None).await?;
                self.put_new_batch(tx, true, &batch)?;
                record.open = Some(batch.id);
                return Ok(batch);
            }
        }
    }

    /// Ends a round: the listing is complete, and `waiting` recordings of it were not ready. The batch being filled is
    /// sealed, in the same transaction, when the round brought nothing new, nothing waits, and we listed all of it, or
    /// when it is old enough. Durable when it returns.
    pub async fn scan_round_done(
        &self,
        lead: &Leadership,
        series: &NewSeries,
        waiting: u64,
    ) -> Result<RoundEnd, QueueError> {
        let nonce = self.dice.up_to(u64::MAX);
        self.transact_idempotent("end a scan", |tx| self.round_done_once(tx, lead, series, waiting, nonce))
            .await
    }

    async fn round_done_once(
        &self,
        mut tx: Tx,
        lead: &Leadership,
        series: &NewSeries,
        waiting: u64,
        nonce: u64,
    ) -> Result<RoundEnd, Halt> {
        tx.check_leads(lead).await?;
        let mut record = self.read_scan(&mut tx, series).await?;
        if let Some(Answer::Round(done)) = record.answered(nonce, lead.term) {
            return Ok(done);
        }
        let round = record.round_mut(series)?.clone();
        let is_quiet = round.new == 0 && waiting == 0 && round.term == lead.term;
        let is_old = match record.open {
            Some(open) => {
                let created = tx.batch(open).await?.created;
                created.0.saturating_add(series.batch_age_max_ms) <= tx.now.0
            }
            None => false,
        };
        let sealed = if is_quiet || is_old { self.seal_open(&mut tx, &mut record).await? } else { None };
        let done = RoundEnd { new: round.new, sealed };
        record.round = None;
        record.ended = Some(tx.now);
        record.rounds += 1;
        record.mark = Some(Mark { nonce, term: lead.term, answer: Answer::Round(done) });
        tx.write(self.keys.scan(series.id()), &record)?;
        tx.commit().await?;
        Ok(done)
    }

    /// Seals the batch being filled; says which one it was.
    async fn seal_open(&self, tx: &mut Tx, record: &mut ScanRecord) -> Result<Option<BatchId>, Halt> {
        let Some(open) = record.open.take() else {
            return Ok(None);
        };
        let batch = tx.batch(open).await?;
        if batch.sealed {
            return Ok(None);
        }
        tx.put_batch(&BatchRecord { sealed: true, ..batch })?;
        Ok(Some(open))
    }

    async fn read_scan(&self, tx: &mut Tx, series: &NewSeries) -> Result<ScanRecord, Halt> {
        let record = tx.read::<ScanRecord>(&self.keys.scan(series.id())).await?;
        Ok(record.ok_or_else(|| QueueError::not_found(format!("scan of {}", series.out)))?)
    }

    /// How far the scanner is with a series. `None`: it was never scanned.
    pub async fn series(&self, series: SeriesId) -> Result<Option<ScanRecord>, QueueError> {
        let key = self.keys.scan(series);
        self.transact("series", |tx| read_series(tx, &key)).await
    }

    /// The series behind `after`, by id, at most `limit`. Those whose record cannot be read are left out.
    pub async fn all_series(
        &self,
        after: Option<SeriesId>,
        limit: usize,
    ) -> Result<Vec<ScanRecord>, QueueError> {
        self.page(self.keys.scans_after(after), limit).await
    }
}

impl ScanRecord {
    fn new(series: &NewSeries) -> Self {
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
    fn fills_like(&self, series: &NewSeries) -> bool {
        self.config == series.config
            && self.segment_frames == series.segment_frames
            && self.skip_failed == series.skip_failed
    }

    /// What this very write answered before.
    fn answered(&self, nonce: u64, term: u64) -> Option<Answer> {
        let mark = self.mark.as_ref().filter(|mark| mark.nonce == nonce && mark.term == term);
        mark.map(|mark| mark.answer.clone())
    }

    fn round_mut(&mut self, series: &NewSeries) -> Result<&mut Round, Halt> {
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
    /// Moves the cursor forward.
    fn move_to(&mut self, cursor: &str) -> Result<(), Halt> {
        if let Some(before) = self.cursor.as_deref().filter(|before| *before > cursor) {
            let reason = format!("the scan stands at {before:?} and does not go back to {cursor:?}");
            return Err(QueueError::refused(reason).into());
        }
        self.cursor = Some(cursor.to_owned());
        Ok(())
    }
}

async fn read_series(mut tx: Tx, key: &[u8]) -> Result<Option<ScanRecord>, Halt> {
    tx.read(key).await
}
