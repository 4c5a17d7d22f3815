//! The scanner's side of the queue: pages, cursors, numbered batches, and what a scan that dies or loses its lead leaves.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::queue::{
    BatchId, Leadership, NewBatch, NewJob, NewSeries, QueueError, RoundEnd, SCAN_PAGE_MAX, ScanPage,
    config_hash,
};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, MAPPING, UNKNOWN, is_lost, is_unknown, recording, series};
use std::time::Duration;

fn is_refused<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Refused { .. }))
}

async fn bench() -> (Bench, Leadership) {
    let bench = Bench::new();
    bench.queue.put_config(MAPPING).await.unwrap();
    let lead = bench.lead(1).await;
    (bench, lead)
}

fn recordings(numbers: std::ops::Range<u32>) -> Vec<NewJob> {
    numbers.map(recording).collect()
}

/// One page with the key of its last recording as the cursor.
async fn page(bench: &Bench, lead: &Leadership, jobs: &[NewJob]) -> Result<ScanPage, QueueError> {
    let cursor = jobs.last().map(|job| job.source.key.clone()).unwrap_or_default();
    let done = bench.queue.scan_page(lead, &series(), jobs, &cursor).await;
    bench.check();
    done
}

async fn round(bench: &Bench, lead: &Leadership, jobs: &[NewJob], waiting: u64) -> RoundEnd {
    bench.queue.scan_begin(lead, &series()).await.unwrap();
    page(bench, lead, jobs).await.unwrap();
    let end = bench.queue.scan_round_done(lead, &series(), waiting).await.unwrap();
    bench.check();
    end
}

#[tokio::test]
async fn rounds_fill_a_batch_until_one_brings_nothing_new_and_the_next_one_opens_another() {
    let (bench, lead) = bench().await;
    let first = series().batch(1).id;
    assert_eq!(round(&bench, &lead, &recordings(0..3), 0).await, RoundEnd { new: 3, sealed: None });
    assert_eq!(round(&bench, &lead, &recordings(0..5), 0).await, RoundEnd { new: 2, sealed: None });
    assert_eq!(round(&bench, &lead, &recordings(0..5), 1).await, RoundEnd { new: 0, sealed: None });
    assert!(!bench.queue.batch(first).await.unwrap().sealed, "one still waits to settle");
    assert_eq!(round(&bench, &lead, &recordings(0..5), 0).await, RoundEnd { new: 0, sealed: Some(first) });
    assert_eq!(round(&bench, &lead, &recordings(0..5), 0).await, RoundEnd { new: 0, sealed: None });
    let batch = bench.queue.batch(first).await.unwrap();
    assert_eq!((batch.jobs, batch.sealed, batch.out.as_str()), (5, true, "s3://bucket/sets/batch-0001"));
    assert_eq!(batch.staging, "s3://bucket/sets/batch-0001/.roboflow/staging");
    assert_eq!(round(&bench, &lead, &recordings(0..6), 0).await.new, 1);
    let second = bench.queue.batch(series().batch(2).id).await.unwrap();
    assert_eq!((second.jobs, second.sealed), (1, false), "what the first batch has is not enqueued again");
    let record = bench.queue.series(series().id()).await.unwrap().unwrap();
    assert_eq!((record.generation, record.rounds, record.enqueued, &record.round), (2, 6, 6, &None));
    assert_eq!(bench.queue.all_series(None, 9).await.unwrap(), [record]);
}

#[tokio::test]
async fn a_scan_that_dies_goes_on_behind_its_last_page_and_its_successor_seals_nothing_it_has_not_listed() {
    let (bench, dies) = bench().await;
    round(&bench, &dies, &recordings(0..10), 0).await;
    bench.queue.scan_begin(&dies, &series()).await.unwrap();
    page(&bench, &dies, &recordings(0..6)).await.unwrap();
    bench.outlive_the_lease();
    let next = bench.lead(2).await;
    let begun = bench.queue.scan_begin(&next, &series()).await.unwrap();
    assert_eq!(begun.round.unwrap().cursor.as_deref(), Some("episode-0005.mcap"));
    let before = bench.store.dump();
    assert!(is_lost(&page(&bench, &dies, &recordings(6..20)).await));
    assert!(is_lost(&bench.queue.scan_begin(&dies, &series()).await));
    assert!(is_lost(&bench.queue.scan_round_done(&dies, &series(), 0).await));
    assert!(bench.store.dump() == before, "a leader that was replaced wrote something");
    assert_eq!(page(&bench, &next, &recordings(6..10)).await.unwrap(), ScanPage { new: 0, already: 4 });
    let end = bench.queue.scan_round_done(&next, &series(), 0).await.unwrap();
    assert_eq!(end.sealed, None, "what waited in the first part only the first leader knew");
    assert!(round(&bench, &next, &recordings(0..10), 0).await.sealed.is_some());
}

#[tokio::test]
async fn a_page_and_the_end_of_a_round_of_unknown_outcome_happen_once() {
    for fault in UNKNOWN {
        let (bench, lead) = bench().await;
        bench.next_commit_meets(fault);
        bench.queue.scan_begin(&lead, &series()).await.unwrap();
        bench.next_commit_meets(fault);
        let done = page(&bench, &lead, &recordings(0..4)).await.unwrap();
        assert_eq!(done, ScanPage { new: 4, already: 0 }, "{fault:?}");
        bench.queue.scan_round_done(&lead, &series(), 0).await.unwrap();
        bench.queue.scan_begin(&lead, &series()).await.unwrap();
        bench.next_commit_meets(fault);
        let end = bench.queue.scan_round_done(&lead, &series(), 0).await.unwrap();
        assert_eq!(end, RoundEnd { new: 0, sealed: Some(series().batch(1).id) }, "{fault:?}");
        let before = bench.store.dump();
        bench.store.settle();
        assert!(bench.store.dump() == before, "{fault:?}");
        let record = bench.queue.series(series().id()).await.unwrap().unwrap();
        assert_eq!((record.rounds, record.enqueued), (2, 4), "{fault:?}");
        bench.check();
    }
}

#[tokio::test]
async fn another_mapping_seals_the_batch_and_begins_another_with_everything() {
    let (bench, lead) = bench().await;
    round(&bench, &lead, &recordings(0..3), 0).await;
    let other = NewSeries { config: config_hash("fps = 60\n"), ..series() };
    assert!(is_refused(&bench.queue.scan_begin(&lead, &other).await), "its mapping is not stored");
    bench.queue.put_config("fps = 60\n").await.unwrap();
    bench.queue.scan_begin(&lead, &series()).await.unwrap();
    page(&bench, &lead, &recordings(0..2)).await.unwrap();
    let stale = bench.queue.scan_page(&lead, &other, &recordings(2..3), "z").await;
    assert!(is_refused(&stale), "its round has not begun: {stale:?}");
    let begun = bench.queue.scan_begin(&lead, &other).await.unwrap();
    assert_eq!(begun.round.unwrap().cursor, None, "the listing starts over");
    assert!(bench.queue.batch(series().batch(1).id).await.unwrap().sealed);
    let done = bench.queue.scan_page(&lead, &other, &recordings(0..3), "z").await.unwrap();
    assert_eq!(done, ScanPage { new: 3, already: 0 });
    bench.check();
    let second = bench.queue.batch(other.batch(2).id).await.unwrap();
    assert_eq!((second.jobs, second.sealed, second.config), (3, false, other.config));
    // Another pattern lists again, into the same batch.
    let wider = NewSeries { pattern: "*".to_owned(), ..other };
    let begun = bench.queue.scan_begin(&lead, &wider).await.unwrap();
    assert_eq!((begun.open, begun.round.unwrap().cursor), (Some(second.id), None));
    bench.check();
}

#[tokio::test]
async fn a_full_or_old_batch_is_sealed_while_recordings_still_come() {
    let (bench, lead) = bench().await;
    let small = NewSeries { batch_recordings_max: 4, ..series() };
    bench.queue.scan_begin(&lead, &small).await.unwrap();
    let done = bench.queue.scan_page(&lead, &small, &recordings(0..10), "k").await.unwrap();
    assert_eq!(done.new, 10);
    bench.check();
    let mut batches = Vec::new();
    for generation in 1..=3 {
        let batch = bench.queue.batch(small.batch(generation).id).await.unwrap();
        batches.push((batch.jobs, batch.sealed));
    }
    assert_eq!(batches, [(4, true), (4, true), (2, false)]);
    bench.queue.scan_page(&lead, &small, &recordings(10..12), "l").await.unwrap();
    bench.queue.scan_page(&lead, &small, &recordings(12..13), "m").await.unwrap();
    bench.check();
    assert!(bench.queue.batch(small.batch(3).id).await.unwrap().sealed);
    let fourth = small.batch(4).id;
    bench.store.advance(Duration::from_millis(small.batch_age_max_ms));
    let lead = bench.lead(1).await;
    let end = bench.queue.scan_round_done(&lead, &small, 5).await.unwrap();
    assert_eq!(end, RoundEnd { new: 13, sealed: Some(fourth) });
    bench.check();
}

#[tokio::test]
async fn a_batch_that_somebody_sealed_or_cancelled_is_left_for_the_next_number() {
    for cancel in [false, true] {
        let (bench, lead) = bench().await;
        round(&bench, &lead, &recordings(0..2), 0).await;
        let first = series().batch(1).id;
        if cancel {
            bench.queue.cancel_batch(first).await.unwrap();
        } else {
            bench.queue.seal_batch(first).await.unwrap();
        }
        let end = round(&bench, &lead, &recordings(0..3), 0).await;
        assert_eq!(end.new, 1);
        assert_eq!(bench.queue.batch(first).await.unwrap().jobs, 2);
        assert_eq!(bench.queue.batch(series().batch(2).id).await.unwrap().jobs, 1);
    }
}

#[tokio::test]
async fn pages_that_are_too_large_go_back_or_belong_to_no_round_are_refused() {
    let (bench, lead) = bench().await;
    let none = bench.queue.scan_page(&lead, &series(), &[], "a").await;
    assert!(matches!(none, Err(QueueError::NotFound { .. })), "{none:?}");
    bench.queue.scan_begin(&lead, &series()).await.unwrap();
    let most = u32::try_from(SCAN_PAGE_MAX).unwrap();
    assert!(is_refused(&page(&bench, &lead, &recordings(0..most + 1)).await));
    assert_eq!(page(&bench, &lead, &recordings(0..most)).await.unwrap().new, u64::from(most));
    assert!(is_refused(&page(&bench, &lead, &recordings(0..2)).await), "the cursor goes back");
    assert!(is_refused(&bench.queue.scan_page(&lead, &series(), &[], &"x".repeat(5_000)).await));
    bench.queue.scan_round_done(&lead, &series(), 0).await.unwrap();
    assert!(is_refused(&bench.queue.scan_page(&lead, &series(), &[], "z").await), "the round is over");
    bench.check();
}

#[tokio::test]
async fn the_same_recording_twice_in_a_page_and_the_same_series_with_a_slash_are_one() {
    let (bench, lead) = bench().await;
    let slashed = NewSeries { out: format!("{}/", series().out), ..series() };
    assert_eq!(slashed.id(), series().id());
    bench.queue.scan_begin(&lead, &slashed).await.unwrap();
    let twice = [recording(1), recording(1)];
    let done = bench.queue.scan_page(&lead, &slashed, &twice, "b").await.unwrap();
    assert_eq!(done, ScanPage { new: 1, already: 1 });
    bench.check();
}

#[tokio::test]
async fn a_page_on_its_way_never_enqueues_what_somebody_else_submitted_meanwhile() {
    let (bench, lead) = bench().await;
    bench.queue.scan_begin(&lead, &series()).await.unwrap();
    late_once(&bench);
    bench.queue.scan_page(&lead, &series(), &recordings(0..2), "k").await.unwrap_err();
    bench.store.inject(None);
    let by_hand = NewBatch { out: "s3://bucket/mine".to_owned(), ..series().batch(1) };
    let by_hand = NewBatch { id: BatchId::derive(&by_hand.out, &by_hand.config), ..by_hand };
    bench.queue.submit(&by_hand, &recordings(1..2)).await.unwrap();
    assert_eq!((bench.store.late(), bench.store.settle()), (1, 0));
    bench.check();
    assert_eq!(page(&bench, &lead, &recordings(0..2)).await.unwrap(), ScanPage { new: 1, already: 1 });
}

/// The next commit is late, and the store is away for everything after it.
fn late_once(bench: &Bench) {
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { .. } => {
            commits += 1;
            if commits == 1 { Fault::UnknownLater { calls: 1_000 } } else { Fault::Unavailable }
        }
        _ => Fault::None,
    })));
}

#[tokio::test]
async fn what_may_have_happened_is_not_said_to_have_not() {
    let (bench, lead) = bench().await;
    late_once(&bench);
    let result = bench.queue.scan_begin(&lead, &series()).await;
    assert!(is_unknown(&result), "{result:?}");
    bench.store.inject(None);
    assert_eq!(bench.store.settle(), 1);
    assert!(bench.queue.series(series().id()).await.unwrap().is_some());
    bench.check();
}

#[tokio::test]
async fn a_page_with_more_news_than_a_transaction_takes_moves_the_cursor_with_its_last_part() {
    let (bench, lead) = bench().await;
    bench.queue.scan_begin(&lead, &series()).await.unwrap();
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        Call::Commit { writes } => {
            commits += 1;
            assert!(writes <= 200, "{writes} writes are more than every store takes at once");
            if commits == 2 { Fault::Unavailable } else { Fault::None }
        }
        _ => Fault::None,
    })));
    bench.queue.scan_page(&lead, &series(), &recordings(0..100), "k").await.unwrap_err();
    let record = bench.queue.series(series().id()).await.unwrap().unwrap();
    let round = record.round.unwrap();
    assert_eq!((record.enqueued, round.new, round.cursor), (32, 32, None), "its first part alone is there");
    bench.check();
    let done = bench.queue.scan_page(&lead, &series(), &recordings(0..100), "k").await.unwrap();
    assert_eq!(done, ScanPage { new: 68, already: 32 });
    let record = bench.queue.series(series().id()).await.unwrap().unwrap();
    assert_eq!((record.enqueued, record.round.unwrap().cursor.as_deref()), (100, Some("k")));
    bench.check();
}
