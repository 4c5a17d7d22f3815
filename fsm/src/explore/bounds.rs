//! Which data and times the walk tries, and when two machines count as one state.
//!
//! - Data: of a grant only its lease matters (the current one, one that is gone, one not yet heard of); of a segment
//!   whether it is the last, makes a checkpoint due, and leaves a rest that fits the budget.
//! - Time: events come at once, signals also just past the repetition window, and ticks at each instant that the
//!   machine waits for, in any order. Chance is 0: it only moves instants.
//! - Two machines are one state when they stand in the same leaf and differ only in numbers that lead to no other
//!   decision: ids, nonces, counters, how far away a pending instant is, how many tries there were after the first.
//!   The first machine found stands for the others.
//!
//! So the walk visits every class of states, and within a class one representative: it finds broken rules of logic;
//! arithmetic is for the property tests of `policy` and random walks.

use crate::event::{ClaimAnswer, CommitAnswer, ConvertAnswer, Event, Grant, Input, Mode, Signal};
use crate::id::{Epoch, Generation, JobId, RequestId};
use crate::machine::{Machine, Pursuit, Stop, Worker};
use crate::policy::{self, REPEAT_WINDOW_MS, Settings};
use alloc::vec;
use alloc::vec::Vec;

/// How long a renewal permits writing.
const RENEWAL_MS: u64 = 8_000;
/// A kill is told of that comes so soon, or at once.
const SHORT_GRACE_MS: u64 = 4_000;
/// An answer with this id is one to nothing in flight.
const STRAY: RequestId = RequestId(u64::MAX);

/// The settings walked: the default, in which SIGTERM interrupts at once unless the rest fits, and one in which it
/// lets the job run on for a while.
pub(super) fn settings() -> [Settings; 2] {
    let patient = Settings { shutdown_timeout_ms: 3_000, finish_if_fits: false, ..Settings::default() };
    [Settings::default(), patient]
}

/// All events tried in this state.
pub(super) fn events(machine: &Machine) -> Vec<Event> {
    let worker = machine.worker();
    let now_ms = worker.now_ms;
    let mut all = Vec::new();
    let mut at = |at_ms: u64, input: Input| all.push(Event { at_ms, dice: 0, input });
    for signal in [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1] {
        at(now_ms, Input::Signal(signal));
        at(now_ms + REPEAT_WINDOW_MS + 1, Input::Signal(signal));
    }
    for mode in [Mode::Finish, Mode::Interrupt, Mode::Abort] {
        at(now_ms, Input::Drain(mode));
    }
    for left_ms in [0, SHORT_GRACE_MS] {
        at(now_ms, Input::TimeLeft { left_ms, reserve_ms: SHORT_GRACE_MS / 2 });
    }
    at(now_ms, Input::Tick);
    for instant in instants(worker).into_iter().flatten().filter(|instant| *instant > now_ms) {
        at(instant, Input::Tick);
    }
    let newest = newest_lease(worker);
    for generation in [newest.0.saturating_sub(1), newest.0, newest.0 + 1].map(Generation) {
        at(now_ms, Input::LeaseRenewed { generation, write_until_ms: now_ms + RENEWAL_MS });
        at(now_ms, Input::LeaseLost { generation });
    }
    let held = worker.held.as_ref().map_or((JobId([0; 16]), Epoch(0)), |held| (held.job, held.epoch));
    at(now_ms, Input::CancelRequested { job: held.0, epoch: held.1 });
    at(now_ms, Input::CancelRequested { job: held.0, epoch: Epoch(held.1.0 + 1) });
    at(now_ms, Input::WorkMayWait);
    answers(machine, |input| at(now_ms, input));
    all
}

/// All answers to what is in flight, and one stray answer of each kind.
fn answers(machine: &Machine, mut tell: impl FnMut(Input)) {
    let flight = machine.in_flight();
    for id in [Some(STRAY), flight.claim].into_iter().flatten() {
        claim_answers(machine.worker())
            .into_iter()
            .for_each(|answer| tell(Input::ClaimAnswered { id, answer }));
    }
    for id in [Some(STRAY), flight.convert].into_iter().flatten() {
        convert_answers().into_iter().for_each(|answer| tell(Input::ConvertAnswered { id, answer }));
    }
    for id in [Some(STRAY), flight.commit].into_iter().flatten() {
        commit_answers().into_iter().for_each(|answer| tell(Input::CommitAnswered { id, answer }));
    }
    for id in [Some(STRAY), flight.release].into_iter().flatten() {
        commit_answers().into_iter().for_each(|answer| tell(Input::ReleaseAnswered { id, answer }));
    }
}

fn claim_answers(worker: &Worker) -> Vec<ClaimAnswer> {
    let newest = newest_lease(worker).0;
    let number = worker.tally.owned;
    let mut job = [0; 16];
    job[0] = u8::from(number.is_multiple_of(2));
    let grant = |generation| Grant {
        job: JobId(job),
        epoch: Epoch(number + 1),
        generation: Generation(generation),
        segments_done: 0,
    };
    let mut all = vec![
        ClaimAnswer::Empty,
        ClaimAnswer::Unknown,
        ClaimAnswer::Unavailable,
        ClaimAnswer::Lost,
        ClaimAnswer::Fault,
    ];
    for generation in [newest.saturating_sub(1), newest, newest + 1] {
        all.push(ClaimAnswer::Won(grant(generation)));
    }
    all
}

fn convert_answers() -> Vec<ConvertAnswer> {
    let durable = |frames, elapsed_ms, remaining| ConvertAnswer::Durable { frames, elapsed_ms, remaining };
    vec![
        durable(1, 100, 1),
        durable(1, 60_000, 1),
        durable(100, 100, 1),
        durable(100, 60_000, 1),
        durable(1, 100, 0),
        ConvertAnswer::Transient,
        ConvertAnswer::Permanent,
        ConvertAnswer::Cancelled,
        ConvertAnswer::Fault,
    ]
}

fn commit_answers() -> [CommitAnswer; 5] {
    [
        CommitAnswer::Committed,
        CommitAnswer::Unknown,
        CommitAnswer::Unavailable,
        CommitAnswer::Lost,
        CommitAnswer::Fault,
    ]
}

/// The newest lease heard of, or the one before the first.
fn newest_lease(worker: &Worker) -> Generation {
    let held = worker.held.as_ref().map(|held| held.generation);
    worker.lease.confirmed.max(worker.lease.lost).max(held).unwrap_or(Generation(1))
}

/// Every instant that could matter, due or not.
fn instants(worker: &Worker) -> [Option<u64>; 10] {
    let due = |pursuit: Option<&Pursuit>| pursuit.and_then(Pursuit::due_ms);
    [
        Some(worker.next_poll_ms),
        Some(worker.lease.write_until_ms),
        due(worker.claim.as_ref().map(|intent| &intent.pursuit)),
        due(worker.commit.as_ref().map(|intent| &intent.pursuit)),
        due(worker.release.as_ref().map(|intent| &intent.pursuit)),
        worker.farewell_cap_ms(),
        worker.stop.as_ref().and_then(|stop| stop.finish_until_ms),
        worker.cut_at_ms(),
        worker.force_at_ms(),
        worker.held.as_ref().map(|held| held.checkpointed_at_ms + worker.settings.checkpoint_interval_ms),
    ]
}

/// What tells two states apart.
pub(super) type Key = Vec<u8>;

fn stop_key(stop: &Stop, now_ms: u64) -> [u8; 6] {
    let waits = stop.finish_until_ms.is_some_and(|at| at > now_ms);
    let repeats = policy::is_repetition(stop.last_counted_ms, now_ms);
    let flags = [stop.clock_ms.is_some(), waits, repeats, stop.kill.is_some()].map(u8::from);
    let [runs, waits, repeats, kill] = flags;
    [stop.mode as u8, runs, waits, stop.counted, repeats, kill]
}

/// The class of a machine: see the top of this file.
pub(super) fn key(machine: &Machine) -> Key {
    let worker = machine.worker();
    let now_ms = worker.now_ms;
    let pursuit = |pursuit: &Pursuit| match pursuit {
        Pursuit::Due { at_ms } => 1 + u8::from(*at_ms <= now_ms),
        Pursuit::InFlight { .. } => 3,
    };
    let mut key =
        vec![machine.leaf() as u8, worker.exit.map_or(9, |exit| exit as u8), u8::from(worker.faulted)];
    let lease = &worker.lease;
    let held_lease = worker.held.as_ref().map(|held| held.generation);
    key.push(
        u8::from(lease.ever) | u8::from(lease.lost.is_some()) << 1 | u8::from(lease.confirmed.is_some()) << 2,
    );
    key.push(u8::from(lease.confirmed.is_some_and(|lease_| lease.permits(lease_, now_ms))));
    key.push(u8::from(held_lease.is_some() && held_lease == lease.confirmed));
    if let Some(held) = &worker.held {
        let rest_ms = policy::predicted_rest_ms(held.pace_ms, held.remaining, worker.commit_ms);
        key.extend([
            1,
            u8::from(held.segments_durable > held.segments_done),
            held.remaining.map_or(2, |rest| u8::from(rest > 0)),
            u8::from(held.cancel_requested),
            held.giving_back.map_or(9, |why| why as u8),
            u8::from(worker.checkpoint_due()),
            u8::from(policy::fits(&worker.settings, rest_ms)),
        ]);
    }
    key.push(100);
    key.extend(
        worker
            .claim
            .iter()
            .flat_map(|claim| [pursuit(&claim.pursuit), u8::from(claim.resolving), u8::from(claim.outdated)]),
    );
    key.push(101);
    key.extend(
        worker.convert.iter().flat_map(|convert| [pursuit(&convert.pursuit), u8::from(convert.cancelled)]),
    );
    key.push(102);
    key.extend(worker.commit.iter().flat_map(|commit| {
        let first = commit.attempt == 0;
        [pursuit(&commit.pursuit), u8::from(commit.completes), u8::from(commit.unknown), u8::from(first)]
    }));
    key.push(103);
    key.extend(worker.release.iter().flat_map(|release| {
        let why = release.hand_back.as_ref().map_or(9, |back| back.why as u8);
        let first = release.attempt == 0;
        [
            pursuit(&release.pursuit),
            why,
            u8::from(release.farewell),
            u8::from(release.unknown),
            u8::from(first),
        ]
    }));
    key.push(104);
    key.extend(worker.stop.iter().flat_map(|stop| stop_key(stop, now_ms)));
    key.push(u8::from(worker.next_poll_ms > now_ms));
    key
}
