//! Ten workers at once on many small jobs: nobody fails to claim, nothing is done twice, nobody waits at one head.

use crate::{lab, setting};
use roboflow_proptests::fleet::{Role, assert_same};
use roboflow_proptests::program::dataset_bytes;
use roboflow_proptests::reckoning::reckon;
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};

const WORKERS: usize = 10;

#[test]
fn ten_workers_at_once_share_small_jobs() {
    let jobs = usize::try_from(setting("CASES", 300)).unwrap();
    let mut lab = lab("crowd", 1);
    // On disk: what is tried is the queue, not the bucket.
    lab.record("all", jobs, &Robot { seconds: 0.3, ..Robot::default() });
    let out = lab.path("set");
    lab.command(&["submit", "in/all", "--out", "set", "--mapping", "robot.toml"]).expect_code(0);
    let mut members: Vec<_> = (0..WORKERS).map(|_| lab.start(Role::Worker)).collect();
    let took = lab.until(&mut members, "the dataset", |_| out.join("meta/info.json").exists());
    lab.until(&mut members, "the last completion", |lab| lab.jobs().iter().all(|job| job.status.is_final()));
    for member in members {
        let name = member.name.clone();
        member.running.signal(Signal::TERM);
        assert_eq!(lab.bury(member), Some(0), "{name}");
    }
    for (name, ended) in &lab.ended {
        let says =
            |line: &&str| line.contains(" ERROR ") || line.contains("a store operation did not succeed");
        assert_eq!(ended.stderr.lines().find(says), None, "{name}");
    }
    let sums = reckon(&lab);
    assert_eq!(sums.tally.claims, jobs as u64 + 1, "each job once, and the assembly");
    let shards: BTreeMap<_, _> = lab.jobs().into_iter().map(|job| (job.id, job.shard)).collect();
    assert!(shards.values().collect::<BTreeSet<_>>().len() > 8, "jobs lie in many shards");
    let receipts = lab.receipts();
    assert_eq!(receipts.len(), WORKERS);
    let mut firsts = BTreeSet::<u8>::new();
    for receipt in &receipts {
        let visited: Vec<u8> = receipt.ends.iter().map(|end| shards[&end.job]).collect();
        firsts.extend(visited.first());
        assert!(visited.len() > 1, "{} did nearly nothing", receipt.info.pod);
        // Who empties one shard after the other meets every other worker there.
        let changes = visited.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes * 2 > visited.len() - 1, "{} stays in its shards: {visited:?}", receipt.info.pod);
    }
    assert_same("the crowd's dataset", &lab.run_alone(&lab.path("in/all"), "alone"), &dataset_bytes(&out));
    println!("{jobs} jobs by {WORKERS} workers in {took:?}; first shards {firsts:?}");
}
