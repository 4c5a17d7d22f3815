//! Counters that many add to, and an entry for each addition: what is lost or doubled shows at the end.
//!
//! Every addition has a nonce. After an unknown outcome its entry is read; where there is none, the entry is taken by a
//! fence, so that an addition still on its way can only fail. After any other error the same nonce is tried again: an
//! addition that happened although its commit said that nothing was written is found out by its entry.

use roboflow::store::{SharedStore, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Counters: fewer than those who add, so that they meet.
const COUNTERS: u64 = 2;
/// However long the cluster is away in these tests, it comes back within this.
const RESOLVED_WITHIN: Duration = Duration::from_secs(60);
const DONE: &[u8] = b"done";
const FENCED: &[u8] = b"fenced";

/// What was met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub added: AtomicU64,
    pub conflicts: AtomicU64,
    pub unavailable: AtomicU64,
    pub unknown: AtomicU64,
    /// Of the unknown ones, those that had taken effect.
    pub unknown_added: AtomicU64,
}

/// A ledger under way.
pub(crate) struct Ledger {
    pub met: Arc<Met>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

fn counter(number: u64) -> Vec<u8> {
    format!("ledger/count/{number}").into_bytes()
}

fn entry(who: u64, nonce: u64) -> Vec<u8> {
    format!("ledger/nonce/{who:04}/{nonce:012}").into_bytes()
}

fn number(bytes: Option<Vec<u8>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

impl Ledger {
    /// Starts one task a store.
    pub(crate) fn start(stores: Vec<SharedStore>) -> Self {
        let (met, stop) = (Arc::<Met>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..).zip(stores).map(|(who, store)| {
            let (met, stop) = (Arc::clone(&met), Arc::clone(&stop));
            tokio::spawn(async move { work(&store, who, &met, &stop).await })
        });
        Self { tasks: tasks.collect(), met, stop }
    }

    /// How many additions were confirmed so far.
    pub(crate) fn added(&self) -> u64 {
        self.met.added.load(Ordering::Relaxed)
    }

    /// Waits until so many more additions were confirmed, and says how long that took.
    pub(crate) async fn goes_on(&self, more: u64, within: Duration) -> Duration {
        let (begun, target) = (tokio::time::Instant::now(), self.added() + more);
        while self.added() < target {
            assert!(begun.elapsed() < within, "no progress within {within:?}: {:?}", self.met);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    /// Ends it, and checks that nothing was lost or doubled.
    pub(crate) async fn finish(self, store: &SharedStore) {
        self.stop.store(true, Ordering::Relaxed);
        let mut confirmed = 0;
        for task in self.tasks {
            confirmed += task.await.expect("a task that adds");
        }
        let mut txn = store.begin().await.unwrap();
        let mut counted = 0;
        for counter in (0..COUNTERS).map(counter) {
            counted += number(txn.get(&counter).await.unwrap());
        }
        let (mut entered, mut start) = (0, b"ledger/nonce/".to_vec());
        loop {
            let page = txn.scan(&start, b"ledger/nonce0", 10_000).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            start = [last.as_slice(), &[0]].concat();
            entered += page.iter().filter(|(_, value)| value == DONE).count() as u64;
        }
        assert_eq!(
            (counted, entered),
            (confirmed, confirmed),
            "added, entered and confirmed: {:?}",
            self.met
        );
    }
}

async fn work(store: &SharedStore, who: u64, met: &Met, stop: &AtomicBool) -> u64 {
    let mut confirmed = 0;
    for nonce in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if add(store, who, nonce, met).await {
            confirmed += 1;
            met.added.fetch_add(1, Ordering::Relaxed);
        }
    }
    confirmed
}

/// Adds one under this nonce; `false` when it was fenced off.
async fn add(store: &SharedStore, who: u64, nonce: u64, met: &Met) -> bool {
    let begun = tokio::time::Instant::now();
    loop {
        assert!(begun.elapsed() < RESOLVED_WITHIN, "entry {nonce} of {who} cannot be added: {met:?}");
        match try_add(store, who, nonce).await {
            Ok(()) => return true,
            Err(StoreError::Conflict) => drop(met.conflicts.fetch_add(1, Ordering::Relaxed)),
            Err(StoreError::Unavailable { .. }) => drop(met.unavailable.fetch_add(1, Ordering::Relaxed)),
            Err(StoreError::Unknown { .. }) => {
                met.unknown.fetch_add(1, Ordering::Relaxed);
                let added = resolve(store, who, nonce).await;
                met.unknown_added.fetch_add(u64::from(added), Ordering::Relaxed);
                return added;
            }
            Err(error @ StoreError::Unusable { .. }) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..10))).await;
    }
}

async fn try_add(store: &SharedStore, who: u64, nonce: u64) -> Result<(), StoreError> {
    let counter = counter((who + nonce) % COUNTERS);
    let mut txn = store.begin().await?;
    let entered = txn.get(&entry(who, nonce)).await?;
    assert_eq!(entered, None, "an addition took effect of which the store said that nothing was written");
    let before = number(txn.get(&counter).await?);
    txn.put(counter, (before + 1).to_be_bytes().to_vec());
    txn.put(entry(who, nonce), DONE.to_vec());
    txn.commit().await
}

/// Whether the addition took effect; after `false` it never will.
async fn resolve(store: &SharedStore, who: u64, nonce: u64) -> bool {
    let begun = tokio::time::Instant::now();
    loop {
        match try_resolve(store, who, nonce).await {
            Ok(added) => return added,
            Err(error) => assert!(begun.elapsed() < RESOLVED_WITHIN, "entry {nonce} of {who}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn try_resolve(store: &SharedStore, who: u64, nonce: u64) -> Result<bool, StoreError> {
    let mut txn = store.begin().await?;
    match txn.get(&entry(who, nonce)).await?.as_deref() {
        Some(DONE) => return Ok(true),
        Some(FENCED) => return Ok(false),
        Some(other) => panic!("an entry holds {other:?}"),
        None => txn.put(entry(who, nonce), FENCED.to_vec()),
    }
    txn.commit().await.map(|()| false)
}
