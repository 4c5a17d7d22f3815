//! F1–F12: the numbered rules of the machine, each a predicate over one step.
//!
//! The same predicates are used by unit tests, the explorer, random walks and the running worker. They judge from
//! the outside: by what the machine shows, the event, and the effects; they share no decision with it.

use crate::effect::{Effect, Exit, Family, HandBackReason, Leaf};
use crate::event::{ClaimAnswer, CommitAnswer, ConvertAnswer, Event, Input, Mode, Signal};
use crate::id::RequestId;
use crate::machine::{Disposition, Machine};
use core::fmt;

/// A rule broken by a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Which rule: `F1` to `F12`.
    pub rule: &'static str,
    /// What was seen.
    pub what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

impl core::error::Error for Violation {}

/// One rule.
pub type Rule = fn(&Machine, &Event, &Machine, &[Effect]) -> Result<(), Violation>;

/// All of them, in order.
pub const RULES: [Rule; 12] = [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12];

/// Checks one step against all rules: the machine before it, the event, the machine after it, its effects.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_step(
    before: &Machine,
    event: &Event,
    after: &Machine,
    effects: &[Effect],
) -> Result<(), Violation> {
    RULES.iter().try_for_each(|rule| rule(before, event, after, effects))
}

fn hold(rule: &'static str, what: &'static str, holds: bool) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, what }) }
}

/// 0 working, 1 draining, 2 releasing after a stop, 3 exited.
fn rank(machine: &Machine) -> u8 {
    match machine.leaf() {
        Leaf::Idle | Leaf::Claiming | Leaf::Processing | Leaf::Checkpointing => 0,
        Leaf::Releasing if machine.mode().is_none() => 0,
        Leaf::AwaitingClaim | Leaf::Finishing | Leaf::Saving => 1,
        Leaf::Releasing => 2,
        Leaf::Exited => 3,
    }
}

fn is_stop(event: &Event) -> bool {
    matches!(event.input, Input::Signal(_) | Input::Drain(_))
}

/// The request that an event answers.
fn answered(event: &Event) -> Option<(RequestId, Family)> {
    match event.input {
        Input::ClaimAnswered { id, .. } => Some((id, Family::Claim)),
        Input::ConvertAnswered { id, .. } => Some((id, Family::Convert)),
        Input::CommitAnswered { id, .. } => Some((id, Family::Commit)),
        Input::ReleaseAnswered { id, .. } => Some((id, Family::Release)),
        _ => None,
    }
}

const FAMILIES: [Family; 4] = [Family::Claim, Family::Convert, Family::Commit, Family::Release];

/// F1: a stop event leads every working leaf into Draining in that very step.
///
/// # Errors
/// The violation.
pub fn f1(before: &Machine, event: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    let applies = is_stop(event) && rank(before) == 0;
    let draining = [Leaf::AwaitingClaim, Leaf::Finishing, Leaf::Saving];
    let through = after.trail().iter().any(|leaf| draining.contains(leaf));
    hold("F1", "a stop event did not lead into draining", !applies || (through && rank(after) >= 1))
}

/// F2: after a stop event no claim is ever emitted.
///
/// # Errors
/// The violation.
pub fn f2(_: &Machine, _: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    let claims = effects.iter().any(|effect| matches!(effect, Effect::Claim { .. }));
    hold("F2", "a claim was emitted after a stop", !claims || after.mode().is_none())
}

/// F3: neither the rank nor the mode ever falls, and an exit stays what it is.
///
/// # Errors
/// The violation.
pub fn f3(before: &Machine, _: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    hold("F3", "the rank fell", rank(after) >= rank(before))?;
    hold("F3", "the mode fell", after.mode() >= before.mode())?;
    hold("F3", "an exit was taken back", before.exit().is_none() || before.exit() == after.exit())
}

/// F4: every epoch owned ends in exactly one way.
///
/// # Errors
/// The violation.
pub fn f4(before: &Machine, event: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    let open = |machine: &Machine| u64::from(machine.held().is_some() && machine.exit().is_none());
    let balanced = |machine: &Machine| machine.tally().owned == machine.tally().ended() + open(machine);
    hold("F4", "an epoch owned has no end, or two", balanced(after))?;
    let same = before.held().map(|held| held.epoch) == after.held().map(|held| held.epoch);
    let ended = after.tally().ended() - before.tally().ended();
    let exited = before.exit().is_none() && after.exit().is_some();
    // A claim of unknown outcome may have made an epoch of ours: it is asked after, or left to its lease.
    if let Input::ClaimAnswered { id, answer: ClaimAnswer::Unknown } = event.input
        && before.in_flight().claim == Some(id)
        && before.exit().is_none()
    {
        let asks = matches!(after.leaf(), Leaf::Claiming | Leaf::AwaitingClaim);
        hold(
            "F4",
            "a claim of unknown outcome was forgotten",
            asks || after.exit() == Some(Exit::LeftToLease),
        )?;
    }
    hold("F4", "an epoch in hand was ended", !same || ended == 0 || exited || before.held().is_none())
}

/// F5: a clean exit owns nothing and has nothing in flight; only a farewell without a job may have been given up.
///
/// # Errors
/// The violation.
pub fn f5(before: &Machine, event: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    if after.exit() == Some(Exit::Clean) {
        hold("F5", "a clean exit owns a job", after.held().is_none())?;
        hold("F5", "a clean exit has an effect in flight", after.in_flight().is_empty())?;
    }
    if before.exit().is_none() && after.exit() == Some(Exit::Clean) {
        let open = |family: &Family| {
            before.in_flight().get(*family).is_some_and(|id| answered(event) != Some((id, *family)))
        };
        let forgotten =
            FAMILIES.iter().filter(|family| open(family)).any(|family| *family != Family::Release);
        hold("F5", "a clean exit forgot an effect in flight", !forgotten)?;
        hold("F5", "a clean exit gave up a job", before.held().is_none() || !open(&Family::Release))?;
    }
    let says = effects.iter().any(|effect| matches!(effect, Effect::Exit { .. }));
    hold("F5", "an exit was not said once", says == (before.exit() != after.exit()))
}

/// F6: at most one effect of each family is in flight, and each answer matches one request.
///
/// # Errors
/// The violation.
pub fn f6(before: &Machine, event: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    for family in FAMILIES {
        let mut emitted = effects.iter().filter_map(Effect::request).filter(|(_, of)| *of == family);
        let (first, second) = (emitted.next(), emitted.next());
        let was = before.in_flight().get(family);
        let now = after.in_flight().get(family);
        let free = was.is_none_or(|id| answered(event) == Some((id, family)));
        hold("F6", "two requests of one family in one step", second.is_none())?;
        match first {
            Some((id, _)) => {
                hold("F6", "a request was made over one in flight", free)?;
                hold("F6", "a request made is not awaited", now == Some(id))?;
            }
            None => {
                // After the exit nothing is heard any more.
                let open = now == was && (!free || before.exit().is_some());
                hold("F6", "an awaited answer was not asked for", now.is_none() || open)?;
                // Only its answer ends a request; but a farewell may be given up (F5 says when).
                let given_up = family == Family::Release && after.exit() == Some(Exit::Clean);
                hold("F6", "a request in flight was forgotten", now.is_some() || free || given_up)?;
            }
        }
    }
    if let Some((id, family)) = answered(event)
        && before.in_flight().get(family) != Some(id)
    {
        let ignored = matches!(after.last_disposition(), Some(Disposition::Ignored(_)));
        hold("F6", "an answer to nothing in flight was heard", ignored)?;
    }
    Ok(())
}

/// F7: the lease is renewed until nothing is owned, and the heartbeat is cleared only together with what is in hand.
///
/// # Errors
/// The violation.
pub fn f7(before: &Machine, event: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    let stops = effects.iter().any(|effect| matches!(effect, Effect::StopRenewing));
    if stops {
        let claim = before.in_flight().claim;
        let known = claim.is_none_or(|id| answered(event) == Some((id, Family::Claim)));
        hold("F7", "renewal was stopped over a job in hand", after.held().is_none())?;
        hold("F7", "renewal was stopped over an unknown claim", known && after.in_flight().claim.is_none())?;
        hold("F7", "renewal was stopped before the exit", after.exit().is_some())?;
    }
    for effect in effects {
        if let Effect::Release { hand_back, farewell: Some(_), .. } = effect {
            let same = hand_back.as_ref().map(|back| (back.job, back.epoch))
                == after.held().map(|held| (held.job, held.epoch));
            hold("F7", "the heartbeat was cleared without what is in hand", same && after.mode().is_some())?;
        }
    }
    Ok(())
}

/// F8: no conversion, checkpoint or completion is begun of an epoch whose lease is lost, nor at or after the instant
/// at which writing stops.
///
/// # Errors
/// The violation.
pub fn f8(before: &Machine, event: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    if let (Input::LeaseLost { generation }, None) = (&event.input, before.exit()) {
        let kept = after.held().is_some_and(|held| held.generation <= *generation);
        hold("F8", "a job outlived its lease", !kept || after.exit().is_some())?;
    }
    for effect in effects {
        let of = match effect {
            Effect::Convert { job, epoch, .. }
            | Effect::Checkpoint { job, epoch, .. }
            | Effect::Complete { job, epoch, .. } => (*job, *epoch),
            Effect::Release { hand_back: Some(back), .. } => (back.job, back.epoch),
            _ => continue,
        };
        let held = after.held();
        hold("F8", "a write of an epoch not in hand", held.map(|held| (held.job, held.epoch)) == Some(of))?;
        let permitted = held.is_some_and(|held| after.may_write_at(held.generation, event.at_ms));
        hold("F8", "a write that the lease does not permit", permitted)?;
    }
    Ok(())
}

/// F9: the checkpoint of a job never moves back, and never passes what is durable.
///
/// # Errors
/// The violation.
pub fn f9(before: &Machine, _: &Event, after: &Machine, effects: &[Effect]) -> Result<(), Violation> {
    if let (Some(old), Some(new)) = (before.held(), after.held())
        && (old.job, old.epoch) == (new.job, new.epoch)
    {
        hold("F9", "a checkpoint moved back", new.segments_done >= old.segments_done)?;
    }
    if let Some(held) = after.held() {
        hold("F9", "a checkpoint passed what is durable", held.segments_done <= held.segments_durable)?;
        let sound = effects.iter().all(|effect| match effect {
            Effect::Checkpoint { segments_done, .. } | Effect::Complete { segments_done, .. } => {
                (held.segments_done..=held.segments_durable).contains(segments_done)
            }
            Effect::Convert { segment, .. } => *segment == held.segments_durable,
            _ => true,
        });
        hold("F9", "a commit or conversion that does not follow from what is durable", sound)?;
    }
    // The boundary that is saved is the boundary that is stopped at.
    let begun = effects.iter().any(|effect| matches!(effect, Effect::Convert { .. }));
    let goes_on = after.mode().is_none_or(|mode| mode == Mode::Finish);
    hold("F9", "a conversion was begun past the boundary to stop at", !begun || goes_on)?;
    Ok(())
}

/// F10: only an answer that says so makes an attempt a failed one; an interruption never does.
///
/// # Errors
/// The violation.
pub fn f10(before: &Machine, event: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    let failed = |machine: &Machine| {
        let why = machine.giving_back();
        matches!(why, Some(HandBackReason::FailedTransient | HandBackReason::FailedPermanent))
    };
    let failure = match &event.input {
        Input::ConvertAnswered { answer, .. } => match answer {
            ConvertAnswer::Durable { .. } => false,
            // What was told to stop may say so as it likes.
            ConvertAnswer::Transient | ConvertAnswer::Cancelled => !before.is_cancelling(),
            ConvertAnswer::Permanent | ConvertAnswer::Fault => true,
        },
        Input::CommitAnswered { answer, .. } => *answer == CommitAnswer::Fault,
        _ => false,
    };
    hold("F10", "an attempt failed without a failure", !failed(after) || failed(before) || failure)?;
    let counted = after.tally().failed > before.tally().failed;
    hold("F10", "a failed attempt was counted for another reason", !counted || failed(before))
}

/// F11, as far as one step shows it: at the force deadline, or at the third signal, any event ends it; and before,
/// the machine asks to be woken no later than that deadline. [`crate::explore`] shows the rest.
///
/// # Errors
/// The violation.
pub fn f11(before: &Machine, event: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    let due = before.force_at_ms().is_some_and(|at| at <= event.at_ms);
    hold("F11", "the force deadline did not end it", !due || after.exit().is_some())?;
    let later = before.force_at_ms().zip(after.force_at_ms()).is_some_and(|(was, is)| is > was);
    hold("F11", "the force deadline moved away", !later)?;
    let wake = after.wake_at_ms();
    hold("F11", "a wake-up in the past", wake.is_none_or(|at| at > event.at_ms))?;
    if let (Some(force), None) = (after.force_at_ms(), after.exit()) {
        hold("F11", "no wake-up before the force deadline", wake.is_some_and(|at| at <= force))?;
    }
    // A harder stop than `Finish` always runs against the clock.
    let bounded = after.mode().is_none_or(|mode| mode == Mode::Finish) || after.force_at_ms().is_some();
    let signal = matches!(event.input, Input::Signal(Signal::Term | Signal::Int | Signal::Hup));
    hold("F11", "a stop without a deadline", bounded && (!signal || after.force_at_ms().is_some()))
}

/// F12: every event is handled, ignored by name or counted as a fault; what is ignored or faulty is counted.
///
/// # Errors
/// The violation.
pub fn f12(before: &Machine, _: &Event, after: &Machine, _: &[Effect]) -> Result<(), Violation> {
    let ignored = after.counters().ignored - before.counters().ignored;
    let faults = after.counters().faults - before.counters().faults;
    let counted = match after.last_disposition() {
        None => return hold("F12", "an event fell through", false),
        Some(Disposition::Handled) => (0, 0),
        Some(Disposition::Ignored(_)) => (1, 0),
        Some(Disposition::Fault(_)) => (0, 1),
    };
    hold("F12", "an event was not counted by what became of it", (ignored, faults) == counted)
}
