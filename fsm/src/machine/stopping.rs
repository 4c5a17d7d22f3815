//! How hard to stop, and what is due in each leaf of Stopping.
//!
//! The mode only rises: by stop events, by time, and by a fault of the machine. No leaf here ever leads back to
//! Active, but for a release that was begun before anybody asked to stop.

use super::data::{End, Kill, Stop, Worker};
use super::disposition::Reason;
use super::hierarchy::Context;
use crate::effect::{Cause, Effect, Exit, HandBackReason, Leaf};
use crate::event::{Mode, Signal};
use crate::policy::{self, EXIT_MARGIN_MS};
use statig::Outcome::{self, Handled, Transition};

impl Stop {
    fn new(cause: Cause, met: Leaf, asked_at_ms: u64) -> Self {
        Self {
            cause,
            met,
            mode: Mode::Finish,
            asked_at_ms,
            clock_ms: None,
            finish_until_ms: None,
            counted: 0,
            last_counted_ms: None,
            forced: false,
            kill: None,
        }
    }

    fn raise(&mut self, mode: Mode) {
        self.mode = self.mode.max(mode);
    }
}

impl Kill {
    fn nearer(self, other: Self) -> Self {
        Self {
            cut_by_ms: self.cut_by_ms.min(other.cut_by_ms),
            leave_by_ms: self.leave_by_ms.min(other.leave_by_ms),
        }
    }
}

impl Worker {
    /// The stop asked for, begun with this cause if it is the first.
    fn stop_or_begin(&mut self, cause: Cause, met: Leaf) -> &mut Stop {
        self.stop.get_or_insert(Stop::new(cause, met, self.now_ms))
    }

    /// Starts the budgets, once.
    fn start_clock(&mut self) {
        let now_ms = self.now_ms;
        if let Some(stop) = &mut self.stop {
            stop.clock_ms.get_or_insert(now_ms);
        }
    }

    pub(super) fn on_signal(&mut self, signal: Signal, context: &mut Context) -> Outcome<Leaf> {
        let (now_ms, first) = (self.now_ms, self.stop.is_none());
        let cause = match signal {
            Signal::Usr1 if first => {
                self.stop_or_begin(Cause::Usr1, context.leaf());
                return context.handled();
            }
            Signal::Usr1 => return context.ignored(Reason::AlreadyStopping),
            Signal::Term => Cause::Term,
            Signal::Int => Cause::Int,
            Signal::Hup => Cause::Hup,
        };
        let stop = self.stop_or_begin(cause, context.leaf());
        if signal != Signal::Int && policy::is_repetition(stop.last_counted_ms, now_ms) {
            return context.ignored(Reason::RepeatedSignal);
        }
        stop.last_counted_ms = Some(now_ms);
        stop.counted = stop.counted.saturating_add(1);
        let counted = stop.counted;
        self.start_clock();
        let finish_until_ms = self.finish_until_ms();
        if let Some(stop) = &mut self.stop {
            match counted {
                1 => stop.finish_until_ms = finish_until_ms,
                2 => stop.raise(Mode::Abort),
                3.. => stop.forced = true,
                0 => {}
            }
        }
        context.handled()
    }

    /// Until when the job in hand may be finished, as things stand now.
    fn finish_until_ms(&self) -> Option<u64> {
        let rest_ms = self
            .held
            .as_ref()
            .and_then(|held| policy::predicted_rest_ms(held.pace_ms, held.remaining, self.commit_ms));
        Some(policy::finish_until_ms(&self.settings, self.now_ms, self.cut_at_ms()?, rest_ms))
    }

    /// The kill to come is known. It bounds every budget, and a job that was predicted to fit may fit no more.
    pub(super) fn on_time_left(
        &mut self,
        left_ms: u64,
        reserve_ms: u64,
        context: &mut Context,
    ) -> Outcome<Leaf> {
        let now_ms = self.now_ms;
        let Some(stop) = &mut self.stop else { return context.ignored(Reason::NotStopping) };
        let before = |ms: u64| now_ms.saturating_add(left_ms.saturating_sub(ms));
        let told =
            Kill { cut_by_ms: before(reserve_ms.max(EXIT_MARGIN_MS)), leave_by_ms: before(EXIT_MARGIN_MS) };
        let nearer = stop.kill.map_or(told, |known| known.nearer(told));
        if stop.kill == Some(nearer) {
            return context.ignored(Reason::NoSooner);
        }
        stop.kill = Some(nearer);
        self.start_clock();
        let finish_until_ms = self.finish_until_ms();
        if let Some(stop) = &mut self.stop {
            let until = stop.finish_until_ms.into_iter().chain(finish_until_ms).min();
            stop.finish_until_ms = until;
        }
        context.handled()
    }

    /// By name. `Finish` has no deadline of its own as long as there is a job in hand to finish; the harder modes
    /// start the clock as a signal does. No drain by name counts as a signal.
    pub(super) fn on_drain(&mut self, mode: Mode, context: &mut Context) -> Outcome<Leaf> {
        let first = self.stop.is_none();
        let stop = self.stop_or_begin(Cause::Drain, context.leaf());
        if !first && stop.mode >= mode {
            return context.ignored(Reason::AlreadyStopping);
        }
        stop.raise(mode);
        if mode > Mode::Finish {
            self.start_clock();
        }
        context.handled()
    }

    /// The machine itself cannot work on: as hard as can be while still giving back what is in hand.
    pub(super) fn stop_by_fault(&mut self, context: &Context) {
        self.faulted = true;
        self.stop_or_begin(Cause::Fault, context.leaf()).raise(Mode::Abort);
        self.start_clock();
    }

    /// Where Draining is entered, by what is in flight.
    pub(super) fn draining_leaf(&self) -> Leaf {
        match (&self.claim, &self.commit) {
            (Some(_), _) => Leaf::AwaitingClaim,
            (None, Some(_)) => Leaf::Saving,
            (None, None) => Leaf::Finishing,
        }
    }

    /// Lets time raise the mode. Some: the force deadline has come, or a third signal.
    fn press(&mut self, context: &mut Context) -> Option<Outcome<Leaf>> {
        let now_ms = self.now_ms;
        let (cut_at_ms, force_at_ms) = (self.cut_at_ms(), self.force_at_ms());
        let stop = self.stop.as_mut()?;
        if stop.clock_ms.is_some() {
            if stop.finish_until_ms.is_some_and(|until| until <= now_ms) {
                stop.raise(Mode::Interrupt);
            }
            if cut_at_ms.is_some_and(|at| at <= now_ms) {
                stop.raise(Mode::Abort);
            }
        }
        stop.forced |= force_at_ms.is_some_and(|at| at <= now_ms);
        if !stop.forced {
            return None;
        }
        let farewell_only = self.release.as_ref().is_none_or(|release| release.hand_back.is_none());
        let nothing = self.held.is_none() && self.claim.is_none() && self.commit.is_none() && farewell_only;
        let clean = nothing && self.in_flight().convert.is_none();
        Some(self.leave(if clean { Exit::Clean } else { Exit::LeftToLease }, context))
    }

    /// A claim that was in flight is always resolved. A job won by it is given back at once, in every mode:
    /// nothing of it has begun, so there is nothing to finish.
    pub(super) fn settle_awaiting_claim(&mut self, context: &mut Context) -> Outcome<Leaf> {
        // There is no job in hand that a drain by name could wait for.
        self.start_clock();
        if let Some(forced) = self.press(context) {
            return forced;
        }
        if self.claim.is_none() {
            return self.go_releasing(HandBackReason::Interrupted);
        }
        self.pursue_claim(context);
        Handled
    }

    pub(super) fn settle_finishing(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if let Some(forced) = self.press(context) {
            return forced;
        }
        let mode = self.mode().unwrap_or(Mode::Finish);
        if self.in_flight().convert.is_some() {
            if mode == Mode::Abort || self.must_not_convert() {
                self.cancel_convert(context);
            }
            return Handled;
        }
        let Some(held) = &self.held else { return self.go_releasing(HandBackReason::Interrupted) };
        if held.giving_back.is_some() || held.cancel_requested || mode == Mode::Abort {
            return self.go_releasing(HandBackReason::Interrupted);
        }
        let unsaved = held.segments_durable > held.segments_done;
        match mode {
            Mode::Finish if !self.checkpoint_due() => {
                self.pursue_convert(context);
                Handled
            }
            Mode::Interrupt | Mode::Abort if !unsaved => self.go_releasing(HandBackReason::Interrupted),
            Mode::Finish | Mode::Interrupt | Mode::Abort => {
                self.want_commit();
                Transition(Leaf::Saving)
            }
        }
    }

    pub(super) fn settle_saving(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if let Some(forced) = self.press(context) {
            return forced;
        }
        let finish = self.mode() == Some(Mode::Finish);
        if self.mode() == Some(Mode::Abort) || self.held.as_ref().is_some_and(|held| held.cancel_requested) {
            self.drop_unsent_commit();
        }
        match (&self.commit, &self.held) {
            (Some(_), _) => {
                self.pursue_commit(context);
                Handled
            }
            (None, Some(held)) if finish && held.giving_back.is_none() && !held.cancel_requested => {
                Transition(Leaf::Finishing)
            }
            // The boundary that was saved is the boundary that is stopped at.
            (None, _) => self.go_releasing(HandBackReason::Interrupted),
        }
    }

    pub(super) fn settle_releasing(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if self.stop.is_none() {
            return self.settle_releasing_for_active(context);
        }
        // The job in hand, if any, is done with: from here on the force deadline bounds a drain by name too.
        self.start_clock();
        if let Some(forced) = self.press(context) {
            return forced;
        }
        if !self.lease.ever && self.held.is_none() && self.release.is_none() {
            // No heartbeat was ever written, so there is none to clear.
            return self.leave(Exit::Clean, context);
        }
        // Begun before the stop, not in flight and known not to have happened: made anew, with the farewell in it.
        self.release.take_if(|intent| !intent.farewell && intent.pursuit.id().is_none() && !intent.unknown);
        if self.release.is_none() {
            self.want_release();
        }
        if self.farewell_cap_ms().is_some_and(|at| at <= self.now_ms) {
            return self.leave(Exit::Clean, context);
        }
        self.pursue_release(context);
        Handled
    }

    fn settle_releasing_for_active(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if self.release.is_none() {
            if self.held.is_none() {
                return self.back_to_idle();
            }
            self.want_release();
        }
        self.pursue_release(context);
        Handled
    }

    /// The end. What is still in hand is left to its lease, which then must run out by itself.
    pub(super) fn leave(&mut self, outcome: Exit, context: &mut Context) -> Outcome<Leaf> {
        let outcome = if self.faulted { Exit::Fault } else { outcome };
        self.cancel_convert(context);
        if self.held.is_some() {
            // It stays in `held`, so that whoever logs the exit can name it.
            self.count_end(End::LeftToLease);
        } else if outcome != Exit::LeftToLease && self.claim.is_none() {
            context.effects.push(Effect::StopRenewing);
        }
        if outcome == Exit::Clean && self.release.take().is_some() {
            self.counters.given_up += 1;
        }
        self.exit = Some(outcome);
        context.effects.push(Effect::Exit { outcome });
        Transition(Leaf::Exited)
    }
}
