//! The queue as a plain table: what each operation must have made of it, and whether it has.
//!
//! It knows nothing of keys, transactions or indexes. Batches, leaders and series are in its submodule.

mod batches;

pub use batches::{ModelBatch, ModelLeader, ModelSeries};

use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::{Epoch, JobId};
use roboflow::queue::{
    BatchId, Claim, Incarnation, JobKind, JobRecord, JobStatus, Ownership, QueueSettings, Receipt, Tally,
    WorkerRecord,
};
use roboflow::store::StoreTime;
use std::collections::BTreeMap;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelJob {
    /// Its batch.
    pub batch: BatchId,
    /// Whether it is the batch's Assemble job.
    pub assembly: bool,
    /// Where it is.
    pub status: JobStatus,
    /// Its latest claim.
    pub epoch: Epoch,
    /// Who holds it.
    pub owner: Option<Incarnation>,
    /// Durable segments.
    pub checkpoint: u32,
    /// Failures, interruptions, crashes, resets, crashes at this checkpoint.
    pub counts: [u32; 5],
    /// Its cancellation was asked for while it was held.
    pub cancel: bool,
    /// Not claimed before. After a failure it is taken over from the record, within its bounds.
    pub not_before: StoreTime,
}

const FAILURES: usize = 0;
const INTERRUPTIONS: usize = 1;
const CRASHES: usize = 2;
const RESETS: usize = 3;
const CRASHES_IN_PLACE: usize = 4;

impl ModelJob {
    fn ready(batch: BatchId, assembly: bool, now: StoreTime) -> Self {
        Self {
            batch,
            assembly,
            status: JobStatus::Ready,
            epoch: Epoch(0),
            owner: None,
            checkpoint: 0,
            counts: [0; 5],
            cancel: false,
            not_before: now,
        }
    }

    fn of(job: &JobRecord) -> Self {
        Self {
            batch: job.batch,
            assembly: job.kind == JobKind::Assemble,
            status: job.status,
            epoch: job.epoch,
            owner: job.owner.as_ref().map(|owner| owner.incarnation),
            checkpoint: job.checkpoint,
            counts: [job.failures, job.interruptions, job.crashes, job.resets, job.crashes_in_place],
            cancel: job.cancel_requested,
            not_before: job.not_before,
        }
    }

    /// Where a job that nobody holds any more goes, if it was to be ready.
    fn let_go(&mut self, status: JobStatus) {
        self.owner = None;
        self.status = if self.cancel && status == JobStatus::Ready { JobStatus::Cancelled } else { status };
        self.cancel &= !self.status.is_final();
    }

    fn count(&mut self, which: usize) -> u32 {
        self.counts.get_mut(which).map_or(0, |count| {
            *count += 1;
            *count
        })
    }
}

/// The whole queue.
#[derive(Debug, Default)]
pub struct Model {
    /// Jobs.
    pub jobs: BTreeMap<JobId, ModelJob>,
    /// Living workers: the end of the lease, and what they claimed.
    pub workers: BTreeMap<Incarnation, (StoreTime, Tally)>,
    /// Workers that ended, and when.
    pub receipts: BTreeMap<Incarnation, (StoreTime, Tally)>,
    /// Batches.
    pub batches: BTreeMap<BatchId, ModelBatch>,
    /// Who leads.
    pub leader: Option<ModelLeader>,
    /// What the scanner fills.
    pub series: Option<ModelSeries>,
    settings: QueueSettings,
}

impl Model {
    /// A lease that is renewed or begun. False: it is gone.
    pub fn renew(&mut self, worker: Incarnation, now: StoreTime) -> bool {
        let until = StoreTime(now.0 + self.settings.lease_ms);
        self.workers.get_mut(&worker).map(|(lease, _)| *lease = until.max(*lease)).is_some()
    }

    /// A worker that registers for the first time.
    pub fn register(&mut self, worker: Incarnation, now: StoreTime) {
        self.workers.insert(worker, (StoreTime(0), Tally::default()));
        self.renew(worker, now);
    }

    /// Whether there is something to claim.
    pub fn anything_due(&self, now: StoreTime) -> bool {
        self.jobs.values().any(|job| job.status == JobStatus::Ready && job.not_before <= now)
    }

    /// A claim that was won.
    ///
    /// # Panics
    /// When it must not have been.
    pub fn claimed(&mut self, worker: Incarnation, claim: &Claim, now: StoreTime) {
        assert!(self.renew(worker, now), "a worker without a lease has claimed {claim:?}");
        let Some(job) = self.jobs.get_mut(&claim.job.id) else {
            unreachable!("a job that was never submitted was claimed: {claim:?}");
        };
        assert_eq!(job.status, JobStatus::Ready, "claimed although it was not ready");
        assert!(job.not_before <= now, "claimed before its time");
        assert_eq!(claim.epoch.0, job.epoch.0 + 1);
        assert_eq!(claim.job.checkpoint, job.checkpoint);
        (job.status, job.epoch, job.owner) = (JobStatus::Leased, claim.epoch, Some(worker));
        self.tally(worker).claims += 1;
    }

    fn tally(&mut self, worker: Incarnation) -> &mut Tally {
        &mut self.workers.entry(worker).or_insert_with(|| (StoreTime(0), Tally::default())).1
    }

    /// Whether this claim holds its job.
    pub fn holds(&self, own: &Ownership) -> bool {
        let job = self.jobs.get(&own.job);
        job.is_some_and(|job| job.owner == Some(own.incarnation) && job.epoch == own.epoch)
    }

    /// A checkpoint. False: it is not ours.
    pub fn checkpoint(&mut self, own: &Ownership, segments: u32) -> bool {
        let holds = self.holds(own);
        if let Some(job) = self.jobs.get_mut(&own.job).filter(|_| holds) {
            if segments > job.checkpoint {
                job.counts[CRASHES_IN_PLACE] = 0;
            }
            job.checkpoint = segments;
        }
        holds
    }

    /// A completion. False: it is not ours.
    pub fn complete(&mut self, own: &Ownership, segments: u32) -> bool {
        if !self.holds(own) {
            return false;
        }
        if let Some(job) = self.jobs.get_mut(&own.job) {
            job.checkpoint = segments;
            job.let_go(JobStatus::Completed);
        }
        self.tally(own.incarnation).completes += 1;
        true
    }

    /// Whether handing back as cancelled is against the rules.
    pub fn refuses(&self, own: &Ownership, why: HandBackReason) -> bool {
        why == HandBackReason::Cancelled && self.jobs.get(&own.job).is_some_and(|job| !job.cancel)
    }

    /// A hand-back of a job that is held.
    pub fn hand_back(&mut self, own: &Ownership, why: HandBackReason) {
        let max_attempts = self.settings.max_attempts;
        if let Some(job) = self.jobs.get_mut(&own.job) {
            let status = match why {
                HandBackReason::Interrupted => {
                    job.count(INTERRUPTIONS);
                    JobStatus::Ready
                }
                HandBackReason::FailedTransient if job.count(FAILURES) < max_attempts => JobStatus::Ready,
                HandBackReason::FailedTransient => JobStatus::Dead,
                HandBackReason::FailedPermanent => {
                    job.count(FAILURES);
                    JobStatus::Dead
                }
                HandBackReason::Cancelled => JobStatus::Cancelled,
            };
            job.let_go(status);
        }
        let tally = self.tally(own.incarnation);
        match why {
            HandBackReason::Interrupted => tally.releases += 1,
            HandBackReason::FailedTransient | HandBackReason::FailedPermanent => tally.failures += 1,
            HandBackReason::Cancelled => tally.cancelled += 1,
        }
    }

    /// The last machine of a worker left.
    pub fn left(&mut self, worker: Incarnation, now: StoreTime) {
        if let Some((_, tally)) = self.workers.remove(&worker) {
            self.receipts.insert(worker, (now, tally));
        }
    }

    /// Every expired worker is gone, and its jobs are back.
    pub fn reclaim(&mut self, now: StoreTime) {
        let expired: Vec<_> =
            self.workers.iter().filter(|(_, (lease, _))| *lease < now).map(|(worker, _)| *worker).collect();
        for worker in expired {
            let max_crashes = self.settings.max_crashes;
            let mut expiries = 0;
            for job in self.jobs.values_mut().filter(|job| job.owner == Some(worker)) {
                job.count(CRASHES);
                let dead = job.count(CRASHES_IN_PLACE) >= max_crashes && !job.cancel;
                job.let_go(if dead { JobStatus::Dead } else { JobStatus::Ready });
                expiries += 1;
            }
            self.tally(worker).expiries += expiries;
            self.left(worker, now);
        }
    }

    /// A cancellation.
    pub fn cancel(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job) {
            match job.status {
                JobStatus::Ready => job.status = JobStatus::Cancelled,
                JobStatus::Leased => job.cancel = true,
                JobStatus::Completed | JobStatus::Dead | JobStatus::Cancelled => {}
            }
        }
    }

    /// A new attempt. False: it is refused.
    pub fn retry(&mut self, id: JobId, now: StoreTime) -> bool {
        let Some(mut job) = self.jobs.get(&id).cloned() else {
            return false;
        };
        let is_given_up = matches!(job.status, JobStatus::Dead | JobStatus::Cancelled);
        if !is_given_up || !self.may_reopen(&job) {
            return false;
        }
        let [_, interruptions, _, resets, _] = job.counts;
        job.counts = [0, interruptions, 0, resets, 0];
        job.count(RESETS);
        (job.status, job.not_before) = (JobStatus::Ready, now);
        self.jobs.insert(id, job);
        true
    }

    /// Compares with what the queue shows.
    ///
    /// # Panics
    /// When they differ.
    pub fn compare(
        &mut self,
        jobs: &[JobRecord],
        workers: &[WorkerRecord],
        receipts: &[Receipt],
        now: StoreTime,
    ) {
        assert_eq!(jobs.len(), self.jobs.len(), "as many jobs as were submitted");
        for record in jobs {
            let Some(job) = self.jobs.get_mut(&record.id) else {
                unreachable!("an unknown job {record:?}");
            };
            if record.failures > 0 && record.not_before != job.not_before {
                // Chance decides how long a failed job waits; only its bounds are known.
                let wait_ms = record.not_before.0.saturating_sub(now.0);
                assert!((800..=300_000).contains(&wait_ms), "a failed job waits {wait_ms} ms");
                job.not_before = record.not_before;
            }
            assert_eq!(*job, ModelJob::of(record), "job {}", record.id);
        }
        let shown: BTreeMap<_, _> = workers
            .iter()
            .map(|worker| (worker.info.incarnation, (worker.lease_until, worker.tally)))
            .collect();
        assert_eq!(shown, self.workers, "the workers");
        let shown: BTreeMap<_, _> = receipts
            .iter()
            .map(|receipt| (receipt.info.incarnation, (receipt.ended, receipt.tally)))
            .collect();
        assert_eq!(shown, self.receipts, "the receipts");
    }
}
