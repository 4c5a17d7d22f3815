//! A scanner under the hand of a test: a store and an input that stop it at any step of its round, to kill it there, or to
//! let others go on while it stands still.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support of tests: what it cannot do is a failed test"
)]

use async_trait::async_trait;
use bytes::Bytes;
use roboflow::queue::{Campaign, Queue, QueueSettings};
use roboflow::recordings;
use roboflow::scanner::leader::Lead;
use roboflow::scanner::memory::{Memory, Now};
use roboflow::scanner::round::{Scan, ScanParts, Terms, Time};
use roboflow::scanner::scan_role;
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{ObjectInfo, ObjectIter, ObjectWriter, SharedStorage, Storage, StorageError};
use roboflow::store::{MemoryStore, Pair, SharedStore, Store, StoreError, StoreTime, Txn};
use roboflow::work::StopFlag;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The mapping of these tests. Nothing is converted.
pub const MAPPING: &str = "fps = 30\n";
/// A leader's lease.
pub const LEASE_MS: u64 = 10_000;

/// What happens at a step.
type Hook = Box<dyn FnOnce() + Send>;

/// The steps of one scanner: each key listed, each transaction begun, each commit.
#[derive(Clone, Default)]
pub struct Steps {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    taken: AtomicU64,
    plan: Mutex<Plan>,
}

#[derive(Default)]
enum Plan {
    #[default]
    Free,
    Kill(u64),
    FailOnce(u64),
    Pause(u64, Hook),
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").field("taken", &self.taken()).finish()
    }
}

impl Steps {
    /// From this step on nothing answers it any more, as if it were dead.
    pub fn kill_at(step: u64) -> Self {
        let steps = Self::default();
        *steps.inner.plan.lock().unwrap() = Plan::Kill(step);
        steps
    }

    /// At this step it stands still while the hook runs, on another thread.
    pub fn pause_at(step: u64, hook: impl FnOnce() + Send + 'static) -> Self {
        let steps = Self::default();
        *steps.inner.plan.lock().unwrap() = Plan::Pause(step, Box::new(hook));
        steps
    }

    /// Of the steps from now on, this one fails, and no other.
    pub fn fail_once_in(&self, steps: u64) {
        *self.inner.plan.lock().unwrap() = Plan::FailOnce(self.taken() + steps);
    }

    /// Steps taken so far.
    pub fn taken(&self) -> u64 {
        self.inner.taken.load(Ordering::SeqCst)
    }

    /// Takes one. Whether it is alive.
    fn take(&self) -> bool {
        let step = self.inner.taken.fetch_add(1, Ordering::SeqCst);
        let hook = {
            let mut plan = self.inner.plan.lock().unwrap();
            match &*plan {
                Plan::Kill(at) => return step < *at,
                Plan::FailOnce(at) => return step != *at,
                Plan::Pause(at, _) if step == *at => std::mem::take(&mut *plan),
                Plan::Free | Plan::Pause(..) => return true,
            }
        };
        if let Plan::Pause(_, hook) = hook {
            thread::spawn(hook).join().expect("what goes on meanwhile succeeds");
        }
        true
    }
}

/// A store whose user is stopped at its steps.
#[derive(Debug)]
struct GatedStore {
    store: SharedStore,
    steps: Steps,
}

struct GatedTxn {
    txn: Box<dyn Txn>,
    steps: Steps,
}

fn dead() -> StoreError {
    StoreError::Unavailable { store: "gated".to_owned(), reason: "the process is dead".to_owned() }
}

#[async_trait]
impl Store for GatedStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        if !self.steps.take() {
            return Err(dead());
        }
        Ok(Box::new(GatedTxn { txn: self.store.begin().await?, steps: self.steps.clone() }))
    }
}

#[async_trait]
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

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.txn.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.txn.delete(key);
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if !self.steps.take() {
            return Err(dead());
        }
        self.txn.commit().await
    }
}

/// An input whose reader is stopped at its steps. It only lists.
#[derive(Debug)]
struct GatedInput {
    input: SharedStorage,
    steps: Steps,
}

impl Storage for GatedInput {
    fn location(&self) -> String {
        self.input.location()
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        let gone = || StorageError::Unavailable {
            location: self.location(),
            action: "listing",
            key: String::new(),
            reason: "the process is dead".to_owned(),
        };
        let gate = move |object| if self.steps.take() { object } else { Err(gone()) };
        Ok(Box::new(self.input.list_after(prefix, after)?.map(gate)))
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        self.input.head(key)
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.input.read_at(object, offset, len)
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        self.input.read(key, limit_bytes)
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        self.input.put(key, body)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.input.writer(key)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.input.delete(key)
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.input.delete_all(prefix)
    }

    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        self.input.sweep(prefix)
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.input.sweep_all(prefix)
    }
}

/// A clock that is moved by hand.
#[derive(Debug, Clone, Default)]
pub struct HandTime(Arc<AtomicU64>);

impl HandTime {
    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Time for HandTime {
    fn now(&self) -> Now {
        let ms = self.0.load(Ordering::SeqCst);
        Now { monotonic_ms: ms, wall_ms: 1_000_000_000_000 + ms }
    }
}

/// A store, an input and a clock that several scanners share. Clones are the same.
#[derive(Debug, Clone)]
pub struct ScanLab {
    /// The store.
    pub store: MemoryStore,
    /// The input, for what is written into it.
    pub files: MemoryStorage,
    /// The scanners' clock; the store has its own.
    pub time: HandTime,
    input: SharedStorage,
    runtime: Arc<Runtime>,
    settle_ms: u64,
}

impl ScanLab {
    /// With an empty input in which recordings settle for so long.
    pub fn new(settle: Duration) -> Self {
        let files = MemoryStorage::new();
        Self::over(settle, Arc::new(files.clone()), files)
    }

    /// Over this input.
    pub fn over(settle: Duration, input: SharedStorage, files: MemoryStorage) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            store: MemoryStore::manual(StoreTime(1_000_000)),
            files,
            time: HandTime::default(),
            input,
            runtime: Arc::new(runtime),
            settle_ms: u64::try_from(settle.as_millis()).unwrap(),
        }
    }

    /// Adds recordings, by number.
    pub fn add(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.files.put(&format!("r{number:05}.mcap"), format!("{number}").as_bytes()).unwrap();
        }
    }

    /// What these tests scan for.
    pub fn terms() -> Terms {
        Terms {
            input: "memory:".to_owned(),
            out: "/sets".to_owned(),
            pattern: "**".to_owned(),
            mapping: Some(MAPPING.to_owned()),
            segment_frames: 100,
            skip_failed: false,
            priority: 0,
            batch_recordings_max: 100_000,
            batch_age_max_ms: 365 * 24 * 3_600_000,
        }
    }

    /// The queue, for looking.
    pub fn queue(&self) -> Queue {
        Queue::seeded(Arc::new(self.store.clone()), QueueSettings::default(), 1)
    }

    /// Waits for the queue's answer.
    pub fn ask<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    /// A scanner that is stopped at its steps.
    pub fn scanner(&self, steps: &Steps) -> Scan {
        let store = GatedStore { store: Arc::new(self.store.clone()), steps: steps.clone() };
        let parts = ScanParts {
            queue: Queue::seeded(Arc::new(store), QueueSettings::default(), 1),
            runtime: self.runtime.handle().clone(),
            input: Arc::new(GatedInput { input: Arc::clone(&self.input), steps: steps.clone() }),
            pattern: recordings::glob("**", "**").unwrap(),
            time: Arc::new(self.time.clone()),
            metrics: Arc::default(),
        };
        Scan::new(parts, Self::terms(), Memory::new(self.settle_ms, 60_000))
    }

    /// Leads, as this process; the lead before must have ended.
    pub fn lead(&self, process: u128) -> Lead {
        let queue = self.queue();
        let role = scan_role(roboflow::queue::SeriesId::derive(&Self::terms().out));
        let asked = self.ask(queue.campaign(&role, Uuid::from_u128(process), "test", LEASE_MS));
        let Campaign::Leads(leadership) = asked.unwrap() else { unreachable!("somebody else leads") };
        Lead { leadership, lost: StopFlag::default() }
    }

    /// Goes beyond the lease of whoever leads.
    pub fn outlive_the_lease(&self) {
        self.store.advance(Duration::from_millis(LEASE_MS + 1));
    }

    /// The names of all recordings in the queue, sorted; a name that is there twice is there twice.
    pub fn enqueued(&self) -> Vec<String> {
        let queue = self.queue();
        let page = self.ask(queue.list(&roboflow::queue::JobFilter::default(), None, 1_000_000)).unwrap();
        let name = |job: roboflow::queue::JobRecord| match job.kind {
            roboflow::queue::JobKind::Convert { source } => source.name,
            roboflow::queue::JobKind::Assemble => "assembly".to_owned(),
        };
        let mut names: Vec<String> = page.jobs.into_iter().map(name).collect();
        names.sort();
        names
    }
}
