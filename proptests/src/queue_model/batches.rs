//! Batches from their first page to their end, who leads, and the numbered batches of a series.

use super::{Model, ModelJob};
use roboflow::fsm::id::JobId;
use roboflow::queue::{
    BatchId, BatchRecord, Incarnation, JobStatus, LeaderRecord, Leadership, NewBatch, NewSeries, ScanRecord,
};
use roboflow::store::StoreTime;

/// A batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelBatch {
    /// Recordings submitted to it.
    pub jobs: u64,
    /// Nothing more comes.
    pub sealed: bool,
    /// Assembled without what failed.
    pub skip_failed: bool,
    /// When it was first submitted.
    pub created: u64,
    /// Cancelled, closed, swept.
    pub ends: [bool; 3],
}

const CANCELLED: usize = 0;
const CLOSED: usize = 1;
const SWEPT: usize = 2;

impl ModelBatch {
    fn of(batch: &BatchRecord) -> Self {
        Self {
            jobs: batch.jobs,
            sealed: batch.sealed,
            skip_failed: batch.skip_failed,
            created: batch.created.0,
            ends: [batch.cancelled, batch.closed, batch.swept].map(|end| end.is_some()),
        }
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLeader {
    /// The term.
    pub term: u64,
    /// Who.
    pub holder: Incarnation,
    /// Until when.
    pub until: StoreTime,
    /// Stepped down.
    pub resigned: bool,
}

impl ModelLeader {
    fn of(leader: &LeaderRecord) -> Self {
        let LeaderRecord { term, holder, until, resigned, .. } = leader;
        Self { term: *term, holder: *holder, until: *until, resigned: *resigned }
    }
}

/// A series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSeries {
    /// The latest batch's number.
    pub generation: u32,
    /// The batch being filled.
    pub open: Option<BatchId>,
    /// The round's term, and what it brought.
    pub round: Option<(u64, u64)>,
    /// Complete rounds, and what all brought.
    pub totals: [u64; 2],
}

impl ModelSeries {
    fn of(scan: &ScanRecord) -> Self {
        Self {
            generation: scan.generation,
            open: scan.open,
            round: scan.round.as_ref().map(|round| (round.term, round.new)),
            totals: [scan.rounds, scan.enqueued],
        }
    }
}

impl Model {
    /// A page of a submission, the last one or not. False: it is refused.
    pub fn submit(&mut self, into: &NewBatch, new: &[JobId], last: bool, now: StoreTime) -> bool {
        let is_cancelled = self.batches.get(&into.id).is_some_and(|batch| batch.ends[CANCELLED]);
        if !new.is_empty() && (is_cancelled || self.assembly_stands(into.id)) {
            return false;
        }
        let batch = self.batches.entry(into.id).or_insert_with(|| ModelBatch {
            skip_failed: into.skip_failed,
            created: now.0,
            ..ModelBatch::default()
        });
        batch.jobs += new.len() as u64;
        batch.sealed = last || (batch.sealed && new.is_empty());
        self.jobs.extend(new.iter().map(|id| (*id, ModelJob::ready(into.id, false, now))));
        true
    }

    pub(super) fn assembly_stands(&self, batch: BatchId) -> bool {
        let stands = [JobStatus::Ready, JobStatus::Leased, JobStatus::Completed];
        self.jobs.get(&batch.assemble_job()).is_some_and(|job| stands.contains(&job.status))
    }

    fn recordings(&self, batch: BatchId) -> impl Iterator<Item = &ModelJob> {
        self.jobs.values().filter(move |job| job.batch == batch && !job.assembly)
    }

    fn recordings_open(&self, batch: BatchId) -> bool {
        self.recordings(batch).any(|job| !job.status.is_final())
    }

    /// Whether a job that was given up may have a new attempt; the batch is alive again then.
    pub(super) fn may_reopen(&mut self, job: &ModelJob) -> bool {
        let blocked = if job.assembly {
            self.recordings_open(job.batch) || self.batches.get(&job.batch).is_none_or(|batch| !batch.sealed)
        } else {
            self.assembly_stands(job.batch)
        };
        let Some(batch) = self.batches.get_mut(&job.batch).filter(|batch| !blocked && !batch.ends[CLOSED])
        else {
            return false;
        };
        batch.ends[CANCELLED] = false;
        true
    }

    /// The Assemble job comes to be, if its time has come.
    pub fn assemble(&mut self, id: BatchId, now: StoreTime) {
        let Some(batch) = self.batches.get(&id) else {
            return;
        };
        let count =
            |wanted: fn(JobStatus) -> bool| self.recordings(id).filter(|job| wanted(job.status)).count();
        let open = count(|status| !status.is_final());
        let failed = count(|status| matches!(status, JobStatus::Dead | JobStatus::Cancelled));
        let completed = count(|status| status == JobStatus::Completed);
        let is_due = batch.sealed
            && !batch.ends[CANCELLED]
            && open == 0
            && completed > 0
            && (failed == 0 || batch.skip_failed);
        let assembly = id.assemble_job();
        if is_due && !self.jobs.contains_key(&assembly) {
            self.jobs.insert(assembly, ModelJob::ready(id, true, now));
        }
    }

    /// Nothing more comes to a batch.
    pub fn seal(&mut self, id: BatchId) {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.sealed = true;
        }
    }

    fn is_assembled(&self, id: BatchId) -> bool {
        self.jobs.get(&id.assemble_job()).is_some_and(|job| job.status == JobStatus::Completed)
    }

    /// A batch is cancelled. False: it is refused.
    pub fn cancel_batch(&mut self, id: BatchId) -> bool {
        if self.is_assembled(id) {
            return false;
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.ends[CANCELLED] = true;
            batch.sealed = true;
        }
        let jobs: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.batch == id).map(|(id, _)| *id).collect();
        jobs.into_iter().for_each(|job| self.cancel(job));
        true
    }

    /// A batch is closed, if it is over; says whether it is.
    pub fn close(&mut self, id: BatchId) -> bool {
        let is_open = self.jobs.values().any(|job| job.batch == id && !job.status.is_final());
        let is_assembled = self.is_assembled(id);
        let Some(batch) = self.batches.get_mut(&id) else {
            return false;
        };
        batch.ends[CLOSED] |= is_assembled || (batch.ends[CANCELLED] && !is_open);
        batch.ends[CLOSED]
    }

    /// The staging of a batch is gone. False: it is refused.
    pub fn sweep(&mut self, id: BatchId) -> bool {
        let batch = self.batches.get_mut(&id).filter(|batch| batch.ends[CLOSED]);
        batch.map(|batch| batch.ends[SWEPT] = true).is_some()
    }

    /// Old receipts go.
    pub fn expire_receipts(&mut self, older_than_ms: u64, now: StoreTime) {
        self.receipts.retain(|_, (ended, _)| ended.0 + older_than_ms >= now.0);
    }

    /// A campaign; says under which term it leads, if it does.
    pub fn campaign(&mut self, holder: Incarnation, lease_ms: u64, now: StoreTime) -> Option<u64> {
        let until = StoreTime(now.0 + lease_ms);
        let term = match &self.leader {
            None => 1,
            Some(leader) if leader.resigned || leader.until < now => leader.term + 1,
            Some(leader) if leader.holder == holder => leader.term,
            Some(_) => return None,
        };
        self.leader = Some(ModelLeader { term, holder, until, resigned: false });
        Some(term)
    }

    /// Stepping down. False: there is nothing to step down from.
    pub fn resign(&mut self, lead: &Leadership) -> bool {
        let leader = self.leader.as_mut().filter(|leader| leader.term == lead.term);
        leader.map(|leader| leader.resigned = true).is_some()
    }

    /// Whether this one leads now.
    pub fn leads(&self, lead: &Leadership, now: StoreTime) -> bool {
        self.leader.as_ref().is_some_and(|leader| {
            leader.term == lead.term
                && leader.holder == lead.holder
                && !leader.resigned
                && leader.until >= now
        })
    }

    /// A round begins, or goes on.
    pub fn scan_begin(&mut self, term: u64) {
        self.series.get_or_insert_default().round.get_or_insert((term, 0));
    }

    /// A page with these recordings, of which some are known.
    pub fn scan_page(&mut self, series: &NewSeries, page: &[JobId], now: StoreTime) {
        let mut filled = self.series.take().unwrap_or_default();
        for id in page {
            if self.jobs.contains_key(id) {
                continue;
            }
            let open = filled.open.and_then(|open| self.batches.get_mut(&open));
            let has_room = open.is_some_and(|open| {
                open.sealed |= open.jobs >= series.batch_recordings_max;
                !open.sealed
            });
            if !has_room {
                filled.generation += 1;
                filled.open = Some(series.batch(filled.generation).id);
            }
            let into = series.batch(filled.generation);
            let took = self.submit(&into, &[*id], false, now);
            assert!(took, "the batch being filled takes recordings");
            filled.round = filled.round.map(|(term, new)| (term, new + 1));
            let [_, enqueued] = &mut filled.totals;
            *enqueued += 1;
        }
        self.series = Some(filled);
    }

    /// A round ends; says which batch is complete with it.
    pub fn round_done(
        &mut self,
        series: &NewSeries,
        waiting: u64,
        term: u64,
        now: StoreTime,
    ) -> Option<BatchId> {
        let filled = self.series.as_mut()?;
        let (began, new) = filled.round.take()?;
        let [rounds, _] = &mut filled.totals;
        *rounds += 1;
        let open = filled.open?;
        let batch = self.batches.get_mut(&open)?;
        let is_old = batch.created + series.batch_age_max_ms <= now.0;
        if !(is_old || (new == 0 && waiting == 0 && began == term)) {
            return None;
        }
        filled.open = None;
        let was_sealed = std::mem::replace(&mut batch.sealed, true);
        (!was_sealed).then_some(open)
    }

    /// Compares batches, leader and series with what the queue shows.
    ///
    /// # Panics
    /// When they differ.
    pub fn compare_batches(
        &self,
        batches: &[BatchRecord],
        active: &[BatchId],
        leader: Option<&LeaderRecord>,
        series: Option<&ScanRecord>,
    ) {
        let shown: Vec<_> = batches.iter().map(|batch| (batch.id, ModelBatch::of(batch))).collect();
        let known: Vec<_> = self.batches.iter().map(|(id, batch)| (*id, batch.clone())).collect();
        assert_eq!(shown, known, "the batches");
        let unswept: Vec<_> =
            known.iter().filter(|(_, batch)| !batch.ends[SWEPT]).map(|(id, _)| *id).collect();
        assert_eq!(active, unswept, "the batches that something is still to be done about");
        assert_eq!(leader.map(ModelLeader::of), self.leader, "the leader");
        assert_eq!(series.map(ModelSeries::of), self.series, "the series");
    }
}
