//! The videos of a dataset that is added to: where their files end, and whether what is added is coded as they are.
//!
//! A loader reads each file by itself, but lerobot joins files of one video without encoding them anew, and info.json says
//! once for all of them how they are coded. Its word counts: lerobot goes on in AV1 whatever was there, unless it is told otherwise. It decodes no
//! picture.

use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Info;
use crate::lerobot::layout::{FileRef, VIDEO_PATH, video_key};
use crate::lerobot::video::{Codec, Mp4Error, PIXEL_FORMAT, VideoStream, read_track};
use crate::storage::Storage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// A video as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::lerobot) struct BaseVideo {
    /// The number of the first file to add.
    pub(in crate::lerobot) files: u32,
    /// How it is coded, by its name in info.json; where that does not say, as the last file is.
    codec: String,
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
    /// Of info.json, where it says.
    pixel_format: Option<String>,
    /// Of info.json, where it says: frames a second.
    fps: Option<f64>,
}

impl BaseVideo {
    /// Looks at what info.json says, and at the last of a video's files, whose numbers are given.
    ///
    /// # Errors
    /// The storage's; [`LerobotError::Damaged`] with the file that is none.
    pub(super) fn look(
        out: &dyn Storage,
        info: &Info,
        name: &str,
        used: &BTreeSet<u32>,
    ) -> Result<Self, LerobotError> {
        let Some(last) = used.last().copied() else {
            return Err(LerobotError::Unfit(format!(
                "{}: no episode has a place in the video {name}: 'roboflow validate' tells more",
                out.location()
            )));
        };
        let key = video_key(VIDEO_PATH, name, FileRef::nth(last));
        let damaged = |what: &str| {
            LerobotError::damaged(
                &key,
                format!("{what}: get it back before anything is added to the dataset"),
            )
        };
        let track = match read_track(out, &out.head(&key)?) {
            Ok(track) => track,
            Err(Mp4Error::Storage(error)) => return Err(error.into()),
            Err(Mp4Error::Damaged(what)) => return Err(damaged(&what)),
        };
        let said = info.features.get(name).and_then(|feature| feature.info.as_ref());
        let said = |part: &str| said.and_then(|said| said.get(part));
        let text = |part: &str| said(part).and_then(Value::as_str).map(str::to_owned);
        let of_file = track.entry.codecs().first().map(|codec| (*codec).to_owned());
        let codec = text("video.codec").or(of_file);
        let codec = codec.unwrap_or_else(|| String::from_utf8_lossy(&track.entry.kind).into_owned());
        let side = |part: &str, of_file: u32| {
            said(part).and_then(Value::as_u64).and_then(|side| side.try_into().ok()).unwrap_or(of_file)
        };
        Ok(Self {
            files: last.saturating_add(1),
            codec,
            width: side("video.width", track.entry.width),
            height: side("video.height", track.entry.height),
            pixel_format: text("video.pix_fmt"),
            fps: said("video.fps").and_then(Value::as_f64),
        })
    }

    /// What keeps a video of the recordings from following this one, and what to do; none when nothing does.
    pub(super) fn difference(&self, name: &str, ours: &VideoStream, fps: u32) -> Option<String> {
        let pixel_format = self.pixel_format.as_deref().unwrap_or(PIXEL_FORMAT);
        let theirs = self.fps.unwrap_or_else(|| fps.into());
        let advice = if self.codec != ours.codec.name() {
            coded_as(&self.codec)
        } else if (self.width, self.height) != (ours.width, ours.height) {
            "crop or resize it in the mapping".to_owned()
        } else if pixel_format != PIXEL_FORMAT {
            format!("this program writes {PIXEL_FORMAT} alone")
        } else if theirs != f64::from(fps) {
            format!("only a mapping of {theirs} frames a second fits")
        } else {
            return None;
        };
        let Self { codec, width, height, .. } = self;
        Some(format!(
            "the video {name} is {codec}, {width} x {height}, {pixel_format}, {theirs} frames a second in the dataset and \
             {}, {} x {}, {PIXEL_FORMAT}, {fps} frames a second in the recordings: {advice}",
            ours.codec.name(),
            ours.width,
            ours.height
        ))
    }
}

/// How a mapping makes videos of a codec.
pub(super) fn coded_as(codec: &str) -> String {
    let encoder = match codec {
        codec if codec == Codec::H264.name() => "openh264",
        codec if codec == Codec::Av1.name() => "ffmpeg:libsvtav1",
        codec => return format!("no encoder of this program makes {codec}"),
    };
    format!("take encoder = {encoder:?} in the mapping's [video], or --video-encoder {encoder}")
}
