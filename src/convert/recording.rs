//! One recording as work: opened and planned once, then converted segment by segment into staging.
//!
//! A segment is a function of the recording, the mapping and its number: nothing is remembered from one to the next,
//! so a resumed job writes the same bytes.

use super::bind::{Bound, BoundFeature, bind};
use super::grid::{Grid, Span, Stamp};
use super::mapping::Mapping;
use super::plan::{Plan, PlanError};
use super::rows::RowReader;
use super::segment::{Segment, non_finite_warnings};
use super::source::{MessageRef, Recording, TopicId};
use super::{SegmentDone, StopFlag, Work, WorkError, shape, task};
use crate::lerobot::feature::Feature;
use crate::lerobot::staged::{EPISODE_FILE, STAGED_VERSION, StagedEpisode, episode_prefix, segment_key};
use crate::storage::SharedStorage;
use std::collections::BTreeMap;

/// Frames of a segment unless a batch says otherwise.
pub const SEGMENT_FRAMES: u32 = 100;
/// Most frames of a segment.
pub const SEGMENT_FRAMES_MAX: u32 = 100_000;

/// The conversion of one recording. One file is one episode.
pub struct RecordingWork {
    staging: SharedStorage,
    folder: String,
    segment_frames: u64,
    reader: RowReader,
    plan: Plan,
    bound: Vec<BoundFeature>,
    features: Vec<Feature>,
    /// What `episode.json` will say.
    episode: StagedEpisode,
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
        let Bound { topics, lanes, taps, features: bound } = bind(mapping, &recording, stop)?;
        let messages = recording.index(&topics, mapping.time, stop)?;
        let grid = shared_grid(&recording, &topics, &messages, mapping.fps)?;
        let name = recording.name().to_owned();
        let plan = Plan::make(&messages, &lanes, grid, stop).map_err(|error| match error {
            PlanError::Stopped => WorkError::Stopped,
            error => WorkError::Permanent(format!("{name}: {error}")),
        })?;
        let task = task::task(mapping, &recording, &input, grid.end_ns(), stop)?;
        let mut reader = RowReader::new(recording, messages, lanes, taps);
        // The first kept frame fixes the lengths, names and geometry that all others must have.
        reader.read(&plan.grid, &plan.kept.frames(0..1), stop)?;
        let features = shape::features(mapping, &bound, &reader)?;
        let frames = plan.kept.count();
        let segment_frames = u64::from(segment_frames);
        let episode = StagedEpisode {
            version: STAGED_VERSION,
            source: source_name.to_owned(),
            source_bytes: reader.recording.size_bytes(),
            fps: mapping.fps,
            robot_type: mapping.robot_type.clone(),
            task,
            frames,
            segments: segment_lengths(frames, segment_frames),
            features: features.clone(),
            sync: plan.sync.clone(),
            warnings: reader.recording.warnings().to_vec(),
        };
        let folder = episode_prefix(prefix, 0);
        Ok(Self {
            staging,
            folder,
            segment_frames,
            reader,
            plan,
            bound,
            features,
            episode,
            non_finite: BTreeMap::new(),
        })
    }

    /// What is known of the episode before its segments are there.
    pub fn episode(&self) -> &StagedEpisode {
        &self.episode
    }

    fn close_episode(&self) -> Result<u64, WorkError> {
        let key = format!("{}{EPISODE_FILE}", self.folder);
        let mut body = serde_json::to_vec_pretty(&self.episode)
            .map_err(|error| WorkError::Permanent(format!("{key}: cannot be written: {error}")))?;
        body.push(b'\n');
        self.staging.put(&key, &body)?;
        Ok(body.len() as u64)
    }
}

impl Work for RecordingWork {
    fn segments(&self) -> u32 {
        u32::try_from(self.episode.segments.len()).unwrap_or(u32::MAX)
    }

    fn run(&mut self, segment: u32, stop: &StopFlag) -> Result<SegmentDone, WorkError> {
        stop.check()?;
        let first = u64::from(segment) * self.segment_frames;
        let frames = self.plan.kept.frames(first..first + self.segment_frames);
        if frames.is_empty() {
            return Err(WorkError::Permanent(format!(
                "{}: there is no segment {segment}, only {}",
                self.reader.recording.name(),
                self.segments()
            )));
        }
        let read_before = self.reader.bytes_read();
        let rows = self.reader.read(&self.plan.grid, &frames, stop)?;
        let built = Segment::build(
            &self.features,
            &self.bound,
            &self.reader,
            rows,
            (first, self.episode.frames),
            stop,
        )?;
        stop.check()?;
        let key = segment_key(&self.folder, segment as usize);
        let mut written_bytes = built.write(&self.staging, &key, &self.features)?;
        self.non_finite.insert(segment, built.note.non_finite);
        if segment + 1 == self.segments() {
            written_bytes += self.close_episode()?;
        }
        Ok(SegmentDone {
            frames: u32::try_from(frames.len()).unwrap_or(u32::MAX),
            read_bytes: self.reader.bytes_read() - read_before,
            written_bytes,
        })
    }

    fn frames(&self) -> u64 {
        self.episode.frames
    }

    fn warnings(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (feature, count) in self.non_finite.values().flatten() {
            *counts.entry(feature.clone()).or_default() += count;
        }
        let of_file = self.episode.warnings.iter().cloned();
        of_file
            .chain(non_finite_warnings(&counts))
            .map(|warning| format!("{}: {warning}", self.episode.source))
            .collect()
    }
}

/// Kept frames in each segment: all full but the last.
fn segment_lengths(frames: u64, segment_frames: u64) -> Vec<u32> {
    let length = |first: u64| u32::try_from(segment_frames.min(frames - first)).unwrap_or(u32::MAX);
    (0..frames.div_ceil(segment_frames)).map(|segment| length(segment * segment_frames)).collect()
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
