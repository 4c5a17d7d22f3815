//! What every store promises (`roboflow::store`), as one suite that each engine runs.
//!
//! It asserts nothing about an engine's own habits, such as which of two blind writers wins: files, locks and faults are
//! the engines' tests.

#![expect(clippy::expect_used, clippy::panic, reason = "a broken promise fails the test at once")]

use roboflow::error::{Class, Classified};
use roboflow::store::{
    MAX_KEY_BYTES, MAX_SCAN_PAIRS, MAX_VALUE_BYTES, Pair, SharedStore, StoreError, StoreTime, Txn,
};
use std::pin::Pin;
use std::time::Duration;

/// A check under way.
type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One promise: its name, and the check, given a store whose keys below `contract/` are free to use.
pub type Promise = (&'static str, fn(SharedStore) -> Check);

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        /// All promises. A test calls [`check_all`], or runs them one by one to see which is broken.
        pub const PROMISES: &[Promise] = &[$((stringify!($name), |store| Box::pin($name(store)))),*];
    };
}

promises![
    what_is_committed_is_read,
    nothing_is_visible_before_commit,
    a_dropped_transaction_leaves_nothing,
    own_writes_are_seen,
    own_writes_show_in_scans,
    scans_are_ordered_and_bounded,
    scans_page_to_the_end,
    a_changed_key_is_a_conflict,
    a_created_and_a_removed_key_are_conflicts,
    a_changed_key_is_a_conflict_for_readers_too,
    a_scan_is_no_part_of_the_conflict_check,
    what_was_scanned_and_then_read_is,
    a_scan_is_one_consistent_view,
    many_keys_are_looked_at_at_once_and_bind_nothing,
    increments_are_not_lost,
    oversized_writes_are_refused_whole,
    the_largest_write_fits,
    an_empty_commit_succeeds,
    an_idle_transaction_blocks_nobody,
    time_never_falls,
];

/// Checks each promise on a store of its own.
///
/// # Panics
/// When one is broken; its name is printed before.
pub async fn check_all(mut make: impl FnMut() -> SharedStore) {
    for (name, promise) in PROMISES {
        say(name);
        promise(make()).await;
    }
}

#[expect(clippy::print_stderr, reason = "says in a failing test's output which promise it was")]
fn say(name: &str) {
    eprintln!("promise: {name}");
}

fn key(name: impl AsRef<[u8]>) -> Vec<u8> {
    [b"contract/", name.as_ref()].concat()
}

async fn begin(store: &SharedStore) -> Box<dyn Txn> {
    store.begin().await.expect("begin")
}

async fn put(store: &SharedStore, name: impl AsRef<[u8]>, value: &[u8]) {
    let mut txn = begin(store).await;
    txn.put(key(name), value.to_vec());
    txn.commit().await.expect("commit");
}

async fn remove(store: &SharedStore, name: &str) {
    let mut txn = begin(store).await;
    txn.delete(key(name));
    txn.commit().await.expect("commit");
}

async fn get(store: &SharedStore, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    begin(store).await.get(&key(name)).await.expect("get")
}

async fn scan(store: &SharedStore, start: &str, end: &str, limit: usize) -> Vec<Pair> {
    begin(store).await.scan(&key(start), &key(end), limit).await.expect("scan")
}

fn names(pairs: &[Pair]) -> Vec<String> {
    pairs.iter().map(|(key, _)| String::from_utf8_lossy(key).replace("contract/", "")).collect()
}

async fn what_is_committed_is_read(store: SharedStore) {
    for (name, value) in [(&b"a"[..], &b"text"[..]), (b"empty", b""), (b"\x00\xff\x00", b"\x00\x01\xff")] {
        assert_eq!(get(&store, name).await, None);
        put(&store, name, value).await;
        assert_eq!(get(&store, name).await.as_deref(), Some(value));
    }
    put(&store, "a", b"other").await;
    assert_eq!(get(&store, "a").await.as_deref(), Some(&b"other"[..]));
    remove(&store, "a").await;
    remove(&store, "a").await;
    assert_eq!(get(&store, "a").await, None);
}

async fn nothing_is_visible_before_commit(store: SharedStore) {
    let mut txn = begin(&store).await;
    txn.put(key("a"), b"1".to_vec());
    txn.put(key("b"), b"1".to_vec());
    assert_eq!(get(&store, "a").await, None);
    assert!(scan(&store, "", "z", 10).await.is_empty());
    txn.commit().await.expect("commit");
    assert_eq!(names(&scan(&store, "", "z", 10).await), ["a", "b"]);
}

async fn a_dropped_transaction_leaves_nothing(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.get(&key("a")).await.expect("get");
    txn.put(key("a"), b"2".to_vec());
    txn.put(key("b"), b"2".to_vec());
    drop(txn);
    assert_eq!(get(&store, "a").await.as_deref(), Some(&b"1"[..]));
    put(&store, "a", b"3").await;
    assert_eq!(names(&scan(&store, "", "z", 10).await), ["a"]);
}

async fn own_writes_are_seen(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.put(key("a"), b"2".to_vec());
    assert_eq!(txn.get(&key("a")).await.expect("get").as_deref(), Some(&b"2"[..]));
    txn.delete(key("a"));
    assert_eq!(txn.get(&key("a")).await.expect("get"), None);
    txn.put(key("b"), b"3".to_vec());
    txn.commit().await.expect("commit");
    assert_eq!(names(&scan(&store, "", "z", 10).await), ["b"]);
}

async fn own_writes_show_in_scans(store: SharedStore) {
    for name in ["b", "d", "f", "h"] {
        put(&store, name, b"old").await;
    }
    let mut txn = begin(&store).await;
    for name in ["a", "c", "d"] {
        txn.put(key(name), b"new".to_vec());
    }
    for name in ["b", "f", "x"] {
        txn.delete(key(name));
    }
    for limit in 0..6 {
        let pairs = txn.scan(&key("a"), &key("z"), limit).await.expect("scan");
        let mut expected = vec!["a", "c", "d", "h"];
        expected.truncate(limit);
        assert_eq!(names(&pairs), expected, "limit {limit}");
        assert!(pairs.iter().all(|(key, value)| (value == b"old") == key.ends_with(b"h")));
    }
    let some = txn.scan(&key("b"), &key("d"), 10).await.expect("scan");
    assert_eq!(names(&some), ["c"]);
    let mut txn = begin(&store).await;
    txn.delete(key("b"));
    txn.delete(key("d"));
    let first = txn.scan(&key("a"), &key("z"), 1).await.expect("scan");
    assert_eq!(names(&first), ["f"], "what is removed takes no place");
}

async fn scans_are_ordered_and_bounded(store: SharedStore) {
    for name in ["b", "ba", "a", "c", "b\u{0}", "bz"] {
        put(&store, name, name.as_bytes()).await;
    }
    assert_eq!(names(&scan(&store, "b", "c", 10).await), ["b", "b\u{0}", "ba", "bz"]);
    assert_eq!(names(&scan(&store, "b", "c", 2).await), ["b", "b\u{0}"]);
    assert!(scan(&store, "b", "c", 0).await.is_empty());
    assert!(scan(&store, "b", "b", 10).await.is_empty());
    assert!(scan(&store, "c", "a", 10).await.is_empty());
    assert!(scan(&store, "d", "z", 10).await.is_empty());
}

async fn scans_page_to_the_end(store: SharedStore) {
    let count = MAX_SCAN_PAIRS + 10;
    // Not all in one transaction, which not every engine would take.
    for first in (0..count).step_by(100) {
        let mut txn = begin(&store).await;
        for number in first..count.min(first + 100) {
            txn.put(key(format!("{number:08}")), Vec::new());
        }
        txn.commit().await.expect("commit");
    }
    let first = scan(&store, "", "z", usize::MAX).await;
    assert_eq!(first.len(), MAX_SCAN_PAIRS);
    let mut behind = first.last().expect("a last pair").0.clone();
    behind.push(0);
    let rest = begin(&store).await.scan(&behind, &key("z"), usize::MAX).await.expect("scan");
    assert_eq!(rest.len(), count - MAX_SCAN_PAIRS);
}

async fn a_changed_key_is_a_conflict(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.get(&key("a")).await.expect("get");
    put(&store, "a", b"2").await;
    txn.put(key("b"), b"3".to_vec());
    let error = txn.commit().await.expect_err("a conflict");
    assert!(matches!(error, StoreError::Conflict), "{error}");
    assert_eq!(error.class(), Class::Transient);
    assert_eq!(get(&store, "b").await, None, "nothing of it is written");
}

async fn a_created_and_a_removed_key_are_conflicts(store: SharedStore) {
    put(&store, "there", b"1").await;
    for name in ["missing", "there"] {
        let mut txn = begin(&store).await;
        txn.get(&key(name)).await.expect("get");
        match name {
            "there" => remove(&store, name).await,
            _ => put(&store, name, b"").await,
        }
        txn.put(key("b"), b"3".to_vec());
        assert!(matches!(txn.commit().await, Err(StoreError::Conflict)), "{name}");
    }
}

async fn a_changed_key_is_a_conflict_for_readers_too(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.get(&key("a")).await.expect("get");
    put(&store, "a", b"2").await;
    assert!(matches!(txn.commit().await, Err(StoreError::Conflict)));
    let mut txn = begin(&store).await;
    txn.get(&key("a")).await.expect("get");
    put(&store, "unrelated", b"2").await;
    txn.commit().await.expect("other keys are no conflict");
}

async fn a_scan_is_no_part_of_the_conflict_check(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.scan(&key(""), &key("z"), 10).await.expect("scan");
    put(&store, "a", b"2").await;
    put(&store, "b", b"2").await;
    txn.put(key("c"), b"3".to_vec());
    txn.commit().await.expect("a scan only proposes");
}

async fn what_was_scanned_and_then_read_is(store: SharedStore) {
    put(&store, "a", b"1").await;
    let mut txn = begin(&store).await;
    txn.scan(&key(""), &key("z"), 10).await.expect("scan");
    txn.get(&key("a")).await.expect("get");
    put(&store, "a", b"2").await;
    txn.put(key("c"), b"3".to_vec());
    assert!(matches!(txn.commit().await, Err(StoreError::Conflict)));
}

/// Two keys always hold the same number: a scan that sees them differ has seen half a commit.
async fn a_scan_is_one_consistent_view(store: SharedStore) {
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..200u32 {
                let mut txn = begin(&store).await;
                txn.put(key("left"), number.to_be_bytes().to_vec());
                txn.put(key("right"), number.to_be_bytes().to_vec());
                txn.commit().await.expect("commit");
                tokio::task::yield_now().await;
            }
        })
    };
    while !writer.is_finished() {
        let pairs = scan(&store, "", "z", 10).await;
        if let [(_, left), (_, right)] = pairs.as_slice() {
            assert_eq!(left, right);
        } else {
            assert!(pairs.is_empty(), "half a commit: {pairs:?}");
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer");
}

/// Adds 1 to a number in the store, `times` times, trying again after each conflict.
///
/// # Panics
/// On any other error.
pub async fn increment(store: &SharedStore, name: &str, times: u32) {
    for _ in 0..times {
        loop {
            let mut txn = begin(store).await;
            let before = txn.get(&key(name)).await.expect("get");
            tokio::task::yield_now().await;
            let before = before.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")));
            txn.put(key(name), (before + 1).to_be_bytes().to_vec());
            match txn.commit().await {
                Ok(()) => break,
                Err(StoreError::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The number that [`increment`] counts in.
///
/// # Panics
/// When the store cannot be read.
pub async fn count(store: &SharedStore, name: &str) -> u32 {
    get(store, name).await.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

async fn many_keys_are_looked_at_at_once_and_bind_nothing(store: SharedStore) {
    for number in 0..200 {
        put(&store, format!("{number:04}"), &vec![7; number * 50]).await;
    }
    let mut txn = begin(&store).await;
    assert!(txn.get(&key("0003")).await.expect("get").is_some());
    txn.put(key("0500"), b"own".to_vec());
    txn.put(key("0001"), b"own".to_vec());
    txn.delete(key("0002"));
    let keys: Vec<_> = (0..600).step_by(2).chain([1, 3]).map(|number| key(format!("{number:04}"))).collect();
    let mut pairs = txn.peek_all(&keys).await.expect("peek");
    pairs.sort_unstable();
    let own = [(key("0001"), b"own".to_vec()), (key("0500"), b"own".to_vec())];
    let stored = (0..200).step_by(2).chain([3]).filter(|number| *number != 2);
    let mut expected: Vec<Pair> =
        stored.map(|number| (key(format!("{number:04}")), vec![7; number * 50])).chain(own).collect();
    expected.sort_unstable();
    assert!(pairs == expected, "{:?}", names(&pairs));
    put(&store, "0004", b"changed meanwhile").await;
    txn.commit().await.expect("what was only looked at is no part of the conflict check");
    assert!(begin(&store).await.peek_all(&[]).await.expect("peek").is_empty());
}

async fn increments_are_not_lost(store: SharedStore) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { increment(&store, "count", 25).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    assert_eq!(count(&store, "count").await, 8 * 25);
}

async fn oversized_writes_are_refused_whole(store: SharedStore) {
    let too_long = vec![b'k'; MAX_KEY_BYTES + 1];
    for (bad_key, value) in [(too_long, Vec::new()), (key("big"), vec![0; MAX_VALUE_BYTES + 1])] {
        let mut txn = begin(&store).await;
        txn.put(key("small"), b"1".to_vec());
        txn.put(bad_key, value);
        let error = txn.commit().await.expect_err("too large");
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        assert_eq!(error.class(), Class::Permanent);
        assert_eq!(get(&store, "small").await, None);
    }
}

async fn the_largest_write_fits(store: SharedStore) {
    let name = vec![0x7e; MAX_KEY_BYTES - key("").len()];
    let value = vec![0xa5; MAX_VALUE_BYTES];
    put(&store, &name, &value).await;
    assert!(get(&store, &name).await == Some(value));
}

async fn an_empty_commit_succeeds(store: SharedStore) {
    begin(&store).await.commit().await.expect("commit");
}

async fn an_idle_transaction_blocks_nobody(store: SharedStore) {
    let mut idle = begin(&store).await;
    idle.get(&key("a")).await.expect("get");
    idle.put(key("a"), b"idle".to_vec());
    let others = async {
        for number in 0..20u8 {
            put(&store, "a", &[number]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), others).await.expect("others go on");
    assert!(matches!(idle.commit().await, Err(StoreError::Conflict)));
}

async fn time_never_falls(store: SharedStore) {
    let mut last = StoreTime(0);
    for _ in 0..1_000 {
        let now = begin(&store).await.now();
        assert!(now >= last && now > StoreTime(0), "{now:?} after {last:?}");
        last = now;
    }
}
