//! A kill that is told of: it bounds every budget of a stop, moves nothing away, and means nothing to who is not stopping.

use super::*;

/// A deleted pod's word: the kill comes in so many ms, and a checkpoint and a release take 1 s.
fn left(left_ms: u64) -> Input {
    Input::TimeLeft { left_ms, reserve_ms: 1_000 }
}

fn reason(rig: &Rig) -> Option<Disposition> {
    rig.machine.last_disposition()
}

#[test]
fn a_short_grace_cuts_the_segment_in_time_to_hand_the_job_back() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).at(100).input(left(4_900));
    assert_eq!((rig.machine.cut_at_ms(), rig.machine.force_at_ms()), (Some(4_000), Some(4_250)));
    assert_eq!(rig.machine.wake_at_ms(), Some(4_000));
    rig.tick_at(4_000).shows("Finishing", &["CancelConvert"]);
    rig.convert(ConvertAnswer::Cancelled).shows("Finishing > Releasing", &["Release"]);
    rig.release(CommitAnswer::Committed);
    assert_eq!((rig.machine.exit(), rig.machine.tally().released), (Some(Exit::Clean), 1));
}

#[test]
fn it_leaves_before_the_kill_with_a_code_that_says_so() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).input(left(4_900)).tick_at(4_150);
    assert_eq!(rig.machine.exit(), Some(Exit::LeftToLease));
}

#[test]
fn a_long_grace_lengthens_nothing() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).input(left(600_000));
    assert_eq!((rig.machine.cut_at_ms(), rig.machine.force_at_ms()), (Some(25_000), Some(30_000)));
}

#[test]
fn a_kill_only_comes_nearer() {
    let mut rig = Rig::processing();
    rig.signal(Signal::Term).input(left(10_000)).input(left(20_000));
    assert_eq!(reason(&rig), Some(Disposition::Ignored(Reason::NoSooner)));
    assert_eq!(rig.machine.cut_at_ms(), Some(9_000));
    rig.input(left(5_000));
    assert_eq!((rig.machine.cut_at_ms(), rig.machine.force_at_ms()), (Some(4_000), Some(4_250)));
}

#[test]
fn a_job_that_fitted_the_budget_may_not_fit_the_time_left() {
    let mut rig = Rig::processing();
    // 60 segments of 100 ms each: 6 s and its completion.
    rig.durable(60).signal(Signal::Term);
    assert_eq!(rig.machine.mode(), Some(Mode::Finish));
    let mut short = Rig { machine: rig.machine.clone(), now_ms: rig.now_ms, effects: Effects::new() };
    rig.input(left(20_000));
    assert_eq!(rig.machine.mode(), Some(Mode::Finish), "it still fits");
    short.input(left(5_000));
    assert_eq!(short.machine.mode(), Some(Mode::Interrupt), "the segment in flight is the last");
}

#[test]
fn whoever_is_not_stopping_does_not_stop_for_it() {
    let mut rig = Rig::processing();
    rig.input(left(1)).shows("Processing", &[]);
    assert_eq!(reason(&rig), Some(Disposition::Ignored(Reason::NotStopping)));
    rig.signal(Signal::Term);
    assert_eq!(rig.machine.cut_at_ms(), Some(25_000));
}

#[test]
fn it_bounds_a_drain_by_name_too() {
    let mut rig = Rig::processing();
    rig.input(Input::Drain(Mode::Finish));
    assert_eq!(rig.machine.force_at_ms(), None);
    rig.input(left(3_000));
    assert_eq!((rig.machine.cut_at_ms(), rig.machine.force_at_ms()), (Some(2_000), Some(2_250)));
}

#[test]
fn no_time_left_ends_it_in_that_step() {
    let mut idle = Rig::new();
    idle.renewed().claim(ClaimAnswer::Empty).signal(Signal::Term).input(left(0));
    assert_eq!(idle.machine.exit(), Some(Exit::Clean));
    let mut holding = Rig::processing();
    holding.signal(Signal::Term).input(left(0));
    assert_eq!(holding.machine.exit(), Some(Exit::LeftToLease));
}
