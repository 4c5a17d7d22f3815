//! A queue over a store in memory, with the steps that tests of the queue share, and the invariants after each.
//!
//! It knows no expectation of any test.

#![expect(clippy::expect_used, clippy::panic, reason = "a broken step fails the test at once")]

use roboflow::fsm::effect::{Cause, Farewell, HandBackReason, Leaf};
use roboflow::fsm::event::Mode;
use roboflow::fsm::id::{JobId, Nonce};
use roboflow::queue::invariant::{History, check_keyspace};
use roboflow::queue::{
    BatchId, Campaign, Claim, FarewellNote, HandBack, HeartbeatNote, Incarnation, JobRecord, JobResult,
    Leadership, NewBatch, NewJob, NewSeries, Ownership, Queue, QueueError, QueueSettings, Receipt,
    ReleaseRequest, Renewal, Source, Submitted, WorkerInfo, WriteId,
};
use roboflow::store::memory::{Call, Fault};
use roboflow::store::{MemoryStore, Pair, StoreTime};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The mapping that all batches use.
pub const MAPPING: &str = "fps = 30\n";

/// The role that the tests' leaders lead.
pub const ROLE: &str = "scanner";

/// The three things that may have become of a commit whose outcome is unknown.
pub const UNKNOWN: [Fault; 3] =
    [Fault::UnknownApplied, Fault::UnknownLost, Fault::UnknownLater { calls: 1_000 }];

/// Whether the worker was told that the job, or its lease, is no longer its own.
pub fn is_lost<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Lost { .. }))
}

/// Whether a commit may or may not have taken effect.
pub fn is_unknown<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Unknown { .. }))
}

/// The batch of this number.
pub fn batch(number: u8) -> NewBatch {
    let out = format!("file:///data/out-{number}");
    let config = roboflow::queue::config_hash(MAPPING);
    let id = BatchId::derive(&out, &config);
    let staging = format!("{out}/.staging");
    let seen_under = out.clone();
    NewBatch { id, out, staging, config, segment_frames: 100, seen_under, skip_failed: false }
}

/// The series that the tests' scanner fills.
pub fn series() -> NewSeries {
    NewSeries {
        input: "s3://bucket/in".to_owned(),
        out: "s3://bucket/sets".to_owned(),
        pattern: "*.mcap".to_owned(),
        config: roboflow::queue::config_hash(MAPPING),
        segment_frames: 100,
        skip_failed: true,
        batch_recordings_max: 10_000,
        batch_age_max_ms: 3_600_000,
    }
}

/// The recording of this number.
pub fn recording(number: u32) -> NewJob {
    let source = Source {
        name: format!("episode-{number:04}"),
        location: "file:///data/in".to_owned(),
        key: format!("episode-{number:04}.mcap"),
        size: 1_000 + u64::from(number),
        version: "v1".to_owned(),
    };
    NewJob { source, priority: 100 }
}

/// A machine's farewell.
pub fn farewell() -> FarewellNote {
    let farewell = Farewell {
        cause: Cause::Term,
        met: Leaf::Processing,
        mode: Mode::Interrupt,
        asked_at_ms: 5,
        released_at_ms: 9,
    };
    FarewellNote { farewell }
}

/// A worker process of the tests.
#[derive(Debug)]
pub struct Worker {
    /// Who it is.
    pub incarnation: Incarnation,
    nonces: Mutex<u64>,
}

impl Worker {
    /// The worker of this number; the number stands for one process start.
    pub fn number(number: u32) -> Self {
        Self { incarnation: Incarnation::from_u128(0xabcd_0000 + u128::from(number)), nonces: Mutex::new(0) }
    }

    /// A new intent of machine 0.
    pub fn intent(&self) -> WriteId {
        self.intent_of(0)
    }

    /// A new intent of this machine.
    pub fn intent_of(&self, machine: u32) -> WriteId {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        *nonces += 1;
        WriteId { incarnation: self.incarnation, machine, nonce: Nonce(*nonces) }
    }

    /// What it says about itself.
    pub fn info(&self, machines: u32) -> WorkerInfo {
        let incarnation = self.incarnation;
        WorkerInfo { incarnation, pod: "pod-0".to_owned(), host: "host-0".to_owned(), pid: 1, machines }
    }

    /// Its right to a job that it claimed.
    pub fn own(&self, claim: &Claim) -> Ownership {
        Ownership { job: claim.job.id, epoch: claim.epoch, incarnation: self.incarnation }
    }
}

/// The bench.
#[derive(Debug)]
pub struct Bench {
    /// The store, for faults and time.
    pub store: MemoryStore,
    /// The queue over it.
    pub queue: Queue,
    history: Mutex<History>,
}

impl Bench {
    /// A queue with the default settings.
    pub fn new() -> Self {
        Self::with(QueueSettings::default())
    }

    /// A queue with these settings.
    pub fn with(settings: QueueSettings) -> Self {
        let store = MemoryStore::manual(StoreTime(1_790_000_000_000));
        let queue = Queue::seeded(Arc::new(store.clone()), settings, 7);
        Self { store, queue, history: Mutex::default() }
    }

    /// Submits recordings `0..count` to batch 0.
    pub async fn submit(&self, count: u32) -> Submitted {
        self.queue.put_config(MAPPING).await.expect("config");
        let jobs: Vec<_> = (0..count).map(recording).collect();
        self.queue.submit(&batch(0), &jobs).await.expect("submit")
    }

    /// A registered worker with one machine.
    pub async fn worker(&self, number: u32) -> Worker {
        self.worker_with(number, 1).await
    }

    /// A registered worker with so many machines.
    pub async fn worker_with(&self, number: u32, machines: u32) -> Worker {
        let worker = Worker::number(number);
        self.queue.register(&worker.info(machines)).await.expect("register");
        worker
    }

    /// A claim that must succeed.
    pub async fn claim(&self, worker: &Worker) -> Claim {
        self.queue.claim(&worker.intent()).await.expect("claim").expect("a job")
    }

    /// A renewal.
    pub async fn renew(&self, worker: &Worker) -> Result<Renewal, QueueError> {
        self.queue.renew(worker.incarnation, &HeartbeatNote::default()).await
    }

    /// A completion.
    pub async fn complete(&self, worker: &Worker, claim: &Claim) -> Result<(), QueueError> {
        self.queue.complete(&worker.own(claim), &worker.intent(), 9, &JobResult::default()).await
    }

    /// A hand-back without farewell.
    pub async fn hand_back(
        &self,
        worker: &Worker,
        claim: &Claim,
        why: HandBackReason,
    ) -> Result<(), QueueError> {
        self.queue.release(&self.hand_back_request(worker, claim, why)).await
    }

    /// The request of a hand-back without farewell.
    pub fn hand_back_request(&self, worker: &Worker, claim: &Claim, why: HandBackReason) -> ReleaseRequest {
        let hand_back = HandBack { own: worker.own(claim), why, error: Some("it broke".to_owned()) };
        ReleaseRequest { by: worker.intent(), hand_back: Some(hand_back), farewell: None }
    }

    /// The request of a machine that leaves with nothing in hand.
    pub fn leave_request(&self, worker: &Worker) -> ReleaseRequest {
        ReleaseRequest { by: worker.intent(), hand_back: None, farewell: Some(farewell()) }
    }

    /// Lets more than a lease go by.
    pub fn outlive_the_lease(&self) {
        self.store.advance(Duration::from_millis(self.queue.settings().lease_ms + 1));
    }

    /// Process `number` leads the scanner's role, for as long as a worker's lease.
    ///
    /// # Panics
    /// When somebody else does.
    pub async fn lead(&self, number: u32) -> Leadership {
        let holder = Worker::number(number).incarnation;
        let lease_ms = self.queue.settings().lease_ms;
        match self.queue.campaign(ROLE, holder, "scanner-0", lease_ms).await.expect("campaign") {
            Campaign::Leads(lead) => lead,
            Campaign::Follows { leader, .. } => panic!("{leader:?} leads"),
        }
    }

    /// A job's record.
    pub async fn job(&self, job: JobId) -> JobRecord {
        self.queue.get(job).await.expect("the job")
    }

    /// The receipt of a worker that ended.
    pub async fn receipt(&self, worker: &Worker) -> Option<Receipt> {
        let receipts = self.queue.receipts(None, 1_000).await.expect("receipts");
        receipts.into_iter().find(|receipt| receipt.info.incarnation == worker.incarnation)
    }

    /// Makes the next commit with writes meet this fault; everything after is well.
    pub fn next_commit_meets(&self, fault: Fault) {
        let mut once = Some(fault);
        self.store.inject(Some(Box::new(move |call| match call {
            Call::Commit { writes } if writes > 0 => once.take().unwrap_or(Fault::None),
            _ => Fault::None,
        })));
    }

    /// Q1–Q4 over the whole keyspace, and against what it was at the last check.
    ///
    /// # Panics
    /// When one is violated.
    pub fn check(&self) {
        check(
            &self.queue,
            &self.store.dump(),
            &mut self.history.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// Q1–Q4 over these pairs and against the history.
///
/// # Panics
/// When one is violated.
pub fn check(queue: &Queue, pairs: &[Pair], history: &mut History) {
    let violations = check_keyspace(queue.keys(), pairs).err().into_iter();
    let violations = violations.chain(history.observe(queue.keys(), pairs).err()).flatten();
    let lines: Vec<String> = violations.map(|violation| violation.to_string()).collect();
    if !lines.is_empty() {
        panic!("the queue's invariants are violated:\n{}", lines.join("\n"));
    }
}
