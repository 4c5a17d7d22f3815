//! What a worker exports to a collector of OpenTelemetry, as the collector takes it.

use crate::lab::{Lab, listed, long, short};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use roboflow_proptests::collector::{Collector, attribute};
use rustix::process::Signal;

const STORE: &str = "--store sqlite:queue.db";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_else(|| panic!("{key} of {span:?}"))
}

/// Holds a claim that ended well, and the states below it. How many those are.
fn states_of((worker, claim): &(String, Span), of_job: &[&(String, Span)]) -> usize {
    let is_unset = claim.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset);
    assert!(claim.parent_span_id.is_empty() && is_unset, "{claim:?}");
    assert_eq!(text(claim, "roboflow.job"), hex(&claim.trace_id));
    let states: Vec<_> = of_job.iter().filter(|(_, span)| span.parent_span_id == claim.span_id).collect();
    assert!(states.iter().all(|(of, _)| of == worker));
    // They follow each other and fill the claim, which began when it was asked for.
    let mut at = claim.start_time_unix_nano;
    for (_, state) in &states {
        assert_eq!(state.start_time_unix_nano, at, "{}", state.name);
        at = state.end_time_unix_nano;
    }
    assert_eq!(at, claim.end_time_unix_nano);
    let names: Vec<&str> = states.iter().map(|(_, state)| state.name.as_str()).collect();
    assert!(names.first() == Some(&"Claiming") && names.contains(&"Processing"), "{names:?}");
    let first = states.first().map(|(_, state)| text(state, "roboflow.ended_by"));
    assert_eq!(first.as_deref(), Some("Claim:Won"));
    states.len()
}

/// Interrupted by one worker and completed by another, a job is one trace: by its own id, a claim a span, its states below.
#[test]
fn a_job_is_one_trace_whichever_workers_had_it() {
    let mut lab = Lab::with(1, &long());
    let collector = Collector::start(Some("200 OK"));
    lab.run(&format!("submit in --out set {STORE}")).expect_code(0);
    let endpoint = collector.endpoint();
    lab.program = lab.program.clone().with_env([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a-secret"),
    ]);
    let log = "--log-level trace --log-format json";
    let mut first = lab.start(&format!(
        "worker {STORE} --name w-1 --transition-log steps.jsonl --finish-if-fits=false {log}"
    ));
    let has_checkpoint =
        || std::fs::read_to_string(lab.path("steps.jsonl")).unwrap_or_default().contains("\"Checkpoint\"");
    assert!(first.until("a checkpoint", has_checkpoint));
    first.signal(Signal::TERM);
    let ended = first.wait();
    ended.expect_code(0);
    assert!(!ended.stderr.contains("a-secret"), "a log holds what the collector's headers say");
    let mut second = lab.start(&format!("worker {STORE} --name w-2 --poll-interval 20ms"));
    assert!(second.until("the dataset", || lab.path("set/meta/info.json").exists()));
    let is_done = || {
        listed(&lab.run(&format!("jobs list {STORE} --json"))).iter().all(|job| job["status"] == "completed")
    };
    assert!(second.until("every job", is_done));
    second.signal(Signal::TERM);
    second.wait().expect_code(0);

    let asked = collector.asked();
    assert!(asked.iter().all(|asked| asked.starts_with("POST /v1/traces HTTP/1.1")), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.contains("api-key: a-secret")), "{asked:?}");
    let spans = collector.spans();
    for job in listed(&lab.run(&format!("jobs list {STORE} --json"))) {
        let of_job: Vec<_> =
            spans.iter().filter(|(_, span)| job["id"] == hex(&span.trace_id).as_str()).collect();
        let claims: Vec<_> = of_job.iter().copied().filter(|(_, span)| span.name == "job").collect();
        let told: Vec<_> = claims
            .iter()
            .map(|(worker, span)| {
                (worker.as_str(), text(span, "roboflow.epoch"), text(span, "roboflow.outcome"))
            })
            .collect();
        if job["interruptions"] == 1 {
            assert_eq!(
                told,
                [("w-1", "1".into(), "released".into()), ("w-2", "2".into(), "completed".into())]
            );
        } else {
            assert_eq!(told, [("w-2", "1".into(), "completed".into())]);
        }
        let states: usize = claims.iter().map(|claim| states_of(claim, &of_job)).sum();
        assert_eq!(claims.len() + states, of_job.len(), "{job}");
    }
    assert!(spans.iter().any(|(_, span)| text(span, "roboflow.machine") == "0" && span.name == "job"));
}

/// Neither one that says no nor one that says nothing costs a job, or the exit code.
#[test]
fn a_collector_that_is_of_no_use_costs_nothing() {
    for (status, what) in [(Some("503 Service Unavailable"), "dropped"), (None, "not exported")] {
        let lab = Lab::with(1, &short());
        let collector = Collector::start(status);
        lab.run(&format!("submit in --out set {STORE}")).expect_code(0);
        let mut worker = lab.start(&format!("worker {STORE} --otlp-endpoint {}", collector.endpoint()));
        assert!(worker.until("the dataset", || lab.path("set/meta/info.json").exists()));
        worker.signal(Signal::TERM);
        let ended = worker.wait();
        ended.expect_code(0);
        assert!(ended.stderr.contains(what) && ended.stderr.contains("WARN"), "{what}: {}", ended.stderr);
        assert!(!collector.asked().is_empty());
        lab.run(&format!("reconcile {STORE}")).expect_code(0);
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused_at_start() {
    let lab = Lab::with(1, &short());
    lab.run(&format!("submit in --out set {STORE}")).expect_code(0);
    for (arguments, env, words) in [
        ("--otlp-endpoint otel:4317", ("A", "b"), "is no endpoint: give the collector's URL"),
        ("--otlp-endpoint http://me:secret@otel", ("A", "b"), "OTEL_EXPORTER_OTLP_HEADERS"),
        (
            "--otlp-endpoint http://otel:4317",
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            "only http/protobuf is spoken",
        ),
    ] {
        let program = lab.program.clone().with_env([env]);
        let ended =
            program.start(lab.folder(), format!("worker {STORE} {arguments}").split_whitespace()).wait();
        ended.expect_code(78);
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}
