//! Workers that claim, checkpoint, hand back and complete until every job is done, whatever the store does meanwhile.

use rand::Rng;
use roboflow::fsm::effect::HandBackReason;
use roboflow::queue::invariant::History;
use roboflow::queue::{
    Claim, HeartbeatNote, JobFilter, JobKind, JobStatus, Ownership, Queue, QueueError, QueueSettings,
};
use roboflow::store::SharedStore;
use roboflow_proptests::queue_bench::{MAPPING, Worker, batch, check, recording};
use roboflow_proptests::queue_step::{Deed, claim_for_sure, dump, perform, persist};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Segments of a job.
const SEGMENTS: u32 = 3;
/// A worker renews when its lease was renewed so long ago.
const RENEW_AFTER: Duration = Duration::from_secs(2);
/// How often a worker that found nothing looks again.
const POLL: Duration = Duration::from_millis(50);

/// Workers on one queue.
pub(crate) struct Fleet {
    queue: Queue,
    store: SharedStore,
    jobs: u32,
    done: Arc<AtomicBool>,
    workers: Vec<std::thread::JoinHandle<()>>,
}

/// Numbers of worker processes; a lease that was lost takes a new one.
type Starts = Arc<AtomicU32>;

impl Fleet {
    /// Submits so many recordings and starts one worker a store.
    pub(crate) async fn start(stores: Vec<SharedStore>, jobs: u32) -> Self {
        let open = |store: &SharedStore| Queue::new(Arc::clone(store), QueueSettings::default());
        let store = Arc::clone(stores.first().unwrap());
        let queue = open(&store);
        queue.put_config(MAPPING).await.unwrap();
        let recordings: Vec<_> = (0..jobs).map(recording).collect();
        queue.submit(&batch(0), &recordings).await.unwrap();
        let (done, starts) = (Arc::<AtomicBool>::default(), Starts::default());
        let workers = stores.iter().map(|store| {
            let (queue, done, starts) = (open(store), Arc::clone(&done), Arc::clone(&starts));
            // A thread and a runtime of its own: the store's clients live on another.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(work(&queue, &starts, &done));
            })
        });
        Self { workers: workers.collect(), queue, store, jobs, done }
    }

    /// Checks Q1–Q4 over the whole keyspace, now.
    pub(crate) async fn check(&self) {
        check(&self.queue, &dump(&self.store).await, &mut History::new());
    }

    /// Waits until every job is done, and checks them and the keyspace.
    pub(crate) async fn finish(self, within: Duration) {
        let begun = Instant::now();
        loop {
            let page = persist(async || self.queue.list(&JobFilter::default(), None, usize::MAX).await).await;
            let jobs = page.unwrap().jobs;
            let of_recordings = jobs.iter().filter(|job| matches!(job.kind, JobKind::Convert { .. }));
            let done = of_recordings.filter(|job| job.status == JobStatus::Completed).count();
            if done as u32 == self.jobs {
                assert!(jobs.iter().all(|job| job.checkpoint == SEGMENTS), "{jobs:?}");
                break;
            }
            let left = || jobs.iter().filter(|job| job.status != JobStatus::Completed).collect::<Vec<_>>();
            assert!(begun.elapsed() < within, "{done} of {} jobs after {within:?}: {:#?}", self.jobs, left());
            tokio::time::sleep(POLL).await;
        }
        self.done.store(true, Ordering::Relaxed);
        for worker in self.workers {
            tokio::task::block_in_place(|| worker.join()).expect("a worker");
        }
        check(&self.queue, &dump(&self.store).await, &mut History::new());
    }
}

/// One process after the other, until all is done.
async fn work(queue: &Queue, starts: &AtomicU32, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let worker = Worker::number(starts.fetch_add(1, Ordering::Relaxed));
        let lost = live(queue, &worker, done).await;
        assert!(matches!(lost, Ok(()) | Err(QueueError::Lost { .. })), "{lost:?}");
    }
}

/// Until all is done, or the lease is lost.
async fn live(queue: &Queue, worker: &Worker, done: &AtomicBool) -> Result<(), QueueError> {
    persist(async || queue.register(&worker.info(1)).await).await?;
    let mut renewed = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if renewed.elapsed() > RENEW_AFTER {
            let note = HeartbeatNote::default();
            persist(async || queue.renew(worker.incarnation, &note).await).await?;
            renewed = Instant::now();
        }
        match claim_for_sure(queue, &worker.intent()).await? {
            Some(claim) => convert(queue, worker, &claim).await?,
            None => {
                // What lost workers held comes back.
                drop(queue.reclaim(10).await);
                tokio::time::sleep(POLL).await;
            }
        }
    }
    Ok(())
}

/// Checkpoints what is missing, and completes; or hands back on the way.
async fn convert(queue: &Queue, worker: &Worker, claim: &Claim) -> Result<(), QueueError> {
    let own = worker.own(claim);
    for segments in claim.job.checkpoint + 1..=SEGMENTS {
        if rand::rng().random_ratio(1, 8) {
            return act(queue, worker, &own, Deed::HandBack(HandBackReason::Interrupted), segments).await;
        }
        act(queue, worker, &own, Deed::Checkpoint(1), segments).await?;
    }
    act(queue, worker, &own, Deed::Complete, SEGMENTS).await
}

async fn act(
    queue: &Queue,
    worker: &Worker,
    own: &Ownership,
    deed: Deed,
    segments: u32,
) -> Result<(), QueueError> {
    let by = worker.intent();
    persist(async || perform(queue, own, &by, deed, segments).await).await
}
