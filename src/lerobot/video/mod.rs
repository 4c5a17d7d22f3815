//! Videos of a dataset: mp4 files of one track each, in which episodes follow each other without being encoded anew.
//!
//! Format rules: ISO/IEC 14496-12 (boxes), 14496-15 (H.264 in them), the AV1 binding of AOM, and files that lerobot 0.6.1 wrote.
//! Nothing here encodes or decodes a picture.

mod boxes;
mod fragments;
mod read;
mod write;

pub(crate) use fragments::read_fragments;
pub use read::{Mp4Error, SampleEntry, Track, read_track};
pub use write::{FILE_FRAMES_MAX, Mp4Plan, SampleSizes};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value, json};
use std::fmt::Write;

/// Ticks of a frame: a track's ticks a second are this times the frames a second, so that every frame has the same length.
pub const FRAME_TICKS: u32 = 512;
/// Frames from one that can be decoded alone to the next such one, in all videos that this program makes.
pub const GOP_FRAMES: u32 = 2;
/// How the planes of all videos are laid out.
pub const PIXEL_FORMAT: &str = "yuv420p";

/// How a video is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264: samples are NAL units behind lengths of 4 bytes, without parameter sets.
    H264,
    /// AV1: samples are temporal units without their delimiters.
    Av1,
}

/// Everything that is the same for all frames of a video. Videos with the same may follow each other in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoStream {
    /// How it is coded.
    pub codec: Codec,
    /// In pixels; even.
    pub width: u32,
    /// In pixels; even.
    pub height: u32,
    /// The decoder's configuration record, as it stands in the box `avcC` or `av1C`.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub record: Vec<u8>,
    /// The encoder's constant rate factor or quantiser.
    pub quality: u32,
    /// The encoder's preset, where lerobot has a word for it.
    pub preset: Option<String>,
}

impl Codec {
    /// The name of the stream as ffmpeg and info.json have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Av1 => "av1",
        }
    }

    /// The sample entry's type.
    pub(crate) fn entry(self) -> [u8; 4] {
        match self {
            Self::H264 => *b"avc1",
            Self::Av1 => *b"av01",
        }
    }

    /// The type of the box that holds the decoder's configuration.
    pub(crate) fn record_box(self) -> [u8; 4] {
        match self {
            Self::H264 => *b"avcC",
            Self::Av1 => *b"av1C",
        }
    }
}

impl VideoStream {
    /// What info.json says of it, with the keys and in the order of lerobot 0.6.1.
    pub fn info(&self, fps: u32) -> Value {
        // Numbers as numbers: lerobot hands them to the encoder when it appends.
        let preset = match &self.preset {
            Some(preset) => preset.parse::<i64>().map_or_else(|_| Value::from(preset.as_str()), Value::from),
            None => Value::Null,
        };
        json!({
            "video.height": self.height,
            "video.width": self.width,
            "video.codec": self.codec.name(),
            "video.pix_fmt": PIXEL_FORMAT,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": false,
            "video.g": GOP_FRAMES,
            "video.crf": self.quality,
            "video.preset": preset,
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": {},
            "is_depth_map": false,
        })
    }
}

/// The parameter sets in the content of `avcC`, each behind a start code, as a decoder of a stream wants them. None when it is
/// damaged, or lengths have not four bytes.
pub fn parameter_sets(record: &[u8]) -> Option<Vec<u8>> {
    let mut fields = boxes::Fields(record);
    fields.take(4)?;
    if fields.u8()? & 3 != 3 {
        return None;
    }
    let mut out = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..fields.u8()? & mask {
            let length = fields.u16()?;
            out.extend([0, 0, 0, 1]);
            out.extend_from_slice(fields.take(usize::from(length))?);
        }
    }
    Some(out)
}

fn to_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    serializer.serialize_str(&text)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    pairs.map(byte).collect::<Option<_>>().ok_or_else(|| D::Error::custom("a record is no hexadecimal text"))
}

#[cfg(test)]
mod tests;
