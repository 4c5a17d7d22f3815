//! The dataset that a batch is appended to, as it was before the first file was added.
//!
//! It is recorded beside the dataset, in [`BASE_KEY`], before anything else is written: an append that was killed and is
//! begun again goes by what was there then, not by what it left itself. A record whose `meta/info.json` still stands is
//! of an append that was never published: whoever has the right to write now takes it over. It writes no dataset.

mod early;
mod table;
mod videos;

pub use early::{Wanted, WantedPicture, check_wanted};

use super::episodes::{StatColumn, fields};
use super::error::LerobotError;
use super::feature::Feature;
use super::info::{CODEBASE_VERSION, Info};
use super::json::{Json, Ordered, parse_json};
use super::layout::{CHUNK_FILES, DATA_PATH, INFO_KEY, STATS_KEY, TASKS_KEY, VIDEO_PATH};
use super::staged::StagedEpisode;
use super::tasks::read_tasks;
use crate::storage::{SharedStorage, Storage, StorageError};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use table::Files;
use videos::BaseVideo;

/// Where the record stands.
pub(super) const BASE_KEY: &str = ".roboflow/append.json";
/// The version of the record.
const VERSION: u32 = 1;
/// The largest info.json, stats.json or record that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Statistics as stats.json has them.
pub(super) type StatsJson = Ordered<Ordered<Json>>;

/// The dataset as it was found, and who appends to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Base {
    version: u32,
    /// Whose append this is.
    owner: String,
    /// Of `info`.
    info_sha256: String,
    /// `meta/info.json`.
    info: String,
    /// The tasks' texts.
    pub(super) tasks: Vec<String>,
    /// `meta/stats.json`.
    pub(super) stats: StatsJson,
    /// The number of the first data file to add.
    pub(super) data_files: u32,
    /// The number of the first file of the episodes' table to add.
    pub(super) episode_files: u32,
    /// The videos, with the numbers of the first files to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) videos: BTreeMap<String, BaseVideo>,
}

impl Base {
    /// What is appended to, for `owner`. Writes nothing.
    ///
    /// # Errors
    /// The storage's; [`LerobotError::Unfit`] when there is no dataset, or none that can be appended to.
    pub(super) fn find(out: &SharedStorage, owner: &str) -> Result<Self, LerobotError> {
        let info = match out.read(INFO_KEY, MAX_BYTES) {
            Ok(info) => info,
            Err(StorageError::NotFound { location, .. }) => {
                let text = format!(
                    "{location}: there is no {INFO_KEY}, so no dataset to append to: leave out --append to begin one"
                );
                return Err(LerobotError::Unfit(text));
            }
            Err(error) => return Err(error.into()),
        };
        let now = sha256(&info);
        let owner = owner.to_owned();
        match Self::recorded(out.as_ref())? {
            // An append that was not published, whoever's; or ours, published or not: that shows when it goes on.
            Some(base) if base.info_sha256 == now || base.owner == owner => Ok(Self { owner, ..base }),
            Some(_) | None => Self::look(out, owner, &info, now),
        }
    }

    /// The record, if there is one.
    fn recorded(out: &dyn Storage) -> Result<Option<Self>, LerobotError> {
        let text = match out.read(BASE_KEY, MAX_BYTES) {
            Ok(text) => text,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let base: Self = parse_json(BASE_KEY, &text)?;
        if base.version != VERSION {
            let reason = format!("it is of version {}, this program knows {VERSION}", base.version);
            return Err(LerobotError::damaged(BASE_KEY, reason));
        }
        Ok(Some(base))
    }

    /// The record of an append that is not published yet: files beyond it are not the dataset's.
    ///
    /// # Errors
    /// The storage's, and [`LerobotError::Damaged`].
    pub(super) fn unpublished(out: &dyn Storage) -> Result<Option<Self>, LerobotError> {
        let Some(base) = Self::recorded(out)? else { return Ok(None) };
        Ok((sha256(&out.read(INFO_KEY, MAX_BYTES)?) == base.info_sha256).then_some(base))
    }

    fn look(out: &SharedStorage, owner: String, text: &[u8], now: String) -> Result<Self, LerobotError> {
        let info: Info = parse_json(INFO_KEY, text)?;
        check_layout(&info, out.as_ref())?;
        let tasks = read_tasks(out)?;
        let counts =
            tasks.rows.iter().enumerate().all(|(row, (number, _))| i64::try_from(row) == Ok(*number));
        if !counts || tasks.rows.len() as u64 != info.total_tasks {
            let reason = format!("its tasks are not numbered from 0 to {}", info.total_tasks);
            return Err(LerobotError::damaged(TASKS_KEY, reason));
        }
        let found = Files::look(out, &info)?;
        let text =
            String::from_utf8(text.to_vec()).map_err(|error| LerobotError::damaged(INFO_KEY, error))?;
        Ok(Self {
            version: VERSION,
            owner,
            info_sha256: now,
            info: text,
            tasks: tasks.rows.into_iter().map(|(_, text)| text).collect(),
            stats: parse_json(STATS_KEY, &out.read(STATS_KEY, MAX_BYTES)?)?,
            data_files: found.data,
            episode_files: found.episodes,
            videos: found.videos,
        })
    }

    /// The dataset's `meta/info.json`.
    ///
    /// # Errors
    /// None for a record of this program's.
    pub(super) fn info(&self) -> Result<Info, LerobotError> {
        parse_json(INFO_KEY, self.info.as_bytes())
    }

    /// The columns that the table of episodes goes on with, for these videos and statistics; none for an empty table.
    ///
    /// # Errors
    /// [`LerobotError::Damaged`] with the column that differs.
    pub(super) fn table(
        &self,
        out: &SharedStorage,
        videos: &[&str],
        columns: &[StatColumn],
    ) -> Result<Option<SchemaRef>, LerobotError> {
        (self.episode_files > 0).then(|| table::form(out, &fields(videos, columns))).transpose()
    }

    /// Whether a staged episode has the features of the dataset, coded as they are there; its features, in the dataset's
    /// order.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn fit(&self, info: &Info, staged: &StagedEpisode) -> Result<Vec<Feature>, String> {
        let features = fit(info, &staged.features)?;
        let mut both = self
            .videos
            .iter()
            .filter_map(|(name, theirs)| theirs.difference(name, staged.videos.get(name)?, staged.fps));
        both.next().map_or(Ok(features), Err)
    }

    /// `meta/info.json` with other totals, and all else as it was.
    ///
    /// # Errors
    /// [`LerobotError::Unfit`] for splits that do not go on by themselves.
    pub(super) fn info_with(
        &self,
        totals: [(&str, u64); 3],
        robot: Option<&str>,
    ) -> Result<Vec<u8>, LerobotError> {
        let mut info: Ordered<Json> = parse_json(INFO_KEY, self.info.as_bytes())?;
        let before = self.info()?;
        let train = |to: u64| format!("0:{to}");
        if before.splits.0 != [("train".to_owned(), train(before.total_episodes))] {
            return Err(LerobotError::Unfit(format!(
                "{INFO_KEY}: its splits are {:?}, and which of them grows is not known: make it one, \"train\"",
                before.splits.0
            )));
        }
        let mut episodes = before.total_episodes;
        for (name, value) in totals {
            info.set(name, Json::Number(value.into()));
            if name == "total_episodes" {
                episodes = value;
            }
        }
        info.set("splits", Json::Object(Ordered(vec![("train".to_owned(), Json::String(train(episodes)))])));
        if let (None, Some(robot)) = (&before.robot_type, robot) {
            info.set("robot_type", Json::String(robot.to_owned()));
        }
        super::json::to_json(INFO_KEY, &info)
    }

    /// Makes the append ours where it is not, before a write; `again` when it was ours before, and `published` is what
    /// info.json becomes.
    ///
    /// # Errors
    /// [`LerobotError::Unfit`] when the dataset is another one meanwhile, or somebody else's append.
    pub(super) fn hold(&self, out: &dyn Storage, again: bool, published: &[u8]) -> Result<(), LerobotError> {
        let now = sha256(&out.read(INFO_KEY, MAX_BYTES)?);
        if now != self.info_sha256 && now != sha256(published) {
            return Err(LerobotError::Unfit(format!(
                "{}: {INFO_KEY} has changed since the append began: append to the dataset as it is now, by a new batch",
                out.location()
            )));
        }
        match Self::recorded(out)? {
            Some(base) if base == *self => Ok(()),
            Some(base) if again => Err(LerobotError::Unfit(format!(
                "{}: the append {} has taken the place of this one",
                out.location(),
                base.owner
            ))),
            Some(_) | None => Ok(out.put(BASE_KEY, &super::json::to_json(BASE_KEY, self)?)?),
        }
    }
}

/// Only what this program writes itself: a version and a layout that all of its files fit in.
fn check_layout(info: &Info, out: &dyn Storage) -> Result<(), LerobotError> {
    let video = info.video_path.as_deref();
    let wrong = if info.codebase_version != CODEBASE_VERSION {
        format!("it is of version {}: only {CODEBASE_VERSION} is appended to", info.codebase_version)
    } else if info.chunks_size != CHUNK_FILES {
        format!("it has {} files in a folder, not {CHUNK_FILES}", info.chunks_size)
    } else if info.data_path != DATA_PATH {
        format!("its data files lie at {}, not at {DATA_PATH}", info.data_path)
    } else if video.is_some_and(|path| path != VIDEO_PATH) {
        format!("its videos lie at {}, not at {VIDEO_PATH}", video.unwrap_or_default())
    } else {
        return Ok(());
    };
    Err(LerobotError::Unfit(format!("{}: {wrong}; choose another --out", out.location())))
}

/// As hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether features of staged episodes are those of the dataset; theirs, in the dataset's order.
fn fit(info: &Info, ours: &[Feature]) -> Result<Vec<Feature>, String> {
    let own = |name: &str| !super::feature::INDEX_COLUMNS.iter().any(|(index, _)| *index == name);
    let mut ordered = Vec::with_capacity(ours.len());
    for (name, theirs) in info.features.0.iter().filter(|(name, _)| own(name)) {
        let Some(feature) = ours.iter().find(|feature| feature.name == *name) else {
            return Err(format!("the dataset has the feature {name}, the recordings have not"));
        };
        let shape: Vec<u64> = feature.shape.iter().map(|side| u64::from(*side)).collect();
        if feature.dtype.name() != theirs.dtype || shape != theirs.shape {
            return Err(format!(
                "feature {name} is {} {:?} in the dataset and {} {shape:?} in the recordings",
                theirs.dtype,
                theirs.shape,
                feature.dtype.name()
            ));
        }
        if let (Some(ours), Some(theirs)) = (&feature.names, theirs.name_list())
            && *ours != theirs
        {
            return Err(format!(
                "feature {name} has the elements {theirs:?} in the dataset and {ours:?} in the recordings"
            ));
        }
        ordered.push(feature.clone());
    }
    match ours.iter().find(|feature| info.features.get(&feature.name).is_none()) {
        Some(feature) => {
            Err(format!("the recordings have the feature {}, the dataset has not", feature.name))
        }
        None => Ok(ordered),
    }
}
