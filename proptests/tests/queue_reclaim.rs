//! One look for expired workers: what it tells, and two of them at once.
//!
//! What becomes of the jobs is for the model and the pitfalls to show.

use roboflow::queue::ReclaimRound;
use roboflow::store::memory::Fault;
use roboflow_proptests::queue_bench::Bench;
use std::time::Duration;

#[tokio::test]
async fn a_round_tells_when_the_next_lease_ends() {
    let bench = Bench::new();
    let round = bench.queue.reclaim_round(10).await.unwrap();
    assert_eq!(round, ReclaimRound::default());
    let _first = bench.worker(1).await;
    bench.store.advance(Duration::from_millis(4_000));
    let _second = bench.worker(2).await;
    bench.store.advance(Duration::from_millis(1_000));
    let end = bench.queue.reclaim_round(10).await.unwrap().next_end.unwrap();
    assert_eq!(end, Duration::from_millis(5_001));
    // Just before it nothing has ended; at it, the first one has, and the second is the next.
    bench.store.advance(end - Duration::from_millis(1));
    assert!(bench.queue.reclaim_round(10).await.unwrap().taken.is_empty());
    bench.store.advance(Duration::from_millis(1));
    let round = bench.queue.reclaim_round(10).await.unwrap();
    assert_eq!((round.taken.len(), round.next_end), (1, Some(Duration::from_millis(4_000))));
    bench.check();
}

/// Each call takes as long as any other, so that both do each step at once.
#[tokio::test(start_paused = true)]
async fn of_two_that_reclaim_at_once_one_tells_of_each_job() {
    let bench = Bench::new();
    bench.submit(6).await;
    for number in 0..3 {
        let worker = bench.worker(number).await;
        bench.claim(&worker).await;
        bench.claim(&worker).await;
    }
    bench.outlive_the_lease();
    bench.store.inject(Some(Box::new(|_| Fault::Delay(Duration::from_millis(2)))));
    let rounds = [bench.queue.clone(), bench.queue.clone()]
        .map(|queue| tokio::spawn(async move { queue.reclaim_round(100).await.unwrap().taken }));
    let mut jobs = Vec::new();
    for round in rounds {
        let taken = round.await.unwrap();
        assert!(taken.iter().all(|worker| !worker.jobs.is_empty()), "the slower one tells too: {taken:?}");
        jobs.extend(taken.into_iter().flat_map(|worker| worker.jobs).map(|job| job.job));
    }
    bench.store.inject(None);
    bench.check();
    assert_eq!(jobs.len(), 6);
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 6);
    assert!(bench.queue.workers(None, 10).await.unwrap().is_empty());
}
