//! One blow at a random instant, the same command again, and the same bytes: TERM, KILL, INT three times, a pause.
//!
//! `CASES=100 SEED=3 SECONDS=240 cargo test --release --test program storm -- --nocapture --test-threads 1` tries more.

use crate::lab::Lab;
use roboflow_proptests::recording::Robot;
use roboflow_proptests::storm::{Blow, RunCommand, exits, instants};
use std::time::Duration;

/// A lease that is over soon: 3 s.
const LEASE: Duration = Duration::from_secs(3);

pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "says what a seed gave, for those who look")]
fn storm(blow: Blow, cases: u64) {
    let seconds = setting("SECONDS", 60) as f64; // of recording
    let lab = Lab::with(2, &Robot { seconds, cameras: 1, ..Robot::default() });
    let (seed, cases) = (setting("SEED", 1), setting("CASES", cases));
    println!("{blow:?}: SEED={seed} CASES={cases}");
    let lease = format!("{}s", LEASE.as_secs());
    let recordings = lab.path("in").to_str().unwrap().to_owned();
    let arguments = [&recordings, "--workers", "2", "--lease", &lease, "--renew-interval", "400ms"];
    let run = RunCommand { program: lab.program.clone(), arguments: arguments.map(str::to_owned).to_vec() };
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
fn a_pause_longer_than_the_lease() {
    storm(Blow::Pause(LEASE + Duration::from_secs(1)), 1);
}
