//! The numbered ways in which worker queues go wrong elsewhere, as far as the queue itself must hold against them:
//! claims, leases and attempts. Releases and late answers are in `queue_release_pitfalls.rs`.

use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::{Epoch, JobId};
use roboflow::queue::{ErrorKind, JobFilter, JobStatus, Leaving, RECORD_VERSION};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, UNKNOWN, Worker, farewell, is_lost, is_unknown};
use std::collections::BTreeSet;

#[tokio::test]
async fn pitfall_03_a_claim_of_unknown_outcome_is_read_back_and_cannot_happen_later() {
    for fault in UNKNOWN {
        let bench = Bench::new();
        bench.submit(1).await;
        let worker = bench.worker(1).await;
        let by = worker.intent();
        bench.next_commit_meets(fault);
        assert!(is_unknown(&bench.queue.claim(&by).await));
        let resolved = bench.queue.resolve_claim(&by).await.unwrap();
        assert_eq!(resolved.is_some(), fault == Fault::UnknownApplied, "{fault:?}");
        let landed = bench.store.settle();
        assert_eq!(landed, 0, "the claim happened after it was given up");
        bench.check();
        assert_eq!(bench.queue.resolve_claim(&by).await.unwrap(), resolved);
        assert_eq!(bench.queue.claim(&by).await.unwrap(), resolved, "the same request gives the same answer");
        if resolved.is_none() {
            assert_eq!(bench.claim(&worker).await.epoch, Epoch(1));
        }
        bench.check();
    }
}

#[tokio::test]
async fn pitfall_11_the_lease_stands_until_the_release_is_committed() {
    let bench = Bench::new();
    bench.submit(1).await;
    let (worker, other) = (bench.worker(1).await, bench.worker(2).await);
    let claim = bench.claim(&worker).await;
    for _ in 0..10 {
        bench.store.advance(std::time::Duration::from_millis(9_000));
        bench.renew(&worker).await.unwrap();
        bench.renew(&other).await.unwrap();
        assert!(bench.queue.reclaim(10).await.unwrap().is_empty());
        assert_eq!(bench.queue.claim(&other.intent()).await.unwrap(), None);
    }
    bench.hand_back(&worker, &claim, HandBackReason::Interrupted).await.unwrap();
    assert_eq!(bench.claim(&other).await.job.id, claim.job.id);
    bench.check();
}

#[tokio::test]
async fn pitfall_12_a_renewal_after_the_release_revives_nothing() {
    let bench = Bench::new();
    let worker = bench.worker(1).await;
    bench.next_commit_meets(Fault::UnknownLater { calls: 1_000 });
    assert!(is_unknown(&bench.renew(&worker).await));
    bench.queue.release(&bench.leave_request(&worker)).await.unwrap();
    assert!(is_lost(&bench.renew(&worker).await));
    assert_eq!(bench.store.settle(), 0, "a renewal that was on its way landed after the release");
    assert!(bench.queue.workers(None, 10).await.unwrap().is_empty());
    assert!(is_lost(&bench.queue.register(&worker.info(1)).await), "an incarnation never comes back");
    assert_eq!(bench.receipt(&worker).await.unwrap().leaving, Leaving::Left);
    bench.check();
}

#[tokio::test]
async fn pitfall_12_a_renewal_after_the_expiry_was_found_revives_nothing() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    bench.claim(&worker).await;
    bench.outlive_the_lease();
    // Whoever reclaims is stopped right after it has fenced the worker.
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { writes } if writes > 0 => {
            commits += 1;
            if commits > 1 { Fault::Unavailable } else { Fault::None }
        }
        _ => Fault::None,
    })));
    bench.queue.reclaim(10).await.unwrap_err();
    bench.store.inject(None);
    assert!(is_lost(&bench.renew(&worker).await));
    assert!(is_lost(&bench.queue.claim(&worker.intent()).await));
    bench.check();
}

#[tokio::test]
async fn pitfall_13_a_worker_whose_job_was_given_away_writes_nothing() {
    let bench = Bench::new();
    bench.submit(1).await;
    let late = bench.worker(1).await;
    let first = bench.claim(&late).await;
    bench.outlive_the_lease();
    let other = bench.worker(2).await;
    bench.queue.reclaim(10).await.unwrap();
    let second = bench.claim(&other).await;
    assert_eq!((second.job.id, second.epoch), (first.job.id, Epoch(2)));
    let before = bench.store.dump();
    assert!(is_lost(&bench.queue.checkpoint(&late.own(&first), &late.intent(), 5).await));
    assert!(is_lost(&bench.complete(&late, &first).await));
    assert!(is_lost(&bench.hand_back(&late, &first, HandBackReason::Interrupted).await));
    // Nor with the new epoch, which it might have read somewhere.
    assert!(is_lost(&bench.queue.checkpoint(&late.own(&second), &late.intent(), 5).await));
    assert!(bench.store.dump() == before, "something was written");
    assert_eq!(bench.queue.counters().counts().fenced, 4);
    bench.complete(&other, &second).await.unwrap();
    bench.check();
}

#[tokio::test]
async fn pitfall_13_an_earlier_claim_of_the_same_worker_writes_nothing() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let first = bench.claim(&worker).await;
    bench.hand_back(&worker, &first, HandBackReason::Interrupted).await.unwrap();
    let second = bench.claim(&worker).await;
    assert_eq!((second.job.id, second.epoch), (first.job.id, Epoch(2)));
    assert!(is_lost(&bench.queue.checkpoint(&worker.own(&first), &worker.intent(), 5).await));
    assert!(is_lost(&bench.complete(&worker, &first).await));
    assert!(is_lost(&bench.hand_back(&worker, &first, HandBackReason::FailedPermanent).await));
    bench.complete(&worker, &second).await.unwrap();
    bench.check();
}

#[tokio::test]
async fn pitfall_13_a_checkpoint_on_its_way_never_lands_under_the_next_owner() {
    let bench = Bench::new();
    bench.submit(1).await;
    let late = bench.worker(1).await;
    let first = bench.claim(&late).await;
    bench.next_commit_meets(Fault::UnknownLater { calls: 1_000 });
    assert!(is_unknown(&bench.queue.checkpoint(&late.own(&first), &late.intent(), 5).await));
    bench.outlive_the_lease();
    let other = bench.worker(2).await;
    bench.queue.reclaim(10).await.unwrap();
    let second = bench.claim(&other).await;
    assert_eq!(bench.store.settle(), 0);
    assert_eq!(bench.job(second.job.id).await.checkpoint, 0);
    bench.check();
}

#[tokio::test]
async fn pitfall_14_a_restart_in_the_same_pod_does_not_keep_the_dead_one_alive() {
    let bench = Bench::new();
    bench.submit(1).await;
    let dead = bench.worker(1).await;
    let claim = bench.claim(&dead).await;
    let restarted = bench.worker(2).await;
    assert_eq!(dead.info(1).pod, restarted.info(1).pod);
    bench.outlive_the_lease();
    bench.renew(&restarted).await.unwrap();
    let reclaimed = bench.queue.reclaim(10).await.unwrap();
    assert_eq!(reclaimed.len(), 1);
    assert_eq!(reclaimed[0].incarnation, dead.incarnation);
    assert_eq!(bench.claim(&restarted).await.job.id, claim.job.id);
    bench.check();
}

#[tokio::test]
async fn pitfall_15_the_claim_itself_writes_the_lease() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    bench.store.advance(std::time::Duration::from_millis(9_999));
    let claim = bench.claim(&worker).await;
    assert_eq!(claim.lease.lease_until.0, bench.store.now().0 + 10_000);
    assert_eq!(bench.queue.workers(None, 10).await.unwrap()[0].lease_until, claim.lease.lease_until);
    bench.store.advance(std::time::Duration::from_millis(9_999));
    assert!(bench.queue.reclaim(10).await.unwrap().is_empty());
    bench.store.advance(std::time::Duration::from_millis(2));
    assert_eq!(bench.queue.reclaim(10).await.unwrap().len(), 1);
    bench.check();
}

#[tokio::test]
async fn pitfall_15_an_owner_without_or_with_a_damaged_record_is_reclaimed_too() {
    for damage in [None, Some(vec![RECORD_VERSION, 7])] {
        let bench = Bench::new();
        bench.submit(1).await;
        let worker = bench.worker(1).await;
        let claim = bench.claim(&worker).await;
        let record = [b"roboflow/worker/".as_slice(), worker.incarnation.as_bytes()].concat();
        bench.store.overwrite(record, damage);
        let reclaimed = bench.queue.reclaim(10).await.unwrap();
        assert_eq!(reclaimed[0].jobs[0].job, claim.job.id);
        assert!(reclaimed[0].closed);
        assert_eq!(bench.queue.counters().counts().repaired, 1);
        let other = bench.worker(2).await;
        assert_eq!(bench.claim(&other).await.job.id, claim.job.id);
    }
}

#[tokio::test]
async fn pitfall_16_a_reclaimed_job_is_finished_by_another_worker() {
    let bench = Bench::new();
    bench.submit(3).await;
    let dead = bench.worker_with(1, 2).await;
    let held = [bench.claim(&dead).await, bench.claim(&dead).await];
    bench.queue.checkpoint(&dead.own(&held[0]), &dead.intent(), 4).await.unwrap();
    bench.outlive_the_lease();
    let other = bench.worker(2).await;
    let reclaimed = bench.queue.reclaim(10).await.unwrap();
    bench.check();
    let back: BTreeSet<JobId> = reclaimed[0].jobs.iter().map(|job| job.job).collect();
    assert_eq!(back, held.iter().map(|claim| claim.job.id).collect());
    for _ in 0..3 {
        let claim = bench.claim(&other).await;
        let expected = if claim.job.id == held[0].job.id { 4 } else { 0 };
        assert_eq!(claim.job.checkpoint, expected, "it goes on from the last checkpoint");
        bench.complete(&other, &claim).await.unwrap();
        bench.check();
    }
    assert_eq!(bench.queue.counts(None).await.unwrap().completed, 3);
    let receipt = bench.receipt(&dead).await.unwrap();
    assert!(matches!(receipt.leaving, Leaving::Expired { .. }));
    assert_eq!((receipt.tally.claims, receipt.tally.expiries), (2, 2));
}

#[tokio::test]
async fn pitfall_17_a_long_job_under_a_living_lease_is_never_reclaimed() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    for _ in 0..1_000 {
        bench.store.advance(std::time::Duration::from_secs(9));
        bench.renew(&worker).await.unwrap();
        assert!(bench.queue.reclaim(10).await.unwrap().is_empty());
    }
    bench.complete(&worker, &claim).await.unwrap();
    assert_eq!(bench.job(claim.job.id).await.crashes, 0);
    bench.check();
}

#[tokio::test]
async fn pitfall_19_after_a_long_pause_the_first_question_tells_whether_the_lease_is_gone() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.outlive_the_lease();
    bench.renew(&worker).await.expect("nobody has found it expired: it is still the owner");
    bench.queue.checkpoint(&worker.own(&claim), &worker.intent(), 1).await.unwrap();
    bench.outlive_the_lease();
    bench.queue.reclaim(10).await.unwrap();
    assert!(is_lost(&bench.renew(&worker).await));
    assert!(is_lost(&bench.queue.checkpoint(&worker.own(&claim), &worker.intent(), 2).await));
    bench.check();
}

#[tokio::test]
async fn pitfall_20_interruptions_never_count_as_attempts() {
    let bench = Bench::new();
    bench.submit(1).await;
    for rollout in 0..20 {
        let worker = bench.worker(rollout).await;
        let claim = bench.claim(&worker).await;
        let mut request = bench.hand_back_request(&worker, &claim, HandBackReason::Interrupted);
        request.farewell = Some(farewell());
        bench.queue.release(&request).await.unwrap();
        bench.check();
    }
    let worker = bench.worker(99).await;
    let claim = bench.claim(&worker).await;
    assert_eq!((claim.job.failures, claim.job.crashes, claim.job.interruptions), (0, 0, 20));
    assert!(claim.job.errors.is_empty());
    bench.complete(&worker, &claim).await.unwrap();
}

#[tokio::test]
async fn pitfall_21_a_job_that_crashes_every_worker_ends_dead_with_the_evidence() {
    let bench = Bench::new();
    bench.submit(1).await;
    let mut job = None;
    for number in 0..3 {
        let worker = bench.worker(number).await;
        let claim = bench.claim(&worker).await;
        job = Some(claim.job.id);
        bench.outlive_the_lease();
        let became = bench.queue.reclaim(10).await.unwrap()[0].jobs[0].became;
        assert_eq!(became, if number < 2 { JobStatus::Ready } else { JobStatus::Dead });
        bench.check();
    }
    let job = bench.job(job.unwrap()).await;
    assert_eq!((job.status, job.crashes, job.failures), (JobStatus::Dead, 3, 0));
    assert_eq!(job.errors.len(), 3);
    for (number, entry) in (0..3).zip(&job.errors) {
        assert_eq!(entry.kind, ErrorKind::Crash);
        assert!(entry.text.contains(&Worker::number(number).incarnation.to_string()), "{}", entry.text);
    }
    let worker = bench.worker(9).await;
    assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
}

#[tokio::test]
async fn pitfall_22_an_unclaimable_record_at_the_head_is_passed_counted_and_put_right() {
    let bench = Bench::new();
    bench.submit(40).await;
    let ids: Vec<JobId> = {
        let page = bench.queue.list(&JobFilter::default(), None, 100).await.unwrap();
        page.jobs.iter().map(|job| job.id).collect()
    };
    let record = |id: JobId| [b"roboflow/job/".as_slice(), &id.0].concat();
    let stored = |id: JobId| bench.store.dump().into_iter().find(|(key, _)| *key == record(id)).unwrap().1;
    // All but one cannot be claimed: damaged, written by a newer program, or gone.
    for (number, id) in ids.iter().enumerate().skip(1) {
        let mut bytes = stored(*id);
        let damaged = match number % 3 {
            0 => Some(bytes[..bytes.len() / 2].to_vec()),
            1 => {
                bytes[0] = 99;
                Some(bytes)
            }
            _ => None,
        };
        bench.store.overwrite(record(*id), damaged);
    }
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    assert_eq!(claim.job.id, ids[0]);
    assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
    let counts = bench.queue.counters().counts();
    assert_eq!((counts.quarantined, counts.repaired), (13, 13));
    assert!(counts.skipped >= 13);
    // What was put right is not met again; the newer program's jobs are all that is left, untouched.
    let left = bench.store.dump().iter().filter(|(key, _)| key.starts_with(b"roboflow/ready/")).count();
    assert_eq!(left, 13);
    assert_eq!(bench.queue.list(&JobFilter::default(), None, 100).await.unwrap().unreadable.len(), 26);
}

#[tokio::test]
async fn pitfall_22_a_stale_entry_of_the_index_is_put_right() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let entry =
        bench.store.dump().into_iter().find(|(key, _)| key.starts_with(b"roboflow/ready/")).unwrap().0;
    let claim = bench.claim(&worker).await;
    bench.store.overwrite(entry.clone(), Some(Vec::new()));
    let mut elsewhere = entry.clone();
    elsewhere["roboflow/ready/".len()] ^= 1;
    bench.store.overwrite(elsewhere, Some(Vec::new()));
    bench.store.overwrite(b"roboflow/ready/garbage".to_vec(), Some(Vec::new()));
    assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
    assert_eq!(bench.queue.counters().counts().repaired, 3);
    bench.check();
    bench.complete(&worker, &claim).await.unwrap();
}
