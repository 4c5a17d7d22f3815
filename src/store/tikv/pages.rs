//! Many pairs in pages whose answers fit, whatever the values' sizes are.
//!
//! An answer beyond what the client takes is an error, so a page is only as long as is sure to fit, or as what was seen so
//! far in this call makes likely; when that fails, the sure length is tried.

use super::connection::Connection;
use super::orphan::only;
use super::value::from_stored;
use crate::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Pair, StoreError};
use tikv_client::{Key, KvPair, Timestamp};

/// Pairs in a page that fits whatever they hold.
pub(super) const SURE_PAGE: usize = 32;
/// The largest key with the largest value as it is stored, in bytes.
pub(super) const PAIR_MAX_BYTES: usize = MAX_KEY_BYTES + MAX_VALUE_BYTES + 1;
/// Pairs in the longest page.
const LONGEST_PAGE: usize = 1_024;
/// What a longer page is meant to hold, in bytes.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// At most `limit` pairs with `start <= key < end`, rising, as they were at this time.
pub(super) async fn scan(
    connection: &Connection,
    at: &Timestamp,
    start: &[u8],
    end: &[u8],
    limit: usize,
) -> Result<Vec<Pair>, StoreError> {
    let mut all: Vec<Pair> = Vec::new();
    let mut from = start.to_vec();
    let mut page = SURE_PAGE;
    let mut largest = 0;
    while all.len() < limit {
        let asked = page.min(limit - all.len());
        let got = match one(connection, at, &from, end, asked).await {
            Err(_) if asked > SURE_PAGE => {
                // It may have been too large, which the client tells from other failures only after many tries.
                page = SURE_PAGE;
                largest = PAGE_BYTES;
                continue;
            }
            got => got?,
        };
        let Some(last) = got.last() else { break };
        let more = got.len() >= asked;
        from = Vec::from(last.key().clone());
        from.push(0);
        largest = got.iter().map(|pair| pair.key().len() + pair.value().len()).fold(largest, usize::max);
        page = next_page(largest);
        all.extend(pairs(connection, got)?);
        if !more {
            break;
        }
    }
    Ok(all)
}

/// Those of these keys that are there, as they were at this time.
pub(super) async fn get_all(
    connection: &Connection,
    at: &Timestamp,
    keys: &[Vec<u8>],
) -> Result<Vec<Pair>, StoreError> {
    let mut all: Vec<Pair> = Vec::new();
    let mut left = keys;
    let mut page = SURE_PAGE;
    let mut largest = 0;
    while !left.is_empty() {
        let (asked, later) = left.split_at(page.min(left.len()));
        let spans: Vec<_> = asked.iter().map(|key| only(key)).collect();
        let read = connection.read("get all", &spans, at, |mut snapshot| {
            let keys = asked.to_vec();
            async move { Ok(snapshot.batch_get(keys).await?.collect::<Vec<_>>()) }
        });
        let got: Vec<KvPair> = match read.await {
            Err(_) if asked.len() > SURE_PAGE => {
                page = SURE_PAGE;
                largest = PAGE_BYTES;
                continue;
            }
            got => got?,
        };
        largest = got.iter().map(|pair| pair.key().len() + pair.value().len()).fold(largest, usize::max);
        page = next_page(largest);
        all.extend(pairs(connection, got)?);
        left = later;
    }
    Ok(all)
}

/// How long the next page may be, when the largest pair so far had this many bytes.
fn next_page(largest_bytes: usize) -> usize {
    PAGE_BYTES.checked_div(largest_bytes).unwrap_or(SURE_PAGE).clamp(SURE_PAGE, LONGEST_PAGE)
}

async fn one(
    connection: &Connection,
    at: &Timestamp,
    start: &[u8],
    end: &[u8],
    limit: usize,
) -> Result<Vec<KvPair>, StoreError> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let span = [(start.to_vec(), end.to_vec())];
    let read = connection.read("scan", &span, at, |mut snapshot| {
        let range = Key::from(start.to_vec())..Key::from(end.to_vec());
        async move { Ok(snapshot.scan(range, limit).await?.collect::<Vec<_>>()) }
    });
    read.await
}

/// Pairs as they were given. Such as stand for nothing are left out.
fn pairs(connection: &Connection, stored: Vec<KvPair>) -> Result<Vec<Pair>, StoreError> {
    let pair = |pair: KvPair| {
        let (key, stored): (Key, Vec<u8>) = pair.into();
        let key: Vec<u8> = key.into();
        let value = from_stored(connection.name(), &key, stored).transpose()?;
        Some(value.map(|value| (key, value)))
    };
    stored.into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_only_as_far_as_what_was_seen_allows() {
        assert_eq!(next_page(0), SURE_PAGE);
        assert_eq!(next_page(100), LONGEST_PAGE);
        assert_eq!(next_page(16 * 1024), 128);
        assert_eq!(next_page(PAIR_MAX_BYTES), SURE_PAGE);
    }
}
