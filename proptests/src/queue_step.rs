//! What can happen to a queue of several workers, one step at a time, and how a worker asks.
//!
//! A step names what happens; what a worker does about an unknown outcome is done as the machine does it: the same
//! nonce again, a claim read back. Slots and jobs are meant modulo what there is, so that any sequence makes sense.

#![expect(clippy::expect_used, reason = "a step that goes wrong fails the test at once")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roboflow::fsm::effect::HandBackReason;
use roboflow::queue::{Claim, HandBack, JobResult, Ownership, Queue, QueueError, ReleaseRequest, WriteId};
use roboflow::store::memory::{Call, Fault};
use roboflow::store::{MAX_SCAN_PAIRS, MemoryStore, Pair, SharedStore};

/// Worker processes at once.
pub const SLOTS: usize = 3;
/// Machines in each.
pub const MACHINES: usize = 2;
/// Scanners, of which one leads.
pub const SCANNERS: usize = 2;
/// Faults that one step meets at most, so that it ends.
const FAULTS_MAX: u32 = 10;

/// What a commit that its worker does not outlive becomes.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It took effect.
    Applied,
    /// It is lost.
    Lost,
    /// It takes effect right after the worker is gone.
    Later,
    /// It arrives only after the worker's lease has ended and its jobs were taken back.
    AfterReclaim,
}

/// What a worker does with a job in hand.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// Commits so many more segments.
    Checkpoint(u32),
    /// Completes it.
    Complete,
    /// Hands it back.
    HandBack(HandBackReason),
}

/// What a scanner writes as a leader.
#[expect(missing_docs, reason = "each variant says what its fields mean")]
#[derive(Debug, Clone, Copy)]
pub enum LeaderDeed {
    /// Begins a round, or goes on with it.
    Begin,
    /// A page with so many new recordings behind one that is known.
    Page { count: u8 },
    /// Ends the round; so many recordings wait.
    Done { waiting: u8 },
    /// A whole round.
    Round { count: u8, waiting: u8 },
    /// Closes a batch, if it is over.
    Close { batch: usize },
    /// Notes that a batch's staging is gone.
    Swept { batch: usize },
    /// Removes old receipts.
    Expire,
}

/// One step. `slot` and `machine` say who.
#[expect(missing_docs, reason = "each variant says what its fields mean")]
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// So many recordings are submitted, the first of them for the second time; more come, or not.
    Submit { count: u8, last: bool },
    /// A new process starts, if the slot is free.
    Register { slot: usize },
    /// It renews its lease.
    Renew { slot: usize },
    /// A machine claims, if it holds nothing.
    Claim { slot: usize, machine: usize },
    /// A machine does something with its job.
    Do { slot: usize, machine: usize, deed: Deed },
    /// A machine completes what it holds and then whatever there is to claim.
    WorkOff { slot: usize, machine: usize },
    /// A machine leaves, with its job handed back.
    Leave { slot: usize, machine: usize },
    /// A process is killed.
    Crash { slot: usize },
    /// A process is killed while a commit of one machine is on its way.
    CrashDuring { slot: usize, machine: usize, deed: Option<Deed>, fate: Fate },
    /// A machine of a process long given up goes on as if nothing had happened.
    Haunt { ghost: usize, deed: Deed },
    /// Time passes.
    Advance { ms: u64 },
    /// Somebody reclaims.
    Reclaim,
    /// Somebody cancels a job.
    Cancel { job: usize },
    /// Somebody asks for a new attempt.
    Retry { job: usize },
    /// Somebody asks for the assembly of a batch.
    Assemble { batch: usize },
    /// Somebody seals a batch.
    Seal { batch: usize },
    /// Somebody cancels a batch.
    CancelBatch { batch: usize },
    /// A scanner asks to lead, or to lead on.
    Campaign { who: usize },
    /// A scanner steps down.
    Resign { who: usize },
    /// A scanner writes as a leader, whether it is one or not.
    Lead { who: usize, deed: LeaderDeed },
}

/// A step with its chance: which handle it uses, and which faults it meets.
#[derive(Debug, Clone, Copy)]
pub struct Chance {
    /// Seeds the faults.
    pub seed: u64,
    /// Of a hundred commits, so many meet a fault. 0: none do.
    pub percent: u32,
}

/// Asks again while nothing is known or nothing happened, as a worker does.
pub async fn persist<T>(ask: impl AsyncFn() -> Result<T, QueueError>) -> Result<T, QueueError> {
    loop {
        match ask().await {
            Err(QueueError::Unknown { .. } | QueueError::Unavailable { .. }) => {}
            known => return known,
        }
    }
}

/// Claims, and reads back what became of it where that is unknown.
pub async fn claim_for_sure(queue: &Queue, by: &WriteId) -> Result<Option<Claim>, QueueError> {
    loop {
        match queue.claim(by).await {
            Err(QueueError::Unavailable { .. }) => {}
            Err(QueueError::Unknown { .. }) => return persist(async || queue.resolve_claim(by).await).await,
            known => return known,
        }
    }
}

/// What a worker does with a job, once.
pub async fn perform(
    queue: &Queue,
    own: &Ownership,
    by: &WriteId,
    deed: Deed,
    segments: u32,
) -> Result<(), QueueError> {
    match deed {
        Deed::Checkpoint(_) => queue.checkpoint(own, by, segments).await,
        Deed::Complete => queue.complete(own, by, segments, &JobResult::default()).await,
        Deed::HandBack(why) => {
            let hand_back = Some(HandBack { own: *own, why, error: Some("it broke".to_owned()) });
            queue.release(&ReleaseRequest { by: *by, hand_back, farewell: None }).await
        }
    }
}

/// What the calls of one step meet, by chance.
pub(crate) fn faults(chance: Chance) -> impl FnMut(Call) -> Fault {
    let mut rng = StdRng::seed_from_u64(chance.seed);
    let mut left = FAULTS_MAX;
    move |call| {
        let percent = if matches!(call, Call::Commit { .. }) { chance.percent } else { chance.percent / 5 };
        if left == 0 || rng.random_range(0..100) >= percent {
            return Fault::None;
        }
        left -= 1;
        match rng.random_range(0..5) {
            0 => Fault::Conflict,
            1 => Fault::Unavailable,
            2 => Fault::UnknownApplied,
            3 => Fault::UnknownLost,
            _ => Fault::UnknownLater { calls: rng.random_range(1..60) },
        }
    }
}

/// Lets everything that is still on its way arrive; says whether it changed anything.
pub(crate) fn arrivals_matter(store: &MemoryStore) -> bool {
    let before = store.dump();
    store.settle();
    store.dump() != before
}

/// All pairs of a store.
///
/// # Panics
/// When it cannot be read.
pub async fn dump(store: &SharedStore) -> Vec<Pair> {
    let mut txn = store.begin().await.expect("begin");
    let mut pairs: Vec<Pair> = Vec::new();
    let mut start = Vec::new();
    loop {
        let page = txn.scan(&start, &[0xff; 8], MAX_SCAN_PAIRS).await.expect("scan");
        let Some((last, _)) = page.last() else {
            return pairs;
        };
        start = [last.as_slice(), &[0]].concat();
        pairs.extend(page);
    }
}
