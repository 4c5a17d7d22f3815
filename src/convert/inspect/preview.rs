//! What a mapping would make of a recording: features, episodes, and what would be left out, without converting it.
//!
//! It reads what a conversion reads before its first segment, and no more; everything it shows is what the conversion would do.

use super::Look;
use crate::convert::decided::Decided;
use crate::convert::grid::NS_PER_S;
use crate::convert::mapping::Mapping;
use crate::convert::{StopFlag, WorkError};
use crate::lerobot::feature::Dtype;
use crate::lerobot::staged::{LeftOut, SyncReport};
use crate::readable::{clock, count, millis, name};
use crate::storage::SharedStorage;
use serde::Serialize;

/// Episodes and left out ones that a text lists.
const LISTED_MAX: usize = 50;
/// Of a feature's elements, the names that a text lists.
const NAMES_MAX: usize = 32;
const BETWEEN: &str = "  ";

/// What would become of a recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// Its key in storage.
    pub file: String,
    /// The mapping's file.
    pub mapping: String,
    /// Frames a second.
    pub fps: u32,
    /// The features, without the five that every dataset has.
    pub features: Vec<FeaturePreview>,
    /// Frames of all episodes.
    pub frames: u64,
    /// Grid frames of all episodes, before any is dropped.
    pub grid_frames: u64,
    /// The episodes, in their order.
    pub episodes: Vec<EpisodePreview>,
    /// Episodes that would not be part of the dataset.
    pub left_out: Vec<LeftOut>,
    /// What is worth knowing of the recording.
    pub warnings: Vec<String>,
}

/// A feature of the dataset to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeaturePreview {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<u32>,
    /// Its elements' names.
    pub names: Option<Vec<String>>,
}

/// An episode of the dataset to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpisodePreview {
    /// Frames that are kept.
    pub frames: u64,
    /// Its task.
    pub task: String,
    /// How the topics meet the frames, and how many are dropped.
    pub sync: SyncReport,
}

/// Decides what a conversion of the recording `key` of `input` would decide before its first segment.
///
/// # Errors
/// Those that the conversion would end with when it begins, in the same words.
pub fn preview(
    input: &SharedStorage,
    key: &str,
    mapping: &Mapping,
    stop: &StopFlag,
) -> Result<Preview, WorkError> {
    let Decided { sources, features, episodes, left_out, warnings, .. } =
        Decided::open(input, key, mapping, stop)?;
    let feature = |feature: crate::lerobot::feature::Feature| FeaturePreview {
        name: feature.name,
        dtype: feature.dtype,
        shape: feature.shape,
        names: feature.names,
    };
    let episodes: Vec<EpisodePreview> = episodes
        .into_iter()
        .map(|planned| EpisodePreview {
            frames: planned.plan.kept.count(),
            task: planned.task,
            sync: planned.plan.sync,
        })
        .collect();
    Ok(Preview {
        file: sources.recording.name().to_owned(),
        mapping: mapping.file.clone(),
        fps: mapping.fps,
        features: features.into_iter().map(feature).collect(),
        frames: episodes.iter().map(|episode| episode.frames).sum(),
        grid_frames: episodes.iter().map(|episode| episode.sync.grid_frames).sum(),
        episodes,
        left_out,
        warnings,
    })
}

impl Preview {
    /// As a text. Tables are as wide as their cells; no name steers the terminal.
    pub fn render(&self, look: Look) -> String {
        let mut lines = vec![self.summary()];
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {}", name(warning))));
        lines.extend([String::new(), "features".to_owned()]);
        lines.extend(table(self.features.iter().map(FeaturePreview::cells).collect(), &[0, 1, 2, 3]));
        lines.extend([String::new(), "episodes".to_owned()]);
        let head = ["", "frames", "dropped", "from", "length", "task"].map(str::to_owned).to_vec();
        let rows = self.episodes.iter().take(LISTED_MAX).enumerate();
        let rows = rows.map(|(number, episode)| self.row(number, episode));
        lines.extend(table(std::iter::once(head).chain(rows).collect(), &[5]));
        lines.extend(more(self.episodes.len()));
        lines.extend([String::new(), "how the topics meet the frames".to_owned()]);
        lines.extend(table(self.met(), &[0, 1]));
        if !self.left_out.is_empty() {
            lines.extend([String::new(), "left out".to_owned()]);
            let shown = self.left_out.iter().take(LISTED_MAX);
            lines.extend(shown.map(|out| format!("{BETWEEN}{}: {}", name(&out.episode), name(&out.reason))));
            lines.extend(more(self.left_out.len()));
        }
        let text: String = lines.iter().map(|line| format!("{}\n", line.trim_end())).collect();
        // The unit of a microsecond is the one letter here that is not ASCII.
        if look.unicode { text } else { text.replace('µ', "u") }
    }

    fn summary(&self) -> String {
        let dropped = self.grid_frames - self.frames;
        format!(
            "{} by {}: {}, {} at {} fps ({}), {dropped} of {} grid frames dropped",
            name(&self.file),
            name(&self.mapping),
            count(self.episodes.len() as u64, "episode"),
            count(self.frames, "frame"),
            self.fps,
            clock(self.frames as f64 / f64::from(self.fps)),
            self.grid_frames
        )
    }

    fn row(&self, number: usize, episode: &EpisodePreview) -> Vec<String> {
        let begin_ns = self.episodes.iter().map(|episode| episode.sync.start_ns).min().unwrap_or(0);
        let from_s = episode.sync.start_ns.saturating_sub(begin_ns) as f64 / NS_PER_S as f64;
        vec![
            number.to_string(),
            episode.frames.to_string(),
            episode.sync.dropped_frames.to_string(),
            clock(from_s),
            clock(episode.frames as f64 / f64::from(self.fps)),
            name(&episode.task),
        ]
    }

    /// Each source over all episodes: the worst of distances, the sums of counts.
    fn met(&self) -> Vec<Vec<String>> {
        let head = ["feature", "topic", "matched", "worst p95", "greatest", "missing", "held"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let Some(first) = self.episodes.first() else { return rows };
        for (at, source) in first.sync.sources.iter().enumerate() {
            let all =
                || self.episodes.iter().filter_map(|episode| Some((episode, episode.sync.sources.get(at)?)));
            let matched: f64 =
                all().map(|(episode, met)| met.match_rate * episode.sync.grid_frames as f64).sum();
            let greatest = |of: fn(&crate::lerobot::staged::SyncSource) -> f64| {
                millis(all().map(|(_, met)| of(met)).fold(0.0, f64::max))
            };
            let topic = match &source.part {
                Some(part) => format!("{}: {part}", source.topic),
                None => source.topic.clone(),
            };
            rows.push(vec![
                name(&source.feature),
                name(&topic),
                format!("{:.1} %", 100.0 * matched / self.grid_frames.max(1) as f64),
                greatest(|met| met.p95_ms),
                greatest(|met| met.max_ms),
                all().map(|(_, met)| met.missing_frames).sum::<u64>().to_string(),
                all().map(|(_, met)| met.held_frames).sum::<u64>().to_string(),
            ]);
        }
        rows
    }
}

impl FeaturePreview {
    fn cells(&self) -> Vec<String> {
        let names = self.names.as_deref().unwrap_or_default();
        let mut shown = names.iter().take(NAMES_MAX).map(|text| name(text)).collect::<Vec<_>>().join(", ");
        if names.len() > NAMES_MAX {
            shown.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
        }
        vec![name(&self.name), self.dtype.name().to_owned(), format!("{:?}", self.shape), shown]
    }
}

fn more(count: usize) -> Option<String> {
    let more = count.checked_sub(LISTED_MAX).filter(|more| *more > 0)?;
    Some(format!("{BETWEEN}and {more} more: --json lists them all"))
}

/// Rows with columns as wide as their longest cells. Those that hold `words` are set to the left, numbers to the right.
fn table(rows: Vec<Vec<String>>, words: &[usize]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if words.contains(&at) { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        format!("{BETWEEN}{}", cells.collect::<Vec<_>>().join(BETWEEN))
    };
    rows.iter().map(line).collect()
}
