//! Batches into one output: assembled one after another, in the order of their submission.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::batch::assemble_due;
use roboflow::queue::{AssemblyState, BatchId, JobStatus, LINE_MAX, NewBatch, QueueError};
use roboflow_proptests::queue_bench::{Bench, MAPPING, Worker, batch, recording};

/// Batch `number` of those that go to one output.
fn into_one(number: u8) -> NewBatch {
    NewBatch { out: batch(0).out, ..batch(number) }
}

/// The batch that makes the dataset, and two that are added to it; each with one recording.
async fn three() -> (Bench, Worker, [BatchId; 3]) {
    let bench = Bench::new();
    bench.queue.put_config(MAPPING).await.unwrap();
    let worker = bench.worker(1).await;
    let ids = [0, 1, 2].map(|number| into_one(number).id);
    for number in [0, 1, 2] {
        let batch = into_one(number);
        if number > 0 {
            bench.queue.append_to(&batch.out, batch.id, Some(ids[0])).await.unwrap();
            assert!(bench.queue.is_append(batch.id).await.unwrap());
        }
        bench.queue.submit(&batch, &[recording(number.into())]).await.unwrap();
        bench.check();
    }
    assert!(!bench.queue.is_append(ids[0]).await.unwrap());
    (bench, worker, ids)
}

async fn complete_all(bench: &Bench, worker: &Worker) -> usize {
    let mut count = 0;
    while let Some(claim) = bench.queue.claim(&worker.intent()).await.unwrap() {
        bench.complete(worker, &claim).await.unwrap();
        bench.check();
        count += 1;
    }
    count
}

async fn state(bench: &Bench, batch: BatchId) -> AssemblyState {
    let state = bench.queue.submit_assembly(batch).await.unwrap();
    bench.check();
    state
}

fn is_new(state: AssemblyState) -> bool {
    matches!(state, AssemblyState::Queued { new: true, .. })
}

#[tokio::test]
async fn each_is_assembled_when_those_before_it_are() {
    let (bench, worker, [first, second, third]) = three().await;
    assert_eq!(complete_all(&bench, &worker).await, 3, "recordings are converted in any order");
    assert_eq!(state(&bench, third).await, AssemblyState::Behind { batch: first });
    assert_eq!(state(&bench, second).await, AssemblyState::Behind { batch: first });
    for batch in [first, second, third] {
        assert_eq!(assemble_due(&bench.queue).await.unwrap(), [batch], "one at a time");
        assert_eq!(assemble_due(&bench.queue).await.unwrap(), [], "while it is being assembled no other");
        assert_eq!(complete_all(&bench, &worker).await, 1);
    }
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), []);
}

#[tokio::test]
async fn a_cancelled_one_lets_the_next_pass_and_comes_back_behind_it() {
    let (bench, worker, [first, second, third]) = three().await;
    complete_all(&bench, &worker).await;
    assert!(is_new(state(&bench, first).await));
    complete_all(&bench, &worker).await;
    // The second's assembly is cancelled while it waits for a worker.
    assert!(is_new(state(&bench, second).await));
    bench.queue.cancel_batch(second).await.unwrap();
    bench.check();
    assert!(is_new(state(&bench, third).await));
    let retried = bench.queue.retry(second.assemble_job(), "after all").await;
    assert!(matches!(&retried, Err(QueueError::Refused { reason }) if reason.contains(&third.to_string())));
    bench.check();
    complete_all(&bench, &worker).await;
    bench.queue.retry(second.assemble_job(), "after all").await.unwrap();
    bench.check();
    assert_eq!(bench.queue.get(second.assemble_job()).await.unwrap().status, JobStatus::Ready);
    assert_eq!(complete_all(&bench, &worker).await, 1);
}

#[tokio::test]
async fn a_failed_one_holds_the_next_until_it_is_retried_or_cancelled() {
    let (bench, worker, [first, second, third]) = three().await;
    complete_all(&bench, &worker).await;
    for batch in [first, second] {
        assert!(is_new(state(&bench, batch).await));
        if batch == first {
            complete_all(&bench, &worker).await;
        }
    }
    bench.queue.cancel(second.assemble_job()).await.unwrap();
    assert_eq!(state(&bench, third).await, AssemblyState::Behind { batch: second });
    bench.queue.retry(second.assemble_job(), "again").await.unwrap();
    bench.check();
    assert_eq!(state(&bench, third).await, AssemblyState::Behind { batch: second });
    complete_all(&bench, &worker).await;
    assert!(is_new(state(&bench, third).await));
}

#[tokio::test]
async fn a_line_is_bounded_and_standing_in_it_twice_is_once() {
    let bench = Bench::new();
    let id = |number: usize| BatchId([&[0xab; 8][..], &number.to_be_bytes()].concat().try_into().unwrap());
    let out = batch(0).out;
    bench.queue.put_config(MAPPING).await.unwrap();
    bench.queue.submit(&batch(0), &[recording(0)]).await.unwrap();
    for number in 1..LINE_MAX {
        bench.queue.append_to(&out, id(number), Some(batch(0).id)).await.unwrap();
        bench.queue.append_to(&out, id(number), Some(batch(0).id)).await.unwrap();
    }
    bench.check();
    let full = bench.queue.append_to(&out, id(LINE_MAX), None).await;
    assert!(matches!(full, Err(QueueError::Refused { .. })), "{full:?}");
}
