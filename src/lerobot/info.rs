//! `meta/info.json`: what the dataset is. Its being there is what makes the dataset one.

use super::error::LerobotError;
use super::feature::{Dtype, Feature, index_features};
use super::json::{Ordered, read_json, to_json};
use super::layout::{CHUNK_FILES, DATA_FILE_MB, DATA_PATH, INFO_KEY, VIDEO_FILE_MB, VIDEO_PATH};
use super::video::VideoStream;
use crate::storage::Storage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a number of a depth image is: millimetres, by ROS REP 118. lerobot marks depth maps so since 0.6, keeps their
/// statistics in this unit, and gives their frames as they are.
const DEPTH_UNIT: &str = "mm";
/// The version of the format.
pub const CODEBASE_VERSION: &str = "v3.0";

/// A version of the format that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// Several episodes a file, metadata in Parquet.
    #[default]
    V30,
    /// One file an episode, metadata in lines of JSON: for older trainers.
    V21,
}

impl Version {
    /// As `codebase_version` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V30 => CODEBASE_VERSION,
            Self::V21 => "v2.1",
        }
    }
}

/// The file, with its keys in lerobot's order. What other writers add is left aside when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// [`CODEBASE_VERSION`].
    pub codebase_version: String,
    /// Frames a second.
    pub fps: u32,
    /// The features, in the order of their columns, the five index columns last.
    pub features: Ordered<FeatureInfo>,
    /// Episodes.
    pub total_episodes: u64,
    /// Frames of all episodes.
    pub total_frames: u64,
    /// Rows of tasks.parquet.
    pub total_tasks: u64,
    /// Files in a chunk folder.
    pub chunks_size: u32,
    /// A new data file before an episode would pass this; 0 in v2.1, which does not say.
    #[serde(default)]
    pub data_files_size_in_mb: u32,
    /// A new video file before an episode would pass this; 0 in v2.1.
    #[serde(default)]
    pub video_files_size_in_mb: u32,
    /// Template of the data files' keys.
    pub data_path: String,
    /// Template of the video files' keys; null without videos.
    pub video_path: Option<String>,
    /// The robot; null when nobody said.
    #[serde(default)]
    pub robot_type: Option<String>,
    /// Ranges of episodes by name, as `from:to`.
    pub splits: Ordered<String>,
}

/// A feature as info.json describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureInfo {
    /// The element type's name. Others write some that this program never does.
    pub dtype: String,
    /// Sides.
    pub shape: Vec<u64>,
    /// A list of names, or null; others also write objects.
    #[serde(default)]
    pub names: Value,
    /// Of a video: codec and size by `video.*` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Value>,
}

/// What a new dataset amounts to.
#[derive(Debug, Clone, Copy)]
pub struct Totals {
    /// Episodes.
    pub episodes: u64,
    /// Frames.
    pub frames: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Info {
    /// The file for a dataset with these features (without the five index columns).
    pub fn new(fps: u32, robot_type: Option<&str>, features: &[Feature], totals: Totals) -> Self {
        let has_video = features.iter().any(|feature| feature.dtype == Dtype::Video);
        let entries = features.iter().cloned().chain(index_features());
        Self {
            codebase_version: CODEBASE_VERSION.to_owned(),
            fps,
            features: Ordered(
                entries.map(|feature| (feature.name.clone(), FeatureInfo::of(&feature))).collect(),
            ),
            total_episodes: totals.episodes,
            total_frames: totals.frames,
            total_tasks: totals.tasks,
            chunks_size: CHUNK_FILES,
            data_files_size_in_mb: DATA_FILE_MB,
            video_files_size_in_mb: VIDEO_FILE_MB,
            data_path: DATA_PATH.to_owned(),
            video_path: has_video.then(|| VIDEO_PATH.to_owned()),
            robot_type: robot_type.map(str::to_owned),
            splits: Ordered(vec![("train".to_owned(), format!("0:{}", totals.episodes))]),
        }
    }

    /// The same, with what each video is.
    #[must_use]
    pub fn with_videos<'a>(mut self, videos: impl IntoIterator<Item = (&'a str, &'a VideoStream)>) -> Self {
        for (name, stream) in videos {
            if let Some((_, feature)) = self.features.0.iter_mut().find(|(feature, _)| feature == name) {
                feature.info = Some(stream.info(self.fps));
            }
        }
        self
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None for what [`Info::new`] made.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LerobotError> {
        to_json(INFO_KEY, self)
    }

    /// Reads a dataset's.
    ///
    /// # Errors
    /// The storage's, and [`LerobotError::Damaged`] with line and column.
    pub fn read(storage: &dyn Storage) -> Result<Self, LerobotError> {
        read_json(storage, INFO_KEY)
    }
}

impl FeatureInfo {
    pub(super) fn of(feature: &Feature) -> Self {
        Self {
            dtype: feature.dtype.name().to_owned(),
            shape: feature.shape.iter().map(|side| u64::from(*side)).collect(),
            names: feature.names.as_ref().map_or(Value::Null, |names| Value::from(names.clone())),
            info: feature.is_depth().then(|| json!({ "is_depth_map": true, "depth_unit": DEPTH_UNIT })),
        }
    }

    /// The names of its elements, where they are given: as a list, or as the one list of an object.
    pub(super) fn name_list(&self) -> Option<Vec<String>> {
        let list = match &self.names {
            Value::Object(lists) if lists.len() == 1 => lists.values().next()?,
            names => names,
        };
        list.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// Whether it is a picture: an image or a video.
    pub fn is_picture(&self) -> bool {
        matches!(self.dtype.as_str(), "image" | "video")
    }
}
