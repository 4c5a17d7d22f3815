//! What must add up when a fleet has done its work: jobs, claims, receipts, and what is left in the bucket.

#![expect(clippy::expect_used, reason = "a broken promise fails the test at once")]

use crate::fleet::FleetLab;
use roboflow::queue::invariant::{History, check_keyspace};
use roboflow::queue::{JobStatus, Leaving, Tally};

/// The sums, for those who look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// Jobs, all completed.
    pub jobs: u64,
    /// Claims and their ends, over all workers.
    pub tally: Tally,
    /// Workers that left by themselves.
    pub left: u64,
    /// Workers whose lease expired.
    pub expired: u64,
}

/// Reads the whole keyspace in one transaction, and checks the rules that hold at every instant, and those that compare it
/// with what was read before.
#[track_caller]
pub fn check_now(lab: &FleetLab, history: &mut History) {
    let (pairs, keys) = (lab.keyspace(), lab.queue.keys());
    check_keyspace(keys, &pairs).expect("the rules of the queue hold");
    history.observe(keys, &pairs).expect("nothing moves back");
}

/// After the last job is completed and the last worker has left. Every claim is accounted for, once.
#[track_caller]
pub fn reckon(lab: &FleetLab) -> Sums {
    check_now(lab, &mut History::new());
    let (jobs, receipts, workers) = (lab.jobs(), lab.receipts(), lab.workers());
    assert!(workers.is_empty(), "workers without a receipt: {workers:#?}");
    for job in &jobs {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        assert_eq!(job.failures, 0, "an attempt was counted as failed: {job:#?}");
        assert_eq!(job.resets, 0, "{job:#?}");
    }
    let mut tally = Tally::default();
    for receipt in &receipts {
        let one = receipt.tally;
        assert_eq!(one.held(), 0, "{receipt:#?}");
        tally = tally.plus(&one);
    }
    let sum = |of: fn(&roboflow::queue::JobRecord) -> u64| jobs.iter().map(of).sum::<u64>();
    assert_eq!(tally.claims, sum(|job| job.epoch.0), "each claim is one epoch of a job: {tally:?}");
    assert_eq!(tally.completes, jobs.len() as u64, "each job was completed once: {tally:?}");
    assert_eq!(
        tally.releases,
        sum(|job| job.interruptions.into()),
        "each release is an interruption: {tally:?}"
    );
    assert_eq!(tally.expiries, sum(|job| job.crashes.into()), "each expiry is a crash: {tally:?}");
    assert_eq!((tally.failures, tally.cancelled), (0, 0), "{tally:?}");
    let left = receipts.iter().filter(|receipt| receipt.leaving == Leaving::Left).count() as u64;
    Sums { jobs: jobs.len() as u64, tally, left, expired: receipts.len() as u64 - left }
}

/// Neither staged segments nor unfinished uploads: waits until the leader has swept, then asserts.
pub fn nothing_is_left(lab: &FleetLab) -> bool {
    let ours = |key: &String| key.contains("/.roboflow/");
    !lab.s3.list(&lab.root).iter().any(ours) && lab.s3.uploads(&lab.root).is_empty()
}
