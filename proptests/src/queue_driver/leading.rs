//! The steps of batches, of two scanners that lead in turn, and of what one of them writes that leads no more.

use super::State;
use crate::queue_bench::{MAPPING, ROLE, Worker, batch, recording, series};
use crate::queue_step::{Chance, Deed, LeaderDeed, persist};
use roboflow::fsm::id::JobId;
use roboflow::queue::{
    BatchId, Campaign, ConfigHash, JobFilter, Leadership, NewJob, NewSeries, Queue, QueueError,
    RECEIPT_AGE_MIN_MS,
};

/// How long a scanner leads without renewing.
const LEASE_MS: u64 = 7_000;
/// Scanners are numbered from here, workers from 1.
const FIRST_SCANNER: u32 = 1_000_000;

/// A series whose batches are soon full, and soon old.
fn small_series() -> NewSeries {
    NewSeries { batch_recordings_max: 4, batch_age_max_ms: 1_000_000, ..series() }
}

fn ids(jobs: &[NewJob], seen_under: &str, config: &ConfigHash) -> Vec<JobId> {
    let hash = |job: &NewJob| job.source.seen_hash(seen_under, config);
    jobs.iter().map(|job| JobId(hash(job).first_chunk().copied().expect("16 bytes"))).collect()
}

impl State {
    pub(super) async fn submit(&mut self, count: u8, last: bool, chance: Chance) {
        let first = self.submitted.saturating_sub(1);
        let jobs: Vec<_> = (first..self.submitted + u32::from(count)).map(recording).collect();
        let into = batch(0);
        let ids = ids(&jobs, &into.seen_under, &into.config);
        let new: Vec<_> = ids.into_iter().filter(|id| !self.model.jobs.contains_key(id)).collect();
        let queue = self.queue(chance);
        persist(async || queue.put_config(MAPPING).await).await.expect("config");
        let result = if last {
            persist(async || queue.submit(&into, &jobs).await).await
        } else {
            persist(async || queue.submit_part(&into, &jobs).await).await
        };
        if self.model.submit(&into, &new, last, self.now()) {
            let submitted = result.expect("submitted");
            assert_eq!(submitted.new + submitted.already, jobs.len() as u64);
            self.submitted += u32::from(count);
        } else {
            assert!(matches!(result, Err(QueueError::Refused { .. })), "{result:?}");
        }
    }

    /// Nothing that can be claimed is left, as far as the lease lasts.
    pub(super) async fn work_off(&mut self, slot: usize, machine: usize, chance: Chance) {
        for _ in 0..=self.model.jobs.len() {
            self.act(slot, machine, Deed::Complete, chance).await;
            self.claim(slot, machine, chance).await;
        }
        self.act(slot, machine, Deed::Complete, chance).await;
    }

    fn nth_batch(&self, batch: usize) -> Option<BatchId> {
        let count = self.model.batches.len().max(1);
        self.model.batches.keys().nth(batch % count).copied()
    }

    pub(super) async fn assemble(&mut self, batch: usize, chance: Chance) {
        if let Some(id) = self.nth_batch(batch) {
            let queue = self.queue(chance);
            persist(async || queue.submit_assembly(id).await).await.expect("asked for the assembly");
            self.model.assemble(id, self.now());
        }
    }

    pub(super) async fn seal(&mut self, batch: usize, chance: Chance) {
        if let Some(id) = self.nth_batch(batch) {
            let queue = self.queue(chance);
            persist(async || queue.seal_batch(id).await).await.expect("sealed");
            self.model.seal(id);
        }
    }

    pub(super) async fn cancel_batch(&mut self, batch: usize, chance: Chance) {
        if let Some(id) = self.nth_batch(batch) {
            let queue = self.queue(chance);
            let result = persist(async || queue.cancel_batch(id).await).await;
            let allowed = self.model.cancel_batch(id);
            assert_eq!(result.is_ok(), allowed, "{result:?}");
        }
    }

    pub(super) async fn campaign(&mut self, who: usize, chance: Chance) {
        let holder = Worker::number(FIRST_SCANNER + who as u32).incarnation;
        let queue = self.queue(chance);
        let result = persist(async || queue.campaign(ROLE, holder, "a scanner", LEASE_MS).await).await;
        let expected = self.model.campaign(holder, LEASE_MS, self.now());
        let given = match result.expect("an answer") {
            Campaign::Leads(lead) => Some(lead),
            Campaign::Follows { .. } => None,
        };
        assert_eq!(given.as_ref().map(|lead| lead.term), expected, "{given:?}");
        if let Some(given) = given {
            self.leads.insert(who, given);
        }
    }

    pub(super) async fn resign(&mut self, who: usize, chance: Chance) {
        if let Some(lead) = self.leads.get(&who).cloned() {
            let queue = self.queue(chance);
            let result = persist(async || queue.resign(&lead).await).await;
            let allowed = self.model.resign(&lead);
            self.expect(allowed, result);
        }
    }

    /// A scanner that leads, led once, or believes to.
    pub(super) async fn lead(&mut self, who: usize, deed: LeaderDeed, chance: Chance) {
        let Some(lead) = self.leads.get(&who).cloned() else {
            return;
        };
        match deed {
            LeaderDeed::Begin => self.begin_round(&lead, chance).await,
            LeaderDeed::Page { count } => self.page(&lead, count, chance).await,
            LeaderDeed::Done { waiting } => self.end_round(&lead, u64::from(waiting), chance).await,
            LeaderDeed::Round { count, waiting } => {
                self.begin_round(&lead, chance).await;
                self.page(&lead, count, chance).await;
                self.end_round(&lead, u64::from(waiting), chance).await;
            }
            LeaderDeed::Close { batch } => {
                if let Some(id) = self.nth_batch(batch) {
                    let queue = self.queue(chance);
                    let result = persist(async || queue.close_batch(&lead, id).await).await;
                    let leads = self.model.leads(&lead, self.now());
                    let closed = leads && self.model.close(id);
                    self.expect(leads, result.map(|shown| assert_eq!(shown, closed)));
                }
            }
            LeaderDeed::Swept { batch } => {
                if let Some(id) = self.nth_batch(batch) {
                    let queue = self.queue(chance);
                    let result = persist(async || queue.batch_swept(&lead, id).await).await;
                    if self.model.leads(&lead, self.now()) && !self.model.sweep(id) {
                        assert!(matches!(result, Err(QueueError::Refused { .. })), "{result:?}");
                    } else {
                        self.expect(self.model.leads(&lead, self.now()), result);
                    }
                }
            }
            LeaderDeed::Expire => {
                let queue = self.queue(chance);
                let age_ms = RECEIPT_AGE_MIN_MS;
                let result = persist(async || queue.expire_receipts(&lead, age_ms, 1_000).await).await;
                let leads = self.model.leads(&lead, self.now());
                self.expect(leads, result.map(drop));
                if leads {
                    self.model.expire_receipts(age_ms, self.now());
                }
            }
        }
    }

    async fn begin_round(&mut self, lead: &Leadership, chance: Chance) {
        let (queue, series) = (self.queue(chance), small_series());
        persist(async || queue.put_config(MAPPING).await).await.expect("config");
        let result = persist(async || queue.scan_begin(lead, &series).await).await;
        let leads = self.model.leads(lead, self.now());
        self.expect(leads, result.map(drop));
        if leads {
            self.model.scan_begin(lead.term);
        }
    }

    fn has_round(&self) -> bool {
        self.model.series.as_ref().is_some_and(|series| series.round.is_some())
    }

    async fn page(&mut self, lead: &Leadership, count: u8, chance: Chance) {
        let series = small_series();
        let first = self.scanned.saturating_sub(1);
        let jobs: Vec<_> = (first..self.scanned + u32::from(count)).map(recording).collect();
        let ids = ids(&jobs, series.out.as_str(), &series.config);
        // Behind every cursor of before, also of the rounds of before.
        let cursor = format!("{:09}", self.scanned + u32::from(count));
        let queue = self.queue(chance);
        let result = persist(async || queue.scan_page(lead, &series, &jobs, &cursor).await).await;
        if !self.model.leads(lead, self.now()) {
            return self.expect(false, result.map(drop));
        }
        if !self.has_round() {
            let is_refused = matches!(result, Err(QueueError::Refused { .. } | QueueError::NotFound { .. }));
            return assert!(is_refused, "{result:?}");
        }
        let done = result.expect("a page");
        assert_eq!(done.new + done.already, jobs.len() as u64);
        self.model.scan_page(&series, &ids, self.now());
        self.scanned += u32::from(count);
    }

    /// Who does not learn that the round has ended finds, when it asks again, that there is none.
    async fn end_round(&mut self, lead: &Leadership, waiting: u64, chance: Chance) {
        let (queue, series) = (self.queue(chance), small_series());
        let mut tries = 0;
        let result = loop {
            tries += 1;
            match queue.scan_round_done(lead, &series, waiting).await {
                Err(QueueError::Unknown { .. } | QueueError::Unavailable { .. }) => {}
                known => break known,
            }
        };
        if !self.model.leads(lead, self.now()) {
            return self.expect(false, result.map(drop));
        }
        let had_round = self.has_round();
        let sealed = self.model.round_done(&series, waiting, lead.term, self.now());
        match result {
            Ok(end) => assert_eq!((had_round, end.sealed), (true, sealed)),
            Err(QueueError::Refused { .. } | QueueError::NotFound { .. }) => {
                assert!(tries > 1 || !had_round, "a round was under way");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Batches, leader and series against the model, and the jobs of each batch by its own index.
    pub(super) async fn check_batches(&self, queue: &Queue) {
        let batches = queue.batches(None, 1_000).await.expect("batches");
        let active = queue.active_batches(None, 1_000).await.expect("active batches");
        let leader = queue.leader(ROLE).await.expect("the leader");
        let series = queue.series(series().id()).await.expect("the series");
        self.model.compare_batches(&batches, &active, leader.as_ref(), series.as_ref());
        for batch in batches {
            let filter = JobFilter { batch: Some(batch.id), status: None };
            let page = queue.list(&filter, None, usize::MAX).await.expect("list");
            let members = self.model.jobs.values().filter(|job| job.batch == batch.id).count();
            assert_eq!(page.jobs.len(), members, "the jobs of batch {}", batch.id);
            let counts = queue.counts(Some(batch.id)).await.expect("counts");
            assert_eq!(counts.submitted(), members as u64);
        }
    }
}
