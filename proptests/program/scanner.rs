//! Scanners as processes: together with workers they make what `run` makes; killed, stopped and asked to end they lose
//! nothing and repeat nothing.

use crate::lab::{Lab, short};
use roboflow_proptests::program::{Running, dataset_bytes};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

const QUEUE: &str = "--store sqlite:queue.db";
const SCAN: &str = "scanner --input in --out sets --interval 200ms --settle 50ms";

fn scanner(lab: &Lab, name: &str, more: &str) -> Running {
    lab.start(&format!("{SCAN} --name {name} {QUEUE} {more}"))
}

fn worker(lab: &Lab, name: &str) -> Running {
    lab.start(&format!("worker {QUEUE} --name {name} --poll-interval 100ms"))
}

fn stop(running: Running) {
    running.signal(Signal::TERM);
    running.wait().expect_code(0);
}

fn json(lab: &Lab, command: &str) -> Value {
    let ran = lab.run(&format!("{command} {QUEUE} --json"));
    serde_json::from_str(&ran.expect_code(0).stdout).unwrap()
}

fn is_published(lab: &Lab, batch: &str) -> bool {
    lab.path(&format!("sets/{batch}/meta/info.json")).exists()
}

#[test]
fn two_scanners_and_two_workers_make_what_run_makes_and_leave_nothing_behind() {
    let lab = Lab::with(4, &Robot { cameras: 1, ..short() });
    lab.run("run in --out ran").expect_code(0);
    let (mut one, two) = (scanner(&lab, "one", ""), scanner(&lab, "two", ""));
    assert!(one.until("the queue", || lab.path("queue.db").exists()));
    let workers = [worker(&lab, "w1"), worker(&lab, "w2")];
    assert!(one.until("the dataset", || is_published(&lab, "batch-0001")));
    assert_eq!(dataset_bytes(&lab.path("sets/batch-0001")), dataset_bytes(&lab.path("ran")));
    Robot { seed: 99, cameras: 1, ..short() }.write(&lab.path("in/later.mcap"));
    assert!(one.until("the next dataset", || is_published(&lab, "batch-0002")));
    let swept = |batch: &str| !lab.path(&format!("sets/{batch}/.roboflow/staging")).exists();
    assert!(one.until("the staging to go", || swept("batch-0001") && swept("batch-0002")));
    let stats = json(&lab, "jobs stats");
    assert_eq!((&stats["submitted"], &stats["completed"]), (&7.into(), &7.into()), "{stats}");
    for running in workers.into_iter().chain([one, two]) {
        stop(running);
    }
    assert_eq!(json(&lab, "batch list").as_array().unwrap().len(), 2);
}

#[test]
fn a_leader_that_is_killed_is_replaced_within_15_s_and_one_that_is_stopped_writes_nothing_when_it_wakes() {
    let lab = Lab::with(1, &short());
    let mut one = scanner(&lab, "one", "");
    assert!(one.until_says("role=\"scanner"), "it leads");
    let mut two = scanner(&lab, "two", "");
    assert!(two.until_says("scanning until asked to stop"));
    one.signal(Signal::KILL);
    let killed = Instant::now();
    assert!(two.until_says("leads now"));
    assert!(two.until_says("the round is done"));
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    assert!(two.until("the recording", || json(&lab, "jobs stats")["submitted"] == 1));
    let mut three = scanner(&lab, "three", "");
    assert!(three.until_says("scanning until asked to stop"));
    two.signal(Signal::STOP);
    assert!(three.until_says("the round is done"));
    short().write(&lab.path("in/r9.mcap"));
    assert!(three.until("the new recording", || json(&lab, "jobs stats")["submitted"] == 2));
    two.signal(Signal::CONT);
    assert!(two.until_says("leads no more"));
    stop(three);
    assert!(two.until_says("term=4") || two.until_says("leads now"), "it leads again, under a new term");
    stop(two);
    assert_eq!(json(&lab, "jobs stats")["submitted"], 2);
}

#[test]
fn a_scanner_that_is_asked_to_stop_steps_down_and_exits_with_0_within_a_second_or_so() {
    let lab = Lab::with(1, &short());
    let mut waits = scanner(&lab, "waits", "");
    assert!(waits.until_says("leads now"));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut next = scanner(&lab, "next", "");
        assert!(next.until_says("scanning until asked to stop"));
        waits.signal(signal);
        let asked = Instant::now();
        let ended = waits.wait();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert!(ended.expect_code(0).stderr.contains("stepped down"), "{}", ended.stderr);
        // The lease is 10 s: the next one need not wait for its end.
        assert!(next.until_says("leads now"));
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        waits = next;
    }
    waits.signal(Signal::TERM);
    waits.signal(Signal::TERM);
    waits.wait().expect_code(0);
}

#[test]
fn once_is_one_round_and_the_next_one_completes_the_batch() {
    let lab = Lab::with(2, &short());
    let scan = format!("scanner --input in --out sets --settle 0 --once {QUEUE} --log-format json");
    let first = lab.run(&scan);
    assert!(first.expect_code(0).stderr.contains("\"new\":2,\"waiting\":0"), "{}", first.stderr);
    assert_eq!(json(&lab, "batch list")[0]["sealed"], false);
    let again = lab.run(&scan);
    assert!(again.expect_code(0).stderr.contains("\"new\":0,\"waiting\":0,\"sealed\":"), "{}", again.stderr);
    let batch = &json(&lab, "batch list")[0];
    assert_eq!((&batch["sealed"], &batch["recordings"]), (&true.into(), &2.into()));
    let fresh = lab.run(&format!("scanner --input in --out other --once {QUEUE} --log-format json"));
    assert!(
        fresh.expect_code(0).stderr.contains("\"waiting\":2"),
        "they have to settle first: {}",
        fresh.stderr
    );
}

#[test]
fn what_cannot_work_is_refused_at_once_and_says_what_to_do() {
    let lab = Lab::with(1, &short());
    for (options, code, says) in [
        ("--input in", 78, "Give --out"),
        ("--out sets", 78, "Give --input, or STORAGE_URL"),
        ("--input nowhere --out sets", 66, "nowhere"),
        ("--input in --out in/r0.mcap", 73, "r0.mcap"),
        ("--input in --out sets --interval 0", 78, "--interval"),
        ("--input in --out sets --settle 1ms", 78, "--settle"),
        ("--input in --out sets --lease 5s --renew-interval 2s", 78, "3 x 2000 ms > 5000 ms"),
        ("--input in --out sets --pattern [x", 78, "not a valid pattern"),
        ("--input in --out sets --mapping nowhere.toml", 66, "nowhere.toml"),
        ("--input in --out sets --batch-recordings 0", 78, "--batch-recordings 0"),
        ("--input in --out sets --keep-receipts 1s", 78, "--keep-receipts"),
        ("--input gs://x --out sets", 78, "not served"),
    ] {
        let refused = lab.run(&format!("scanner {options} {QUEUE}"));
        refused.expect_code(code);
        assert!(refused.stderr.contains(says), "{options}: {}", refused.stderr);
        assert!(!lab.path("queue.db").exists(), "{options}: nothing is opened");
    }
    let none = lab.run("scanner --input in --out sets");
    assert!(none.expect_code(78).stderr.contains("--store sqlite:PATH"), "{}", none.stderr);
    lab.run("run in --out theirs/batch-0001").expect_code(0);
    let before = dataset_bytes(&lab.path("theirs"));
    let foreign = lab.run(&format!("scanner --input in --out theirs {QUEUE}"));
    assert!(foreign.expect_code(73).stderr.contains("choose another --out"), "{}", foreign.stderr);
    assert_eq!(dataset_bytes(&lab.path("theirs")), before);
}

/// The store is away for a while: nobody ends for that. Asked to stop meanwhile, a scanner ends all the same.
#[test]
fn a_store_that_is_away_is_waited_for_and_a_stop_meanwhile_is_clean() {
    let lab = Lab::with(1, &short());
    let mut scanner = scanner(&lab, "one", "");
    assert!(scanner.until("the recording", || {
        lab.path("queue.db").exists() && json(&lab, "jobs stats")["submitted"] == 1
    }));
    let other = rusqlite::Connection::open(lab.path("queue.db")).unwrap();
    other.busy_timeout(Duration::from_secs(60)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(scanner.until_says("trying again"), "it says what it waits for");
    assert!(scanner.until_says("leads no more"), "and believes in its lead no longer than it may");
    other.execute_batch("ROLLBACK").unwrap();
    short().write(&lab.path("in/r8.mcap"));
    assert!(scanner.until("the new recording", || json(&lab, "jobs stats")["submitted"] == 2));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(scanner.until_says("tried again"));
    scanner.signal(Signal::TERM);
    let asked = Instant::now();
    let ended = scanner.wait();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!ended.expect_code(0).stderr.contains("panicked"), "{}", ended.stderr);
}
