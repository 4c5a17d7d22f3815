//! A store that counts what it is asked, and passes everything on.

use crate::store::{Pair, SharedStore, Store, StoreError, StoreTime, Txn};
use async_trait::async_trait;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was counted, so far.
#[derive(Debug, Default)]
struct Counters {
    begins: AtomicU64,
    gets: AtomicU64,
    scans: AtomicU64,
    commits: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    put_bytes: AtomicU64,
}

/// Calls to a store, of a number of operations or as the mean of one. What a call costs in requests over a network is
/// the engine's to say; `puts` and `deletes` go with the commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Calls {
    /// Transactions begun.
    pub begins: f64,
    /// Keys read.
    pub gets: f64,
    /// Ranges read, or several keys at once.
    pub scans: f64,
    /// Commits.
    pub commits: f64,
    /// Keys set.
    pub puts: f64,
    /// Keys removed.
    pub deletes: f64,
    /// Bytes of the values set.
    pub put_bytes: f64,
}

impl Calls {
    fn with(self, other: Self, each: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            begins: each(self.begins, other.begins),
            gets: each(self.gets, other.gets),
            scans: each(self.scans, other.scans),
            commits: each(self.commits, other.commits),
            puts: each(self.puts, other.puts),
            deletes: each(self.deletes, other.deletes),
            put_bytes: each(self.put_bytes, other.put_bytes),
        }
    }

    /// These and those.
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    /// What was counted since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        self.with(earlier, |now, then| now - then)
    }

    /// The mean of one of so many.
    pub fn mean(self, of: usize) -> Self {
        let of = of.max(1) as f64;
        self.with(Self::default(), |sum, _| sum / of)
    }

    /// Calls that wait for the store.
    pub fn waits(&self) -> f64 {
        self.begins + self.gets + self.scans + self.commits
    }
}

/// The store.
#[derive(Debug, Clone)]
pub struct CountingStore {
    store: SharedStore,
    counters: Arc<Counters>,
}

impl CountingStore {
    /// Over this one.
    pub fn new(store: SharedStore) -> Self {
        Self { store, counters: Arc::default() }
    }

    /// What it and its copies were asked so far.
    pub fn calls(&self) -> Calls {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let counters = &self.counters;
        Calls {
            begins: read(&counters.begins),
            gets: read(&counters.gets),
            scans: read(&counters.scans),
            commits: read(&counters.commits),
            puts: read(&counters.puts),
            deletes: read(&counters.deletes),
            put_bytes: read(&counters.put_bytes),
        }
    }
}

#[async_trait]
impl Store for CountingStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        count(&self.counters.begins, 1);
        let txn = self.store.begin().await?;
        Ok(Box::new(CountingTxn { txn, counters: Arc::clone(&self.counters) }))
    }
}

struct CountingTxn {
    txn: Box<dyn Txn>,
    counters: Arc<Counters>,
}

#[async_trait]
impl Txn for CountingTxn {
    fn now(&self) -> StoreTime {
        self.txn.now()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        count(&self.counters.gets, 1);
        self.txn.get(key).await
    }

    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        count(&self.counters.scans, 1);
        self.txn.scan(start, end, limit).await
    }

    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        count(&self.counters.scans, 1);
        self.txn.peek_all(keys).await
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        count(&self.counters.puts, 1);
        count(&self.counters.put_bytes, value.len() as u64);
        self.txn.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        count(&self.counters.deletes, 1);
        self.txn.delete(key);
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        count(&self.counters.commits, 1);
        self.txn.commit().await
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
