//! The numbered ways in which worker queues go wrong elsewhere, as far as the queue itself must hold against them:
//! releases, late answers and what follows them. Claims, leases and attempts are in `queue_pitfalls.rs`.

use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::Epoch;
use roboflow::queue::{JobStatus, ReleaseRequest};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, UNKNOWN, farewell, is_lost, is_unknown};

#[tokio::test]
async fn pitfall_25_a_release_that_cannot_be_written_leaves_the_heartbeat() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    let mut request = bench.hand_back_request(&worker, &claim, HandBackReason::Interrupted);
    request.farewell = Some(farewell());
    for fault in [Fault::Unavailable, Fault::UnknownLost] {
        bench.next_commit_meets(fault);
        bench.queue.release(&request).await.unwrap_err();
        assert_eq!(bench.queue.workers(None, 10).await.unwrap().len(), 1);
        assert_eq!(bench.job(claim.job.id).await.status, JobStatus::Leased);
        bench.check();
    }
}

#[tokio::test]
async fn pitfall_36_reclaim_needs_no_leader_and_a_stopped_one_blocks_nobody() {
    let bench = Bench::new();
    bench.submit(5).await;
    let dead = bench.worker_with(1, 5).await;
    for machine in 0..5 {
        bench.queue.claim(&dead.intent_of(machine)).await.unwrap().unwrap();
    }
    bench.outlive_the_lease();
    // The first that reclaims is stopped for good after each number of commits; the next one goes on.
    for stopped_after in 1..4 {
        let mut left = stopped_after;
        bench.store.inject(Some(Box::new(move |call| match call {
            Call::Commit { writes } if writes > 0 && left == 0 => Fault::Unavailable,
            Call::Commit { writes } if writes > 0 => {
                left -= 1;
                Fault::None
            }
            _ => Fault::None,
        })));
        assert!(bench.queue.reclaim(10).await.is_err());
        bench.check();
    }
    bench.store.inject(None);
    assert!(bench.queue.reclaim(10).await.unwrap()[0].closed);
    bench.check();
    assert_eq!(bench.queue.counts(None).await.unwrap().ready, 5);
    assert_eq!(bench.receipt(&dead).await.unwrap().tally.expiries, 5);
}

#[tokio::test]
async fn pitfall_37_a_release_of_unknown_outcome_is_asked_again_and_happens_once() {
    for fault in UNKNOWN {
        let bench = Bench::new();
        bench.submit(1).await;
        let worker = bench.worker(1).await;
        let claim = bench.claim(&worker).await;
        let mut request = bench.hand_back_request(&worker, &claim, HandBackReason::FailedTransient);
        request.farewell = Some(farewell());
        bench.next_commit_meets(fault);
        assert!(is_unknown(&bench.queue.release(&request).await));
        bench.queue.release(&request).await.unwrap();
        bench.queue.release(&request).await.unwrap();
        assert_eq!(bench.store.settle(), 0);
        let job = bench.job(claim.job.id).await;
        assert_eq!((job.status, job.failures, job.errors.len()), (JobStatus::Ready, 1, 1), "{fault:?}");
        let receipt = bench.receipt(&worker).await.unwrap();
        assert_eq!((receipt.tally.claims, receipt.tally.failures, receipt.farewells.len()), (1, 1, 1));
        bench.check();
    }
}

#[tokio::test]
async fn pitfall_37_a_completion_of_unknown_outcome_is_asked_again_and_happens_once() {
    for fault in UNKNOWN {
        let bench = Bench::new();
        bench.submit(1).await;
        let worker = bench.worker(1).await;
        let claim = bench.claim(&worker).await;
        let (own, by) = (worker.own(&claim), worker.intent());
        let result = Default::default();
        bench.next_commit_meets(fault);
        assert!(is_unknown(&bench.queue.complete(&own, &by, 9, &result).await));
        bench.queue.complete(&own, &by, 9, &result).await.unwrap();
        assert_eq!(bench.store.settle(), 0);
        // Another intent is another write, and that one comes too late.
        assert!(is_lost(&bench.queue.complete(&own, &worker.intent(), 9, &result).await));
        bench.queue.release(&bench.leave_request(&worker)).await.unwrap();
        bench.queue.complete(&own, &by, 9, &result).await.expect("the receipt still knows it");
        assert_eq!(bench.receipt(&worker).await.unwrap().tally.completes, 1, "{fault:?}");
        bench.check();
    }
}

/// The first try arrives while the second one is reading: the second finds it by its nonce, wherever between its reads
/// that happens, and never takes it for somebody else's doing.
#[tokio::test]
async fn pitfall_37_a_first_try_that_arrives_during_the_second_is_found() {
    for calls in 1..12 {
        let bench = Bench::new();
        bench.submit(2).await;
        let worker = bench.worker(1).await;
        let claim = bench.claim(&worker).await;
        let (own, by) = (worker.own(&claim), worker.intent());
        bench.next_commit_meets(Fault::UnknownLater { calls });
        assert!(is_unknown(&bench.queue.complete(&own, &by, 9, &Default::default()).await));
        let again = bench.queue.complete(&own, &by, 9, &Default::default()).await;
        assert!(again.is_ok(), "after {calls} calls: {again:?}");
        let claim = bench.claim(&worker).await;
        let mut request = bench.hand_back_request(&worker, &claim, HandBackReason::FailedPermanent);
        request.farewell = Some(farewell());
        bench.next_commit_meets(Fault::UnknownLater { calls });
        assert!(is_unknown(&bench.queue.release(&request).await));
        let again = bench.queue.release(&request).await;
        assert!(again.is_ok(), "after {calls} calls: {again:?}");
        bench.store.settle();
        assert_eq!(bench.receipt(&worker).await.unwrap().tally.ended(), 2);
        bench.check();
    }
}

#[tokio::test]
async fn pitfall_38_a_late_completion_is_refused_and_counted() {
    let bench = Bench::new();
    bench.submit(1).await;
    let late = bench.worker(1).await;
    let first = bench.claim(&late).await;
    bench.outlive_the_lease();
    let other = bench.worker(2).await;
    bench.queue.reclaim(10).await.unwrap();
    assert!(is_lost(&bench.complete(&late, &first).await), "while nobody runs it");
    let second = bench.claim(&other).await;
    assert!(is_lost(&bench.complete(&late, &first).await), "while another runs it");
    bench.complete(&other, &second).await.unwrap();
    assert!(is_lost(&bench.complete(&late, &first).await), "when another has completed it");
    assert_eq!(bench.queue.counters().counts().fenced, 3);
    assert_eq!(bench.receipt(&late).await.unwrap().tally.completes, 0);
    bench.check();
}

#[tokio::test]
async fn pitfall_39_a_claim_takes_one_job_and_leaves_the_rest_to_others() {
    let bench = Bench::new();
    bench.submit(10).await;
    let workers = [bench.worker(1).await, bench.worker(2).await];
    bench.claim(&workers[0]).await;
    let counts = bench.queue.counts(None).await.unwrap();
    assert_eq!((counts.leased, counts.ready), (1, 9));
    for _ in 0..9 {
        bench.claim(&workers[1]).await;
    }
    bench.check();
}

#[tokio::test]
async fn pitfall_40_claims_follow_each_other_without_a_renewal_or_a_wait() {
    let bench = Bench::new();
    bench.submit(30).await;
    let worker = bench.worker(1).await;
    let started = bench.store.now();
    for _ in 0..30 {
        let claim = bench.claim(&worker).await;
        bench.complete(&worker, &claim).await.unwrap();
    }
    assert_eq!(bench.store.now(), started, "the store's time stood still, and everything was claimed");
    bench.check();
}

#[tokio::test]
async fn pitfall_41_a_released_job_is_ready_at_once() {
    let bench = Bench::new();
    bench.submit(1).await;
    let (leaving, other) = (bench.worker(1).await, bench.worker(2).await);
    let claim = bench.claim(&leaving).await;
    bench.queue.checkpoint(&leaving.own(&claim), &leaving.intent(), 7).await.unwrap();
    let request = ReleaseRequest {
        farewell: Some(farewell()),
        ..bench.hand_back_request(&leaving, &claim, HandBackReason::Interrupted)
    };
    let at = bench.store.now();
    bench.queue.release(&request).await.unwrap();
    let next = bench.claim(&other).await;
    assert_eq!(bench.store.now(), at);
    assert_eq!((next.job.id, next.epoch, next.job.checkpoint), (claim.job.id, Epoch(2), 7));
    bench.check();
}
