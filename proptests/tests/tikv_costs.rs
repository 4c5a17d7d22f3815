//! What transactions and claims cost on the dev cluster: requests, counted by the client, and time.
//!
//! A test of its own, alone in its process: the counters are of all clients in it. It needs a running cluster:
//! `deploy/dev/cluster start`, and `ROBOFLOW_DEV` with its state folder.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail the test at once")]

use roboflow::bench::counting::{Calls, CountingStore};
use roboflow::queue::{JobResult, Queue, QueueSettings};
use roboflow::store::{SharedStore, TikvOptions, TikvStore};
use roboflow_proptests::dev_cluster::DevCluster;
use roboflow_proptests::queue_bench::{MAPPING, Worker, batch, recording};
use roboflow_proptests::spread_store::Spread;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Transactions of each kind.
const ROUNDS: u32 = 300;
/// Longer than the median of any transaction here takes on a busy machine.
const MEDIAN_MAX: Duration = Duration::from_millis(100);

/// Requests so far, by what they ask.
fn requests() -> BTreeMap<String, u64> {
    let mut requests = BTreeMap::new();
    for family in prometheus::gather() {
        if !matches!(family.get_name(), "tikv_request_total" | "pd_request_total") {
            continue;
        }
        for metric in family.get_metric() {
            let kind = metric.get_label().first().unwrap().get_value().to_owned();
            requests.insert(kind, metric.get_counter().get_value() as u64);
        }
    }
    requests
}

/// Runs it so often, and gives back requests a round.
async fn measure(what: &str, rounds: u32, mut round: impl AsyncFnMut(u32)) -> BTreeMap<String, f64> {
    round(0).await;
    // What is left to do behind the last answer.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = requests();
    let mut took = Vec::new();
    for number in 1..=rounds {
        let begun = Instant::now();
        round(number).await;
        took.push(begun.elapsed());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap();
    let after = requests();
    let each = after.into_iter().map(|(kind, count)| {
        let more = count - before.get(&kind).copied().unwrap_or(0);
        (kind, more as f64 / f64::from(rounds))
    });
    let each: BTreeMap<_, _> = each.filter(|(_, count)| *count > 0.0).collect();
    eprintln!("{what}: p50 {:?}, p99 {:?}, requests {each:.2?}", at(50), at(99));
    assert!(at(50) < MEDIAN_MAX, "{what}");
    each
}

/// These requests and no others, but for a few: now and then a transaction meets what the one before it left to do.
fn assert_costs(each: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    let whole = each.iter().map(|(kind, count)| (kind.as_str(), count.round()));
    let whole: BTreeMap<_, _> = whole.filter(|(_, count)| *count > 0.0).collect();
    assert_eq!(whole, expected, "{each:.2?}");
}

async fn write(store: &SharedStore, get: &[&str], put: &[&str], number: u32) {
    let mut txn = store.begin().await.unwrap();
    for name in get {
        txn.get(format!("cost/{name}").as_bytes()).await.unwrap();
    }
    for name in put {
        txn.put(format!("cost/{name}").into_bytes(), number.to_be_bytes().to_vec());
    }
    txn.commit().await.unwrap();
}

async fn cluster() -> SharedStore {
    let options = TikvOptions {
        endpoints: vec![DevCluster::from_env().env("TIKV_PD_ENDPOINTS").to_owned()],
        tls: None,
        request_timeout: Duration::from_secs(2),
        connect_within: Duration::from_secs(10),
    };
    Arc::new(TikvStore::connect(&options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_costs() {
    let store = cluster().await;
    transactions(&Spread::new("cost/").over(Arc::clone(&store))).await;
    jobs(&Spread::new("roboflow/").over(Arc::clone(&store))).await;
    endings(&store).await;
}

/// What a process that ends right after a commit leaves to the next reader.
async fn endings(store: &SharedStore) {
    let rounds = 30;
    let settled = left_behind(store, rounds, true).await;
    let at_once = left_behind(store, rounds, false).await;
    eprintln!(
        "of {rounds} processes that ended after a commit, {settled} left locks when they settled, {at_once} at once"
    );
    assert!(settled <= rounds / 5, "settling does not wait for what is left to do");
}

async fn left_behind(store: &SharedStore, rounds: u32, settle: bool) -> u32 {
    let mut left = 0;
    for round in 0..rounds {
        let spread = Spread::new("cost/");
        let write = {
            let spread = spread.clone();
            move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let runtime = runtime.unwrap();
                runtime.block_on(async {
                    let inner = cluster().await;
                    write(&spread.over(Arc::clone(&inner)), &["a"], &["a", "d", "f"], round).await;
                    if settle {
                        inner.settle().await;
                    }
                });
                runtime
            }
        };
        // As the process ends.
        let runtime = tokio::task::spawn_blocking(write).await.unwrap();
        runtime.shutdown_background();
        let before = requests().get("kv_resolve_lock").copied();
        let store = spread.over(Arc::clone(store));
        let mut txn = store.begin().await.unwrap();
        for name in ["a", "d", "f"] {
            assert!(txn.get(format!("cost/{name}").as_bytes()).await.unwrap().is_some());
        }
        left += u32::from(requests().get("kv_resolve_lock").copied() > before);
    }
    left
}

async fn transactions(store: &SharedStore) {
    let idle = measure("begin", ROUNDS, async |_| drop(store.begin().await.unwrap())).await;
    assert_costs(&idle, &[("get_timestamp", 1.0)]);
    let one = measure("get and put of one key", ROUNDS, async |number| {
        write(store, &["a"], &["a"], number).await;
    });
    let twice = ("get_timestamp", 2.0);
    assert_costs(&one.await, &[twice, ("kv_get", 1.0), ("kv_prewrite", 1.0), ("kv_commit", 1.0)]);
    let near = measure("3 keys of one region", ROUNDS, async |number| {
        write(store, &["a"], &["a", "aa", "ab"], number).await;
    });
    assert_costs(&near.await, &[twice, ("kv_get", 1.0), ("kv_prewrite", 1.0), ("kv_commit", 2.0)]);
    let far = measure("3 keys of three regions", ROUNDS, async |number| {
        write(store, &["a"], &["a", "d", "f"], number).await;
    });
    assert_costs(&far.await, &[twice, ("kv_get", 1.0), ("kv_prewrite", 3.0), ("kv_commit", 3.0)]);
    let reader = measure("2 keys read and one more written", ROUNDS, async |number| {
        write(store, &["a", "aa"], &["ab"], number).await;
    });
    assert_costs(&reader.await, &[twice, ("kv_get", 2.0), ("kv_prewrite", 1.0), ("kv_commit", 2.0)]);
    let reads = measure("2 keys read, and a commit", ROUNDS, async |number| {
        write(store, &["a", "aa"], &[], number).await;
    });
    assert_costs(&reads.await, &[twice, ("kv_get", 2.0), ("kv_batch_get", 1.0)]);
}

/// What operations of the queue ask of the store, and of the cluster: over five regions, as keys lie here; on a real
/// cluster a queue mostly lies in one or two.
async fn jobs(store: &SharedStore) {
    let rounds = 50;
    let counting = CountingStore::new(Arc::clone(store));
    let queue = Queue::new(Arc::new(counting.clone()), QueueSettings::default());
    queue.put_config(MAPPING).await.unwrap();
    let recordings: Vec<_> = (0..=rounds).map(recording).collect();
    queue.submit(&batch(0), &recordings).await.unwrap();
    let worker = Worker::number(1);
    queue.register(&worker.info(1)).await.unwrap();
    let mut claims = Vec::new();
    let before = counting.calls();
    let claim = measure("claim", rounds, async |_| {
        claims.push(queue.claim(&worker.intent()).await.unwrap().unwrap());
    });
    let claim = claim.await;
    let claimed = counting.calls();
    assert_one_transaction("claim", claimed.since(before).mean(claims.len()));
    let requests: f64 = claim.values().sum();
    assert!(requests <= 25.0, "a claim takes {requests} requests: {claim:.2?}");
    let checkpoint = measure("checkpoint", rounds, async |number| {
        let claim = claims.get(number as usize).unwrap();
        queue.checkpoint(&worker.own(claim), &worker.intent(), 1).await.unwrap();
    });
    checkpoint.await;
    let checkpointed = counting.calls();
    assert_one_transaction("checkpoint", checkpointed.since(claimed).mean(claims.len()));
    let complete = measure("complete", rounds, async |number| {
        let claim = claims.get(number as usize).unwrap();
        queue.complete(&worker.own(claim), &worker.intent(), 1, &JobResult::default()).await.unwrap();
    });
    complete.await;
    assert_one_transaction("complete", counting.calls().since(checkpointed).mean(claims.len()));
}

/// One transaction each, as the queue asks for them. What the client asks the cluster for is more where it meets locks
/// that the transaction before has not yet taken away: how often, is the machine's doing.
fn assert_one_transaction(what: &str, calls: Calls) {
    eprintln!("{what}: {calls:?}");
    assert!(calls.begins < 1.5 && calls.commits < 1.5, "{what}: {calls:?}");
}
