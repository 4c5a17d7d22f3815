//! What a worker was told is completed is completed in the queue, whatever happens to the worker next.

use crate::lab::{Lab, short};
use roboflow_proptests::program::Running;
use rustix::process::Signal;

/// Completions that the machine was told are committed, by the steps that are on disk.
fn reported(lab: &Lab) -> usize {
    let steps = std::fs::read_to_string(lab.path("steps.jsonl")).unwrap_or_default();
    let mut asked = false;
    let mut reported = 0;
    for line in steps.lines() {
        if asked && line.contains("\"name\":\"Commit:Committed\"") {
            reported += 1;
            asked = false;
        }
        asked |= line.contains("{\"Complete\":");
    }
    reported
}

fn hit(lab: &Lab, mut running: Running, signal: Signal) {
    assert!(running.until("two completions", || reported(lab) >= 2));
    running.signal(signal);
    running.wait();
    let reported = reported(lab);
    let completed = lab.jobs("set").iter().filter(|job| job["status"] == "completed").count();
    assert!(completed >= reported, "{reported} completions were reported, {completed} are in the queue");
    assert!(reported >= 2);
}

/// Completions are not gathered for later: each is durable before the machine hears of it, so no exit can lose one.
#[test]
fn pitfall_27_no_exit_loses_a_completion_that_was_reported() {
    for signal in [Signal::KILL, Signal::TERM] {
        let lab = Lab::with(6, &short());
        let running = lab.start("run in --out set --workers 1 --transition-log steps.jsonl");
        hit(&lab, running, signal);
    }
}
