//! Emitting what is due, if the lease permits it; and when something will be due next.
//!
//! The only place where effects that expect an answer are made.

use super::data::{ClaimIntent, CommitIntent, ConvertIntent, Pursuit, ReleaseIntent, Worker};
use super::hierarchy::Context;
use crate::effect::{Effect, Farewell, HandBack, Leaf};
use crate::event::Mode;
use crate::policy::FAREWELL_CAP_MS;

impl Worker {
    /// Claims. The caller made sure that the lease permits it.
    pub(super) fn claim(&mut self, context: &mut Context) {
        let (id, nonce) = (self.new_request(), self.new_nonce());
        let pursuit = Pursuit::InFlight { id };
        self.claim = Some(ClaimIntent { nonce, resolving: false, outdated: false, attempt: 0, pursuit });
        context.effects.push(Effect::Claim { id, nonce });
    }

    /// Asks after a claim of unknown outcome once that is due. Never held back by the lease: it claims nothing.
    pub(super) fn pursue_claim(&mut self, context: &mut Context) {
        let now_ms = self.now_ms;
        let due = self.claim.as_ref().and_then(|claim| claim.pursuit.due_ms()).is_some_and(|at| at <= now_ms);
        if !due {
            return;
        }
        let id = self.new_request();
        if let Some(claim) = &mut self.claim {
            claim.pursuit = Pursuit::InFlight { id };
            context.effects.push(Effect::ResolveClaim { id, nonce: claim.nonce });
        }
    }

    /// Converts the next segment of the job in hand, or waits for the lease to permit it.
    pub(super) fn pursue_convert(&mut self, context: &mut Context) {
        let now_ms = self.now_ms;
        let Some(segment) = self.held.as_ref().map(|held| held.segments_durable) else { return };
        self.convert.get_or_insert(ConvertIntent {
            segment,
            cancelled: false,
            pursuit: Pursuit::Due { at_ms: now_ms },
        });
        if !self.may_write(now_ms) || self.in_flight().convert.is_some() {
            return;
        }
        let id = self.new_request();
        if let (Some(held), Some(convert)) = (&self.held, &mut self.convert) {
            let (job, epoch) = (held.job, held.epoch);
            convert.pursuit = Pursuit::InFlight { id };
            context.effects.push(Effect::Convert { id, job, epoch, segment: convert.segment });
        }
    }

    /// Tells the conversion in flight to stop, once.
    pub(super) fn cancel_convert(&mut self, context: &mut Context) {
        if let Some(ConvertIntent { cancelled, pursuit: Pursuit::InFlight { id }, .. }) = &mut self.convert
            && !core::mem::replace(cancelled, true)
        {
            context.effects.push(Effect::CancelConvert { convert: *id });
        }
    }

    /// Wants all durable segments committed; with the last of them, the job completed.
    pub(super) fn want_commit(&mut self) {
        let Some(held) = &self.held else { return };
        let (completes, segments_done) = (held.remaining == Some(0), held.segments_durable);
        self.convert = None;
        let nonce = self.new_nonce();
        self.commit = Some(CommitIntent {
            completes,
            nonce,
            segments_done,
            attempt: 0,
            unknown: false,
            sent_at_ms: self.now_ms,
            pursuit: Pursuit::Due { at_ms: self.now_ms },
        });
    }

    /// Emits the commit wanted once it is due and the lease permits it.
    pub(super) fn pursue_commit(&mut self, context: &mut Context) {
        let now_ms = self.now_ms;
        let due =
            self.commit.as_ref().and_then(|commit| commit.pursuit.due_ms()).is_some_and(|at| at <= now_ms);
        if !due || !self.may_write(now_ms) {
            return;
        }
        let id = self.new_request();
        if let (Some(held), Some(commit)) = (&self.held, &mut self.commit) {
            commit.pursuit = Pursuit::InFlight { id };
            commit.sent_at_ms = now_ms;
            let (job, epoch) = (held.job, held.epoch);
            let (nonce, segments_done) = (commit.nonce, commit.segments_done);
            context.effects.push(if commit.completes {
                Effect::Complete { id, nonce, job, epoch, segments_done }
            } else {
                Effect::Checkpoint { id, nonce, job, epoch, segments_done }
            });
        }
    }

    /// Wants the job in hand handed back, if there is one; with a farewell if the machine is leaving.
    pub(super) fn want_release(&mut self) {
        let nonce = self.new_nonce();
        let hand_back = self.held.as_ref().and_then(|held| {
            let (job, epoch, segments_done) = (held.job, held.epoch, held.segments_done);
            held.giving_back.map(|why| HandBack { job, epoch, segments_done, why })
        });
        self.release = Some(ReleaseIntent {
            hand_back,
            farewell: self.stop.is_some(),
            nonce,
            attempt: 0,
            unknown: false,
            since_ms: self.now_ms,
            pursuit: Pursuit::Due { at_ms: self.now_ms },
        });
    }

    /// Emits the release wanted once it is due. One that hands a job back needs the lease; a farewell alone writes
    /// only this incarnation's own records, and does not.
    pub(super) fn pursue_release(&mut self, context: &mut Context) {
        let now_ms = self.now_ms;
        let may_write = self.may_write(now_ms);
        let Some(release) = &self.release else { return };
        let due = release.pursuit.due_ms().is_some_and(|at| at <= now_ms);
        if !due || (release.hand_back.is_some() && !may_write) {
            return;
        }
        let id = self.new_request();
        let farewell = self.stop.as_ref().map(|stop| Farewell {
            cause: stop.cause,
            met: stop.met,
            mode: stop.mode,
            asked_at_ms: stop.asked_at_ms,
            released_at_ms: now_ms,
        });
        if let Some(release) = &mut self.release {
            release.pursuit = Pursuit::InFlight { id };
            context.effects.push(Effect::Release {
                id,
                nonce: release.nonce,
                hand_back: release.hand_back.clone(),
                farewell: farewell.filter(|_| release.farewell),
            });
        }
    }

    /// When a tick is needed next, if ever; always later than now.
    pub(super) fn wake_at_ms(&self, leaf: Leaf) -> Option<u64> {
        if leaf == Leaf::Exited {
            return None;
        }
        let generation = self.held.as_ref().map(|held| held.generation);
        // What the lease will forbid by then is not waited for: a renewal brings it about.
        let permitted =
            |at: &u64| generation.is_some_and(|held| self.lease.permits(held, self.now_ms.max(*at)));
        let poll = Some(self.next_poll_ms).filter(|at| {
            leaf == Leaf::Idle
                && self.lease.confirmed.is_some_and(|lease| self.lease.permits(lease, self.now_ms.max(*at)))
        });
        let claim = self.claim.as_ref().and_then(|claim| claim.pursuit.due_ms());
        let lapse =
            self.convert.as_ref().filter(|convert| !convert.cancelled && convert.pursuit.id().is_some());
        let lapse = lapse.map(|_| self.lease.write_until_ms);
        let commit = self.commit.as_ref().and_then(|commit| commit.pursuit.due_ms()).filter(permitted);
        let release = self.release.as_ref().and_then(|release| {
            release.pursuit.due_ms().filter(|at| release.hand_back.is_none() || permitted(at))
        });
        [poll, claim, lapse, commit, release, self.farewell_cap_ms(), self.deadline_ms()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a farewell without a job is given up.
    pub(crate) fn farewell_cap_ms(&self) -> Option<u64> {
        let release =
            self.release.as_ref().filter(|release| release.hand_back.is_none() && release.farewell)?;
        Some(release.since_ms.saturating_add(FAREWELL_CAP_MS))
    }

    pub(crate) fn force_at_ms(&self) -> Option<u64> {
        let stop = self.stop.as_ref()?;
        let own_ms = stop.clock_ms?.saturating_add(self.settings.force_after_ms);
        Some(stop.kill.map_or(own_ms, |kill| own_ms.min(kill.leave_by_ms)))
    }

    /// When the segment in flight is cancelled, once the budgets run.
    pub(crate) fn cut_at_ms(&self) -> Option<u64> {
        let stop = self.stop.as_ref()?;
        let own_ms = stop.clock_ms?.saturating_add(self.settings.drain_budget_ms);
        Some(stop.kill.map_or(own_ms, |kill| own_ms.min(kill.cut_by_ms)))
    }

    /// The next instant at which the mode rises, or the exit is forced.
    fn deadline_ms(&self) -> Option<u64> {
        let stop = self.stop.as_ref()?;
        let cut_at_ms = self.cut_at_ms()?;
        match stop.mode {
            Mode::Finish => Some(stop.finish_until_ms.unwrap_or(cut_at_ms).min(cut_at_ms)),
            Mode::Interrupt => Some(cut_at_ms),
            Mode::Abort => self.force_at_ms(),
        }
    }
}
