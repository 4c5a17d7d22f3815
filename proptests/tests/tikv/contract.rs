//! The store contract, and what it does not ask of every engine: borders of regions, and pages of large values.

use super::{alone, connect, options};
use roboflow::store::{MAX_VALUE_BYTES, SharedStore};
use roboflow_proptests::dev_cluster::DevCluster;
use roboflow_proptests::spread_store::Spread;
use roboflow_proptests::store_contract::check_all;
use std::sync::MutexGuard;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cluster_keeps_the_contract() {
    let (_alone, store) = cluster().await;
    check_all(|| Spread::new("contract/").over(store.clone())).await;
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_enough() {
    let (_alone, store) = cluster().await;
    check_all(|| Spread::new("contract/").over(store.clone())).await;
}

async fn cluster() -> (MutexGuard<'static, ()>, SharedStore) {
    let cluster = DevCluster::from_env();
    (alone(&cluster), connect(&options(&cluster)).await)
}

/// A name that no other test has.
fn name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

async fn put(store: &SharedStore, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    let mut txn = store.begin().await.unwrap();
    for (key, value) in pairs {
        txn.put(key, value);
    }
    txn.commit().await.unwrap();
}

/// Keys on both sides of a border, next to it.
fn around(border: u8, name: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let key = |head: &[u8], number: u8| [head, name.as_bytes(), &[number]].concat();
    let below = (0..40).map(|number| key(&[border - 1, 0xff, 0xff, 0xff], number)).collect();
    let above = (0..40).map(|number| key(&[border, 0, 0, 0], number)).collect();
    (below, above)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_scan_goes_over_the_borders_of_regions() {
    let (_alone, store) = cluster().await;
    for border in [b'm', b'n', b't', b'u'] {
        let name = name();
        let (below, above) = around(border, &name);
        let keys = || below.iter().chain(&above).cloned();
        put(&store, keys().map(|key| (key, b"value".to_vec()))).await;
        let mut txn = store.begin().await.unwrap();
        let (removed, added) = (below[39].clone(), [above[0].as_slice(), b"+"].concat());
        txn.delete(removed.clone());
        txn.put(added.clone(), b"own".to_vec());
        let end = [above[39].as_slice(), b"!"].concat();
        let scanned = txn.scan(&below[0], &end, 10_000).await.unwrap();
        let ours = scanned.into_iter().map(|(key, _)| key);
        let ours: Vec<_> = ours.filter(|key| key.windows(16).any(|part| part == name.as_bytes())).collect();
        let mut expected: Vec<_> = keys().filter(|key| *key != removed).chain([added]).collect();
        expected.sort();
        assert!(ours == expected, "border {}: {} of {}", border as char, ours.len(), expected.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_any_size_are_scanned_whole() {
    let (_alone, store) = cluster().await;
    let name = name();
    let key = |number: usize| format!("m{name}/{number:05}").into_bytes();
    let (small, large) = (600, 40);
    for first in (0..small).step_by(100) {
        put(&store, (first..first + 100).map(|number| (key(number), vec![1; 10]))).await;
    }
    for number in small..small + large {
        put(&store, [(key(number), vec![2; MAX_VALUE_BYTES])]).await;
    }
    let mut txn = store.begin().await.unwrap();
    let end = format!("m{name}0").into_bytes();
    let first = txn.scan(&key(small), &end, large).await.unwrap();
    assert_eq!(first.len(), large, "large ones from the start");
    let all = txn.scan(&key(0), &end, 10_000).await.unwrap();
    assert_eq!(all.len(), small + large, "large ones behind small ones");
    let bytes: usize = all.iter().map(|(_, value)| value.len()).sum();
    assert_eq!(bytes, small * 10 + large * MAX_VALUE_BYTES);
    for number in small..small + large {
        let mut txn = store.begin().await.unwrap();
        txn.delete(key(number));
        txn.commit().await.unwrap();
    }
}
