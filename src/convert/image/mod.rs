//! Images as they come in recordings: their kind and size from the first bytes, and pixel counts for statistics.
//!
//! The bytes themselves pass through untouched. What an image is, its bytes say, never a message's `format` text.

mod header;
mod pixels;
mod sample;

pub(crate) use header::{Geometry, geometry};
pub(crate) use pixels::{count, no_counts};
pub(crate) use sample::sampled;

/// Longest side, in pixels.
pub const IMAGE_SIDE_MAX: u32 = 16_384;
/// Most pixels of one image.
pub const IMAGE_PIXELS_MAX: u64 = 1 << 26;
