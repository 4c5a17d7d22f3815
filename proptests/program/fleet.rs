//! Recordings submitted to workers in other processes: the same dataset as `run` makes, waited for, cancelled, refused.

use crate::lab::{Lab, long, short};
use roboflow_proptests::program::{Running, dataset_bytes};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// The queue of all these tests.
const QUEUE: &str = "--store sqlite:queue.db";

fn worker(lab: &Lab, name: &str) -> Running {
    lab.start(&format!("worker {QUEUE} --name {name} --poll-interval 100ms"))
}

fn stop(worker: Running) {
    worker.signal(Signal::TERM);
    worker.wait().expect_code(0);
}

/// What a command prints as JSON.
fn json(lab: &Lab, command: &str) -> Value {
    let ran = lab.run(&format!("{command} {QUEUE} --json"));
    serde_json::from_str(&ran.expect_code(0).stdout).unwrap()
}

#[test]
fn submit_and_two_workers_make_what_run_makes() {
    let lab = Lab::with(4, &Robot { cameras: 1, ..short() });
    lab.run("run in --out ran --segment-frames 40").expect_code(0);
    let submitted = json(&lab, "submit in --out set --segment-frames 40");
    assert_eq!((&submitted["new"], &submitted["already"]), (&4.into(), &0.into()), "{submitted}");
    let again = json(&lab, "submit in/r1.mcap in --out set");
    assert_eq!((&again["new"], &again["already"]), (&0.into(), &4.into()), "{again}");
    assert_eq!(again["batch"], submitted["batch"]);
    let (one, two) = (worker(&lab, "one"), worker(&lab, "two"));
    let waited = lab.run(&format!("submit in --out set --wait --wait-interval 50ms {QUEUE}"));
    assert!(waited.expect_code(0).stdout.contains("4 episodes,"), "{}", waited.stdout);
    stop(one);
    stop(two);
    assert_eq!(dataset_bytes(&lab.path("set")), dataset_bytes(&lab.path("ran")));
    let batch = json(&lab, &format!("batch get {}", &submitted["batch"].as_str().unwrap()[..6]));
    assert_eq!((&batch["stage"], &batch["completed"]), (&"published".into(), &4.into()), "{batch}");
    assert_eq!(batch["assembly"]["status"], "completed");
    let listed = json(&lab, "batch list");
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], submitted["batch"]);
}

#[test]
fn submit_infers_the_mapping_once_and_more_recordings_follow_under_their_names() {
    let lab = Lab::with(3, &short());
    fs::create_dir(lab.path("in/day2")).unwrap();
    fs::rename(lab.path("in/r2.mcap"), lab.path("in/day2/r2.mcap")).unwrap();
    let first = lab.run(&format!("submit in/r0.mcap in/r1.mcap --out set {QUEUE}"));
    assert!(
        first.expect_code(0).stderr.contains("no --mapping: inferred this one from r0.mcap"),
        "{}",
        first.stderr
    );
    assert!(first.stderr.contains("every worker must see it"), "{}", first.stderr);
    let more = lab.run(&format!("submit in --out set {QUEUE}"));
    assert!(more.expect_code(0).stdout.contains("1 new recording, 2 submitted before"), "{}", more.stdout);
    assert!(!more.stderr.contains("inferred"), "the mapping of the batch is taken: {}", more.stderr);
    let jobs = json(&lab, "jobs list");
    let mut names: Vec<&str> =
        jobs.as_array().unwrap().iter().map(|job| job["source"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["day2/r2.mcap", "r0.mcap", "r1.mcap"]);
    let outside = lab.run(&format!("submit {} --out set {QUEUE}", data("mcap_crate").display()));
    assert!(outside.expect_code(78).stderr.contains("named by their paths below"), "{}", outside.stderr);
}

fn data(folder: &str) -> std::path::PathBuf {
    roboflow_proptests::recordings::data_folder().join(folder)
}

#[test]
fn submit_refuses_outputs_that_are_not_its_own() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out ran").expect_code(0);
    let run = lab.run(&format!("submit in --out ran {QUEUE}"));
    assert!(run.expect_code(73).stderr.contains("give --append to add to it"), "{}", run.stderr);
    fs::rename(lab.path("ran"), lab.path("bare")).unwrap();
    fs::remove_dir_all(lab.path("bare/.roboflow")).unwrap();
    let before = dataset_bytes(&lab.path("bare"));
    let foreign = lab.run(&format!("submit in --out bare {QUEUE}"));
    assert!(foreign.expect_code(73).stderr.contains("choose another --out"), "{}", foreign.stderr);
    assert_eq!(dataset_bytes(&lab.path("bare")), before);
    lab.run(&format!("submit in --out set {QUEUE}")).expect_code(0);
    let other = lab.run(&format!("submit in --out set --segment-frames 7 {QUEUE}"));
    assert!(other.expect_code(78).stderr.contains("--segment-frames was 100, now 7"), "{}", other.stderr);
    let run = lab.run("run in --out set");
    assert!(run.expect_code(73).stderr.contains("choose another --out"), "{}", run.stderr);
    lab.run(&format!("submit nowhere --out new {QUEUE}")).expect_code(66);
    lab.run("submit in --out new").expect_code(78);
    assert!(!lab.path("new").exists(), "nothing is made for a submission that is refused");
}

#[test]
fn waiting_ends_with_65_and_the_reasons_when_recordings_fail() {
    let lab = Lab::with(2, &short());
    let mapping = lab.run("inspect in/r0.mcap --suggest");
    fs::write(lab.path("map.toml"), mapping.expect_code(0).stdout.as_bytes()).unwrap();
    fs::write(lab.path("in/broken.mcap"), b"not a recording at all").unwrap();
    let submit = format!("submit in --out set --mapping map.toml {QUEUE}");
    lab.run(&submit).expect_code(0);
    let worker = worker(&lab, "one");
    let failed = lab.run(&format!("{submit} --wait --wait-interval 50ms"));
    assert!(
        failed.expect_code(65).stderr.contains("1 of 3 recordings cannot be converted"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("broken.mcap: "), "{}", failed.stderr);
    assert!(!lab.path("set/meta/info.json").exists());
    let listed = json(&lab, "batch list");
    assert_eq!((&listed[0]["stage"], &listed[0]["dead"]), (&"failed".into(), &1.into()), "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let shown = lab.run(&format!("batch get {id} {QUEUE}"));
    assert!(shown.expect_code(0).stdout.contains("broken.mcap: "), "{}", shown.stdout);
    let skipped = lab.run(&format!("{submit} --skip-failed --wait --wait-interval 50ms"));
    assert!(skipped.expect_code(0).stdout.contains("1 of 3 recordings skipped"), "{}", skipped.stdout);
    stop(worker);
    lab.run("validate set").expect_code(0);
}

#[test]
fn a_worker_that_cannot_reach_the_storage_it_is_told_of_ends_at_once() {
    let lab = Lab::with(1, &short());
    lab.run(&format!("submit in --out set {QUEUE}")).expect_code(0);
    let refused = lab.run(&format!("worker {QUEUE} --input nowhere"));
    assert!(refused.expect_code(73).stderr.contains("nowhere"), "{}", refused.stderr);
    assert_eq!(json(&lab, "jobs stats")["ready"], 1, "no job was failed by it");
    let mut running = lab.start(&format!("worker {QUEUE} --input in"));
    assert!(running.until_says("working until asked to stop"));
    stop(running);
}

/// No timer opens an assembly that is due: the worker that made it so does, once it has nothing else to do.
#[test]
fn the_assembly_follows_the_last_recording_whatever_the_intervals() {
    let lab = Lab::with(2, &short());
    lab.run(&format!("submit in --out set {QUEUE}")).expect_code(0);
    let mut worker =
        lab.start(&format!("worker {QUEUE} --poll-interval 10m --lease 40m --renew-interval 10m"));
    assert!(worker.until("the dataset", || lab.path("set/meta/info.json").exists()));
    stop(worker);
    lab.run("validate set").expect_code(0);
}

#[test]
fn a_wait_that_is_cut_short_leaves_the_batch_going() {
    let lab = Lab::with(1, &short());
    let mut waiting = lab.start(&format!("submit in --out set --wait {QUEUE}"));
    assert!(waiting.until_says("waiting"), "it waits, as there is no worker");
    waiting.signal(Signal::INT);
    let ended = waiting.wait();
    assert!(ended.expect_code(130).stderr.contains("the batch goes on"), "{}", ended.stderr);
    assert_eq!(json(&lab, "jobs stats")["ready"], 1);
}

#[test]
fn a_batch_is_cancelled_while_a_worker_is_on_it_within_a_renewal() {
    // 360 segments each: it must not be done before the renewal that tells of the cancellation.
    let lab = Lab::with(2, &Robot { seconds: 1200.0, ..long() });
    let batch = json(&lab, "submit in --out set")["batch"].as_str().unwrap().to_owned();
    let mut worker =
        lab.start(&format!("worker {QUEUE} --name w1 --poll-interval 100ms --renew-interval 200ms"));
    assert!(worker.until("a durable segment", || {
        let shown = json(&lab, &format!("batch get {batch}"));
        shown["working"].as_array().unwrap().iter().any(|one| {
            assert_eq!(one["worker"], "w1");
            one["segments_done"].as_u64().unwrap() >= 1
        })
    }));
    let cancelled = lab.run(&format!("batch cancel {} {QUEUE}", &batch[..8]));
    assert!(cancelled.expect_code(0).stdout.contains("1 jobs now, 1 in hand"), "{}", cancelled.stdout);
    let asked = Instant::now();
    assert!(worker.until("the job to be handed back", || {
        json(&lab, &format!("batch get {batch}"))["stage"] == "cancelled"
    }));
    // A renewal each 200 ms, then the segment in hand is cancelled; the rest is this test's own asking.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let stats = json(&lab, &format!("jobs stats --batch {}", &batch[..4]));
    assert_eq!((&stats["cancelled"], &stats["submitted"]), (&2.into(), &2.into()), "{stats}");
    stop(worker);
    assert!(!lab.path("set/meta/info.json").exists());
    let jobs = json(&lab, &format!("jobs list --batch {batch} --status cancelled"));
    let done: u64 = jobs.as_array().unwrap().iter().map(|job| job["segments_done"].as_u64().unwrap()).sum();
    assert!(done < 2 * 360, "it was stopped on its way: {done} segments");
    let waited = lab.run(&format!("submit in --out set --wait {QUEUE}"));
    assert!(waited.expect_code(65).stderr.contains("cancelled"), "{}", waited.stderr);
}
