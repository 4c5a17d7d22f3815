//! Frames become samples of a video: one encoder a segment and camera, so that segments can be made anywhere and follow each other
//! in a file without being encoded anew.
//!
//! What comes out is a function of the frames and the settings alone. Every encoder gives samples in the order of the frames, and
//! every second one, from the first on, can be decoded alone; what does otherwise is an error here, never a damaged file later.

mod cameras;
mod code;
mod ffmpeg;
mod nal;
mod openh264;

use super::image::Yuv420;
use super::mapping::Video;
use super::mapping::video::Encoder;
use super::{StopFlag, WorkError};
use crate::lerobot::video::{GOP_FRAMES, VideoStream};

pub(crate) use cameras::{Camera, Cameras};
pub(crate) use code::Code;
pub use ffmpeg::{FfmpegError, find as find_ffmpeg};

/// Longest and shorter side that openh264 takes, in pixels.
const OPENH264_SIDES_MAX: (u32, u32) = (3840, 2160);
/// Shortest side, in pixels: less is no video, and some encoders take nothing below.
const SIDE_MIN: u32 = 16;
/// Most bytes of the samples of one segment.
pub(crate) const SAMPLES_BYTES_MAX: usize = 1 << 30;

/// A frame: 8-bit planes, the chroma ones half as wide and high.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    width: u32,
    height: u32,
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
}

impl<'a> Planes<'a> {
    pub(crate) fn of(frame: &'a Yuv420) -> Option<Self> {
        Self::new(frame.width, frame.height, [&frame.y, &frame.u, &frame.v])
    }

    /// A frame of even sides; none when a plane is not as large as they say.
    pub(crate) fn new(width: u32, height: u32, [y, u, v]: [&'a [u8]; 3]) -> Option<Self> {
        let luma = (width as usize).checked_mul(height as usize)?;
        let fits = width.is_multiple_of(2) && height.is_multiple_of(2) && y.len() == luma;
        (fits && u.len() == luma / 4 && v.len() == luma / 4).then_some(Self { width, height, y, u, v })
    }
}

/// Encoded frames of one segment, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    /// Back to back.
    pub(crate) bytes: Vec<u8>,
    /// In bytes.
    pub(crate) sizes: Vec<u32>,
}

impl Samples {
    /// Ends a sample that begins at `begin` of the bytes.
    fn end(&mut self, begin: usize, is_sync: bool) -> Result<(), EncodeError> {
        let number = self.sizes.len();
        let wanted = is_sync_sample(number);
        if is_sync != wanted {
            let is = if is_sync { "can" } else { "cannot" };
            return Err(EncodeError::Failed(format!(
                "frame {number} of a segment {is} be decoded alone: every {GOP_FRAMES}nd one must be such, and no other"
            )));
        }
        if self.bytes.len() > SAMPLES_BYTES_MAX {
            let text = format!("a segment of over {SAMPLES_BYTES_MAX} bytes: take fewer frames a segment");
            return Err(EncodeError::Failed(text));
        }
        let bytes = self.bytes.len().saturating_sub(begin);
        if bytes == 0 {
            return Err(EncodeError::Failed(format!("frame {number} of a segment came out empty")));
        }
        self.sizes.push(u32::try_from(bytes).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Whether the sample of this number in its segment can be decoded alone.
pub(crate) fn is_sync_sample(number: usize) -> bool {
    number.is_multiple_of(GOP_FRAMES as usize)
}

/// Why frames were not encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// Asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// It will fail again.
    #[error("{0}")]
    Failed(String),
    /// Another try, or another machine, may do.
    #[error("{0}")]
    Elsewhere(String),
}

impl EncodeError {
    /// As an error of the work on this feature.
    pub(crate) fn of(self, feature: &str) -> WorkError {
        match self {
            Self::Stopped => WorkError::Stopped,
            Self::Failed(what) => WorkError::Permanent(format!("feature {feature:?}: {what}")),
            Self::Elsewhere(what) => WorkError::Transient(format!("feature {feature:?}: {what}")),
        }
    }
}

/// Encodes the frames of one segment.
pub(crate) trait Encode: Send {
    /// Takes the next frame. Samples come when they are ready, in order.
    fn encode(
        &mut self,
        frame: &Planes<'_>,
        samples: &mut Samples,
        stop: &StopFlag,
    ) -> Result<(), EncodeError>;

    /// There are no more frames: gives the samples still missing, and what all have in common.
    fn finish(self: Box<Self>, samples: &mut Samples, stop: &StopFlag) -> Result<VideoStream, EncodeError>;
}

/// How the frames of one camera are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) video: Video,
    pub(crate) fps: u32,
    /// Even.
    pub(crate) width: u32,
    /// Even.
    pub(crate) height: u32,
}

impl Encoding {
    /// Starts an encoder.
    pub(crate) fn start(&self) -> Result<Box<dyn Encode>, EncodeError> {
        let (width, height) = (self.width, self.height);
        let size = || format!("frames of {width} x {height} pixels");
        if width.min(height) < SIDE_MIN {
            let text = format!(
                "{}: a video has at least {SIDE_MIN} pixels each way; resize them, or take kind = \"image\"",
                size()
            );
            return Err(EncodeError::Failed(text));
        }
        match self.video.encoder {
            Encoder::OpenH264 => {
                let (longer, shorter) = OPENH264_SIDES_MAX;
                if width.max(height) > longer || width.min(height) > shorter {
                    let text = format!(
                        "{}: openh264 takes up to {longer} x {shorter}; resize them, or take another encoder",
                        size()
                    );
                    return Err(EncodeError::Failed(text));
                }
                Ok(Box::new(openh264::OpenH264::new(self)?))
            }
            Encoder::X264 | Encoder::SvtAv1 | Encoder::AomAv1 => Ok(Box::new(ffmpeg::Ffmpeg::start(self)?)),
        }
    }

    /// What all videos of this encoding have in common, found with a frame of grey: it tells as well that the encoder works.
    pub(crate) fn probe(&self, stop: &StopFlag) -> Result<VideoStream, EncodeError> {
        let luma = self.width as usize * self.height as usize;
        let (y, uv) = (vec![128; luma], vec![128; luma / 4]);
        let grey = Planes::new(self.width, self.height, [&y, &uv, &uv]);
        let grey = grey.ok_or_else(|| EncodeError::Failed("the sides of a video are even".to_owned()))?;
        let (mut encoder, mut samples) = (self.start()?, Samples::default());
        for _ in 0..GOP_FRAMES {
            encoder.encode(&grey, &mut samples, stop)?;
        }
        encoder.finish(&mut samples, stop)
    }

    /// The preset as lerobot would hand it to its own encoder; none for openh264, whose presets it does not know.
    fn shown_preset(&self) -> Option<String> {
        self.video.encoder.ffmpeg_name().map(|_| self.video.preset.to_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests;
