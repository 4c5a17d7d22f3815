//! What the queue does in a second, on any store: claims, pairs of claim and completion, and how long a claim takes, for
//! several numbers of claimers; what a claim costs in calls to the store; and all of it against plain transactions of
//! the same size.
//!
//! Each claimer is a worker of its own with a store handle of its own, as on a fleet, but all in this process.

use super::counting::{Calls, CountingStore};
use super::ground::Ground;
use super::plain::{Plain, Shape};
use super::{BenchError, Laps, Rate, patiently};
use crate::fsm::id::Nonce;
use crate::queue::{
    BatchId, Claim, JobResult, NewBatch, NewJob, Queue, QueueError, QueueSettings, Source, WorkerInfo,
    WriteId,
};
use crate::store::{SharedStore, StorePlace};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The most claimers at once: each has a connection of its own.
pub const CLAIMERS_MAX: u32 = 256;
/// The most jobs of one measurement.
pub const JOBS_MAX: u32 = 100_000;
/// Jobs claimed first, by one claimer: what a claim costs when nobody is in its way.
const ALONE_JOBS: u32 = 64;
/// Looks at an empty queue.
const EMPTY_LOOKS: u32 = 64;
/// The mapping of the bench's jobs. Nobody converts them.
const MAPPING: &str = "fps = 30\n";
/// Jobs submitted by one call.
const SUBMIT_JOBS: u32 = 512;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many claim at once: a measurement each.
    pub claimers: Vec<u32>,
    /// Jobs of each measurement.
    pub jobs: u32,
    /// Removes what an earlier bench left, before it begins.
    pub remove_leftovers: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where.
    pub store: String,
    /// Jobs of each measurement.
    pub jobs: u32,
    /// What one claim costs when nobody is in its way.
    pub claim_alone: Calls,
    /// What a look at an empty queue costs.
    pub claim_of_nothing: Calls,
    /// By number of claimers.
    pub levels: Vec<Level>,
}

/// What so many claimers did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// How many.
    pub claimers: u32,
    /// Claims alone.
    pub claims: Rate,
    /// What one of them cost.
    pub calls_per_claim: Calls,
    /// Transactions tried again after a conflict, a claim.
    pub conflicts_per_claim: f64,
    /// The claims of pairs: each job is completed before the next is claimed. A second's pairs, the times of the claims.
    pub pairs: Rate,
    /// As many plain transactions of the size of a claim, by as many at once.
    pub plain: Rate,
    /// Claims in a second for each plain transaction in a second.
    pub claims_to_plain: f64,
    /// Transactions of pairs (two each) in a second for each plain transaction in a second.
    pub pairs_to_plain: f64,
}

/// Measures at this place, under a prefix made of the settings' own.
///
/// # Errors
/// When the prefix is in use, or the store fails. Nothing of the bench is left behind unless the store cannot be
/// written.
pub async fn run(place: &StorePlace, settings: QueueSettings, plan: &Plan) -> Result<Report, BenchError> {
    let settings = QueueSettings { prefix: format!("{}-bench", settings.prefix), ..settings };
    let (store, name) = (place.open().await?, place.to_string());
    let prefix = settings.prefix.clone();
    let ground = Ground::take(store, name.clone(), prefix, plan.remove_leftovers).await?;
    let bench = Bench { place: place.clone(), settings };
    let measured = bench.measure(plan, name).await;
    ground.give_back().await?;
    measured
}

struct Bench {
    place: StorePlace,
    settings: QueueSettings,
}

/// A worker that does nothing but claim.
struct Claimer {
    queue: Queue,
    store: CountingStore,
    incarnation: Uuid,
    nonces: u64,
}

/// What one claimer did.
#[derive(Default)]
struct Done {
    laps: Laps,
    calls: Calls,
    conflicts: u64,
}

impl Bench {
    async fn measure(&self, plan: &Plan, store: String) -> Result<Report, BenchError> {
        let (claim_alone, claim_of_nothing) = self.alone().await?;
        let shape = Shape::of(&claim_alone);
        let mut levels = Vec::new();
        for claimers in &plan.claimers {
            let level = self.level(*claimers, plan.jobs, shape).await?;
            tracing::info!(claimers, claims_per_second = level.claims.per_second, "measured");
            levels.push(level);
        }
        Ok(Report { store, jobs: plan.jobs, claim_alone, claim_of_nothing, levels })
    }

    /// What one claim costs when nobody is in its way, and what a look at an empty queue.
    async fn alone(&self) -> Result<(Calls, Calls), BenchError> {
        let mut claimer = self.claimer().await?;
        self.submit(&claimer.queue, "alone", ALONE_JOBS).await?;
        let mut done = Done::default();
        while claimer.claim(&mut done).await?.is_some() {}
        let claims = done.laps.count();
        let before = claimer.store.calls();
        for _ in 0..EMPTY_LOOKS {
            claimer.claim(&mut Done::default()).await?;
        }
        let empty = claimer.store.calls().since(before).mean(EMPTY_LOOKS as usize);
        Ok((done.calls.mean(claims), empty))
    }

    async fn level(&self, count: u32, jobs: u32, shape: Shape) -> Result<Level, BenchError> {
        let claimers = self.claimers(count).await?;
        self.submit_with(&claimers, &format!("claims-{count}"), jobs).await?;
        let (began, done) = at_once(claimers, |claimer| claimer.claim_all(false)).await?;
        let claims = rate(began, &done);
        let sum = done.iter().fold(Calls::default(), |sum, done| sum.plus(done.calls));
        let conflicts: u64 = done.iter().map(|done| done.conflicts).sum();
        let claimers = self.claimers(count).await?;
        self.submit_with(&claimers, &format!("pairs-{count}"), jobs).await?;
        let (began, done) = at_once(claimers, |claimer| claimer.claim_all(true)).await?;
        let pairs = rate(began, &done);
        let plain = self.plain(count, jobs, shape).await?;
        Ok(Level {
            claimers: count,
            claims,
            calls_per_claim: sum.mean(claims.count),
            conflicts_per_claim: conflicts as f64 / claims.count.max(1) as f64,
            pairs,
            plain,
            claims_to_plain: claims.ratio_to(&plain),
            pairs_to_plain: 2.0 * pairs.ratio_to(&plain),
        })
    }

    async fn plain(&self, count: u32, jobs: u32, shape: Shape) -> Result<Rate, BenchError> {
        let mut all = Vec::new();
        for number in 0..count {
            let prefix = format!("{}/plain-{count}/{number:04}", self.settings.prefix);
            all.push(Plain::set_up(self.place.open().await?, prefix, shape).await?);
        }
        let each = jobs.div_ceil(count.max(1)) as usize;
        let (began, laps) = at_once(all, move |plain| plain.run(each)).await?;
        Ok(Rate::of(began, &laps))
    }

    /// Registered workers, each with a store handle of its own.
    async fn claimers(&self, count: u32) -> Result<Vec<Claimer>, BenchError> {
        let mut claimers = Vec::new();
        for _ in 0..count {
            claimers.push(self.claimer().await?);
        }
        Ok(claimers)
    }

    async fn claimer(&self) -> Result<Claimer, BenchError> {
        let store = CountingStore::new(self.place.open().await?);
        let shared: SharedStore = Arc::new(store.clone());
        let queue = Queue::new(shared, self.settings.clone());
        let incarnation = Uuid::new_v4();
        let (pod, host, pid) = ("bench".to_owned(), String::new(), std::process::id());
        queue.register(&WorkerInfo { incarnation, pod, host, pid, machines: 1 }).await?;
        Ok(Claimer { queue, store, incarnation, nonces: 0 })
    }

    async fn submit_with(&self, claimers: &[Claimer], name: &str, jobs: u32) -> Result<(), BenchError> {
        match claimers.first() {
            Some(claimer) => self.submit(&claimer.queue, name, jobs).await,
            None => Ok(()),
        }
    }

    async fn submit(&self, queue: &Queue, name: &str, jobs: u32) -> Result<(), BenchError> {
        let config = queue.put_config(MAPPING).await?;
        let out = format!("file:///bench/{name}");
        let id = BatchId::derive(&out, &config);
        let (staging, seen_under) = (format!("{out}/staging"), out.clone());
        let batch =
            NewBatch { id, out, staging, config, segment_frames: 100, seen_under, skip_failed: false };
        for first in (0..jobs).step_by(SUBMIT_JOBS as usize) {
            let page: Vec<NewJob> = (first..jobs.min(first + SUBMIT_JOBS)).map(recording).collect();
            queue.submit(&batch, &page).await?;
        }
        Ok(())
    }
}

fn recording(number: u32) -> NewJob {
    let name = format!("episode-{number:06}");
    let source = Source {
        key: format!("{name}.mcap"),
        name,
        location: "file:///bench/in".to_owned(),
        size: 1_000_000,
        version: "1".to_owned(),
    };
    NewJob { source, priority: 100 }
}

impl Claimer {
    fn intent(&mut self) -> WriteId {
        self.nonces += 1;
        WriteId { incarnation: self.incarnation, machine: 0, nonce: Nonce(self.nonces) }
    }

    /// Claims a job, and notes time and cost if there was one.
    async fn claim(&mut self, done: &mut Done) -> Result<Option<Claim>, BenchError> {
        let by = self.intent();
        let (calls, conflicts) = (self.store.calls(), self.queue.counters().counts().conflicts);
        let began = Instant::now();
        let claim = match self.queue.claim(&by).await {
            Err(QueueError::Unknown { .. }) => patiently(|| self.queue.resolve_claim(&by)).await?,
            known => known?,
        };
        if claim.is_some() {
            done.laps.note(began);
            done.calls = done.calls.plus(self.store.calls().since(calls));
            done.conflicts += self.queue.counters().counts().conflicts - conflicts;
        }
        Ok(claim)
    }

    /// Claims until there is nothing left; and completes each before the next, if that is asked for.
    async fn claim_all(mut self, complete: bool) -> Result<Done, BenchError> {
        let mut done = Done::default();
        while let Some(claim) = self.claim(&mut done).await? {
            if complete {
                let by = self.intent();
                let (own, result) = (claim.ownership(&by), JobResult::default());
                patiently(|| self.queue.complete(&own, &by, 1, &result)).await?;
                done.laps.ends_now();
            }
        }
        Ok(done)
    }
}

fn rate(began: Instant, done: &[Done]) -> Rate {
    Rate::of(began, done.iter().map(|done| &done.laps))
}

/// Lets all begin at the same instant, which it gives with what each came to.
async fn at_once<W, T, F, Fut>(workers: Vec<W>, work: F) -> Result<(Instant, Vec<T>), BenchError>
where
    W: Send + 'static,
    T: Send + 'static,
    F: Fn(W) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<T, BenchError>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(workers.len() + 1));
    let mut tasks = JoinSet::new();
    for worker in workers {
        let (barrier, work) = (Arc::clone(&barrier), work.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            work(worker).await
        });
    }
    let began = Instant::now();
    barrier.wait().await;
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.push(done??);
    }
    Ok((began, all))
}
