//! Pictures of recordings: their kind and size from the first bytes, and what their pixels become.
//!
//! A file that loaders open as red, green and blue passes through untouched; what an image is, its bytes say, never a
//! message's `format` text. Whatever else is to be stored, or what is to become video, goes through `Pixels`:
//!
//! ```text
//! JPEG, PNG, raw ──▶ Frame ──▶ crop, turn, resize ──▶ Yuv420 for an encoder
//!                                                  ├▶ a PNG file
//!                                                  └▶ counts for statistics
//! ```

mod decode;
mod depth;
mod encode;
mod frame;
mod header;
mod pixels;
mod raw;
mod resize;
mod rgb;
mod sample;
mod transform;
mod yuv;

pub(crate) use decode::Pixels;
pub(crate) use depth::depth_png;
pub(crate) use header::{Format, Geometry, geometry};
pub(crate) use pixels::no_counts;
pub(crate) use raw::Raw;
pub(crate) use sample::sampled;
pub use transform::{Crop, Transform, Turn};
pub(crate) use yuv::Yuv420;

/// Longest side, in pixels.
pub const IMAGE_SIDE_MAX: u32 = 16_384;
/// Most pixels of one image.
pub const IMAGE_PIXELS_MAX: u64 = 1 << 26;
