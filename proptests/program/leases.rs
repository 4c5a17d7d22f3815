//! Several processes on one queue: killed, paused, idle beside each other.

use crate::lab::{Lab, long, short};
use crate::replay::replay;
use roboflow::clock::monotonic_ns;
use roboflow::fsm::Input;
use roboflow_proptests::program::dataset_bytes;
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// A lease that is over soon: 3 s, of which 1 s is for writing.
const SHORT_LEASE: &str = "--lease 3s --renew-interval 400ms";
const STORE: &str = "--store sqlite:set/.roboflow/queue.db";

fn steps(lab: &Lab, name: &str, text: &str) -> usize {
    std::fs::read_to_string(lab.path(name)).unwrap_or_default().matches(text).count()
}

fn sum(jobs: &[Value], field: &str) -> u64 {
    jobs.iter().map(|job| job[field].as_u64().unwrap()).sum()
}

#[test]
fn killed_anywhere_the_same_command_goes_on_to_the_same_bytes() {
    let lab = Lab::with(2, &Robot { cameras: 1, ..long() });
    lab.run("run in --out reference --workers 2").expect_code(0);
    let mut kills = 0;
    for wanted in [1usize, 4, 8, 12, 16] {
        let mut running =
            lab.start(&format!("run in --out set --workers 2 --transition-log steps.jsonl {SHORT_LEASE}"));
        if !running.until("checkpoints", || steps(&lab, "steps.jsonl", "\"Checkpoint\"") >= wanted) {
            break;
        }
        running.signal(Signal::KILL);
        running.wait();
        kills += 1;
    }
    assert!(kills >= 4, "the recordings are too short for this test");
    lab.run(&format!("run in --out set --workers 2 {SHORT_LEASE}")).expect_code(0);
    assert!(dataset_bytes(&lab.path("set")) == dataset_bytes(&lab.path("reference")));
    let jobs = lab.jobs("set");
    assert_eq!(sum(&jobs, "failures"), 0, "a kill is no failure: {jobs:?}");
    assert!(sum(&jobs, "crashes") + sum(&jobs, "resets") >= 1, "{jobs:?}");
}

#[test]
fn pitfall_19_a_paused_worker_writes_nothing_after_its_jobs_were_given_away() {
    let lab = Lab::with(1, &long());
    lab.run("run in --out reference").expect_code(0);
    let mut paused = lab.start(&format!("run in --out set --transition-log paused.jsonl {SHORT_LEASE}"));
    assert!(paused.until("a checkpoint", || steps(&lab, "paused.jsonl", "\"Checkpoint\"") >= 2));
    paused.signal(Signal::STOP);
    let mut heir = lab.start(&format!("worker {STORE} --poll-interval 100ms {SHORT_LEASE}"));
    assert!(heir.until("the dataset", || lab.path("set/meta/info.json").exists()));
    heir.signal(Signal::TERM);
    heir.wait().expect_code(0);
    let published = dataset_bytes(&lab.path("set"));
    paused.signal(Signal::CONT);
    paused.wait().expect_code(0);
    let lines = replay(&lab.path("paused.jsonl"));
    let lost = lines.iter().position(|line| matches!(line.event.input, Input::LeaseLost { .. }));
    let answered_lost = lines.iter().position(|line| line.event.name().ends_with(":Lost"));
    assert!(lost.or(answered_lost).is_some(), "it never learned that its lease was gone");
    assert!(dataset_bytes(&lab.path("set")) == published);
    assert!(published == dataset_bytes(&lab.path("reference")));
    let jobs = lab.jobs("set");
    assert_eq!((sum(&jobs, "crashes"), sum(&jobs, "failures")), (1, 0), "{jobs:?}");
    assert!(jobs.iter().all(|job| job["status"] == "completed"), "{jobs:?}");
}

#[test]
fn two_processes_share_a_queue_and_one_that_is_killed_is_taken_over() {
    let lab = Lab::with(4, &Robot { seconds: 120.0, ..long() });
    lab.run("run in --out reference --workers 2").expect_code(0);
    let mut first =
        lab.start(&format!("run in --out set --workers 1 --transition-log first.jsonl {SHORT_LEASE}"));
    assert!(first.until("the queue", || steps(&lab, "first.jsonl", "\"Checkpoint\"") >= 1));
    let mut second = lab.start(&format!(
        "worker {STORE} --workers 1 --poll-interval 100ms --transition-log second.jsonl {SHORT_LEASE}"
    ));
    let took = second.until("the second to work", || steps(&lab, "second.jsonl", "\"Checkpoint\"") >= 1);
    second.signal(Signal::KILL);
    second.wait();
    first.wait().expect_code(0);
    assert!(took, "the second worker never got a job");
    assert!(dataset_bytes(&lab.path("set")) == dataset_bytes(&lab.path("reference")));
    let jobs = lab.jobs("set");
    assert_eq!(jobs.len(), 5);
    assert!(jobs.iter().all(|job| job["status"] == "completed"), "{jobs:?}");
}

#[test]
fn a_killed_workers_job_is_claimed_by_an_idle_process_when_its_lease_ends() {
    let lab = Lab::with(1, &long());
    let mut first =
        lab.start(&format!("run in --out set --workers 1 --transition-log first.jsonl {SHORT_LEASE}"));
    assert!(first.until("a checkpoint", || steps(&lab, "first.jsonl", "\"Checkpoint\"") >= 1));
    // It looks at an empty queue once in ten minutes: only its reaper can tell it sooner.
    let mut idle =
        lab.start(&format!("worker {STORE} --poll-interval 10m --transition-log idle.jsonl {SHORT_LEASE}"));
    assert!(idle.until("an empty queue", || steps(&lab, "idle.jsonl", "\"Empty\"") >= 1));
    let killed_ns = monotonic_ns();
    first.signal(Signal::KILL);
    first.wait();
    assert!(idle.until("the job", || steps(&lab, "idle.jsonl", "\"Won\"") >= 1));
    idle.signal(Signal::TERM);
    idle.wait().expect_code(0);
    let won = replay(&lab.path("idle.jsonl")).into_iter().find(|line| line.event.name() == "Claim:Won");
    let waited = Duration::from_nanos(won.unwrap().monotonic_ns - killed_ns);
    println!("claimed {waited:?} after the kill");
    assert!(waited < Duration::from_secs(6), "the lease is 3 s, and the claim came after {waited:?}");
    assert_eq!(sum(&lab.jobs("set"), "crashes"), 1);
}

#[test]
fn pitfall_39_a_worker_holds_only_what_its_machines_work_on() {
    let lab = Lab::with(4, &long());
    let mut running = lab.start("run in --out set --workers 2 --transition-log steps.jsonl");
    assert!(running.until("both machines to work", || steps(&lab, "steps.jsonl", "\"Checkpoint\"") >= 6));
    running.signal(Signal::STOP);
    let stands: Vec<String> = lab.jobs("set").iter().map(|job| job["status"].to_string()).collect();
    running.signal(Signal::CONT);
    running.signal(Signal::TERM);
    running.wait().expect_code(0);
    let leased = stands.iter().filter(|status| *status == "\"leased\"").count();
    assert!(leased <= 2, "{stands:?}");
    assert!(stands.iter().any(|status| status == "\"ready\""), "{stands:?}");
}

#[test]
fn pitfall_40_jobs_follow_each_other_without_waiting_for_the_poll_interval() {
    let lab = Lab::with(4, &short());
    let mut running =
        lab.start("run in --out set --workers 1 --poll-interval 10m --transition-log steps.jsonl");
    // With a wait between two jobs this would take half an hour, and the limit on every wait is far below.
    assert!(running.until("four jobs", || steps(&lab, "steps.jsonl", "\"Complete\"") >= 4));
    running.signal(Signal::TERM);
    running.wait().expect_code(0);
    let completed = lab.jobs("set").iter().filter(|job| job["status"] == "completed").count();
    assert_eq!(completed, 4);
}

#[test]
fn pitfall_41_a_job_that_was_given_back_is_taken_by_an_idle_worker_at_its_next_poll() {
    let lab = Lab::with(1, &long());
    let mut first = lab.start("run in --out set --transition-log first.jsonl");
    assert!(first.until("a checkpoint", || steps(&lab, "first.jsonl", "\"Checkpoint\"") >= 1));
    let mut idle =
        lab.start(&format!("worker {STORE} --poll-interval 300ms --lease 10m --transition-log idle.jsonl"));
    assert!(idle.until("an empty queue", || steps(&lab, "idle.jsonl", "\"Empty\"") >= 1));
    first.signal(Signal::TERM);
    first.wait().expect_code(0);
    // Neither lease can have expired: the job came by its release.
    assert!(idle.until("the job", || steps(&lab, "idle.jsonl", "\"Won\"") >= 1));
    idle.signal(Signal::TERM);
    idle.wait().expect_code(0);
    let jobs = lab.jobs("set");
    assert_eq!(sum(&jobs, "crashes"), 0, "{jobs:?}");
}
