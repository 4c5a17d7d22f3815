//! One blow at a random instant, the same command again, and the same bytes: TERM, KILL, INT three times, a pause.
//!
//! `CASES=100 SEED=3 SECONDS=240 cargo test --release --test program storm -- --nocapture --test-threads 1` tries more; in video
//! mode, `CASES=50 cargo test --test program storm::one_kill_of_videos -- --nocapture`.

use crate::lab::Lab;
use roboflow_proptests::recording::Robot;
use roboflow_proptests::storm::{Blow, RunCommand, exits, instants};
use std::time::Duration;

/// A lease that is over soon: 3 s.
const LEASE: Duration = Duration::from_secs(3);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn storm(blow: Blow, cases: u64) {
    storm_of(blow, cases, &[]);
}

/// Pictures become videos, whose segments an encoder makes and the assembly joins.
fn storm_of_videos(blow: Blow, cases: u64) {
    storm_of(blow, cases, &["--video-encoder", "openh264"]);
}

#[expect(clippy::print_stdout, reason = "says what a seed gave, for those who look")]
fn storm_of(blow: Blow, cases: u64, more: &[&str]) {
    let seconds = setting("SECONDS", 60) as f64; // of recording
    let lab = Lab::with(2, &Robot { seconds, cameras: 1, ..Robot::default() });
    let (seed, cases) = (setting("SEED", 1), setting("CASES", cases));
    println!("{blow:?}: SEED={seed} CASES={cases}");
    let lease = format!("{}s", LEASE.as_secs());
    let recordings = lab.path("in").to_str().unwrap().to_owned();
    let arguments = [&recordings, "--workers", "2", "--lease", &lease, "--renew-interval", "400ms"];
    let arguments = arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
    let run = RunCommand { program: lab.program.clone(), arguments };
    let whole = run.whole(&lab.path("whole"));
    let mut seen = Vec::new();
    for (number, after) in (0..).zip(instants(seed, usize::try_from(cases).unwrap(), whole.took)) {
        seen.push(run.case(blow, after, &lab.path(&format!("set-{number}")), &whole));
    }
    println!("{blow:?}: {} of a run of {:?}", exits(&seen), whole.took);
}

#[test]
fn one_term() {
    storm(Blow::Term, 6);
}

#[test]
fn two_terms() {
    storm(Blow::TermTwice, 1);
}

#[test]
fn three_ints() {
    storm(Blow::IntThrice, 3);
}

#[test]
fn one_kill() {
    storm(Blow::Kill, 3);
}

#[test]
fn one_kill_of_videos() {
    storm_of_videos(Blow::Kill, 3);
}

#[test]
fn one_term_of_videos() {
    storm_of_videos(Blow::Term, 2);
}

#[test]
fn a_pause_longer_than_the_lease() {
    storm(Blow::Pause(LEASE + Duration::from_secs(1)), 1);
}
