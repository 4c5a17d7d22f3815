//! The dataset's card: `README.md`, with front matter as the Hugging Face hub reads it, for people who find the dataset.
//!
//! It says what `meta/` says, and nothing of when, where or by whom it was made: the same dataset has the same card. One
//! that somebody else wrote is left as it is. It reads `meta/roboflow/` of earlier batches, and no data.

use super::assemble::{Skipped, SyncEntry};
use super::error::LerobotError;
use super::feature::INDEX_COLUMNS;
use super::info::Info;
use super::json::read_json;
use super::layout::{CARD_KEY, MAPPING_KEY, OWN_PREFIX, SKIPPED_KEY, SYNC_KEY};
use crate::storage::{Storage, StorageError};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What makes a card ours.
const MARK: &str =
    "<!-- Written by roboflow, anew with each batch: remove this line to keep your own text. -->";
/// The largest card or mapping that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Rows of a table; what is more is counted.
const MAX_ROWS: usize = 500;
/// The longest text in a cell, in characters.
const MAX_CELL: usize = 300;
/// Of names in a cell.
const MAX_NAMES: usize = 64;

/// What a batch says of itself beside the dataset.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The number of its first episode.
    pub(super) from: u64,
    pub(super) entries: Vec<SyncEntry>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) mapping: String,
}

/// Where a file of this program's about the episodes from number `from` on stands: of those that were added to a dataset
/// in a folder of their own.
pub(super) fn part_key(key: &str, from: u64) -> String {
    match key.strip_prefix(OWN_PREFIX) {
        Some(name) if from > 0 => format!("{OWN_PREFIX}from-{from:06}/{name}"),
        _ => key.to_owned(),
    }
}

/// The number of the first episode that a sync report at this key is about, if it is one.
pub(super) fn part_of(key: &str) -> Option<u64> {
    let rest = key.strip_suffix("/sync.json")?;
    rest.strip_prefix(OWN_PREFIX).map_or(Some(0), |folder| folder.strip_prefix("from-")?.parse().ok())
}

/// The parts of the dataset that this program made before episode number `before`.
///
/// # Errors
/// The storage's, and [`LerobotError::Damaged`] for a report that cannot be read.
pub(super) fn parts(out: &dyn Storage, before: u64) -> Result<Vec<Part>, LerobotError> {
    let mut parts = Vec::new();
    if before == 0 {
        return Ok(parts);
    }
    for object in out.list(OWN_PREFIX)? {
        let key = object?.key;
        let Some(from) = part_of(&key).filter(|from| *from < before) else { continue };
        let mapping = part_key(MAPPING_KEY, from);
        parts.push(Part {
            from,
            entries: read_json(out, &part_key(SYNC_KEY, from))?,
            skipped: optional(read_json(out, &part_key(SKIPPED_KEY, from)))?.unwrap_or_default(),
            mapping: optional(text(out, &mapping))?.unwrap_or_default(),
        });
    }
    parts.sort_by_key(|part| part.from);
    Ok(parts)
}

pub(super) fn optional<T>(read: Result<T, LerobotError>) -> Result<Option<T>, LerobotError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(LerobotError::Storage(StorageError::NotFound { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(out: &dyn Storage, key: &str) -> Result<String, LerobotError> {
    let bytes = out.read(key, MAX_BYTES)?;
    String::from_utf8(bytes.to_vec()).map_err(|error| LerobotError::damaged(key, error))
}

/// Writes the card, unless there is one of somebody else's. Gives the bytes written.
///
/// # Errors
/// The storage's.
pub(super) fn write(out: &dyn Storage, card: &str) -> Result<u64, LerobotError> {
    match text(out, CARD_KEY) {
        Ok(theirs) if !theirs.contains(MARK) => return Ok(0),
        Err(LerobotError::Storage(StorageError::Invalid { .. }) | LerobotError::Damaged { .. }) => {
            return Ok(0);
        }
        Ok(_) | Err(LerobotError::Storage(StorageError::NotFound { .. })) => {}
        Err(error) => return Err(error),
    }
    out.put(CARD_KEY, card.as_bytes())?;
    Ok(card.len() as u64)
}

/// The card's text.
pub(super) fn card(info: &Info, tasks: &[String], parts: &[Part]) -> String {
    let mut text = String::from("---\ntask_categories:\n- robotics\ntags:\n- LeRobot\n");
    text.push_str("configs:\n- config_name: default\n  data_files: data/*/*.parquet\n---\n");
    let robot = info.robot_type.as_deref().map_or_else(|| "Robot".to_owned(), cell);
    let seconds = info.total_frames / u64::from(info.fps.max(1));
    let length = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let version = &info.codebase_version;
    text.push_str(&format!(
        "{MARK}\n# {robot} recordings\n\nConverted to a [LeRobot](https://github.com/huggingface/lerobot) {version} dataset by roboflow.\n\n"
    ));
    text.push_str(&format!(
        "| | |\n|---|---|\n| episodes | {} |\n| frames | {}, at {} a second ({length}) |\n| tasks | {} |\n\n",
        info.total_episodes, info.total_frames, info.fps, info.total_tasks
    ));
    text.push_str(
        "```python\nfrom lerobot.datasets.lerobot_dataset import LeRobotDataset\n\n\
         dataset = LeRobotDataset(\"local/dataset\", root=\"path/to/this/folder\")\n```\n",
    );
    features(&mut text, info);
    let rows = (0..).zip(tasks).map(|(number, task): (u64, _)| vec![number.to_string(), cell(task)]);
    table(&mut text, "Tasks", &["task_index", "task"], rows);
    recordings(&mut text, parts);
    sync(&mut text, parts);
    let skipped = parts.iter().flat_map(|part| &part.skipped);
    let rows = skipped.map(|Skipped { source, episode, reason }| {
        vec![cell(source), cell(episode.as_deref().unwrap_or("all")), cell(reason)]
    });
    table(&mut text, "What is not in it", &["recording", "episode", "why"], rows);
    mappings(&mut text, parts);
    text
}

fn features(text: &mut String, info: &Info) {
    let own = |name: &str| !INDEX_COLUMNS.iter().any(|(index, _)| *index == name);
    let rows = info.features.0.iter().filter(|(name, _)| own(name)).map(|(name, feature)| {
        let names = feature.name_list().unwrap_or_default();
        let more = if names.len() > MAX_NAMES { ", …" } else { "" };
        let names = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
        vec![
            cell(name),
            feature.dtype.clone(),
            format!("{:?}", feature.shape),
            cell(&format!("{names}{more}")),
        ]
    });
    table(text, "Features", &["feature", "type", "shape", "elements"], rows);
}

fn recordings(text: &mut String, parts: &[Part]) {
    let rows = parts.iter().flat_map(|part| &part.entries).map(|entry| {
        let dropped = entry.sync.dropped_frames;
        vec![
            entry.episode_index.to_string(),
            cell(&entry.source),
            entry.source_bytes.to_string(),
            entry.frames.to_string(),
            dropped.to_string(),
            cell(&entry.source_digest),
        ]
    });
    table(text, "Recordings", &["episode", "recording", "bytes", "frames", "dropped", "digest"], rows);
}

/// How well the topics met the frame grid, over all episodes.
fn sync(text: &mut String, parts: &[Part]) {
    #[derive(Default)]
    struct Met {
        /// The episode that was counted last.
        last: Option<u64>,
        episodes: u64,
        frames: u64,
        matched: f64,
        p95_ms: f64,
        max_ms: f64,
        missing: u64,
        held: u64,
    }
    let mut met: BTreeMap<(&str, &str, Option<&str>), Met> = BTreeMap::new();
    for entry in parts.iter().flat_map(|part| &part.entries) {
        for source in &entry.sync.sources {
            let met = met.entry((&source.feature, &source.topic, source.part.as_deref())).or_default();
            // Several fields of one topic meet the frames alike.
            if met.last.replace(entry.episode_index) == Some(entry.episode_index) {
                continue;
            }
            met.episodes += 1;
            met.frames += entry.sync.grid_frames;
            met.matched += source.match_rate * entry.sync.grid_frames as f64;
            met.p95_ms = met.p95_ms.max(source.p95_ms);
            met.max_ms = met.max_ms.max(source.max_ms);
            met.missing += source.missing_frames;
            met.held += source.held_frames;
        }
    }
    let rows = met.iter().map(|((feature, topic, part), met)| {
        let topic = part.map_or((*topic).to_owned(), |part| format!("{topic}: {part}"));
        let share = 100.0 * met.matched / met.frames.max(1) as f64;
        let times = [met.p95_ms, met.max_ms].map(|ms| format!("{ms:.1}"));
        let counts = [met.missing, met.held, met.episodes].map(|count| count.to_string());
        [vec![cell(feature), cell(&topic), format!("{share:.2} %")], times.to_vec(), counts.to_vec()].concat()
    });
    let head = [
        "feature",
        "topic",
        "matched",
        "worst p95, ms",
        "greatest, ms",
        "frames missing",
        "frames held",
        "episodes",
    ];
    table(text, "How well the topics met the frames", &head, rows);
}

fn mappings(text: &mut String, parts: &[Part]) {
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| !part.mapping.is_empty()) {
        let same = number > 0 && parts.get(number - 1).is_some_and(|before| before.mapping == part.mapping);
        if same {
            continue;
        }
        let from = if part.from > 0 { format!(" from episode {} on", part.from) } else { String::new() };
        let longest = part.mapping.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        write!(text, "\n## Mapping{from}\n{fence}toml\n{}\n{fence}\n", part.mapping.trim_end()).ok();
    }
}

/// A table under a heading; nothing without rows.
fn table(text: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut count = 0;
    for row in rows {
        if count == 0 {
            let line = "|---".repeat(head.len());
            write!(text, "\n## {title}\n| {} |\n{line}|\n", head.join(" | ")).ok();
        }
        if count < MAX_ROWS {
            writeln!(text, "| {} |", row.join(" | ")).ok();
        }
        count += 1;
    }
    if count > MAX_ROWS {
        writeln!(text, "\nand {} more: see `{OWN_PREFIX}`.", count - MAX_ROWS).ok();
    }
}

/// A text as a cell of a table shows it, and no more than that: no markup, no further cell, no other line.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for (number, letter) in text.chars().enumerate() {
        if number == MAX_CELL {
            cell.push('…');
            break;
        }
        match letter {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '~' | '!' => {
                cell.extend(['\\', letter])
            }
            letter if letter.is_control() => cell.push(' '),
            letter => cell.push(letter),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lerobot::info::Totals;
    use crate::lerobot::staged::{SyncReport, SyncSource};
    use crate::storage::memory::MemoryStorage;

    fn entry(source: &str) -> SyncEntry {
        SyncEntry {
            episode_index: 0,
            source: source.into(),
            source_bytes: 7,
            source_digest: "5e".into(),
            frames: 3,
            sync: SyncReport::default(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn several_fields_of_a_topic_count_their_episodes_once() {
        let source = SyncSource {
            feature: "state".into(),
            topic: "/t".into(),
            match_rate: 1.0,
            missing_frames: 4,
            ..SyncSource::default()
        };
        let met = SyncReport { sources: vec![source.clone(), source], ..SyncReport::default() };
        let of = |number: u64| SyncEntry { episode_index: number, sync: met.clone(), ..entry("a") };
        let part = Part { from: 0, entries: vec![of(0), of(1)], skipped: Vec::new(), mapping: String::new() };
        let mut text = String::new();
        sync(&mut text, &[part]);
        assert!(text.contains("| state | /t |") && text.contains("| 8 | 0 | 2 |"), "{text}");
    }

    #[test]
    fn what_recordings_are_called_stays_in_its_cell() {
        let part = Part { entries: vec![entry("a|b\n# <b>`x`.mcap")], ..Part::default() };
        let info = Info::new(10, Some("so|101"), &[], Totals { episodes: 1, frames: 3, tasks: 1 });
        let card = card(&info, &["pick | place\n---".to_owned()], &[part]);
        assert!(card.contains("| 0 | a\\|b \\# \\<b\\>\\`x\\`.mcap | 7 | 3 | 0 | 5e |\n"), "{card}");
        assert!(card.contains("# so\\|101 recordings\n") && card.contains("| 0 | pick \\| place --- |\n"));
        assert_eq!(card.matches("\n---\n").count(), 1, "the end of the front matter");
    }

    #[test]
    fn a_mapping_ends_with_its_own_fence() {
        let part = Part { mapping: "# ```\nfps = 1\n".into(), ..Part::default() };
        let info = Info::new(10, None, &[], Totals { episodes: 1, frames: 3, tasks: 1 });
        let card = card(&info, &[], &[part]);
        assert!(card.ends_with("## Mapping\n````toml\n# ```\nfps = 1\n````\n"), "{card}");
    }

    #[test]
    fn long_tables_are_cut_and_counted() {
        let part = Part { entries: (0..700).map(|_| entry("a")).collect(), ..Part::default() };
        let info = Info::new(10, None, &[], Totals { episodes: 1, frames: 3, tasks: 1 });
        let card = card(&info, &[], &[part]);
        assert!(card.contains("and 200 more") && card.matches("| a | 7 |").count() == 500);
    }

    #[test]
    fn a_card_of_somebody_elses_is_left_alone() {
        let out = MemoryStorage::new();
        assert!(write(&out, &format!("{MARK} one")).unwrap() > 0);
        assert!(write(&out, &format!("{MARK} two")).unwrap() > 0);
        out.put(CARD_KEY, b"mine").unwrap();
        assert_eq!(write(&out, &format!("{MARK} three")).unwrap(), 0);
        assert_eq!(&out.snapshot()[CARD_KEY][..], b"mine");
    }
}
