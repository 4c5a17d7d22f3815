//! From stamps alone: which grid frames are kept, what each takes from each source, and how well they met.
//!
//! It reads no message and knows no values; what it gives for a frame is the same whenever it is asked.

use super::align::{Pick, Stamped, latest, pick};
use super::grid::{GRID_FRAMES_MAX, Grid, Stamp};
use super::kept::{Keeping, Kept};
use super::mapping::{OnMissing, Rule};
use crate::lerobot::staged::{SyncReport, SyncSource};
use crate::work::StopFlag;
use std::ops::Range;

/// Frames whose distances make the percentiles of the sync report; of longer episodes, evenly spread ones.
const DISTANCES_MAX: u64 = 1_000_000;
/// Frames planned between two looks at the stop flag.
const FRAMES_A_LOOK: u64 = 4096;
const NS_PER_MS: f64 = 1e6;

/// One source of one feature, as frames meet it.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// The feature's name.
    pub(crate) feature: String,
    /// The topic's name.
    pub(crate) topic_name: String,
    /// The topic's place among the mapped ones.
    pub(crate) topic: usize,
    /// The joints that it has of the topic, where these come in parts.
    pub(crate) part: Option<String>,
    /// How many grid frames later it looks: 0 but for shifted features.
    pub(crate) shift_frames: u64,
    /// How messages meet frames.
    pub(crate) rule: Rule,
    /// The policy of the feature that has the source.
    pub(crate) source_policy: OnMissing,
    /// The policy of the feature itself: another one for shifted features.
    pub(crate) policy: OnMissing,
}

/// What a frame takes from a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Met {
    /// The message or messages; none when it is missing.
    pub(crate) pick: Option<Pick>,
    /// It stands for one that is missing.
    pub(crate) held: bool,
    /// The distance to what the alignment found, within the tolerance or not.
    pub(crate) distance_ns: Option<u64>,
}

/// What stamps alone decide.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) grid: Grid,
    /// For each topic, those of its messages that count; all where it is left out.
    windows: Vec<Range<usize>>,
    pub(crate) kept: Kept,
    pub(crate) sync: SyncReport,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("stopped as asked")]
    Stopped,
    #[error(
        "the frame grid would have {frames} frames, and at most {GRID_FRAMES_MAX} are allowed: look for wrong stamps \
         (inspect shows the first and last of each topic), or lower fps"
    )]
    TooLong { frames: u64 },
    #[error(
        "feature {feature:?}: the frame at {at} has no message of {topic} within {tolerance_ms} ms ({distance}); \
         on_missing = \"fail\" asks to fail then: allow a greater tolerance_ms, or \"drop\" or \"hold\""
    )]
    Missing { feature: String, topic: String, at: Stamp, tolerance_ms: f64, distance: String },
    #[error(
        "all {frames} frames of the grid are dropped: {why}; allow a greater tolerance_ms, or on_missing = \"hold\""
    )]
    Empty { frames: u64, why: String },
}

impl Lane {
    /// What a grid frame takes.
    ///
    /// A shifted lane looks at the frame that many later. Beyond the last one it is missing; held, it takes the last
    /// frame's. Whatever is held is the latest message at or before the frame looked at, whatever its age.
    pub(crate) fn meet<M: Stamped>(&self, messages: &[M], grid: &Grid, frame: u64) -> Met {
        let wanted = frame.saturating_add(self.shift_frames);
        let last = grid.frames() - 1;
        let frame_ns = grid.frame_ns(wanted.min(last));
        let found = pick(messages, frame_ns, self.rule.align);
        let near =
            found.filter(|(_, distance_ns)| self.rule.tolerance_ns.is_none_or(|most| *distance_ns <= most));
        let beyond = wanted > last;
        let holds = self.policy == OnMissing::Hold || (!beyond && self.source_policy == OnMissing::Hold);
        let distance_ns = found.filter(|_| !beyond).map(|(_, distance_ns)| distance_ns);
        let pick = match near {
            Some((pick, _)) if !beyond || holds => Some(pick),
            _ if holds => latest(messages, frame_ns).map(Pick::One),
            _ => None,
        };
        Met { pick, held: pick.is_some() && (beyond || near.is_none()), distance_ns }
    }

    /// What it is called in messages to people.
    fn shown(&self) -> String {
        match &self.part {
            Some(part) => format!("{part} of {}", self.topic_name),
            None => self.topic_name.clone(),
        }
    }

    fn missed(&self, grid: &Grid, frame: u64, met: &Met) -> PlanError {
        let distance = met
            .distance_ns
            .map_or("there is none".to_owned(), |ns| format!("it is {} ms away", ns as f64 / NS_PER_MS));
        PlanError::Missing {
            feature: self.feature.clone(),
            topic: self.shown(),
            at: Stamp(grid.frame_ns(frame)),
            tolerance_ms: self.rule.tolerance_ns.unwrap_or(u64::MAX) as f64 / NS_PER_MS,
            distance,
        }
    }
}

impl Plan {
    /// Walks the grid once for each lane. `topics` holds the messages of each mapped topic, `windows` which of them
    /// count: all of a topic that has none.
    pub(crate) fn make<M: Stamped>(
        topics: &[Vec<M>],
        lanes: &[Lane],
        grid: Grid,
        windows: Vec<Range<usize>>,
        stop: &StopFlag,
    ) -> Result<Self, PlanError> {
        let frames = grid.frames();
        if frames > GRID_FRAMES_MAX {
            return Err(PlanError::TooLong { frames });
        }
        let mut keeping = Keeping::all(frames);
        let mut sources = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let messages = window(topics, &windows, lane.topic);
            sources.push(walk(lane, messages, &grid, &mut keeping, stop)?);
        }
        let kept = keeping.done();
        if kept.count() == 0 {
            let worst = sources.iter().max_by_key(|source| source.missing_frames);
            let why = worst.map_or(String::new(), |source| {
                format!("{} has no {} for {} of them", source.topic, source.feature, source.missing_frames)
            });
            return Err(PlanError::Empty { frames, why });
        }
        let (start_ns, end_ns) = (grid.frame_ns(0), grid.end_ns());
        let dropped_frames = frames - kept.count();
        let sync = SyncReport { start_ns, end_ns, grid_frames: frames, dropped_frames, sources };
        Ok(Self { grid, windows, kept, sync })
    }

    /// Those messages of a mapped topic that count for this episode.
    pub(crate) fn messages<'m, M>(&self, topics: &'m [Vec<M>], topic: usize) -> &'m [M] {
        window(topics, &self.windows, topic)
    }
}

fn window<'m, M>(topics: &'m [Vec<M>], windows: &[Range<usize>], topic: usize) -> &'m [M] {
    let all = topics.get(topic).map_or(&[][..], Vec::as_slice);
    windows.get(topic).map_or(all, |window| all.get(window.clone()).unwrap_or_default())
}

/// One lane over the whole grid: drops the frames it misses, and tells how well it met the others.
fn walk<M: Stamped>(
    lane: &Lane,
    messages: &[M],
    grid: &Grid,
    keeping: &mut Keeping,
    stop: &StopFlag,
) -> Result<SyncSource, PlanError> {
    let frames = grid.frames();
    let stride = frames.div_ceil(DISTANCES_MAX);
    let mut distances = Vec::new();
    let (mut matched, mut missing, mut held, mut greatest) = (0u64, 0u64, 0u64, 0u64);
    for frame in 0..frames {
        if frame % FRAMES_A_LOOK == 0 && stop.is_set() {
            return Err(PlanError::Stopped);
        }
        let met = lane.meet(messages, grid, frame);
        match (met.pick, met.held) {
            (Some(_), false) => matched += 1,
            (Some(_), true) => held += 1,
            (None, _) if lane.policy == OnMissing::Fail => return Err(lane.missed(grid, frame, &met)),
            (None, _) => {
                missing += 1;
                keeping.drop_frame(frame);
            }
        }
        if let Some(distance_ns) = met.distance_ns {
            greatest = greatest.max(distance_ns);
            if frame % stride == 0 {
                distances.push(distance_ns);
            }
        }
    }
    distances.sort_unstable();
    Ok(SyncSource {
        feature: lane.feature.clone(),
        topic: lane.topic_name.clone(),
        part: lane.part.clone(),
        match_rate: matched as f64 / frames as f64,
        p50_ms: quantile(&distances, 0.5) / NS_PER_MS,
        p95_ms: quantile(&distances, 0.95) / NS_PER_MS,
        max_ms: greatest as f64 / NS_PER_MS,
        missing_frames: missing,
        held_frames: held,
    })
}

/// A quantile of sorted values, linear between neighbours, as numpy's default; 0 of none.
pub(crate) fn quantile(sorted: &[u64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = last as f64 * q;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(0) as f64;
    let (low, high) = (value(at.floor()), value(at.ceil()));
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests;
