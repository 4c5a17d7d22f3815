//! What the machines do, over a real port: the page, its JSON, its events, and the jobs in hand.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what cannot be done is a failed test")]

use roboflow::fsm::Settings;
use roboflow::fsm::effect::{Exit, Leaf};
use roboflow::fsm::event::Signal;
use roboflow::http::SUBSCRIBERS_MAX;
use roboflow_proptests::surface::Served;
use roboflow_proptests::worker_lab::{DONE, Latch, WorkerLab, quick, signal};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A worker that stands in the second segment of its job until the latch is opened.
fn processing(lab: &WorkerLab, served: &Served) -> (roboflow::worker::Worker, Latch) {
    let latch = Latch::default();
    let held = latch.clone();
    lab.submit(1);
    let worker = lab.start(3, move |segment, stop| {
        if segment > 0 {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    served.health.works(Arc::new(worker.vitals()));
    lab.until("a second segment", || lab.effects("Convert") >= 2);
    lab.until("Processing", || served.json("/machine.json")["machines"][0]["leaf"] == "Processing");
    (worker, latch)
}

fn events(served: &Served) -> BufReader<TcpStream> {
    let mut stream = served.connect();
    stream.write_all(b"GET /machine/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(events.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    events
}

/// Reads messages until one holds what is wanted of machine 0.
fn until_told(events: &mut BufReader<TcpStream>, wanted: impl Fn(&Value) -> bool) {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "the stream ended");
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let told: Value = serde_json::from_str(data.trim_end()).unwrap();
        if told["machines"].as_array().unwrap().iter().any(&wanted) {
            return;
        }
    }
}

/// Every hop that the drawing knows.
fn drawn(page: &str) -> BTreeSet<String> {
    let hops = page.split("data-hops=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    hops.flat_map(|hops| hops.split(';').map(str::to_owned)).collect()
}

#[test]
fn the_page_has_the_whole_machine_and_nothing_from_elsewhere() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let page = served.get("/machine").body;
    for leaf in Leaf::ALL {
        assert!(page.contains(&format!("data-leaf=\"{}\"", leaf.name())), "{}", leaf.name());
    }
    assert!(drawn(&page).contains("Idle|Tick|Claiming"));
    for (attribute, kept) in [("src=\"", "machine.js"), ("href=\"", "machine.json"), ("href=\"", "jobs")] {
        let found: Vec<&str> =
            page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(found.contains(&kept), "{found:?}");
        assert!(found.iter().all(|found| !found.contains(':')), "{found:?}");
    }
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    let answer = served.send(b"GET /machine HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("content-security-policy: default-src 'none'"), "{}", &answer[..600]);
    assert!(served.get("/machine.js").body.contains("EventSource"));
    let empty = served.json("/machine.json");
    assert_eq!((&empty["status"], empty["machines"].as_array().unwrap().len()), (&"starting".into(), 0));
}

#[test]
fn the_json_counts_what_the_transition_log_holds_and_the_drawing_has_an_edge_for_each() {
    let lab = WorkerLab::new(2, Settings { finish_if_fits: false, ..quick() });
    let served = Served::of(&lab);
    lab.submit(8);
    let worker = lab.start(2, |_, _| Ok(DONE));
    served.health.works(Arc::new(worker.vitals()));
    lab.until("all jobs", || lab.metrics.jobs_completed.get() == 8);
    worker.inputs().send(&signal(Signal::Int));
    assert_eq!(worker.join().0, Exit::Clean);
    let told = served.json("/machine.json");
    let known = drawn(&served.get("/machine").body);
    for (number, machine) in told["machines"].as_array().unwrap().iter().enumerate() {
        let mut wanted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for line in lab.steps().iter().filter(|line| line.machine as usize == number) {
            for pair in line.trail.windows(2) {
                *wanted.entry((pair[0].name().to_owned(), pair[1].name().to_owned())).or_default() += 1;
            }
        }
        let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for edge in machine["edges"].as_array().unwrap() {
            let (from, event, to) = (text(&edge[0]), text(&edge[1]), text(&edge[2]));
            assert!(known.contains(&format!("{from}|{event}|{to}")), "{from} -{event}-> {to} is not drawn");
            *counted.entry((from, to)).or_default() += edge[3].as_u64().unwrap();
        }
        assert_eq!(counted, wanted, "machine {number}");
        let transitions = machine["transitions"].as_array().unwrap();
        assert!(transitions.len() <= 100 && !transitions.is_empty());
        let last = transitions.last().unwrap();
        assert_eq!((&last["to"], &last["number"]), (&"Exited".into(), &machine["count"]), "{last}");
        assert_eq!(machine["leaf"], "Exited");
    }
}

#[test]
fn events_tell_of_transitions_as_they_come() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
    let served = Served::of(&lab);
    let (worker, latch) = processing(&lab, &served);
    let mut events = events(&served);
    worker.inputs().send(&signal(Signal::Term));
    until_told(&mut events, |machine| {
        let to_draining = |one: &Value| one["to"] == "Finishing" && one["cause"] == "SIGTERM";
        machine["state"] == "Draining" && machine["transitions"].as_array().unwrap().iter().any(to_draining)
    });
    latch.open();
    until_told(&mut events, |machine| machine["leaf"] == "Exited");
    assert_eq!(worker.join().0, Exit::Clean);
}

#[test]
fn so_many_watch_and_no_more_and_their_places_come_free() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let mut watching: Vec<BufReader<TcpStream>> = (0..SUBSCRIBERS_MAX).map(|_| events(&served)).collect();
    let refused = served.send(b"GET /machine/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"), "{refused}");
    watching.pop();
    lab.until("a place", || {
        let mut stream = served.connect();
        stream.write_all(b"GET /machine/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains("200")
    });
    assert_eq!(served.status("/livez"), 200);
}

#[test]
fn jobs_tell_what_is_held_how_far_it_is_and_when_it_may_end() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    assert_eq!(served.json("/jobs")["jobs"], Value::Array(Vec::new()));
    let (worker, latch) = processing(&lab, &served);
    let told = served.json("/jobs");
    let job = &told["jobs"][0];
    let held = lab.jobs().remove(0);
    assert_eq!((&job["job"], &job["epoch"]), (&held.id.to_string().into(), &1.into()), "{told}");
    assert_eq!(
        (&job["checkpoint"], &job["segments_done"], &job["segments"]),
        (&1.into(), &1.into(), &3.into())
    );
    assert_eq!((&job["frames_done"], &job["frames_of"]), (&100.into(), &300.into()), "{told}");
    assert!(job["predicted_seconds_left"].is_number() && job["predicted_end"].is_string(), "{told}");
    assert_eq!(job["source"], "r0");
    latch.open();
    lab.until("the end of the job", || served.json("/jobs")["jobs"] == Value::Array(Vec::new()));
    worker.inputs().send(&signal(Signal::Int));
    assert_eq!(worker.join().0, Exit::Clean);
}
