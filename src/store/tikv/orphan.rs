//! Locks of a writer that died before it had locked its first key, which decides for all.
//!
//! The client knows how to deal with them, but never does: asked for the transaction, the store answers that there is none
//! (`TxnNotFound`), the crate looks for that answer in another wrapping than it comes in (0.4.0,
//! `LockResolver::check_txn_status`), and the lock would stay in everybody's way for ever. Its clean-up for garbage collection
//! takes the other path, and is used here on just the keys that were asked for.
//!
//! It is safe at any time: the store first writes down, at the deciding key, that the transaction was rolled back, unless it
//! was committed. One that was only slow then fails as after any conflict. The age is waited for so that slow ones are left
//! in peace.

use std::sync::Arc;
use tikv_client::transaction::ResolveLocksOptions;
use tikv_client::{Error, Key, Timestamp, TimestampExt, TransactionClient};

/// The age of a transaction, in milliseconds of the store's time, from which its locks are judged: locks live as long.
const AGE_MS: i64 = 3_000;

/// Keys from the first up to the second, without it.
pub(super) type Span = (Vec<u8>, Vec<u8>);

/// One key.
pub(super) fn only(key: &[u8]) -> Span {
    (key.to_vec(), [key, &[0]].concat())
}

/// Settles what became of the transaction with this start, and of older ones, as far as they hold locks on these keys.
/// `false`: it is too young.
pub(super) async fn judge(
    client: &Arc<TransactionClient>,
    keys: &[Span],
    start_ts: u64,
) -> Result<bool, Error> {
    let started = Timestamp::from_version(start_ts);
    let now = client.current_timestamp().await?;
    if now.physical.saturating_sub(started.physical) < AGE_MS {
        return Ok(false);
    }
    // Whether the bound itself is meant too, stores see differently.
    let before = Timestamp::from_version(start_ts.saturating_add(1));
    for (start, end) in keys {
        let range = Key::from(start.clone())..Key::from(end.clone());
        client.cleanup_locks(range, &before, ResolveLocksOptions::default()).await?;
    }
    Ok(true)
}
