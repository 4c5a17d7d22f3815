//! A worker in this process: over a store in memory whose commits a test holds, loses or forgets, with work that a test
//! opens segment by segment.
//!
//! Waits are for conditions; a limit that passes is a failed test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support of tests: what it cannot do is a failed test"
)]

use roboflow::clock::Clock;
use roboflow::config::WorkerConfig;
use roboflow::fsm::event::Signal;
use roboflow::fsm::id::JobId;
use roboflow::fsm::{Input, Settings};
use roboflow::metrics::Metrics;
use roboflow::queue::{BatchId, JobRecord, NewBatch, NewJob, Queue, QueueSettings, Source};
use roboflow::store::memory::MemoryStore;
use roboflow::store::{Pair, SharedStore, Store, StoreError, StoreTime, Txn};
use roboflow::translog::{Head, Line};
use roboflow::work::{SegmentDone, StopFlag, Work, WorkError};
use roboflow::worker::conversion::Opener;
use roboflow::worker::lease::Home;
use roboflow::worker::{Assignment, Parts, Worker};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Generous: only a worker that hangs takes so long.
pub const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It goes through.
    Open,
    /// It waits until the gate is opened.
    Held,
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// Nothing happens, and its answer is lost.
    Lost,
    /// The store is away.
    Away,
}

/// A store whose commits with writes pass a gate.
#[derive(Debug)]
struct Gated {
    store: MemoryStore,
    gate: watch::Receiver<Gate>,
    waiting: Arc<AtomicU32>,
}

struct GatedTxn {
    txn: Box<dyn Txn>,
    writes: bool,
    gate: watch::Receiver<Gate>,
    waiting: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl Store for Gated {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        let txn = self.store.begin().await?;
        let waiting = Arc::clone(&self.waiting);
        Ok(Box::new(GatedTxn { txn, writes: false, gate: self.gate.clone(), waiting }))
    }
}

#[async_trait::async_trait]
impl Txn for GatedTxn {
    fn now(&self) -> StoreTime {
        self.txn.now()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.txn.get(key).await
    }

    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.txn.scan(start, end, limit).await
    }

    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        self.txn.peek_all(keys).await
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes = true;
        self.txn.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.writes = true;
        self.txn.delete(key);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if !self.writes {
            return self.txn.commit().await;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let gate = *self.gate.wait_for(|gate| *gate != Gate::Held).await.unwrap();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let unknown = || StoreError::Unknown { reason: "the test lost the answer".to_owned() };
        match gate {
            Gate::Open | Gate::Held => self.txn.commit().await,
            Gate::AnswerLost => self.txn.commit().await.and(Err(unknown())),
            Gate::Lost => Err(unknown()),
            Gate::Away => Err(StoreError::Unavailable {
                store: "gated".to_owned(),
                reason: "the test closed it".to_owned(),
            }),
        }
    }
}

/// What a segment of the test's work does.
pub type Segment = Arc<dyn Fn(JobId, u32, &StopFlag) -> Result<SegmentDone, WorkError> + Send + Sync>;

struct TestOpener {
    segments: u32,
    segment: Segment,
}

impl fmt::Debug for TestOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestOpener")
    }
}

impl Opener for TestOpener {
    fn open(&self, assignment: &Assignment, stop: &StopFlag) -> Result<Box<dyn Work>, WorkError> {
        let (segment, stop) = (Arc::clone(&self.segment), stop.clone());
        Ok(Box::new(TestWork { job: assignment.job, segments: self.segments, segment, stop }))
    }
}

struct TestWork {
    job: JobId,
    segments: u32,
    segment: Segment,
    /// By which all that was opened waits.
    stop: StopFlag,
}

impl Work for TestWork {
    fn segments(&self) -> u32 {
        self.segments
    }

    fn run(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, WorkError> {
        self.stop.check()?;
        (self.segment)(self.job, segment, stop)
    }

    fn frames(&self) -> u64 {
        u64::from(self.segments) * u64::from(DONE.frames)
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a finished test segment gives.
pub const DONE: SegmentDone = SegmentDone { frames: 100, read_bytes: 1, written_bytes: 1 };

/// Opened once, it lets every segment through that waits at it.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// Opens it for good.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Waits for it, or for the stop flag: what well-behaved work does.
    pub fn wait_or_stop(&self, stop: &StopFlag) -> Result<(), WorkError> {
        while !self.0.load(Ordering::SeqCst) {
            stop.check()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for it whatever the stop flag says: what work that hangs does.
    pub fn wait(&self) {
        while !self.0.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
        }
    }
}

/// A queue in memory, a worker on it, and its runtime.
pub struct WorkerLab {
    /// The store itself, past any gate.
    pub store: MemoryStore,
    /// The queue, past any gate.
    pub queue: Queue,
    /// Where the worker's store operations run.
    pub runtime: Runtime,
    /// The worker's counters.
    pub metrics: Arc<Metrics>,
    /// Set when the watchdog bit.
    pub bitten: Arc<AtomicBool>,
    gate: watch::Sender<Gate>,
    lease_gate: watch::Sender<Gate>,
    waiting: Arc<AtomicU32>,
    batch: BatchId,
    config: WorkerConfig,
    log: tempfile::NamedTempFile,
    asking: Runtime,
}

impl WorkerLab {
    /// Over an empty queue.
    pub fn new(machines: u32, settings: Settings) -> Self {
        settings.check().expect("the test's settings are possible");
        let store = MemoryStore::new();
        let queue_settings = QueueSettings { lease_ms: settings.lease_ms, ..QueueSettings::default() };
        let queue = Queue::new(Arc::new(store.clone()), queue_settings);
        let log = tempfile::NamedTempFile::new().unwrap();
        let config = WorkerConfig {
            settings,
            machines,
            threads: NonZeroUsize::MIN,
            max_attempts: 3,
            label: "lab".to_owned(),
            transition_log: Some(log.path().to_path_buf()),
        };
        Self {
            store,
            queue,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .unwrap(),
            metrics: Arc::default(),
            bitten: Arc::default(),
            gate: watch::Sender::new(Gate::Open),
            lease_gate: watch::Sender::new(Gate::Open),
            waiting: Arc::default(),
            batch: BatchId([7; 16]),
            config,
            log,
            asking: tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
        }
    }

    /// Asks something of the queue, on a runtime of the test's own.
    pub fn ask<T>(&self, asked: impl Future<Output = T>) -> T {
        self.asking.block_on(asked)
    }

    /// Submits so many jobs.
    pub fn submit(&self, jobs: u32) {
        let config = self.ask(self.queue.put_config("mapping")).unwrap();
        let batch = NewBatch {
            id: self.batch,
            out: "out".to_owned(),
            staging: "staging".to_owned(),
            config,
            segment_frames: 100,
            seen_under: "out".to_owned(),
            skip_failed: false,
        };
        let job = |number: u32| NewJob {
            source: Source {
                name: format!("r{number}"),
                location: "in".to_owned(),
                key: format!("r{number}"),
                size: 1,
                version: "1".to_owned(),
            },
            priority: 0,
        };
        let jobs: Vec<NewJob> = (0..jobs).map(job).collect();
        self.ask(self.queue.submit(&batch, &jobs)).unwrap();
    }

    /// From now on a worker writes its steps here: the lab does not see them.
    pub fn log_into(&mut self, path: PathBuf) {
        self.config.transition_log = Some(path);
    }

    /// Starts the worker: its jobs have so many segments, each done by `segment`.
    pub fn start(
        &self,
        segments: u32,
        segment: impl Fn(u32, &StopFlag) -> Result<SegmentDone, WorkError> + Send + Sync + 'static,
    ) -> Worker {
        self.start_by(segments, move |_, number, stop| segment(number, stop))
    }

    /// The same, with the job's id.
    pub fn start_by(
        &self,
        segments: u32,
        segment: impl Fn(JobId, u32, &StopFlag) -> Result<SegmentDone, WorkError> + Send + Sync + 'static,
    ) -> Worker {
        let gated: SharedStore = Arc::new(Gated {
            store: self.store.clone(),
            gate: self.gate.subscribe(),
            waiting: Arc::clone(&self.waiting),
        });
        let lease: SharedStore = Arc::new(Gated {
            store: self.store.clone(),
            gate: self.lease_gate.subscribe(),
            waiting: Arc::default(),
        });
        let lease_queue = Queue::new(lease, self.queue.settings().clone());
        let bitten = Arc::clone(&self.bitten);
        let parts = Parts {
            queue: Queue::new(gated, self.queue.settings().clone()),
            lease_home: Home::open(async { Ok::<_, std::io::Error>(lease_queue) })
                .expect("a runtime for the lease"),
            opener: Arc::new(TestOpener { segments, segment: Arc::new(segment) }),
            runtime: self.runtime.handle().clone(),
            clock: Clock::start(),
            metrics: Arc::clone(&self.metrics),
            traces: None,
            bite: Box::new(move |_| bitten.store(true, Ordering::SeqCst)),
        };
        Worker::start(&self.config, parts).expect("the worker starts")
    }

    /// Sets the gate that the machines' commits pass.
    pub fn gate(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// Sets the gate that renewals pass, and what else the lease's thread writes.
    pub fn lease_gate(&self, gate: Gate) {
        self.lease_gate.send_replace(gate);
    }

    /// Waits until a commit stands at the held gate.
    pub fn until_held(&self) {
        self.until("a commit at the gate", || self.waiting.load(Ordering::SeqCst) > 0);
    }

    /// Waits until the condition holds.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < LIMIT, "waited in vain for {what}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until the steps so far hold an event of this name, or an effect.
    #[track_caller]
    pub fn until_step(&self, name: &str) {
        self.until(name, || {
            self.steps().iter().any(|line| {
                line.event.name() == name || line.effects.iter().any(|effect| effect.name() == name)
            })
        });
    }

    /// The steps so far, of all machines.
    pub fn steps(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        let mut lines = text.lines();
        if let Some(head) = lines.next() {
            serde_json::from_str::<Head>(head).unwrap();
        }
        // The last line may be half written while the worker runs.
        lines.map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many effects of this name were given so far.
    pub fn effects(&self, name: &str) -> usize {
        self.steps().iter().flat_map(|line| &line.effects).filter(|effect| effect.name() == name).count()
    }

    /// All jobs, by their recordings' names.
    pub fn jobs(&self) -> Vec<JobRecord> {
        let page = self.ask(self.queue.list(&roboflow::queue::JobFilter::default(), None, 1_000)).unwrap();
        let mut jobs: Vec<JobRecord> =
            page.jobs.into_iter().filter(|job| job.kind != roboflow::queue::JobKind::Assemble).collect();
        jobs.sort_by_key(|job| format!("{:?}", job.kind));
        jobs
    }
}

/// Settings for tests: a lease that is soon over, budgets that are soon spent, a queue that is looked at often.
pub fn quick() -> Settings {
    Settings { poll_interval_ms: 20, lease_ms: 3_000, renew_interval_ms: 100, ..Settings::default() }
}

/// The signal as an input.
pub fn signal(signal: Signal) -> Input {
    Input::Signal(signal)
}
