//! The bench of the queue: what it counts, that it leaves nothing behind, and that it touches nobody's queue.
//!
//! How fast anything is, it does not say.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::bench::BenchError;
use roboflow::bench::ground::Ground;
use roboflow::bench::queue::{Plan, Report, run};
use roboflow::queue::{Queue, QueueSettings, config_hash};
use roboflow::store::{Durability, MAX_SCAN_PAIRS, Pair, StorePlace};
use roboflow_proptests::queue_bench::{MAPPING, batch, recording};
use std::path::Path;
use tempfile::TempDir;

fn place(folder: &Path) -> StorePlace {
    StorePlace::Sqlite { path: folder.join("queue.db"), durability: Durability::Normal }
}

async fn everything(place: &StorePlace) -> Vec<Pair> {
    let mut txn = place.open().await.unwrap().begin().await.unwrap();
    txn.scan(&[0], &[0xff], MAX_SCAN_PAIRS).await.unwrap()
}

async fn bench(place: &StorePlace, remove_leftovers: bool) -> Result<Report, BenchError> {
    let plan = Plan { claimers: vec![1, 3], jobs: 40, remove_leftovers };
    run(place, QueueSettings::default(), &plan).await
}

async fn with_queue(place: &StorePlace, prefix: &str) -> Vec<Pair> {
    let settings = QueueSettings { prefix: prefix.to_owned(), ..QueueSettings::default() };
    let queue = Queue::new(place.open().await.unwrap(), settings);
    assert_eq!(queue.put_config(MAPPING).await.unwrap(), config_hash(MAPPING));
    queue.submit(&batch(0), &[recording(1)]).await.unwrap();
    everything(place).await
}

#[tokio::test]
async fn it_counts_what_a_claim_costs_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let place = place(folder.path());
    let report = bench(&place, false).await.unwrap();
    let alone = report.claim_alone;
    assert_eq!(
        (alone.begins, alone.gets, alone.commits, alone.puts, alone.deletes),
        (1.0, 2.0, 1.0, 3.0, 1.0)
    );
    // The scans of the index and of the batch, and now and then a second one of the index.
    assert!((2.0..2.5).contains(&alone.scans), "{alone:?}");
    let empty = report.claim_of_nothing;
    assert_eq!((empty.begins, empty.gets, empty.commits), (1.0, 1.0, 0.0));
    assert!((1.0..=2.0).contains(&empty.scans), "{empty:?}");
    assert_eq!(report.levels.len(), 2);
    for level in &report.levels {
        assert_eq!((level.claims.count, level.pairs.count), (40, 40), "{level:?}");
        assert!(level.plain.count >= 40 && level.plain.per_second > 0.0, "{level:?}");
        assert!(level.claims.p50_ms > 0.0 && level.claims.p50_ms <= level.claims.p99_ms, "{level:?}");
        assert!(level.calls_per_claim.waits() >= alone.waits() - 0.5, "{level:?}");
        assert!(level.claims_to_plain > 0.0 && level.pairs_to_plain > 0.0, "{level:?}");
    }
    assert_eq!(everything(&place).await, []);
}

#[tokio::test]
async fn a_queue_in_the_same_store_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let place = place(folder.path());
    let before = with_queue(&place, "roboflow").await;
    bench(&place, true).await.unwrap();
    assert_eq!(everything(&place).await, before);
}

#[tokio::test]
async fn where_a_queue_is_nothing_is_measured() {
    let folder = TempDir::new().unwrap();
    let place = place(folder.path());
    let before = with_queue(&place, "roboflow-bench").await;
    for remove_leftovers in [false, true] {
        let refused = bench(&place, remove_leftovers).await.unwrap_err();
        assert!(matches!(refused, BenchError::Occupied { .. }), "{refused}");
        assert!(refused.to_string().contains("--key-prefix"), "{refused}");
    }
    assert_eq!(everything(&place).await, before);
}

#[tokio::test]
async fn what_a_bench_left_that_was_cut_off_is_removed_only_when_asked_for() {
    let folder = TempDir::new().unwrap();
    let place = place(folder.path());
    let prefix = "roboflow-bench".to_owned();
    Ground::take(place.open().await.unwrap(), place.to_string(), prefix.clone(), false).await.unwrap();
    // More than one page of what it made.
    let settings = QueueSettings { prefix, ..QueueSettings::default() };
    let queue = Queue::new(place.open().await.unwrap(), settings);
    queue.put_config(MAPPING).await.unwrap();
    let jobs: Vec<_> = (0..400).map(recording).collect();
    queue.submit(&batch(0), &jobs).await.unwrap();
    let refused = bench(&place, false).await.unwrap_err();
    assert!(refused.to_string().contains("--remove-leftovers"), "{refused}");
    assert!(everything(&place).await.len() > 1_000);
    bench(&place, true).await.unwrap();
    assert_eq!(everything(&place).await, []);
}
