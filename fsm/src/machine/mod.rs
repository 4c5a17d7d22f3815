//! The machine as its driver sees it: one step at a time, and what may be read off it in between.
//!
//! The hierarchy itself is in `hierarchy` (statig); what each part of it decides is in `active` and `stopping`.
//! Nothing here decides.

mod active;
mod answers;
mod data;
mod disposition;
mod hierarchy;
mod requests;
mod stopping;
#[cfg(test)]
mod tests;

pub use data::{Held, InFlight, Tally};
pub(crate) use data::{Pursuit, Stop, Worker};
pub use disposition::{Counters, Disposition, Fault, Reason};

use crate::effect::{Effects, Exit, HandBackReason, Leaf};
use crate::event::{Event, Input, Mode};
use crate::id::Generation;
use crate::policy::{Settings, predicted_rest_ms};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use hierarchy::{Context, Stimulus};
use serde::{Deserialize, Serialize};
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt};

/// After an event the leaf is asked what is due until it stays. The longest chain known is four; more than this
/// is a fault of the machine, counted, and never an endless loop.
const MAX_SETTLES: usize = 8;

/// One worker's machine. Cheap to clone; everything it knows is in it, so that a clone walks on alike.
///
/// A serialised machine goes on where it stood: restoring it emits nothing and repeats nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Snapshot", from = "Snapshot")]
pub struct Machine {
    core: InitializedStateMachine<Worker>,
    trail: Vec<Leaf>,
    disposition: Option<Disposition>,
}

/// What a machine is on disk. Statig's own `serde` feature would pull in serde's `std`.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    leaf: Leaf,
    worker: Worker,
    trail: Vec<Leaf>,
    disposition: Option<Disposition>,
}

/// Gives one event to the machine. Returns what is to be done, in order.
///
/// The one way in which a machine changes. Each returned effect that expects an answer must get exactly one, as an
/// event with the effect's request id.
pub fn step(machine: &mut Machine, event: Event) -> Effects {
    let mut context = Context::new(machine.leaf(), event.dice);
    let source = machine.worker().stop.as_ref().map(|stop| stop.mode);
    machine.core.handle_with_context(&Stimulus::Clock { at_ms: event.at_ms }, &mut context);
    machine.core.handle_with_context(&Stimulus::Event(&event), &mut context);
    for _ in 0..MAX_SETTLES {
        let before = machine.leaf();
        machine.core.handle_with_context(&Stimulus::Settle, &mut context);
        if machine.leaf() == before {
            break;
        }
    }
    let nothing = context.effects.is_empty() && context.trail.len() == 1 && source == machine.mode();
    if matches!(event.input, Input::Tick) && context.disposition == Some(Disposition::Handled) && nothing {
        context.disposition = Some(Disposition::Ignored(Reason::NothingDue));
    }
    machine.core.handle_with_context(&Stimulus::Count, &mut context);
    machine.trail = context.trail;
    machine.disposition = context.disposition;
    context.effects
}

impl Machine {
    /// A machine that owns nothing and waits for its first lease.
    ///
    /// `settings` are taken as they are: check them first with [`Settings::check`].
    pub fn new(settings: Settings) -> Self {
        Self::at(Leaf::Idle, Worker::new(settings))
    }

    fn at(leaf: Leaf, worker: Worker) -> Self {
        let mut context = Context::new(Leaf::Idle, 0);
        let mut core = worker.uninitialized_state_machine().init_with_context(&mut context);
        core.handle_with_context(&Stimulus::Restore(leaf), &mut context);
        Self { core, trail: Vec::new(), disposition: None }
    }

    /// Where it stands.
    pub fn leaf(&self) -> Leaf {
        *self.core.state()
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        self.worker().exit
    }

    /// How hard it was asked to stop, once it was.
    pub fn mode(&self) -> Option<Mode> {
        self.worker().mode()
    }

    /// The job in hand. After an exit that left it to its lease, that job.
    pub fn held(&self) -> Option<&Held> {
        self.worker().held.as_ref()
    }

    /// The requests whose answers are awaited.
    pub fn in_flight(&self) -> InFlight {
        self.worker().in_flight()
    }

    /// The leaves of the last step: the one it began in, then each one entered. Empty before the first step and of
    /// length one after a step that moved nothing.
    pub fn trail(&self) -> &[Leaf] {
        &self.trail
    }

    /// What became of the last event. `None` before the first.
    pub fn last_disposition(&self) -> Option<Disposition> {
        self.disposition
    }

    /// How the epochs that it owned ended.
    pub fn tally(&self) -> Tally {
        self.worker().tally
    }

    /// Events counted by what became of them.
    pub fn counters(&self) -> Counters {
        self.worker().counters
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        &self.worker().settings
    }

    /// When, in event time, the driver must deliver the next `Tick`: always later than the last event. `None`: only
    /// an answer, a signal or the lease moves it.
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.worker().wake_at_ms(self.leaf())
    }

    /// The instant at which it exits whatever it holds, once a budget runs.
    pub fn force_at_ms(&self) -> Option<u64> {
        self.worker().force_at_ms()
    }

    /// The instant at which the segment in flight is cancelled, once a budget runs.
    pub fn cut_at_ms(&self) -> Option<u64> {
        self.worker().cut_at_ms()
    }

    /// How long the rest of the job in hand is predicted to take, counted from its last boundary. `None` where nothing is in
    /// hand, or nothing was measured yet.
    pub fn predicted_rest_ms(&self) -> Option<u64> {
        let held = self.held()?;
        predicted_rest_ms(held.pace_ms, held.remaining, self.worker().commit_ms)
    }

    /// Whether a write under this lease may be started at `at_ms`.
    pub fn may_write_at(&self, generation: Generation, at_ms: u64) -> bool {
        self.worker().lease.permits(generation, at_ms)
    }

    /// Whether the conversion in flight was told to stop.
    pub fn is_cancelling(&self) -> bool {
        self.worker().convert.as_ref().is_some_and(|convert| convert.cancelled)
    }

    /// The reason that a release wanted or in flight gives for the job, if there is one.
    pub fn giving_back(&self) -> Option<HandBackReason> {
        self.held().and_then(|held| held.giving_back)
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.core.inner()
    }
}

impl Hash for Machine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.leaf(), self.worker(), &self.trail, self.disposition).hash(state);
    }
}

impl From<Machine> for Snapshot {
    fn from(machine: Machine) -> Self {
        Self {
            leaf: machine.leaf(),
            worker: machine.worker().clone(),
            trail: machine.trail,
            disposition: machine.disposition,
        }
    }
}

impl From<Snapshot> for Machine {
    fn from(snapshot: Snapshot) -> Self {
        let restored = Self::at(snapshot.leaf, snapshot.worker);
        Self { trail: snapshot.trail, disposition: snapshot.disposition, ..restored }
    }
}
