//! What each operation of the queue does on its own: submitting, order, failing, cancelling, retrying, assembling, and
//! the numbers that add up.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::error::{Class, Classified};
use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::JobId;
use roboflow::queue::{
    AssemblyState, Cancelled, ErrorKind, JobFilter, JobKind, JobResult, JobStatus, Leaving, NewBatch, Queue,
    QueueError, QueueSettings, Submitted, config_hash,
};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, MAPPING, batch, farewell, recording};
use std::sync::Arc;
use std::time::Duration;

fn is_refused<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Refused { .. }))
}

#[tokio::test]
async fn submitting_again_enqueues_nothing_new() {
    let bench = Bench::new();
    assert_eq!(bench.submit(150).await, Submitted { new: 150, already: 0 });
    assert_eq!(bench.submit(200).await, Submitted { new: 50, already: 150 });
    let mut changed = recording(3);
    changed.source.version = "v2".to_owned();
    let again = bench.queue.submit(&batch(0), &[changed, recording(3)]).await.unwrap();
    assert_eq!(again, Submitted { new: 1, already: 1 }, "other bytes are another recording");
    let elsewhere = bench.queue.submit(&batch(1), &[recording(3)]).await.unwrap();
    assert_eq!(elsewhere, Submitted { new: 1, already: 0 }, "another output is another conversion");
    assert_eq!(bench.queue.batch(batch(0).id).await.unwrap().jobs, 201);
    assert_eq!(bench.queue.batches(None, 10).await.unwrap().len(), 2);
    assert_eq!(bench.queue.counts(Some(batch(0).id)).await.unwrap().ready, 201);
    bench.check();
}

#[tokio::test]
async fn a_page_of_unknown_outcome_counts_once() {
    for fault in [Fault::UnknownApplied, Fault::UnknownLost, Fault::UnknownLater { calls: 1_000 }] {
        let bench = Bench::new();
        bench.queue.put_config(MAPPING).await.unwrap();
        bench.next_commit_meets(fault);
        let submitted = bench.queue.submit(&batch(0), &[recording(1), recording(2)]).await.unwrap();
        assert_eq!(submitted, Submitted { new: 2, already: 0 }, "{fault:?}");
        assert_eq!(bench.store.settle(), 0);
        assert_eq!(bench.queue.counts(None).await.unwrap().submitted(), 2);
        bench.check();
    }
}

#[tokio::test]
async fn a_batch_that_differs_or_has_no_mapping_is_refused() {
    let bench = Bench::new();
    let unmapped = bench.queue.submit(&batch(0), &[recording(1)]).await;
    assert!(is_refused(&unmapped), "{unmapped:?}");
    bench.submit(1).await;
    let other = NewBatch { segment_frames: 50, ..batch(0) };
    let error = bench.queue.submit(&other, &[recording(2)]).await.unwrap_err();
    assert_eq!(error.class(), Class::Permanent);
    let long = NewBatch { out: "x".repeat(5_000), ..batch(0) };
    assert!(is_refused(&bench.queue.submit(&long, &[]).await));
    assert_eq!(bench.queue.config(&config_hash(MAPPING)).await.unwrap(), MAPPING);
    assert!(matches!(bench.queue.config(&[0; 32]).await, Err(QueueError::NotFound { .. })));
    bench.check();
}

#[tokio::test]
async fn claims_go_by_priority_within_a_shard_and_never_before_their_time() {
    let bench = Bench::with(QueueSettings { shards: 1, ..QueueSettings::default() });
    bench.queue.put_config(MAPPING).await.unwrap();
    for (number, priority) in [(1, 10), (2, 200), (3, 0), (4, 255)] {
        let mut job = recording(number);
        job.priority = priority;
        bench.queue.submit(&batch(0), &[job]).await.unwrap();
    }
    let worker = bench.worker(1).await;
    // The most urgent one fails, and is not due for a while: the others are claimed meanwhile.
    let urgent = bench.claim(&worker).await;
    assert_eq!(urgent.job.priority, 255);
    bench.hand_back(&worker, &urgent, HandBackReason::FailedTransient).await.unwrap();
    let mut order = Vec::new();
    while let Some(claim) = bench.queue.claim(&worker.intent()).await.unwrap() {
        order.push(claim.job.priority);
    }
    assert_eq!(order, [200, 10, 0]);
    let due = bench.job(urgent.job.id).await.not_before;
    assert!(due > bench.store.now());
    bench.store.advance(Duration::from_millis(due.0 - bench.store.now().0));
    assert_eq!(bench.claim(&worker).await.job.id, urgent.job.id);
    bench.check();
}

#[tokio::test]
async fn every_shard_is_visited_before_the_queue_counts_as_empty() {
    let bench = Bench::new();
    bench.submit(64).await;
    let worker = bench.worker(1).await;
    let mut shards = std::collections::BTreeSet::new();
    for _ in 0..64 {
        shards.insert(bench.claim(&worker).await.job.shard);
    }
    assert!(shards.len() > 8, "{shards:?}");
    assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
    bench.check();
}

#[tokio::test]
async fn a_queue_with_fewer_shards_finds_the_jobs_of_all() {
    let bench = Bench::new();
    bench.submit(20).await;
    let narrow = QueueSettings { shards: 1, ..QueueSettings::default() };
    let queue = Queue::new(Arc::new(bench.store.clone()), narrow);
    let worker = bench.worker(1).await;
    for _ in 0..20 {
        assert!(queue.claim(&worker.intent()).await.unwrap().is_some());
    }
    bench.check();
}

#[tokio::test]
async fn failures_back_off_longer_each_time_and_end_dead() {
    let bench = Bench::with(QueueSettings { max_attempts: 5, ..QueueSettings::default() });
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    for failure in 1..=5_u32 {
        let claim = bench.claim(&worker).await;
        bench.hand_back(&worker, &claim, HandBackReason::FailedTransient).await.unwrap();
        bench.check();
        let job = bench.job(claim.job.id).await;
        assert_eq!(job.failures, failure);
        assert_eq!(job.errors.last().unwrap().text, "it broke");
        let wait_ms = job.not_before.0 - bench.store.now().0;
        let full_ms = 1_600 << (failure - 1);
        assert!((full_ms / 2..=full_ms).contains(&wait_ms), "{wait_ms} ms after failure {failure}");
        assert_eq!(job.status, if failure < 5 { JobStatus::Ready } else { JobStatus::Dead });
        assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
        bench.store.advance(Duration::from_millis(wait_ms));
    }
    assert_eq!(bench.queue.counts(None).await.unwrap().dead, 1);
}

#[tokio::test]
async fn a_permanent_failure_is_dead_at_once() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    let job = bench.job(claim.job.id).await;
    assert_eq!((job.status, job.errors[0].kind), (JobStatus::Dead, ErrorKind::Permanent));
    bench.check();
}

#[tokio::test]
async fn the_error_history_is_bounded_and_keeps_the_first() {
    let bench = Bench::with(QueueSettings { max_attempts: 100, ..QueueSettings::default() });
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    for number in 0..40 {
        let claim = bench.claim(&worker).await;
        let mut request = bench.hand_back_request(&worker, &claim, HandBackReason::FailedTransient);
        request.hand_back.as_mut().unwrap().error = Some(format!("{number} {}", "é".repeat(5_000)));
        bench.queue.release(&request).await.unwrap();
        bench.store.advance(Duration::from_secs(600));
        bench.renew(&worker).await.unwrap();
    }
    let jobs = bench.queue.list(&JobFilter::default(), None, 1).await.unwrap().jobs;
    let texts: Vec<_> = jobs[0].errors.iter().map(|entry| entry.text.split(' ').next().unwrap()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "36", "37", "38", "39"]);
    assert!(jobs[0].errors.iter().all(|entry| entry.text.len() <= 2_048));
    bench.check();
}

#[tokio::test]
async fn cancelling_takes_a_ready_job_at_once_and_asks_for_a_held_one() {
    let bench = Bench::new();
    bench.submit(2).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    let page = bench.queue.list(&JobFilter::default(), None, 9).await.unwrap();
    let ready = page.jobs.iter().find(|job| job.id != claim.job.id).unwrap().id;
    assert_eq!(bench.queue.cancel(ready).await.unwrap(), Cancelled::Now);
    assert_eq!(bench.queue.cancel(ready).await.unwrap(), Cancelled::Already(JobStatus::Cancelled));
    let unasked = bench.hand_back(&worker, &claim, HandBackReason::Cancelled).await;
    assert!(is_refused(&unasked), "{unasked:?}");
    assert!(bench.renew(&worker).await.unwrap().cancelled.is_empty());
    for _ in 0..2 {
        assert_eq!(bench.queue.cancel(claim.job.id).await.unwrap(), Cancelled::Asked);
        assert_eq!(bench.renew(&worker).await.unwrap().cancelled, [(claim.job.id, claim.epoch)]);
        bench.check();
    }
    bench.hand_back(&worker, &claim, HandBackReason::Cancelled).await.unwrap();
    assert!(bench.renew(&worker).await.unwrap().cancelled.is_empty());
    assert_eq!(bench.queue.counts(None).await.unwrap().cancelled, 2);
    bench.check();
}

#[tokio::test]
async fn a_job_asked_to_be_cancelled_is_never_ready_again() {
    for crash in [false, true] {
        let bench = Bench::new();
        bench.submit(1).await;
        let worker = bench.worker(1).await;
        let claim = bench.claim(&worker).await;
        bench.queue.cancel(claim.job.id).await.unwrap();
        if crash {
            bench.outlive_the_lease();
            bench.queue.reclaim(10).await.unwrap();
        } else {
            bench.hand_back(&worker, &claim, HandBackReason::Interrupted).await.unwrap();
        }
        assert_eq!(bench.job(claim.job.id).await.status, JobStatus::Cancelled);
        bench.check();
    }
}

#[tokio::test]
async fn a_job_that_completes_before_the_cancel_is_seen_is_completed() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.queue.cancel(claim.job.id).await.unwrap();
    bench.complete(&worker, &claim).await.unwrap();
    assert_eq!(bench.queue.cancel(claim.job.id).await.unwrap(), Cancelled::Already(JobStatus::Completed));
    bench.check();
}

#[tokio::test]
async fn a_retry_is_an_explicit_new_attempt_that_keeps_checkpoint_and_epoch() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    assert!(is_refused(&bench.queue.retry(claim.job.id, "no").await), "it is held");
    bench.queue.checkpoint(&worker.own(&claim), &worker.intent(), 6).await.unwrap();
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    bench.check();
    let job = bench.queue.retry(claim.job.id, "the recording was repaired").await.unwrap();
    bench.check();
    assert_eq!((job.status, job.failures, job.resets, job.checkpoint), (JobStatus::Ready, 0, 1, 6));
    let last = job.errors.last().unwrap();
    assert_eq!((last.kind, last.text.as_str()), (ErrorKind::Reset, "the recording was repaired"));
    let again = bench.claim(&worker).await;
    assert!(again.epoch > claim.epoch);
    bench.complete(&worker, &again).await.unwrap();
    assert!(is_refused(&bench.queue.retry(claim.job.id, "no").await), "completed is final");
    bench.check();
}

#[tokio::test]
async fn the_checkpoint_never_moves_back() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    let own = worker.own(&claim);
    for (segments, fits) in [(3, true), (3, true), (2, false), (5, true), (0, false)] {
        let result = bench.queue.checkpoint(&own, &worker.intent(), segments).await;
        assert_eq!((result.is_ok(), is_refused(&result)), (fits, !fits), "{segments}");
        bench.check();
    }
    assert!(is_refused(&bench.queue.complete(&own, &worker.intent(), 4, &JobResult::default()).await));
    assert_eq!(bench.job(claim.job.id).await.checkpoint, 5);
}

#[tokio::test]
async fn one_assembly_follows_once_all_recordings_are_final() {
    let bench = Bench::new();
    let id = batch(0).id;
    bench.queue.put_config(MAPPING).await.unwrap();
    bench.queue.submit(&batch(0), &[]).await.unwrap();
    assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Empty);
    let into = skipping();
    let jobs: Vec<_> = (0..3).map(recording).collect();
    bench.queue.submit(&into, &jobs).await.unwrap();
    let worker = bench.worker(1).await;
    for (open, why) in [(3, None), (2, Some(HandBackReason::FailedPermanent)), (1, None)] {
        let state = bench.queue.submit_assembly(id).await.unwrap();
        assert_eq!(state, AssemblyState::Open { recordings: open });
        let claim = bench.claim(&worker).await;
        assert_eq!(bench.queue.submit_assembly(id).await.unwrap(), AssemblyState::Open { recordings: open });
        match why {
            Some(why) => bench.hand_back(&worker, &claim, why).await.unwrap(),
            None => bench.complete(&worker, &claim).await.unwrap(),
        }
    }
    let job = id.assemble_job();
    for (fault, new) in [(Fault::UnknownApplied, false), (Fault::None, false)] {
        bench.next_commit_meets(fault);
        let state = bench.queue.submit_assembly(id).await.unwrap();
        assert_eq!(state, AssemblyState::Queued { job, status: JobStatus::Ready, new });
        bench.check();
    }
    let claim = bench.claim(&worker).await;
    assert_eq!((claim.job.id, &claim.job.kind), (job, &JobKind::Assemble));
    assert_eq!(bench.queue.claim(&worker.intent()).await.unwrap(), None);
    let dead =
        bench.queue.list(&JobFilter { status: Some(JobStatus::Dead), batch: None }, None, 9).await.unwrap();
    assert!(is_refused(&bench.queue.retry(dead.jobs[0].id, "no").await), "its dataset is being assembled");
    bench.complete(&worker, &claim).await.unwrap();
    let state = bench.queue.submit_assembly(id).await.unwrap();
    assert_eq!(state, AssemblyState::Queued { job, status: JobStatus::Completed, new: false });
    bench.check();
}

/// Batch 0, assembled without what fails.
fn skipping() -> NewBatch {
    NewBatch { skip_failed: true, ..batch(0) }
}

/// A bench with one completed and one dead recording in batch 0, and a commit on its way that is the next thing asked
/// for.
async fn with_a_late_commit() -> (Bench, JobId) {
    let bench = Bench::new();
    bench.queue.put_config(MAPPING).await.unwrap();
    bench.queue.submit(&skipping(), &[recording(0), recording(1)]).await.unwrap();
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.complete(&worker, &claim).await.unwrap();
    let claim = bench.claim(&worker).await;
    bench.hand_back(&worker, &claim, HandBackReason::FailedPermanent).await.unwrap();
    // The first commit is late, and whoever asked for it gives up at once.
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { .. } => {
            commits += 1;
            if commits == 1 { Fault::UnknownLater { calls: 1_000 } } else { Fault::Unavailable }
        }
        _ => Fault::None,
    })));
    (bench, claim.job.id)
}

#[tokio::test]
async fn a_late_retry_or_submission_never_opens_a_recording_under_its_assembly() {
    for submit in [false, true] {
        let (bench, dead) = with_a_late_commit().await;
        if submit {
            bench.queue.submit(&skipping(), &[recording(7)]).await.unwrap_err();
        } else {
            bench.queue.retry(dead, "again").await.unwrap_err();
        }
        bench.store.inject(None);
        let state = bench.queue.submit_assembly(batch(0).id).await.unwrap();
        assert!(matches!(state, AssemblyState::Queued { new: true, .. }));
        assert_eq!((bench.store.late(), bench.store.settle()), (1, 0));
        bench.check();
    }
}

#[tokio::test]
async fn a_late_assembly_never_comes_over_a_recording_that_was_opened() {
    for submit in [false, true] {
        let (bench, dead) = with_a_late_commit().await;
        bench.queue.submit_assembly(batch(0).id).await.unwrap_err();
        bench.store.inject(None);
        if submit {
            bench.queue.submit(&skipping(), &[recording(7)]).await.unwrap();
        } else {
            bench.queue.retry(dead, "again").await.unwrap();
        }
        assert_eq!((bench.store.late(), bench.store.settle()), (1, 0));
        bench.check();
    }
}

#[tokio::test]
async fn a_worker_of_several_machines_leaves_with_its_last_one() {
    let bench = Bench::new();
    bench.submit(2).await;
    let worker = bench.worker_with(1, 2).await;
    let first = bench.queue.claim(&worker.intent_of(0)).await.unwrap().unwrap();
    let second = bench.queue.claim(&worker.intent_of(1)).await.unwrap().unwrap();
    let mut request = bench.hand_back_request(&worker, &first, HandBackReason::Interrupted);
    request.farewell = Some(farewell());
    bench.queue.release(&request).await.unwrap();
    assert!(bench.receipt(&worker).await.is_none());
    bench.renew(&worker).await.expect("the other machine still works under the lease");
    let gone = bench.queue.claim(&worker.intent_of(0)).await;
    assert!(is_refused(&gone), "a machine that left claims nothing: {gone:?}");
    bench.complete(&worker, &second).await.unwrap();
    bench.check();
    let mut last = bench.leave_request(&worker);
    last.by = worker.intent_of(1);
    bench.queue.release(&last).await.unwrap();
    let receipt = bench.receipt(&worker).await.unwrap();
    assert_eq!(receipt.leaving, Leaving::Left);
    assert_eq!((receipt.tally.claims, receipt.tally.completes, receipt.tally.releases), (2, 1, 1));
    assert_eq!((receipt.farewells.len(), receipt.ends.len()), (2, 2));
    bench.check();
}

#[tokio::test]
async fn lists_page_and_filter() {
    let bench = Bench::new();
    bench.submit(7).await;
    bench.queue.submit(&batch(1), &[recording(1)]).await.unwrap();
    let filter = JobFilter { batch: Some(batch(0).id), status: Some(JobStatus::Ready) };
    let mut seen: Vec<JobId> = Vec::new();
    let mut after = None;
    for _ in 0..3 {
        let page = bench.queue.list(&filter, after, 3).await.unwrap();
        seen.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
    }
    assert_eq!((seen.len(), after), (7, None));
    assert!(seen.is_sorted());
    let none = JobFilter { status: Some(JobStatus::Dead), ..filter };
    assert!(bench.queue.list(&none, None, 3).await.unwrap().jobs.is_empty());
    assert!(matches!(bench.queue.get(JobId([1; 16])).await, Err(QueueError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_store_too_busy_is_unavailable_and_counted() {
    let bench = Bench::new();
    let worker = bench.worker(1).await;
    bench.store.inject(Some(Box::new(|call| match call {
        Call::Commit { .. } => Fault::Conflict,
        _ => Fault::None,
    })));
    let error = bench.renew(&worker).await.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error}");
    assert_eq!(error.class(), Class::Transient);
    let counts = bench.queue.counters().counts();
    assert_eq!((counts.exhausted, counts.conflicts), (1, 24));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = QueueSettings::default();
    good.check().unwrap();
    for bad in [
        QueueSettings { prefix: String::new(), ..good.clone() },
        QueueSettings { prefix: "a b".to_owned(), ..good.clone() },
        QueueSettings { prefix: "x".repeat(200), ..good.clone() },
        QueueSettings { shards: 0, ..good.clone() },
        QueueSettings { lease_ms: 10, ..good.clone() },
        QueueSettings { max_attempts: 0, ..good.clone() },
        QueueSettings { max_crashes: 0, ..good.clone() },
    ] {
        assert!(is_refused(&bad.check()), "{bad:?}");
    }
}
