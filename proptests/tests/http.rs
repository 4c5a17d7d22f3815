//! The HTTP surface over a real port: who may drain, and what clients that are slow, greedy or many can do. They can do nothing
//! to the worker. What it tells in which state stands in `http_states.rs`.

use roboflow::fsm::Settings;
use roboflow::fsm::effect::Exit;
use roboflow::fsm::event::Signal;
use roboflow::http::client::{Place, ask};
use roboflow::http::{CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_LIMIT};
use roboflow_proptests::surface::Served;
use roboflow_proptests::worker_lab::{DONE, Latch, WorkerLab, quick, signal};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn pitfall_31_readiness_ends_in_the_step_that_begins_draining_and_liveness_does_not() {
    let lab = WorkerLab::new(3, Settings { finish_if_fits: false, ..quick() });
    let served = Served::of(&lab);
    let latch = Latch::default();
    let held = latch.clone();
    lab.submit(3);
    let worker = lab.start(2, move |_, stop| held.wait_or_stop(stop).map(|()| DONE));
    served.health.works(Arc::new(worker.vitals()));
    lab.until("three jobs", || lab.effects("Convert") == 3);
    lab.until("readiness", || served.status("/readyz") == 200);
    worker.inputs().send(&signal(Signal::Term));
    let mut seen = 0;
    lab.until("every machine to drain", || {
        let health = served.json("/health");
        let machines = health["machines"].as_array().unwrap();
        assert_eq!(machines.len(), 3);
        let stopping = machines.iter().filter(|machine| machine["stopping"] != Value::Null).count();
        assert_eq!(health["ready"].as_bool(), Some(stopping == 0), "{health}");
        assert_eq!(health["live"], true, "{health}");
        seen += 1;
        stopping == 3
    });
    assert!(seen > 0);
    assert_eq!((served.status("/livez"), served.status("/readyz")), (200, 503));
    latch.open();
    assert_eq!(worker.join().0, Exit::Clean);
}

/// What is sent by hand: the head's lines, and the answer's first.
fn raw(served: &Served, lines: &[&str]) -> String {
    let head = format!("{}\r\nHost: x\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
    served.send(head.as_bytes()).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_drain_is_for_this_host_or_for_whoever_has_the_token_and_only_by_post() {
    let folder = tempfile::tempdir().unwrap();
    let (token, socket) = (folder.path().join("token"), folder.path().join("admin.sock"));
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let lab = WorkerLab::new(1, quick());
    let worker = lab.start(1, |_, _| Ok(DONE));
    let served = Served::start(Arc::clone(&lab.metrics), Some(token), Some(socket.clone()));
    served.health.works(Arc::new(worker.vitals()));
    lab.until("readiness", || served.status("/readyz") == 200);
    for (lines, status) in [
        (&["GET /drain HTTP/1.1"][..], "405"),
        (&["POST /drain HTTP/1.1", "Origin: http://evil.example"], "401"),
        (&["POST /drain HTTP/1.1", "X-Forwarded-For: 10.0.0.1"], "401"),
        (&["POST /drain HTTP/1.1", "Authorization: Bearer wrong-wrong-wrong"], "401"),
        (&["POST /drain?mode=abort HTTP/1.1"], "400"),
        (&["POST /drain?mode=Finish HTTP/1.1"], "400"),
    ] {
        let answer = raw(&served, lines);
        assert!(answer.contains(status), "{lines:?}: {answer}");
    }
    assert_eq!(served.status("/readyz"), 200, "none of them drained anything");
    let with_token = ["POST /drain HTTP/1.1", "Via: 1.1 proxy", "Authorization: Bearer 0123456789abcdef"];
    assert!(raw(&served, &with_token).contains("202"));
    let answer = ask(&Place::Socket(socket), "POST", "/drain", None, Duration::from_secs(20)).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(worker.join().0, Exit::Clean);
}

#[test]
fn requests_that_are_too_large_wrong_or_for_nothing_are_refused() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let long = format!("X-Long: {}", "x".repeat(HEAD_BYTES_MAX));
    assert!(raw(&served, &["GET /livez HTTP/1.1", &long]).contains("431"));
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    assert!(raw(&served, &["GET /livez HTTP/1.1", many.trim_end()]).contains("431"));
    assert!(raw(&served, &["POST /drain HTTP/1.1", "Content-Length: 99999"]).contains("413"));
    assert!(raw(&served, &["nonsense"]).contains("400"));
    let missing = served.get("/");
    assert!(missing.status == 404 && missing.body.contains("/health/ready"), "{missing:?}");
    for (request, allowed) in [("POST /metrics", "allow: GET, HEAD"), ("GET /drain", "allow: POST")] {
        let answer = served.head_of(&format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.to_lowercase().contains(&allowed.to_lowercase()),
            "{answer}"
        );
    }
    assert_eq!(served.status("/livez"), 200);
}

/// A body that is announced without its length, and never ends: nothing is read of it, and the connection ends.
#[test]
fn a_body_without_an_end_is_not_waited_for() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let head = "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begun = Instant::now();
    let answer = served.send(format!("{head}ffffffff\r\n{}", "x".repeat(100_000)).as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(begun.elapsed() < HEAD_LIMIT * 4, "{:?}", begun.elapsed());
    assert_eq!(served.status("/livez"), 200);
}

#[test]
fn a_probe_may_ask_for_the_head_alone() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    for (path, status) in [("/livez", "200"), ("/readyz", "503"), ("/metrics", "200"), ("/nothing", "404")] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = served.send(request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{path} has a body: {answer}");
    }
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let of = |accept: &str| {
        let head =
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
        served.send(head.as_bytes())
    };
    let open = of("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"));
    let plain = of("text/plain");
    assert!(plain.contains("text/plain; version=0.0.4") && !plain.contains("# EOF"));
    assert!(plain.contains("nosniff") && plain.contains("no-store"));
}

#[test]
fn when_all_places_are_taken_the_oldest_makes_room_for_a_probe() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let begun = Instant::now();
    let mut silent: Vec<TcpStream> = (0..CONNECTIONS_MAX + 44).map(|_| served.connect()).collect();
    assert_eq!(served.status("/livez"), 200);
    let mut closed = [0u8; 1];
    assert_eq!(silent[0].read(&mut closed).unwrap_or(0), 0, "the oldest was closed");
    assert!(begun.elapsed() < HEAD_LIMIT, "since it made room, and not since its head did not come");
}

#[test]
fn a_head_that_does_not_come_closes_its_connection() {
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    let begun = Instant::now();
    let mut half = served.connect();
    half.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    let mut idle = served.connect();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (mut rest, mut answer) = (Vec::new(), Vec::new());
    half.read_to_end(&mut rest).ok();
    idle.read_to_end(&mut answer).ok();
    assert!(
        String::from_utf8_lossy(&answer).contains("200 OK"),
        "one answered, and then kept open in silence"
    );
    assert!(begun.elapsed() >= HEAD_LIMIT, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < HEAD_LIMIT * 4, "{:?}", begun.elapsed());
}

#[test]
fn slow_clients_and_many_scrapes_delay_neither_a_signal_nor_a_renewal() {
    let scrapes: u32 = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let lab = WorkerLab::new(1, quick());
    let served = Served::of(&lab);
    lab.submit(1);
    let worker = lab.start(1_000_000, |_, stop| {
        thread::sleep(Duration::from_millis(1));
        stop.check().map(|()| DONE)
    });
    served.health.works(Arc::new(worker.vitals()));
    lab.until_step("Convert");
    let mut slow: Vec<TcpStream> = (0..200).map(|_| served.connect()).collect();
    let over = AtomicBool::new(false);
    let renewed = lab.metrics.renewals.get();
    let begun = Instant::now();
    let waited = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                for stream in &mut slow {
                    stream.write_all(b"G").ok();
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        let scraping: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..scrapes / 4 {
                        assert_eq!(served.status("/metrics"), 200);
                    }
                })
            })
            .collect();
        scraping.into_iter().for_each(|scraper| scraper.join().unwrap());
        let scraped = begun.elapsed();
        let renewals = lab.metrics.renewals.get() - renewed;
        let expected = scraped.as_millis() as u64 / quick().renew_interval_ms;
        assert!(renewals * 2 >= expected, "{renewals} renewals in {scraped:?}, of {expected}");
        // What a signal waits for the machine with all that going on.
        let scraper = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                served.status("/metrics");
            }
        });
        let sent = roboflow::clock::monotonic_ns();
        worker.inputs().send(&signal(Signal::Term));
        lab.until_step("SIGTERM");
        over.store(true, Ordering::SeqCst);
        scraper.join().unwrap();
        let step = lab.steps().into_iter().find(|line| line.name == "SIGTERM").unwrap();
        Duration::from_nanos(step.monotonic_ns.saturating_sub(sent))
    });
    println!("CASES={scrapes}: SIGTERM was a step after {waited:?}");
    assert!(waited < Duration::from_millis(500), "{waited:?}: only a host without a free core takes so long");
    assert_eq!(worker.join().0, Exit::Clean);
}
