//! Checks a dataset against every rule of the format, and names what is wrong and where.
//!
//! It reads all data but decodes no pixels: of images the headers, of videos the index; unless it is asked to decode videos, too.
//! Memory is bounded by the episodes' table, one batch of rows, and the index of one video. What other folders hold (staging, notes) is nobody's business.

mod column;
mod data;
mod decode;
mod episodes;
mod huggingface;
mod info;
mod rule;
mod running;
mod stats;
mod tasks;
mod videos;

pub use rule::{Problem, Rule};

use super::base::{BASE_KEY, Base};
use super::error::LerobotError;
use super::summary::{DatasetSummary, summary};
use crate::error::{Class, Classified};
use crate::storage::{SharedStorage, StorageError};
use column::Column;
use episodes::Episode;
use rule::Findings;
use serde::Serialize;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Rules that are broken: a loader may refuse or misread the dataset.
    pub problems: Vec<Problem>,
    /// What lerobot itself would have written otherwise. The dataset is valid.
    pub advice: Vec<Problem>,
    /// What was not looked at.
    pub unchecked: Vec<String>,
    /// What the dataset amounts to; none when info.json cannot be read.
    pub summary: Option<DatasetSummary>,
}

impl Report {
    /// Whether no rule is broken.
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Pending {
    fn of(base: &Base) -> Self {
        Self { data_files: base.data_files, episode_files: base.episode_files }
    }
}

/// How far videos are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Their index.
    Index,
    /// Every frame is decoded, of H.264; other codecs are not looked into, and named as such.
    Frames,
}

/// What is known of the dataset while it is checked.
struct Dataset {
    storage: SharedStorage,
    info: super::info::Info,
    columns: Vec<Column>,
    tasks: Vec<String>,
    episodes: Vec<Episode>,
    /// Where files of an append begin that is not published: no part of the dataset.
    pending: Option<Pending>,
}

/// The numbers of the first files of an append that is not published yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    data_files: u32,
    episode_files: u32,
}

/// Checks the dataset in `storage`.
///
/// # Errors
/// Only trouble of the storage that may pass, or a place that cannot be read: all that is wrong with the dataset is
/// in the report.
pub fn validate(storage: &SharedStorage, depth: Depth) -> Result<Report, LerobotError> {
    let mut found = Findings::default();
    let mut unchecked = Vec::new();
    let mut dataset_summary = None;
    if let Some((info, columns)) = info::check(storage, &mut found)? {
        dataset_summary = Some(summary(storage.as_ref())?);
        let pending =
            or_finding(Base::unpublished(storage.as_ref()), BASE_KEY, Rule::AppendRecord, &mut found)?;
        let pending = pending.flatten().map(|base| Pending::of(&base));
        let tasks = tasks::check(storage, &info, pending, &mut found)?;
        let episodes = episodes::check(storage, &info, &columns, &tasks, pending, &mut found)?;
        let dataset = Dataset { storage: storage.clone(), info, columns, tasks, episodes, pending };
        let totals = data::check(&dataset, &mut found)?;
        if pending.is_some() {
            unchecked.push(
                "what an append has added that is not published yet, and stats.json, which it replaces: the same command goes on with it"
                    .to_owned(),
            );
        } else {
            stats::check_dataset(&dataset, &totals, &mut found)?;
        }
        unchecked.extend(videos::check(&dataset, depth, &mut found)?);
    }
    let (problems, advice) = found.finish();
    Ok(Report { problems, advice, unchecked, summary: dataset_summary })
}

/// The value; or, when the file itself is at fault, none and a finding.
fn or_finding<T>(
    result: Result<T, LerobotError>,
    file: &str,
    rule: Rule,
    found: &mut Findings,
) -> Result<Option<T>, LerobotError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(LerobotError::Storage(StorageError::NotFound { .. })) => {
            found.add(file, rule, "it is missing");
            Ok(None)
        }
        Err(LerobotError::Storage(StorageError::Invalid { reason, .. })) => {
            found.add(file, rule, reason);
            Ok(None)
        }
        Err(error @ LerobotError::Storage(_)) => Err(error),
        Err(LerobotError::Damaged { reason, .. }) => {
            found.add(file, rule, reason);
            Ok(None)
        }
        Err(error) if error.class() == Class::Permanent => {
            found.add(file, rule, error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
