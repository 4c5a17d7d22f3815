//! The store unreachable: at the start of a worker, and in the middle of its work.

use crate::{lab, setting};
use roboflow::queue::JobStatus;
use roboflow_proptests::fleet::{FleetLab, Role, assert_same};
use roboflow_proptests::program::dataset_bytes;
use roboflow_proptests::reckoning::reckon;
use roboflow_proptests::recording::Robot;
use roboflow_proptests::tcp_proxy::Mode;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// A worker that has nothing to give back leaves at once. Generous: processes start slowly on a busy machine.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);

/// From disk to disk: what is tried is the store.
fn submit(lab: &FleetLab) {
    lab.command(&["submit", "in/all", "--out", "set", "--mapping", "robot.toml"]).expect_code(0);
}

fn is_complete(lab: &FleetLab) -> bool {
    lab.path("set/meta/info.json").exists()
}

/// What one machine makes of the same recordings.
#[track_caller]
fn assert_as_alone(lab: &FleetLab) {
    let alone = lab.run_alone(&lab.path("in/all"), "alone");
    assert_same("the dataset", &alone, &dataset_bytes(&lab.path("set")));
}

#[test]
fn a_store_that_is_away_at_the_start_is_waited_for_and_a_signal_is_heard_meanwhile() {
    let mut lab = lab("away", 1);
    lab.record("all", 3, &Robot { seconds: 3.0, ..Robot::default() });
    submit(&lab);
    let proxies = lab.cluster.proxies(1);
    lab.reach_store_by(proxies.endpoint());
    for mode in [Mode::Cut, Mode::Stall] {
        proxies.set_all(mode);
        for signal in [Signal::TERM, Signal::INT] {
            let mut worker = lab.start(Role::Worker);
            let before = proxies.pd.done().connections;
            assert!(worker.running.until("a try to connect", || proxies.pd.done().connections > before + 1));
            let asked = Instant::now();
            worker.running.signal(signal);
            assert_eq!(lab.bury(worker), Some(0), "{mode:?} {signal:?}");
            assert!(asked.elapsed() < LEAVES_WITHIN, "{mode:?} {signal:?}: left after {:?}", asked.elapsed());
        }
    }
    let worker = lab.start(Role::Worker);
    let before = proxies.pd.done().connections;
    let mut members = [worker];
    lab.until(&mut members, "a try to connect", |_| proxies.pd.done().connections > before);
    proxies.set_all(Mode::Open);
    lab.until(&mut members, "the dataset", is_complete);
    let [worker] = members;
    worker.running.signal(Signal::TERM);
    assert_eq!(lab.bury(worker), Some(0));
    assert_as_alone(&lab);
}

/// What stands in the queue under a worker's name and is leased.
fn holds(lab: &FleetLab, name: &str) -> bool {
    let workers = lab.workers();
    let incarnation =
        workers.iter().find(|worker| worker.info.pod == name).map(|worker| worker.info.incarnation);
    let is_its = |job: &roboflow::queue::JobRecord| {
        job.status == JobStatus::Leased && job.owner.as_ref().map(|owner| owner.incarnation) == incarnation
    };
    incarnation.is_some() && lab.jobs().iter().any(is_its)
}

#[test]
fn a_store_that_is_lost_in_the_middle_loses_nothing() {
    let seconds = setting("SECONDS", 15);
    let mut lab = lab("lost", 1);
    lab.record("all", 12, &Robot { seconds: 60.0, cameras: 1, ..Robot::default() });
    submit(&lab);
    let proxies = lab.cluster.proxies(1);
    lab.reach_store_by(proxies.endpoint());
    let mut members: Vec<_> = (0..2).map(|_| lab.start(Role::Worker)).collect();
    let leaver = lab.start_with(Role::Worker, &["--drain-budget", "3s", "--force-after", "6s"]);
    let name = leaver.name.clone();
    members.push(leaver);
    lab.until(&mut members, "a checkpoint of the one that is to leave", |lab| {
        holds(lab, &name) && lab.jobs().iter().any(|job| job.checkpoint > 0)
    });
    proxies.set_all(Mode::Cut);
    let lost = Instant::now();
    let leaver = members.pop().unwrap();
    let was_holding = holds(&lab, &name);
    leaver.running.signal(Signal::TERM);
    let code = lab.bury(leaver);
    // Its last completion may have come in the instant before the cut; what it held then, nobody can have released.
    assert!(was_holding && code == Some(75), "with a job in hand and no store it left with {code:?}");
    while lost.elapsed() < Duration::from_secs(seconds) {
        for member in &mut members {
            assert!(!member.running.has_ended(), "{} ended: {}", member.name, member.running.said());
        }
        thread::sleep(Duration::from_millis(100)); // the outage itself, not a condition
    }
    proxies.set_all(Mode::Open);
    let back = Instant::now();
    lab.until(&mut members, "the dataset", is_complete);
    lab.until(&mut members, "the lost one's lease to be over", |lab| {
        lab.workers().len() == 2 && lab.jobs().iter().all(|job| job.status.is_final())
    });
    println!("without a store for {seconds} s; done {:?} after its return", back.elapsed());
    for member in members {
        member.running.signal(Signal::TERM);
        assert_eq!(lab.bury(member), Some(0));
    }
    assert_as_alone(&lab);
    println!("{:?}", reckon(&lab));
}
