//! `[video]`: which encoder makes videos, and how hard it tries. Part of what a dataset's bytes depend on.
//!
//! It starts no encoder; whether ffmpeg is there is found where one is opened.

use super::error::MappingError;
use super::keys::Keys;
use super::{Content, FeatureMap};
use crate::convert::nearest::listed;
use crate::lerobot::video::Codec;
use std::ops::RangeInclusive;

const KEYS: [&str; 3] = ["encoder", "quality", "preset"];

/// How videos are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// By what.
    pub encoder: Encoder,
    /// The quantiser of openh264, the constant rate factor of the others: the greater, the smaller and the worse.
    pub quality: u32,
    /// How long the encoder searches, in its own words.
    pub preset: &'static str,
}

/// An encoder that a mapping can ask for. All give the same bytes for the same frames on any number of cores, and frames
/// in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// H.264 within this program.
    OpenH264,
    /// H.264 by ffmpeg.
    X264,
    /// AV1 by ffmpeg, as lerobot does it.
    SvtAv1,
    /// AV1 by ffmpeg, the reference encoder: slow.
    AomAv1,
}

/// What an encoder takes.
struct Terms {
    encoder: Encoder,
    name: &'static str,
    quality: RangeInclusive<u32>,
    quality_default: u32,
    presets: &'static [&'static str],
    preset_default: &'static str,
}

/// The range of openh264: it lifts lower quantisers to 12 in silence.
const ENCODERS: [Terms; 4] = [
    Terms {
        encoder: Encoder::OpenH264,
        name: "openh264",
        quality: 12..=51,
        quality_default: 24,
        presets: &["low", "medium", "high"],
        preset_default: "low",
    },
    Terms {
        encoder: Encoder::X264,
        name: "ffmpeg:libx264",
        quality: 0..=51,
        quality_default: 23,
        presets: &[
            "ultrafast",
            "superfast",
            "veryfast",
            "faster",
            "fast",
            "medium",
            "slow",
            "slower",
            "veryslow",
        ],
        preset_default: "veryfast",
    },
    Terms {
        encoder: Encoder::SvtAv1,
        name: "ffmpeg:libsvtav1",
        quality: 1..=63,
        quality_default: 30,
        presets: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"],
        preset_default: "12",
    },
    Terms {
        encoder: Encoder::AomAv1,
        name: "ffmpeg:libaom-av1",
        quality: 0..=63,
        quality_default: 30,
        presets: &["0", "1", "2", "3", "4", "5", "6", "7", "8"],
        preset_default: "8",
    },
];

impl Encoder {
    /// As a mapping writes it.
    pub fn name(self) -> &'static str {
        self.terms().map_or("", |terms| terms.name)
    }

    /// As ffmpeg calls it; none for one that is no part of ffmpeg.
    pub fn ffmpeg_name(self) -> Option<&'static str> {
        self.name().strip_prefix("ffmpeg:")
    }

    /// How what it makes is coded.
    pub fn codec(self) -> Codec {
        match self {
            Self::OpenH264 | Self::X264 => Codec::H264,
            Self::SvtAv1 | Self::AomAv1 => Codec::Av1,
        }
    }

    fn terms(self) -> Option<&'static Terms> {
        ENCODERS.iter().find(|terms| terms.encoder == self)
    }
}

impl Default for Video {
    fn default() -> Self {
        let [terms, ..] = &ENCODERS;
        terms.defaults()
    }
}

impl Terms {
    fn defaults(&self) -> Video {
        Video { encoder: self.encoder, quality: self.quality_default, preset: self.preset_default }
    }
}

/// The names of all encoders.
pub fn encoder_names() -> impl Iterator<Item = &'static str> {
    ENCODERS.iter().map(|terms| terms.name)
}

pub(super) fn is_video(feature: &FeatureMap) -> bool {
    matches!(feature.content, Content::Image { is_video: true, .. })
}

pub(super) fn video(root: &Keys<'_>, features: &[FeatureMap]) -> Result<Video, MappingError> {
    let Some(table) = root.table("video", "[video]", &KEYS)? else { return Ok(Video::default()) };
    if !features.iter().any(is_video) {
        let what = "[video] says how videos are encoded, and no feature is one: write kind = \"video\" for a camera, or leave \
                    [video] (and --video-encoder) out";
        return Err(table.error(table.place, what));
    }
    let choices: Vec<(&str, &Terms)> = ENCODERS.iter().map(|terms| (terms.name, terms)).collect();
    let [default, ..] = &ENCODERS;
    let terms = table.choice("encoder", &choices)?.map_or(default, |encoder| encoder.value);
    let mut video = terms.defaults();
    if let Some(quality) = table.integer("quality", terms.quality.clone())? {
        video.quality = quality.value;
    }
    if let Some(preset) = table.word("preset")? {
        let known = terms.presets.iter().find(|known| **known == preset.value);
        video.preset = known.ok_or_else(|| {
            let valid = listed(terms.presets.iter().copied(), terms.presets.len());
            let what = format!("preset = {:?} is none of {}: valid are {valid}", preset.value, terms.name);
            table.error(preset.place, what)
        })?;
    }
    Ok(video)
}
