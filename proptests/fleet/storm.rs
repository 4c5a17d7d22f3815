//! A storm over the fleet: `SEED=7 SECONDS=300 cargo test --test fleet storm -- --nocapture` for a long one.

use crate::{lab, setting};
use roboflow_proptests::fleet::assert_same;
use roboflow_proptests::fleet_storm::{Storm, pass_over};
use roboflow_proptests::reckoning::reckon;
use roboflow_proptests::recording::Robot;
use std::time::Duration;

#[test]
fn a_storm_changes_no_byte_and_loses_no_claim() {
    let (seed, seconds) = (setting("SEED", 1), setting("SECONDS", 30));
    println!("SEED={seed} SECONDS={seconds}");
    let mut lab = lab("storm", seed);
    let storm = Storm {
        seed,
        lasts: Duration::from_secs(seconds),
        recordings: 40,
        robot: Robot { seconds: 20.0, cameras: 1, ..Robot::default() },
        blow_every: Duration::from_secs(4),
        store_every: Duration::from_secs(25),
    };
    let toll = pass_over(&mut lab, &storm);
    for round in 1..=toll.rounds {
        let name = format!("sets/batch-{round:04}");
        assert_same(&name, &lab.reference(&format!("round-{round}")), &lab.dataset(&name));
    }
    let sums = reckon(&lab);
    assert_eq!(sums.jobs, u64::from(toll.rounds) * (storm.recordings as u64 + 1));
    let mut took = toll.exit_took.clone();
    took.sort();
    println!(
        "{} rounds, {:?}, exits {:?}, exit p50 {:?} max {:?}, S3 faults {} of {}\n{sums:?}",
        toll.rounds,
        toll.blows,
        toll.exits,
        took.get(took.len() / 2),
        took.last(),
        lab.s3_proxy.faults(),
        lab.s3_proxy.requests(),
    );
}
