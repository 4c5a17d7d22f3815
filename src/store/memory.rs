//! The store in memory: the model of the contract, with a clock that is moved by hand and faults on demand.
//!
//! It keeps nothing over a restart. Tests and the simulator use it; so may a run that needs no restart.

use super::optimistic::{Buffer, Engine, Optimistic, Slot};
use super::{Pair, Store, StoreError, StoreTime, Txn};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The name in errors.
const NAME: &str = "memory";

/// A call to the store, as a fault plan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Store::begin`].
    Begin,
    /// [`Txn::get`] of a key that this transaction has not read yet.
    Get,
    /// [`Txn::scan`], or [`Txn::peek_all`].
    Scan,
    /// [`Txn::commit`] with this many writes.
    Commit {
        /// Keys written or removed.
        writes: usize,
    },
}

/// What a plan makes of a call. [`Fault::Conflict`] and the three unknown outcomes mean something only for a commit;
/// any other call goes on as without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call does what it should.
    None,
    /// The call waits this long on the runtime's clock (which a test may have paused), then goes on.
    Delay(Duration),
    /// Nothing is written, and the caller is told of a conflict.
    Conflict,
    /// Nothing is read or written, and the caller is told so.
    Unavailable,
    /// The commit takes effect, but the caller is told that the outcome is unknown.
    UnknownApplied,
    /// The commit is lost for good, and the caller is told that the outcome is unknown.
    UnknownLost,
    /// The caller is told that the outcome is unknown; the commit is still on its way, and takes effect after this
    /// many further calls to the store (or at [`MemoryStore::settle`]), unless a key it read has changed by then.
    UnknownLater {
        /// Calls of any kind, by anybody.
        calls: u32,
    },
}

/// Decides the fault of each call, in the order of the calls: a seeded plan replays.
pub type Plan = Box<dyn FnMut(Call) -> Fault + Send>;

struct Late {
    calls_left: u32,
    buffer: Buffer,
}

enum Clock {
    Manual(u64),
    Running(Instant),
}

struct Inner {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    clock: Clock,
    plan: Option<Plan>,
    late: Vec<Late>,
    commits: u64,
}

/// A store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    engine: Arc<MemoryEngine>,
}

struct MemoryEngine {
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// An empty store whose clock runs by itself, from 1 ms on.
    pub fn new() -> Self {
        Self::with_clock(Clock::Running(Instant::now()))
    }

    /// An empty store whose clock stands still until [`MemoryStore::advance`].
    pub fn manual(start: StoreTime) -> Self {
        Self::with_clock(Clock::Manual(start.0))
    }

    fn with_clock(clock: Clock) -> Self {
        let inner = Inner { pairs: BTreeMap::new(), clock, plan: None, late: Vec::new(), commits: 0 };
        Self { engine: Arc::new(MemoryEngine { inner: Mutex::new(inner) }) }
    }

    /// Moves a manual clock forward. A running clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Clock::Manual(now_ms) = &mut self.engine.lock().clock {
            *now_ms = now_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The store's time.
    pub fn now(&self) -> StoreTime {
        self.engine.lock().now()
    }

    /// Lets the plan decide the fault of every call from now on; `None` ends all faults (late commits stay late).
    pub fn inject(&self, plan: Option<Plan>) {
        self.engine.lock().plan = plan;
    }

    /// Lets every late commit take effect now, in the order they were made, as far as nothing they read has changed.
    /// Gives back how many did.
    pub fn settle(&self) -> usize {
        let mut inner = self.engine.lock();
        let late = std::mem::take(&mut inner.late);
        late.into_iter().filter(|late| inner.apply(&late.buffer).is_ok()).count()
    }

    /// How many commits are still on their way.
    pub fn late(&self) -> usize {
        self.engine.lock().late.len()
    }

    /// How many commits took effect so far.
    pub fn commits(&self) -> u64 {
        self.engine.lock().commits
    }

    /// All pairs, rising: the whole keyspace at one instant, for invariants.
    pub fn dump(&self) -> Vec<Pair> {
        self.engine.lock().pairs.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Sets a pair behind everybody's back, as a damaged disk or another program would.
    pub fn overwrite(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let mut inner = self.engine.lock();
        match value {
            Some(value) => inner.pairs.insert(key, value),
            None => inner.pairs.remove(&key),
        };
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.engine, f)
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("MemoryStore")
            .field("pairs", &inner.pairs.len())
            .field("late", &inner.late.len())
            .field("now", &inner.now())
            .finish()
    }
}

impl Inner {
    fn now(&self) -> StoreTime {
        match &self.clock {
            Clock::Manual(now_ms) => StoreTime(*now_ms),
            Clock::Running(since) => {
                StoreTime(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1))
            }
        }
    }

    fn apply(&mut self, buffer: &Buffer) -> Result<(), StoreError> {
        if buffer.reads.iter().any(|(key, slot)| self.pairs.get(key) != slot.as_ref()) {
            return Err(StoreError::Conflict);
        }
        for (key, slot) in &buffer.writes {
            match slot {
                Some(value) => self.pairs.insert(key.clone(), value.clone()),
                None => self.pairs.remove(key),
            };
        }
        self.commits += 1;
        Ok(())
    }

    /// Counts this call for the late commits and asks the plan.
    fn enter(&mut self, call: Call) -> Fault {
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .map(|late| Late { calls_left: late.calls_left.saturating_sub(1), ..late })
            .partition(|late| late.calls_left == 0);
        self.late = waiting;
        for late in due {
            // A late commit that meets a changed key is lost, as on any store.
            let _lost_or_applied = self.apply(&late.buffer);
        }
        self.plan.as_mut().map_or(Fault::None, |plan| plan(call))
    }
}

impl MemoryEngine {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in a critical section panics halfway through a change, so a poisoned lock still guards whole data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits where the plan says so; gives back what else it says.
    async fn enter(&self, call: Call) -> Result<Fault, StoreError> {
        let fault = self.lock().enter(call);
        match fault {
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::Unavailable => {
                return Err(StoreError::Unavailable {
                    store: NAME.to_owned(),
                    reason: "injected fault".to_owned(),
                });
            }
            _ => {}
        }
        Ok(fault)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        self.engine.enter(Call::Begin).await?;
        let now = self.engine.lock().now();
        Ok(Box::new(Optimistic::new(Arc::clone(&self.engine), now)))
    }
}

#[async_trait]
impl Engine for Arc<MemoryEngine> {
    fn name(&self) -> &str {
        NAME
    }

    async fn read(&self, key: &[u8]) -> Result<Slot, StoreError> {
        self.enter(Call::Get).await?;
        Ok(self.lock().pairs.get(key).cloned())
    }

    async fn read_all(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Pair>, StoreError> {
        self.enter(Call::Scan).await?;
        let inner = self.lock();
        Ok(keys
            .into_iter()
            .filter_map(|key| inner.pairs.get(&key).cloned().map(|value| (key, value)))
            .collect())
    }

    async fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.enter(Call::Scan).await?;
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        let inner = self.lock();
        let pairs = inner.pairs.range::<[u8], _>(bounds).take(limit);
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn apply(self, buffer: Buffer, _now: StoreTime) -> Result<(), StoreError> {
        let fault = self.enter(Call::Commit { writes: buffer.writes.len() }).await?;
        let unknown = || StoreError::Unknown { reason: "injected fault".to_owned() };
        match fault {
            Fault::None | Fault::Delay(_) | Fault::Unavailable => self.lock().apply(&buffer),
            Fault::Conflict => Err(StoreError::Conflict),
            Fault::UnknownLost => Err(unknown()),
            // A conflict is known as such even when the answer to the write is lost.
            Fault::UnknownApplied => self.lock().apply(&buffer).and(Err(unknown())),
            Fault::UnknownLater { calls } => {
                self.lock().late.push(Late { calls_left: calls.max(1), buffer });
                Err(unknown())
            }
        }
    }
}
