//! The transaction of engines that check conflicts at commit by comparing values: what was read, what is about to
//! be written, and how its own writes show in its own reads.
//!
//! No lock is held between two calls: a process that is paused in the middle blocks nobody, and dropping a
//! transaction costs nothing. A key that changed and changed back between read and commit is no conflict: the
//! transaction is equal to one that ran wholly at its commit. It does no IO of its own.

use super::{MAX_KEY_BYTES, MAX_SCAN_PAIRS, MAX_VALUE_BYTES, Pair, StoreError, StoreTime, Txn};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};

/// A key's value, or `None` where there is none.
pub(super) type Slot = Option<Vec<u8>>;

/// What an engine does for [`Optimistic`]: of each transaction one, or a handle to what all have in common.
#[async_trait]
pub(super) trait Engine: Sized + Send + Sync + 'static {
    /// The store's name for errors.
    fn name(&self) -> &str;

    /// One key, as it is now or was at the transaction's start.
    async fn read(&self, key: &[u8]) -> Result<Slot, StoreError>;

    /// Those of these keys that are there, each likewise.
    async fn read_all(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Pair>, StoreError>;

    /// At most `limit` pairs of one consistent view. The limit is already bounded.
    async fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Verifies all reads and applies all writes in one step, or does nothing. One of both there is.
    async fn apply(self, buffer: Buffer, now: StoreTime) -> Result<(), StoreError>;
}

/// A transaction over an [`Engine`].
pub(super) struct Optimistic<E: Engine> {
    engine: E,
    buffer: Buffer,
    now: StoreTime,
}

impl<E: Engine> Optimistic<E> {
    pub(super) fn new(engine: E, now: StoreTime) -> Self {
        Self { engine, buffer: Buffer::default(), now }
    }
}

#[async_trait]
impl<E: Engine> Txn for Optimistic<E> {
    fn now(&self) -> StoreTime {
        self.now
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(slot) = self.buffer.seen(key) {
            return Ok(slot);
        }
        let slot = self.engine.read(key).await?;
        self.buffer.first_read.get_or_insert_with(|| key.to_vec());
        self.buffer.reads.insert(key.to_vec(), slot.clone());
        Ok(slot)
    }

    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if start >= end || limit == 0 {
            return Ok(Vec::new());
        }
        let asked = self.buffer.scan_limit(start, end, limit);
        let stored = self.engine.range(start, end, asked).await?;
        Ok(self.buffer.overlay(start, end, limit, stored))
    }

    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        let (mut known, unknown) = self.buffer.known(keys);
        if !unknown.is_empty() {
            known.extend(self.engine.read_all(unknown).await?);
        }
        Ok(known)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.buffer.writes.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.buffer.writes.insert(key, None);
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.buffer.check_sizes(self.engine.name())?;
        if self.buffer.reads.is_empty() && self.buffer.writes.is_empty() {
            return Ok(());
        }
        self.engine.apply(self.buffer, self.now).await
    }
}

/// The reads and the buffered writes of one transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffer {
    /// Every key that was read from the store by `get`, with the value as read.
    pub(super) reads: BTreeMap<Vec<u8>, Slot>,
    /// The first of them that was read.
    pub(super) first_read: Option<Vec<u8>>,
    /// Every key written, with its new value; `None` removes it.
    pub(super) writes: BTreeMap<Vec<u8>, Slot>,
}

impl Buffer {
    /// The value of a key as this transaction has already seen or written it.
    pub(super) fn seen(&self, key: &[u8]) -> Option<Slot> {
        self.writes.get(key).or_else(|| self.reads.get(key)).cloned()
    }

    /// The pairs of those of these keys that this transaction has seen or written, and the keys that it has not.
    pub(super) fn known(&self, keys: &[Vec<u8>]) -> (Vec<Pair>, Vec<Vec<u8>>) {
        let (mut known, mut unknown) = (Vec::new(), BTreeSet::new());
        for key in keys {
            match self.seen(key) {
                Some(slot) => known.extend(slot.map(|value| (key.clone(), value))),
                None => drop(unknown.insert(key.clone())),
            }
        }
        (known, unknown.into_iter().collect())
    }

    /// How many pairs must be read from the store so that `limit` are left after this transaction's own removals.
    pub(super) fn scan_limit(&self, start: &[u8], end: &[u8], limit: usize) -> usize {
        let removed = self.writes_in(start, end).filter(|(_, slot)| slot.is_none()).count();
        limit.min(MAX_SCAN_PAIRS).saturating_add(removed)
    }

    /// Lays this transaction's writes over pairs read from the store.
    pub(super) fn overlay(&self, start: &[u8], end: &[u8], limit: usize, stored: Vec<Pair>) -> Vec<Pair> {
        let asked = self.scan_limit(start, end, limit);
        // Where the store had more to give, nothing is known behind its last pair.
        let horizon = if stored.len() >= asked { stored.last().map(|(key, _)| key.clone()) } else { None };
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, slot) in self.writes_in(start, end) {
            if horizon.as_ref().is_some_and(|last| key > last) {
                break;
            }
            match slot {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged.into_iter().take(limit.min(MAX_SCAN_PAIRS)).collect()
    }

    fn writes_in<'a>(
        &'a self,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Slot)> {
        self.writes.iter().filter(move |(key, _)| start <= key.as_slice() && key.as_slice() < end)
    }

    /// Refuses writes that no engine could take.
    pub(super) fn check_sizes(&self, store: &str) -> Result<(), StoreError> {
        for (key, slot) in &self.writes {
            let value_bytes = slot.as_ref().map_or(0, Vec::len);
            if key.len() > MAX_KEY_BYTES || value_bytes > MAX_VALUE_BYTES {
                return Err(StoreError::Unusable {
                    store: store.to_owned(),
                    reason: format!(
                        "a key of {} bytes with a value of {value_bytes} bytes is beyond the limits of \
                         {MAX_KEY_BYTES} and {MAX_VALUE_BYTES} bytes",
                        key.len()
                    ),
                });
            }
        }
        Ok(())
    }
}
