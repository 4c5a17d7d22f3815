//! One transaction in the cluster: reads at its timestamp, and the hand-over to the commit.

use super::commit;
use super::connection::Connection;
use super::orphan::only;
use super::pages;
use super::value::from_stored;
use crate::store::optimistic::{Buffer, Engine, Optimistic, Slot};
use crate::store::{Pair, StoreError, StoreTime};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use tikv_client::{Timestamp, Transaction};

/// A transaction under way. Nothing of it is in the cluster before its commit.
pub(super) struct TikvTxn {
    connection: Arc<Connection>,
    txn: Transaction,
    start: Timestamp,
}

impl TikvTxn {
    pub(super) async fn begin(connection: Arc<Connection>) -> Result<Optimistic<Self>, StoreError> {
        let txn = connection.begin().await?;
        let start = txn.start_timestamp();
        let now = StoreTime(u64::try_from(start.physical).unwrap_or(0));
        Ok(Optimistic::new(Self { connection, txn, start }, now))
    }

    /// Whether all that was read is still so, at a new timestamp. What writes nothing is then equal to a transaction that
    /// ran wholly at that time, and needs no locks.
    async fn still_holds(&self, reads: &BTreeMap<Vec<u8>, Slot>) -> Result<(), StoreError> {
        let now = self.connection.timestamp().await?;
        let keys: Vec<_> = reads.keys().cloned().collect();
        let found = pages::get_all(&self.connection, &now, &keys).await?;
        let found: BTreeMap<_, _> = found.into_iter().collect();
        let holds = reads.iter().all(|(key, slot)| found.get(key) == slot.as_ref());
        if holds { Ok(()) } else { Err(StoreError::Conflict) }
    }
}

#[async_trait]
impl Engine for TikvTxn {
    fn name(&self) -> &str {
        self.connection.name()
    }

    async fn read(&self, key: &[u8]) -> Result<Slot, StoreError> {
        let span = [only(key)];
        let read = self.connection.read("get", &span, &self.start, |mut snapshot| {
            let key = key.to_vec();
            async move { snapshot.get(key).await }
        });
        match read.await? {
            Some(stored) => from_stored(self.connection.name(), key, stored),
            None => Ok(None),
        }
    }

    async fn read_all(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Pair>, StoreError> {
        pages::get_all(&self.connection, &self.start, &keys).await
    }

    async fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        pages::scan(&self.connection, &self.start, start, end, limit).await
    }

    async fn apply(self, buffer: Buffer, _now: StoreTime) -> Result<(), StoreError> {
        if buffer.writes.is_empty() {
            return self.still_holds(&buffer.reads).await;
        }
        commit::commit(self.connection, self.txn, buffer).await
    }
}
