//! The transactional key-value interface that the queue is written against, once.
//!
//! Architecture Invariant: no name of an engine appears above this folder, and nothing in it knows of jobs.
//!
//! What every engine promises, held by one contract suite:
//! - Keys are byte strings, ordered by bytes; values are byte strings. A key is at most [`MAX_KEY_BYTES`], a value
//!   at most [`MAX_VALUE_BYTES`].
//! - [`Txn::get`] makes the key part of the conflict check: the commit fails with [`StoreError::Conflict`] when the
//!   key's value changed after it was read. A decision rests only on keys that were read with `get`.
//! - [`Txn::scan`] is one consistent view of its range and includes this transaction's own writes, but is not part
//!   of the conflict check: it proposes, `get` decides.
//! - Between two calls of one transaction there may be other commits: no snapshot over calls is promised.
//! - Writes are buffered, seen by this transaction's own reads, and take effect together at [`Txn::commit`], or not
//!   at all. Dropping a transaction drops its writes.
//! - When `commit` returns `Ok`, the writes are durable to the degree that the engine's setting says, and visible to
//!   every later transaction of every process.
//! - [`StoreError::Unknown`] out of `commit` means that the writes may or may not have taken effect, or may still do:
//!   the caller reads back before anything else happens.
//! - Time is the store's own: it never falls, and goes on over restarts of every process.

pub mod memory;
mod optimistic;
mod place;
pub mod sqlite;
pub mod tikv;

pub use memory::MemoryStore;
pub use place::StorePlace;
pub use sqlite::{Durability, SqliteStore};
pub use tikv::{TikvOptions, TikvStore};

use crate::error::{Class, Classified};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// A key's greatest length in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// A value's greatest length in bytes.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// The most pairs one scan gives back.
pub const MAX_SCAN_PAIRS: usize = 10_000;

/// An instant of the store's clock, in milliseconds. Comparable between all users of one store, with nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct StoreTime(pub u64);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A store that any number of tasks, threads and processes use at once.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Starts a transaction.
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError>;

    /// Waits a moment for what commits have left to do behind their answer, before the process ends. Short, and at its end
    /// nothing is promised: what is left undone, the next reader does.
    async fn settle(&self) {}
}

/// A shared store.
pub type SharedStore = Arc<dyn Store>;

/// One transaction.
#[async_trait]
pub trait Txn: Send {
    /// The store's time at the start of this transaction.
    fn now(&self) -> StoreTime;

    /// The value of a key, and the key in the conflict check.
    async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs with `start <= key < end`, rising. `limit` above [`MAX_SCAN_PAIRS`] is cut to it:
    /// callers page by starting again behind the last key.
    async fn scan(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Those of these keys that are there, in any order; a key given twice may come twice. Each as [`Txn::scan`] would
    /// give it: not part of the conflict check, it proposes. An engine to which every question is a journey asks for many
    /// at once.
    async fn peek_all(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::with_capacity(keys.len());
        for key in keys {
            let end = [key.as_slice(), &[0]].concat();
            pairs.extend(self.scan(key, &end, 1).await?);
        }
        Ok(pairs)
    }

    /// Sets a key, at commit.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>);

    /// Removes a key, at commit. Removing what is not there is no error.
    fn delete(&mut self, key: Vec<u8>);

    /// Makes the writes take effect together.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// What can go wrong with a store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another commit changed a key that this transaction read. Nothing was written; start over.
    #[error("conflict with another transaction")]
    Conflict,
    /// The commit may or may not have taken effect.
    #[error("the outcome of the commit is unknown: {reason}")]
    Unknown {
        /// What was seen.
        reason: String,
    },
    /// The store cannot be reached or is too busy. Nothing was written.
    #[error("the store {store} is not available: {reason}")]
    Unavailable {
        /// Which store, without secrets.
        store: String,
        /// What was seen.
        reason: String,
    },
    /// The store cannot be used as it is set up: a wrong path, no permission, a damaged or foreign file, an oversized
    /// value.
    #[error("the store {store} cannot be used: {reason}")]
    Unusable {
        /// Which store, without secrets.
        store: String,
        /// What was seen and what to do.
        reason: String,
    },
}

impl Classified for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::Conflict | Self::Unknown { .. } | Self::Unavailable { .. } => Class::Transient,
            Self::Unusable { .. } => Class::Permanent,
        }
    }
}
