//! Conversion of one recording into staged segments.
//!
//! Architecture Invariant: knows nothing of queues, leases or signals: it is given a stop flag and gives back segments.

pub mod align;
pub mod decode;
pub mod grid;
pub mod mapping;
mod nearest;
pub mod source;
#[cfg(test)]
mod testing;

pub use crate::work::{SegmentDone, StopFlag, Work, WorkError};
