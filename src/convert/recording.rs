//! One recording as work: opened and planned once, then converted segment by segment into staging.
//!
//! What a segment is made from stands in its [`Blueprint`]; nothing is remembered from one segment to the next, so a
//! resumed job writes the same bytes. Only [`Work::run`] writes, and only what it was asked for.

use super::bind::{Bound, bind};
use super::blueprint::{Blueprint, Made};
use super::episode::{Episode, Episodes};
use super::grid::{Grid, Span, Stamp};
use super::mapping::Mapping;
use super::plan::{Plan, PlanError};
use super::rows::Sources;
use super::segment::non_finite_warnings;
use super::source::{MessageRef, Reader, Recording, TopicId};
use super::video::Cameras;
use super::{SegmentDone, StopFlag, Work, WorkError, shape, task};
use crate::lerobot::staged::{EPISODE_FILE, STAGED_VERSION, StagedEpisode};
use crate::storage::SharedStorage;
use std::collections::{BTreeMap, HashSet};

/// Frames of a segment unless a batch says otherwise.
pub const SEGMENT_FRAMES: u32 = 100;
/// Most frames of a segment.
pub const SEGMENT_FRAMES_MAX: u32 = 100_000;

/// The conversion of one recording.
pub struct RecordingWork {
    staging: SharedStorage,
    blueprint: Blueprint,
    reader: Reader,
    /// The recording's name in the dataset.
    source: String,
    /// NaN and infinite values of each feature, by segment: a segment run twice counts once.
    non_finite: BTreeMap<u32, BTreeMap<String, u64>>,
}

impl RecordingWork {
    /// Opens the recording `key` of `input` and plans its conversion: reads its summary (or scans it, when it has
    /// none), the indexes of the mapped topics, and the messages of the first kept frame.
    ///
    /// `source_name` is what the dataset orders episodes by; segments go to `prefix` (ending with `/`) in `staging`.
    ///
    /// # Errors
    /// [`WorkError::Permanent`] for a recording that cannot be read or does not fit the mapping, with what to do;
    /// [`WorkError::Transient`] for storage that may come back; [`WorkError::Stopped`].
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one independent choice of the job; a struct would only rename them"
    )]
    pub fn open(
        input: SharedStorage,
        key: &str,
        source_name: &str,
        staging: SharedStorage,
        prefix: &str,
        mapping: &Mapping,
        segment_frames: u32,
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        if !(1..=SEGMENT_FRAMES_MAX).contains(&segment_frames) {
            return Err(WorkError::Permanent(format!(
                "a segment of {segment_frames} frames is not allowed: 1 to {SEGMENT_FRAMES_MAX} are"
            )));
        }
        let recording = Recording::open(SharedStorage::clone(&input), key, stop)?;
        let Bound { topics, lanes, mut taps, features: bound } = bind(mapping, &recording, stop)?;
        let messages = recording.index(&topics, mapping.time, stop)?;
        let sources = Sources { recording: recording.clone(), messages, lanes };
        let grids = vec![shared_grid(&recording, &topics, &sources.messages, mapping.fps)?];
        let mut planned = Vec::with_capacity(grids.len());
        for grid in grids {
            let plan = plan(&sources, grid, stop)?;
            let task = task::task(mapping, &recording, &input, grid.end_ns(), stop)?;
            planned.push((plan, task));
        }
        let mut reader = recording.reader();
        // The first kept frame fixes the lengths, names and geometry that all others must have.
        if let Some((first, _)) = planned.first() {
            sources.read(&mut reader, &mut taps, &first.grid, &first.kept.frames(0..1), stop)?;
        }
        let features = shape::features(mapping, &bound, &taps)?;
        let cameras = Cameras::open(mapping, &features, stop)?;
        let mut episodes = Episodes::new(segment_frames);
        for (plan, task) in planned {
            episodes.push(prefix, plan, |plan, segments| StagedEpisode {
                version: STAGED_VERSION,
                source: source_name.to_owned(),
                source_bytes: recording.size_bytes(),
                fps: mapping.fps,
                robot_type: mapping.robot_type.clone(),
                task,
                frames: plan.kept.count(),
                segments,
                features: features.clone(),
                sync: plan.sync.clone(),
                warnings: recording.warnings().to_vec(),
                videos: cameras.streams(),
            })?;
        }
        let blueprint = Blueprint { sources, taps, bound, features, episodes, cameras };
        let source = source_name.to_owned();
        Ok(Self { staging, blueprint, reader, source, non_finite: BTreeMap::new() })
    }

    /// What is known of the episodes before their segments are there, in their order.
    pub fn episodes(&self) -> impl Iterator<Item = &StagedEpisode> {
        self.blueprint.episodes.iter().map(|episode| &episode.staged)
    }

    /// Writes a segment, and with an episode's last one the episode's own file. Gives the bytes written.
    fn write(&mut self, number: u32, made: Made) -> Result<u64, WorkError> {
        let Some(place) = self.blueprint.episodes.place(number) else { return Ok(0) };
        let mut written_bytes = made.segment.write(&self.staging, &place.key(), &self.blueprint.features)?;
        self.non_finite.insert(number, made.segment.note.non_finite);
        if place.is_last() {
            written_bytes += close(place.episode, &self.staging)?;
        }
        Ok(written_bytes)
    }
}

impl Work for RecordingWork {
    fn segments(&self) -> u32 {
        self.blueprint.episodes.segments()
    }

    fn run(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, WorkError> {
        let made = self.blueprint.make(segment, &mut self.reader, stop)?;
        let (frames, read_bytes) = (made.frames, made.read_bytes);
        let written_bytes = self.write(segment, made)?;
        Ok(SegmentDone { frames, read_bytes, written_bytes })
    }

    fn frames(&self) -> u64 {
        self.blueprint.episodes.frames()
    }

    fn warnings(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (feature, count) in self.non_finite.values().flatten() {
            *counts.entry(feature.clone()).or_default() += count;
        }
        let mut seen = HashSet::new();
        let all = self.episodes().flat_map(|episode| &episode.warnings);
        let of_file = all.filter(|warning| seen.insert(*warning)).cloned();
        of_file
            .chain(non_finite_warnings(&counts))
            .map(|warning| format!("{}: {warning}", self.source))
            .collect()
    }
}

/// Writes what says that an episode is complete. Gives its bytes.
fn close(episode: &Episode, staging: &SharedStorage) -> Result<u64, WorkError> {
    let key = format!("{}{EPISODE_FILE}", episode.folder);
    let mut body = serde_json::to_vec_pretty(&episode.staged)
        .map_err(|error| WorkError::Permanent(format!("{key}: cannot be written: {error}")))?;
    body.push(b'\n');
    staging.put(&key, &body)?;
    Ok(body.len() as u64)
}

/// What stamps decide of one episode.
fn plan(sources: &Sources, grid: Grid, stop: &StopFlag) -> Result<Plan, WorkError> {
    let name = sources.recording.name();
    Plan::make(&sources.messages, &sources.lanes, grid, stop).map_err(|error| match error {
        PlanError::Stopped => WorkError::Stopped,
        error => WorkError::Permanent(format!("{name}: {error}")),
    })
}

/// The grid of a recording's mapped topics.
fn shared_grid(
    recording: &Recording,
    topics: &[TopicId],
    messages: &[Vec<MessageRef>],
    fps: u32,
) -> Result<Grid, WorkError> {
    let mut spans = Vec::with_capacity(topics.len());
    for (topic, messages) in topics.iter().zip(messages) {
        let name = recording.topics().get(topic.0).map_or("", |topic| topic.name.as_str());
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Err(WorkError::Permanent(format!(
                "{}: {name} has no messages: leave it out of the mapping, or the recording out of the input",
                recording.name()
            )));
        };
        spans.push((name, Span { first_ns: first.stamp_ns, last_ns: last.stamp_ns }));
    }
    let plain: Vec<Span> = spans.iter().map(|(_, span)| *span).collect();
    Grid::shared(&plain, fps).ok_or_else(|| {
        let late = spans.iter().max_by_key(|(_, span)| span.first_ns);
        let early = spans.iter().min_by_key(|(_, span)| span.last_ns);
        let when = late.zip(early).map_or(String::new(), |((late, begin), (early, end))| {
            format!(
                ": {late} begins at {}, after {early} has ended at {}",
                Stamp(begin.first_ns),
                Stamp(end.last_ns)
            )
        });
        WorkError::Permanent(format!("{}: its topics share no moment{when}", recording.name()))
    })
}

#[cfg(test)]
mod tests;
