//! Signals to the real program: at any moment, once and again, with a store that is away and a log that is stuck.

use crate::lab::{Lab, long, short};
use crate::replay::replay;
use roboflow::fsm::Input;
use roboflow::fsm::event::Signal as Asked;
use roboflow_proptests::program::{Running, dataset_bytes};
use roboflow_proptests::recording::Robot;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// One machine, one recording, every step in `steps.jsonl`.
const RUN: &str = "run in --out set --workers 1 --transition-log steps.jsonl";
/// The same with segments that take long.
const RUN_IN_ONE_SEGMENT: &str =
    "run in --out set --workers 1 --transition-log steps.jsonl --segment-frames 10000";

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Waits until the steps so far hold this text so often.
fn until_steps(lab: &Lab, running: &mut Running, text: &str, times: usize) -> bool {
    let path = lab.path("steps.jsonl");
    running.until(text, move || {
        let steps = std::fs::read_to_string(&path).unwrap_or_default();
        steps.matches(text).count() >= times
    })
}

fn signals(lines: &[roboflow::translog::Line]) -> Vec<(Asked, String)> {
    let signal = |line: &roboflow::translog::Line| match line.event.input {
        Input::Signal(signal) => Some((signal, line.disposition.clone())),
        _ => None,
    };
    lines.iter().filter_map(signal).collect()
}

fn effects(lines: &[roboflow::translog::Line], name: &str) -> usize {
    lines.iter().flat_map(|line| &line.effects).filter(|effect| effect.name() == name).count()
}

/// The dataset of an uninterrupted run.
fn reference(lab: &Lab, more: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    lab.run(&format!("run in --out reference {more}")).expect_code(0);
    dataset_bytes(&lab.path("reference"))
}

#[test]
fn pitfall_02_a_signal_in_start_up_ends_with_0() {
    let lab = Lab::with(1, &short());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let name = format!("mapping-{}", signal.as_raw());
        fifo(&lab.path(&name));
        let mut running = lab.start(&format!("run in --out set --mapping {name}"));
        // Opening for writing without waiting succeeds only once the program waits at the other end.
        let path = lab.path(&name);
        let opened = || open(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok();
        let mut writer = None;
        assert!(running.until("the program to read its mapping", || {
            writer = writer.take().or_else(opened);
            writer.is_some()
        }));
        running.signal(signal);
        running.wait().expect_code(0);
        assert!(!lab.path("set").exists());
    }
}

#[test]
fn pitfall_37_a_job_given_back_at_exit_0_is_in_the_queue_with_its_checkpoint_and_no_attempt_counted() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let lab = Lab::with(1, &long());
        let mut running = lab.start(RUN);
        assert!(
            until_steps(&lab, &mut running, "\"Checkpoint\"", 2),
            "the recording is too short for this test"
        );
        running.signal(signal);
        let ended = running.wait();
        ended.expect_code(0);
        assert!(ended.stderr.contains("go on with the same command"), "{}", ended.stderr);
        let jobs = lab.jobs("set");
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0]["status"], "ready");
        assert!(jobs[0]["segments_done"].as_u64().unwrap() >= 2, "{jobs:?}");
        assert_eq!((&jobs[0]["failures"], &jobs[0]["crashes"]), (&0.into(), &0.into()));
        assert_eq!(jobs[0]["interruptions"], 1);
        assert_eq!(
            effects(&replay(&lab.path("steps.jsonl")), "CancelConvert"),
            0,
            "the segment ran to its boundary"
        );
    }
}

#[test]
fn interrupted_anywhere_the_same_command_goes_on_to_the_same_bytes() {
    let lab = Lab::with(2, &Robot { seconds: 60.0, cameras: 1, ..short() });
    let whole = reference(&lab, "--workers 2");
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let cases: u64 = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(8);
    println!("SEED={seed} CASES={cases}");
    for case in 0..cases {
        let mut done = false;
        let out = format!("set-{case}");
        for attempt in 0.. {
            let running = lab.start(&format!("run in --out {out} --workers 2"));
            // Not a condition: the instant itself is what is tried out.
            let mix = (seed ^ (case * 31 + attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            thread::sleep(Duration::from_millis(mix % 400 + attempt * 20));
            running.signal([Signal::TERM, Signal::INT, Signal::HUP][(mix % 3) as usize]);
            let ended = running.wait();
            if ended.code().is_none() {
                // Before the first statement of main: nothing can have been done.
                assert!(ended.stderr.is_empty() && ended.status.signal().is_some(), "{}", ended.stderr);
                continue;
            }
            ended.expect_code(0);
            if lab.path(&out).join("meta/info.json").exists() {
                done = true;
                break;
            }
            assert!(attempt < 500, "it never ends");
        }
        assert!(done);
        lab.run(&format!("run in --out {out} --workers 2")).expect_code(0);
        assert!(dataset_bytes(&lab.path(&out)) == whole, "case {case} of SEED={seed} has other bytes");
    }
}

#[test]
fn pitfall_06_the_same_term_again_within_two_seconds_is_one() {
    let lab = Lab::with(1, &long());
    let mut running = lab.start(RUN_IN_ONE_SEGMENT);
    assert!(until_steps(&lab, &mut running, "\"Convert\"", 1));
    running.signal(Signal::TERM);
    assert!(
        until_steps(&lab, &mut running, "\"Signal\":\"Term\"", 1),
        "the segment is too short for this test"
    );
    running.signal(Signal::TERM);
    running.wait().expect_code(0);
    let lines = replay(&lab.path("steps.jsonl"));
    let seen = signals(&lines);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[1].1.contains("repeated signal"), "{seen:?}");
    assert_eq!(effects(&lines, "CancelConvert"), 0);
}

#[test]
fn pitfall_04_a_second_int_is_heard_and_cancels_the_segment() {
    let lab = Lab::with(1, &long());
    let mut running = lab.start(RUN_IN_ONE_SEGMENT);
    assert!(until_steps(&lab, &mut running, "\"Convert\"", 1));
    running.signal(Signal::INT);
    assert!(
        until_steps(&lab, &mut running, "\"Signal\":\"Int\"", 1),
        "the segment is too short for this test"
    );
    running.signal(Signal::INT);
    running.wait().expect_code(0);
    let lines = replay(&lab.path("steps.jsonl"));
    assert_eq!(signals(&lines).len(), 2);
    assert_eq!(effects(&lines, "CancelConvert"), 1);
    let jobs = lab.jobs("set");
    assert_eq!((&jobs[0]["status"], &jobs[0]["segments_done"]), (&"ready".into(), &0.into()), "{jobs:?}");
    assert_eq!(jobs[0]["failures"], 0);
}

#[test]
fn usr1_finishes_the_job_in_hand_and_claims_no_other() {
    let lab = Lab::with(2, &Robot { seconds: 60.0, ..long() });
    let mut running = lab.start(RUN);
    assert!(until_steps(&lab, &mut running, "\"Checkpoint\"", 1));
    running.signal(Signal::USR1);
    running.wait().expect_code(0);
    let mut stands: Vec<String> = lab.jobs("set").iter().map(|job| job["status"].to_string()).collect();
    stands.sort();
    assert_eq!(stands, ["\"completed\"", "\"ready\""]);
}

/// Holds the queue's write lock, as a process that hangs in a transaction would.
pub(crate) struct Locked(rusqlite::Connection);

impl Locked {
    fn new(lab: &Lab) -> Self {
        Self::at(&lab.path("set/.roboflow/queue.db"))
    }

    pub(crate) fn at(queue: &Path) -> Self {
        let connection = rusqlite::Connection::open(queue).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    pub(crate) fn unlock(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

const SHORT_BUDGETS: &str = "--drain-budget 1s --force-after 4s";

#[test]
fn pitfall_09_a_job_that_could_not_be_given_back_is_never_exit_0() {
    let lab = Lab::with(1, &long());
    let whole = reference(&lab, "");
    let mut running = lab.start(&format!("{RUN} {SHORT_BUDGETS}"));
    assert!(until_steps(&lab, &mut running, "\"Checkpoint\"", 2));
    let locked = Locked::new(&lab);
    running.signal(Signal::TERM);
    let ended = running.wait();
    ended.expect_code(75);
    locked.unlock();
    let jobs = lab.jobs("set");
    assert_eq!(jobs[0]["status"], "leased", "nobody made up a release: {jobs:?}");
    // At which state the deadline found it differs: Saving or Releasing.
    let mut told = ended
        .stderr
        .lines()
        .filter(|line| line.contains("the job is left to its lease, and another worker goes on"));
    let line = told.next().unwrap();
    let job = format!(" job={} ", jobs[0]["id"].as_str().unwrap());
    assert!(line.contains(&job) && line.contains(" state=\"") && told.next().is_none(), "{}", ended.stderr);
    lab.run("run in --out set --workers 1").expect_code(0);
    assert!(dataset_bytes(&lab.path("set")) == whole);
}

#[test]
fn pitfall_25_a_store_that_comes_back_within_the_budget_takes_the_release() {
    let lab = Lab::with(1, &long());
    let mut running = lab.start(RUN);
    assert!(until_steps(&lab, &mut running, "\"Checkpoint\"", 2));
    let locked = Locked::new(&lab);
    running.signal(Signal::TERM);
    assert!(running.until_says("a store operation did not succeed"));
    locked.unlock();
    running.wait().expect_code(0);
    let jobs = lab.jobs("set");
    assert_eq!((&jobs[0]["status"], &jobs[0]["interruptions"]), (&"ready".into(), &1.into()));
}

#[test]
fn pitfall_07_a_drain_that_wedges_is_ended_by_the_watchdog_with_75() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out set").expect_code(0);
    fifo(&lab.path("steps"));
    let mut running = lab.start(&format!(
        "worker --store sqlite:set/.roboflow/queue.db --poll-interval 2ms --transition-log steps {SHORT_BUDGETS}"
    ));
    // The reader that never reads: once the pipe is full, the driver hangs in the middle of a step.
    let reader = open(lab.path("steps"), OFlags::RDONLY, Mode::empty()).unwrap();
    let (mut before, mut same) = (0, 0);
    assert!(running.until("the pipe to be full", || {
        let waiting = rustix::io::ioctl_fionread(&reader).unwrap();
        same = if waiting == before && waiting > 50_000 { same + 1 } else { 0 };
        before = waiting;
        same > 100
    }));
    running.signal(Signal::TERM);
    let ended = running.wait();
    ended.expect_code(75);
    assert_eq!(ended.stderr.matches("the drain did not end in time").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("state=\""), "{}", ended.stderr);
}

#[test]
fn an_idle_worker_leaves_at_once_and_leaves_nothing() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out set").expect_code(0);
    for workers in [1, 4] {
        let mut running = lab.start(&format!(
            "worker --store sqlite:set/.roboflow/queue.db --workers {workers} --log-level debug"
        ));
        assert!(running.until_says("working until asked to stop"));
        running.signal(Signal::TERM);
        running.wait().expect_code(0);
    }
}
