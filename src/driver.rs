//! The driver of one machine: the only caller of `step`.
//!
//! One OS thread a machine. It takes what happens out of the mailbox, gives it a time and a die, steps the machine,
//! judges the step by the invariants, writes it down, and hands the effects to the executor.
//!
//! Architecture Invariant: it decides nothing and does no IO but the transition log.

use crate::clock::{Clock, monotonic_ns};
use crate::executor::Executor;
use crate::metrics::Metrics;
use crate::telemetry::{self, TRANSITION};
use crate::traces::Spans;
use crate::translog::{Line, Translog};
use crate::worker::board::Board;
use crate::worker::history::Transition;
use crate::worker::mailbox::Inbox;
use crate::worker::vitals::BEAT_INTERVAL_MS;
use crate::worker::watchdog::{self, Watchdog};
use roboflow_fsm::effect::{Effects, Exit, Leaf};
use roboflow_fsm::event::Mode;
use roboflow_fsm::machine::{Disposition, Reason};
use roboflow_fsm::{Event, Input, Machine, invariant, step};
use std::sync::Arc;
use std::time::Duration;

/// How long a driver sleeps at most: it beats, so that others see that it is not stuck.
const LONGEST_WAIT: Duration = Duration::from_millis(BEAT_INTERVAL_MS);
/// A wake-up is never nearer than this: a machine that asks again and again must not spin.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// One machine, with what drives it.
#[derive(Debug)]
pub struct Driver {
    /// The process's name, for its log.
    pub worker: Arc<str>,
    /// Its number in the process, from 0.
    pub number: u32,
    /// The machine.
    pub machine: Machine,
    /// What happens to it.
    pub inbox: Inbox,
    /// What carries its effects out.
    pub executor: Executor,
    /// The process's time.
    pub clock: Clock,
    /// Where steps are written, if anywhere.
    pub translog: Option<Translog>,
    /// Where others see what it does.
    pub board: Arc<Board>,
    /// Told of the force deadline.
    pub watchdog: Watchdog,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What is exported of its jobs.
    pub spans: Spans,
    /// When the machine was asked to stop, in event time, once it was.
    pub stop_at_ms: Option<u64>,
}

impl Driver {
    /// Drives the machine until it exits.
    pub fn run(mut self) -> Exit {
        loop {
            self.board.beats(self.number, self.clock.now_ms());
            let wait = self.machine.wake_at_ms().map_or(LONGEST_WAIT, |at_ms| self.clock.until(at_ms));
            let input = self.inbox.next(wait.clamp(LEAST_WAIT, LONGEST_WAIT));
            // Woken only to beat: nothing is due, and a step would be one more line of nothing in the log.
            let only_beats = wait > LONGEST_WAIT && input.is_none();
            if only_beats {
                continue;
            }
            self.step(input.unwrap_or(Input::Tick));
            if let Some(exit) = self.machine.exit() {
                self.time_the_stop(exit);
                let _context = self.context().entered();
                tracing::info!(?exit, tally = ?self.machine.tally(), "the machine has ended");
                return exit;
            }
        }
    }

    /// What the machine's lines are said in, as it stands now.
    fn context(&self) -> tracing::Span {
        let held = self.machine.held().map(|held| (held.job, held.epoch));
        telemetry::machine(&self.worker, self.number, self.machine.leaf(), held)
    }

    fn step(&mut self, input: Input) {
        let event = Event { at_ms: self.clock.now_ms(), dice: rand::random(), input };
        let before = self.machine.clone();
        let effects = step(&mut self.machine, event.clone());
        let _context = self.context().entered();
        self.metrics.steps.inc();
        if self.machine.mode().is_some() {
            self.stop_at_ms.get_or_insert(event.at_ms);
        }
        if self.machine.last_disposition() == Some(Disposition::Ignored(Reason::LateAnswer)) {
            self.metrics.stale_answers.inc();
        }
        self.judge(&before, &event, &effects);
        self.board.stands(self.number, event.at_ms, &self.machine);
        let taken = self.board.history.stepped(self.number, event.at_ms, event.name(), &self.machine);
        taken.iter().for_each(tell);
        self.spans.stepped(event.at_ms, &before, &self.machine, &taken);
        if self.machine.exit() == Some(Exit::LeftToLease) {
            let held = self.machine.held().map(|held| (held.job, held.epoch));
            watchdog::tell_what_is_left(self.number, before.leaf(), held, before.settings().lease_ms);
        }
        self.write_down(&before, event, &effects);
        if let Some(at_ms) = self.machine.force_at_ms() {
            self.watchdog.arm(at_ms);
        }
        for effect in effects {
            self.executor.execute(effect);
        }
    }

    /// How long the stop took, by how hard it had to be in the end.
    fn time_the_stop(&self, exit: Exit) {
        let rung = match (exit, self.machine.mode()) {
            (Exit::LeftToLease, _) => "force",
            (_, Some(Mode::Abort)) => "abort",
            (_, Some(Mode::Interrupt)) => "interrupt",
            (_, Some(Mode::Finish) | None) => "finish",
        };
        let now_ms = self.clock.now_ms();
        let took_ms = now_ms.saturating_sub(self.stop_at_ms.unwrap_or(now_ms));
        self.metrics.shutdown_seconds.observe_at(rung, Duration::from_millis(took_ms));
    }

    /// The same predicates as in the tests: a violation is a panic where we develop, and counted where we run.
    fn judge(&self, before: &Machine, event: &Event, effects: &Effects) {
        if let Err(violation) = invariant::check_step(before, event, &self.machine, effects) {
            self.metrics.invariant_violations.inc();
            tracing::error!(
                %violation,
                event = event.name(),
                before = before.leaf().name(),
                after = self.machine.leaf().name(),
                "a step broke an invariant"
            );
            debug_assert!(false, "a step broke an invariant: {violation}");
        }
    }

    fn write_down(&mut self, before: &Machine, event: Event, effects: &Effects) {
        let (from, to) = (before.leaf(), self.machine.leaf());
        let names = || effects.iter().map(|effect| effect.name()).collect::<Vec<_>>();
        tracing::trace!(event = event.name(), effects = ?names(), "stepped");
        let Some(log) = &self.translog else { return };
        let line = Line {
            machine: self.number,
            name: event.name().to_owned(),
            monotonic_ns: monotonic_ns(),
            event,
            before: from,
            after: to,
            trail: self.machine.trail().to_vec(),
            disposition: self.machine.last_disposition().map(|became| became.to_string()).unwrap_or_default(),
            effects: effects.clone(),
        };
        if let Err(error) = log.step(&line) {
            tracing::error!(%error, "the transition log ends here");
            self.translog = None;
        }
    }
}

/// One line a transition. That an empty queue was looked at is no news: it is, again and again.
fn tell(taken: &Transition) {
    let Transition { number, from, to, cause, dwell_ms, .. } = *taken;
    let (from_name, to_name) = (from.name(), to.name());
    if matches!((from, to), (Leaf::Idle, Leaf::Claiming) | (Leaf::Claiming, Leaf::Idle)) {
        tracing::debug!(target: TRANSITION, number, from = from_name, to = to_name, cause, dwell_ms, "transition");
    } else {
        tracing::info!(target: TRANSITION, number, from = from_name, to = to_name, cause, dwell_ms, "transition");
    }
}
