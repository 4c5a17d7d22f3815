//! The table of episodes of a dataset that is added to: where files end, and what all files of the table look like.
//!
//! A loader reads all files of the table as one, with the types of the first. lerobot 0.4 writes the least and the greatest of
//! whole numbers as integers and those of truth values as truth values, 0.6 and this program write doubles: a file that is
//! added has the columns of the first file, in its order and with its types. It writes nothing.

use super::videos::BaseVideo;
use crate::lerobot::episodes::{VIDEO_COLUMNS, video_column};
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Info;
use crate::lerobot::layout::{DATA_PATH, EPISODES_PATH, FileRef, INFO_KEY, VIDEO_PATH};
use crate::lerobot::parquet_file::ParquetIn;
use crate::storage::SharedStorage;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of the table that are read at once.
const BATCH_ROWS: usize = 4096;
/// The columns of an episode's data file and of its end.
const PLACES: [&str; 3] = ["data/chunk_index", "data/file_index", "dataset_to_index"];

/// The numbers of the first files to add.
pub(super) struct Files {
    pub(super) data: u32,
    pub(super) episodes: u32,
    pub(super) videos: BTreeMap<String, BaseVideo>,
}

/// What the table says of the files that episodes are in.
#[derive(Default)]
struct Used {
    data: BTreeSet<u32>,
    /// Of each video.
    videos: BTreeMap<String, BTreeSet<u32>>,
    episodes: u64,
    frames: u64,
}

impl Files {
    /// # Errors
    /// The storage's; [`LerobotError::Unfit`] for a dataset that is not what info.json says, or with files of no episode.
    pub(super) fn look(out: &SharedStorage, info: &Info) -> Result<Self, LerobotError> {
        let tables = numbers(out, "meta/episodes/", EPISODES_PATH)?;
        let mut used = Used::default();
        for (name, _) in info.features.0.iter().filter(|(_, feature)| feature.dtype == "video") {
            used.videos.insert(name.clone(), BTreeSet::new());
        }
        for table in &tables {
            used.read(out, &FileRef::nth(*table).key(EPISODES_PATH))?;
        }
        if (used.episodes, used.frames) != (info.total_episodes, info.total_frames) {
            return Err(LerobotError::Unfit(format!(
                "{}: {INFO_KEY} says {} episodes and {} frames, the table of episodes {} and {}: \
                 'roboflow validate' tells more",
                out.location(),
                info.total_episodes,
                info.total_frames,
                used.episodes,
                used.frames
            )));
        }
        no_stray(out, "data/", DATA_PATH, &used.data)?;
        let mut videos = BTreeMap::new();
        for (name, files) in &used.videos {
            no_stray(out, &format!("videos/{name}/"), &VIDEO_PATH.replace("{video_key}", name), files)?;
            videos.insert(name.clone(), BaseVideo::look(out.as_ref(), info, name, files)?);
        }
        let next = |used: &BTreeSet<u32>| used.last().map_or(0, |last| last.saturating_add(1));
        Ok(Self { data: next(&used.data), episodes: next(&tables), videos })
    }
}

impl Used {
    fn read(&mut self, out: &SharedStorage, key: &str) -> Result<(), LerobotError> {
        let file = ParquetIn::open(out, key)?;
        let mut places: Vec<(String, [String; 2])> = Vec::new();
        for name in self.videos.keys() {
            let [chunk, file, ..] = VIDEO_COLUMNS;
            places.push((name.clone(), [video_column(name, chunk), video_column(name, file)]));
        }
        let wanted: BTreeSet<&str> =
            places.iter().flat_map(|(_, columns)| columns.iter().map(String::as_str)).chain(PLACES).collect();
        for batch in file.batches(BATCH_ROWS, |name| wanted.contains(name))? {
            let batch = batch?;
            let column = |name: &str| integers(&batch, name).ok_or_else(|| no_integers(key, name));
            let [data_chunk, data_file, end] = PLACES;
            add(&mut self.data, &column(data_chunk)?, &column(data_file)?);
            for (name, [chunk, file]) in &places {
                let (chunks, numbers) = (column(chunk)?, column(file)?);
                if let Some(files) = self.videos.get_mut(name) {
                    add(files, &chunks, &numbers);
                }
            }
            self.frames = column(end)?.last().map_or(self.frames, |end| u64::try_from(*end).unwrap_or(0));
            self.episodes += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// A column of whole numbers, of whatever type a writer gave them.
fn integers(batch: &RecordBatch, name: &str) -> Option<Vec<i64>> {
    let column = cast(batch.column_by_name(name)?, &DataType::Int64).ok()?;
    let column = column.as_primitive_opt::<Int64Type>()?;
    (arrow::array::Array::null_count(column) == 0).then(|| column.values().to_vec())
}

fn no_integers(key: &str, name: &str) -> LerobotError {
    LerobotError::damaged(key, format!("its column {name} is missing, or not of integers"))
}

fn add(files: &mut BTreeSet<u32>, chunks: &[i64], numbers: &[i64]) {
    for (chunk, number) in chunks.iter().zip(numbers) {
        let place = u32::try_from(*chunk).ok().zip(u32::try_from(*number).ok());
        files.extend(place.and_then(|(chunk, file)| FileRef { chunk, file }.number()));
    }
}

/// The numbers of a template's files that are there.
fn numbers(out: &SharedStorage, prefix: &str, template: &str) -> Result<BTreeSet<u32>, LerobotError> {
    let mut found = BTreeSet::new();
    for object in out.list(prefix)? {
        found.extend(FileRef::parse(template, &object?.key).and_then(FileRef::number));
    }
    Ok(found)
}

/// That no file is there in which no episode is: it would be written over, or be read as part of the dataset.
fn no_stray(
    out: &SharedStorage,
    prefix: &str,
    template: &str,
    used: &BTreeSet<u32>,
) -> Result<(), LerobotError> {
    let Some(stray) = numbers(out, prefix, template)?.difference(used).next().copied() else { return Ok(()) };
    Err(LerobotError::Unfit(format!(
        "{}: no episode is in {}: remove it, or choose another --out",
        out.location(),
        FileRef::nth(stray).key(template)
    )))
}

/// The columns of the table's first file, which hold what `ours` do.
///
/// # Errors
/// The storage's; [`LerobotError::Damaged`] with the column that differs.
pub(super) fn form(out: &SharedStorage, ours: &[Field]) -> Result<SchemaRef, LerobotError> {
    let file = ParquetIn::open(out, &FileRef::nth(0).key(EPISODES_PATH))?;
    let theirs = file.schema();
    let wrong = |what: String| {
        let what = format!(
            "{what}, and all files of a table need the same: let lerobot rewrite the dataset, or choose another --out"
        );
        Err(LerobotError::damaged(file.key(), what))
    };
    for field in ours {
        match theirs.field_with_name(field.name()) {
            Err(_) => return wrong(format!("it has no column {}", field.name())),
            Ok(found) if !holds(found.data_type(), field.data_type()) => {
                return wrong(format!("its column {} is {}", field.name(), found.data_type()));
            }
            Ok(_) => {}
        }
    }
    match theirs.fields().iter().find(|field| !ours.iter().any(|own| own.name() == field.name())) {
        Some(field) => wrong(format!("it has a column {}, which is not known", field.name())),
        None => Ok(Arc::new(Schema::new(theirs.fields().clone()))),
    }
}

/// Whether what is of the type `ours` may be written as `theirs`: numbers as other numbers, in lists as deep. That none of
/// them changes is seen when they are written.
fn holds(theirs: &DataType, ours: &DataType) -> bool {
    let is_number = |data_type: &DataType| data_type.is_numeric() || *data_type == DataType::Boolean;
    match (theirs, ours) {
        (
            DataType::List(theirs) | DataType::LargeList(theirs) | DataType::FixedSizeList(theirs, _),
            DataType::List(ours),
        ) => holds(theirs.data_type(), ours.data_type()),
        (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8) => true,
        (theirs, ours) => is_number(theirs) && is_number(ours),
    }
}
