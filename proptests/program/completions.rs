//! What a worker was told is completed is completed in the queue, whatever happens to the worker next; and what a killed one
//! left behind is swept when the dataset is.

use crate::lab::{Lab, short};
use roboflow::storage::Storage;
use roboflow::storage::fs::FsStorage;
use roboflow_proptests::program::Running;
use rustix::process::Signal;
use std::path::{Path, PathBuf};

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

/// What a writer leaves behind that was killed before it had finished: a partial file under the name of a process that is gone.
fn leave_partial(set: &Path) -> PathBuf {
    let storage = FsStorage::create(set).unwrap();
    std::mem::forget(storage.writer("data/chunk-000/file-000.parquet").unwrap());
    let folder = set.join("data/chunk-000");
    let names =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = names.into_iter().find(|name| name.ends_with(".partial")).unwrap();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let theirs = ours.replace(&format!("-{}-", std::process::id()), &format!("-{}-", gone.id()));
    assert_ne!(ours, theirs);
    std::fs::rename(folder.join(&ours), folder.join(&theirs)).unwrap();
    folder.join(theirs)
}

#[test]
fn pitfall_28_what_a_killed_assembly_left_behind_is_swept_with_the_staging() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out set --workers 1").expect_code(0);
    // As a kill between publishing and sweeping leaves it.
    let partial = leave_partial(&lab.path("set"));
    let staging = lab.path("set/.roboflow/staging");
    assert!(!staging.exists());
    std::fs::create_dir_all(staging.join("old")).unwrap();
    lab.run("run in --out set --workers 1").expect_code(0);
    assert!(!partial.exists(), "{} is still there", partial.display());
    assert!(!staging.exists());
}
