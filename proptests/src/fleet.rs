//! A fleet of real processes on the dev cluster: scanners and workers, their recordings in S3, and what is asked of the
//! queue and of the bucket from outside.
//!
//! Each lab has its own keys in the store and its own prefix in the bucket, so labs run side by side. What became of every
//! process is kept: none may end without being asked to, panic, or leave with a code that its end does not explain.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "support of tests: what it cannot do is a failed test"
)]

use crate::dev_cluster::DevCluster;
use crate::http_proxy::HttpProxy;
use crate::plain_s3::PlainS3;
use crate::program::{Ended, Program, Running, dataset_bytes};
use crate::recording::Robot;
use roboflow::queue::{JobFilter, JobRecord, Queue, QueueSettings, Receipt, WorkerRecord};
use roboflow::store::tikv::TikvOptions;
use roboflow::store::{Pair, SharedStore, StorePlace};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Generous: only a fleet that hangs takes so long.
pub const LIMIT: Duration = Duration::from_secs(150);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);
/// Theirs.
pub const LEASE: Duration = Duration::from_secs(5);
/// How the workers of a test are set: a lease that is over soon, and more attempts than any job deserves, since kills count
/// against a job and a storm has many.
const QUICK: [&str; 8] =
    ["--lease", "5s", "--renew-interval", "1s", "--poll-interval", "300ms", "--max-attempts", "100"];
/// Longer than an upload of all recordings of a round takes, so that they become one batch.
const SETTLE: &str = "3s";
const SCAN_INTERVAL: &str = "1s";

/// The files of a dataset.
pub type Dataset = BTreeMap<PathBuf, Vec<u8>>;

/// What a process of the fleet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks for recordings; one of them leads.
    Scanner,
    /// Converts and assembles.
    Worker,
}

/// A process of the fleet.
#[derive(Debug)]
pub struct Member {
    /// Its name in the queue: `worker-3`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The process.
    pub running: Running,
}

/// The lab.
#[derive(Debug)]
pub struct FleetLab {
    /// The servers.
    pub cluster: DevCluster,
    /// The bucket, past the proxy.
    pub s3: PlainS3,
    /// Between the fleet and S3.
    pub s3_proxy: HttpProxy,
    /// Below it in the bucket everything of this lab stands; it ends without a slash.
    pub root: String,
    /// The queue, past all proxies.
    pub queue: Queue,
    /// Ended processes: name and what they said.
    pub ended: Vec<(String, Ended)>,
    folder: TempDir,
    logs: PathBuf,
    program: Program,
    pd: String,
    pace: Vec<String>,
    store: SharedStore,
    runtime: Runtime,
    started: u32,
}

impl FleetLab {
    /// On the cluster that `ROBOFLOW_DEV` names. When a test fails, the processes' logs are kept in a folder in `logs`.
    pub fn new(executable: &str, name: &str, seed: u64, logs: &Path) -> Self {
        let cluster = DevCluster::from_env();
        cluster.heal();
        let bucket = cluster.env("ROBOFLOW_DEV_BUCKET");
        let s3 = PlainS3::new(cluster.address("s3"), bucket);
        let root = format!("fleet/{name}-{}", uuid::Uuid::new_v4().simple());
        let pd = cluster.address("pd").to_string();
        let credentials = cluster
            .envs()
            .filter(|(key, _)| ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].contains(key));
        let program = Program::new(executable).with_env(credentials);
        let runtime = Runtime::new().unwrap();
        let place = StorePlace::Tikv(TikvOptions {
            endpoints: vec![pd.clone()],
            tls: None,
            request_timeout: Duration::from_secs(5),
            connect_within: Duration::from_secs(30),
        });
        let store = runtime.block_on(place.open()).expect("the dev cluster's store opens");
        let settings = QueueSettings { prefix: root.replace('/', "-"), ..QueueSettings::default() };
        let queue = Queue::new(store.clone(), settings);
        Self {
            s3_proxy: HttpProxy::start(cluster.address("s3"), seed),
            s3,
            root,
            queue,
            ended: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
            logs: logs.to_path_buf(),
            program,
            pd,
            pace: QUICK.map(str::to_owned).to_vec(),
            store,
            runtime,
            started: 0,
            cluster,
        }
    }

    /// Members that start from now on reach the store through this address.
    pub fn reach_store_by(&mut self, pd: String) {
        self.pd = pd;
    }

    /// Workers that start from now on have these settings.
    pub fn set_pace(&mut self, options: &[&str]) {
        self.pace = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// A file of the lab.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A location in the bucket.
    pub fn url(&self, name: &str) -> String {
        format!("s3://{}/{}/{name}", self.s3.bucket(), self.root)
    }

    fn prefix(&self) -> &str {
        &self.queue.settings().prefix
    }

    /// What every command of the fleet is given.
    fn common(&self) -> Vec<String> {
        let endpoint = self.s3_proxy.endpoint();
        ["--pd", &self.pd, "--key-prefix", self.prefix(), "--s3-endpoint", &endpoint]
            .map(str::to_owned)
            .to_vec()
    }

    /// Runs a command of the fleet (`submit`, `jobs list`) to its end.
    pub fn command(&self, arguments: &[&str]) -> Ended {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).chain(self.common());
        self.program.run(self.folder.path(), arguments)
    }

    /// Starts a command of the fleet.
    pub fn start_command(&self, arguments: &[&str]) -> Running {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).chain(self.common());
        self.program.start(self.folder.path(), arguments)
    }

    /// Starts a member; its name is new.
    pub fn start(&mut self, role: Role) -> Member {
        self.start_with(role, &[])
    }

    /// Starts a member with more options.
    pub fn start_with(&mut self, role: Role, more: &[&str]) -> Member {
        self.started += 1;
        let (name, mut arguments) = match role {
            Role::Worker => {
                let name = format!("worker-{}", self.started);
                let steps = format!("{name}.jsonl");
                let words = ["worker", "--name", &name, "--transition-log", &steps].map(str::to_owned);
                let arguments: Vec<String> = words.into_iter().chain(self.pace.clone()).collect();
                (name, arguments)
            }
            Role::Scanner => {
                let (input, out) = (self.url("in/"), self.url("sets"));
                let words = ["scanner", "--input", &input, "--out", &out, "--mapping", "robot.toml"];
                let name = format!("scanner-{}", self.started);
                let pace = [
                    "--settle",
                    SETTLE,
                    "--interval",
                    SCAN_INTERVAL,
                    "--lease",
                    "5s",
                    "--renew-interval",
                    "1s",
                    "--max-attempts",
                    "100",
                ];
                let words = words.into_iter().chain(pace).chain(["--name", &name]);
                (name.clone(), words.map(str::to_owned).collect())
            }
        };
        arguments.extend(self.common());
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let running = self.program.start(self.folder.path(), &arguments);
        Member { name, role, running }
    }

    /// Writes recordings to `in/ROUND/ROUND-0000.mcap` and so on, the same for the same robot, and the mapping for all of them to `robot.toml`.
    pub fn record(&self, round: &str, count: usize, robot: &Robot) {
        let folder = self.path("in").join(round);
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..count {
            let robot = Robot { seed: robot.seed.wrapping_mul(1000) + number as u64, ..robot.clone() };
            robot.write(&folder.join(format!("{round}-{number:04}.mcap")));
        }
        let mapping = self.path("robot.toml");
        if !mapping.exists() {
            let one = folder.join(format!("{round}-0000.mcap"));
            let ended =
                self.program.run(self.folder.path(), ["inspect", one.to_str().expect("UTF-8"), "--suggest"]);
            ended.expect_code(0);
            std::fs::write(mapping, &ended.stdout).unwrap();
        }
    }

    /// Uploads the recordings of a round to a folder of the bucket, under the names that they have on disk.
    pub fn upload(&self, round: &str, to: &str) {
        for entry in std::fs::read_dir(self.path("in").join(round)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().expect("UTF-8").to_owned();
            self.s3.put(&format!("{}/{to}/{name}", self.root), &std::fs::read(&path).unwrap());
        }
    }

    /// What one machine makes of a round's recordings, with `roboflow run`.
    pub fn reference(&self, round: &str) -> Dataset {
        self.run_alone(&self.path("in").join(round), &format!("reference-{round}"))
    }

    /// `roboflow run` over a folder, or over what an `s3://` URL names.
    pub fn run_alone(&self, input: &Path, out: &str) -> Dataset {
        let (input, endpoint) = (input.to_str().expect("UTF-8"), self.s3_proxy.endpoint());
        let arguments = ["run", input, "--out", out, "--mapping", "robot.toml", "--workers", "2"];
        let arguments = arguments.into_iter().chain(["--s3-endpoint", &endpoint]);
        self.program.run(self.folder.path(), arguments).expect_code(0);
        dataset_bytes(&self.path(out))
    }

    /// A dataset in the bucket.
    pub fn dataset(&self, name: &str) -> Dataset {
        let place = format!("{}/{name}/", self.root);
        let files = self.s3.list(&place).into_iter().filter_map(|key| {
            let file = key.strip_prefix(&place)?;
            let bytes = self.s3.get(&key)?;
            (!file.starts_with(".roboflow/")).then(|| (PathBuf::from(file), bytes))
        });
        files.collect()
    }

    /// Whether a dataset is complete: its `meta/info.json` is there.
    pub fn is_complete(&self, name: &str) -> bool {
        self.s3.get(&format!("{}/{name}/meta/info.json", self.root)).is_some()
    }

    /// Asks the queue.
    pub fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime.block_on(question)
    }

    /// All jobs.
    pub fn jobs(&self) -> Vec<JobRecord> {
        let page =
            self.ask(self.queue.list(&JobFilter::default(), None, 100_000)).expect("the queue answers");
        assert!(page.unreadable.is_empty(), "unreadable jobs: {:?}", page.unreadable);
        page.jobs
    }

    /// The workers that are registered.
    pub fn workers(&self) -> Vec<WorkerRecord> {
        self.ask(self.queue.workers(None, 10_000)).expect("the queue answers")
    }

    /// How workers ended.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.ask(self.queue.receipts(None, 10_000)).expect("the queue answers")
    }

    /// Everything under the lab's keys, in one transaction.
    pub fn keyspace(&self) -> Vec<Pair> {
        let prefix = self.prefix().as_bytes().to_vec();
        let mut end = prefix.clone();
        end.push(0xfe); // keys go on with printable text
        self.ask(async {
            let mut txn = self.store.begin().await.expect("the store answers");
            let (mut start, mut pairs) = (prefix, Vec::new());
            loop {
                let page = txn.scan(&start, &end, 1_000).await.expect("the store answers");
                let Some((last, _)) = page.last() else { return pairs };
                start = [last.as_slice(), &[0]].concat();
                pairs.extend(page);
            }
        })
    }

    /// Waits for a condition while no member ends.
    pub fn until(
        &self,
        members: &mut [Member],
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let started = Instant::now();
        while !holds(self) {
            for member in &mut *members {
                assert!(
                    !member.running.has_ended(),
                    "{} ended while waiting for {what}:\n{}",
                    member.name,
                    member.running.said()
                );
            }
            if started.elapsed() > LIMIT {
                let logs = members.iter().map(|member| (member.name.clone(), member.running.said()));
                self.keep_logs(logs);
                panic!("waited in vain for {what}; jobs: {:#?}", self.jobs());
            }
            thread::sleep(LOOK);
        }
        started.elapsed()
    }

    /// Takes down what a member said, and gives how it ended.
    #[track_caller]
    pub fn bury(&mut self, member: Member) -> Option<i32> {
        let (name, ended) = (member.name, member.running.wait());
        for sign in ["panicked", "a fault in this program"] {
            assert!(!ended.stderr.contains(sign), "{name}: {}", ended.stderr);
        }
        let code = ended.code();
        self.ended.push((name, ended));
        code
    }

    fn keep_logs(&self, logs: impl IntoIterator<Item = (String, String)>) {
        let folder = self.logs.join(self.root.replace('/', "-"));
        std::fs::create_dir_all(&folder).ok();
        for (name, text) in logs {
            std::fs::write(folder.join(format!("{name}.log")), text).ok();
        }
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).ok();
            }
        }
        eprintln!("the fleet's logs are in {}", folder.display());
    }
}

impl Drop for FleetLab {
    fn drop(&mut self) {
        if thread::panicking() {
            let ended = std::mem::take(&mut self.ended);
            self.keep_logs(ended.into_iter().map(|(name, ended)| (name, ended.stderr)));
        } else {
            self.s3.clear(&self.root);
        }
    }
}

/// Asserts that two datasets have the same files with the same bytes.
#[track_caller]
pub fn assert_same(what: &str, expected: &Dataset, found: &Dataset) {
    let names = |dataset: &Dataset| dataset.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "{what}: other files");
    let differs: Vec<_> = expected.keys().filter(|name| expected.get(*name) != found.get(*name)).collect();
    assert!(differs.is_empty(), "{what}: other bytes in {differs:?}");
}
