//! One segment's file: rows become Arrow columns, sampled images become pixel counts, and both go to staging.
//!
//! Every byte is a function of the rows: no clock, no version, no order of work goes into it.

use super::align::Pick;
use super::bind::BoundFeature;
use super::blueprint::Blueprint;
use super::image::{Pixels, no_counts, sampled};
use super::rows::{Rows, complaint};
use super::slerp::{QUATERNION, slerp};
use super::spent::{Spent, timed};
use super::tap::{Column, Tap};
use super::{StopFlag, WorkError};
use crate::lerobot::data::arrow_field;
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::parquet_file::ParquetOut;
use crate::lerobot::row_groups;
use crate::lerobot::staged::{ImageCounts, SEGMENT_NOTE_KEY, SegmentNote};
use crate::lerobot::stats::merge_counts;
use crate::storage::SharedStorage;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    StringArray, StructArray, new_null_array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Who wrote the file, without a version: it must not change the bytes.
const CREATED_BY: &str = "roboflow";
/// Sampled images that one thread decodes in a row: some tens of milliseconds of work.
const SAMPLES_A_TASK: usize = 8;

/// A segment ready to be written.
pub(crate) struct Segment {
    pub(crate) batch: RecordBatch,
    pub(crate) note: SegmentNote,
}

/// What a lane gives, row by row.
struct Lane<'a> {
    column: &'a Column,
    picks: &'a [Pick],
    width: usize,
    /// Where quaternions begin in a row.
    quaternions: Vec<usize>,
}

/// One feature's part of a segment.
struct Part {
    field: Field,
    array: ArrayRef,
    images: Option<ImageCounts>,
    non_finite: u64,
    spent: Spent,
}

impl Segment {
    /// Makes the columns and counts what is to be known of them, on all threads of the pool that it runs in. The rows are
    /// kept frames from number `first` of `kept` on.
    pub(crate) fn build(
        blueprint: &Blueprint,
        mut rows: Rows,
        (first, kept): (u64, u64),
        stop: &StopFlag,
    ) -> Result<(Self, Spent), WorkError> {
        // Each feature of images has its files for itself, to let them go or make them the array.
        let features = blueprint.features.iter().zip(&blueprint.bound).map(|(feature, bound)| {
            let files = rows.columns.get_mut(bound.lanes.start).filter(|_| feature.dtype == Dtype::Image);
            (feature, bound, files.map(std::mem::take))
        });
        let features: Vec<_> = features.collect();
        let rows = &rows;
        let parts: Vec<Result<Part, WorkError>> = features
            .into_par_iter()
            .map(|(feature, bound, files)| {
                stop.check()?;
                match files {
                    Some(files) => {
                        let lane = Files { files, lane: bound.lanes.start };
                        lane.part(feature, blueprint, rows, (first, kept), stop)
                    }
                    None => vector(feature, bound, blueprint, rows),
                }
            })
            .collect();
        let mut note = SegmentNote::default();
        let (mut fields, mut arrays, mut all_spent) = (Vec::new(), Vec::new(), Spent::default());
        for (feature, part) in blueprint.features.iter().zip(parts) {
            // Of several errors it is always the first feature's that is told.
            let Part { field, array, images, non_finite, spent } = part?;
            if let Some(images) = images {
                note.images.insert(feature.name.clone(), images);
            }
            if non_finite > 0 {
                note.non_finite.insert(feature.name.clone(), non_finite);
            }
            fields.push(field);
            arrays.push(array);
            all_spent += spent;
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| WorkError::Permanent(format!("a segment cannot be made: {error}")))?;
        Ok((Self { batch, note }, all_spent))
    }

    /// Writes the file: durable and visible when it returns. Gives its size in bytes.
    pub(crate) fn write(
        &self,
        staging: &SharedStorage,
        key: &str,
        features: &[Feature],
    ) -> Result<u64, WorkError> {
        let note = serde_json::to_string(&self.note)
            .map_err(|error| WorkError::Permanent(format!("{key}: the note cannot be written: {error}")))?;
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(self.batch.num_rows().max(1)))
            .set_key_value_metadata(Some(vec![KeyValue::new(SEGMENT_NOTE_KEY.to_owned(), note)]));
        for feature in features.iter().filter(|feature| feature.dtype == Dtype::Image) {
            // Compressed already, and never alike: a second compression, a dictionary and statistics only cost time.
            let path =
                ColumnPath::new(vec![feature.name.clone(), crate::lerobot::data::IMAGE_BYTES.to_owned()]);
            properties = properties
                .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let mut out = ParquetOut::create(staging, key, self.batch.schema(), properties.build())?;
        row_groups::write(&mut out, &self.batch)?;
        Ok(out.finish()?)
    }
}

impl<'a> Lane<'a> {
    fn of(lane: usize, blueprint: &Blueprint, rows: &'a Rows) -> Option<Self> {
        let tap = blueprint.taps.get(lane)?;
        let (column, picks) = (rows.columns.get(lane)?, rows.picks.get(lane)?);
        Some(Self { column, picks, width: tap.width(), quaternions: tap.quaternions() })
    }

    fn cells<'v, T>(&self, values: &'v [T], row: usize) -> &'v [T] {
        let begin = row.saturating_mul(self.width);
        values.get(begin..begin.saturating_add(self.width)).unwrap_or_default()
    }

    /// Appends what a frame takes, as floats.
    fn floats(&self, frame: usize, out: &mut Vec<f64>) {
        let Column::Floats(values) = self.column else { return };
        match self.picks.get(frame) {
            Some(Pick::One(row)) => out.extend(self.cells(values, *row)),
            Some(Pick::Between { before, after, weight }) => {
                let (begin, before, after) =
                    (out.len(), self.cells(values, *before), self.cells(values, *after));
                out.extend(before.iter().zip(after).map(|(a, b)| a + (b - a) * weight));
                for place in &self.quaternions {
                    let rotation = rotation(before, *place)
                        .zip(rotation(after, *place))
                        .and_then(|(before, after)| slerp(before, after, *weight));
                    let here = out.get_mut(begin + place..begin + place + QUATERNION);
                    if let (Some(rotation), Some(here)) = (rotation, here) {
                        here.copy_from_slice(&rotation);
                    }
                }
            }
            None => {}
        }
    }

    /// The row that a frame takes, of columns that are never between two.
    fn row(&self, frame: usize) -> usize {
        self.picks.get(frame).map_or(usize::MAX, row_of)
    }
}

/// The quaternion that begins at a place of some values.
fn rotation(values: &[f64], place: usize) -> Option<[f64; QUATERNION]> {
    values.get(place..)?.first_chunk().copied()
}

/// The row of a column that is never between two.
fn row_of(pick: &Pick) -> usize {
    match pick {
        Pick::One(row) | Pick::Between { before: row, .. } => *row,
    }
}

/// A feature's column, and how many of its values are NaN or infinite.
fn array(
    feature: &Feature,
    data_type: &DataType,
    lanes: &[Lane<'_>],
    frames: usize,
) -> Result<(ArrayRef, u64), ArrowError> {
    let flat: ArrayRef = match feature.dtype {
        Dtype::Float32 | Dtype::Float64 => {
            let mut values = Vec::new();
            for frame in 0..frames {
                lanes.iter().for_each(|lane| lane.floats(frame, &mut values));
            }
            if feature.dtype == Dtype::Float64 {
                let non_finite = values.iter().filter(|value| !value.is_finite()).count() as u64;
                return Ok((shaped(data_type, Arc::new(Float64Array::from(values)))?, non_finite));
            }
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            let non_finite = values.iter().filter(|value| !value.is_finite()).count() as u64;
            return Ok((shaped(data_type, Arc::new(Float32Array::from(values)))?, non_finite));
        }
        Dtype::Int64 => Arc::new(Int64Array::from(integers(lanes, frames))),
        Dtype::Bool => {
            let values: Vec<bool> = integers(lanes, frames).into_iter().map(|value| value != 0).collect();
            Arc::new(BooleanArray::from(values))
        }
        Dtype::String => Arc::new(StringArray::from(texts(lanes, frames))),
        Dtype::Image | Dtype::Video => {
            return Err(ArrowError::InvalidArgumentError("images are no vector".to_owned()));
        }
    };
    Ok((shaped(data_type, flat)?, 0))
}

/// Values behind each other, in lists of the feature's length if it has one.
fn shaped(data_type: &DataType, flat: ArrayRef) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *length, flat, None)?))
        }
        _ => Ok(flat),
    }
}

fn integers(lanes: &[Lane<'_>], frames: usize) -> Vec<i64> {
    let mut out = Vec::new();
    for frame in 0..frames {
        for lane in lanes {
            if let Column::Integers(values) = lane.column {
                out.extend(lane.cells(values, lane.row(frame)));
            }
        }
    }
    out
}

fn texts<'a>(lanes: &[Lane<'a>], frames: usize) -> Vec<&'a str> {
    let text = |lane: &Lane<'a>, frame: usize| match lane.column {
        Column::Texts(texts) => texts.get(lane.row(frame)).map(String::as_str),
        _ => None,
    };
    (0..frames).flat_map(|frame| lanes.iter().filter_map(move |lane| text(lane, frame))).collect()
}

fn vector(
    feature: &Feature,
    bound: &BoundFeature,
    blueprint: &Blueprint,
    rows: &Rows,
) -> Result<Part, WorkError> {
    let field = arrow_field(feature);
    let lanes: Vec<Lane<'_>> =
        bound.lanes.clone().filter_map(|lane| Lane::of(lane, blueprint, rows)).collect();
    let (made, arranging) = timed(|| array(feature, field.data_type(), &lanes, rows.frames));
    let (array, non_finite) = made.map_err(|error| wrong(feature, &error))?;
    let spent = Spent { arranging, ..Spent::default() };
    Ok(Part { field, array, images: None, non_finite, spent })
}

fn wrong(feature: &Feature, error: &ArrowError) -> WorkError {
    WorkError::Permanent(format!("feature {:?}: {error}", feature.name))
}

/// The files of a lane of images.
struct Files {
    files: Column,
    lane: usize,
}

impl Files {
    fn part(
        self,
        feature: &Feature,
        blueprint: &Blueprint,
        rows: &Rows,
        (first, kept): (u64, u64),
        stop: &StopFlag,
    ) -> Result<Part, WorkError> {
        let (counts, picturing) = self.counts(blueprint, rows, (first, kept), stop)?;
        let field = arrow_field(feature);
        let (array, arranging) = timed(|| self.array(field.data_type(), rows));
        let array = array.map_err(|error| wrong(feature, &error))?;
        let spent = Spent { picturing, arranging, ..Spent::default() };
        Ok(Part { field, array, images: Some(counts), non_finite: 0, spent })
    }

    /// Pixel counts of those of the rows that are sampled, among all kept frames.
    fn counts(
        &self,
        blueprint: &Blueprint,
        rows: &Rows,
        (first, kept): (u64, u64),
        stop: &StopFlag,
    ) -> Result<(ImageCounts, Duration), WorkError> {
        let found = rows.picks.get(self.lane).zip(blueprint.taps.get(self.lane).and_then(Tap::picture));
        let found = found.and_then(|(picks, picture)| Some((picks, picture, picture.kept()?)));
        let Some((picks, picture, geometry)) = found else { return Ok((no_counts(), Duration::ZERO)) };
        let here = first..first + rows.frames as u64;
        let numbers: Vec<u64> = sampled(kept)
            .skip_while(|frame| *frame < here.start)
            .take_while(|frame| *frame < here.end)
            .collect();
        let bytes_of = |number: u64| {
            let frame = usize::try_from(number - first).unwrap_or(usize::MAX);
            let row = picks.get(frame).map_or(usize::MAX, row_of);
            self.file(row).map(|bytes| (row, bytes))
        };
        let count_all = |numbers: &[u64]| {
            let (mut counts, mut pixels) = (no_counts(), Pixels::default());
            for (row, bytes) in numbers.iter().filter_map(|number| bytes_of(*number)) {
                stop.check()?;
                pixels
                    .count(bytes, geometry, &picture.transform(), &mut counts)
                    .map_err(|what| self.complain(blueprint, rows, row, &what))?;
            }
            Ok(counts)
        };
        let runs: Vec<(Result<ImageCounts, WorkError>, Duration)> =
            numbers.par_chunks(SAMPLES_A_TASK).map(|numbers| timed(|| count_all(numbers))).collect();
        let (mut counts, mut all_took) = (no_counts(), Duration::ZERO);
        for (run, took) in runs {
            merge_counts(&mut counts, &run?)?;
            all_took += took;
        }
        Ok((counts, all_took))
    }

    fn complain(&self, blueprint: &Blueprint, rows: &Rows, row: usize, what: &str) -> WorkError {
        let sources = &blueprint.sources;
        let topic = sources.lanes.get(self.lane).map_or("", |lane| lane.topic_name.as_str());
        let stamp_ns = rows.stamps.get(self.lane).and_then(|stamps| stamps.get(row)).copied().unwrap_or(0);
        complaint(sources.recording.name(), topic, stamp_ns, what)
    }

    /// The column as an array: its own bytes where each frame takes the next file, as is usual; else a copy in the frames'
    /// order.
    fn array(self, data_type: &DataType, rows: &Rows) -> Result<ArrayRef, ArrowError> {
        let wrong = |what: &str| ArrowError::InvalidArgumentError(what.to_owned());
        let (DataType::Struct(fields), Some(picks)) = (data_type, rows.picks.get(self.lane)) else {
            return Err(wrong("not an image's column"));
        };
        let files: Vec<&[u8]> = picks.iter().filter_map(|pick| self.file(row_of(pick))).collect();
        let lengths: Vec<usize> = files.iter().map(|file| file.len()).collect();
        if lengths.iter().sum::<usize>() > i32::MAX as usize {
            return Err(wrong("over 2 GiB of images: take fewer frames a segment"));
        }
        let in_order = picks.iter().enumerate().all(|(frame, pick)| row_of(pick) == frame);
        let bytes = match self.files {
            Column::Files { bytes, ends } if in_order && ends.len() == picks.len() => Buffer::from_vec(bytes),
            _ => Buffer::from_vec(files.concat()),
        };
        let bytes: ArrayRef =
            Arc::new(BinaryArray::try_new(OffsetBuffer::from_lengths(lengths), bytes, None)?);
        let paths = new_null_array(&DataType::Utf8, picks.len());
        Ok(Arc::new(StructArray::try_new(fields.clone(), vec![bytes, paths], None)?))
    }

    fn file(&self, row: usize) -> Option<&[u8]> {
        let Column::Files { bytes, ends } = &self.files else { return None };
        let begin = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
        bytes.get(begin..*ends.get(row)?)
    }
}

/// What the user should know of values that are no numbers.
pub(crate) fn non_finite_warnings(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    counts.iter().map(|(feature, count)| {
        let values = if *count == 1 { "one value that is" } else { "values that are" };
        let count = if *count == 1 { String::new() } else { format!("{count} ") };
        format!("feature {feature:?} has {count}{values} NaN or infinite")
    })
}
