//! Runs the real program as a process: with signals, with a time limit on everything, with its output kept.
//!
//! Waits are for conditions; a limit that passes is a failed test that shows what the program said.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support of tests: what it cannot do is a failed test"
)]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Generous: only a program that hangs takes so long.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(2);

/// The program.
#[derive(Debug, Clone)]
pub struct Program {
    executable: PathBuf,
    env: Vec<(String, String)>,
}

/// A process of it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Its results.
    pub stdout: String,
    /// Its log.
    pub stderr: String,
}

#[derive(Debug)]
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                sink.lock().unwrap().extend(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

impl Program {
    /// The program at this path: `env!("CARGO_BIN_EXE_roboflow")`.
    pub fn new(executable: &str) -> Self {
        Self { executable: executable.into(), env: Vec::new() }
    }

    /// The same, with these in its environment.
    pub fn with_env<'a>(mut self, env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.env.extend(env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        self
    }

    /// Starts it in a folder and a process group of its own, with no environment of ours but the path and
    /// what [`Program::with_env`] gave.
    pub fn start<I: AsRef<std::ffi::OsStr>>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = I>,
    ) -> Running {
        let mut child = Command::new(&self.executable)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            // Many of them run on one host; a test that asks them something names a port.
            .env("HEALTH_PORT", "off")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.executable.display()));
        let stdout = Output::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::of(child.stderr.take().expect("stderr is piped"));
        Running { child, stdout, stderr }
    }

    /// Runs it to its end.
    pub fn run<I: AsRef<std::ffi::OsStr>>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = I>,
    ) -> Ended {
        self.start(folder, arguments).wait()
    }
}

impl Running {
    /// Its log so far.
    pub fn said(&self) -> String {
        self.stderr.so_far()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. One that has ended already takes none.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id() as i32).expect("a process id");
        kill_process(id, signal).ok();
    }

    /// Sends a signal to its whole process group, as a terminal does on ^C.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).ok();
    }

    /// The processes that it has started and that still run.
    pub fn children(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .expect("a running process has tasks");
        let of = |task: std::io::Result<std::fs::DirEntry>| {
            let children = task.expect("a task").path().join("children");
            std::fs::read_to_string(children).unwrap_or_default() // a thread may end while it is looked at
        };
        tasks.flat_map(|task| of(task).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Waits until the condition holds. `false` when the process ended before it did.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> bool {
        let started = Instant::now();
        while !holds() {
            if self.has_ended() {
                return holds();
            }
            assert!(
                started.elapsed() < LIMIT,
                "waited in vain for {what}; it said:\n{}",
                self.stderr.so_far()
            );
            thread::sleep(LOOK);
        }
        true
    }

    /// Waits until its log says this. `false` when the process ended without.
    pub fn until_says(&mut self, text: &str) -> bool {
        let said = Arc::clone(&self.stderr.text);
        let says = move || String::from_utf8_lossy(&said.lock().unwrap()).contains(text);
        self.until(text, says)
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.wait_for(LIMIT)
    }

    /// Waits for its end, which may take so long.
    pub fn wait_for(mut self, limit: Duration) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                break status;
            }
            if started.elapsed() > limit {
                self.child.kill().ok();
                self.child.wait().ok();
                panic!("the program does not end; it said:\n{}", self.stderr.all());
            }
            thread::sleep(LOOK);
        };
        Ended { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// The exit code, or `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts the exit code, and shows what the program said otherwise.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.code(),
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Every file of a dataset with its bytes, without what is ours in it: two datasets are the same when these are equal.
pub fn dataset_bytes(dataset: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, root: &Path, found: &mut std::collections::BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the dataset") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below the root").to_path_buf();
            if name == Path::new(".roboflow") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(name, std::fs::read(&path).expect("a file of the dataset"));
            }
        }
    }
    let mut found = std::collections::BTreeMap::new();
    walk(dataset, dataset, &mut found);
    found
}
