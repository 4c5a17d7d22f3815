//! Conversion of one recording into staged segments.
//!
//! Architecture Invariant: knows nothing of queues, leases or signals: it is given a stop flag and gives back segments.

mod ahead;
pub mod align;
mod bind;
mod blueprint;
pub mod crew;
mod decided;
pub mod decode;
mod episode;
mod field;
pub mod grid;
pub mod image;
pub mod infer;
pub mod inspect;
mod joints;
mod jumps;
mod kept;
pub mod ledger;
pub mod mapping;
mod nearest;
mod partial;
mod picture;
mod pictures;
mod plan;
mod planned;
pub mod recording;
mod rows;
mod segment;
mod shape;
mod slerp;
pub mod source;
mod spare;
pub mod spent;
mod split;
mod tap;
mod task;
#[cfg(test)]
mod testing;
pub(crate) mod video;

pub use video::{FfmpegError, find_ffmpeg};

pub use crate::work::{SegmentDone, StopFlag, Work, WorkError};
