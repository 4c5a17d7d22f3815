//! What one machine makes of some recordings, a fleet makes too, to the byte.

use crate::lab;
use roboflow_proptests::fleet::{Role, assert_same};
use roboflow_proptests::reckoning::{nothing_is_left, reckon};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use std::path::Path;

#[test]
fn two_scanners_and_three_workers_make_the_bytes_of_one_machine() {
    let mut lab = lab("converts", 1);
    lab.record("all", 40, &Robot { seconds: 3.0, cameras: 1, ..Robot::default() });
    lab.upload("all", "in");
    let roles = [Role::Scanner, Role::Scanner, Role::Worker, Role::Worker, Role::Worker];
    let mut members: Vec<_> = roles.into_iter().map(|role| lab.start(role)).collect();
    let took = lab.until(&mut members, "the dataset", |lab| lab.is_complete("sets/batch-0001"));
    lab.until(&mut members, "a swept bucket", nothing_is_left);
    for member in members {
        member.running.signal(Signal::TERM);
        assert_eq!(lab.bury(member), Some(0));
    }
    assert_same("the fleet's dataset", &lab.reference("all"), &lab.dataset("sets/batch-0001"));
    let from_bucket = lab.run_alone(Path::new(&lab.url("in/")), "from-bucket");
    assert_same("one machine's of the bucket", &lab.reference("all"), &from_bucket);
    let sums = reckon(&lab);
    assert_eq!((sums.jobs, sums.tally.claims, sums.expired), (41, 41, 0), "40 recordings and one assembly");
    assert_eq!(lab.s3.list(&format!("{}/sets/batch-0002/", lab.root)), Vec::<String>::new(), "one batch");
    println!("40 recordings in {took:?}");
}
