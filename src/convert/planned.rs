//! From an open recording to its planned episodes: where it is split, what the frames of each take, which task each has,
//! and what was left out and why.
//!
//! Everything is decided by stamps, markers and texts; no value of a feature is read. Episodes are left out before they are
//! numbered, so which segments there are is a function of the recording and the mapping.

use super::grid::{GRID_FRAMES_MAX, Grid, Stamp};
use super::mapping::Mapping;
use super::mapping::episodes::Split;
use super::plan::{Plan, PlanError};
use super::rows::Sources;
use super::source::TopicId;
use super::split::find::Finder;
use super::split::{Bounds, Cut, Cutter, Early, Late, Nowhere};
use super::task::Tasks;
use super::{StopFlag, WorkError};
use crate::lerobot::staged::LeftOut;
use crate::storage::SharedStorage;

/// Episodes left out that are named one by one.
const LEFT_OUT_LISTED_MAX: usize = 20;

/// One episode.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) task: String,
}

/// All episodes of a recording.
pub(crate) struct AllPlanned {
    /// In their order; at least one.
    pub(crate) episodes: Vec<Planned>,
    /// Those that are no part of it, in the order of the recording.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What episodes are planned from.
struct Planner<'a> {
    mapping: &'a Mapping,
    sources: &'a Sources,
    cutter: Cutter,
    stop: &'a StopFlag,
    /// Grid frames of all episodes so far.
    grid_frames: u64,
}

/// Plans all episodes of a recording. `topics` are the mapped ones, `input` is where the recording lies.
///
/// # Errors
/// A recording that cannot be split as the mapping says, an episode that fails as it asks, or no episode that is left.
pub(crate) fn plan_all(
    mapping: &Mapping,
    sources: &Sources,
    topics: &[TopicId],
    input: &SharedStorage,
    stop: &StopFlag,
) -> Result<AllPlanned, WorkError> {
    no_empty_topic(sources, topics)?;
    let found = Finder { mapping, sources, topics, input, stop }.bounds()?;
    let rules = &mapping.episodes;
    let cutter = Cutter {
        alone: matches!(rules.split, Split::Gap { .. }),
        trim_start_ns: rules.trim_start_ns,
        trim_end_ns: rules.trim_end_ns,
    };
    let mut planner = Planner { mapping, sources, cutter, stop, grid_frames: 0 };
    let mut tasks = Tasks::open(mapping, &sources.recording, input, stop)?;
    let (mut episodes, mut left_out) = (Vec::new(), Vec::new());
    for (number, bounds) in found.iter().enumerate() {
        stop.check()?;
        match planner.plan(bounds)? {
            Ok((cut, plan)) => {
                let task = tasks.of(cut.end_ns, bounds.task.as_deref())?;
                episodes.push(Planned { plan, task });
            }
            Err(reason) => left_out.push(LeftOut { episode: place(number, found.len(), bounds), reason }),
        }
    }
    if episodes.is_empty() {
        let why = warnings(&left_out).join("; ");
        let what =
            format!("{}: none of its {} episodes is left: {why}", sources.recording.name(), found.len());
        return Err(WorkError::Permanent(what));
    }
    Ok(AllPlanned { episodes, left_out })
}

impl Planner<'_> {
    /// One episode, or why it is left out.
    fn plan(&mut self, bounds: &Bounds) -> Result<Result<(Cut, Plan), String>, WorkError> {
        let name = self.sources.recording.name();
        let whole = self.mapping.episodes.split == Split::File;
        let cut = match self.cutter.cut(&self.sources.messages, bounds) {
            Ok(cut) => cut,
            Err(nowhere) if whole => {
                return Err(WorkError::Permanent(format!("{name}: {}", self.words(nowhere))));
            }
            Err(nowhere) => return Ok(Err(self.words(nowhere))),
        };
        let Some(grid) = Grid::between(cut.start_ns, cut.end_ns, self.mapping.fps) else {
            return Ok(Err("it has no length".to_owned()));
        };
        self.grid_frames = self.grid_frames.saturating_add(grid.frames());
        if self.grid_frames > GRID_FRAMES_MAX {
            let error = PlanError::TooLong { frames: self.grid_frames };
            return Err(WorkError::Permanent(format!("{name}: {error}")));
        }
        let windows = if self.cutter.alone { cut.messages.clone() } else { Vec::new() };
        let made = Plan::make(&self.sources.messages, &self.sources.lanes, grid, windows, self.stop);
        let plan = match made {
            Ok(plan) => plan,
            Err(PlanError::Stopped) => return Err(WorkError::Stopped),
            Err(error @ (PlanError::Empty { .. } | PlanError::Missing { .. })) if !whole => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(WorkError::Permanent(format!("{name}: {error}"))),
        };
        let (frames, least) = (plan.kept.count(), self.mapping.episodes.min_frames);
        if frames < u64::from(least) {
            return Ok(Err(format!("it has {frames} frames, and min_frames is {least}")));
        }
        Ok(Ok((cut, plan)))
    }

    fn words(&self, nowhere: Nowhere) -> String {
        let topic = |at: usize| self.sources.topic_name(at);
        match nowhere {
            Nowhere::Silent { topic: at } => format!("{} has no message in it", topic(at)),
            Nowhere::Trimmed { left_ns } => {
                format!("nothing of its {} is left after trim_start_ms and trim_end_ms", Stamp(left_ns))
            }
            Nowhere::Apart { late, early } => {
                let late = match late {
                    Late::Topic(at, stamp) => format!("{} begins at {stamp}", topic(at)),
                    Late::Bounds(stamp) => format!("the episode begins at {stamp}"),
                };
                let early = match early {
                    Early::Topic(at, stamp) => format!("{} has ended at {stamp}", topic(at)),
                    Early::Bounds(stamp) => format!("the episode has ended at {stamp}"),
                };
                format!("its topics share no moment: {late}, after {early}")
            }
        }
    }
}

/// Every mapped topic says something somewhere.
fn no_empty_topic(sources: &Sources, topics: &[TopicId]) -> Result<(), WorkError> {
    let empty = (0..topics.len()).find(|at| sources.messages.get(*at).is_none_or(Vec::is_empty));
    match empty {
        None => Ok(()),
        Some(at) => Err(WorkError::Permanent(format!(
            "{}: {} has no messages: leave it out of the mapping, or the recording out of the input",
            sources.recording.name(),
            sources.topic_name(at)
        ))),
    }
}

/// Which of a recording's episodes it is, and where.
fn place(number: usize, of: usize, bounds: &Bounds) -> String {
    let between = match (bounds.begin_ns, bounds.end_ns) {
        (0, u64::MAX) => String::new(),
        (0, end_ns) => format!(" (until {})", Stamp(end_ns)),
        (begin_ns, u64::MAX) => format!(" (from {})", Stamp(begin_ns)),
        (begin_ns, end_ns) => format!(" ({} to {})", Stamp(begin_ns), Stamp(end_ns)),
    };
    format!("episode {} of {of}{between}", number + 1)
}

/// What is left out, a line each; of many the first ones and their count.
pub(crate) fn warnings(left_out: &[LeftOut]) -> Vec<String> {
    let line = |LeftOut { episode, reason }: &LeftOut| format!("{episode} is left out: {reason}");
    let mut lines: Vec<String> = left_out.iter().take(LEFT_OUT_LISTED_MAX).map(line).collect();
    if let more @ 1.. = left_out.len().saturating_sub(LEFT_OUT_LISTED_MAX) {
        lines.push(format!("{more} more of its episodes are left out"));
    }
    lines
}
