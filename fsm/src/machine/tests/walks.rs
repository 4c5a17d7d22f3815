//! Random walks: any events in any order, at any times, with any numbers. Where the explorer tries every class of
//! states once, these try the arithmetic between them.

use super::*;
use crate::testing::config;
use proptest::prelude::*;

/// One choice; what it means depends on what the machine waits for.
type Choice = (u8, u8, u16, u32);

fn next(machine: &Machine, now_ms: u64, choice: Choice) -> Event {
    let (kind, arg, jump, dice) = choice;
    let flight = machine.in_flight();
    let mut at_ms = now_ms + u64::from(jump) / 64;
    let lease = Generation(1 + u32::from(arg) / 100);
    let input = match kind % 96 {
        0 => Input::Signal([Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1][usize::from(arg) % 4]),
        1 if arg >= 128 => Input::WorkMayWait,
        1 if arg < 128 => Input::Drain([Mode::Finish, Mode::Interrupt, Mode::Abort][usize::from(arg) % 3]),
        2 if arg < 128 => Input::LeaseLost { generation: lease },
        3 => {
            let of = machine.held().map_or((JOB, EPOCH), |held| (held.job, held.epoch));
            Input::CancelRequested { job: of.0, epoch: Epoch(of.1.0 + u64::from(arg > 128)) }
        }
        4 => Input::CommitAnswered { id: RequestId(u64::from(arg)), answer: commit_answer(arg) },
        5 => Input::ReleaseAnswered { id: RequestId(u64::from(arg)), answer: commit_answer(arg) },
        6..20 => Input::LeaseRenewed { generation: lease, write_until_ms: at_ms + 8_000 },
        20..30 => {
            at_ms = machine.wake_at_ms().unwrap_or(at_ms);
            Input::Tick
        }
        30..34 => {
            at_ms = now_ms + u64::from(jump);
            Input::Tick
        }
        _ => match (flight.claim, flight.convert, flight.commit, flight.release) {
            (Some(id), ..) => Input::ClaimAnswered { id, answer: claim_answer(machine, arg) },
            (_, Some(id), ..) => Input::ConvertAnswered { id, answer: convert_answer(arg, jump) },
            (_, _, Some(id), _) => Input::CommitAnswered { id, answer: commit_answer(arg) },
            (_, _, _, Some(id)) => Input::ReleaseAnswered { id, answer: commit_answer(arg) },
            (None, None, None, None) => Input::Tick,
        },
    };
    Event { at_ms, dice, input }
}

fn claim_answer(machine: &Machine, arg: u8) -> ClaimAnswer {
    let number = machine.tally().owned;
    match arg {
        0..20 => ClaimAnswer::Empty,
        20..40 => ClaimAnswer::Unknown,
        40..60 => ClaimAnswer::Unavailable,
        60..64 => ClaimAnswer::Lost,
        64..65 => ClaimAnswer::Fault,
        _ => ClaimAnswer::Won(Grant {
            job: JOB,
            epoch: Epoch(number + 1),
            generation: Generation(1 + u32::from(arg) / 100),
            segments_done: u32::from(arg % 3),
        }),
    }
}

fn convert_answer(arg: u8, jump: u16) -> ConvertAnswer {
    match arg {
        0..6 => ConvertAnswer::Transient,
        6..8 => ConvertAnswer::Permanent,
        8..10 => ConvertAnswer::Cancelled,
        10..12 => ConvertAnswer::Fault,
        _ => ConvertAnswer::Durable {
            frames: u32::from(arg),
            elapsed_ms: u64::from(jump),
            remaining: u32::from(arg % 16),
        },
    }
}

fn commit_answer(arg: u8) -> CommitAnswer {
    match arg {
        0..40 => CommitAnswer::Unknown,
        40..80 => CommitAnswer::Unavailable,
        80..90 => CommitAnswer::Lost,
        90..92 => CommitAnswer::Fault,
        _ => CommitAnswer::Committed,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_walk_keeps_every_rule_and_ends_by_its_force_deadline(
        choices in prop::collection::vec(any::<Choice>(), 1..400),
        timeout in 0u64..25_000,
        fits: bool,
    ) {
        let settings = Settings { shutdown_timeout_ms: timeout, finish_if_fits: fits, ..Settings::default() };
        prop_assert_eq!(settings.check(), Ok(()));
        let mut machine = Machine::new(settings);
        let mut now_ms = 0;
        for choice in choices {
            let event = next(&machine, now_ms, choice);
            now_ms = event.at_ms;
            walk(&mut machine, event)?;
        }
        // Then a signal and nothing but time.
        let signal = Event { at_ms: now_ms, dice: 0, input: Input::Signal(Signal::Int) };
        walk(&mut machine, signal)?;
        let force_at_ms = machine.force_at_ms();
        while let Some(at_ms) = machine.wake_at_ms() {
            prop_assert!(Some(at_ms) <= force_at_ms, "{at_ms} after {force_at_ms:?}");
            walk(&mut machine, Event { at_ms, dice: 0, input: Input::Tick })?;
        }
        prop_assert!(machine.exit().is_some());
        prop_assert_eq!(machine.tally().owned, machine.tally().ended());
    }
}

/// One step, checked, and taken once more by a machine restored from its snapshot: both do the same.
fn walk(machine: &mut Machine, event: Event) -> Result<(), TestCaseError> {
    let before = machine.clone();
    let bytes = postcard::to_allocvec(&before).unwrap();
    let mut restored: Machine = postcard::from_bytes(&bytes).unwrap();
    prop_assert_eq!(&restored, &before);
    let effects = step(machine, event.clone());
    prop_assert_eq!(&step(&mut restored, event.clone()), &effects);
    prop_assert_eq!(&restored, &*machine);
    let checked = check_step(&before, &event, machine, &effects);
    prop_assert!(checked.is_ok(), "{:?} by {:?} in {:?}", checked, event, before);
    Ok(())
}
