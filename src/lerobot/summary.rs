//! What a dataset amounts to, for a summary at the end of a run.

use super::assemble::Skipped;
use super::card::{optional, part_key, part_of};
use super::error::LerobotError;
use super::info::Info;
use super::json::read_json;
use super::layout::{OWN_PREFIX, SKIPPED_KEY};
use crate::storage::Storage;
use serde::Serialize;

/// A dataset in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetSummary {
    /// Episodes.
    pub episodes: u64,
    /// Frames of all episodes.
    pub frames: u64,
    /// Tasks.
    pub tasks: u64,
    /// Frames a second.
    pub fps: u32,
    /// The robot, if known.
    pub robot_type: Option<String>,
    /// Bytes of data, metadata and videos, without anything else that lies beside.
    pub bytes: u64,
    /// The features, without the five that every dataset has.
    pub features: Vec<FeatureSummary>,
}

/// A feature in a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeatureSummary {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: String,
    /// Its sides.
    pub shape: Vec<u64>,
}

/// Reads `meta/info.json` and the files' sizes.
///
/// # Errors
/// The storage's, and [`LerobotError::Damaged`] for an info.json that cannot be read.
pub fn summary(storage: &dyn Storage) -> Result<DatasetSummary, LerobotError> {
    let info = Info::read(storage)?;
    let mut bytes = 0u64;
    for folder in ["data/", "meta/", "videos/"] {
        for object in storage.list(folder)? {
            bytes = bytes.saturating_add(object?.size);
        }
    }
    let is_own = |name: &str| !super::feature::INDEX_COLUMNS.iter().any(|(index, _)| *index == name);
    let features = info.features.0.into_iter().filter(|(name, _)| is_own(name));
    Ok(DatasetSummary {
        episodes: info.total_episodes,
        frames: info.total_frames,
        tasks: info.total_tasks,
        fps: info.fps,
        robot_type: info.robot_type,
        bytes,
        features: features
            .map(|(name, feature)| FeatureSummary { name, dtype: feature.dtype, shape: feature.shape })
            .collect(),
    })
}

/// The number of the first episode of the batch that this program added last; 0 where it added to none of its own.
///
/// # Errors
/// The storage's.
pub fn latest_batch(storage: &dyn Storage) -> Result<u64, LerobotError> {
    let mut latest = 0;
    for object in storage.list(OWN_PREFIX)? {
        latest = part_of(&object?.key).map_or(latest, |from| latest.max(from));
    }
    Ok(latest)
}

/// The recordings that gave no episode in the batch whose first episode has this number.
///
/// # Errors
/// The storage's, and [`LerobotError::Damaged`] for a list that cannot be read.
pub fn skipped_of(storage: &dyn Storage, from: u64) -> Result<Vec<Skipped>, LerobotError> {
    Ok(optional(read_json(storage, &part_key(SKIPPED_KEY, from)))?.unwrap_or_default())
}
