//! Statistics of the episodes of one data file, from the staged numbers and pixel counts alone.

use super::data_file::open_segment;
use super::plan::{Plan, PlannedEpisode};
use super::{AssembleWork, check};
use crate::lerobot::data::staged_schema;
use crate::lerobot::episodes::StatColumn;
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::{Dtype, Feature, INDEX_COLUMNS};
use crate::lerobot::parquet_file::ParquetIn;
use crate::lerobot::staged::{ImageCounts, SEGMENT_NOTE_KEY, SegmentNote};
use crate::lerobot::stats::{Column, Stats, image_stats, merge_counts};
use crate::storage::StorageError;
use crate::work::StopFlag;
use arrow::array::RecordBatch;
use std::collections::BTreeMap;

/// Frames that are read at once: numbers only.
const BATCH_FRAMES: usize = 4096;
/// The largest file of kept statistics that is read back, in bytes.
const MAX_KEPT_BYTES: u64 = 256 * 1024 * 1024;

/// The features that have statistics, in the order in which [`EpisodeStats::finish`] gives them.
pub(super) fn stat_columns(features: &[Feature]) -> Vec<StatColumn> {
    let own = features.iter().filter(|feature| feature.dtype != Dtype::String);
    let own = own.map(|feature| StatColumn {
        name: feature.name.clone(),
        is_image: matches!(feature.dtype, Dtype::Image | Dtype::Video),
    });
    own.chain(INDEX_COLUMNS.iter().map(|(name, _)| StatColumn { name: (*name).to_owned(), is_image: false }))
        .collect()
}

/// What an episode's statistics are made of, gathered while its segments are read.
pub(super) struct EpisodeStats<'a> {
    features: &'a [Feature],
    columns: BTreeMap<&'a str, Column>,
    images: BTreeMap<String, ImageCounts>,
}

impl<'a> EpisodeStats<'a> {
    pub(super) fn new(features: &'a [Feature]) -> Self {
        let columns = features
            .iter()
            .filter_map(|feature| Some((feature.name.as_str(), Column::new(feature)?)))
            .collect();
        Self { features, columns, images: BTreeMap::new() }
    }

    /// Adds what a segment says of its images.
    pub(super) fn add_note(
        &mut self,
        file: &ParquetIn,
        segment: usize,
        source: &str,
    ) -> Result<(), LerobotError> {
        let in_file = |error: LerobotError| in_segment(source, segment, &error);
        let note: SegmentNote = match file.note(SEGMENT_NOTE_KEY).map(serde_json::from_str).transpose() {
            Ok(note) => note.unwrap_or_default(),
            Err(error) => return Err(in_file(LerobotError::damaged(SEGMENT_NOTE_KEY, error))),
        };
        for (name, counts) in &note.images {
            let empty = ImageCounts { frames: 0, channels: Default::default(), depth: BTreeMap::new() };
            merge_counts(self.images.entry(name.clone()).or_insert(empty), counts).map_err(in_file)?;
        }
        Ok(())
    }

    /// Adds rows.
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        segment: usize,
        source: &str,
    ) -> Result<(), LerobotError> {
        for (name, column) in &mut self.columns {
            if let Some(array) = batch.column_by_name(name) {
                column.extend(name, array.as_ref()).map_err(|error| in_segment(source, segment, &error))?;
            }
        }
        Ok(())
    }

    /// The statistics of each of [`stat_columns`].
    pub(super) fn finish(
        self,
        plan: &Plan,
        number: u64,
        episode: &PlannedEpisode,
    ) -> Result<Vec<Stats>, LerobotError> {
        let mut stats = Vec::with_capacity(self.features.len() + INDEX_COLUMNS.len());
        for feature in self.features.iter().filter(|feature| feature.dtype != Dtype::String) {
            stats.push(match self.columns.get(feature.name.as_str()) {
                Some(column) => column.stats(),
                None => picture_stats(episode, feature, self.images.get(&feature.name))?,
            });
        }
        stats.extend(index_stats(plan, number, episode));
        Ok(stats)
    }
}

fn in_segment(source: &str, segment: usize, error: &LerobotError) -> LerobotError {
    LerobotError::Unfit(format!("{source}: segment {segment}: {error}"))
}

/// Of the five index columns, in their order.
fn index_stats(plan: &Plan, number: u64, episode: &PlannedEpisode) -> [Stats; 5] {
    let fps = f64::from(plan.fps);
    let of = |value: &dyn Fn(u64) -> f64| Column::of_numbers((0..episode.frames).map(value)).stats();
    [
        of(&|frame| frame as f64 / fps),
        of(&|frame| frame as f64),
        of(&|_| number as f64),
        of(&|frame| (episode.from + frame) as f64),
        of(&|_| episode.task_index as f64),
    ]
}

impl AssembleWork {
    /// For each episode of a data file, the statistics of each of [`stat_columns`], from staging.
    fn file_stats(&self, file: u32, stop: &StopFlag) -> Result<Vec<Vec<Stats>>, LerobotError> {
        self.plan
            .episodes_of(file)
            .map(|(number, episode)| self.episode_stats(number, episode, stop))
            .collect()
    }

    fn episode_stats(
        &self,
        number: u64,
        episode: &PlannedEpisode,
        stop: &StopFlag,
    ) -> Result<Vec<Stats>, LerobotError> {
        let schema = staged_schema(&self.plan.staged);
        let mut stats = EpisodeStats::new(&self.plan.features);
        for segment in 0..episode.segments.len() {
            check(stop)?;
            let file = open_segment(&self.staging, episode, segment, &schema)?;
            stats.add_note(&file, segment, &episode.source)?;
            let names: Vec<&str> = stats.columns.keys().copied().collect();
            for batch in file.batches(BATCH_FRAMES, |name| names.contains(&name))? {
                check(stop)?;
                stats.add(&batch?, segment, &episode.source)?;
            }
        }
        stats.finish(&self.plan, number, episode)
    }

    /// Keeps a data file's statistics for the last segment. Durable when it returns.
    pub(super) fn keep_stats(&self, file: u32, stats: &[Vec<Stats>]) -> Result<(), LerobotError> {
        let key = self.kept_key(file);
        let bytes = postcard::to_stdvec(stats).map_err(|error| LerobotError::damaged(&key, error))?;
        Ok(self.staging.put(&key, &bytes)?)
    }

    /// A data file's statistics as they were kept, or else computed again.
    pub(super) fn kept_stats(&self, file: u32, stop: &StopFlag) -> Result<Vec<Vec<Stats>>, LerobotError> {
        let key = self.kept_key(file);
        match self.staging.read(&key, MAX_KEPT_BYTES) {
            Ok(bytes) => postcard::from_bytes(&bytes).map_err(|error| LerobotError::damaged(&key, error)),
            Err(StorageError::NotFound { .. }) => self.file_stats(file, stop),
            Err(error) => Err(error.into()),
        }
    }

    /// Named by the plan too: statistics of another plan are never taken for this one's.
    fn kept_key(&self, file: u32) -> String {
        format!("{}stats-{}-{file:05}.bin", self.options.scratch, self.plan.fingerprint)
    }
}

fn picture_stats(
    episode: &PlannedEpisode,
    feature: &Feature,
    counts: Option<&ImageCounts>,
) -> Result<Stats, LerobotError> {
    let channels = feature.shape.last().map_or(3, |channels| *channels as usize);
    match counts {
        Some(counts) if counts.frames > 0 => Ok(image_stats(counts, channels)),
        _ => Err(LerobotError::Unfit(format!(
            "{}: no frame of {} was sampled for statistics: convert it again",
            episode.source, feature.name
        ))),
    }
}
