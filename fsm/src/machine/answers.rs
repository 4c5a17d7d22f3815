//! What an answer, the lease or a cancellation changes in what the machine knows.
//!
//! It changes facts only. Where they lead is settled afterwards, by the leaf, in `active` and `stopping`; so an
//! answer means the same whether or not the machine is being stopped.

use super::data::{CommitIntent, End, Held, Pursuit, Worker};
use super::disposition::{Fault, Reason};
use super::hierarchy::Context;
use crate::effect::{Exit, Family, HandBackReason, Leaf};
use crate::event::{ClaimAnswer, CommitAnswer, ConvertAnswer, Grant};
use crate::id::{Epoch, Generation, JobId, RequestId};
use crate::policy::{self, CLAIM_BACKOFF_CAP_MS, COMMIT_BACKOFF_CAP_MS};
use statig::Outcome::{self, Transition};

impl Worker {
    pub(super) fn awaits_claim(&self, id: RequestId) -> bool {
        self.in_flight().claim == Some(id)
    }

    pub(super) fn awaits_convert(&self, id: RequestId) -> bool {
        self.in_flight().convert == Some(id)
    }

    pub(super) fn awaits_commit(&self, id: RequestId) -> bool {
        self.in_flight().commit == Some(id)
    }

    pub(super) fn awaits_release(&self, id: RequestId) -> bool {
        self.in_flight().release == Some(id)
    }

    pub(super) fn on_claim(&mut self, answer: &ClaimAnswer, context: &mut Context) -> Outcome<Leaf> {
        let Some(mut claim) = self.claim.take() else { return context.fault(Fault::Unexpected) };
        match answer {
            ClaimAnswer::Won(grant) => self.take_in_hand(grant),
            ClaimAnswer::Empty if claim.resolving => self.claim_later(context.dice),
            ClaimAnswer::Empty if claim.outdated => {
                self.claim_failures = 0;
                self.next_poll_ms = self.now_ms;
            }
            ClaimAnswer::Empty => {
                self.claim_failures = 0;
                self.next_poll_ms =
                    self.now_ms + policy::poll_ms(self.settings.poll_interval_ms, context.dice);
            }
            ClaimAnswer::Unknown | ClaimAnswer::Unavailable
                if claim.resolving || *answer == ClaimAnswer::Unknown =>
            {
                // The claim may have happened: nothing else is begun before that is known.
                claim.resolving = true;
                claim.attempt += 1;
                let wait = match claim.attempt {
                    1 => 0,
                    attempt => policy::backoff_ms(attempt, COMMIT_BACKOFF_CAP_MS, context.dice),
                };
                claim.pursuit = Pursuit::Due { at_ms: self.now_ms + wait };
                self.claim = Some(claim);
            }
            // `Lost`: the lease thread will find out for itself; until then claims are not hammered.
            ClaimAnswer::Unknown | ClaimAnswer::Unavailable | ClaimAnswer::Lost => {
                self.claim_later(context.dice)
            }
            ClaimAnswer::Fault => {
                self.stop_by_fault(context);
                context.fault(Fault::Claim);
                return self.go_draining();
            }
        }
        context.handled()
    }

    /// There may be work after all: the poll interval, or a backoff, is cut short.
    pub(super) fn poll_at_once(&mut self, context: &mut Context) -> Outcome<Leaf> {
        self.next_poll_ms = self.now_ms;
        context.handled()
    }

    /// The claim in flight may have looked before there was work: that it found none says nothing.
    pub(super) fn outdate_claim(&mut self, context: &mut Context) -> Outcome<Leaf> {
        if let Some(claim) = &mut self.claim {
            claim.outdated = true;
        }
        context.handled()
    }

    fn claim_later(&mut self, dice: u32) {
        self.claim_failures = self.claim_failures.saturating_add(1);
        self.next_poll_ms = self.now_ms + policy::backoff_ms(self.claim_failures, CLAIM_BACKOFF_CAP_MS, dice);
    }

    fn take_in_hand(&mut self, grant: &Grant) {
        self.claim_failures = 0;
        self.next_poll_ms = self.now_ms;
        self.tally.owned += 1;
        if self.lease.is_gone(grant.generation) {
            return self.count_end(End::Lost);
        }
        self.held = Some(Held {
            job: grant.job,
            epoch: grant.epoch,
            generation: grant.generation,
            segments_done: grant.segments_done,
            segments_durable: grant.segments_done,
            remaining: None,
            cancel_requested: false,
            giving_back: None,
            frames_since_checkpoint: 0,
            checkpointed_at_ms: self.now_ms,
            pace_ms: None,
        });
    }

    pub(super) fn on_convert(&mut self, answer: &ConvertAnswer, context: &mut Context) -> Outcome<Leaf> {
        let Some(convert) = self.convert.take() else { return context.fault(Fault::Unexpected) };
        let (failure, fault) = match answer {
            ConvertAnswer::Durable { frames, elapsed_ms, remaining } => {
                if let Some(held) = &mut self.held {
                    held.segments_durable = convert.segment.saturating_add(1);
                    held.frames_since_checkpoint = held.frames_since_checkpoint.saturating_add(*frames);
                    held.remaining = Some(*remaining);
                    held.pace_ms = Some(policy::ewma_ms(held.pace_ms, *elapsed_ms));
                }
                (None, None)
            }
            // Trouble in a conversion that was told to stop is taken for its stopping: an interruption never
            // counts as a failed attempt.
            ConvertAnswer::Transient | ConvertAnswer::Cancelled if convert.cancelled => (None, None),
            ConvertAnswer::Transient => (Some(HandBackReason::FailedTransient), None),
            ConvertAnswer::Permanent => (Some(HandBackReason::FailedPermanent), None),
            ConvertAnswer::Cancelled => (Some(HandBackReason::FailedTransient), Some(Fault::UnaskedCancel)),
            ConvertAnswer::Fault => (Some(HandBackReason::FailedTransient), Some(Fault::Convert)),
        };
        if let Some(why) = failure {
            self.give_back(why);
        }
        match fault {
            Some(fault) => context.fault(fault),
            None => context.handled(),
        }
    }

    /// Decides that the job in hand goes back, and why. The first decision stands, but a cancellation asked for
    /// outweighs the failure of what it stops.
    pub(super) fn give_back(&mut self, why: HandBackReason) {
        if let Some(held) = &mut self.held {
            let why = if held.cancel_requested { HandBackReason::Cancelled } else { why };
            held.giving_back.get_or_insert(why);
        }
    }

    pub(super) fn on_commit(&mut self, answer: &CommitAnswer, context: &mut Context) -> Outcome<Leaf> {
        let Some(commit) = self.commit.take() else { return context.fault(Fault::Unexpected) };
        match answer {
            CommitAnswer::Committed => self.committed(&commit),
            CommitAnswer::Unknown | CommitAnswer::Unavailable => {
                let unknown = *answer == CommitAnswer::Unknown;
                // Of a job that is no longer ours nothing is written again, whatever became of it.
                if self.held.is_some() {
                    let at_ms = self.retry_at_ms(commit.attempt, unknown, context.dice);
                    self.commit = Some(CommitIntent {
                        attempt: commit.attempt + 1,
                        unknown: commit.unknown || unknown,
                        pursuit: Pursuit::Due { at_ms },
                        ..commit
                    });
                }
            }
            CommitAnswer::Lost => self.end(End::Lost),
            CommitAnswer::Fault => {
                self.give_back(HandBackReason::FailedTransient);
                return context.fault(Fault::Commit);
            }
        }
        context.handled()
    }

    fn committed(&mut self, commit: &CommitIntent) {
        let took_ms = self.now_ms.saturating_sub(commit.sent_at_ms);
        self.commit_ms = Some(policy::ewma_ms(self.commit_ms, took_ms));
        if commit.completes {
            self.end(End::Completed);
        } else if let Some(held) = &mut self.held {
            held.segments_done = commit.segments_done;
            held.frames_since_checkpoint = 0;
            held.checkpointed_at_ms = self.now_ms;
        }
    }

    /// When a commit or release is tried again. An unknown outcome is asked after at once, the first time.
    fn retry_at_ms(&self, attempts_before: u32, unknown: bool, dice: u32) -> u64 {
        if unknown && attempts_before == 0 {
            return self.now_ms;
        }
        self.now_ms + policy::backoff_ms(attempts_before.saturating_add(1), COMMIT_BACKOFF_CAP_MS, dice)
    }

    pub(super) fn on_release(&mut self, answer: &CommitAnswer, context: &mut Context) -> Outcome<Leaf> {
        let Some(mut release) = self.release.take() else { return context.fault(Fault::Unexpected) };
        match answer {
            CommitAnswer::Committed => {
                if let Some(back) = &release.hand_back {
                    self.end(End::HandedBack(back.why));
                }
                if release.farewell {
                    context.handled();
                    return self.leave(Exit::Clean, context);
                }
            }
            CommitAnswer::Unknown | CommitAnswer::Unavailable => {
                let unknown = *answer == CommitAnswer::Unknown;
                // A release of a job that was lost meanwhile is dropped: a farewell without it follows.
                if release.hand_back.is_none() || self.held.is_some() {
                    release.pursuit =
                        Pursuit::Due { at_ms: self.retry_at_ms(release.attempt, unknown, context.dice) };
                    release.attempt += 1;
                    release.unknown |= unknown;
                    self.release = Some(release);
                }
            }
            CommitAnswer::Lost if release.hand_back.is_some() => self.end(End::Lost),
            // Without a job: the lease's own record is gone, so there is nothing to clear.
            CommitAnswer::Lost => {
                context.handled();
                return self.leave(Exit::Clean, context);
            }
            CommitAnswer::Fault => {
                let stopping = self.stop.is_some();
                self.stop_by_fault(context);
                context.fault(Fault::Release);
                // A farewell that fails for good ends it; a job's release is tried once more, as a farewell.
                return if stopping { self.leave(Exit::Fault, context) } else { self.go_draining() };
            }
        }
        context.handled()
    }

    /// An answer that the leaf does not await.
    pub(super) fn on_stray(&mut self, family: Family, id: RequestId, context: &mut Context) -> Outcome<Leaf> {
        if self.in_flight().get(family) != Some(id) {
            return context.ignored(Reason::LateAnswer);
        }
        match family {
            Family::Claim => self.claim = None,
            Family::Convert => self.convert = None,
            Family::Commit => self.commit = None,
            Family::Release => self.release = None,
        }
        context.fault(Fault::Unexpected)
    }

    pub(super) fn on_renewed(
        &mut self,
        generation: Generation,
        write_until_ms: u64,
        context: &mut Context,
    ) -> Outcome<Leaf> {
        if self.lease.is_gone(generation) {
            return context.ignored(Reason::StaleLease);
        }
        if self.lease.confirmed == Some(generation) {
            self.lease.write_until_ms = self.lease.write_until_ms.max(write_until_ms);
        } else {
            self.lease.confirmed = Some(generation);
            self.lease.write_until_ms = write_until_ms;
        }
        self.lease.ever = true;
        self.drop_what_the_lease_held();
        context.handled()
    }

    pub(super) fn on_lost(&mut self, generation: Generation, context: &mut Context) -> Outcome<Leaf> {
        if self.lease.is_gone(generation) {
            return context.ignored(Reason::StaleLease);
        }
        self.lease.lost = Some(generation);
        self.lease.confirmed = self.lease.confirmed.filter(|confirmed| *confirmed > generation);
        self.drop_what_the_lease_held();
        context.handled()
    }

    /// Ends the epoch whose lease is gone, with everything of it that was not started. What was started is
    /// awaited: its family is not free before.
    fn drop_what_the_lease_held(&mut self) {
        let gone = self.held.as_ref().is_some_and(|held| self.lease.is_gone(held.generation));
        if !gone {
            return;
        }
        self.end(End::Lost);
        self.convert.take_if(|intent| intent.pursuit.id().is_none());
        self.commit.take_if(|intent| intent.pursuit.id().is_none());
        self.release.take_if(|intent| intent.pursuit.id().is_none());
    }

    pub(super) fn on_cancel_request(
        &mut self,
        job: JobId,
        epoch: Epoch,
        context: &mut Context,
    ) -> Outcome<Leaf> {
        match &mut self.held {
            Some(held) if held.job == job && held.epoch == epoch => {
                if held.cancel_requested || held.giving_back.is_some() {
                    return context.ignored(Reason::AlreadyGoingBack);
                }
                held.cancel_requested = true;
                context.handled()
            }
            Some(_) | None => context.ignored(Reason::NotHeld),
        }
    }

    fn go_draining(&self) -> Outcome<Leaf> {
        Transition(self.draining_leaf())
    }
}
