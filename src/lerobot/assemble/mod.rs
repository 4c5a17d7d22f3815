//! Packs staged episodes into a dataset: one segment a data file, one a video file, and a last one for the metadata.
//!
//! Architecture Invariant: it knows staging and the format, nothing of recordings, queues or leases. Which episode
//! goes to which file follows from staging alone, so any segment can be run again, by anyone, with the same bytes.
//! `meta/info.json` is written last: a reader that looks for it first never sees a half-made dataset.
//!
//! Episodes that are added to a dataset go to new files behind its own; none of those is touched. Tasks, statistics and
//! `meta/info.json` are replaced, in this order: what the old `meta/info.json` names stays as it was.

mod data_file;
mod episode_stats;
mod in_order;
mod lines;
mod meta;
mod plan;
mod plan_videos;
mod publish;
mod video_file;

use super::base::Base;
use super::error::LerobotError;
use super::info::Version;
use crate::storage::SharedStorage;
use crate::work::{SegmentDone, StopFlag, Work, WorkError};
use arrow::datatypes::SchemaRef;
use episode_stats::stat_columns;
pub(super) use meta::SyncEntry;
use plan::Plan;
use serde::{Deserialize, Serialize};

/// Why nothing is added in v2.1.
pub const V21_APPEND: &str = "format = \"v2.1\" is written anew only: datasets of v3.0 are appended to; leave out --append, or the format";

/// A recording that gave no episode, or an episode of one that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The recording's name.
    pub source: String,
    /// Which episode of it; none where it is the whole recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<String>,
    /// Why.
    pub reason: String,
}

/// What the dataset is given beside its episodes.
#[derive(Debug, Clone, Default)]
pub struct AssembleOptions {
    /// The robot, in place of the one that the episodes name.
    pub robot_type: Option<String>,
    /// Recordings that gave no episode, for `meta/roboflow/skipped.json`.
    pub skipped: Vec<Skipped>,
    /// The mapping, for `meta/roboflow/mapping.toml`.
    pub mapping_text: String,
    /// The version of the format. Only v3.0 is appended to.
    pub version: Version,
    /// A prefix of its own in staging, ending with `/`: statistics of finished data files wait there for the last
    /// segment. May be removed with the rest of staging.
    pub scratch: String,
    /// Add the episodes to the dataset that is there, under this name of the append: the same at every try of it, and
    /// another one for any other. Nobody else may write the dataset meanwhile.
    pub append: Option<String>,
}

/// The assembly of one dataset.
#[derive(Debug)]
pub struct AssembleWork {
    staging: SharedStorage,
    out: SharedStorage,
    options: AssembleOptions,
    plan: Plan,
    /// What is appended to.
    base: Option<Base>,
    /// The columns of its table of episodes.
    table: Option<SchemaRef>,
    /// The append was made ours by this very object.
    held: bool,
    warnings: Vec<String>,
}

impl AssembleWork {
    /// Reads what is staged under the given recordings' prefixes (each ending with `/`, in any order) and decides which
    /// episode goes where: in the order of the recordings' names, then of the episodes in each.
    ///
    /// # Errors
    /// [`WorkError::Permanent`] when a recording's staging is missing, unfinished or damaged, or episodes do not fit
    /// together (features, rate, robot), with each other or with the dataset they are added to: the message names both
    /// sources and the difference.
    pub fn open(
        staging: SharedStorage,
        episodes: &[String],
        out: SharedStorage,
        options: AssembleOptions,
    ) -> Result<Self, WorkError> {
        if options.version == Version::V21 && options.append.is_some() {
            return Err(LerobotError::Unfit(V21_APPEND.to_owned()).into());
        }
        let base = options.append.as_deref().map(|owner| Base::find(&out, owner)).transpose()?;
        let mut plan = Plan::read(&staging, episodes, base.as_ref())?;
        let table = match &base {
            Some(base) => base.table(&out, &plan.video_names(), &stat_columns(&plan.features))?,
            None => None,
        };
        let mut skipped = options.skipped;
        skipped.append(&mut plan.left_out);
        skipped.sort_by(|a, b| a.source.cmp(&b.source));
        let options = AssembleOptions { skipped, ..options };
        Ok(Self { staging, out, options, plan, base, table, held: false, warnings: Vec::new() })
    }

    /// Episodes of the dataset to be.
    pub fn episodes(&self) -> u64 {
        self.plan.before + self.plan.episodes.len() as u64
    }

    /// Frames of the dataset to be.
    pub fn frames(&self) -> u64 {
        self.plan.frames
    }

    fn run_segment(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, LerobotError> {
        self.prepare()?;
        if segment < self.plan.files {
            let file = self.plan.first_file + segment;
            let (done, stats) = self.write_data_file(file, stop)?;
            self.keep_stats(file, &stats)?;
            return Ok(done);
        }
        match self.plan.video_file(segment - self.plan.files) {
            Some((video, file)) => self.write_video_file(video, file, stop),
            None => self.write_meta(stop),
        }
    }
}

impl Work for AssembleWork {
    fn segments(&self) -> u32 {
        self.plan.files + self.plan.video_files() + 1
    }

    fn run(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, WorkError> {
        if segment >= self.segments() {
            return Err(WorkError::Permanent(format!(
                "there is no segment {segment} of {}",
                self.segments()
            )));
        }
        Ok(self.run_segment(segment, stop)?)
    }

    fn frames(&self) -> u64 {
        self.plan.frames
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// `Err(LerobotError::Stopped)` once asked to stop.
fn check(stop: &StopFlag) -> Result<(), LerobotError> {
    if stop.is_set() { Err(LerobotError::Stopped) } else { Ok(()) }
}
