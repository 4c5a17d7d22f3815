//! Packs staged episodes into a dataset: one segment a data file, and a last one for the metadata.
//!
//! Architecture Invariant: it knows staging and the format, nothing of recordings, queues or leases. Which episode
//! goes to which file follows from staging alone, so any segment can be run again, by anyone, with the same bytes.
//! `meta/info.json` is written last: a reader that looks for it first never sees a half-made dataset.

mod data_file;
mod episode_stats;
mod meta;
mod plan;
mod publish;

use super::error::LerobotError;
use crate::storage::SharedStorage;
use crate::work::{SegmentDone, StopFlag, Work, WorkError};
use plan::Plan;
use serde::{Deserialize, Serialize};

/// A recording that gave no episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The recording's name.
    pub source: String,
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
    /// A prefix of its own in staging, ending with `/`: statistics of finished data files wait there for the last
    /// segment. May be removed with the rest of staging.
    pub scratch: String,
}

/// The assembly of one dataset.
#[derive(Debug)]
pub struct AssembleWork {
    staging: SharedStorage,
    out: SharedStorage,
    options: AssembleOptions,
    plan: Plan,
    warnings: Vec<String>,
}

impl AssembleWork {
    /// Reads what is staged under the given recordings' prefixes (each ending with `/`, in any order) and decides which
    /// episode goes where: in the order of the recordings' names, then of the episodes in each.
    ///
    /// # Errors
    /// [`WorkError::Permanent`] when a recording's staging is missing, unfinished or damaged, or episodes do not fit
    /// together (features, rate, robot): the message names both sources and the difference.
    pub fn open(
        staging: SharedStorage,
        episodes: &[String],
        out: SharedStorage,
        options: AssembleOptions,
    ) -> Result<Self, WorkError> {
        let plan = Plan::read(&staging, episodes)?;
        Ok(Self { staging, out, options, plan, warnings: Vec::new() })
    }

    /// Episodes of the dataset to be.
    pub fn episodes(&self) -> u64 {
        self.plan.episodes.len() as u64
    }

    /// Frames of the dataset to be.
    pub fn frames(&self) -> u64 {
        self.plan.frames
    }

    fn run_segment(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, LerobotError> {
        self.unpublish_another()?;
        if segment < self.plan.files {
            let (done, stats) = self.write_data_file(segment, stop)?;
            self.keep_stats(segment, &stats)?;
            return Ok(done);
        }
        self.write_meta(stop)
    }
}

impl Work for AssembleWork {
    fn segments(&self) -> u32 {
        self.plan.files + 1
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
