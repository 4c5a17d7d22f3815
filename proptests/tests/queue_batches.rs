//! A batch from its first page to its end: when it is sealed, what holds its assembly back, how it is cancelled, closed
//! and swept, and what its indexes say meanwhile.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::batch::assemble_due;
use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::JobId;
use roboflow::queue::{
    AssemblyState, Cancelled, CancelledBatch, JobFilter, JobStatus, NewBatch, NewJob, QueueError, Submitted,
};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, MAPPING, UNKNOWN, Worker, batch, is_lost, recording};

fn is_refused<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Refused { .. }))
}

fn recordings(numbers: std::ops::Range<u32>) -> Vec<NewJob> {
    numbers.map(recording).collect()
}

async fn bench() -> (Bench, Worker) {
    let bench = Bench::new();
    bench.queue.put_config(MAPPING).await.unwrap();
    let worker = bench.worker(1).await;
    (bench, worker)
}

/// Completes everything that is to be claimed; gives how many there were.
async fn complete_all(bench: &Bench, worker: &Worker) -> usize {
    let mut count = 0;
    while let Some(claim) = bench.queue.claim(&worker.intent()).await.unwrap() {
        bench.complete(worker, &claim).await.unwrap();
        count += 1;
    }
    count
}

#[tokio::test]
async fn workers_faster_than_the_pages_of_a_submission_do_not_see_the_batch_end_between_two() {
    let (bench, worker) = bench().await;
    let id = batch(0).id;
    let all = recordings(0..150);
    // The second page does not get through.
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { writes } if writes > 0 => {
            commits += 1;
            if commits > 1 { Fault::Unavailable } else { Fault::None }
        }
        _ => Fault::None,
    })));
    bench.queue.submit(&batch(0), &all).await.unwrap_err();
    bench.store.inject(None);
    let first_page = complete_all(&bench, &worker).await;
    assert!((1..150).contains(&first_page), "{first_page} recordings got through");
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), []);
    assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Unsealed);
    bench.check();
    let again = bench.queue.submit(&batch(0), &all).await.unwrap();
    assert_eq!(again, Submitted { new: 150 - first_page as u64, already: first_page as u64 });
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), []);
    complete_all(&bench, &worker).await;
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), [id]);
    bench.check();
}

#[tokio::test]
async fn a_later_submission_opens_a_sealed_batch_again_until_its_own_last_page() {
    let (bench, worker) = bench().await;
    let id = batch(0).id;
    bench.submit(3).await;
    assert!(bench.queue.batch(id).await.unwrap().sealed);
    bench.queue.submit_part(&batch(0), &recordings(0..5)).await.unwrap();
    assert!(!bench.queue.batch(id).await.unwrap().sealed);
    assert_eq!(complete_all(&bench, &worker).await, 5);
    assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Unsealed);
    // What brings nothing new neither opens nor needs to be open.
    bench.queue.seal_batch(id).await.unwrap();
    bench.queue.submit_part(&batch(0), &recordings(0..5)).await.unwrap();
    assert!(bench.queue.batch(id).await.unwrap().sealed);
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), [id]);
    assert!(is_refused(&bench.queue.submit(&batch(0), &recordings(5..6)).await));
    let known = bench.queue.submit(&batch(0), &recordings(0..5)).await.unwrap();
    assert_eq!(known, Submitted { new: 0, already: 5 });
    bench.check();
}

#[tokio::test]
async fn a_failed_recording_holds_the_assembly_back_until_somebody_says_to_go_on_without_it() {
    let (bench, worker) = bench().await;
    let id = batch(0).id;
    bench.submit(2).await;
    let claim = bench.claim(&worker).await;
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    complete_all(&bench, &worker).await;
    bench.check();
    assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::HeldBack { failed: 1 });
    bench.queue.retry(claim.job.id, "again").await.unwrap();
    bench.check();
    assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Open { recordings: 1 });
    let claim = bench.claim(&worker).await;
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    let skipping = NewBatch { skip_failed: true, ..batch(0) };
    bench.queue.submit(&skipping, &recordings(0..2)).await.unwrap();
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), [id]);
    bench.check();
}

#[tokio::test]
async fn nothing_is_assembled_of_nothing() {
    let (bench, worker) = bench().await;
    let skipping = NewBatch { skip_failed: true, ..batch(0) };
    bench.queue.submit(&skipping, &recordings(0..2)).await.unwrap();
    for _ in 0..2 {
        let claim = bench.claim(&worker).await;
        bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    }
    let state = bench.queue.submit_assembly(batch(0).id).await.unwrap();
    assert_eq!(state, AssemblyState::NothingConverted);
    bench.check();
}

/// A recording dies while the decision is being made: what is open must be looked at before what failed.
#[tokio::test]
async fn a_recording_that_dies_between_the_two_looks_of_the_assembly_is_not_missed() {
    let (bench, worker) = bench().await;
    bench.submit(2).await;
    let done = bench.claim(&worker).await;
    let dies = bench.claim(&worker).await;
    bench.complete(&worker, &done).await.unwrap();
    // The death is on its way, and lands with the second scan of the decision.
    bench.next_commit_meets(Fault::UnknownLater { calls: 5 });
    bench.hand_back(&worker, &dies, HandBackReason::FailedPermanent).await.unwrap_err();
    bench.store.inject(None);
    for _ in 0..6 {
        let state = bench.queue.submit_assembly(batch(0).id).await.unwrap();
        let waits = matches!(state, AssemblyState::Open { .. } | AssemblyState::HeldBack { .. });
        assert!(waits, "{state:?}");
        bench.check();
    }
    assert_eq!(bench.store.late(), 0, "the death has landed");
}

#[tokio::test]
async fn cancelling_a_batch_takes_what_is_open_tells_who_holds_it_and_is_not_assembled() {
    for fault in [Fault::None].into_iter().chain(UNKNOWN) {
        let (bench, worker) = bench().await;
        let id = batch(0).id;
        bench.submit(5).await;
        let done = bench.claim(&worker).await;
        bench.complete(&worker, &done).await.unwrap();
        let held = bench.claim(&worker).await;
        bench.next_commit_meets(fault);
        let cancelled = bench.queue.cancel_batch(id).await.unwrap();
        assert_eq!(cancelled, CancelledBatch { now: 3, asked: 1, unreadable: 0 }, "{fault:?}");
        bench.check();
        assert_eq!(bench.renew(&worker).await.unwrap().cancelled, [(held.job.id, held.epoch)]);
        bench.hand_back(&worker, &held, HandBackReason::Cancelled).await.unwrap();
        assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Cancelled);
        assert!(is_refused(&bench.queue.submit(&batch(0), &recordings(5..6)).await));
        assert_eq!(bench.queue.cancel_batch(id).await.unwrap(), CancelledBatch::default());
        // A new attempt brings it back.
        bench.queue.retry(held.job.id, "it was a mistake").await.unwrap();
        bench.check();
        complete_all(&bench, &worker).await;
        let state = bench.queue.submit_assembly(id).await.unwrap();
        assert_eq!(state, AssemblyState::HeldBack { failed: 3 });
        bench.check();
    }
}

#[tokio::test]
async fn a_cancelled_batch_takes_its_queued_assembly_with_it_and_an_assembled_one_is_not_cancelled() {
    let (bench, worker) = bench().await;
    let id = batch(0).id;
    bench.submit(1).await;
    complete_all(&bench, &worker).await;
    assert_eq!(assemble_due(&bench.queue).await.unwrap(), [id]);
    assert_eq!(bench.queue.cancel_batch(id).await.unwrap().now, 1);
    let assembly = id.assemble_job();
    assert_eq!(bench.job(assembly).await.status, JobStatus::Cancelled);
    assert_eq!(bench.queue.cancel(assembly).await.unwrap(), Cancelled::Already(JobStatus::Cancelled));
    bench.check();
    bench.queue.retry(assembly, "it was a mistake").await.unwrap();
    complete_all(&bench, &worker).await;
    assert!(is_refused(&bench.queue.cancel_batch(id).await));
    bench.check();
}

#[tokio::test]
async fn an_assembly_that_failed_is_not_tried_again_while_more_comes() {
    let (bench, worker) = bench().await;
    let id = batch(0).id;
    bench.submit(1).await;
    complete_all(&bench, &worker).await;
    assemble_due(&bench.queue).await.unwrap();
    let claim = bench.claim(&worker).await;
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    bench.queue.submit_part(&batch(0), &recordings(1..2)).await.unwrap();
    assert!(is_refused(&bench.queue.retry(claim.job.id, "no").await), "a recording is open");
    complete_all(&bench, &worker).await;
    assert!(is_refused(&bench.queue.retry(claim.job.id, "no").await), "more may come");
    bench.queue.seal_batch(id).await.unwrap();
    bench.queue.retry(claim.job.id, "the disk has room again").await.unwrap();
    bench.check();
}

#[tokio::test]
async fn a_late_assembly_never_comes_to_a_batch_that_was_cancelled() {
    let (bench, worker) = bench().await;
    bench.submit(1).await;
    complete_all(&bench, &worker).await;
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { .. } => {
            commits += 1;
            if commits == 1 { Fault::UnknownLater { calls: 1_000 } } else { Fault::Unavailable }
        }
        _ => Fault::None,
    })));
    bench.queue.submit_assembly(batch(0).id).await.unwrap_err();
    bench.store.inject(None);
    bench.queue.cancel_batch(batch(0).id).await.unwrap();
    assert_eq!((bench.store.late(), bench.store.settle()), (1, 0));
    bench.check();
}

#[tokio::test]
async fn a_batch_is_closed_when_it_is_over_and_stays_active_until_it_is_swept() {
    for cancelled in [false, true] {
        let (bench, worker) = bench().await;
        let id = batch(0).id;
        bench.submit(2).await;
        let lead = bench.lead(1).await;
        assert_eq!(bench.queue.active_batches(None, 9).await.unwrap(), [id]);
        let claim = bench.claim(&worker).await;
        assert!(!bench.queue.close_batch(&lead, id).await.unwrap(), "it is open");
        if cancelled {
            bench.queue.cancel_batch(id).await.unwrap();
            assert!(
                !bench.queue.close_batch(&lead, id).await.unwrap(),
                "a worker still writes to its staging"
            );
            bench.hand_back(&worker, &claim, HandBackReason::Cancelled).await.unwrap();
        } else {
            bench.complete(&worker, &claim).await.unwrap();
            complete_all(&bench, &worker).await;
            assemble_due(&bench.queue).await.unwrap();
            assert!(!bench.queue.close_batch(&lead, id).await.unwrap(), "it is being assembled");
            complete_all(&bench, &worker).await;
        }
        assert!(is_refused(&bench.queue.batch_swept(&lead, id).await), "it is not closed");
        for _ in 0..2 {
            assert!(bench.queue.close_batch(&lead, id).await.unwrap());
        }
        bench.check();
        assert_eq!(bench.queue.active_batches(None, 9).await.unwrap(), [id]);
        assert!(is_refused(&bench.queue.retry(claim.job.id, "no").await), "its staging may be gone");
        for _ in 0..2 {
            bench.queue.batch_swept(&lead, id).await.unwrap();
            bench.check();
        }
        assert_eq!(bench.queue.active_batches(None, 9).await.unwrap(), []);
        bench.outlive_the_lease();
        assert!(is_lost(&bench.queue.close_batch(&lead, id).await));
        assert!(is_lost(&bench.queue.batch_swept(&lead, id).await));
    }
}

#[tokio::test]
async fn listing_a_batch_reads_none_of_the_others() {
    let (bench, _worker) = bench().await;
    bench.submit(1_500).await;
    bench.queue.submit(&batch(1), &recordings(0..3)).await.unwrap();
    let scans = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&scans);
    bench.store.inject(Some(Box::new(move |call| {
        if call == Call::Scan {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Fault::None
    })));
    let filter = JobFilter { batch: Some(batch(1).id), status: None };
    let page = bench.queue.list(&filter, None, 100).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (3, None));
    assert_eq!(bench.queue.counts(Some(batch(1).id)).await.unwrap().ready, 3);
    // Each of the two: the members, their records, and that there are no more members.
    assert_eq!(scans.load(std::sync::atomic::Ordering::Relaxed), 2 * (1 + 1 + 1));
    bench.store.inject(None);
    let mut seen: Vec<JobId> = Vec::new();
    let mut after = None;
    let filter = JobFilter { batch: Some(batch(0).id), status: Some(JobStatus::Ready) };
    loop {
        let page = bench.queue.list(&filter, after, 700).await.unwrap();
        seen.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.dedup();
    assert_eq!((seen.len(), seen.is_sorted()), (1_500, true));
    assert_eq!(bench.queue.counts(Some(batch(0).id)).await.unwrap().ready, 1_500);
}
