//! A store whose time is moved by hand, over any store: so that a test with leases runs on a real engine.

use async_trait::async_trait;
use roboflow::store::{Pair, SharedStore, Store, StoreError, StoreTime, Txn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time that several handles share.
#[derive(Debug, Clone)]
pub struct HandClock {
    now_ms: Arc<AtomicU64>,
}

impl HandClock {
    /// Starting here.
    pub fn new(start: StoreTime) -> Self {
        Self { now_ms: Arc::new(AtomicU64::new(start.0)) }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// What it shows.
    pub fn now(&self) -> StoreTime {
        StoreTime(self.now_ms.load(Ordering::SeqCst))
    }

    /// The same store under this clock.
    pub fn over(&self, store: SharedStore) -> SharedStore {
        Arc::new(Clocked { store, clock: self.clone() })
    }
}

#[derive(Debug)]
struct Clocked {
    store: SharedStore,
    clock: HandClock,
}

struct ClockedTxn {
    txn: Box<dyn Txn>,
    now: StoreTime,
}

#[async_trait]
impl Store for Clocked {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(ClockedTxn { txn: self.store.begin().await?, now: self.clock.now() }))
    }
}

#[async_trait]
impl Txn for ClockedTxn {
    fn now(&self) -> StoreTime {
        self.now
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
        self.txn.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.txn.delete(key);
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.txn.commit().await
    }
}
