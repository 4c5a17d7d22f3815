//! The contract between conversion and assembly: what an episode looks like in staging.
//!
//! Layout under a recording job's staging prefix, one folder an episode:
//! ```text
//! {prefix}e000/segment-00000.parquet     the feature columns of up to `segment_frames` kept frames
//! {prefix}e000/segment-00001.parquet
//! {prefix}e000/segment-00001.video-02    the samples of the third feature, a video, back to back
//! {prefix}e000/episode.json              written once, with the last segment: [`StagedEpisode`]
//! ```
//! A segment file holds one Arrow column a feature, in the order of [`StagedEpisode::features`], typed as in the final
//! data file (see [`super::data`]); the five index columns are made by assembly. A video's column holds the sizes of its samples, in
//! bytes, which stand in a file beside: the first of a segment, and every second one after it, can be decoded alone. Its key-value metadata `roboflow.segment`
//! holds a [`SegmentNote`] as JSON. Every byte is a function of the recording and the configuration alone.

use super::feature::Feature;
use super::video::VideoStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this layout that is written and read.
pub const STAGED_VERSION: u32 = 1;
/// What an episode's own file is called in its folder.
pub const EPISODE_FILE: &str = "episode.json";

/// The folder of a recording's episode, from 0, with `/` behind it.
pub fn episode_prefix(prefix: &str, number: u32) -> String {
    format!("{prefix}e{number:03}/")
}

/// The key of a segment, from 0, of the episode in `folder` (see [`episode_prefix`]).
pub fn segment_key(folder: &str, segment: usize) -> String {
    format!("{folder}segment-{segment:05}.parquet")
}

/// The key of the samples of a video, the `feature`-th of the episode's features from 0, beside a segment's (see [`segment_key`]).
pub fn segment_video_key(segment: &str, feature: usize) -> String {
    format!("{}{VIDEO_MARK}{feature:02}", segment.trim_end_matches(".parquet"))
}

/// The feature whose samples a file of an episode's folder holds, by the file's name.
pub fn video_feature(name: &str) -> Option<usize> {
    name.split_once(VIDEO_MARK)?.1.parse().ok()
}

/// Before the feature's number in the name of a file of samples.
const VIDEO_MARK: &str = ".video-";

/// The key under which [`SegmentNote`] stands in a segment file's metadata.
pub const SEGMENT_NOTE_KEY: &str = "roboflow.segment";

/// What `episode.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagedEpisode {
    /// Version of this layout.
    pub version: u32,
    /// The recording's name: episodes are ordered by it, then by their number in it.
    pub source: String,
    /// The recording's size in bytes.
    pub source_bytes: u64,
    /// What tells the recording from others, in hexadecimal: see `deploy/datasets.md`.
    #[serde(default)]
    pub source_digest: String,
    /// Frames a second.
    pub fps: u32,
    /// The robot, if the mapping names it.
    pub robot_type: Option<String>,
    /// The task's text.
    pub task: String,
    /// Kept frames.
    pub frames: u64,
    /// Kept frames in each segment.
    pub segments: Vec<u32>,
    /// The features, in column order, without the five that every dataset has.
    pub features: Vec<Feature>,
    /// How well the topics met the frame grid.
    pub sync: SyncReport,
    /// What is worth telling the user: a cut file, skipped messages.
    pub warnings: Vec<String>,
    /// With a recording's first episode: those of the recording that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What all frames of each video have in common.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub videos: BTreeMap<String, VideoStream>,
}

/// An episode of a recording that is not converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which one, by its number in the recording and its stamps.
    pub episode: String,
    /// Why.
    pub reason: String,
}

/// What a segment says of itself, beside its columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentNote {
    /// Pixel counts of the frames sampled for statistics, for each image feature.
    pub images: BTreeMap<String, ImageCounts>,
    /// How many values of each vector feature are NaN or infinite. Features without any are left out.
    #[serde(default)]
    pub non_finite: BTreeMap<String, u64>,
    /// What the frames of each video have in common in this segment: the same as in the whole episode, unless another
    /// encoder made it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub videos: BTreeMap<String, VideoStream>,
}

/// Counts of pixel values: exact statistics of images whatever their number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageCounts {
    /// How many frames were sampled.
    pub frames: u64,
    /// For red, green and blue, how many sampled pixels have each of the 256 values.
    pub channels: [Vec<u64>; 3],
    /// Of depth images, how many sampled pixels have each distance that there is: 65,536 entries at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depth: BTreeMap<u16, u64>,
}

/// How well the topics met the frame grid, for one episode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncReport {
    /// The stamp at which the first grid frame stands, in nanoseconds.
    pub start_ns: u64,
    /// The stamp at which the last one stands.
    pub end_ns: u64,
    /// Grid frames before any was dropped.
    pub grid_frames: u64,
    /// Frames dropped, for any feature's sake.
    pub dropped_frames: u64,
    /// One entry a feature and source.
    pub sources: Vec<SyncSource>,
}

/// How well one source met the frame grid.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncSource {
    /// The feature.
    pub feature: String,
    /// The topic.
    pub topic: String,
    /// The joints of it, where its messages carry some of them each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Share of the grid frames with a message within the tolerance, 0 to 1.
    pub match_rate: f64,
    /// Median distance between frame and message, in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of that distance, in milliseconds.
    pub p95_ms: f64,
    /// Greatest distance, in milliseconds.
    pub max_ms: f64,
    /// Frames that this source would have dropped.
    pub missing_frames: u64,
    /// Frames that hold an older value.
    pub held_frames: u64,
}
