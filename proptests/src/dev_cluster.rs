//! The dev cluster that a suite runs against: its addresses, its processes, and proxies before its store.
//!
//! `ROBOFLOW_DEV` names its state folder; `deploy/dev/cluster` starts it. It is shared: a test that kills or pauses a server
//! brings it back before it ends, also when it fails ([`DevCluster::pause`] and [`DevCluster::kill_store`] give guards).

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "support of tests: what it cannot do is a failed test"
)]

use crate::rewrite::Rewrite;
use crate::tcp_proxy::{Mode, TcpProxy, listener};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many stores there are.
pub const STORES: usize = 3;

/// A running dev cluster.
#[derive(Debug, Clone)]
pub struct DevCluster {
    state: PathBuf,
    env: BTreeMap<String, String>,
    ports: BTreeMap<String, String>,
}

/// A server that stands still until this is dropped.
#[derive(Debug)]
#[must_use = "the server goes on when this is dropped"]
pub struct Paused(Pid);

/// A store that is dead until this is dropped.
#[derive(Debug)]
#[must_use = "the store starts again when this is dropped"]
pub struct Killed<'a>(&'a DevCluster, usize);

/// Proxies before PD and every store, for clients that are given [`StoreProxies::pd`]. The stores' own traffic goes past them.
#[derive(Debug)]
pub struct StoreProxies {
    /// Before PD.
    pub pd: TcpProxy,
    /// Before each store.
    pub stores: Vec<TcpProxy>,
}

/// Lines of KEY=VALUE.
fn pairs(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("{}: {error}; start a cluster with deploy/dev/cluster start", path.display())
    });
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}

impl DevCluster {
    /// The one that `ROBOFLOW_DEV` names.
    ///
    /// # Panics
    /// Without it, and says how to start one.
    pub fn from_env() -> Self {
        let state = std::env::var_os("ROBOFLOW_DEV").map(PathBuf::from).unwrap_or_else(|| {
            panic!(
                "this suite needs a cluster: run deploy/dev/cluster start, and set ROBOFLOW_DEV to its state folder"
            )
        });
        Self { env: pairs(&state.join("env")), ports: pairs(&state.join("ports")), state }
    }

    /// A value of its environment for roboflow: `TIKV_PD_ENDPOINTS`, `AWS_ENDPOINT_URL_S3`, `ROBOFLOW_DEV_BUCKET` and so on.
    pub fn env(&self, key: &str) -> &str {
        self.env.get(key).unwrap_or_else(|| panic!("{key} is not in {}/env", self.state.display()))
    }

    /// All of its environment.
    pub fn envs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Where a server listens: `pd`, `store1` to `store3`, `s3`.
    pub fn address(&self, server: &str) -> SocketAddr {
        let address = self
            .ports
            .get(server)
            .unwrap_or_else(|| panic!("{server} is not in {}/ports", self.state.display()));
        address.parse().expect("the script writes addresses")
    }

    /// The process of a server.
    pub fn pid(&self, server: &str) -> Pid {
        let path = self.state.join(format!("{server}.pid"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: {server} does not run", path.display()));
        Pid::from_raw(text.trim().parse().expect("a pid file holds a number")).expect("a process id")
    }

    /// Stops a server with SIGSTOP until the guard is dropped.
    pub fn pause(&self, server: &str) -> Paused {
        let pid = self.pid(server);
        kill_process(pid, Signal::STOP).expect("the server runs");
        Paused(pid)
    }

    /// Kills a store with SIGKILL, and starts it again when the guard is dropped.
    pub fn kill_store(&self, number: usize) -> Killed<'_> {
        self.end_store(number);
        Killed(self, number)
    }

    /// Kills a store with SIGKILL, until somebody starts it again.
    pub fn end_store(&self, number: usize) {
        self.script("kill-store", &[number.to_string()]);
    }

    /// Starts a store again; does not wait until it serves.
    pub fn start_store(&self, number: usize) {
        self.script("start-store", &[number.to_string()]);
    }

    /// Waits until all servers run and all regions are served, and starts what is not running.
    pub fn heal(&self) {
        self.script("start", &[]);
    }

    fn script(&self, command: &str, more: &[String]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/cluster");
        let done = Command::new(script).arg(command).args(more).arg("--state").arg(&self.state).output();
        let done = done.expect("deploy/dev/cluster can be run");
        assert!(
            done.status.success(),
            "cluster {command} {more:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Proxies before PD and the stores: PD's answers name the proxies in place of the servers, so that all that a client
    /// does goes through them.
    pub fn proxies(&self, seed: u64) -> StoreProxies {
        let names = (1..=STORES).map(|number| format!("store{number}"));
        let stores: Vec<_> = names
            .map(|name| {
                let target = self.address(&name);
                TcpProxy::start(target, seed ^ u64::from(target.port()))
            })
            .collect();
        let (before, target) = (listener(), self.address("pd"));
        let own = before.local_addr().expect("a bound socket has an address");
        let addresses = (1..).zip(&stores).fold(Rewrite::default(), |rewrite, (number, proxy)| {
            rewrite.and(&self.address(&format!("store{number}")).to_string(), &proxy.address().to_string())
        });
        let rewrite = addresses.and(&target.to_string(), &own.to_string());
        StoreProxies { pd: TcpProxy::on(before, target, seed, rewrite), stores }
    }
}

impl StoreProxies {
    /// What a client is given as PD's address.
    pub fn endpoint(&self) -> String {
        self.pd.address().to_string()
    }

    /// Sets the mode of every proxy, PD's too.
    pub fn set_all(&self, mode: Mode) {
        self.pd.set(mode);
        self.set_stores(mode);
    }

    /// Sets the mode of every store's proxy.
    pub fn set_stores(&self, mode: Mode) {
        for proxy in &self.stores {
            proxy.set(mode);
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).ok();
    }
}

impl Drop for Killed<'_> {
    fn drop(&mut self) {
        self.0.start_store(self.1);
    }
}
