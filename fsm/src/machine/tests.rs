//! Tests of single steps and short stories, each against what the design says of it.

use super::*;
use crate::effect::{Cause, Effect, Family, HandBack};
use crate::event::{ClaimAnswer, CommitAnswer, ConvertAnswer, Grant, Signal};
use crate::id::{Epoch, Generation, JobId, RequestId};
use crate::invariant::check_step;
use alloc::vec;

mod stopping;
mod time_left;
mod walks;
mod working;

const JOB: JobId = JobId([7; 16]);
const EPOCH: Epoch = Epoch(3);
const FIRST: Generation = Generation(1);

/// A machine under test: every step is checked against the invariants, and survives its snapshot.
struct Rig {
    machine: Machine,
    now_ms: u64,
    effects: Effects,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self { machine: Machine::new(settings), now_ms: 0, effects: Effects::new() }
    }

    fn input(&mut self, input: Input) -> &mut Self {
        let before = self.machine.clone();
        let event = Event { at_ms: self.now_ms, dice: 0, input };
        self.effects = step(&mut self.machine, event.clone());
        check_step(&before, &event, &self.machine, &self.effects).unwrap();
        let bytes = postcard::to_allocvec(&self.machine).unwrap();
        let restored: Machine = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(restored, self.machine, "a snapshot restores what it was");
        self
    }

    fn tick_at(&mut self, now_ms: u64) -> &mut Self {
        self.at(now_ms).input(Input::Tick)
    }

    fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn renewed(&mut self) -> &mut Self {
        let write_until_ms = self.now_ms + 8_000;
        self.input(Input::LeaseRenewed { generation: FIRST, write_until_ms })
    }

    fn lost(&mut self) -> &mut Self {
        self.input(Input::LeaseLost { generation: FIRST })
    }

    fn claim(&mut self, answer: ClaimAnswer) -> &mut Self {
        let id = self.pending(Family::Claim);
        self.input(Input::ClaimAnswered { id, answer })
    }

    fn won(&mut self) -> &mut Self {
        self.claim(ClaimAnswer::Won(grant(0)))
    }

    fn convert(&mut self, answer: ConvertAnswer) -> &mut Self {
        let id = self.pending(Family::Convert);
        self.input(Input::ConvertAnswered { id, answer })
    }

    fn durable(&mut self, remaining: u32) -> &mut Self {
        self.convert(ConvertAnswer::Durable { frames: 10, elapsed_ms: 100, remaining })
    }

    fn commit(&mut self, answer: CommitAnswer) -> &mut Self {
        let id = self.pending(Family::Commit);
        self.input(Input::CommitAnswered { id, answer })
    }

    fn release(&mut self, answer: CommitAnswer) -> &mut Self {
        let id = self.pending(Family::Release);
        self.input(Input::ReleaseAnswered { id, answer })
    }

    fn signal(&mut self, signal: Signal) -> &mut Self {
        self.input(Input::Signal(signal))
    }

    fn pending(&self, family: Family) -> RequestId {
        self.machine
            .in_flight()
            .get(family)
            .unwrap_or_else(|| panic!("no {family:?} in flight in {:?}", self.machine))
    }

    fn names(&self) -> Vec<&'static str> {
        self.effects.iter().map(Effect::name).collect()
    }

    /// The leaves of the last step, the effects of it.
    fn shows(&self, trail: &str, effects: &[&str]) -> &Self {
        let leaves: Vec<&str> = self.machine.trail().iter().map(|leaf| leaf.name()).collect();
        assert_eq!((leaves.join(" > ").as_str(), self.names().as_slice()), (trail, effects));
        self
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Release { hand_back, .. } => hand_back.clone(),
            _ => None,
        })
    }

    /// With a job in hand, its first segment in flight.
    fn processing() -> Self {
        let mut rig = Self::new();
        rig.renewed().won();
        assert_eq!(rig.machine.leaf(), Leaf::Processing);
        rig
    }

    /// With a checkpoint in flight.
    fn checkpointing() -> Self {
        let mut rig = Self::processing();
        rig.convert(ConvertAnswer::Durable { frames: 100, elapsed_ms: 100, remaining: 5_000 });
        assert_eq!(rig.machine.leaf(), Leaf::Checkpointing);
        rig
    }
}

fn grant(segments_done: u32) -> Grant {
    Grant { job: JOB, epoch: EPOCH, generation: FIRST, segments_done }
}

#[test]
fn after_transition_is_told_the_source_first() {
    // `before_transition` of the blocking API has them the other way round: this holds the order that the trail
    // rests on.
    let mut rig = Rig::checkpointing();
    rig.commit(CommitAnswer::Committed);
    assert_eq!(rig.machine.trail(), [Leaf::Checkpointing, Leaf::Processing]);
    let mut context = Context::new(Leaf::Idle, 0);
    let mut core =
        Worker::new(Settings::default()).uninitialized_state_machine().init_with_context(&mut context);
    core.handle_with_context(&Stimulus::Restore(Leaf::Saving), &mut context);
    assert_eq!(context.trail, [Leaf::Idle, Leaf::Saving]);
}

#[test]
fn a_restored_machine_repeats_nothing() {
    let rig = Rig::checkpointing();
    let bytes = postcard::to_allocvec(&rig.machine).unwrap();
    let mut restored: Machine = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((restored.leaf(), restored.in_flight()), (Leaf::Checkpointing, rig.machine.in_flight()));
    assert_eq!(restored.trail(), rig.machine.trail());
    let effects = step(&mut restored, Event { at_ms: 0, dice: 0, input: Input::Tick });
    assert!(effects.is_empty(), "{effects:?}");
}
