//! The worker's hierarchical state machine, pure: `step(&mut Machine, Event) -> Effects`.
//!
//! Architecture Invariant: this crate does no IO and has no clock, randomness, threads, runtime or logging.
//! Time and chance enter as fields of an event; what is to be done leaves as effects.
//!
#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod diagram;
pub mod effect;
pub mod event;
pub mod explore;
pub mod id;
pub mod invariant;
pub mod machine;
pub mod policy;
#[cfg(test)]
mod testing;

pub use effect::{Effect, Effects};
pub use event::{Event, Input};
pub use machine::{Machine, step};
pub use policy::Settings;
