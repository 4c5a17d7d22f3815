//! The rules of the format by name, and what was found against them.

use serde::Serialize;
use std::collections::BTreeMap;

/// How many findings against one rule in one file are told one by one.
const MAX_FINDINGS: usize = 5;

/// A rule. Those marked as advice are kept by lerobot's own writer, but its loader reads a file that breaks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// info.json is there and can be read.
    InfoReadable,
    /// codebase_version is v3.0.
    InfoVersion,
    /// fps is at least 1.
    InfoFps,
    /// Each feature has a known dtype, a shape and fitting names, and no `/` in its name.
    InfoFeatures,
    /// The five index features are the last, with their dtypes and shape `[1]`.
    InfoIndexFeatures,
    /// total_episodes, total_frames and total_tasks are what is there.
    InfoTotals,
    /// chunks_size and the file sizes are positive.
    InfoSizes,
    /// data_path and video_path name chunk, file and video.
    InfoPaths,
    /// Splits are ranges of episodes.
    InfoSplits,
    /// tasks.parquet is there and can be read.
    TasksReadable,
    /// pandas metadata makes `task` the index.
    TasksIndex,
    /// task_index counts from 0, and no text is there twice.
    TasksOrder,
    /// The episodes' files are there and can be read.
    EpisodesReadable,
    /// All columns are there, statistics included.
    EpisodesColumns,
    /// episode_index counts from 0.
    EpisodesOrder,
    /// dataset_from_index, dataset_to_index and length follow each other without gaps.
    EpisodesRange,
    /// Each episode's tasks are in tasks.parquet, and those of its frames among them.
    EpisodesTasks,
    /// meta/episodes/chunk_index and file_index name the file that the row is in.
    EpisodesPlace,
    /// A data file is there and can be read.
    DataReadable,
    /// A data file's columns are the features, in order, with their types.
    DataSchema,
    /// The `huggingface` metadata describes the features.
    DataHuggingface,
    /// A data file has the rows of its episodes: each whole, one behind the other.
    DataRows,
    /// `index` is the row's number in the dataset.
    DataIndex,
    /// `episode_index` is the episode's number.
    DataEpisodeIndex,
    /// `frame_index` counts from 0 in each episode.
    DataFrameIndex,
    /// `timestamp` is exactly float32(frame_index / fps).
    DataTimestamp,
    /// `task_index` is a row of tasks.parquet.
    DataTaskIndex,
    /// No value is null, but an image's path.
    DataNulls,
    /// An image is JPEG or PNG, of the feature's shape.
    DataImages,
    /// No other Parquet file lies where the loader looks for data and episodes.
    DataStray,
    /// Advice: a row group holds frames of one episode.
    DataRowGroups,
    /// Advice: columns are compressed with Snappy, but for image bytes.
    DataCompression,
    /// stats.json is there and can be read.
    StatsReadable,
    /// Each feature but texts has all ten statistics.
    StatsKeys,
    /// A statistic has one value an element, or `[channels][1][1]`.
    StatsShape,
    /// Statistics are finite and in order: min, quantiles, max; std not below 0; counts that can be.
    StatsValues,
    /// min, max and mean are those of the data.
    StatsMatch,
    /// Video files that episodes name are there, with times that fit.
    VideoFiles,
    /// The record of an append, where there is one, can be read.
    AppendRecord,
    /// A video file is mp4 with one video track and nothing else, whole.
    VideoReadable,
    /// A video file has the frames of its episodes: each whole, one behind the other.
    VideoFrames,
    /// Each frame is shown at its number / fps, within 0.0001 s.
    VideoTimes,
    /// Codec and size are what info.json says.
    VideoShape,
    /// The first frame can be decoded alone, and what the index says of others can be.
    VideoKeyFrames,
    /// Every frame decodes; only looked at when asked for.
    VideoDecodes,
    /// Advice: between frames that can be decoded alone are no more than info.json says.
    VideoGop,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 46] = [
        Self::InfoReadable,
        Self::InfoVersion,
        Self::InfoFps,
        Self::InfoFeatures,
        Self::InfoIndexFeatures,
        Self::InfoTotals,
        Self::InfoSizes,
        Self::InfoPaths,
        Self::InfoSplits,
        Self::TasksReadable,
        Self::TasksIndex,
        Self::TasksOrder,
        Self::EpisodesReadable,
        Self::EpisodesColumns,
        Self::EpisodesOrder,
        Self::EpisodesRange,
        Self::EpisodesTasks,
        Self::EpisodesPlace,
        Self::DataReadable,
        Self::DataSchema,
        Self::DataHuggingface,
        Self::DataRows,
        Self::DataIndex,
        Self::DataEpisodeIndex,
        Self::DataFrameIndex,
        Self::DataTimestamp,
        Self::DataTaskIndex,
        Self::DataNulls,
        Self::DataImages,
        Self::DataStray,
        Self::DataRowGroups,
        Self::DataCompression,
        Self::StatsReadable,
        Self::StatsKeys,
        Self::StatsShape,
        Self::StatsValues,
        Self::StatsMatch,
        Self::VideoFiles,
        Self::AppendRecord,
        Self::VideoReadable,
        Self::VideoFrames,
        Self::VideoTimes,
        Self::VideoShape,
        Self::VideoKeyFrames,
        Self::VideoDecodes,
        Self::VideoGop,
    ];

    /// Whether a loader reads a dataset that breaks it.
    pub fn is_advice(self) -> bool {
        matches!(self, Self::DataRowGroups | Self::DataCompression | Self::VideoGop)
    }
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as its key.
    pub file: String,
    /// The rule.
    pub rule: Rule,
    /// What is there, and what should be.
    pub what: String,
}

/// What has been found so far. Bounded: of one kind in one file, the first few are kept and the rest counted.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    counts: BTreeMap<(String, Rule), usize>,
}

impl Findings {
    /// Adds a finding.
    pub(super) fn add(&mut self, file: &str, rule: Rule, what: impl Into<String>) {
        let count = self.counts.entry((file.to_owned(), rule)).or_default();
        *count += 1;
        if *count <= MAX_FINDINGS {
            self.problems.push(Problem { file: file.to_owned(), rule, what: what.into() });
        }
    }

    /// Adds a finding unless `holds`.
    pub(super) fn hold(&mut self, holds: bool, file: &str, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.add(file, rule, what());
        }
    }

    /// The problems and the advice, in the order of finding; the rest of each kind as a number.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        for ((file, rule), count) in self.counts {
            if count > MAX_FINDINGS {
                let what = format!("and {} more like this", count - MAX_FINDINGS);
                self.problems.push(Problem { file, rule, what });
            }
        }
        self.problems.into_iter().partition(|problem| !problem.rule.is_advice())
    }
}
