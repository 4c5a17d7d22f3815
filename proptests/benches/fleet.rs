//! Times of a fleet on the dev cluster: over many runs of the real program, at the median and the 99th percentile.
//!
//! `ROBOFLOW_DEV=STATE cargo bench --bench fleet -- [--runs N]`, after `deploy/dev/cluster start`.
//!
//! Leases, renewals and polls are the program's defaults. It asserts nothing: timings depend on the machine.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::clock::monotonic_ns;
use roboflow_proptests::fleet::{FleetLab, Member, Role};
use roboflow_proptests::recording::Robot;
use roboflow_proptests::timings::{Series, at_ns, find, lines, ms, runs};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn main() {
    let runs = runs(20);
    let mut lab = fresh();
    lab.record("short", 20, &Robot { seconds: 2.0, ..Robot::default() });
    lab.upload("short", "in/short");
    lab.record("long", 1, &Robot { seconds: 3600.0, joint_rate: 60.0, ..Robot::default() });
    lab.upload("long", "in/long");
    let idle = Series::of(runs, |_| vec![idle_exit(&mut lab)]);
    println!("{runs} runs each; milliseconds");
    println!("{:<48} {:>9} {:>9} {:>9}", "", "p50", "p99", "max");
    idle.print("idle worker: SIGTERM to exit", 0);
    claims(&mut lab, runs).print("claim, of two workers on small jobs", 0);
    submit(&lab, "long", "long");
    let busy = Series::of(runs, |run| release(&mut lab, run));
    busy.print("busy worker: SIGTERM to claims stopped", 0);
    busy.print("busy worker: SIGTERM to job released", 1);
    busy.print("  of which the segment in flight", 2);
    busy.print("  beyond the segment", 3);
    busy.print("busy worker: SIGTERM to exit", 4);
    let killed = Series::of(runs.div_ceil(2), |_| kill(fresh()));
    killed.print("SIGKILL to another worker's claim of the job", 0);
    killed.print("SIGKILL to its first durable segment", 1);
}

/// A lab whose workers have the program's defaults.
fn fresh() -> FleetLab {
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut lab = FleetLab::new(env!("CARGO_BIN_EXE_roboflow"), "bench", 1, logs);
    lab.set_pace(&[]);
    lab
}

fn submit(lab: &FleetLab, round: &str, out: &str) {
    let (input, out) = (lab.url(&format!("in/{round}/")), lab.url(out));
    lab.command(&["submit", &input, "--out", &out, "--mapping", "robot.toml"]).expect_code(0);
}

fn log_of(lab: &FleetLab, member: &Member) -> std::path::PathBuf {
    lab.path(&format!("{}.jsonl", member.name))
}

fn await_step(lab: &FleetLab, member: &mut Member, name: &str) -> u64 {
    let log = log_of(lab, member);
    assert!(member.running.until(name, || find(&log, name).is_some()), "{name} did not come");
    find(&log, name).unwrap()
}

/// Sends SIGTERM, waits for the end; gives the instants of both.
fn terminate(lab: &mut FleetLab, member: Member) -> (u64, u64) {
    let sent = monotonic_ns();
    member.running.signal(Signal::TERM);
    assert_eq!(lab.bury(member), Some(0));
    (sent, monotonic_ns())
}

fn idle_exit(lab: &mut FleetLab) -> f64 {
    let mut worker = lab.start(Role::Worker);
    await_step(lab, &mut worker, "Claim:Empty");
    let (sent, gone) = terminate(lab, worker);
    ms(sent, gone)
}

/// From the effect to its answer, as the machine sees it.
fn claims(lab: &mut FleetLab, runs: usize) -> Series {
    let mut took = Vec::new();
    for run in 0..runs.div_ceil(20) {
        let out = format!("short-{run}");
        submit(lab, "short", &out);
        let mut workers = [lab.start(Role::Worker), lab.start(Role::Worker)];
        lab.until(&mut workers, "the dataset", |lab| lab.is_complete(&out));
        for worker in workers {
            let log = log_of(lab, &worker);
            terminate(lab, worker);
            let mut asked = None;
            for line in lines(&log) {
                if line["name"] == "Claim:Won" {
                    took.push(ms(asked.take().expect("asked before it was won"), at_ns(&line)));
                }
                if line["effects"].to_string().contains("\"Claim\"") {
                    asked = Some(at_ns(&line));
                }
            }
        }
    }
    let mut took = took.into_iter();
    Series::of(took.len(), |_| vec![took.next().unwrap()])
}

fn release(lab: &mut FleetLab, run: usize) -> Vec<f64> {
    let mut worker = lab.start(Role::Worker);
    await_step(lab, &mut worker, "Convert:Durable");
    thread::sleep(Duration::from_millis(run as u64 * 7 % 40)); // another instant of the segment in each run
    let log = log_of(lab, &worker);
    let (sent, gone) = terminate(lab, worker);
    let log = lines(&log);
    let after = |name: &str| log.iter().find(|line| line["name"] == name && at_ns(line) >= sent).map(at_ns);
    let stopped = after("SIGTERM").expect("the signal is in the log");
    let released = after("Release:Committed").expect("the release is in the log");
    let converted = |line: &&Value| line["name"].as_str().is_some_and(|name| name.starts_with("Convert:"));
    let boundary = log.iter().rev().find(converted).map_or(sent, at_ns).max(sent);
    vec![ms(sent, stopped), ms(sent, released), ms(sent, boundary), ms(boundary, released), ms(sent, gone)]
}

/// The only job is held by a worker that is killed; an idle one takes it over.
fn kill(mut lab: FleetLab) -> Vec<f64> {
    lab.record("long", 1, &Robot { seconds: 1200.0, joint_rate: 60.0, ..Robot::default() });
    lab.upload("long", "in/long");
    submit(&lab, "long", "long");
    let mut victim = lab.start(Role::Worker);
    await_step(&lab, &mut victim, "Convert:Durable");
    let mut heir = lab.start(Role::Worker);
    await_step(&lab, &mut heir, "Claim:Empty");
    let sent = monotonic_ns();
    victim.running.signal(Signal::KILL);
    lab.bury(victim);
    let claimed = await_step(&lab, &mut heir, "Claim:Won");
    let durable = await_step(&lab, &mut heir, "Convert:Durable");
    terminate(&mut lab, heir);
    vec![ms(sent, claimed), ms(sent, durable)]
}
