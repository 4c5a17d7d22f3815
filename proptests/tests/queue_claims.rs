//! What a claim costs in calls to the store, and that claimers keep out of each other's way.
//!
//! Whether a claim is right is for the model and the pitfalls to show.

use roboflow::queue::{Queue, QueueError, QueueSettings};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, Worker};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Calls to the store, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Calls {
    begins: u32,
    gets: u32,
    scans: u32,
    commits: u32,
}

/// Counts the calls from now on, and makes the first `conflicts` commits with writes meet a conflict.
fn count(bench: &Bench, mut conflicts: u32) -> Arc<Mutex<Calls>> {
    let calls = Arc::new(Mutex::new(Calls::default()));
    let counted = Arc::clone(&calls);
    bench.store.inject(Some(Box::new(move |call| {
        let mut calls = counted.lock().unwrap_or_else(PoisonError::into_inner);
        match call {
            Call::Begin => calls.begins += 1,
            Call::Get => calls.gets += 1,
            Call::Scan => calls.scans += 1,
            Call::Commit { writes } => {
                calls.commits += 1;
                if writes > 0 && conflicts > 0 {
                    conflicts -= 1;
                    return Fault::Conflict;
                }
            }
        }
        Fault::None
    })));
    calls
}

fn seen(calls: &Arc<Mutex<Calls>>) -> Calls {
    *calls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_shard() -> QueueSettings {
    QueueSettings { shards: 1, ..QueueSettings::default() }
}

#[tokio::test]
async fn a_claim_is_one_transaction_of_six_calls() {
    let bench = Bench::with(one_shard());
    bench.submit(3).await;
    let worker = bench.worker(1).await;
    let calls = count(&bench, 0);
    bench.claim(&worker).await;
    assert_eq!(seen(&calls), Calls { begins: 1, gets: 2, scans: 2, commits: 1 });
}

#[tokio::test]
async fn an_empty_queue_of_many_shards_costs_two_scans_at_most() {
    let bench = Bench::new();
    let worker = bench.worker(1).await;
    for _ in 0..32 {
        let calls = count(&bench, 0);
        assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
        let calls = seen(&calls);
        assert!((1..=2).contains(&calls.scans), "{calls:?}");
        assert_eq!(calls, Calls { begins: 1, gets: 1, scans: calls.scans, commits: 0 });
    }
}

#[tokio::test]
async fn a_claim_asked_for_again_is_read_back_in_one_transaction() {
    let bench = Bench::new();
    bench.submit(8).await;
    let worker = bench.worker(1).await;
    let by = worker.intent();
    let first = bench.queue.claim(&by).await.unwrap().unwrap();
    let calls = count(&bench, 0);
    let again = bench.queue.claim(&by).await.unwrap().unwrap();
    assert_eq!((again.job, again.epoch), (first.job, first.epoch));
    assert_eq!(seen(&calls), Calls { begins: 1, gets: 3, scans: 0, commits: 1 });
    bench.check();
}

#[tokio::test]
async fn after_a_conflict_the_next_candidate_is_tried_and_the_same_one_only_when_it_is_the_last() {
    for (jobs, attempts) in [(2, 2), (1, 3)] {
        let bench = Bench::with(one_shard());
        bench.submit(jobs).await;
        let worker = bench.worker(1).await;
        let calls = count(&bench, 1);
        bench.claim(&worker).await;
        let calls = seen(&calls);
        // With one job the walk ends without a candidate before it is begun again.
        assert_eq!((calls.begins, calls.commits), (attempts, 2), "with {jobs} jobs");
        bench.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_meets_conflicts_only_ends_as_not_available() {
    let bench = Bench::new();
    bench.submit(4).await;
    let worker = bench.worker(1).await;
    let calls = count(&bench, u32::MAX);
    let failed = bench.queue.claim(&worker.intent()).await;
    assert!(matches!(failed, Err(QueueError::Unavailable { .. })), "{failed:?}");
    assert_eq!(bench.queue.counters().counts().exhausted, 1);
    assert_eq!(seen(&calls).commits, 24);
    bench.store.inject(None);
    bench.check();
}

/// All claim at the same instant, each call taking as long as any other, so that each reads the index as the others do.
#[tokio::test(start_paused = true)]
async fn claimers_at_one_shard_seldom_meet_at_the_same_job() {
    const CLAIMERS: u32 = 16;
    let bench = Bench::with(one_shard());
    bench.submit(200).await;
    let mut workers: Vec<Worker> = Vec::new();
    for number in 0..CLAIMERS {
        workers.push(bench.worker(number).await);
    }
    bench.store.inject(Some(Box::new(|_| Fault::Delay(Duration::from_millis(2)))));
    let queues: Vec<Queue> = (0..)
        .zip(&workers)
        .map(|(seed, _)| Queue::seeded(Arc::new(bench.store.clone()), one_shard(), seed))
        .collect();
    let claims = workers.into_iter().zip(queues.clone()).map(|(worker, queue)| {
        tokio::spawn(async move { queue.claim(&worker.intent()).await.unwrap().unwrap().job.id })
    });
    let claims: Vec<_> = claims.collect();
    let mut jobs = std::collections::BTreeSet::new();
    for claim in claims {
        jobs.insert(claim.await.unwrap());
    }
    bench.store.inject(None);
    bench.check();
    assert_eq!(jobs.len(), CLAIMERS as usize);
    // Tried in the order of the index, all meet at each head in turn: 72 conflicts.
    let conflicts: u64 = queues.iter().map(|queue| queue.counters().counts().conflicts).sum();
    assert!(conflicts <= 24, "{conflicts} conflicts");
}

/// They share the worker's record, which each claim changes.
#[tokio::test(start_paused = true)]
async fn machines_of_one_process_claim_at_once_without_a_conflict() {
    const MACHINES: u32 = 32;
    let bench = Bench::new();
    bench.submit(100).await;
    let worker = bench.worker_with(1, MACHINES).await;
    bench.store.inject(Some(Box::new(|_| Fault::Delay(Duration::from_millis(2)))));
    let claims: Vec<_> = (0..MACHINES)
        .map(|machine| {
            let (queue, by) = (bench.queue.clone(), worker.intent_of(machine));
            tokio::spawn(async move { queue.claim(&by).await })
        })
        .collect();
    for claim in claims {
        assert!(claim.await.unwrap().unwrap().is_some());
    }
    bench.store.inject(None);
    bench.check();
    assert_eq!(bench.queue.counters().counts().conflicts, 0);
}

/// A submission commits while the claim is at its commit.
#[tokio::test(start_paused = true)]
async fn a_submission_to_the_batch_is_no_conflict_for_a_claim_under_way() {
    let bench = Bench::with(one_shard());
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let mut is_first = true;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { .. } if std::mem::take(&mut is_first) => Fault::Delay(Duration::from_secs(1)),
        _ => Fault::None,
    })));
    let queue = bench.queue.clone();
    let claim = tokio::spawn(async move { queue.claim(&worker.intent()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.submit(2).await.new, 1);
    assert!(claim.await.unwrap().unwrap().is_some());
    assert_eq!(bench.queue.counters().counts().conflicts, 0);
    bench.check();
}
