//! The part of a store that a bench works in: empty when it begins, and empty again when it is done.
//!
//! A mark says whose it is, from before the first other key until after the last: what is there without it is a queue,
//! and is never touched.

use super::{BenchError, patiently};
use crate::store::{Pair, SharedStore, StoreError};

/// Keys removed in one transaction. Few: a store of the dev cluster writes, with each key, the names of all others.
const PAGE: usize = 64;

/// All keys that begin with a prefix and a slash.
#[derive(Debug)]
pub struct Ground {
    store: SharedStore,
    name: String,
    prefix: String,
}

impl Ground {
    /// Takes the ground under this prefix, once nothing is there; what an earlier bench left is removed if that was
    /// asked for. `name` is the store's, for errors.
    ///
    /// # Errors
    /// When there is something, or the store fails.
    pub async fn take(
        store: SharedStore,
        name: String,
        prefix: String,
        remove_leftovers: bool,
    ) -> Result<Self, BenchError> {
        let ground = Self { store, name, prefix };
        if ground.is_marked().await? && remove_leftovers {
            ground.clear().await?;
        }
        let Self { name: store, prefix, .. } = &ground;
        let (store, prefix) = (store.clone(), prefix.clone());
        if ground.is_marked().await? {
            return Err(BenchError::Leftovers { store, prefix });
        }
        if !ground.page(1).await?.is_empty() {
            return Err(BenchError::Occupied { store, prefix });
        }
        ground.mark(true).await?;
        Ok(ground)
    }

    /// Gives it back empty.
    ///
    /// # Errors
    /// When the store fails. What is left then is told apart by its mark.
    pub async fn give_back(self) -> Result<(), BenchError> {
        self.clear().await
    }

    /// A key of this ground that no queue writes.
    fn marking(&self) -> Vec<u8> {
        format!("{}/bench", self.prefix).into_bytes()
    }

    async fn is_marked(&self) -> Result<bool, BenchError> {
        let mut txn = self.store.begin().await?;
        Ok(txn.get(&self.marking()).await?.is_some())
    }

    async fn mark(&self, there: bool) -> Result<(), BenchError> {
        self.commit(|| match there {
            true => vec![(self.marking(), Some(b"roboflow bench".to_vec()))],
            false => vec![(self.marking(), None)],
        })
        .await
    }

    async fn page(&self, limit: usize) -> Result<Vec<Pair>, BenchError> {
        let start = format!("{}/", self.prefix).into_bytes();
        // The byte behind the slash.
        let end = format!("{}0", self.prefix).into_bytes();
        let mut txn = self.store.begin().await?;
        Ok(txn.scan(&start, &end, limit).await?)
    }

    async fn clear(&self) -> Result<(), BenchError> {
        loop {
            let mut keys: Vec<Vec<u8>> = self.page(PAGE).await?.into_iter().map(|(key, _)| key).collect();
            keys.retain(|key| *key != self.marking());
            if keys.is_empty() {
                break;
            }
            self.commit(|| keys.iter().map(|key| (key.clone(), None)).collect()).await?;
        }
        self.mark(false).await
    }

    async fn commit(&self, writes: impl Fn() -> Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), BenchError> {
        Ok(patiently(|| self.commit_once(writes())).await?)
    }

    async fn commit_once(&self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        let mut txn = self.store.begin().await?;
        for (key, value) in writes {
            match value {
                Some(value) => txn.put(key, value),
                None => txn.delete(key),
            }
        }
        txn.commit().await
    }
}
