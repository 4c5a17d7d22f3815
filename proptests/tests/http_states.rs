//! Each endpoint over a real port, in each state of the machine: a real worker is walked through all of them, and asked
//! everything in each. Also before there is a machine, and when its driver is stuck.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what cannot be done is a failed test")]

use roboflow::fsm::effect::{Exit, Leaf};
use roboflow::fsm::event::{Mode, Signal};
use roboflow::fsm::{Input, Settings};
use roboflow::work::WorkError;
use roboflow::worker::Worker;
use roboflow_proptests::surface::Served;
use roboflow_proptests::worker_lab::{DONE, Gate, Latch, WorkerLab, quick, signal};
use rustix::fs::{CWD, FileType, Mode as FileMode, mknodat};
use serde_json::Value;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How a process stands, and what each endpoint is to say of it.
#[derive(Debug, Clone, Copy)]
struct Stands {
    /// One word for the process: starting, ready, draining, stuck.
    status: &'static str,
    /// The leaf of machine 0, once there is one.
    machine: Option<Leaf>,
    /// How hard it was asked to stop.
    stopping: Option<&'static str>,
    /// Whether it holds a job.
    holds: bool,
}

const STARTING: Stands = Stands { status: "starting", machine: None, stopping: None, holds: false };

/// A machine that takes work.
fn active(leaf: Leaf, holds: bool) -> Stands {
    Stands { status: "ready", machine: Some(leaf), stopping: None, holds }
}

/// A machine that was asked to stop.
fn stopping(leaf: Leaf, mode: &'static str, holds: bool) -> Stands {
    Stands { status: "draining", machine: Some(leaf), stopping: Some(mode), holds }
}

/// Asks everything.
#[track_caller]
fn told(served: &Served, stands: Stands) {
    let (is_live, is_ready) = (stands.status != "stuck", stands.status == "ready");
    for (path, yes) in
        [("/health/live", is_live), ("/livez", is_live), ("/health/ready", is_ready), ("/readyz", is_ready)]
    {
        let answer = served.get(path);
        assert_eq!(answer.status, if yes { 200 } else { 503 }, "{path} of {stands:?}: {}", answer.body);
        let right = if yes { answer.body == "ok\n" } else { answer.body.starts_with(stands.status) };
        assert!(right, "{path} of {stands:?}: {}", answer.body);
    }
    let health = served.get("/health");
    assert_eq!(health.status, if is_live { 200 } else { 503 }, "{stands:?}: {}", health.body);
    let health: Value = serde_json::from_str(&health.body).unwrap();
    assert_eq!((&health["live"], &health["ready"]), (&is_live.into(), &is_ready.into()), "{health}");
    assert_eq!(health["reason"].is_null(), is_ready, "{health}");
    let whole = served.json("/machine.json");
    for told in [&health, &whole] {
        assert_eq!(told["status"], stands.status, "{told}");
        let machines = told["machines"].as_array().unwrap();
        assert_eq!(machines.len(), usize::from(stands.machine.is_some()), "{told}");
        if let Some(leaf) = stands.machine {
            let names = (&leaf.name().into(), &leaf.public_name().into());
            assert_eq!((&machines[0]["leaf"], &machines[0]["state"]), names, "{told}");
            assert_eq!(machines[0]["stopping"].as_str(), stands.stopping, "{told}");
        }
    }
    let jobs = served.json("/jobs");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), usize::from(stands.holds), "{stands:?}: {jobs}");
    counted(&served.get("/metrics").body, stands);
    let page = served.get("/machine");
    assert!(page.status == 200 && page.body.contains("<svg class=\"machine\""), "{}", page.status);
    assert_eq!(served.status("/machine.js"), 200);
    let events = served.head_of("GET /machine/events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(events.starts_with("HTTP/1.1 200") && events.contains("text/event-stream"), "{events}");
    assert_eq!(served.status("/nothing"), 404);
    assert_eq!((served.status("/drain"), served.post("/drain?mode=abort").status), (405, 400));
}

fn counted(metrics: &str, stands: Stands) {
    let has =
        |line: &str| assert!(metrics.lines().any(|shown| shown == line), "{line} is missing: {stands:?}");
    has(&format!("roboflow_ready {}.0", u8::from(stands.status == "ready")));
    has(&format!("roboflow_live {}.0", u8::from(stands.status != "stuck")));
    let states = metrics.lines().filter(|line| line.starts_with("roboflow_machine_state{"));
    let lit: Vec<&str> = states.filter(|line| line.ends_with(" 1.0")).collect();
    let wanted = stands
        .machine
        .map(|leaf| format!("roboflow_machine_state{{machine=\"0\",state=\"{}\"}} 1.0", leaf.public_name()));
    assert_eq!(lit, wanted.into_iter().collect::<Vec<_>>());
}

/// Waits for the leaf, then asks everything.
#[track_caller]
fn comes_to(lab: &WorkerLab, served: &Served, stands: Stands) {
    let leaf = stands.machine.unwrap();
    lab.until(leaf.name(), || {
        let machine = &served.json("/health")["machines"][0];
        machine["leaf"] == leaf.name() && machine["stopping"].as_str() == stands.stopping
    });
    told(served, stands);
}

fn settings() -> Settings {
    Settings { finish_if_fits: false, ..quick() }
}

/// A worker whose second segment waits for the latch; up to its first segment's checkpoint, which the gate holds.
fn checkpointing(lab: &WorkerLab, served: &Served) -> (Worker, Latch) {
    let latch = Latch::default();
    let held = latch.clone();
    let first = Latch::default();
    let begun = first.clone();
    lab.submit(1);
    let worker = lab.start(3, move |segment, stop| {
        if segment == 0 {
            begun.wait_or_stop(stop)?
        } else {
            held.wait_or_stop(stop)?
        }
        Ok(DONE)
    });
    served.health.works(Arc::new(worker.vitals()));
    lab.until("readiness", || served.status("/readyz") == 200);
    comes_to(lab, served, active(Leaf::Processing, true));
    lab.gate(Gate::Held);
    first.open();
    comes_to(lab, served, active(Leaf::Checkpointing, true));
    (worker, latch)
}

#[test]
fn pitfall_35_each_endpoint_tells_each_state_from_the_start_to_an_interrupted_end() {
    let lab = WorkerLab::new(1, settings());
    let mut served = Served::of(&lab);
    told(&served, STARTING);
    assert_eq!(served.post("/drain").status, 503, "there is nothing to drain yet");
    lab.lease_gate(Gate::Held);
    let never = Latch::default();
    let worker = lab.start(3, move |segment, stop| {
        if segment > 0 {
            never.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    served.health.works(Arc::new(worker.vitals()));
    assert!(served.get("/readyz").body.contains("first renewal"), "{}", served.get("/readyz").body);
    told(&served, Stands { machine: Some(Leaf::Idle), ..STARTING });
    lab.lease_gate(Gate::Open);
    lab.until("the first renewal", || served.status("/readyz") == 200);
    lab.until_step("Claim:Empty");
    lab.gate(Gate::Held);
    comes_to(&lab, &served, active(Leaf::Idle, false));
    lab.submit(1);
    lab.until_held();
    comes_to(&lab, &served, active(Leaf::Claiming, false));
    lab.gate(Gate::Open);
    lab.until("a second segment", || lab.effects("Convert") >= 2);
    comes_to(&lab, &served, active(Leaf::Processing, true));
    lab.gate(Gate::Held);
    assert_eq!(served.post("/drain?mode=interrupt").status, 202);
    comes_to(&lab, &served, stopping(Leaf::Finishing, "interrupt", true));
    assert_eq!(served.post("/drain").status, 202, "whoever asks again, and more softly, changes nothing");
    told(&served, stopping(Leaf::Finishing, "interrupt", true));
    // Harder: the segment is cancelled, and nothing is left to be saved before the release, which the gate holds.
    worker.inputs().send(&Input::Drain(Mode::Abort));
    comes_to(&lab, &served, stopping(Leaf::Releasing, "abort", true));
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
    told(&served, stopping(Leaf::Exited, "abort", false));
    let metrics = served.get("/metrics").body;
    for line in [
        "roboflow_jobs_total{machine=\"0\",outcome=\"released\"} 1",
        "roboflow_shutdown_seconds_count{rung=\"abort\"} 1",
        "roboflow_frames_total 100",
        "roboflow_invariant_violations_total 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is missing in\n{metrics}");
    }
    served.stop();
    assert!(TcpStream::connect(served.address).is_err(), "it stops when it is told to");
}

#[test]
fn a_checkpoint_in_flight_is_told_and_a_drain_by_name_finishes_the_job() {
    let lab = WorkerLab::new(1, settings());
    let served = Served::of(&lab);
    let (worker, latch) = checkpointing(&lab, &served);
    assert_eq!(served.post("/drain").status, 202);
    comes_to(&lab, &served, stopping(Leaf::Saving, "finish", true));
    latch.open();
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
    told(&served, stopping(Leaf::Exited, "finish", false));
    assert_eq!(lab.metrics.jobs_completed.get(), 1, "it was finished, not given back");
}

#[test]
fn a_stop_while_a_claim_is_in_flight_is_told_and_what_it_wins_goes_back() {
    let lab = WorkerLab::new(1, settings());
    let served = Served::of(&lab);
    let worker = lab.start(3, |_, _| Ok(DONE));
    served.health.works(Arc::new(worker.vitals()));
    lab.until("readiness", || served.status("/readyz") == 200);
    lab.gate(Gate::Held);
    lab.submit(1);
    lab.until_held();
    comes_to(&lab, &served, active(Leaf::Claiming, false));
    worker.inputs().send(&signal(Signal::Term));
    comes_to(&lab, &served, stopping(Leaf::AwaitingClaim, "interrupt", false));
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
    told(&served, stopping(Leaf::Exited, "interrupt", false));
    assert_eq!(lab.metrics.jobs_completed.get(), 0);
}

/// A job that is handed back since it failed: the process takes work all the while.
#[test]
fn handing_a_failed_job_back_is_no_drain() {
    let lab = WorkerLab::new(1, settings());
    let served = Served::of(&lab);
    let begun = Latch::default();
    let failing = begun.clone();
    lab.submit(1);
    let worker = lab.start(3, move |_, stop| {
        failing.wait_or_stop(stop)?;
        Err(WorkError::Transient("the test's storage is away".to_owned()))
    });
    served.health.works(Arc::new(worker.vitals()));
    lab.until("readiness", || served.status("/readyz") == 200);
    comes_to(&lab, &served, active(Leaf::Processing, true));
    lab.gate(Gate::Held);
    begun.open();
    comes_to(&lab, &served, active(Leaf::Releasing, true));
    worker.inputs().send(&signal(Signal::Term));
    comes_to(&lab, &served, stopping(Leaf::Releasing, "interrupt", true));
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
}

/// The driver waits for a log that nobody reads. Until the watchdog's deadline a busy host may be the reason; after it the
/// process is to be restarted. (In a real process the watchdog ends it; here it only says that it would.)
#[test]
fn a_driver_that_is_stuck_over_its_deadline_is_not_alive() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("steps");
    mknodat(CWD, &log, FileType::Fifo, FileMode::RUSR | FileMode::WUSR, 0).unwrap();
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let settings =
        Settings { poll_interval_ms: 1, drain_budget_ms: 200, force_after_ms: 4_000, ..settings() };
    let mut lab = WorkerLab::new(1, settings);
    lab.log_into(log);
    let served = Served::of(&lab);
    let worker = lab.start(1, |_, _| Ok(DONE));
    served.health.works(Arc::new(worker.vitals()));
    // A pipe that nobody empties takes no more steps.
    let (mut before, mut same) = (0, 0);
    lab.until("the driver to be stuck", || {
        let steps = lab.metrics.steps.get();
        same = if steps == before && steps > 50 { same + 1 } else { 0 };
        before = steps;
        same > 500
    });
    let stuck_in =
        |served: &Served| served.json("/health")["machines"][0]["leaf"].as_str().map(str::to_owned);
    let leaf = *Leaf::ALL.iter().find(|leaf| Some(leaf.name()) == stuck_in(&served).as_deref()).unwrap();
    assert_eq!((served.status("/livez"), served.status("/readyz")), (200, 200), "it may only be slow");
    worker.inputs().send(&signal(Signal::Term));
    lab.until("the deadline", || lab.bitten.load(Ordering::SeqCst));
    told(&served, Stands { status: "stuck", ..active(leaf, false) });
    assert!(served.get("/livez").body.contains("over its deadline"), "{}", served.get("/livez").body);
    drop(reader);
    worker.join();
    assert_eq!(served.status("/livez"), 200, "it has ended after all");
}
