//! The hierarchy, in statig: nine leaves, four superstates and a root that names what nobody handled.
//!
//! A handler only routes: answers to `answers`, what is due to `active` and `stopping`, stop events up to the
//! superstate that knows where they lead. Effects hang on steps, never on entry actions: a restored machine
//! repeats nothing.
//!
//! The state is our own [`Leaf`] (`custom`): statig's generated enum has its variants in another order in each
//! build, which no snapshot would survive.

use super::data::Worker;
use super::disposition::{Disposition, Fault, Reason};
use crate::effect::{Effects, Family, Leaf};
use crate::event::{Event, Input};
use alloc::vec;
use alloc::vec::Vec;
use statig::prelude::*;

/// What statig dispatches.
pub(crate) enum Stimulus<'a> {
    /// Before an event: it is this late.
    Clock { at_ms: u64 },
    /// An event from outside.
    Event(&'a Event),
    /// After an event: do what is due, go where nothing is left to do.
    Settle,
    /// At a step's end: count what became of the event.
    Count,
    /// Only for a machine just built: stand here.
    Restore(Leaf),
}

/// What one step gathers.
pub(crate) struct Context {
    pub(crate) effects: Effects,
    pub(crate) trail: Vec<Leaf>,
    pub(crate) disposition: Option<Disposition>,
    pub(crate) dice: u32,
}

impl Context {
    pub(crate) fn new(source: Leaf, dice: u32) -> Self {
        Self { effects: Effects::new(), trail: vec![source], disposition: None, dice }
    }

    /// Where the step stands.
    pub(crate) fn leaf(&self) -> Leaf {
        self.trail.last().copied().unwrap_or(Leaf::Idle)
    }

    pub(crate) fn handled(&mut self) -> Outcome<Leaf> {
        self.disposition = Some(Disposition::Handled);
        Handled
    }

    pub(crate) fn ignored(&mut self, reason: Reason) -> Outcome<Leaf> {
        self.disposition = Some(Disposition::Ignored(reason));
        Handled
    }

    pub(crate) fn fault(&mut self, fault: Fault) -> Outcome<Leaf> {
        self.disposition = Some(Disposition::Fault(fault));
        Handled
    }
}

#[state_machine(
    initial = "Leaf::Idle",
    state(name = "Leaf", custom),
    after_transition = "Self::after_transition",
    visibility = "pub(crate)"
)]
impl Worker {
    #[state(superstate = "active")]
    fn idle(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_idle(context),
            Stimulus::Event(Event { input: Input::WorkMayWait, .. }) => self.poll_at_once(context),
            Stimulus::Restore(leaf) => Transition(*leaf),
            Stimulus::Clock { .. } | Stimulus::Event(_) | Stimulus::Count => Super,
        }
    }

    #[state(superstate = "active")]
    fn claiming(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_claiming(context),
            Stimulus::Event(Event { input: Input::ClaimAnswered { id, answer }, .. })
                if self.awaits_claim(*id) =>
            {
                self.on_claim(answer, context)
            }
            Stimulus::Event(Event { input: Input::WorkMayWait, .. }) => self.outdate_claim(context),
            _ => Super,
        }
    }

    #[state(superstate = "owning")]
    fn processing(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_processing(context),
            Stimulus::Event(Event { input: Input::ConvertAnswered { id, answer }, .. })
                if self.awaits_convert(*id) =>
            {
                self.on_convert(answer, context)
            }
            _ => Super,
        }
    }

    #[state(superstate = "owning")]
    fn checkpointing(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_checkpointing(context),
            Stimulus::Event(Event { input: Input::CommitAnswered { id, answer }, .. })
                if self.awaits_commit(*id) =>
            {
                self.on_commit(answer, context)
            }
            _ => Super,
        }
    }

    #[state(superstate = "draining")]
    fn awaiting_claim(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_awaiting_claim(context),
            Stimulus::Event(Event { input: Input::ClaimAnswered { id, answer }, .. })
                if self.awaits_claim(*id) =>
            {
                self.on_claim(answer, context)
            }
            _ => Super,
        }
    }

    #[state(superstate = "draining")]
    fn finishing(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_finishing(context),
            Stimulus::Event(Event { input: Input::ConvertAnswered { id, answer }, .. })
                if self.awaits_convert(*id) =>
            {
                self.on_convert(answer, context)
            }
            _ => Super,
        }
    }

    #[state(superstate = "draining")]
    fn saving(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_saving(context),
            Stimulus::Event(Event { input: Input::CommitAnswered { id, answer }, .. })
                if self.awaits_commit(*id) =>
            {
                self.on_commit(answer, context)
            }
            _ => Super,
        }
    }

    /// Serves both sides: before a stop it gives one job back and the machine is Idle again, after a stop it is the
    /// last thing done. A stop that meets it here goes through Draining like everywhere else.
    #[state(superstate = "stopping")]
    fn releasing(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Settle => self.settle_releasing(context),
            Stimulus::Event(Event { input: Input::ReleaseAnswered { id, answer }, .. })
                if self.awaits_release(*id) =>
            {
                self.on_release(answer, context)
            }
            Stimulus::Event(Event { input: Input::Signal(_) | Input::Drain(_), .. })
                if self.stop.is_none() =>
            {
                self.active(context, event)
            }
            _ => Super,
        }
    }

    #[state(superstate = "root")]
    fn exited(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Event(_) => context.ignored(Reason::Exited),
            Stimulus::Settle => Handled,
            Stimulus::Clock { .. } | Stimulus::Count | Stimulus::Restore(_) => Super,
        }
    }

    /// A stop event leads into Draining, wherever it meets us.
    #[superstate(superstate = "root")]
    fn active(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Event(Event { input: Input::Signal(signal), .. }) => {
                self.on_signal(*signal, context);
                Transition(self.draining_leaf())
            }
            Stimulus::Event(Event { input: Input::Drain(mode), .. }) => {
                self.on_drain(*mode, context);
                Transition(self.draining_leaf())
            }
            _ => Super,
        }
    }

    #[superstate(superstate = "active")]
    fn owning(&mut self, event: &Stimulus<'_>) -> Outcome<Leaf> {
        let _ = event;
        Super
    }

    /// A further stop event never leads back; it may raise the mode, which the leaf then settles.
    #[superstate(superstate = "root")]
    fn stopping(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        match event {
            Stimulus::Event(Event { input: Input::Signal(signal), .. }) => self.on_signal(*signal, context),
            Stimulus::Event(Event { input: Input::Drain(mode), .. }) => self.on_drain(*mode, context),
            Stimulus::Event(Event { input: Input::TimeLeft { left_ms, reserve_ms }, .. }) => {
                self.on_time_left(*left_ms, *reserve_ms, context)
            }
            _ => Super,
        }
    }

    #[superstate(superstate = "stopping")]
    fn draining(&mut self, event: &Stimulus<'_>) -> Outcome<Leaf> {
        let _ = event;
        Super
    }

    /// Names everything that no leaf and no other superstate handled. No `_` here: a new input must find its place.
    #[superstate]
    fn root(&mut self, context: &mut Context, event: &Stimulus<'_>) -> Outcome<Leaf> {
        let event = match event {
            Stimulus::Event(event) => event,
            Stimulus::Clock { at_ms } => {
                // Time never falls, whatever the driver says.
                self.now_ms = self.now_ms.max(*at_ms);
                return Handled;
            }
            Stimulus::Count => {
                if let Some(disposition) = context.disposition {
                    self.counters.count(disposition);
                }
                return Handled;
            }
            Stimulus::Settle | Stimulus::Restore(_) => return Handled,
        };
        match &event.input {
            Input::Tick => context.handled(),
            Input::LeaseRenewed { generation, write_until_ms } => {
                self.on_renewed(*generation, *write_until_ms, context)
            }
            Input::LeaseLost { generation } => self.on_lost(*generation, context),
            Input::CancelRequested { job, epoch } => self.on_cancel_request(*job, *epoch, context),
            Input::TimeLeft { .. } => context.ignored(Reason::NotStopping),
            // Whoever has work, or is to stop, looks for none.
            Input::WorkMayWait => context.ignored(Reason::NotLooking),
            Input::Signal(_) | Input::Drain(_) => context.fault(Fault::Unexpected),
            Input::ClaimAnswered { id, .. } => self.on_stray(Family::Claim, *id, context),
            Input::ConvertAnswered { id, .. } => self.on_stray(Family::Convert, *id, context),
            Input::CommitAnswered { id, .. } => self.on_stray(Family::Commit, *id, context),
            Input::ReleaseAnswered { id, .. } => self.on_stray(Family::Release, *id, context),
        }
    }
}

impl Worker {
    /// Statig hands over where it came from, then where it is.
    fn after_transition(&mut self, source: &Leaf, target: &Leaf, context: &mut Context) {
        debug_assert_eq!(context.trail.last(), Some(source), "statig swapped source and target");
        context.trail.push(*target);
    }
}
