//! The scanner's transactions: a round begun, a page enqueued, a round ended.
//!
//! It lists nothing and knows no storage. What is new of a page is enqueued by the leader alone, as much as a transaction
//! takes in one, and the last of them moves the cursor: a scan that dies anywhere goes on behind its last whole page.

use super::Queue;
use super::batch::{NewJob, check_batch, check_jobs, check_text};
use super::error::{Halt, QueueError};
use super::leader::Leadership;
use super::record::{BatchId, BatchRecord, SeriesId};
use super::series::{Answer, Mark, NewSeries, Round, RoundEnd, ScanPage, ScanRecord};
use super::settings::SUBMIT_PAGE;
use super::tx::Tx;
use std::collections::BTreeSet;

/// The most recordings in one page of a scan. Most are known on most rounds, and found out with one question.
pub const SCAN_PAGE_MAX: usize = 256;

/// Where a page ends, and whether this part of it is the last.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    to: &'a str,
    moves: bool,
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

    /// One page of the listing: enqueues what is new into the batch being filled, or the next one, and moves the cursor.
    /// `page` holds the recordings that are ready, at most [`SCAN_PAGE_MAX`]; `cursor` is the last key listed, also where
    /// that one still waits. Durable when it returns; after an error the same page may be given again.
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
        let unknown = self.transact("look at a page", |tx| self.unknown(tx, series, page)).await?;
        let mut done = ScanPage { new: 0, already: (page.len() - unknown.len()) as u64 };
        let mut parts = unknown.chunks(SUBMIT_PAGE);
        let mut part = parts.next().unwrap_or_default();
        loop {
            let next = parts.next();
            let cursor = Cursor { to: cursor, moves: next.is_none() };
            let nonce = self.dice.up_to(u64::MAX);
            let did = self
                .transact_idempotent("scan a page", |tx| {
                    self.scan_page_once(tx, lead, series, part, cursor, nonce)
                })
                .await?;
            done.new += did.new;
            done.already += did.already;
            match next {
                Some(next) => part = next,
                None => return Ok(done),
            }
        }
    }

    /// The recordings of a page that were not submitted before, found out with one question. What was seen once is seen
    /// for ever; what was not is looked at again where that counts.
    async fn unknown(&self, mut tx: Tx, series: &NewSeries, page: &[NewJob]) -> Result<Vec<NewJob>, Halt> {
        let seen = |job: &NewJob| self.keys.seen(&job.source.seen_hash(series.base(), &series.config));
        let keys: Vec<Vec<u8>> = page.iter().map(seen).collect();
        let known: BTreeSet<Vec<u8>> = tx.peek_all(&keys).await?.into_iter().map(|(key, _)| key).collect();
        let jobs = page.iter().zip(keys).filter(|(_, key)| !known.contains(key));
        Ok(jobs.map(|(job, _)| job.clone()).collect())
    }

    async fn scan_page_once(
        &self,
        mut tx: Tx,
        lead: &Leadership,
        series: &NewSeries,
        page: &[NewJob],
        cursor: Cursor<'_>,
        nonce: u64,
    ) -> Result<ScanPage, Halt> {
        tx.check_leads(lead).await?;
        let mut record = self.read_scan(&mut tx, series).await?;
        if let Some(Answer::Page(done)) = record.answered(nonce, lead.term) {
            return Ok(done);
        }
        record.round_mut(series)?.move_to(cursor.to, cursor.moves)?;
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
        let mut done = ScanPage::default();
        let mut filling: Option<BatchRecord> = None;
        for job in page {
            let hash = job.source.seen_hash(series.base(), &series.config);
            if tx.get(&self.keys.seen(&hash)).await?.is_some() {
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

async fn read_series(mut tx: Tx, key: &[u8]) -> Result<Option<ScanRecord>, Halt> {
    tx.read(key).await
}
