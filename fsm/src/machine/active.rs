//! What is due in each leaf of Active, and where it goes when nothing is left to do there.
//!
//! Runs after every event, from what is known by then. A stop is none of its business.

use super::data::Worker;
use super::hierarchy::Context;
use crate::effect::{HandBackReason, Leaf};
use crate::policy;
use statig::Outcome::{self, Handled, Transition};

impl Worker {
    /// Claims when its time has come: at once after a job or the first lease, after the poll interval when the queue
    /// was empty, after a backoff when the store was away.
    pub(super) fn settle_idle(&mut self, context: &mut Context) -> Outcome<Leaf> {
        let now_ms = self.now_ms;
        let permitted = self.lease.confirmed.is_some_and(|generation| self.lease.permits(generation, now_ms));
        if !permitted || self.next_poll_ms > now_ms {
            return Handled;
        }
        self.claim(context);
        Transition(Leaf::Claiming)
    }

    pub(super) fn settle_claiming(&mut self, context: &mut Context) -> Outcome<Leaf> {
        match (&self.claim, &self.held) {
            (Some(_), _) => {
                self.pursue_claim(context);
                Handled
            }
            (None, Some(_)) => Transition(Leaf::Processing),
            (None, None) => Transition(Leaf::Idle),
        }
    }

    pub(super) fn settle_processing(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if self.in_flight().convert.is_some() {
            if self.must_not_convert() {
                self.cancel_convert(context);
            }
            return Handled;
        }
        let Some(held) = &self.held else { return self.back_to_idle() };
        if held.giving_back.is_some() || held.cancel_requested {
            return self.go_releasing(HandBackReason::Cancelled);
        }
        if self.checkpoint_due() {
            self.want_commit();
            return Transition(Leaf::Checkpointing);
        }
        self.pursue_convert(context);
        Handled
    }

    pub(super) fn settle_checkpointing(&mut self, context: &mut Context) -> Outcome<Leaf> {
        let cancel = self.held.as_ref().is_some_and(|held| held.cancel_requested);
        if cancel {
            self.drop_unsent_commit();
        }
        match (&self.commit, &self.held) {
            (Some(_), _) => {
                self.pursue_commit(context);
                Handled
            }
            (None, Some(held)) if cancel || held.giving_back.is_some() => {
                self.go_releasing(HandBackReason::Cancelled)
            }
            (None, Some(_)) => Transition(Leaf::Processing),
            (None, None) => self.back_to_idle(),
        }
    }

    /// The next claim follows at once: the poll interval is only for an empty queue.
    pub(super) fn back_to_idle(&mut self) -> Outcome<Leaf> {
        self.next_poll_ms = self.now_ms;
        self.convert = None;
        Transition(Leaf::Idle)
    }

    /// To Releasing with the reason decided before, or else with this one.
    pub(super) fn go_releasing(&mut self, otherwise: HandBackReason) -> Outcome<Leaf> {
        self.give_back(otherwise);
        self.convert = None;
        Transition(Leaf::Releasing)
    }

    /// Whether the conversion in flight must stop: its job is lost or cancelled, or the lease has lapsed.
    pub(super) fn must_not_convert(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.cancel_requested) || !self.may_write(self.now_ms)
    }

    /// Whether the boundary reached is to be committed before the next segment: by frames, by time, or since it is
    /// the last.
    pub(crate) fn checkpoint_due(&self) -> bool {
        self.held.as_ref().is_some_and(|held| {
            let elapsed_ms = self.now_ms.saturating_sub(held.checkpointed_at_ms);
            held.segments_durable > held.segments_done
                && (held.remaining == Some(0)
                    || policy::checkpoint_due(&self.settings, held.frames_since_checkpoint, elapsed_ms))
        })
    }

    /// Drops a commit that is not in flight and cannot have happened. One that may have happened is asked after
    /// first.
    pub(super) fn drop_unsent_commit(&mut self) {
        self.commit.take_if(|commit| commit.pursuit.id().is_none() && !commit.unknown);
    }
}
