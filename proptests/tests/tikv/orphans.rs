//! A process that dies between the locks of one transaction.

use super::{alone, connect, options, seed};
use roboflow::store::TikvOptions;
use roboflow_proptests::dev_cluster::{DevCluster, STORES};
use roboflow_proptests::spread_store::Spread;
use roboflow_proptests::tcp_proxy::Mode;
use std::time::{Duration, Instant};

/// How soon the keys must be free: the locks live for 3 s.
const RECOVERY: Duration = Duration::from_secs(15);

/// One key a zone, and with it a region.
fn zoned(zone: &str, of: usize) -> Vec<u8> {
    format!("orphan/{zone}{of}").into_bytes()
}

/// All pairs of zones, the one that decides first.
fn pairs_of_zones() -> Vec<[&'static str; 2]> {
    let zones = ["b", "d", "f", "l", "r"];
    let later = |(at, first): (usize, &&'static str)| {
        let first = *first;
        zones.iter().skip(at + 1).map(move |second| [first, *second]).collect::<Vec<_>>()
    };
    zones.iter().enumerate().flat_map(later).collect()
}

/// A writer that has locked some of its keys, but not the first one, which decides: nobody must wait for it for ever.
///
/// A process dies in the middle of transactions over each two zones, while one store after the other hangs: where the first
/// key lies on the store that hangs and the second does not, the second stays locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_a_writer_that_died_are_judged() {
    let cluster = DevCluster::from_env();
    let _alone = alone(&cluster);
    for number in 1..=STORES {
        cluster.heal();
        let took = writers_die(&cluster).await;
        eprintln!("all keys are free after {took:?}");
        if took > Duration::from_millis(500) {
            return;
        }
        // One store led all regions, so no lock was left behind. Without it others do.
        drop(cluster.kill_store(number));
    }
    panic!("no lock was left behind: the test shows nothing");
}

/// Lets writers die, and gives back how long it took until all they wrote to was free.
async fn writers_die(cluster: &DevCluster) -> Duration {
    let proxies = cluster.proxies(seed());
    let reached = TikvOptions { endpoints: vec![proxies.endpoint()], ..options(cluster) };
    let spread = Spread::new("orphan/");
    for (number, hanging) in proxies.stores.iter().enumerate() {
        let process =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (reached, spread) = (reached.clone(), spread.clone());
        let begun = process.spawn(async move {
            let store = spread.over(connect(&reached).await);
            let mut begun = Vec::new();
            for (index, pair) in pairs_of_zones().into_iter().enumerate() {
                let mut txn = store.begin().await.unwrap();
                for zone in pair {
                    // Read, so that the client knows where it is when the store hangs.
                    txn.get(&zoned(zone, number * 10 + index)).await.unwrap();
                    txn.put(zoned(zone, number * 10 + index), b"dead".to_vec());
                }
                begun.push(txn);
            }
            begun
        });
        let begun = begun.await.unwrap();
        hanging.set(Mode::Stall);
        for txn in begun {
            process.spawn(txn.commit());
        }
        // So long it lives on.
        tokio::time::sleep(Duration::from_millis(500)).await;
        process.shutdown_background();
        hanging.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(100)).await;
        hanging.set(Mode::Open);
    }
    let store = spread.over(connect(&options(cluster)).await);
    let begun = Instant::now();
    for of in (0..STORES).flat_map(|number| (0..10).map(move |index| number * 10 + index)) {
        let [first, second] = pairs_of_zones()[of % 10].map(|zone| zoned(zone, of));
        let seen = loop {
            let mut txn = store.begin().await.unwrap();
            match (txn.get(&second).await, txn.get(&first).await) {
                (Ok(second), Ok(first)) => break (first, second),
                (first, second) => assert!(begun.elapsed() < RECOVERY, "{of}: {first:?} {second:?}"),
            }
        };
        assert_eq!(seen.0, seen.1, "half a commit");
        let mut txn = store.begin().await.unwrap();
        txn.put(first, b"alive".to_vec());
        txn.put(second, b"alive".to_vec());
        txn.commit().await.unwrap();
    }
    begun.elapsed()
}
