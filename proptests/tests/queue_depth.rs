//! What waits in the queue, as an autoscaler is told: counted by the indexes, and as old as the oldest that could be claimed.

use roboflow::fsm::effect::HandBackReason;
use roboflow::queue::QueueDepth;
use roboflow_proptests::queue_bench::Bench;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn each_job_is_counted_where_it_stands() {
    let bench = Bench::new();
    assert_eq!(bench.queue.depth().await.unwrap(), QueueDepth::default());
    bench.submit(5).await;
    let worker = bench.worker(1).await;
    let [again, never, _held] =
        [bench.claim(&worker).await, bench.claim(&worker).await, bench.claim(&worker).await];
    bench.hand_back(&worker, &again, HandBackReason::FailedTransient).await.unwrap();
    bench.hand_back(&worker, &never, HandBackReason::FailedPermanent).await.unwrap();
    let depth = bench.queue.depth().await.unwrap();
    assert_eq!(depth, QueueDepth { ready: 2, waiting: 1, leased: 1, failed: 1, oldest_ready_ms: 0 });
    // Within any backoff of a first failure the job that waits is ready too, and younger than the others.
    bench.store.advance(Duration::from_secs(3600));
    let depth = bench.queue.depth().await.unwrap();
    assert_eq!(depth, QueueDepth { ready: 3, waiting: 0, leased: 1, failed: 1, oldest_ready_ms: 3_600_000 });
}

/// More than one page of an index.
#[tokio::test(start_paused = true)]
async fn all_pages_are_counted() {
    let bench = Bench::new();
    bench.submit(900).await;
    assert_eq!(bench.queue.depth().await.unwrap().ready, 900);
}
