//! Conversion of one recording into staged segments.
//!
//! Architecture Invariant: knows nothing of queues, leases or signals: it is given a stop flag and gives back segments.

pub mod align;
mod bind;
mod blueprint;
pub mod decode;
mod episode;
pub mod grid;
pub mod image;
pub mod infer;
pub mod inspect;
mod joints;
mod kept;
pub mod mapping;
mod nearest;
mod picture;
mod plan;
pub mod recording;
mod rows;
mod segment;
mod shape;
pub mod source;
mod tap;
mod task;
#[cfg(test)]
mod testing;
mod video;

pub use video::{FfmpegError, find_ffmpeg};

pub use crate::work::{SegmentDone, StopFlag, Work, WorkError};
