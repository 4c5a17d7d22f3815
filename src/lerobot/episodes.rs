//! `meta/episodes/*.parquet`: one row an episode, with the place of its frames and its statistics.
//!
//! Format rules: lerobot 0.6.1 `datasets/dataset_metadata.py`. Appending with lerobot fails when a column is missing.

use super::data::plain_properties;
use super::error::LerobotError;
use super::layout::{DATA_FILE_BYTES, EPISODES_PATH, FileRef, Packer};
use super::parquet_file::ParquetOut;
use super::stats::{STAT_NAMES, Stats};
use crate::storage::SharedStorage;
use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Episodes in a row group, and in memory at once.
const ROW_GROUP_EPISODES: usize = 1000;
/// What a row takes beside its statistics, in bytes, for the choice of its file: a generous guess.
const ROW_BYTES: u64 = 512;

/// One episode.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeRow {
    /// Its number.
    pub episode_index: u64,
    /// Its task's text.
    pub task: String,
    /// Frames.
    pub length: u64,
    /// The data file that holds all of it.
    pub data: FileRef,
    /// Where its frames are in each video, in the order given to [`EpisodesWriter::new`].
    pub videos: Vec<VideoSpan>,
    /// The first frame's row in the dataset; the last one's is `dataset_from_index + length - 1`.
    pub dataset_from_index: u64,
    /// In the order of the columns given to [`EpisodesWriter::new`].
    pub stats: Vec<Stats>,
}

/// An episode's part of a video file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSpan {
    /// The file that holds all of it.
    pub file: FileRef,
    /// When its first frame is shown, in seconds.
    pub from: f64,
    /// When the frame after its last one would be.
    pub to: f64,
}

/// The columns of a video, behind its name.
pub(super) const VIDEO_COLUMNS: [&str; 4] = ["chunk_index", "file_index", "from_timestamp", "to_timestamp"];

/// The column of a part of a video's place.
pub(super) fn video_column(feature: &str, part: &str) -> String {
    format!("videos/{feature}/{part}")
}

/// A feature that has statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatColumn {
    /// The feature.
    pub name: String,
    /// Statistics as `[3][1][1]`.
    pub is_image: bool,
}

/// Writes the episodes in order, file after file.
pub struct EpisodesWriter {
    out: SharedStorage,
    columns: Vec<StatColumn>,
    videos: usize,
    schema: SchemaRef,
    /// The columns of the files, where they are others: see [`EpisodesWriter::like`].
    like: Option<SchemaRef>,
    packer: Packer,
    /// The number of the first file.
    first: u32,
    current: Option<(u32, ParquetOut)>,
    rows: Vec<EpisodeRow>,
    written_bytes: u64,
}

impl EpisodesWriter {
    /// For episodes with these videos and the statistics of these features, from file number `first` on.
    pub fn new(out: &SharedStorage, videos: &[&str], columns: Vec<StatColumn>, first: u32) -> Self {
        let schema = Arc::new(Schema::new(fields(videos, &columns)));
        let packer = Packer::new(DATA_FILE_BYTES);
        Self {
            out: Arc::clone(out),
            columns,
            videos: videos.len(),
            schema,
            like: None,
            packer,
            first,
            current: None,
            rows: Vec::new(),
            written_bytes: 0,
        }
    }

    /// With the columns in the order and of the types that another file of the table has.
    #[must_use]
    pub(super) fn like(mut self, schema: &SchemaRef) -> Self {
        self.like = (*schema != self.schema).then(|| Arc::clone(schema));
        self
    }

    /// Adds the next episode. What is in whole files is durable.
    ///
    /// # Errors
    /// The storage's.
    pub fn push(&mut self, row: EpisodeRow) -> Result<(), LerobotError> {
        let numbers: usize = row.stats.iter().map(|stats| stats.min.len() * STAT_NAMES.len()).sum();
        let file = self.first + self.packer.place(ROW_BYTES + 8 * numbers as u64);
        if self.current.as_ref().is_none_or(|(number, _)| *number != file) {
            self.end_file()?;
            let key = FileRef::nth(file).key(EPISODES_PATH);
            let properties = plain_properties().build();
            let schema = Arc::clone(self.like.as_ref().unwrap_or(&self.schema));
            self.current = Some((file, ParquetOut::create(&self.out, &key, schema, properties)?));
        }
        self.rows.push(row);
        if self.rows.len() >= ROW_GROUP_EPISODES { self.end_row_group() } else { Ok(()) }
    }

    /// Ends the last file. Gives the number that the next file would have, and the bytes of all; all are durable.
    ///
    /// # Errors
    /// The storage's.
    pub fn finish(mut self) -> Result<(u32, u64), LerobotError> {
        let files = self.current.as_ref().map_or(self.first, |(number, _)| number + 1);
        self.end_file()?;
        Ok((files, self.written_bytes))
    }

    fn end_row_group(&mut self) -> Result<(), LerobotError> {
        let Some((number, file)) = &mut self.current else { return Ok(()) };
        if self.rows.is_empty() {
            return Ok(());
        }
        let arrays = arrays(self.videos, &self.columns, &self.rows, FileRef::nth(*number));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| LerobotError::damaged(EPISODES_PATH, error))?;
        let batch = match &self.like {
            Some(schema) => as_in(&batch, schema)?,
            None => batch,
        };
        self.rows.clear();
        file.write(&batch)?;
        file.end_row_group()
    }

    fn end_file(&mut self) -> Result<(), LerobotError> {
        self.end_row_group()?;
        if let Some((_, file)) = self.current.take() {
            self.written_bytes += file.finish()?;
        }
        Ok(())
    }
}

/// The same rows with the columns of another schema, which has the same names.
///
/// # Errors
/// [`LerobotError::Damaged`] where a number is another one in the type that it would have.
fn as_in(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LerobotError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let (name, wanted) = (field.name(), field.data_type());
        let ours = batch.column_by_name(name);
        let theirs = ours.and_then(|ours| cast(ours, wanted).ok());
        let same = theirs.filter(|theirs| {
            ours.is_some_and(|ours| cast(theirs, ours.data_type()).is_ok_and(|back| *back == **ours))
        });
        columns.push(same.ok_or_else(|| {
            let what = format!(
                "the column {name} is {wanted} in the dataset, and an episode's numbers do not go into that: \
                 let lerobot rewrite the dataset, or choose another --out"
            );
            LerobotError::damaged(EPISODES_PATH, what)
        })?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| LerobotError::damaged(EPISODES_PATH, error))
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

/// The columns of the table.
pub(super) fn fields(videos: &[&str], columns: &[StatColumn]) -> Vec<Field> {
    let integer = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields = vec![
        integer("episode_index"),
        Field::new("tasks", list_of(DataType::Utf8), true),
        integer("length"),
        integer("data/chunk_index"),
        integer("data/file_index"),
        integer("dataset_from_index"),
        integer("dataset_to_index"),
    ];
    for video in videos {
        let data_types = [DataType::Int64, DataType::Int64, DataType::Float64, DataType::Float64];
        let columns = VIDEO_COLUMNS.iter().zip(data_types);
        fields
            .extend(columns.map(|(part, data_type)| Field::new(video_column(video, part), data_type, true)));
    }
    for column in columns {
        for name in STAT_NAMES {
            let data_type = match (name, column.is_image) {
                ("count", _) => list_of(DataType::Int64),
                (_, true) => list_of(list_of(list_of(DataType::Float64))),
                (_, false) => list_of(DataType::Float64),
            };
            fields.push(Field::new(stat_column(&column.name, name), data_type, true));
        }
    }
    fields.extend([integer("meta/episodes/chunk_index"), integer("meta/episodes/file_index")]);
    fields
}

/// The column of a feature's statistic.
pub(super) fn stat_column(feature: &str, stat: &str) -> String {
    format!("stats/{feature}/{stat}")
}

fn arrays(videos: usize, columns: &[StatColumn], rows: &[EpisodeRow], place: FileRef) -> Vec<ArrayRef> {
    let integers = |value: &dyn Fn(&EpisodeRow) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| value(row).cast_signed()).collect::<Int64Array>())
    };
    let tasks = StringArray::from_iter_values(rows.iter().map(|row| &row.task));
    let mut arrays: Vec<ArrayRef> = vec![
        integers(&|row| row.episode_index),
        lists(Arc::new(tasks), rows.iter().map(|_| 1)),
        integers(&|row| row.length),
        integers(&|row| row.data.chunk.into()),
        integers(&|row| row.data.file.into()),
        integers(&|row| row.dataset_from_index),
        integers(&|row| row.dataset_from_index + row.length),
    ];
    for at in 0..videos {
        let spans: Vec<VideoSpan> = rows.iter().filter_map(|row| row.videos.get(at).copied()).collect();
        let integers = |value: fn(&VideoSpan) -> u32| -> ArrayRef {
            Arc::new(spans.iter().map(|span| i64::from(value(span))).collect::<Int64Array>())
        };
        let seconds = |value: fn(&VideoSpan) -> f64| -> ArrayRef {
            Arc::new(spans.iter().map(value).collect::<Float64Array>())
        };
        arrays.extend([integers(|span| span.file.chunk), integers(|span| span.file.file)]);
        arrays.extend([seconds(|span| span.from), seconds(|span| span.to)]);
    }
    for (at, column) in columns.iter().enumerate() {
        let stats: Vec<&Stats> = rows.iter().filter_map(|row| row.stats.get(at)).collect();
        for name in STAT_NAMES {
            arrays.push(stat_array(&stats, name, column.is_image));
        }
    }
    arrays.extend([integers(&|_| place.chunk.into()), integers(&|_| place.file.into())]);
    arrays
}

fn stat_array(stats: &[&Stats], name: &str, is_image: bool) -> ArrayRef {
    if name == "count" {
        let counts: Int64Array = stats.iter().map(|stats| stats.count.cast_signed()).collect();
        return lists(Arc::new(counts), stats.iter().map(|_| 1));
    }
    let parts: Vec<&[f64]> = stats.iter().filter_map(|stats| stats.list(name)).collect();
    let flat: Float64Array = parts.iter().flat_map(|part| part.iter().copied()).collect();
    let mut values: ArrayRef = Arc::new(flat);
    if is_image {
        for _ in 0..2 {
            let one_each = vec![1; values.len()];
            values = lists(values, one_each);
        }
    }
    lists(values, parts.iter().map(|part| part.len()))
}

/// Lists of the given lengths over an array.
fn lists(values: ArrayRef, lengths: impl IntoIterator<Item = usize>) -> ArrayRef {
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None))
}
