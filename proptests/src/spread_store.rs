//! A store under a name of its own, whose keys lie in all regions of the dev cluster.
//!
//! Tests share one cluster: each takes a name by chance and finds nothing there. Keys go to one of five zones by the byte
//! behind their home (`contract/`, `roboflow/`), in order, so that ordinary transactions span regions. Keys keep their
//! length, so limits mean what they mean. Each scan of the inner store stays in one zone: scans over the border of a
//! region are tests of their own.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "a wrong key fails the test at once")]

use async_trait::async_trait;
use rand::Rng;
use roboflow::store::{MAX_KEY_BYTES, MAX_SCAN_PAIRS, Pair, SharedStore, Store, StoreError, StoreTime, Txn};
use std::sync::Arc;

/// Where the zones lie, and the first byte that goes there. The cluster's regions begin at m, n, t and u.
const ZONES: [(u8, u8); 5] = [(b'l', 0), (b'm', b'c'), (b'n', b'e'), (b't', b'k'), (b'u', b'p')];

/// How keys are mapped.
#[derive(Debug, Clone)]
pub struct Spread {
    home: &'static [u8],
    name: Arc<Vec<u8>>,
}

impl Spread {
    /// For keys below this home, under a new name.
    pub fn new(home: &'static str) -> Self {
        let letters = rand::rng().sample_iter(rand::distr::Alphanumeric).take(home.len() - 1).collect();
        Self { home: home.as_bytes(), name: Arc::new(letters) }
    }

    /// This store's keys, spread.
    pub fn over(&self, store: SharedStore) -> SharedStore {
        Arc::new(SpreadStore { store, spread: self.clone() })
    }

    fn zone(&self, zone: usize, rest: &[u8]) -> Vec<u8> {
        [&[ZONES[zone].0], self.name.as_slice(), rest].concat()
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        let Some(rest) = key.strip_prefix(self.home) else {
            assert!(key.len() > MAX_KEY_BYTES, "not a key of this home");
            return key.to_vec();
        };
        let first = rest.first().copied().unwrap_or(0);
        let zone = ZONES.iter().rposition(|(_, from)| *from <= first).unwrap_or(0);
        self.zone(zone, rest)
    }

    fn back(&self, (key, value): Pair) -> Pair {
        let rest = key.get(1 + self.name.len()..).unwrap_or_else(|| panic!("a key of no zone: {key:?}"));
        ([self.home, rest].concat(), value)
    }

    /// The parts of a range, one a zone.
    fn ranges(&self, start: &[u8], end: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let low = if start <= self.home { Some(&[][..]) } else { start.strip_prefix(self.home) };
        let (Some(low), true) = (low, end > self.home) else { return Vec::new() };
        let high = end.strip_prefix(self.home);
        let part = |zone: usize| {
            let from = [ZONES[zone].1];
            let from = if zone == 0 { low } else { low.max(&from) };
            let next = ZONES.get(zone + 1).map(|(_, next)| [*next]);
            let to = match (high, &next) {
                (Some(high), Some(next)) => Some(high.min(next.as_slice())),
                (Some(high), None) => Some(high),
                (None, Some(next)) => Some(next.as_slice()),
                (None, None) => None,
            };
            let end = to.map_or_else(|| self.behind(zone), |to| self.zone(zone, to));
            (self.zone(zone, from), end)
        };
        (0..ZONES.len()).map(part).filter(|(start, end)| start < end).collect()
    }

    /// The first key behind all of a zone.
    fn behind(&self, zone: usize) -> Vec<u8> {
        let mut key = self.zone(zone, &[]);
        if let Some(last) = key.last_mut() {
            *last += 1;
        }
        key
    }
}

#[derive(Debug)]
struct SpreadStore {
    store: SharedStore,
    spread: Spread,
}

struct SpreadTxn {
    txn: Box<dyn Txn>,
    spread: Spread,
}

#[async_trait]
impl Store for SpreadStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(SpreadTxn { txn: self.store.begin().await?, spread: self.spread.clone() }))
    }
}

#[async_trait]
impl Txn for SpreadTxn {
    fn now(&self) -> StoreTime {
        self.txn.now()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.txn.get(&self.spread.key(key)).await
    }

    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let limit = limit.min(MAX_SCAN_PAIRS);
        let mut pairs = Vec::new();
        for (start, end) in self.spread.ranges(start, end) {
            let got = self.txn.scan(&start, &end, limit - pairs.len()).await?;
            pairs.extend(got.into_iter().map(|pair| self.spread.back(pair)));
        }
        Ok(pairs)
    }

    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| self.spread.key(key)).collect();
        Ok(self.txn.peek_all(&keys).await?.into_iter().map(|pair| self.spread.back(pair)).collect())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.txn.put(self.spread.key(&key), value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.txn.delete(self.spread.key(&key));
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.txn.commit().await
    }
}
