//! Stop events: what each asks for, how hard, by when, and what becomes of the job in hand.

use super::*;
use crate::effect::HandBackReason;

const RELEASED: [&str; 2] = ["StopRenewing", "Exit"];

fn farewell(rig: &Rig) -> crate::effect::Farewell {
    let found = rig.effects.iter().find_map(|effect| match effect {
        Effect::Release { farewell, .. } => farewell.clone(),
        _ => None,
    });
    found.expect("a release with a farewell")
}

#[test]
fn pitfall_02_a_signal_before_the_first_lease_exits_in_that_step() {
    for signal in [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1] {
        let mut rig = Rig::new();
        rig.signal(signal).shows("Idle > Finishing > Releasing > Exited", &RELEASED);
        assert_eq!(rig.machine.exit(), Some(Exit::Clean));
    }
}

#[test]
fn an_idle_machine_says_farewell_and_exits() {
    let mut rig = Rig::new();
    rig.renewed().claim(ClaimAnswer::Empty).signal(Signal::Term);
    rig.shows("Idle > Finishing > Releasing", &["Release"]);
    assert_eq!((farewell(&rig).cause, farewell(&rig).met), (Cause::Term, Leaf::Idle));
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
}

#[test]
fn a_farewell_that_only_lacks_its_receipt_is_given_up() {
    for answered in [false, true] {
        let mut rig = Rig::new();
        rig.renewed().claim(ClaimAnswer::Empty).signal(Signal::Term);
        if answered {
            rig.release(CommitAnswer::Unavailable);
        }
        rig.tick_at(1_000).shows("Releasing > Exited", &RELEASED);
        assert_eq!((rig.machine.exit(), rig.machine.counters().given_up), (Some(Exit::Clean), 1));
    }
}

#[test]
fn pitfall_03_a_claim_in_flight_is_always_resolved() {
    let mut rig = Rig::new();
    rig.renewed().signal(Signal::Term).shows("Claiming > AwaitingClaim", &[]);
    rig.claim(ClaimAnswer::Unknown).shows("AwaitingClaim", &["ResolveClaim"]);
    rig.won().shows("AwaitingClaim > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().why, HandBackReason::Interrupted);
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
    assert_eq!(rig.machine.tally().released, 1);
}

#[test]
fn pitfall_03_a_claim_never_answered_is_left_to_the_lease() {
    let mut rig = Rig::new();
    rig.renewed().signal(Signal::Term);
    rig.tick_at(25_000).shows("AwaitingClaim", &[]);
    assert_eq!(rig.machine.mode(), Some(Mode::Abort));
    rig.tick_at(30_000).shows("AwaitingClaim > Exited", &["Exit"]);
    assert_eq!(rig.machine.exit(), Some(Exit::LeftToLease));
}

#[test]
fn term_runs_the_segment_to_its_boundary_saves_it_and_releases() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).shows("Processing > Finishing", &[]);
    assert_eq!(rig.machine.mode(), Some(Mode::Interrupt));
    rig.durable(40).shows("Finishing > Saving", &["Checkpoint"]);
    rig.commit(CommitAnswer::Committed).shows("Saving > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().segments_done, 1);
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
    assert_eq!(rig.machine.exit(), Some(Exit::Clean));
}

#[test]
fn pitfall_26_the_boundary_saved_is_the_boundary_stopped_at() {
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Term).shows("Checkpointing > Saving", &[]);
    rig.commit(CommitAnswer::Committed).shows("Saving > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().segments_done, 1);
}

#[test]
fn usr1_finishes_the_job_however_long_it_takes() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Usr1).shows("Processing > Finishing", &[]);
    for segment in 1..20u32 {
        rig.at(u64::from(segment) * 4_000).renewed();
        let remaining = 20 - segment;
        rig.convert(ConvertAnswer::Durable { frames: 100, elapsed_ms: 4_000, remaining });
        rig.shows("Finishing > Saving", &["Checkpoint"]);
        rig.commit(CommitAnswer::Committed).shows("Saving > Finishing", &["Convert"]);
    }
    rig.durable(0).shows("Finishing > Saving", &["Complete"]);
    rig.commit(CommitAnswer::Committed).shows("Saving > Releasing", &["Release"]);
    assert_eq!(rig.hand_back(), None);
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
    assert_eq!(rig.machine.tally().completed, 1);
}

#[test]
fn a_job_whose_rest_fits_is_finished() {
    // 100 ms a segment: 200 of them fit into 25 s, 300 do not.
    for (remaining, mode) in [(200, Mode::Finish), (300, Mode::Interrupt)] {
        let mut rig = Rig::processing();
        rig.durable(remaining).signal(Signal::Term).shows("Processing > Finishing", &[]);
        assert_eq!(rig.machine.mode(), Some(mode));
    }
    let mut rig = Rig::processing();
    rig.durable(200).signal(Signal::Term).durable(199).shows("Finishing", &["Convert"]);
    rig.at(7_000).renewed().at(14_000).renewed().at(21_000).renewed();
    rig.tick_at(25_000).shows("Finishing", &["CancelConvert"]);
    assert_eq!(rig.machine.mode(), Some(Mode::Abort));
}

#[test]
fn a_shutdown_timeout_lets_the_job_run_on_that_long() {
    let mut rig = Rig::with(Settings { shutdown_timeout_ms: 3_000, ..Settings::default() });
    rig.renewed().won().signal(Signal::Term);
    assert_eq!((rig.machine.mode(), rig.machine.wake_at_ms()), (Some(Mode::Finish), Some(3_000)));
    rig.at(2_999).durable(400).shows("Finishing", &["Convert"]);
    rig.tick_at(3_000).shows("Finishing", &[]);
    assert_eq!(rig.machine.mode(), Some(Mode::Interrupt));
}

#[test]
fn pitfall_06_a_repeated_term_within_two_seconds_is_one() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).at(1_999).signal(Signal::Term).shows("Finishing", &[]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::RepeatedSignal)));
    rig.at(2_000).signal(Signal::Hup);
    assert_eq!(rig.machine.mode(), Some(Mode::Interrupt));
    rig.at(2_001).signal(Signal::Term).shows("Finishing", &["CancelConvert"]);
    assert_eq!(rig.machine.mode(), Some(Mode::Abort));
    // As the third, too.
    rig.at(4_001).signal(Signal::Term).shows("Finishing", &[]);
    rig.at(4_002).signal(Signal::Term).shows("Finishing > Exited", &["Exit"]);
    assert_eq!(rig.machine.exit(), Some(Exit::LeftToLease));
}

#[test]
fn pitfall_06_int_always_escalates() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Int).signal(Signal::Int).shows("Finishing", &["CancelConvert"]);
    rig.signal(Signal::Int).shows("Finishing > Exited", &["Exit"]);
    assert_eq!(rig.machine.exit(), Some(Exit::LeftToLease));
    assert_eq!(rig.machine.held().unwrap().job, JOB, "the log can name it");
}

#[test]
fn pitfall_04_later_signals_are_heard_in_every_leaf() {
    let mut finishing = Rig::processing();
    finishing.signal(Signal::Term);
    let mut saving = Rig::checkpointing();
    saving.signal(Signal::Term);
    let mut awaiting = Rig::new();
    awaiting.renewed().signal(Signal::Term);
    let mut releasing = Rig::checkpointing();
    releasing.signal(Signal::Term).commit(CommitAnswer::Committed);
    for mut rig in [finishing, saving, awaiting, releasing] {
        rig.signal(Signal::Int);
        assert_eq!(rig.machine.mode(), Some(Mode::Abort));
        rig.signal(Signal::Int);
        assert_eq!(rig.machine.exit(), Some(Exit::LeftToLease));
    }
}

#[test]
fn pitfall_10_every_rung_is_reached_by_time_alone() {
    let mut rig = Rig::with(Settings { shutdown_timeout_ms: 5_000, ..Settings::default() });
    rig.renewed().won().signal(Signal::Term);
    let mut rungs = vec![(rig.machine.mode(), rig.machine.exit())];
    for now in [5_000, 25_000, 30_000] {
        rig.input(Input::LeaseRenewed { generation: FIRST, write_until_ms: 100_000 });
        assert_eq!(rig.machine.wake_at_ms(), Some(now));
        rig.tick_at(now);
        rungs.push((rig.machine.mode(), rig.machine.exit()));
    }
    assert_eq!(
        rungs,
        [
            (Some(Mode::Finish), None),
            (Some(Mode::Interrupt), None),
            (Some(Mode::Abort), None),
            (Some(Mode::Abort), Some(Exit::LeftToLease)),
        ]
    );
}

#[test]
fn pitfall_09_a_job_left_behind_is_never_exit_0() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).tick_at(30_000);
    assert_eq!(rig.machine.exit().unwrap().code(), 75);
    assert_eq!(rig.machine.tally().left_to_lease, 1);
    assert!(!rig.names().contains(&"StopRenewing"));
}

#[test]
fn pitfall_20_an_interruption_is_not_an_attempt() {
    // A conversion told to stop may answer with trouble of its own making.
    for answer in [ConvertAnswer::Cancelled, ConvertAnswer::Transient] {
        let mut rig = Rig::processing();
        rig.signal(Signal::Int)
            .signal(Signal::Int)
            .convert(answer)
            .shows("Finishing > Releasing", &["Release"]);
        assert_eq!(rig.hand_back().unwrap().why, HandBackReason::Interrupted);
        rig.release(CommitAnswer::Committed);
        assert_eq!((rig.machine.tally().failed, rig.machine.tally().released), (0, 1));
    }
    // A failure nobody asked for counts, also while draining.
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).convert(ConvertAnswer::Permanent);
    assert_eq!(rig.hand_back().unwrap().why, HandBackReason::FailedPermanent);
}

#[test]
fn pitfall_25_a_release_is_retried_with_its_nonce_until_the_force_deadline() {
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Term).commit(CommitAnswer::Committed);
    let Effect::Release { nonce, .. } = rig.effects[0] else { panic!() };
    let mut tries = 0;
    while rig.machine.exit().is_none() {
        match rig.machine.in_flight().release {
            Some(_) => {
                tries += 1;
                rig.release(if tries % 2 == 0 { CommitAnswer::Unknown } else { CommitAnswer::Unavailable });
            }
            None => {
                let wake = rig.machine.wake_at_ms().unwrap();
                let write_until_ms = rig.now_ms + 8_000;
                rig.input(Input::LeaseRenewed { generation: FIRST, write_until_ms });
                rig.tick_at(wake);
            }
        }
        assert!(rig.effects.iter().all(|effect| match effect {
            Effect::Release { nonce: again, .. } => *again == nonce,
            other => matches!(other, Effect::Exit { .. }),
        }));
    }
    assert_eq!((rig.machine.exit(), rig.now_ms), (Some(Exit::LeftToLease), 30_000));
    assert!(tries > 50, "{tries}");
}

#[test]
fn pitfall_37_the_exit_awaits_the_release() {
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Term).commit(CommitAnswer::Committed).shows("Saving > Releasing", &["Release"]);
    rig.tick_at(1_000).shows("Releasing", &[]);
    assert_eq!(rig.machine.exit(), None);
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
}

#[test]
fn a_release_of_a_lost_job_is_followed_by_the_farewell_alone() {
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Term).commit(CommitAnswer::Committed).release(CommitAnswer::Lost);
    rig.shows("Releasing", &["Release"]);
    assert_eq!((rig.hand_back(), farewell(&rig).met), (None, Leaf::Checkpointing));
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
    assert_eq!(rig.machine.tally().lost, 1);
}

#[test]
fn a_release_for_active_that_a_stop_meets_passes_through_draining() {
    let mut rig = Rig::processing();
    rig.convert(ConvertAnswer::Transient).signal(Signal::Term);
    rig.shows("Releasing > Finishing > Releasing", &[]);
    rig.release(CommitAnswer::Committed).shows("Releasing", &["Release"]);
    assert_eq!((rig.hand_back(), farewell(&rig).met), (None, Leaf::Releasing));
    rig.release(CommitAnswer::Committed).shows("Releasing > Exited", &RELEASED);
    // Not in flight and known not to have happened: one transaction for both.
    let mut rig = Rig::processing();
    rig.convert(ConvertAnswer::Transient).release(CommitAnswer::Unavailable).signal(Signal::Term);
    rig.shows("Releasing > Finishing > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().why, HandBackReason::FailedTransient);
    farewell(&rig);
}

#[test]
fn a_drain_by_name_raises_but_never_counts_as_a_signal() {
    let mut rig = Rig::processing();
    rig.input(Input::Drain(Mode::Finish)).shows("Processing > Finishing", &[]);
    assert_eq!(rig.machine.force_at_ms(), None);
    rig.at(1_000).input(Input::Drain(Mode::Interrupt));
    assert_eq!((rig.machine.mode(), rig.machine.force_at_ms()), (Some(Mode::Interrupt), Some(31_000)));
    rig.input(Input::Drain(Mode::Finish));
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::AlreadyStopping)));
    rig.input(Input::Drain(Mode::Abort)).shows("Finishing", &["CancelConvert"]);
    rig.signal(Signal::Int).shows("Finishing", &[]);
    rig.signal(Signal::Int).shows("Finishing", &[]);
    rig.signal(Signal::Int).shows("Finishing > Exited", &["Exit"]);
}

#[test]
fn the_end_ignores_everything_by_name() {
    let mut rig = Rig::new();
    rig.signal(Signal::Term).renewed().shows("Exited", &[]);
    assert_eq!(rig.machine.last_disposition(), Some(Disposition::Ignored(Reason::Exited)));
    assert_eq!(rig.machine.wake_at_ms(), None);
}

#[test]
fn a_commit_of_unknown_outcome_is_resolved_before_the_release() {
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Int).commit(CommitAnswer::Unknown).commit(CommitAnswer::Unknown).shows("Saving", &[]);
    rig.signal(Signal::Int).shows("Saving", &[]);
    let wake = rig.machine.wake_at_ms().unwrap();
    rig.tick_at(wake).shows("Saving", &["Checkpoint"]);
    rig.commit(CommitAnswer::Committed).shows("Saving > Releasing", &["Release"]);
    // One that is known not to have happened is not waited for.
    let mut rig = Rig::checkpointing();
    rig.signal(Signal::Int).commit(CommitAnswer::Unavailable).signal(Signal::Int);
    rig.shows("Saving > Releasing", &["Release"]);
    assert_eq!(rig.hand_back().unwrap().segments_done, 0);
}

#[test]
fn a_drain_by_name_with_nothing_to_finish_is_bounded_too() {
    let mut rig = Rig::checkpointing();
    rig.input(Input::Drain(Mode::Finish)).shows("Checkpointing > Saving", &[]);
    assert_eq!(rig.machine.force_at_ms(), None);
    rig.at(500).commit(CommitAnswer::Fault).shows("Saving > Releasing", &["Release"]);
    assert_eq!(rig.machine.force_at_ms(), Some(30_500));
    let mut rig = Rig::new();
    rig.renewed().input(Input::Drain(Mode::Finish)).shows("Claiming > AwaitingClaim", &[]);
    assert_eq!(rig.machine.force_at_ms(), Some(30_000));
}
