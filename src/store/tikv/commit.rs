//! The commit of a transaction that writes: handed to a task of its own, so that it comes to an end whoever still waits
//! for it.
//!
//! A commit that is known to have failed takes its locks back before anybody tries again: left alone they would stand in
//! the way of every other transaction until they expire (3 s). One whose outcome is unknown is left as it is.

use super::connection::Connection;
use super::fault::{self, Fate};
use super::orphan::only;
use super::value::to_stored;
use crate::store::StoreError;
use crate::store::optimistic::Buffer;
use std::sync::Arc;
use tikv_client::{Error, Transaction};
use tokio::time::{Instant, timeout};

/// Commits, and gives back what became of it. When that is known, the lock on the first key that was read is gone: whoever
/// begins all its transactions with the same key never waits for the others to go.
pub(super) async fn commit(
    connection: Arc<Connection>,
    txn: Transaction,
    buffer: Buffer,
) -> Result<(), StoreError> {
    let runtime = connection.runtime().clone();
    // Never cut off in the middle: the requests of a commit that is dropped go on without it, and leave locks behind.
    let task = runtime.spawn(async move { to_the_end(&connection, txn, buffer).await });
    task.await.unwrap_or_else(|_| {
        Err(StoreError::Unknown { reason: "the task of the commit ended early".to_owned() })
    })
}

async fn to_the_end(connection: &Connection, mut txn: Transaction, buffer: Buffer) -> Result<(), StoreError> {
    let keys: Vec<_> = buffer.writes.keys().chain(buffer.reads.keys()).map(|key| only(key)).collect();
    if let Err(error) = fill(&mut txn, buffer).await {
        // Nothing was sent yet.
        return Err(connection.unavailable(fault::text(&error)));
    }
    let (begun, limit) = (Instant::now(), connection.call_limit());
    let error = match timeout(limit, txn.commit()).await {
        Ok(Ok(_)) => {
            if keys.len() > 1 {
                connection.unlocking(begun.elapsed());
            }
            return Ok(());
        }
        Ok(Err(error)) => error,
        Err(_) => {
            connection.doubt().await;
            return Err(StoreError::Unknown { reason: format!("no answer within {} ms", limit.as_millis()) });
        }
    };
    let text = fault::text(&error);
    let fate = fault::of_commit(&error);
    if fate != Fate::Unknown {
        take_locks_back(connection, &mut txn).await;
        timeout(connection.request_limit(), connection.judge_orphans(&error, &keys)).await.ok();
    }
    if fault::is_of_the_client(&error) {
        connection.doubt().await;
    }
    Err(match fate {
        Fate::Conflict => StoreError::Conflict,
        Fate::Unreachable => connection.unavailable(format!("commit: {text}")),
        Fate::Unknown => StoreError::Unknown { reason: text },
    })
}

/// Gives the client all writes, and all that was only read to lock. The first key given decides for all: the one that
/// was read first if it is written, else another written one, which fewer others have to do with.
async fn fill(txn: &mut Transaction, buffer: Buffer) -> Result<(), Error> {
    let Buffer { reads, first_read, mut writes } = buffer;
    let only_read: Vec<_> = reads.into_keys().filter(|key| !writes.contains_key(key)).collect();
    let first = first_read.and_then(|key| writes.remove_entry(&key));
    for (key, slot) in first.into_iter().chain(writes) {
        match slot {
            Some(value) => txn.put(key, to_stored(value)).await?,
            None => txn.delete(key).await?,
        }
    }
    txn.lock_keys(only_read).await
}

/// Only after a commit that surely did not happen: it would tear apart one that did.
async fn take_locks_back(connection: &Connection, txn: &mut Transaction) {
    match timeout(connection.request_limit(), txn.rollback()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(
                store = connection.name(),
                error = fault::text(&error),
                "locks are left to expire"
            );
        }
        Err(_) => tracing::debug!(store = connection.name(), "locks are left to expire: no answer"),
    }
}
