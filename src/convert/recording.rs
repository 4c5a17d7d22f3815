//! One recording as work: opened and planned once, then converted segment by segment into staging.
//!
//! What a segment is made from stands in its `Blueprint`; nothing is remembered from one segment to the next, so a
//! resumed job writes the same bytes. The segments after the one in hand are made ahead; only [`Work::run`] writes, and
//! only what it was asked for.

use super::ahead::Ahead;
use super::blueprint::{Blueprint, Made};
use super::crew::{Crew, Member};
use super::decided::Decided;
use super::episode::{Episode, Episodes};
use super::ledger::Charge;
use super::mapping::Mapping;
use super::planned::Planned;
use super::segment::non_finite_warnings;
use super::spent::{Spent, timed};
use super::video::Cameras;
use super::{SegmentDone, StopFlag, Work, WorkError};
use crate::lerobot::staged::{EPISODE_FILE, STAGED_VERSION, StagedEpisode};
use crate::storage::SharedStorage;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Frames of a segment unless a batch says otherwise.
pub const SEGMENT_FRAMES: u32 = 100;
/// Most frames of a segment.
pub const SEGMENT_FRAMES_MAX: u32 = 100_000;

/// The conversion of one recording.
pub struct RecordingWork {
    staging: SharedStorage,
    blueprint: Arc<Blueprint>,
    member: Arc<Member>,
    /// The segments after the one that was made last.
    ahead: Option<Ahead<Blueprint>>,
    /// The recording's name in the dataset.
    source: String,
    /// NaN and infinite values of each feature, by segment: a segment run twice counts once.
    non_finite: BTreeMap<u32, BTreeMap<String, u64>>,
    spent: Spent,
}

impl RecordingWork {
    /// Opens the recording `key` of `input` and plans its conversion: reads its summary (or scans it, when it has
    /// none), the indexes of the mapped topics, the messages of the first kept frame, and both ends of each file.
    ///
    /// `source_name` is what the dataset orders episodes by; segments go to `prefix` (ending with `/`) in `staging`. Once
    /// the first one is run, those after it are made ahead, by a thread of its own and the crew.
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
        crew: &Crew,
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        if !(1..=SEGMENT_FRAMES_MAX).contains(&segment_frames) {
            return Err(WorkError::Permanent(format!(
                "a segment of {segment_frames} frames is not allowed: 1 to {SEGMENT_FRAMES_MAX} are"
            )));
        }
        let Decided { sources, taps, bound, features, episodes: planned, mut left_out, mut warnings } =
            Decided::open(&input, key, mapping, stop)?;
        let (source_bytes, digest) = (sources.recording.size_bytes(), sources.recording.digest()?);
        let cameras = Cameras::open(mapping, &features, stop)?;
        let mut episodes = Episodes::new(segment_frames);
        // What concerns the recording is said once, with its first episode.
        for Planned { plan, task } in planned {
            let (warnings, left_out) = (std::mem::take(&mut warnings), std::mem::take(&mut left_out));
            episodes.push(prefix, plan, |plan, segments| StagedEpisode {
                version: STAGED_VERSION,
                source: source_name.to_owned(),
                source_bytes,
                source_digest: digest.clone(),
                fps: mapping.fps,
                robot_type: mapping.robot_type.clone(),
                task,
                frames: plan.kept.count(),
                segments,
                features: features.clone(),
                sync: plan.sync.clone(),
                warnings,
                left_out,
                videos: cameras.streams(),
            })?;
        }
        let member = Arc::new(crew.join());
        let blueprint =
            Blueprint { sources, taps, bound, features, episodes, cameras, member: Arc::clone(&member) };
        Ok(Self {
            staging,
            blueprint: Arc::new(blueprint),
            member,
            ahead: None,
            source: source_name.to_owned(),
            non_finite: BTreeMap::new(),
            spent: Spent::default(),
        })
    }

    /// What is known of the episodes before their segments are there, in their order.
    pub fn episodes(&self) -> impl Iterator<Item = &StagedEpisode> {
        self.blueprint.episodes.iter().map(|episode| &episode.staged)
    }

    /// Where the time of the segments that were run went.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// A segment, made ahead where it was the next.
    fn make(&mut self, number: u32, stop: &StopFlag) -> Result<(Made, Arc<Charge>), WorkError> {
        stop.check()?;
        self.blueprint.place(number)?;
        let fitting = self.ahead.take().filter(|ahead| ahead.is_next(number));
        let ahead = fitting.map_or_else(|| self.start(number), Ok)?;
        // What fails or panics here takes all that is ahead with it: the next call begins anew.
        let made = ahead.take(number, stop)?;
        self.ahead = Some(ahead);
        Ok(made)
    }

    fn start(&self, number: u32) -> Result<Ahead<Blueprint>, WorkError> {
        let (line, member) = (Arc::clone(&self.blueprint), Arc::clone(&self.member));
        let recording = &self.blueprint.sources.recording;
        let segments = self.blueprint.episodes.segments();
        // Images make nearly all of most recordings, and are in segments what they are there.
        let size_bytes = recording.size_bytes() / u64::from(segments.max(1));
        let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        Ahead::start(line, member, recording.reader(), (number, segments), size_bytes).map_err(|error| {
            WorkError::Transient(format!("{}: no thread can be started to read it: {error}", self.source))
        })
    }

    /// Writes a segment, and with an episode's last one the episode's own file. Gives the bytes written.
    fn write(&mut self, number: u32, made: Made) -> Result<u64, WorkError> {
        let place = self.blueprint.place(number)?;
        let mut written_bytes = made.segment.write(&self.staging, &place.key(), &self.blueprint.features)?;
        self.non_finite.insert(number, made.segment.let_go(self.member.spares()).non_finite);
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
        // What is charged stays so until the segment is written and let go.
        let (made, _charge) = self.make(segment, stop)?;
        stop.check()?;
        let (frames, read_bytes, spent) = (made.frames, made.read_bytes, made.spent);
        let (written_bytes, writing) = timed(|| self.write(segment, made));
        self.spent += Spent { writing, ..spent };
        let written_bytes = written_bytes?;
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

#[cfg(test)]
mod tests;
