//! LeRobot v2.1: a data file an episode, and metadata as lines of JSON. For trainers that do not read v3.0.
//!
//! Format rules: lerobot 0.3.3 `datasets/utils.py` and `datasets/lerobot_dataset.py`. It decides no statistics.

use super::error::LerobotError;
use super::feature::{Dtype, Feature, index_features};
use super::info::{FeatureInfo, Totals, Version};
use super::json::{Ordered, to_json};
use super::layout::{CHUNK_FILES, INFO_KEY};
use super::stats::Stats;
use super::video::{PIXEL_FORMAT, VideoStream};
use crate::storage::{ObjectWriter, SharedStorage, from_io};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;

/// One line an episode: its tasks and length.
pub(super) const EPISODES_KEY: &str = "meta/episodes.jsonl";
/// One line an episode: its statistics.
pub(super) const STATS_KEY: &str = "meta/episodes_stats.jsonl";
/// One line a task.
pub(super) const TASKS_KEY: &str = "meta/tasks.jsonl";
/// `data_path` of info.json.
const DATA_PATH: &str = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet";
/// `video_path` of info.json, when there are videos.
const VIDEO_PATH: &str = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4";
/// The statistics that v2.1 knows.
const STAT_NAMES: [&str; 5] = ["min", "max", "mean", "std", "count"];

/// The file, with its keys in lerobot's order.
#[derive(Serialize)]
struct Info<'a> {
    codebase_version: &'static str,
    robot_type: Option<&'a str>,
    total_episodes: u64,
    total_frames: u64,
    total_tasks: u64,
    total_videos: u64,
    total_chunks: u64,
    chunks_size: u32,
    fps: u32,
    splits: Ordered<String>,
    data_path: &'static str,
    video_path: Option<&'static str>,
    features: Ordered<FeatureInfo>,
}

/// `meta/info.json` of a dataset with these features (without the five index columns).
///
/// # Errors
/// None.
pub(super) fn info_bytes(
    fps: u32,
    robot_type: Option<&str>,
    features: &[Feature],
    streams: &[(&str, &VideoStream)],
    totals: Totals,
) -> Result<Vec<u8>, LerobotError> {
    let videos = features.iter().filter(|feature| feature.dtype == Dtype::Video).count() as u64;
    let entries = features.iter().cloned().chain(index_features()).map(|feature| {
        let mut entry = FeatureInfo::of(&feature);
        if let Some((_, stream)) = streams.iter().find(|(name, _)| *name == feature.name) {
            entry.info = Some(video_info(stream, fps));
        }
        (feature.name, entry)
    });
    let info = Info {
        codebase_version: Version::V21.name(),
        robot_type,
        total_episodes: totals.episodes,
        total_frames: totals.frames,
        total_tasks: totals.tasks,
        total_videos: totals.episodes * videos,
        total_chunks: totals.episodes.div_ceil(CHUNK_FILES.into()),
        chunks_size: CHUNK_FILES,
        fps,
        splits: Ordered(vec![("train".to_owned(), format!("0:{}", totals.episodes))]),
        data_path: DATA_PATH,
        video_path: (videos > 0).then_some(VIDEO_PATH),
        features: Ordered(entries.collect()),
    };
    to_json(INFO_KEY, &info)
}

/// What info.json says of a video: what lerobot 0.3.3 finds in the file of the first episode.
fn video_info(stream: &VideoStream, fps: u32) -> Value {
    json!({
        "video.height": stream.height,
        "video.width": stream.width,
        "video.codec": stream.codec.name(),
        "video.pix_fmt": PIXEL_FORMAT,
        "video.is_depth_map": false,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": false,
    })
}

/// The data file of an episode.
pub(super) fn data_key(episode: u64) -> String {
    format!("data/chunk-{:03}/episode_{episode:06}.parquet", episode / u64::from(CHUNK_FILES))
}

/// The episode whose data file this is, if it is one's.
pub(super) fn episode_of(key: &str) -> Option<u64> {
    let (_, name) = key.strip_prefix("data/chunk-")?.split_once('/')?;
    name.strip_prefix("episode_")?.strip_suffix(".parquet")?.parse().ok()
}

/// An episode's file of a video.
pub(super) fn video_key(video: &str, episode: u64) -> String {
    format!("videos/chunk-{:03}/{video}/episode_{episode:06}.mp4", episode / u64::from(CHUNK_FILES))
}

/// The video and the episode whose file this is, if it is one's.
pub(super) fn video_of(key: &str) -> Option<(&str, u64)> {
    let (_, name) = key.strip_prefix("videos/chunk-")?.split_once('/')?;
    let (video, name) = name.split_once('/')?;
    Some((video, name.strip_prefix("episode_")?.strip_suffix(".mp4")?.parse().ok()?))
}

/// A file of lines of JSON. Nothing is visible before [`Lines::finish`].
pub(super) struct Lines {
    storage: SharedStorage,
    key: &'static str,
    writer: Box<dyn ObjectWriter>,
    written: u64,
}

impl Lines {
    /// Starts the file.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn create(storage: &SharedStorage, key: &'static str) -> Result<Self, LerobotError> {
        Ok(Self { storage: Arc::clone(storage), key, writer: storage.writer(key)?, written: 0 })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn push(&mut self, line: &impl Serialize) -> Result<(), LerobotError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| LerobotError::damaged(self.key, error))?;
        bytes.push(b'\n');
        self.written += bytes.len() as u64;
        let wrote = self.writer.write_all(&bytes);
        Ok(wrote.map_err(|error| from_io(self.storage.as_ref(), "writing", self.key, error))?)
    }

    /// Ends the file: durable and visible when it returns. Gives its size in bytes.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn finish(self) -> Result<u64, LerobotError> {
        self.writer.finish()?;
        Ok(self.written)
    }
}

/// A line of [`TASKS_KEY`].
#[derive(Serialize)]
pub(super) struct TaskLine<'a> {
    pub(super) task_index: usize,
    pub(super) task: &'a str,
}

/// A line of [`EPISODES_KEY`].
#[derive(Serialize)]
pub(super) struct EpisodeLine<'a> {
    pub(super) episode_index: u64,
    pub(super) tasks: [&'a str; 1],
    pub(super) length: u64,
}

/// A line of [`STATS_KEY`].
#[derive(Serialize)]
pub(super) struct StatsLine {
    pub(super) episode_index: u64,
    pub(super) stats: Ordered<Ordered<Value>>,
}

/// Statistics as v2.1 has them.
pub(super) fn stats(stats: &Stats, is_image: bool) -> Ordered<Value> {
    let known = |name: &str| STAT_NAMES.contains(&name);
    Ordered(stats.to_json(is_image).0.into_iter().filter(|(name, _)| known(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_the_loader_looks_for_them() {
        assert_eq!(data_key(0), "data/chunk-000/episode_000000.parquet");
        assert_eq!(data_key(12_345), "data/chunk-012/episode_012345.parquet");
        assert_eq!(episode_of(&data_key(12_345)), Some(12_345));
        for key in ["data/chunk-000/file-000.parquet", "data/episode_000001.parquet", "data/chunk-0/x"] {
            assert_eq!(episode_of(key), None, "{key}");
        }
        let key = "videos/chunk-012/observation.images.front/episode_012345.mp4";
        assert_eq!(video_key("observation.images.front", 12_345), key);
        assert_eq!(video_of(key), Some(("observation.images.front", 12_345)));
        for key in ["videos/front/chunk-000/file-000.mp4", "videos/chunk-000/front/notes.mp4", "videos/x"] {
            assert_eq!(video_of(key), None, "{key}");
        }
    }
}
