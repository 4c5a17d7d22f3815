//! Leadership: one leader a role, by a lease with a term; what one writes that leads no more; and what does not wait for
//! a leader.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test at once")]

use roboflow::queue::{Campaign, JobStatus, LeaderRecord, Leadership, Queue, QueueError, ROLE_MAX_BYTES};
use roboflow::store::StoreTime;
use roboflow::store::memory::Fault;
use roboflow_proptests::queue_bench::{Bench, MAPPING, ROLE, UNKNOWN, Worker, batch, is_lost, recording};
use std::time::Duration;

const LEASE_MS: u64 = 10_000;

async fn campaign(queue: &Queue, number: u32) -> Campaign {
    let label = format!("scanner-{number}");
    queue.campaign(ROLE, Worker::number(number).incarnation, &label, LEASE_MS).await.unwrap()
}

async fn follows(queue: &Queue, number: u32) -> LeaderRecord {
    match campaign(queue, number).await {
        Campaign::Follows { leader, .. } => leader,
        Campaign::Leads(lead) => panic!("{lead:?}"),
    }
}

#[tokio::test]
async fn one_leads_and_the_other_is_told_who_and_until_when() {
    let bench = Bench::new();
    let first = bench.lead(1).await;
    assert_eq!((first.term, first.until.0 - first.now.0), (1, LEASE_MS));
    bench.check();
    let leader = follows(&bench.queue, 2).await;
    assert_eq!((leader.holder, leader.label.as_str()), (first.holder, "scanner-0"));
    assert_eq!(leader.until, first.until);
    bench.store.advance(Duration::from_millis(LEASE_MS));
    let renewed = bench.lead(1).await;
    assert_eq!((renewed.term, renewed.until.0), (1, bench.store.now().0 + LEASE_MS));
    follows(&bench.queue, 2).await;
    let other = bench.queue.campaign("sweeper", Worker::number(2).incarnation, "", LEASE_MS).await.unwrap();
    assert!(matches!(other, Campaign::Leads(_)), "another role is another matter: {other:?}");
    bench.check();
}

#[tokio::test]
async fn the_next_term_begins_when_the_lease_has_ended_or_the_leader_stepped_down() {
    let bench = Bench::new();
    let first = bench.lead(1).await;
    bench.store.advance(Duration::from_millis(LEASE_MS));
    follows(&bench.queue, 2).await;
    bench.store.advance(Duration::from_millis(1));
    let second = bench.lead(2).await;
    assert_eq!(second.term, 2);
    assert!(is_lost(&bench.queue.resign(&first).await), "there is nothing to step down from");
    follows(&bench.queue, 1).await;
    bench.check();
    for _ in 0..2 {
        bench.queue.resign(&second).await.unwrap();
        bench.check();
    }
    assert!(bench.queue.leader(ROLE).await.unwrap().unwrap().resigned);
    let expired = bench.queue.expire_receipts(&second, 60_000, 1).await;
    assert!(is_lost(&expired), "who stepped down writes nothing: {expired:?}");
    let third = bench.lead(1).await;
    assert_eq!((third.term, third.holder), (3, first.holder));
    bench.outlive_the_lease();
    // Nobody else came: it is a new term all the same, since its own writes of before may still be on their way.
    assert_eq!(bench.lead(1).await.term, 4);
    bench.check();
}

#[tokio::test]
async fn roles_and_leases_that_cannot_work_are_refused() {
    let bench = Bench::new();
    let holder = Worker::number(1).incarnation;
    for (role, lease_ms) in [
        ("", LEASE_MS),
        ("a b", LEASE_MS),
        ("ä", LEASE_MS),
        (&"x".repeat(ROLE_MAX_BYTES + 1), LEASE_MS),
        (ROLE, 10),
    ] {
        let result = bench.queue.campaign(role, holder, "label", lease_ms).await;
        assert!(matches!(result, Err(QueueError::Refused { .. })), "{role:?}: {result:?}");
    }
    assert!(bench.store.dump().is_empty());
}

#[tokio::test]
async fn a_campaign_of_unknown_outcome_is_settled_when_it_returns() {
    for fault in UNKNOWN {
        let bench = Bench::new();
        bench.next_commit_meets(fault);
        let lead = bench.lead(1).await;
        assert_eq!(lead.term, 1, "{fault:?}");
        bench.store.settle();
        bench.check();
        follows(&bench.queue, 2).await;
        bench.next_commit_meets(fault);
        bench.queue.resign(&lead).await.unwrap();
        bench.store.settle();
        assert_eq!(bench.lead(2).await.term, 2);
        bench.check();
    }
}

/// Everything that only a leader writes.
async fn every_write(queue: &Queue, lead: &Leadership) -> Vec<Result<(), QueueError>> {
    let id = batch(0).id;
    vec![
        queue.close_batch(lead, id).await.map(drop),
        queue.batch_swept(lead, id).await,
        queue.expire_receipts(lead, 60_000, 10).await.map(drop),
    ]
}

#[tokio::test]
async fn pitfall_36_a_paused_leader_that_wakes_writes_nothing() {
    for replaced in [false, true] {
        let bench = Bench::new();
        bench.submit(1).await;
        let paused = bench.lead(1).await;
        bench.outlive_the_lease();
        if replaced {
            bench.lead(2).await;
        }
        let before = bench.store.dump();
        for result in every_write(&bench.queue, &paused).await {
            assert!(is_lost(&result), "{result:?}");
        }
        assert!(bench.store.dump() == before, "something was written");
        assert!(bench.queue.counters().counts().fenced > 0);
    }
}

#[tokio::test]
async fn pitfall_36_a_write_on_its_way_never_lands_under_the_next_term() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.complete(&worker, &claim).await.unwrap();
    bench.queue.submit_assembly(batch(0).id).await.unwrap();
    let assembly = bench.claim(&worker).await;
    bench.complete(&worker, &assembly).await.unwrap();
    let late = bench.lead(1).await;
    let mut commits = 0;
    bench.store.inject(Some(Box::new(move |call| match call {
        roboflow::store::memory::Call::Commit { .. } => {
            commits += 1;
            if commits == 1 { Fault::UnknownLater { calls: 1_000 } } else { Fault::Unavailable }
        }
        _ => Fault::None,
    })));
    bench.queue.close_batch(&late, batch(0).id).await.unwrap_err();
    bench.store.inject(None);
    bench.outlive_the_lease();
    bench.lead(2).await;
    assert_eq!((bench.store.late(), bench.store.settle()), (1, 0));
    assert_eq!(bench.queue.batch(batch(0).id).await.unwrap().closed, None);
    bench.check();
}

#[tokio::test]
async fn pitfall_36_a_paused_leader_stops_nobody_from_taking_jobs_back() {
    let bench = Bench::new();
    bench.submit(2).await;
    let lost = bench.worker(1).await;
    let claim = bench.claim(&lost).await;
    // The leader is paused from here on, and its lease still runs.
    let paused = bench.lead(9).await;
    bench.store.advance(Duration::from_millis(LEASE_MS));
    bench.lead(9).await;
    bench.store.advance(Duration::from_millis(1));
    let other = bench.worker(2).await;
    assert!(bench.queue.leader(ROLE).await.unwrap().unwrap().until >= paused.until);
    let back = bench.queue.reclaim(10).await.unwrap();
    assert_eq!(back[0].jobs[0].job, claim.job.id);
    for _ in 0..2 {
        let claim = bench.claim(&other).await;
        bench.complete(&other, &claim).await.unwrap();
    }
    assert_eq!(roboflow::batch::assemble_due(&bench.queue).await.unwrap(), [batch(0).id]);
    bench.check();
}

#[tokio::test]
async fn old_receipts_go_and_young_ones_stay() {
    let bench = Bench::new();
    for number in 0..3 {
        let worker = bench.worker(number).await;
        bench.queue.release(&bench.leave_request(&worker)).await.unwrap();
    }
    bench.store.advance(Duration::from_secs(61));
    for number in 3..5 {
        let worker = bench.worker(number).await;
        bench.queue.release(&bench.leave_request(&worker)).await.unwrap();
    }
    let lead = bench.lead(9).await;
    let young = bench.queue.expire_receipts(&lead, 59_999, 10).await;
    assert!(matches!(young, Err(QueueError::Refused { .. })), "{young:?}");
    bench.next_commit_meets(Fault::UnknownLater { calls: 1_000 });
    assert_eq!(bench.queue.expire_receipts(&lead, 60_000, 2).await.unwrap(), 2);
    let before = bench.store.dump();
    bench.store.settle();
    assert!(bench.store.dump() == before, "what arrives late finds them gone");
    assert_eq!(bench.queue.expire_receipts(&lead, 60_000, 2).await.unwrap(), 1);
    assert_eq!(bench.queue.expire_receipts(&lead, 60_000, 2).await.unwrap(), 0);
    let left = bench.queue.receipts(None, 10).await.unwrap();
    assert!(left.iter().all(|receipt| receipt.ended == bench.store.now()));
    assert_eq!(left.len(), 2);
    bench.check();
}

#[tokio::test]
async fn pitfall_18_a_lease_ends_by_the_stores_time_alone() {
    let bench = Bench::new();
    let lead = bench.lead(1).await;
    // Whatever a process believes about its lease: the record counts.
    let believes = Leadership { now: StoreTime(0), until: StoreTime(u64::MAX), ..lead };
    bench.outlive_the_lease();
    assert!(is_lost(&bench.queue.expire_receipts(&believes, 60_000, 10).await));
    bench.check();
}

#[tokio::test]
async fn pitfall_21_a_long_job_outlives_any_number_of_machines_that_are_taken_from_under_it() {
    let bench = Bench::new();
    bench.queue.put_config(MAPPING).await.unwrap();
    bench.queue.submit(&batch(0), &[recording(0)]).await.unwrap();
    for segments in 1..=12 {
        let worker = bench.worker(segments).await;
        let claim = bench.claim(&worker).await;
        assert_eq!(claim.job.checkpoint, segments - 1);
        bench.queue.checkpoint(&worker.own(&claim), &worker.intent(), segments).await.unwrap();
        bench.outlive_the_lease();
        let back = bench.queue.reclaim(10).await.unwrap();
        assert_eq!((back[0].jobs[0].became, back[0].jobs[0].crashes), (JobStatus::Ready, segments));
        bench.check();
    }
    // The same checkpoint again is no progress, and a segment that kills every worker still ends it.
    for crashes in 2..=3 {
        let worker = bench.worker(100 + crashes).await;
        let claim = bench.claim(&worker).await;
        bench.queue.checkpoint(&worker.own(&claim), &worker.intent(), 12).await.unwrap();
        bench.outlive_the_lease();
        let back = bench.queue.reclaim(10).await.unwrap();
        let became = if crashes < 3 { JobStatus::Ready } else { JobStatus::Dead };
        assert_eq!((back[0].jobs[0].became, back[0].jobs[0].crashes), (became, 11 + crashes));
        bench.check();
    }
}
