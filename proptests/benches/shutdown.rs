//! How fast a worker lets go: over many runs of the real program, at the median and the 99th percentile.
//!
//! `cargo bench --bench shutdown -- [--runs N]`
//!
//! The baseline of the same run is a process that does nothing and dies of SIGTERM: what signalling and reaping cost on this
//! machine. It asserts nothing: timings depend on the machine. What is asserted stands in the tests.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::clock::monotonic_ns;
use roboflow_proptests::program::{Program, Running};
use roboflow_proptests::recording::Robot;
use roboflow_proptests::timings::{Series, at_ns, find, lines, ms, runs};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

/// How often the second worker looks at an empty queue.
const POLL: &str = "500ms";

fn main() {
    let runs = runs(20);
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("long.mcap");
    Robot { seconds: 1200.0, joint_rate: 60.0, cameras: 1, ..Robot::default() }.write(&recording);

    let baseline = Series::of(runs, |_| vec![do_nothing(folder.path())]);
    Robot { seconds: 2.0, ..Robot::default() }.write(&folder.path().join("short.mcap"));
    program().run(folder.path(), ["run", "short.mcap", "--out", "done"]).expect_code(0);
    let idle = Series::of(runs, |run| vec![idle_exit(folder.path(), &format!("idle-{run}.jsonl"))]);
    let busy = Series::of(runs, |run| interrupted_run(&folder.path().join(format!("busy-{run}")), run));
    let handed = Series::of(runs, |run| vec![handed_over(&folder.path().join(format!("two-{run}")))]);

    println!("{runs} runs each; milliseconds");
    println!("{:<48} {:>9} {:>9} {:>9}", "", "p50", "p99", "max");
    baseline.print("baseline: SIGTERM to exit of an idle process", 0);
    idle.print("idle worker: SIGTERM to exit", 0);
    busy.print("busy worker: SIGTERM to claims stopped", 0);
    busy.print("busy worker: SIGTERM to job released", 1);
    busy.print("  of which the segment in flight", 2);
    busy.print("  beyond the segment", 3);
    busy.print("busy worker: SIGTERM to exit", 4);
    handed.print("released to the idle second worker's claim", 0);
    println!("idle exit / baseline at the median: {:.1}", idle.at(0, 0.5) / baseline.at(0, 0.5));
    println!("poll interval of the second worker: {POLL}");
}

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_roboflow"))
}

/// Sends SIGTERM, waits for the end; gives the instants of both.
fn terminate(running: Running) -> (u64, u64) {
    let sent = monotonic_ns();
    running.signal(Signal::TERM);
    running.wait();
    (sent, monotonic_ns())
}

fn do_nothing(folder: &Path) -> f64 {
    let (sent, gone) = terminate(Program::new("sleep").start(folder, ["1000"]));
    ms(sent, gone)
}

fn await_line(running: &mut Running, log: &Path, name: &str) {
    assert!(running.until(name, || find(log, name).is_some()), "{name} did not come");
}

fn worker(folder: &Path, store: &str, log: &str) -> Running {
    let store = format!("sqlite:{store}");
    program().start(folder, ["worker", "--store", &store, "--transition-log", log, "--poll-interval", POLL])
}

/// On a queue whose jobs are all done.
fn idle_exit(folder: &Path, log: &str) -> f64 {
    let mut running = worker(folder, "done/.roboflow/queue.db", log);
    await_line(&mut running, &folder.join(log), "Claim:Empty");
    let (sent, gone) = terminate(running);
    ms(sent, gone)
}

/// A run of one long recording, converting.
fn busy(folder: &Path) -> Running {
    std::fs::create_dir_all(folder).unwrap();
    let arguments =
        ["run", "../long.mcap", "--out", "set", "--workers", "1", "--transition-log", "first.jsonl"];
    let mut running = program().start(folder, arguments);
    await_line(&mut running, &folder.join("first.jsonl"), "Convert:Durable");
    running
}

fn interrupted_run(folder: &Path, run: usize) -> Vec<f64> {
    let running = busy(folder);
    std::thread::sleep(Duration::from_millis(run as u64 * 7 % 40)); // another instant of the segment in each run
    let (sent, gone) = terminate(running);
    let log = lines(&folder.join("first.jsonl"));
    let after = |name: &str| log.iter().find(|line| line["name"] == name && at_ns(line) >= sent).map(at_ns);
    let stopped = after("SIGTERM").expect("the signal is in the log");
    let released = after("Release:Committed").expect("the release is in the log");
    let durable =
        log.iter().rev().find(|line| line["name"].as_str().is_some_and(|name| name.starts_with("Convert:")));
    let boundary = durable.map_or(sent, at_ns).max(sent);
    vec![ms(sent, stopped), ms(sent, released), ms(sent, boundary), ms(boundary, released), ms(sent, gone)]
}

fn handed_over(folder: &Path) -> f64 {
    let first = busy(folder);
    let mut second = worker(folder, "set/.roboflow/queue.db", "second.jsonl");
    let second_log = folder.join("second.jsonl");
    await_line(&mut second, &second_log, "Claim:Empty");
    terminate(first);
    let released = find(&folder.join("first.jsonl"), "Release:Committed").expect("the release is in the log");
    await_line(&mut second, &second_log, "Claim:Won");
    let claimed = find(&second_log, "Claim:Won").unwrap();
    terminate(second);
    ms(released, claimed)
}
