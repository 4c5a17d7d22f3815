//! Which steps of several workers and scanners make sense one after the other, for the queue's property tests on any engine.
//!
//! The steps themselves are in [`crate::queue_step`], what they do in [`crate::queue_driver`].

#![expect(clippy::indexing_slicing, clippy::print_stderr, reason = "slots are bounded; the seed is printed")]

use crate::queue_step::{Chance, Deed, Fate, LeaderDeed, MACHINES, SCANNERS, SLOTS, Step};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use proptest_state_machine::ReferenceStateMachine;
use roboflow::fsm::effect::HandBackReason;
use std::sync::OnceLock;

/// What the generator must know so that most steps mean something: which slots have a process.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    up: [bool; SLOTS],
}

fn why() -> impl Strategy<Value = HandBackReason> {
    prop_oneof![
        4 => Just(HandBackReason::Interrupted),
        3 => Just(HandBackReason::FailedTransient),
        1 => Just(HandBackReason::FailedPermanent),
        1 => Just(HandBackReason::Cancelled),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..4_u32).prop_map(Deed::Checkpoint),
        2 => Just(Deed::Complete),
        3 => why().prop_map(Deed::HandBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..SLOTS, 0..MACHINES);
    let fate =
        prop_oneof![Just(Fate::Applied), Just(Fate::Lost), Just(Fate::Later), Just(Fate::AfterReclaim)];
    prop_oneof![
        3 => (0..4_u8, any::<bool>()).prop_map(|(count, last)| Step::Submit { count, last }),
        6 => (0..SLOTS).prop_map(|slot| Step::Register { slot }),
        4 => (0..SLOTS).prop_map(|slot| Step::Renew { slot }),
        16 => who().prop_map(|(slot, machine)| Step::Claim { slot, machine }),
        16 => (who(), deed()).prop_map(|((slot, machine), deed)| Step::Do { slot, machine, deed }),
        3 => who().prop_map(|(slot, machine)| Step::WorkOff { slot, machine }),
        3 => who().prop_map(|(slot, machine)| Step::Leave { slot, machine }),
        2 => (0..SLOTS).prop_map(|slot| Step::Crash { slot }),
        3 => (who(), proptest::option::weighted(0.8, deed()), fate)
            .prop_map(|((slot, machine), deed, fate)| Step::CrashDuring { slot, machine, deed, fate }),
        3 => (0..6_usize, deed()).prop_map(|(ghost, deed)| Step::Haunt { ghost, deed }),
        6 => prop_oneof![Just(1), Just(2_000), Just(6_000), Just(11_000), Just(400_000)].prop_map(|ms| Step::Advance { ms }),
        5 => Just(Step::Reclaim),
        2 => (0..50_usize).prop_map(|job| Step::Cancel { job }),
        2 => (0..50_usize).prop_map(|job| Step::Retry { job }),
        5 => batch().prop_map(|batch| Step::Assemble { batch }),
        2 => batch().prop_map(|batch| Step::Seal { batch }),
        1 => batch().prop_map(|batch| Step::CancelBatch { batch }),
        7 => (0..SCANNERS).prop_map(|who| Step::Campaign { who }),
        1 => (0..SCANNERS).prop_map(|who| Step::Resign { who }),
        14 => ((0..SCANNERS), leader_deed()).prop_map(|(who, deed)| Step::Lead { who, deed }),
    ]
}

fn batch() -> impl Strategy<Value = usize> {
    0..8_usize
}

fn leader_deed() -> impl Strategy<Value = LeaderDeed> {
    prop_oneof![
        2 => Just(LeaderDeed::Begin),
        4 => (0..3_u8, 0..2_u8).prop_map(|(count, waiting)| LeaderDeed::Round { count, waiting }),
        2 => (0..4_u8).prop_map(|count| LeaderDeed::Page { count }),
        2 => (0..2_u8).prop_map(|waiting| LeaderDeed::Done { waiting }),
        2 => batch().prop_map(|batch| LeaderDeed::Close { batch }),
        2 => batch().prop_map(|batch| LeaderDeed::Swept { batch }),
        1 => Just(LeaderDeed::Expire),
    ]
}

fn chance() -> impl Strategy<Value = Chance> {
    let percent = prop_oneof![1 => Just(0), 1 => Just(10), 1 => Just(60)];
    (any::<u64>(), percent).prop_map(|(seed, percent)| Chance { seed, percent })
}

impl ReferenceStateMachine for Plan {
    type State = Self;
    type Transition = (Step, Chance);

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_state: &Self) -> BoxedStrategy<Self::Transition> {
        (step(), chance()).boxed()
    }

    fn preconditions(state: &Self, (step, _): &Self::Transition) -> bool {
        let up = |slot: &usize| state.up.get(*slot).copied().unwrap_or(false);
        match step {
            Step::Register { slot } => !up(slot),
            Step::Renew { slot }
            | Step::Claim { slot, .. }
            | Step::Do { slot, .. }
            | Step::WorkOff { slot, .. }
            | Step::Leave { slot, .. }
            | Step::Crash { slot }
            | Step::CrashDuring { slot, .. } => up(slot),
            _ => true,
        }
    }

    fn apply(mut state: Self, (step, _): &Self::Transition) -> Self {
        match step {
            Step::Register { slot } => state.up[*slot] = true,
            Step::Crash { slot } | Step::CrashDuring { slot, .. } => state.up[*slot] = false,
            _ => {}
        }
        state
    }
}

fn from_env<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// So many cases, unless `CASES=` says otherwise; the seed is printed, and `SEED=` gives it.
pub fn config(cases: u32) -> Config {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| {
        let seed = from_env("SEED").unwrap_or_else(rand::random);
        eprintln!("SEED={seed}");
        seed
    });
    Config {
        cases: from_env("CASES").unwrap_or(cases),
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    }
}
