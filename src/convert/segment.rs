//! One segment's file: rows become Arrow columns, sampled images become pixel counts, and both go to staging.
//!
//! Every byte is a function of the rows: no clock, no version, no order of work goes into it.

use super::align::Pick;
use super::blueprint::Blueprint;
use super::image::{Pixels, Yuv420, no_counts, sampled};
use super::rows::{Rows, complaint};
use super::tap::{Column, Tap};
use super::video::{Camera, Planes, Samples};
use super::{StopFlag, WorkError};
use crate::lerobot::data::arrow_field;
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::parquet_file::ParquetOut;
use crate::lerobot::row_groups;
use crate::lerobot::staged::{ImageCounts, SEGMENT_NOTE_KEY, SegmentNote, segment_video_key};
use crate::storage::SharedStorage;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    StringArray, StructArray, new_null_array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who wrote the file, without a version: it must not change the bytes.
const CREATED_BY: &str = "roboflow";

/// A segment ready to be written.
pub(crate) struct Segment {
    pub(crate) batch: RecordBatch,
    pub(crate) note: SegmentNote,
    /// The samples of each video, by its feature's place.
    pub(crate) videos: Vec<(usize, Vec<u8>)>,
}

/// What a lane gives, row by row.
struct Lane<'a> {
    column: &'a Column,
    picks: &'a [Pick],
    width: usize,
}

impl Segment {
    /// Makes the columns and counts what is to be known of them. The rows are kept frames from number `first` of
    /// `kept` on. Each column of images is let go, or becomes the array itself, before the next one is made.
    pub(crate) fn build(
        blueprint: &Blueprint,
        mut rows: Rows,
        (first, kept): (u64, u64),
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        let mut note = SegmentNote::default();
        let (mut fields, mut arrays, mut videos) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (feature, bound)) in blueprint.features.iter().zip(&blueprint.bound).enumerate() {
            stop.check()?;
            let field = arrow_field(feature);
            let wrong =
                |error: ArrowError| WorkError::Permanent(format!("feature {:?}: {error}", feature.name));
            let array = if let Some(camera) = blueprint.cameras.get(&feature.name) {
                let lane = bound.lanes.start;
                let (samples, counts) = video(camera, lane, blueprint, &mut rows, (first, kept), stop)?;
                note.images.insert(feature.name.clone(), counts);
                note.videos.insert(feature.name.clone(), camera.stream.clone());
                let sizes: Int64Array = samples.sizes.iter().map(|bytes| i64::from(*bytes)).collect();
                videos.push((at, samples.bytes));
                Arc::new(sizes)
            } else if feature.dtype == Dtype::Image {
                let lane = bound.lanes.start;
                let counts = image_counts(lane, blueprint, &rows, (first, kept), stop)?;
                note.images.insert(feature.name.clone(), counts);
                images(field.data_type(), lane, &mut rows).map_err(wrong)?
            } else {
                let lanes: Vec<Lane<'_>> =
                    bound.lanes.clone().filter_map(|lane| Lane::of(lane, blueprint, &rows)).collect();
                let (array, non_finite) =
                    array(feature, field.data_type(), &lanes, rows.frames).map_err(wrong)?;
                if non_finite > 0 {
                    note.non_finite.insert(feature.name.clone(), non_finite);
                }
                array
            };
            fields.push(field);
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| WorkError::Permanent(format!("a segment cannot be made: {error}")))?;
        Ok(Self { batch, note, videos })
    }

    /// Writes the samples of videos, then the file: durable and visible when it returns. Gives the bytes of all.
    pub(crate) fn write(
        &self,
        staging: &SharedStorage,
        key: &str,
        features: &[Feature],
    ) -> Result<u64, WorkError> {
        let mut written_bytes = 0;
        for (feature, samples) in &self.videos {
            staging.put(&segment_video_key(key, *feature), samples)?;
            written_bytes += samples.len() as u64;
        }
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
        Ok(written_bytes + out.finish()?)
    }
}

impl<'a> Lane<'a> {
    fn of(lane: usize, blueprint: &Blueprint, rows: &'a Rows) -> Option<Self> {
        let width = blueprint.taps.get(lane).map(Tap::width)?;
        Some(Self { column: rows.columns.get(lane)?, picks: rows.picks.get(lane)?, width })
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
                let pairs = self.cells(values, *before).iter().zip(self.cells(values, *after));
                out.extend(pairs.map(|(a, b)| a + (b - a) * weight));
            }
            None => {}
        }
    }

    /// The row that a frame takes, of columns that are never between two.
    fn row(&self, frame: usize) -> usize {
        self.picks.get(frame).map_or(usize::MAX, row_of)
    }
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

/// An image column as an array: its own bytes where each frame takes the next file, as is usual; else a copy in the
/// frames' order.
fn images(data_type: &DataType, lane: usize, rows: &mut Rows) -> Result<ArrayRef, ArrowError> {
    let wrong = |what: &str| ArrowError::InvalidArgumentError(what.to_owned());
    let column = rows.columns.get_mut(lane).map(std::mem::take);
    let (DataType::Struct(fields), Some(column), Some(picks)) = (data_type, column, rows.picks.get(lane))
    else {
        return Err(wrong("not an image's column"));
    };
    let files: Vec<&[u8]> = picks.iter().filter_map(|pick| file(&column, row_of(pick))).collect();
    let lengths: Vec<usize> = files.iter().map(|file| file.len()).collect();
    if lengths.iter().sum::<usize>() > i32::MAX as usize {
        return Err(wrong("over 2 GiB of images: take fewer frames a segment"));
    }
    let in_order = picks.iter().enumerate().all(|(frame, pick)| row_of(pick) == frame);
    let bytes = match column {
        Column::Files { bytes, ends } if in_order && ends.len() == picks.len() => Buffer::from_vec(bytes),
        _ => Buffer::from_vec(files.concat()),
    };
    let bytes: ArrayRef = Arc::new(BinaryArray::try_new(OffsetBuffer::from_lengths(lengths), bytes, None)?);
    let paths = new_null_array(&DataType::Utf8, picks.len());
    Ok(Arc::new(StructArray::try_new(fields.clone(), vec![bytes, paths], None)?))
}

/// A file of an image column.
fn file(column: &Column, row: usize) -> Option<&[u8]> {
    let Column::Files { bytes, ends } = column else { return None };
    let begin = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
    bytes.get(begin..*ends.get(row)?)
}

/// Pixel counts of those of the rows that are sampled, among all kept frames.
fn image_counts(
    lane: usize,
    blueprint: &Blueprint,
    rows: &Rows,
    (first, kept): (u64, u64),
    stop: &StopFlag,
) -> Result<ImageCounts, WorkError> {
    let (mut counts, mut pixels) = (no_counts(), Pixels::default());
    let found = Lane::of(lane, blueprint, rows).zip(blueprint.taps.get(lane).and_then(Tap::picture));
    let Some((values, picture)) = found else { return Ok(counts) };
    let Some(geometry) = picture.kept() else { return Ok(counts) };
    let here = first..first + rows.frames as u64;
    for number in sampled(kept).skip_while(|frame| *frame < here.start).take_while(|frame| *frame < here.end)
    {
        stop.check()?;
        let row = values.row(usize::try_from(number - first).unwrap_or(usize::MAX));
        let Some(bytes) = file(values.column, row) else { continue };
        pixels.count(bytes, geometry, &picture.transform(), &mut counts).map_err(|what| {
            let sources = &blueprint.sources;
            let topic = sources.lanes.get(lane).map_or("", |lane| lane.topic_name.as_str());
            let stamp_ns = rows.stamps.get(lane).and_then(|stamps| stamps.get(row)).copied().unwrap_or(0);
            complaint(sources.recording.name(), topic, stamp_ns, &what)
        })?;
    }
    Ok(counts)
}

/// A camera's frames as samples of a video, and the pixel counts of those that are sampled. One frame is in memory at a time; the
/// pictures' own bytes are let go when all are encoded.
fn video(
    camera: &Camera,
    lane: usize,
    blueprint: &Blueprint,
    rows: &mut Rows,
    (first, kept): (u64, u64),
    stop: &StopFlag,
) -> Result<(Samples, ImageCounts), WorkError> {
    let (mut counts, mut pixels, mut planes) = (no_counts(), Pixels::default(), Yuv420::default());
    let (mut encoder, mut samples) = (camera.start()?, Samples::default());
    let found = Lane::of(lane, blueprint, rows).zip(blueprint.taps.get(lane).and_then(Tap::picture));
    let Some((values, picture)) = found else { return Ok((samples, counts)) };
    let (Some(geometry), transform) = (picture.kept(), picture.transform()) else {
        return Ok((samples, counts));
    };
    let mut to_count = sampled(kept).skip_while(|frame| *frame < first).peekable();
    let mut before = None;
    for frame in 0..rows.frames {
        stop.check()?;
        let row = values.row(frame);
        let complain = |what: String| {
            let sources = &blueprint.sources;
            let topic = sources.lanes.get(lane).map_or("", |lane| lane.topic_name.as_str());
            let stamp_ns = rows.stamps.get(lane).and_then(|stamps| stamps.get(row)).copied().unwrap_or(0);
            complaint(sources.recording.name(), topic, stamp_ns, &what)
        };
        let bytes = file(values.column, row).ok_or_else(|| complain("a picture was lost".to_owned()))?;
        if before != Some(row) {
            pixels.yuv(bytes, geometry, &transform, &mut planes).map_err(complain)?;
        }
        if to_count.next_if_eq(&(first + frame as u64)).is_some() {
            pixels.count_same(&mut counts);
        }
        before = Some(row);
        let planes =
            Planes::of(&planes).ok_or_else(|| complain("its planes have no even sides".to_owned()))?;
        encoder.encode(&planes, &mut samples, stop).map_err(|error| camera.failed(error))?;
    }
    let stream = encoder.finish(&mut samples, stop).map_err(|error| camera.failed(error))?;
    camera.check(&stream, &samples, rows.frames)?;
    drop(rows.columns.get_mut(lane).map(std::mem::take));
    Ok((samples, counts))
}

/// What the user should know of values that are no numbers.
pub(crate) fn non_finite_warnings(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    counts.iter().map(|(feature, count)| {
        let values = if *count == 1 { "one value that is" } else { "values that are" };
        let count = if *count == 1 { String::new() } else { format!("{count} ") };
        format!("feature {feature:?} has {count}{values} NaN or infinite")
    })
}
