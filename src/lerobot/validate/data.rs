//! Rules of the data files: every row against its episode, every value against its feature.

use super::column::{Column, Kind};
use super::episodes::{Episode, is_pending};
use super::rule::{Findings, Rule};
use super::running::Running;
use super::{Dataset, huggingface, or_finding, stats};
use crate::lerobot::data::{HUGGINGFACE_KEY, IMAGE_BYTES};
use crate::lerobot::error::LerobotError;
use crate::lerobot::layout::{DATA_PATH, FileRef};
use crate::lerobot::parquet_file::ParquetIn;
use crate::lerobot::picture::geometry;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use std::collections::{BTreeMap, BTreeSet};

/// Rows in memory at once: a few, since each may hold an image a camera.
const BATCH_ROWS: usize = 32;

/// Checks all data files that episodes name. Gives, for each column, what its values are.
pub(super) fn check(dataset: &Dataset, found: &mut Findings) -> Result<Vec<Option<Running>>, LerobotError> {
    let template = &dataset.info.data_path;
    let mut files: BTreeMap<FileRef, Vec<&Episode>> = BTreeMap::new();
    for episode in &dataset.episodes {
        files.entry(episode.data).or_default().push(episode);
    }
    let known: BTreeSet<String> = files.keys().map(|file| file.key(template)).collect();
    for object in dataset.storage.list("data/")? {
        let key = object?.key;
        let first = dataset.pending.map(|pending| pending.data_files);
        if FileRef::parse(DATA_PATH, &key).is_some_and(|place| is_pending(place, first)) {
            continue;
        }
        if key.ends_with(".parquet") && !known.contains(&key) {
            found.add(&key, Rule::DataStray, "no episode is in it, but a loader reads it");
        }
    }
    let mut totals = running(&dataset.columns);
    for (file, episodes) in files {
        let key = file.key(template);
        let walk = Walk::new(dataset, &key, episodes);
        let read = walk.check(&mut totals, found);
        or_finding(read, &key, Rule::DataReadable, found)?;
    }
    Ok(totals)
}

/// One for each column of numbers.
fn running(columns: &[Column]) -> Vec<Option<Running>> {
    let of =
        |column: &Column| matches!(column.kind, Kind::Number(_)).then(|| Running::new(column.stat_width()));
    columns.iter().map(of).collect()
}

/// A walk over the rows of one file, episode by episode.
struct Walk<'a> {
    dataset: &'a Dataset,
    key: &'a str,
    /// The episodes in the file, in order; the first is the one at hand.
    episodes: std::collections::VecDeque<&'a Episode>,
    /// The frame of that episode that comes next.
    frame: u64,
    /// What that episode's values are so far.
    running: Vec<Option<Running>>,
}

impl<'a> Walk<'a> {
    fn new(dataset: &'a Dataset, key: &'a str, episodes: Vec<&'a Episode>) -> Self {
        Self { dataset, key, episodes: episodes.into(), frame: 0, running: running(&dataset.columns) }
    }

    fn check(mut self, totals: &mut [Option<Running>], found: &mut Findings) -> Result<(), LerobotError> {
        let file = ParquetIn::open(&self.dataset.storage, self.key)?;
        huggingface::check(file.note(HUGGINGFACE_KEY), &self.dataset.columns, self.key, found);
        self.check_groups(&file, found);
        if !self.check_schema(&file, found) {
            return Ok(());
        }
        let rows = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        let wanted = self.episodes.iter().fold(0u64, |sum, episode| sum.saturating_add(episode.length));
        found.hold(rows == wanted, self.key, Rule::DataRows, || {
            format!("it has {rows} rows, the episodes in it have {wanted}")
        });
        for batch in file.batches(BATCH_ROWS, |_| true)? {
            let batch = batch?;
            let mut start = 0;
            while start < batch.num_rows() {
                let Some(episode) = self.episodes.front().copied() else { return Ok(()) };
                let left = usize::try_from(episode.length.saturating_sub(self.frame)).unwrap_or(usize::MAX);
                let rows = left.min(batch.num_rows() - start);
                self.check_rows(&batch.slice(start, rows), episode, found);
                self.frame += rows as u64;
                start += rows;
                if self.frame >= episode.length {
                    self.end_episode(episode, totals, found);
                }
            }
        }
        Ok(())
    }

    fn check_groups(&self, file: &ParquetIn, found: &mut Findings) {
        let mut ends = self.episodes.iter().scan(0u64, |end, episode| {
            *end = end.saturating_add(episode.length);
            Some(*end)
        });
        let (mut end, mut row) = (ends.next().unwrap_or(0), 0u64);
        for (number, group) in file.metadata().row_groups().iter().enumerate() {
            let first = row;
            row = row.saturating_add(u64::try_from(group.num_rows()).unwrap_or(0));
            while end <= first {
                let Some(next) = ends.next() else { break };
                end = next;
            }
            found.hold(row <= end, self.key, Rule::DataRowGroups, || {
                format!("row group {number} holds frames of more than one episode")
            });
            // Image bytes are compressed by themselves.
            let is_bytes = |column: &ColumnChunkMetaData| {
                column.compression() == Compression::UNCOMPRESSED
                    && self.dataset.columns.iter().any(|feature| {
                        feature.kind == Kind::Image
                            && *column.column_path().parts() == [feature.name.as_str(), IMAGE_BYTES]
                    })
            };
            let plain = |column: &ColumnChunkMetaData| column.compression() != Compression::SNAPPY;
            let others = group.columns().iter().filter(|column| plain(column) && !is_bytes(column)).count();
            found.hold(others == 0, self.key, Rule::DataCompression, || {
                format!("{others} columns of row group {number} are not compressed with Snappy")
            });
        }
    }

    /// Whether the columns are such that rows can be read.
    fn check_schema(&self, file: &ParquetIn, found: &mut Findings) -> bool {
        let schema = file.schema();
        let columns: Vec<&Column> = self.dataset.columns.iter().filter(|column| !column.is_video()).collect();
        let mut fits = true;
        for column in &columns {
            let name = &column.name;
            let what = match schema.field_with_name(name) {
                Err(_) => format!("the column {name} is missing"),
                Ok(field) if !column.is_held_by(field.data_type()) => {
                    format!("{name} is {} instead of {} {:?}", field.data_type(), column.dtype, column.shape)
                }
                Ok(_) => continue,
            };
            fits = false;
            found.add(self.key, Rule::DataSchema, what);
        }
        let order: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let wanted: Vec<&String> = columns.iter().map(|column| &column.name).collect();
        found.hold(!fits || order == wanted, self.key, Rule::DataSchema, || {
            format!("its columns {order:?} are not the features in their order")
        });
        fits
    }

    /// Checks rows of one episode, from the frame at hand on.
    fn check_rows(&mut self, rows: &RecordBatch, episode: &Episode, found: &mut Findings) {
        self.check_index(rows, episode, found);
        for (column, running) in self.dataset.columns.iter().zip(&mut self.running) {
            let Some(array) = rows.column_by_name(&column.name) else { continue };
            let place = || format!("episode {}, frames from {}: {}", episode.number, self.frame, column.name);
            if has_nulls(array) {
                found.add(self.key, Rule::DataNulls, format!("{} has nulls", place()));
                continue;
            }
            match (&column.kind, running) {
                (Kind::Number(_), Some(running)) => match column.numbers(array) {
                    Some(values) => running.add(&values),
                    None => found.add(self.key, Rule::DataSchema, format!("{} is not of its shape", place())),
                },
                (Kind::Image, _) => check_images(column, array, self.key, episode, self.frame, found),
                _ => {}
            }
        }
    }

    fn check_index(&self, rows: &RecordBatch, episode: &Episode, found: &mut Findings) {
        let integer = |name: &str| rows.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        // Each is a base, and whether it counts frames from there.
        let expected = [
            ("index", Rule::DataIndex, episode.from, true),
            ("episode_index", Rule::DataEpisodeIndex, episode.number, false),
            ("frame_index", Rule::DataFrameIndex, 0, true),
        ];
        for (name, rule, base, counts) in expected {
            let values = integer(name).into_iter().flat_map(|array| array.values());
            for (frame, value) in (self.frame..).zip(values) {
                let wanted = if counts { base.saturating_add(frame) } else { base };
                found.hold(u64::try_from(*value) == Ok(wanted), self.key, rule, || {
                    format!("episode {}, frame {frame}: {name} is {value}, not {wanted}", episode.number)
                });
            }
        }
        let times =
            rows.column_by_name("timestamp").and_then(|column| column.as_primitive_opt::<Float32Type>());
        let fps = f64::from(self.dataset.info.fps.max(1));
        for (frame, value) in (self.frame..).zip(times.into_iter().flat_map(|array| array.values())) {
            let wanted = (frame as f64 / fps) as f32;
            found.hold(value.to_bits() == wanted.to_bits(), self.key, Rule::DataTimestamp, || {
                format!("episode {}, frame {frame}: timestamp is {value}, not {wanted}", episode.number)
            });
        }
        for (frame, value) in
            (self.frame..).zip(integer("task_index").into_iter().flat_map(|array| array.values()))
        {
            let Some(task) = usize::try_from(*value).ok().and_then(|value| self.dataset.tasks.get(value))
            else {
                found.add(
                    self.key,
                    Rule::DataTaskIndex,
                    format!("episode {}, frame {frame}: there is no task {value}", episode.number),
                );
                continue;
            };
            found.hold(episode.tasks.contains(task), &episode.file, Rule::EpisodesTasks, || {
                format!("episode {} does not name the task of its frame {frame}, {task:?}", episode.number)
            });
        }
    }

    fn end_episode(&mut self, episode: &Episode, totals: &mut [Option<Running>], found: &mut Findings) {
        let seen = std::mem::replace(&mut self.running, running(&self.dataset.columns));
        let place = format!("episode {}: ", episode.number);
        for (at, (column, seen)) in self.dataset.columns.iter().zip(&seen).enumerate() {
            if let Some(said) = episode.stats.get(at).filter(|_| column.has_stats()) {
                stats::check(column, said, &episode.file, &place, episode.length, seen.as_ref(), found);
            }
            if let (Some(Some(total)), Some(seen)) = (totals.get_mut(at), seen) {
                total.merge(seen);
            }
        }
        self.episodes.pop_front();
        self.frame = 0;
    }
}

/// Whether a value is null; of an image its bytes, since its path may be.
fn has_nulls(array: &ArrayRef) -> bool {
    let inner = match array.data_type() {
        DataType::FixedSizeList(..) => array.as_fixed_size_list_opt().map(|list| list.values().null_count()),
        DataType::Struct(_) => array
            .as_struct_opt()
            .and_then(|parts| parts.column_by_name(IMAGE_BYTES))
            .map(|bytes| bytes.null_count()),
        _ => None,
    };
    array.null_count() > 0 || inner.unwrap_or(0) > 0
}

fn check_images(
    column: &Column,
    array: &ArrayRef,
    key: &str,
    episode: &Episode,
    from: u64,
    found: &mut Findings,
) {
    let bytes = array.as_struct_opt().and_then(|parts| parts.column_by_name(IMAGE_BYTES));
    let Some(bytes) = bytes.and_then(|bytes| arrow::compute::cast(bytes, &DataType::LargeBinary).ok()) else {
        return;
    };
    let Some(bytes) = bytes.as_binary_opt::<i64>() else { return };
    for (frame, image) in (from..).zip(bytes.iter()) {
        let what = match geometry(image.unwrap_or_default()) {
            Ok(geometry) => {
                let shape = [geometry.height, geometry.width, geometry.channels].map(u64::from);
                if column.shape == shape {
                    continue;
                }
                format!("it is {shape:?}, the feature {:?}", column.shape)
            }
            Err(what) => what,
        };
        found.add(
            key,
            Rule::DataImages,
            format!("episode {}, frame {frame}: {}: {what}", episode.number, column.name),
        );
    }
}
