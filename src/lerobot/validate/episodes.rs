//! Rules of `meta/episodes/*.parquet`.

use super::column::{Column, list_values};
use super::rule::{Findings, Rule};
use super::stats::Found;
use super::{Pending, or_finding};
use crate::lerobot::episodes::{VIDEO_COLUMNS, VideoSpan, stat_column, video_column};
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Info;
use crate::lerobot::layout::{EPISODES_PATH, FileRef, INFO_KEY};
use crate::lerobot::parquet_file::ParquetIn;
use crate::lerobot::stats::STAT_NAMES;
use crate::lerobot::tasks::arrow_text;
use crate::storage::SharedStorage;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use std::collections::BTreeSet;

/// Rows in memory beside the table that is kept.
const BATCH_ROWS: usize = 256;
/// The columns that every episode has, beside tasks and statistics.
const INTEGERS: [&str; 8] = [
    "episode_index",
    "length",
    "data/chunk_index",
    "data/file_index",
    "dataset_from_index",
    "dataset_to_index",
    "meta/episodes/chunk_index",
    "meta/episodes/file_index",
];

/// An episode as its row describes it.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    /// Its row's place among all rows: its number, where the numbers are right.
    pub(super) number: u64,
    /// The file that the row is in.
    pub(super) file: String,
    pub(super) data: FileRef,
    pub(super) from: u64,
    pub(super) length: u64,
    pub(super) tasks: Vec<String>,
    /// For each column, what its statistics are.
    pub(super) stats: Vec<Found>,
    /// For each column that is a video, where the episode is in it; none where the row does not tell.
    pub(super) videos: Vec<Option<VideoSpan>>,
}

/// Reads and checks the table. Episodes of rows that make no sense are left out.
pub(super) fn check(
    storage: &SharedStorage,
    info: &Info,
    columns: &[Column],
    tasks: &[String],
    pending: Option<Pending>,
    found: &mut Findings,
) -> Result<Vec<Episode>, LerobotError> {
    let mut keys = Vec::new();
    for object in storage.list("meta/episodes/")? {
        let key = object?.key;
        match FileRef::parse(EPISODES_PATH, &key) {
            Some(place) if is_pending(place, pending.map(|pending| pending.episode_files)) => {}
            Some(place) => keys.push((place, key)),
            None if key.ends_with(".parquet") => {
                found.add(
                    &key,
                    Rule::DataStray,
                    "it is not named chunk-NNN/file-NNN.parquet, but a loader reads it",
                );
            }
            None => {}
        }
    }
    keys.sort();
    if keys.is_empty() {
        found.add(&FileRef::nth(0).key(EPISODES_PATH), Rule::EpisodesReadable, "it is missing");
    }
    let tasks = tasks.iter().map(String::as_str).collect();
    let mut table = Table { storage, info, columns, tasks, episodes: Vec::new(), rows: 0, next: 0 };
    for (place, key) in keys {
        let read = table.read(place, &key, found);
        or_finding(read, &key, Rule::EpisodesReadable, found)?;
    }
    found.hold(table.rows == info.total_episodes, INFO_KEY, Rule::InfoTotals, || {
        format!("total_episodes is {}, the table of episodes has {}", info.total_episodes, table.rows)
    });
    found.hold(table.next == info.total_frames, INFO_KEY, Rule::InfoTotals, || {
        format!("total_frames is {}, the episodes have {}", info.total_frames, table.next)
    });
    Ok(table.episodes)
}

/// Whether a file is one of an append that is not published.
pub(super) fn is_pending(place: FileRef, first: Option<u32>) -> bool {
    place.number().zip(first).is_some_and(|(number, first)| number >= first)
}

struct Table<'a> {
    storage: &'a SharedStorage,
    info: &'a Info,
    columns: &'a [Column],
    tasks: BTreeSet<&'a str>,
    episodes: Vec<Episode>,
    rows: u64,
    /// Where the next episode starts.
    next: u64,
}

impl Table<'_> {
    fn read(&mut self, place: FileRef, key: &str, found: &mut Findings) -> Result<(), LerobotError> {
        let file = ParquetIn::open(self.storage, key)?;
        if !self.check_columns(&file, key, found) {
            self.rows += u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
            return Ok(());
        }
        for batch in file.batches(BATCH_ROWS, |_| true)? {
            let batch = batch?;
            let integers: Option<Vec<Vec<i64>>> =
                INTEGERS.iter().map(|name| integers(&batch, name)).collect();
            let tasks = batch.column_by_name("tasks").and_then(lists_of_text);
            let (Some(integers), Some(tasks)) = (integers, tasks) else {
                found.add(
                    key,
                    Rule::EpisodesColumns,
                    "an integer or the tasks of a row are null or of another type",
                );
                self.rows += batch.num_rows() as u64;
                continue;
            };
            for row in 0..batch.num_rows() {
                let values: Vec<i64> =
                    integers.iter().filter_map(|column| column.get(row).copied()).collect();
                let tasks = tasks.get(row).cloned().unwrap_or_default();
                self.check_row(place, key, &batch, row, &values, tasks, found);
            }
        }
        Ok(())
    }

    /// Whether the columns that are needed to go on are there.
    fn check_columns(&self, file: &ParquetIn, key: &str, found: &mut Findings) -> bool {
        let schema = file.schema();
        let mut names: Vec<String> = INTEGERS.iter().map(|name| (*name).to_owned()).collect();
        names.push("tasks".to_owned());
        let needed = names.len();
        for column in self.columns {
            if column.has_stats() {
                names.extend(STAT_NAMES.iter().map(|stat| stat_column(&column.name, stat)));
            }
            if column.is_video() {
                names.extend(VIDEO_COLUMNS.iter().map(|name| video_column(&column.name, name)));
            }
        }
        let is_there = |name: &String| schema.field_with_name(name).is_ok();
        for name in names.iter().filter(|name| !is_there(name)) {
            found.add(
                key,
                Rule::EpisodesColumns,
                format!("the column {name} is missing: lerobot cannot append to it"),
            );
        }
        names.iter().take(needed).all(is_there)
    }

    #[expect(clippy::too_many_arguments, reason = "a row of the table and where it stands")]
    fn check_row(
        &mut self,
        place: FileRef,
        key: &str,
        batch: &RecordBatch,
        row: usize,
        values: &[i64],
        tasks: Vec<String>,
        found: &mut Findings,
    ) {
        let unsigned: Option<Vec<u64>> = values.iter().map(|value| u64::try_from(*value).ok()).collect();
        let &[index, length, chunk, file, from, to, meta_chunk, meta_file] =
            unsigned.as_deref().unwrap_or(&[])
        else {
            found.add(
                key,
                Rule::EpisodesRange,
                format!("row {}: a number is below 0: {values:?}", self.rows),
            );
            self.rows += 1;
            return;
        };
        let number = self.rows;
        self.rows += 1;
        found.hold(index == number, key, Rule::EpisodesOrder, || {
            format!("row {number} has episode_index {index}")
        });
        found.hold(from == self.next && length > 0 && to == from + length, key, Rule::EpisodesRange, || {
            format!("episode {index} goes from {from} to {to} with length {length}; {} is next", self.next)
        });
        self.next = self.next.saturating_add(length);
        found.hold(
            (meta_chunk, meta_file) == (u64::from(place.chunk), u64::from(place.file)),
            key,
            Rule::EpisodesPlace,
            || format!("episode {index} says that its row is in chunk {meta_chunk}, file {meta_file}"),
        );
        found.hold(!tasks.is_empty(), key, Rule::EpisodesTasks, || format!("episode {index} has no task"));
        for task in tasks.iter().filter(|task| !self.tasks.contains(task.as_str())) {
            found.add(key, Rule::EpisodesTasks, format!("episode {index}: {task:?} is not in tasks.parquet"));
        }
        let videos = self.video_spans(key, batch, row, index, length, found);
        let stats =
            self.columns.iter().map(|column| stats_of(column, batch, row, index, key, found)).collect();
        let (Ok(chunk), Ok(file)) = (u32::try_from(chunk), u32::try_from(file)) else {
            found.add(
                key,
                Rule::EpisodesRange,
                format!("episode {index}: no such data file: {chunk}, {file}"),
            );
            return;
        };
        let data = FileRef { chunk, file };
        self.episodes.push(Episode {
            number,
            file: key.to_owned(),
            data,
            from,
            length,
            tasks,
            stats,
            videos,
        });
    }

    fn video_spans(
        &self,
        key: &str,
        batch: &RecordBatch,
        row: usize,
        index: u64,
        length: u64,
        found: &mut Findings,
    ) -> Vec<Option<VideoSpan>> {
        let lasts = length as f64 / f64::from(self.info.fps.max(1));
        let mut span = |column: &Column| {
            let name = &column.name;
            let integer = |part: &str| integers(batch, &video_column(name, part))?.get(row).copied();
            let time = |part: &str| {
                let times = batch.column_by_name(&video_column(name, part))?;
                times.as_primitive_opt::<Float64Type>()?.values().get(row).copied()
            };
            let (chunk, file) = (integer("chunk_index")?, integer("file_index")?);
            let (from, to) = (time("from_timestamp")?, time("to_timestamp")?);
            found.hold(from >= 0.0 && (to - from - lasts).abs() < 1e-3, key, Rule::VideoFiles, || {
                format!("episode {index}: {name} goes from {from} to {to} s, but the episode lasts {lasts} s")
            });
            let file = FileRef { chunk: u32::try_from(chunk).ok()?, file: u32::try_from(file).ok()? };
            Some(VideoSpan { file, from, to })
        };
        self.columns.iter().filter(|column| column.is_video()).map(&mut span).collect()
    }
}

/// A column of integers without nulls.
fn integers(batch: &RecordBatch, name: &str) -> Option<Vec<i64>> {
    let column = batch.column_by_name(name)?;
    let column = arrow::compute::cast(column, &DataType::Int64).ok()?;
    let column = column.as_primitive_opt::<Int64Type>()?;
    (column.null_count() == 0).then(|| column.values().to_vec())
}

fn lists_of_text(column: &ArrayRef) -> Option<Vec<Vec<String>>> {
    let lists = column.as_list_opt::<i32>()?;
    (0..lists.len())
        .map(|row| {
            if lists.is_null(row) {
                None
            } else {
                arrow_text(lists.value(row).as_ref())?.into_iter().collect()
            }
        })
        .collect()
}

/// The statistics of a column in one row.
fn stats_of(
    column: &Column,
    batch: &RecordBatch,
    row: usize,
    index: u64,
    key: &str,
    found: &mut Findings,
) -> Found {
    let mut stats = Found::new();
    if !column.has_stats() {
        return stats;
    }
    for name in STAT_NAMES {
        let Some(array) = batch.column_by_name(&stat_column(&column.name, name)) else { continue };
        let depth = if column.is_picture() && name != "count" { 3 } else { 1 };
        match flat(array.slice(row, 1), depth) {
            Some(values) => _ = stats.insert(name, values),
            None => {
                let what = format!("episode {index}: {}", super::stats::wrong_shape(column, name));
                found.add(key, Rule::StatsShape, what);
            }
        }
    }
    stats
}

/// The numbers of one row of lists nested `depth` deep.
fn flat(mut array: ArrayRef, depth: usize) -> Option<Vec<f64>> {
    for level in 0..depth {
        let list = array.as_list_opt::<i32>()?;
        // All lists but the outermost have one entry.
        if list.null_count() > 0 || (level > 0 && list.offsets().lengths().any(|length| length != 1)) {
            return None;
        }
        array = list_values(list)?;
    }
    let numbers = arrow::compute::cast(&array, &DataType::Float64).ok()?;
    let numbers = numbers.as_primitive_opt::<Float64Type>()?;
    (numbers.null_count() == 0).then(|| numbers.values().to_vec())
}
