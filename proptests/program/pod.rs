//! A worker in a pod: the deadline of a stop comes from the pod's real deletion, as the API server tells it.

use crate::lab::{Lab, long};
use crate::replay::replay;
use roboflow::fsm::Input;
use roboflow_proptests::api_server::{AUTHORITY, ApiServer, pod};
use roboflow_proptests::program::{Ended, Running};
use rustix::process::Signal;
use serde_json::Value;

const STORE: &str = "--store sqlite:queue.db";
const STEPS: &str = "--transition-log steps.jsonl";

/// A queue with one long recording in segments that take long, in a pod whose API server answers so.
fn in_a_pod(status: &str, body: &str) -> (Lab, ApiServer) {
    let mut lab = Lab::with(1, &long());
    lab.run(&format!("submit in --out set {STORE} --segment-frames 10000")).expect_code(0);
    let server = ApiServer::start(status, body);
    let account = lab.path("account");
    std::fs::create_dir(&account).unwrap();
    for (name, text) in [("token", "secret-token"), ("namespace", "robots"), ("ca.crt", AUTHORITY)] {
        std::fs::write(account.join(name), text).unwrap();
    }
    let (port, account) = (server.port().to_string(), account.display().to_string());
    lab.program = lab.program.clone().with_env([
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", port.as_str()),
        ("POD_NAME", "w-1"),
        ("ROBOFLOW_SERVICE_ACCOUNT", account.as_str()),
    ]);
    (lab, server)
}

/// Waits until a segment is under way, then asks the worker to stop.
fn terminate(lab: &Lab, mut running: Running) -> Ended {
    let path = lab.path("steps.jsonl");
    let converting = move || std::fs::read_to_string(&path).unwrap_or_default().contains("\"Convert\":");
    assert!(running.until("a segment to be under way", converting));
    running.signal(Signal::TERM);
    running.wait()
}

fn job(lab: &Lab) -> Value {
    let listed = lab.run(&format!("jobs list {STORE} --json"));
    listed.expect_code(0);
    serde_json::from_str::<Vec<Value>>(&listed.stdout).unwrap().remove(0)
}

fn cancelled(lab: &Lab) -> usize {
    let lines = replay(&lab.path("steps.jsonl"));
    assert_eq!(lines.iter().filter(|line| matches!(line.event.input, Input::TimeLeft { .. })).count(), 1);
    lines.iter().flat_map(|line| &line.effects).filter(|effect| effect.name() == "CancelConvert").count()
}

/// 2 s are left, and a checkpoint and a release that were never measured are given as much: the segment is cut at once, and
/// the job goes back within what is left.
#[test]
fn the_pods_deletion_cuts_the_segment_and_the_job_goes_back() {
    let (lab, server) = in_a_pod("200 OK", &pod(Some("2026-11-21T18:00:03Z"), 5));
    let ended = terminate(&lab, lab.start(&format!("worker {STORE} {STEPS}")));
    ended.expect_code(0);
    assert!(
        ended.stderr.contains("the time left is known") && ended.stderr.contains("the pod's deletion"),
        "{}",
        ended.stderr
    );
    assert_eq!(cancelled(&lab), 1, "{}", ended.stderr);
    let job = job(&lab);
    assert_eq!((&job["status"], &job["interruptions"]), (&"ready".into(), &1.into()), "{job}");
    assert_eq!((&job["failures"], &job["crashes"]), (&0.into(), &0.into()), "{job}");
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /api/v1/namespaces/robots/pods/w-1 HTTP/1.1"), "{asked:?}");
    assert!(!ended.stderr.contains("secret-token"));
    lab.run(&format!("reconcile {STORE}")).expect_code(0);
}

/// A pod that may not get itself: the log says what is missing, and what is configured holds.
#[test]
fn without_an_answer_the_configured_grace_holds() {
    let (lab, _server) = in_a_pod("403 Forbidden", "{}");
    let refused = lab.run(&format!("worker {STORE} --grace 30s"));
    refused.expect_code(78);
    assert!(refused.stderr.contains("= 30.75 s does not fit in the grace 30 s"), "{}", refused.stderr);
    let ended = terminate(&lab, lab.start(&format!("worker {STORE} {STEPS} --grace 31s")));
    ended.expect_code(0);
    assert!(ended.stderr.contains("may not get its own pod"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--grace"), "{}", ended.stderr);
    assert_eq!(cancelled(&lab), 0, "the segment ran to its boundary");
}

/// With no time left at all it leaves in that moment, and never with 0.
#[test]
fn with_no_time_left_it_is_never_exit_0() {
    let (lab, _server) = in_a_pod("200 OK", &pod(Some("2026-11-21T18:00:00Z"), 0));
    let ended = terminate(&lab, lab.start(&format!("worker {STORE} {STEPS}")));
    ended.expect_code(75);
    assert_eq!(job(&lab)["status"], "leased", "nobody made up a release");
}
