//! Servers that die, hang and lie to the client about it, while a ledger and a fleet of workers go on. At the end nothing is
//! lost or doubled, every job is done, and the queue's invariants hold over the whole keyspace.
//!
//! One after the other: they share one cluster.

use super::fleet::Fleet;
use super::ledger::Ledger;
use super::{alone, connect, options, seed};
use roboflow::store::{SharedStore, TikvOptions};
use roboflow_proptests::dev_cluster::{DevCluster, STORES};
use roboflow_proptests::spread_store::Spread;
use roboflow_proptests::tcp_proxy::{Mode, Odds};
use rustix::process::{Signal, kill_process};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Clients at once, of which each is a process of its own as far as the store can tell.
const CLIENTS: usize = 4;
const JOBS: u32 = 60;
/// How soon work must go on after the cluster serves again. Three tries and pauses of the client, and the lock of somebody who
/// was cut off, lie within.
const RECOVERY: Duration = Duration::from_secs(15);
/// How soon all jobs must be done: a lost lease (10 s) and what comes after lies within.
const ALL_DONE: Duration = Duration::from_secs(90);

/// A ledger and a fleet at work.
struct Storm {
    ledger: Ledger,
    fleet: Fleet,
    ledger_store: SharedStore,
    begun: Instant,
    _alone: MutexGuard<'static, ()>,
}

impl Storm {
    /// Over clients that are given these options; what is checked at the end goes there directly.
    async fn start(cluster: &DevCluster, reached: &TikvOptions) -> Self {
        let alone = alone(cluster);
        let direct = connect(&options(cluster)).await;
        let (ledger, queue) = (Spread::new("ledger/"), Spread::new("roboflow/"));
        let mut stores = Vec::new();
        for _ in 0..CLIENTS {
            stores.push(connect(reached).await);
        }
        let over =
            |spread: &Spread| stores.iter().map(|store| spread.over(store.clone())).collect::<Vec<_>>();
        let fleet = Fleet::start(over(&queue), JOBS).await;
        let ledger_store = ledger.over(direct);
        Self {
            ledger: Ledger::start(over(&ledger)),
            fleet,
            ledger_store,
            begun: Instant::now(),
            _alone: alone,
        }
    }

    async fn finish(self, what: &str) {
        self.ledger.goes_on(20, RECOVERY).await;
        self.fleet.finish(ALL_DONE).await;
        let met = self.ledger.met.clone();
        self.ledger.finish(&self.ledger_store).await;
        eprintln!("{what}: all well after {:.1} s, {met:?}", self.begun.elapsed().as_secs_f32());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_are_killed_one_after_the_other() {
    let cluster = DevCluster::from_env();
    let storm = Storm::start(&cluster, &options(&cluster)).await;
    for number in 1..=STORES {
        storm.ledger.goes_on(10, RECOVERY).await;
        let killed = cluster.kill_store(number);
        let took = storm.ledger.goes_on(50, Duration::from_secs(30)).await;
        eprintln!("store {number} is dead: 50 additions took {took:?}");
        drop(killed);
        cluster.heal();
        storm.fleet.check().await;
    }
    storm.finish("stores killed").await;
}

/// A client that is made while a store is dead, and asks it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_while_a_store_is_dead_is_served() {
    let cluster = DevCluster::from_env();
    let storm = Storm::start(&cluster, &options(&cluster)).await;
    let killed = cluster.kill_store(1);
    let begun = Instant::now();
    let late = Ledger::start(vec![Spread::new("ledger/").over(connect(&options(&cluster)).await)]);
    late.goes_on(10, Duration::from_secs(30)).await;
    eprintln!("a new client was served {:?} after the kill", begun.elapsed());
    drop(killed);
    cluster.heal();
    storm.finish("new client").await;
}

/// For 5 s, or as long as `PAUSE_SECONDS=` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_placement_driver_pauses() {
    let seconds = std::env::var("PAUSE_SECONDS").map_or(5, |text| text.parse().expect("a number of seconds"));
    let cluster = DevCluster::from_env();
    let storm = Storm::start(&cluster, &options(&cluster)).await;
    storm.ledger.goes_on(10, RECOVERY).await;
    let paused = cluster.pause("pd");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    drop(paused);
    let took = storm.ledger.goes_on(10, RECOVERY).await;
    eprintln!("10 additions took {took:?} after a pause of {seconds} s");
    storm.finish("placement driver paused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_placement_driver_is_killed() {
    let cluster = DevCluster::from_env();
    let storm = Storm::start(&cluster, &options(&cluster)).await;
    storm.ledger.goes_on(10, RECOVERY).await;
    kill_process(cluster.pid("pd"), Signal::KILL).unwrap();
    cluster.heal();
    let took = storm.ledger.goes_on(10, RECOVERY).await;
    eprintln!("10 additions took {took:?} after it was back");
    storm.finish("placement driver killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_lost_delayed_and_cut_off() {
    let cluster = DevCluster::from_env();
    let proxies = cluster.proxies(seed());
    let reached = TikvOptions { endpoints: vec![proxies.endpoint()], ..options(&cluster) };
    let storm = Storm::start(&cluster, &reached).await;
    let odds = Odds { drop_reply: 0.01, reset: 0.01, delay: 0.1, delay_up_to: Duration::from_millis(30) };
    proxies.set_all(Mode::Random(odds));
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Longer than the client repeats a request: whoever was about to commit does, and never hears of it. Again, until that
    // was met.
    let met = storm.ledger.met.clone();
    let enough = || {
        let (unknown, added) =
            (met.unknown.load(Ordering::Relaxed), met.unknown_added.load(Ordering::Relaxed));
        0 < added && added + 5 < unknown
    };
    for round in 0.. {
        if round >= 5 && enough() {
            break;
        }
        assert!(round < 40, "the proxies did too little: {met:?}");
        proxies.set_stores(Mode::DropReplies);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        proxies.set_stores(Mode::Open);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    proxies.set_all(Mode::Open);
    storm.finish("replies lost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_hang_and_are_cut() {
    let cluster = DevCluster::from_env();
    let proxies = cluster.proxies(seed());
    let reached = TikvOptions { endpoints: vec![proxies.endpoint()], ..options(&cluster) };
    let storm = Storm::start(&cluster, &reached).await;
    for (what, mode) in [("hang", Mode::Stall), ("are cut", Mode::Cut)] {
        for which in ["the placement driver's", "the stores'", "all"] {
            storm.ledger.goes_on(10, RECOVERY).await;
            match which {
                "all" => proxies.set_all(mode),
                "the stores'" => proxies.set_stores(mode),
                _ => proxies.pd.set(mode),
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            proxies.set_all(Mode::Open);
            let took = storm.ledger.goes_on(10, RECOVERY).await;
            eprintln!("{which} connections {what} for 5 s: 10 additions took {took:?} afterwards");
        }
    }
    storm.finish("connections").await;
}
