//! What clients of the HTTP port cost the worker: a stop and the renewals of its lease, with nobody there, and with 200 slow
//! clients and scrapers that never pause.
//!
//! `cargo bench --bench scraped -- [--runs N]`
//!
//! The baseline of the same run is the same worker without clients. All runs together take 10,000 scrapes. It asserts nothing:
//! timings depend on the machine, and on a machine with few cores the clients take them from the worker. What is asserted
//! stands in the tests.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::clock::monotonic_ns;
use roboflow::http::client::{Place, ask};
use roboflow_proptests::program::{Program, Running};
use roboflow_proptests::recording::Robot;
use roboflow_proptests::timings::{Series, at_ns, find, lines, ms, runs};
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const SLOW_CLIENTS: usize = 200;
const SCRAPERS: usize = 4;
const SCRAPES: usize = 10_000;
/// As many renewals as a run sees at least.
const RENEWALS: usize = 8;

fn main() {
    let runs = runs(10);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    Robot { seconds: 3600.0, joint_rate: 60.0, cameras: 1, ..Robot::default() }
        .write(&folder.path().join("in/long.mcap"));
    let alone = Series::of(runs, |run| stopped(folder.path(), &format!("alone-{run}"), 0));
    let crowded = Series::of(runs, |run| stopped(folder.path(), &format!("crowded-{run}"), SCRAPES / runs));
    println!(
        "{runs} runs each; milliseconds; {SLOW_CLIENTS} slow clients, {SCRAPERS} scrapers, {SCRAPES} scrapes"
    );
    println!("{:<48} {:>9} {:>9} {:>9}", "", "p50", "p99", "max");
    alone.print("baseline: SIGTERM to the machine's step", 0);
    crowded.print("with clients: SIGTERM to the machine's step", 0);
    alone.print("baseline: longest wait between renewals", 1);
    crowded.print("with clients: longest wait between renewals", 1);
    crowded.print("a scrape, on average", 2);
    println!("clients delay the step by {:.2} ms at the median", crowded.at(0, 0.5) - alone.at(0, 0.5));
}

/// A worker that converts, with clients as many as there are scrapes for; then SIGTERM while they go on.
fn stopped(folder: &Path, name: &str, scrapes: usize) -> Vec<f64> {
    let program = Program::new(env!("CARGO_BIN_EXE_roboflow"));
    let store = format!("sqlite:{name}.db");
    program.run(folder, ["submit", "in", "--out", name, "--store", &store]).expect_code(0);
    let log = folder.join(format!("{name}.jsonl"));
    let arguments = [
        "worker",
        "--store",
        &store,
        "--threads",
        "1",
        "--health-port",
        "0",
        "--health-address",
        "127.0.0.1",
    ];
    let pace = ["--lease", "4s", "--renew-interval", "500ms", "--transition-log", log.to_str().unwrap()];
    let mut running = program.start(folder, arguments.into_iter().chain(pace));
    let place = served(&mut running);
    assert!(running.until("a segment", || find(&log, "Convert:Durable").is_some()));
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = monotonic_ns();
    let (sent, each) = thread::scope(|scope| {
        if scrapes > 0 {
            crowd(scope, &place, &over, &done);
        }
        let renewals =
            || lines(&log).iter().filter(|line| is(line, "LeaseRenewed") && at_ns(line) > begun).count();
        assert!(
            running.until("the scrapes", || done.load(Ordering::SeqCst) >= scrapes && renewals() >= RENEWALS)
        );
        let each = ms(begun, monotonic_ns()) * SCRAPERS as f64 / done.load(Ordering::SeqCst).max(1) as f64;
        let sent = monotonic_ns();
        running.signal(Signal::TERM);
        assert!(running.until("the step", || find(&log, "SIGTERM").is_some()));
        over.store(true, Ordering::SeqCst);
        (sent, each)
    });
    running.wait().expect_code(0);
    let step = find(&log, "SIGTERM").expect("it was waited for");
    let renewed: Vec<u64> = lines(&log)
        .iter()
        .filter(|line| is(line, "LeaseRenewed") && (begun..sent).contains(&at_ns(line)))
        .map(at_ns)
        .collect();
    let longest =
        renewed.iter().zip(renewed.iter().skip(1)).map(|(one, next)| ms(*one, *next)).fold(0.0, f64::max);
    vec![ms(sent, step), longest, each]
}

fn is(line: &serde_json::Value, name: &str) -> bool {
    line.get("name").and_then(serde_json::Value::as_str) == Some(name)
}

/// Where it says that it serves.
fn served(running: &mut Running) -> Place {
    assert!(running.until_says("serving health and metrics"), "{}", running.said());
    let said = running.said();
    let address = said.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let (host, port) = address.and_then(|address| address.rsplit_once(':')).expect("an address");
    Place::Host(host.to_owned(), port.parse().expect("a port"))
}

/// Clients until it is over: some write a byte of a head now and then, some ask for the metrics again and again.
fn crowd<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    place: &'scope Place,
    over: &'scope AtomicBool,
    done: &'scope AtomicUsize,
) {
    scope.spawn(move || {
        let Place::Host(host, port) = place else { return };
        let connect = || TcpStream::connect((host.as_str(), *port)).ok();
        let mut slow: Vec<Option<TcpStream>> = (0..SLOW_CLIENTS).map(|_| connect()).collect();
        while !over.load(Ordering::SeqCst) {
            for client in &mut slow {
                // Who was shown the door comes again.
                let wrote = client.as_mut().is_some_and(|stream| stream.write_all(b"G").is_ok());
                *client = if wrote { client.take() } else { connect() };
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    for _ in 0..SCRAPERS {
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                if ask(place, "GET", "/metrics", None, Duration::from_secs(20))
                    .is_ok_and(|answer| answer.status == 200)
                {
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
}
