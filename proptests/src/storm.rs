//! Interrupts `roboflow run` at random instants and runs it again, as a person or an orchestrator would.
//!
//! It drives the real program from outside, by signals and exit codes alone, and holds it to its word: the exit code, the
//! time to exit, the job back in ready with nothing counted against it, and in the end the same bytes.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a broken promise fails the test at once")]

use crate::program::{Ended, Program, Running, dataset_bytes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Generous: a run that hangs on a signal, not one on a busy machine. How fast it is, the printed figures and the benchmark say.
pub const EXIT_LIMIT: Duration = Duration::from_secs(30);
/// Longer than the span within which two SIGTERM count as one.
const TERM_AGAIN_AFTER: Duration = Duration::from_millis(2_100);
/// A person's fingers on ^C.
const INT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What hits the program at the random instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGTERM once.
    Term,
    /// SIGTERM, and SIGTERM again after more than 2 s if it is still there.
    TermTwice,
    /// SIGINT three times.
    IntThrice,
    /// SIGKILL.
    Kill,
    /// SIGSTOP for this long, then SIGCONT; the run then ends by itself.
    Pause(Duration),
}

/// One `run` command, to be started as often as it takes.
#[derive(Debug, Clone)]
pub struct RunCommand {
    /// The program.
    pub program: Program,
    /// Recordings and options: everything beside the output.
    pub arguments: Vec<String>,
}

/// What an uninterrupted run gave.
#[derive(Debug)]
pub struct Whole {
    /// How long it took.
    pub took: Duration,
    /// Every file of its dataset.
    pub bytes: BTreeMap<PathBuf, Vec<u8>>,
}

/// What became of one interrupted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// When the blow fell, from the start.
    pub after: Duration,
    /// From the blow to the exit; `None` when the run was complete all the same, or not yet in its first statement.
    pub exit_took: Option<Duration>,
}

impl RunCommand {
    fn start(&self, out: &Path) -> Running {
        let folder = out.parent().expect("an output has a folder");
        let arguments = ["run".into(), "--out".into(), out.as_os_str().to_owned()];
        self.program.start(folder, arguments.into_iter().chain(self.arguments.iter().map(Into::into)))
    }

    /// Runs it to its end without interruption.
    pub fn whole(&self, out: &Path) -> Whole {
        let started = Instant::now();
        self.start(out).wait().expect_code(0);
        Whole { took: started.elapsed(), bytes: dataset_bytes(out) }
    }

    /// One case: start, hit at `after`, judge, run the same command until it is done, compare.
    pub fn case(&self, blow: Blow, after: Duration, out: &Path, whole: &Whole) -> Case {
        let running = self.start(out);
        std::thread::sleep(after); // the random instant itself, not a condition
        let struck = Instant::now();
        let ended = strike(running, blow);
        let took = struck.elapsed();
        let complete = out.join("meta/info.json").exists();
        let before_main =
            blow != Blow::Kill && ended.code().is_none() && ended.stderr.is_empty() && !out.exists();
        if !complete && !before_main {
            judge(blow, after, took, &ended);
            if matches!(blow, Blow::Term | Blow::TermTwice) {
                self.nothing_was_counted(out);
            }
        }
        self.start(out).wait().expect_code(0);
        self.no_job_is_left(out);
        let bytes = dataset_bytes(out);
        let differs: Vec<_> =
            whole.bytes.keys().filter(|name| bytes.get(*name) != whole.bytes.get(*name)).collect();
        assert!(differs.is_empty(), "{blow:?} after {after:?}: other bytes in {differs:?}");
        assert_eq!(bytes.len(), whole.bytes.len(), "{blow:?} after {after:?}: other files");
        Case { after, exit_took: (!complete && !before_main).then_some(took) }
    }

    /// The local queue's jobs, as `jobs list --json` prints them.
    pub fn jobs(&self, out: &Path) -> Vec<serde_json::Value> {
        let arguments =
            ["jobs".into(), "list".into(), "--json".into(), "--out".into(), out.as_os_str().to_owned()];
        let ended = self.program.run(out, arguments);
        ended.expect_code(0);
        let printed: serde_json::Value = serde_json::from_str(&ended.stdout).expect("jobs list prints JSON");
        printed.as_array().expect("jobs list prints a list").clone()
    }

    /// After a clean exit no job is leased, failed or dead, and no attempt was counted.
    fn nothing_was_counted(&self, out: &Path) {
        if !out.join(".roboflow/queue.db").exists() {
            return; // the signal came before there was a queue
        }
        for job in self.jobs(out) {
            let status = job["status"].as_str().expect("a job has a status");
            assert!(matches!(status, "ready" | "completed"), "after a clean exit: {job}");
            for counter in ["failures", "crashes"] {
                assert_eq!(job[counter], 0, "an interruption was counted in {counter}: {job}");
            }
        }
    }

    fn no_job_is_left(&self, out: &Path) {
        for job in self.jobs(out) {
            assert_eq!(job["status"], "completed", "after the last run: {job}");
        }
    }
}

fn strike(running: Running, blow: Blow) -> Ended {
    match blow {
        Blow::Term => running.signal(Signal::TERM),
        Blow::TermTwice => {
            running.signal(Signal::TERM);
            std::thread::sleep(TERM_AGAIN_AFTER);
            running.signal(Signal::TERM);
        }
        Blow::IntThrice => {
            for _ in 0..3 {
                running.signal(Signal::INT);
                std::thread::sleep(INT_AGAIN_AFTER);
            }
        }
        Blow::Kill => running.signal(Signal::KILL),
        Blow::Pause(pause) => {
            running.signal(Signal::STOP);
            std::thread::sleep(pause);
            running.signal(Signal::CONT);
        }
    }
    running.wait()
}

fn judge(blow: Blow, after: Duration, took: Duration, ended: &Ended) {
    let fine = match blow {
        Blow::Term => ended.code() == Some(0) && took <= EXIT_LIMIT,
        Blow::TermTwice | Blow::Pause(_) => ended.code() == Some(0),
        // The third SIGINT leaves at once: what could not be released by then is left to its lease, and said so.
        Blow::IntThrice => matches!(ended.code(), Some(0 | 75)) && took <= EXIT_LIMIT,
        Blow::Kill => ended.code().is_none(),
    };
    assert!(fine, "{blow:?} after {after:?}: {} in {took:?}\n{}", ended.status, ended.stderr);
}

/// The exits' times of these cases in one line: how many there were, median, greatest.
pub fn exits(cases: &[Case]) -> String {
    let mut took: Vec<Duration> = cases.iter().filter_map(|case| case.exit_took).collect();
    took.sort();
    let (middle, last) = (took.get(took.len() / 2), took.last());
    format!("{} cases, {} interrupted; exit took p50 {middle:?}, max {last:?}", cases.len(), took.len())
}

/// Random instants over the length of an uninterrupted run, the same for the same seed.
pub fn instants(seed: u64, cases: usize, run: Duration) -> Vec<Duration> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..cases).map(|_| run.mul_f64(random.random_range(0.0..1.0))).collect()
}
