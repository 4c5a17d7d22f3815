//! One transaction: reads at its timestamp, its own writes over them, and the hand-over to the commit.

use super::commit;
use super::connection::Connection;
use super::orphan::only;
use super::pages;
use super::value::from_stored;
use crate::store::optimistic::Buffer;
use crate::store::{Pair, StoreError, StoreTime, Txn};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use tikv_client::{Timestamp, Transaction};

/// A transaction under way. Nothing of it is in the cluster before its commit.
pub(super) struct TikvTxn {
    connection: Arc<Connection>,
    txn: Transaction,
    start: Timestamp,
    buffer: Buffer,
    /// The first key that was read.
    first_read: Option<Vec<u8>>,
}

impl TikvTxn {
    pub(super) async fn begin(connection: Arc<Connection>) -> Result<Self, StoreError> {
        let txn = connection.begin().await?;
        let start = txn.start_timestamp();
        Ok(Self { connection, txn, start, buffer: Buffer::default(), first_read: None })
    }

    /// Whether all that was read is still so, at a new timestamp. What writes nothing is then equal to a transaction that
    /// ran wholly at that time, and needs no locks.
    async fn still_holds(&self) -> Result<(), StoreError> {
        let now = self.connection.timestamp().await?;
        let keys: Vec<_> = self.buffer.reads.keys().cloned().collect();
        let found = pages::get_all(&self.connection, &now, &keys).await?;
        let found: BTreeMap<_, _> = found.into_iter().collect();
        let holds = self.buffer.reads.iter().all(|(key, slot)| found.get(key) == slot.as_ref());
        if holds { Ok(()) } else { Err(StoreError::Conflict) }
    }
}

#[async_trait]
impl Txn for TikvTxn {
    fn now(&self) -> StoreTime {
        StoreTime(u64::try_from(self.start.physical).unwrap_or(0))
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(slot) = self.buffer.seen(key) {
            return Ok(slot);
        }
        let span = [only(key)];
        let read = self.connection.read("get", &span, &self.start, |mut snapshot| {
            let key = key.to_vec();
            async move { snapshot.get(key).await }
        });
        let slot = match read.await? {
            Some(stored) => from_stored(self.connection.name(), key, stored)?,
            None => None,
        };
        self.first_read.get_or_insert_with(|| key.to_vec());
        self.buffer.reads.insert(key.to_vec(), slot.clone());
        Ok(slot)
    }

    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if start >= end || limit == 0 {
            return Ok(Vec::new());
        }
        let asked = self.buffer.scan_limit(start, end, limit);
        let stored = pages::scan(&self.connection, &self.start, start, end, asked).await?;
        Ok(self.buffer.overlay(start, end, limit, stored))
    }

    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        let (mut known, unknown) = self.buffer.known(keys);
        known.extend(pages::get_all(&self.connection, &self.start, &unknown).await?);
        Ok(known)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.buffer.writes.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.buffer.writes.insert(key, None);
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.buffer.check_sizes(self.connection.name())?;
        match (self.buffer.writes.is_empty(), self.buffer.reads.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => self.still_holds().await,
            (false, _) => commit::commit(self.connection, self.txn, self.buffer, self.first_read).await,
        }
    }
}
