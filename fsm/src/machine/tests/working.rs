//! Claiming, converting, checkpointing, the lease, and jobs that go back, before anybody asks to stop.

use super::*;
use crate::effect::HandBackReason;

#[test]
fn pitfall_40_claims_follow_each_other_while_there_is_work() {
    let mut rig = Rig::new();
    rig.renewed().shows("Idle > Claiming", &["Claim"]);
    rig.won().shows("Claiming > Processing", &["Convert"]);
    rig.durable(0).shows("Processing > Checkpointing", &["Complete"]);
    rig.commit(CommitAnswer::Committed).shows("Checkpointing > Idle > Claiming", &["Claim"]);
    assert_eq!((rig.machine.tally().owned, rig.machine.tally().completed), (1, 1));
    // Only an empty queue is left alone, for one poll interval at most.
    rig.claim(ClaimAnswer::Empty).shows("Claiming > Idle", &[]);
    assert_eq!(rig.machine.wake_at_ms(), Some(5_000));
    rig.tick_at(4_999).shows("Idle", &[]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::NothingDue)));
    rig.tick_at(5_000).shows("Idle > Claiming", &["Claim"]);
}

#[test]
fn work_that_may_wait_ends_the_wait_of_an_idle_machine() {
    let mut rig = Rig::new();
    rig.renewed().claim(ClaimAnswer::Empty).shows("Claiming > Idle", &[]);
    rig.at(10).input(Input::WorkMayWait).shows("Idle > Claiming", &["Claim"]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Handled));
    // Without a lease there is no claim; with it, it follows at once.
    let mut rig = Rig::new();
    rig.input(Input::WorkMayWait).shows("Idle", &[]);
    rig.renewed().shows("Idle > Claiming", &["Claim"]);
}

#[test]
fn a_claim_that_work_came_after_does_not_count_as_having_found_none() {
    let mut rig = Rig::new();
    rig.renewed().input(Input::WorkMayWait).shows("Claiming", &[]);
    rig.claim(ClaimAnswer::Empty).shows("Claiming > Idle > Claiming", &["Claim"]);
    // Once: the next one has looked later.
    rig.claim(ClaimAnswer::Empty).shows("Claiming > Idle", &[]);
    assert_eq!(rig.machine.wake_at_ms(), Some(5_000));
}

#[test]
fn work_that_may_wait_is_ignored_by_name_where_nothing_is_looked_for() {
    let mut stopped = Rig::checkpointing();
    stopped.signal(Signal::Term);
    for mut rig in [Rig::processing(), Rig::checkpointing(), stopped] {
        let before = rig.machine.leaf();
        rig.input(Input::WorkMayWait).shows(before.name(), &[]);
        assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::NotLooking)));
    }
}

#[test]
fn pitfall_39_no_second_claim_while_one_is_in_flight_or_a_job_in_hand() {
    let mut rig = Rig::new();
    rig.tick_at(10).shows("Idle", &[]);
    rig.renewed();
    for now in [11, 5_000, 7_000] {
        rig.at(now).renewed().shows("Claiming", &[]);
    }
    rig.won();
    rig.tick_at(14_000).shows("Processing", &[]);
}

#[test]
fn an_unknown_claim_is_asked_after_until_known() {
    let mut rig = Rig::new();
    rig.renewed().claim(ClaimAnswer::Unknown).shows("Claiming", &["ResolveClaim"]);
    let Effect::ResolveClaim { nonce, .. } = rig.effects[0].clone() else { panic!() };
    rig.claim(ClaimAnswer::Unavailable).shows("Claiming", &[]);
    let wake = rig.machine.wake_at_ms().unwrap();
    rig.tick_at(wake).shows("Claiming", &["ResolveClaim"]);
    assert!(matches!(rig.effects[0], Effect::ResolveClaim { nonce: again, .. } if again == nonce));
    rig.won().shows("Claiming > Processing", &["Convert"]);
}

#[test]
fn a_store_that_is_away_is_asked_with_backoff() {
    let mut rig = Rig::new();
    rig.renewed();
    let mut waits = vec![];
    for _ in 0..4 {
        rig.renewed().claim(ClaimAnswer::Unavailable).shows("Claiming > Idle", &[]);
        let wake = rig.machine.wake_at_ms().unwrap();
        waits.push(wake - rig.now_ms);
        rig.tick_at(wake).shows("Idle > Claiming", &["Claim"]);
    }
    assert_eq!(waits, [50, 100, 200, 400]);
}

#[test]
fn a_grant_of_a_lost_lease_is_lost_at_once() {
    let mut rig = Rig::new();
    rig.renewed().lost().shows("Claiming", &[]);
    rig.won().shows("Claiming > Idle", &[]);
    assert_eq!((rig.machine.tally().owned, rig.machine.tally().lost), (1, 1));
    rig.input(Input::LeaseRenewed { generation: Generation(2), write_until_ms: 8_000 });
    rig.shows("Idle > Claiming", &["Claim"]);
}

#[test]
fn segments_follow_each_other_and_are_checkpointed_when_due() {
    let mut rig = Rig::processing();
    rig.durable(9).shows("Processing", &["Convert"]);
    assert!(matches!(rig.effects[0], Effect::Convert { segment: 1, .. }));
    rig.convert(ConvertAnswer::Durable { frames: 90, elapsed_ms: 100, remaining: 8 });
    rig.shows("Processing > Checkpointing", &["Checkpoint"]);
    assert!(matches!(rig.effects[0], Effect::Checkpoint { segments_done: 2, .. }));
    rig.commit(CommitAnswer::Committed).shows("Checkpointing > Processing", &["Convert"]);
    assert!(matches!(rig.effects[0], Effect::Convert { segment: 2, .. }));
    // By time: 33 of the pitfalls bounds the loss by it.
    rig.at(7_000).renewed().at(10_000).durable(7).shows("Processing > Checkpointing", &["Checkpoint"]);
}

#[test]
fn a_commit_of_unknown_outcome_is_repeated_with_its_nonce() {
    let mut rig = Rig::checkpointing();
    let Effect::Checkpoint { nonce, id, .. } = rig.effects[0] else { panic!() };
    rig.commit(CommitAnswer::Unknown).shows("Checkpointing", &["Checkpoint"]);
    assert!(matches!(rig.effects[0], Effect::Checkpoint { nonce: n, id: i, .. } if n == nonce && i > id));
    rig.commit(CommitAnswer::Unavailable).shows("Checkpointing", &[]);
    let wake = rig.machine.wake_at_ms().unwrap();
    rig.tick_at(wake).shows("Checkpointing", &["Checkpoint"]);
    assert!(matches!(rig.effects[0], Effect::Checkpoint { nonce: n, .. } if n == nonce));
}

#[test]
fn pitfall_11_nothing_is_written_once_the_lease_has_lapsed() {
    let mut rig = Rig::processing();
    assert_eq!(rig.machine.wake_at_ms(), Some(8_000));
    rig.tick_at(8_000).shows("Processing", &["CancelConvert"]);
    rig.convert(ConvertAnswer::Cancelled).shows("Processing", &[]);
    assert_eq!(rig.machine.wake_at_ms(), None, "only a renewal moves it");
    rig.renewed().shows("Processing", &["Convert"]);
    assert_eq!(rig.machine.tally().failed, 0);
}

#[test]
fn pitfall_19_after_a_pause_the_first_event_writes_nothing() {
    // The process was stopped for a minute: the answer is there, the lease is not known to be.
    let mut rig = Rig::checkpointing();
    rig.at(60_000).commit(CommitAnswer::Unavailable).shows("Checkpointing", &[]);
    rig.tick_at(61_000).shows("Checkpointing", &[]);
    rig.lost().shows("Checkpointing > Idle", &[]);
    assert_eq!(rig.machine.tally().lost, 1);
    // Converting, the same.
    let mut rig = Rig::processing();
    rig.at(60_000).durable(3).shows("Processing > Checkpointing", &[]);
    rig.renewed().shows("Checkpointing", &["Checkpoint"]);
}

#[test]
fn pitfall_13_what_is_lost_is_neither_saved_nor_completed() {
    let mut rig = Rig::processing();
    rig.lost().shows("Processing", &["CancelConvert"]);
    assert!(rig.machine.held().is_none());
    rig.input(Input::LeaseRenewed { generation: Generation(2), write_until_ms: 9_000 })
        .shows("Processing", &[]);
    // The conversion's answer frees its family; even the last segment is not completed any more.
    rig.durable(0).shows("Processing > Idle > Claiming", &["Claim"]);
    assert_eq!((rig.machine.tally().lost, rig.machine.tally().completed), (1, 0));
}

#[test]
fn pitfall_38_a_late_answer_is_counted_and_ignored_by_name() {
    let mut rig = Rig::checkpointing();
    let id = rig.pending(Family::Commit);
    rig.commit(CommitAnswer::Lost).shows("Checkpointing > Idle > Claiming", &["Claim"]);
    rig.input(Input::CommitAnswered { id, answer: CommitAnswer::Committed }).shows("Claiming", &[]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::LateAnswer)));
    assert_eq!(rig.machine.counters().late_answers, 1);
    assert_eq!((rig.machine.tally().lost, rig.machine.tally().completed), (1, 0));
}

#[test]
fn failures_go_back_through_releasing() {
    let cases = [
        (ConvertAnswer::Transient, HandBackReason::FailedTransient, 0),
        (ConvertAnswer::Permanent, HandBackReason::FailedPermanent, 0),
        (ConvertAnswer::Cancelled, HandBackReason::FailedTransient, 1),
        (ConvertAnswer::Fault, HandBackReason::FailedTransient, 1),
    ];
    for (answer, why, faults) in cases {
        let mut rig = Rig::processing();
        rig.convert(answer).shows("Processing > Releasing", &["Release"]);
        assert_eq!(rig.hand_back().unwrap().why, why);
        assert!(matches!(rig.effects[0], Effect::Release { farewell: None, .. }));
        assert_eq!(rig.machine.counters().faults, faults);
        rig.release(CommitAnswer::Committed).shows("Releasing > Idle > Claiming", &["Claim"]);
        assert_eq!(rig.machine.tally().failed, 1);
    }
}

#[test]
fn a_cancelled_job_goes_back_as_cancelled() {
    let mut rig = Rig::processing();
    rig.input(Input::CancelRequested { job: JOB, epoch: Epoch(2) }).shows("Processing", &[]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::NotHeld)));
    rig.input(Input::CancelRequested { job: JOB, epoch: EPOCH }).shows("Processing", &["CancelConvert"]);
    rig.convert(ConvertAnswer::Transient).shows("Processing > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().why, HandBackReason::Cancelled);
    rig.release(CommitAnswer::Committed);
    assert_eq!((rig.machine.tally().failed, rig.machine.tally().released), (0, 1));
}

#[test]
fn a_claim_that_fails_for_good_ends_the_machine_as_a_fault() {
    let mut rig = Rig::new();
    rig.renewed().claim(ClaimAnswer::Fault).shows("Claiming > Finishing > Releasing", &["Release"]);
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &["StopRenewing", "Exit"]);
    assert_eq!(rig.machine.exit(), Some(Exit::Fault));
}
