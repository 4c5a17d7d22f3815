//! The store on a cluster that speaks TiKV's protocol: the fleet's.
//!
//! What a transaction is here, and what it costs, in requests one after the other:
//! - `begin` takes a start timestamp from the placement driver (1). Its milliseconds are [`Txn::now`]: they never fall,
//!   over all processes and restarts.
//! - Reads are made at that timestamp (1 each), so they all see one snapshot. Own writes are laid over them here.
//! - `commit` locks every key that was written or read with `get`, takes a commit timestamp, and commits the first key
//!   written, which decides for all (3). A key that was only read is locked and unlocked without a new value. So two
//!   transactions that read one key and write elsewhere stand in each other's way as if both had written it: what many
//!   read and few change is better read with `scan`.
//! - `commit` without a write looks at its keys once more, at a new timestamp, and locks nothing (2).
//!
//! When the first key is committed the commit is done, and the answer is given; a task of the client unlocks the other keys
//! behind it. A process that ends before has lost nothing, but whoever reads these keys next must find out first what
//! became of the commit: [`Store::settle`] waits for as long as that task should need, a few milliseconds.
//!
//! Nothing is sent before `commit`: a transaction that is dropped leaves no lock, so there is nothing to roll back.
//! Neither async commit nor one-phase commit is used: recovery from a client that died in them is unfinished in the crate.
//!
//! Which error means what is decided in `fault` alone, how long is waited in `limits`, what is done about a client or a lock
//! that is stuck in `connection` and `orphan`.

mod commit;
mod connection;
mod fault;
mod limits;
mod options;
mod orphan;
mod pages;
mod start;
mod tls;
mod transaction;
mod value;

pub use options::{TikvOptions, TlsFiles};

use super::{Store, StoreError, Txn};
use async_trait::async_trait;
use connection::Connection;
use std::sync::Arc;
use transaction::TikvTxn;

/// A cluster. It belongs to the runtime on which it was connected, and may be called from any.
#[derive(Debug)]
pub struct TikvStore {
    connection: Arc<Connection>,
}

impl TikvStore {
    /// Connects, and tries again for as long as the options say.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the options or the TLS files cannot be used, [`StoreError::Unavailable`] when no
    /// placement driver answered: each names what it is about and what to do.
    pub async fn connect(options: &TikvOptions) -> Result<Self, StoreError> {
        Ok(Self { connection: Arc::new(Connection::open(options.clone()).await?) })
    }
}

#[async_trait]
impl Store for TikvStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(TikvTxn::begin(Arc::clone(&self.connection)).await?))
    }

    async fn settle(&self) {
        self.connection.settle().await;
    }
}
