//! The store on the dev cluster: the contract, the queue against its model, faults, and what it costs.
//!
//! It needs a running cluster: `deploy/dev/cluster start`, and `ROBOFLOW_DEV` with its state folder. What it says is about
//! PD and a store that speaks TiKV's protocol, not about TiKV.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test at once, and say what they measured"
)]
#![expect(clippy::await_holding_lock, reason = "one test at a time has the cluster, on a runtime of its own")]

mod contract;
mod faults;
mod fleet;
mod ledger;
mod orphans;
mod queue;
mod start;

use roboflow::store::{SharedStore, TikvOptions, TikvStore};
use roboflow_proptests::dev_cluster::DevCluster;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the cluster is reached when nothing is in the way.
fn options(cluster: &DevCluster) -> TikvOptions {
    TikvOptions {
        endpoints: vec![cluster.env("TIKV_PD_ENDPOINTS").to_owned()],
        tls: None,
        request_timeout: Duration::from_secs(2),
        connect_within: Duration::from_secs(10),
    }
}

async fn connect(options: &TikvOptions) -> SharedStore {
    Arc::new(TikvStore::connect(options).await.expect("the cluster answers"))
}

/// Tests run one after the other, each on a cluster that is well: some kill and pause its servers.
fn alone(cluster: &DevCluster) -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.heal();
    alone
}

/// What proxies go by: `SEED=`, or a new one, which is printed.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("SEED={seed}");
    seed
}
