//! Reconciling finds what was planted: a lost release, a double completion, a stale lease. It says nothing where all is
//! well, nor of what is only under way.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what cannot be done is a failed test")]

use roboflow::fsm::effect::HandBackReason;
use roboflow::queue::invariant::AccountState;
use roboflow::queue::{Claim, End, JobRecord, Key, RECORD_VERSION, Receipt, Reconciliation, STALE_LEASE_MS};
use roboflow::store::memory::{Call, Fault};
use roboflow_proptests::queue_bench::{Bench, Worker};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;

/// Changes every record under keys of this kind, behind the queue's back.
fn edit<T: Serialize + DeserializeOwned>(bench: &Bench, is: impl Fn(&Key) -> bool, change: impl Fn(&mut T)) {
    let mut changed = 0;
    for (key, value) in bench.store.dump() {
        if !bench.queue.keys().parse(&key).is_some_and(|parsed| is(&parsed)) {
            continue;
        }
        let (version, bytes) = value.split_first().expect("a version byte");
        assert_eq!(*version, RECORD_VERSION);
        let mut record: T = postcard::from_bytes(bytes).expect("a record");
        change(&mut record);
        let bytes = postcard::to_allocvec(&record).expect("a record");
        bench.store.overwrite(key, Some([&[RECORD_VERSION], bytes.as_slice()].concat()));
        changed += 1;
    }
    assert!(changed > 0, "there was something to change");
}

/// One job that the first worker handed back, and the second holds.
struct Passed {
    bench: Bench,
    first: Worker,
    claim: Claim,
    second: Worker,
    again: Claim,
}

async fn passed() -> Passed {
    let bench = Bench::new();
    bench.submit(1).await;
    let (first, second) = (bench.worker(1).await, bench.worker(2).await);
    let claim = bench.claim(&first).await;
    bench.hand_back(&first, &claim, HandBackReason::Interrupted).await.unwrap();
    let again = bench.claim(&second).await;
    Passed { bench, first, claim, second, again }
}

async fn reconciled(bench: &Bench) -> Reconciliation {
    bench.queue.reconcile().await.unwrap()
}

async fn found(bench: &Bench) -> Vec<String> {
    reconciled(bench).await.violations.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_adds_up_is_left_alone() {
    let bench = Bench::new();
    bench.submit(4).await;
    let (first, second) = (bench.worker(1).await, bench.worker(2).await);
    let done = bench.claim(&first).await;
    bench.complete(&first, &done).await.unwrap();
    let back = bench.claim(&first).await;
    bench.hand_back(&first, &back, HandBackReason::Interrupted).await.unwrap();
    bench.claim(&second).await;
    bench.queue.release(&bench.leave_request(&first)).await.unwrap();
    let all = reconciled(&bench).await;
    assert_eq!(all.violations, []);
    let sum = all.sum();
    assert_eq!((sum.claims, sum.completes, sum.releases, all.held()), (3, 1, 1, 1));
    assert_eq!((all.accounts.jobs, all.accounts.epochs, all.forgotten()), (4, 3, 0));
    let states: Vec<_> = all.accounts.workers.iter().map(|account| account.state).collect();
    assert_eq!(states[0], AccountState::Left);
    assert!(matches!(states[1], AccountState::Registered { found: false, .. }), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_is_found() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    // As if the job had gone back without its worker's account: its lease entry is gone, the record says ready.
    for (key, _) in bench.store.dump() {
        if matches!(bench.queue.keys().parse(&key), Some(Key::Leased(..))) {
            bench.store.overwrite(key, None);
        }
    }
    let all = found(&bench).await;
    let job = claim.job.id.to_string();
    assert!(all.iter().any(|what| what.starts_with("Q1") && what.contains(&job)), "{all:#?}");
    assert!(all.iter().any(|what| what.starts_with("receipt") && what.contains("holds 0 jobs")), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_double_completion_is_found() {
    let Passed { bench, first, second, again, .. } = passed().await;
    bench.complete(&second, &again).await.unwrap();
    bench.queue.release(&bench.leave_request(&first)).await.unwrap();
    assert_eq!(found(&bench).await, [] as [String; 0]);
    // As if the first had completed it too.
    edit::<Receipt>(
        &bench,
        |key| matches!(key, Key::Receipt(_)),
        |receipt| {
            receipt.tally.releases -= 1;
            receipt.tally.completes += 1;
            receipt.ends.iter_mut().for_each(|end| end.end = End::Completed);
        },
    );
    let all = found(&bench).await;
    assert!(all.iter().any(|what| what.starts_with("Q3") && what.contains("completed 2 times")), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn one_claim_that_two_ended_is_found() {
    let Passed { bench, claim, second, again, .. } = passed().await;
    bench.hand_back(&second, &again, HandBackReason::Interrupted).await.unwrap();
    bench.queue.release(&bench.leave_request(&second)).await.unwrap();
    edit::<Receipt>(
        &bench,
        |key| matches!(key, Key::Receipt(_)),
        |receipt| {
            receipt.ends.iter_mut().for_each(|end| end.epoch = claim.epoch);
        },
    );
    let all = found(&bench).await;
    assert!(all.iter().any(|what| what.contains("ended twice")), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn more_claims_than_epochs_are_found() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.complete(&worker, &claim).await.unwrap();
    edit::<JobRecord>(&bench, |key| matches!(key, Key::Job(_)), |job| job.epoch.0 -= 1);
    let all = found(&bench).await;
    assert!(all.iter().any(|what| what.contains("workers count 1 claims, jobs 0")), "{all:#?}");
    assert!(all.iter().any(|what| what.contains("which was claimed 0 times")), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_lease_is_found_and_a_fresh_one_is_not() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    bench.claim(&worker).await;
    bench.outlive_the_lease();
    assert_eq!(
        found(&bench).await,
        [] as [String; 0],
        "it was only just now: somebody is about to take it back"
    );
    bench.store.advance(Duration::from_millis(STALE_LEASE_MS));
    let all = found(&bench).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with("lease: ") && all[0].contains("the 1 jobs it holds"), "{all:#?}");
    bench.queue.reclaim(10).await.unwrap();
    assert_eq!(found(&bench).await, [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn claims_of_receipts_that_were_removed_are_counted_as_such() {
    let bench = Bench::new();
    bench.submit(1).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    bench.complete(&worker, &claim).await.unwrap();
    bench.queue.release(&bench.leave_request(&worker)).await.unwrap();
    for (key, _) in bench.store.dump() {
        if matches!(bench.queue.keys().parse(&key), Some(Key::Receipt(_))) {
            bench.store.overwrite(key, None);
        }
    }
    let all = reconciled(&bench).await;
    assert_eq!((all.violations.len(), all.forgotten()), (0, 1));
}

/// A release that commits between two pages of one reading makes that reading look wrong; the next one does not, and it is not
/// told of.
#[tokio::test(start_paused = true)]
async fn what_only_a_commit_in_between_makes_look_wrong_is_not_told_of() {
    let bench = Bench::new();
    // More pairs than one page holds, so that the reading is not one scan.
    bench.submit(900).await;
    let worker = bench.worker(1).await;
    let claim = bench.claim(&worker).await;
    // Each page takes 10 ms: after 25 ms, with the second, the leases are read, and the ready jobs are not.
    let slow = |call| match call {
        Call::Scan => Fault::Delay(Duration::from_millis(10)),
        _ => Fault::None,
    };
    bench.store.inject(Some(Box::new(slow)));
    let (queue, begun) = (bench.queue.clone(), Instant::now());
    let reading = tokio::spawn(async move { queue.reconcile().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(25)).await;
    bench.store.inject(None);
    bench.hand_back(&worker, &claim, HandBackReason::Interrupted).await.unwrap();
    assert_eq!(reading.await.unwrap().violations, []);
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "the first reading did look wrong: {:?}",
        begun.elapsed()
    );
}
