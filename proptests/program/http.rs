//! The HTTP surface of real processes: ports and sockets that are taken, probes, drains, and a driver that is stuck.

use crate::lab::{Lab, long};
use roboflow_proptests::program::{Running, dataset_bytes};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

const STORE: &str = "--store sqlite:set/.roboflow/queue.db";

/// An empty queue, as a run of a dataset leaves it.
fn queue() -> Lab {
    let lab = Lab::with(1, &crate::lab::short());
    lab.run("run in --out set").expect_code(0);
    lab
}

/// The port that a process says it serves on.
fn port(running: &mut Running) -> u16 {
    assert!(running.until_says("serving health and metrics"), "{}", running.said());
    let said = running.said();
    let address = said.split("address=").nth(1).unwrap();
    let port = address.split_whitespace().next().unwrap().rsplit(':').next().unwrap();
    port.parse().unwrap()
}

fn worker(lab: &Lab, more: &str) -> Running {
    lab.start(&format!("worker {STORE} --health-port 0 --health-address 127.0.0.1 {more}"))
}

#[test]
fn a_port_or_socket_that_is_taken_ends_the_start_with_78_and_says_what_to_do() {
    let lab = queue();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let _socket = UnixListener::bind(lab.path("admin.sock")).unwrap();
    for command in ["worker", "scanner"] {
        let ended = lab.run(&format!("{command} {STORE} --health-port {port} --health-address 127.0.0.1"));
        ended.expect_code(78);
        assert!(
            ended.stderr.contains(&port.to_string()) && ended.stderr.contains("--health-port"),
            "{}",
            ended.stderr
        );
        let ended = lab.run(&format!("{command} {STORE} --health-port off --admin-socket admin.sock"));
        ended.expect_code(78);
        assert!(ended.stderr.contains("admin.sock"), "{}", ended.stderr);
        let ended = lab.run(&format!("{command} {STORE} --health-port 0 --admin-token-file nowhere"));
        ended.expect_code(78);
        assert!(ended.stderr.contains("nowhere"), "{}", ended.stderr);
    }
}

#[test]
fn health_is_asked_by_exec_probes_and_a_drain_is_waited_for() {
    let lab = queue();
    let mut running = worker(&lab, "");
    let port = port(&mut running);
    let ask = |more: &str| lab.run(&format!("health {more} --port {port}"));
    assert!(running.until("readiness", || ask("ready").code() == Some(0)));
    assert_eq!(ask("live").expect_code(0).stdout, "ok\n");
    let all: serde_json::Value = serde_json::from_str(&ask("all").expect_code(0).stdout).unwrap();
    assert_eq!((&all["status"], &all["machines"][0]["machine"]), (&"ready".into(), &0.into()));
    assert_eq!(lab.run(&format!("health --url http://127.0.0.1:{port}")).code(), Some(0));
    let drained = lab.run(&format!("drain --port {port} --wait --timeout 60s"));
    drained.expect_code(0);
    running.wait().expect_code(0);
    assert!(drained.stderr.contains("is gone"), "{}", drained.stderr);
    let gone = ask("live");
    gone.expect_code(1);
    assert!(gone.stderr.contains("does not answer"), "{}", gone.stderr);
    lab.run(&format!("drain --port {port}")).expect_code(74);
}

#[test]
fn a_drain_that_interrupts_hands_the_job_back_and_the_bytes_stay_the_same() {
    let lab = Lab::with(1, &long());
    lab.run("run in --out reference").expect_code(0);
    let mut first = lab.start("run in --out set --transition-log steps.jsonl");
    assert!(first.until("a checkpoint", || {
        std::fs::read_to_string(lab.path("steps.jsonl")).unwrap_or_default().contains("\"Checkpoint\"")
    }));
    first.signal(Signal::TERM);
    first.wait().expect_code(0);
    let mut running = worker(&lab, "--admin-socket admin.sock --transition-log worker.jsonl");
    assert!(running.until("a segment", || {
        std::fs::read_to_string(lab.path("worker.jsonl")).unwrap_or_default().contains("\"Convert\"")
    }));
    lab.run("drain --mode interrupt --socket admin.sock --wait").expect_code(0);
    running.wait().expect_code(0);
    assert!(!lab.path("admin.sock").exists(), "the socket goes with its process");
    let jobs = lab.jobs("set");
    assert_eq!((&jobs[0]["status"], &jobs[0]["interruptions"]), (&"ready".into(), &2.into()), "{jobs:?}");
    lab.run("run in --out set").expect_code(0);
    assert!(dataset_bytes(&lab.path("set")) == dataset_bytes(&lab.path("reference")));
}

#[test]
fn the_socket_of_a_killed_process_is_replaced() {
    let lab = queue();
    let mut killed = worker(&lab, "--admin-socket admin.sock");
    port(&mut killed);
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(lab.path("admin.sock").exists());
    let mut heir = worker(&lab, "--admin-socket admin.sock");
    port(&mut heir);
    lab.run("health live --socket admin.sock").expect_code(0);
    lab.run("drain --socket admin.sock --wait").expect_code(0);
    heir.wait().expect_code(0);
}

#[test]
fn a_scanner_is_asked_and_drained_like_a_worker() {
    let lab = queue();
    let mut running = lab.start(&format!("scanner {STORE} --health-port 0 --health-address 127.0.0.1"));
    let port = port(&mut running);
    assert!(running.until("readiness", || lab.run(&format!("health --port {port}")).code() == Some(0)));
    lab.run(&format!("drain --port {port} --wait")).expect_code(0);
    running.wait().expect_code(0);
}

#[test]
fn run_listens_nowhere() {
    let lab = Lab::with(1, &crate::lab::short());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let program = lab.program.clone().with_env([("HEALTH_PORT", port.as_str())]);
    program.run(lab.folder(), "run in --out set".split(' ')).expect_code(0);
}

/// The driver waits for a log that nobody reads: it is stuck for good, while signals and the server are not.
#[test]
fn a_driver_that_is_stuck_is_not_alive() {
    let lab = queue();
    mknodat(CWD, lab.path("steps"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let log = std::fs::OpenOptions::new().read(true).write(true).open(lab.path("steps")).unwrap();
    let mut running = worker(&lab, "--poll-interval 1ms --transition-log steps");
    let port = port(&mut running);
    let probe = || lab.run(&format!("health live --port {port}"));
    assert_eq!(probe().code(), Some(0));
    assert!(running.until("the driver to be seen stuck", || {
        thread::sleep(Duration::from_millis(100));
        probe().code() == Some(1)
    }));
    let told = probe();
    assert!(told.stderr.contains("machine 0") && told.stderr.contains("503"), "{}", told.stderr);
    lab.run(&format!("health ready --port {port}")).expect_code(1);
    drop(log);
}
