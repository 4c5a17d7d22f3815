//! One segment's files: rows become Arrow columns, pictures what [`super::pictures`] makes of them, and both go to staging.
//!
//! Every byte is a function of the rows: no clock, no version, no order of work goes into it.

use super::align::Pick;
use super::bind::BoundFeature;
use super::blueprint::Blueprint;
use super::pictures::{Frames, Pictures};
use super::rows::Rows;
use super::slerp::{QUATERNION, slerp};
use super::spare::Spares;
use super::spent::{Spent, timed};
use super::tap::Column;
use super::{StopFlag, WorkError};
use crate::lerobot::data::{arrow_field, writer_properties};
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::row_groups::{self, Values};
use crate::lerobot::staged::{ImageCounts, SEGMENT_NOTE_KEY, SegmentNote, segment_video_key};
use crate::lerobot::video::VideoStream;
use crate::storage::SharedStorage;
use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use parquet::file::metadata::KeyValue;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Who wrote the file, without a version: it must not change the bytes.
const CREATED_BY: &str = "roboflow";

/// A segment ready to be written.
pub(crate) struct Segment {
    fields: Vec<Field>,
    /// One a feature.
    columns: Vec<Filled>,
    note: SegmentNote,
    /// The samples of each video, by its feature's place.
    videos: Vec<(usize, Vec<u8>)>,
}

/// The values of a feature.
pub(super) enum Filled {
    Array(ArrayRef),
    Files(Files),
}

/// Files behind each other, and where that of each frame lies.
pub(super) struct Files {
    pub(super) bytes: Vec<u8>,
    pub(super) places: Vec<Range<usize>>,
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
pub(super) struct Part {
    pub(super) field: Field,
    pub(super) column: Filled,
    /// Of pictures: the pixels of the sampled ones.
    pub(super) counts: Option<ImageCounts>,
    /// Of a video: its samples behind each other.
    pub(super) video: Option<(VideoStream, Vec<u8>)>,
    pub(super) non_finite: u64,
    pub(super) spent: Spent,
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
        // Each feature of pictures has its files for itself, to let them go or make them the array.
        let features = blueprint.features.iter().zip(&blueprint.bound).map(|(feature, bound)| {
            let files = rows
                .columns
                .get_mut(bound.lanes.start)
                .filter(|_| matches!(feature.dtype, Dtype::Image | Dtype::Video));
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
                        let frames = Frames { blueprint, rows, first, kept };
                        Pictures::new(files, bound.lanes.start).part(feature, &frames, stop)
                    }
                    None => vector(feature, bound, blueprint, rows),
                }
            })
            .collect();
        let mut note = SegmentNote::default();
        let (mut fields, mut columns, mut videos) = (Vec::new(), Vec::new(), Vec::new());
        let mut all_spent = Spent::default();
        for (at, (feature, part)) in blueprint.features.iter().zip(parts).enumerate() {
            // Of several errors it is always the first feature's that is told.
            let Part { field, column, counts, video, non_finite, spent } = part?;
            if let Some(counts) = counts {
                note.images.insert(feature.name.clone(), counts);
            }
            if let Some((stream, samples)) = video {
                note.videos.insert(feature.name.clone(), stream);
                videos.push((at, samples));
            }
            if non_finite > 0 {
                note.non_finite.insert(feature.name.clone(), non_finite);
            }
            fields.push(field);
            columns.push(column);
            all_spent += spent;
        }
        Ok((Self { fields, columns, note, videos }, all_spent))
    }

    /// It is written: the memory of its pictures may be used again. Gives what is to be known of it.
    pub(crate) fn let_go(self, spares: &Spares) -> SegmentNote {
        for column in self.columns {
            if let Filled::Files(files) = column {
                spares.give(files.bytes);
            }
        }
        self.note
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
        let properties = writer_properties(features)
            .set_created_by(CREATED_BY.to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(SEGMENT_NOTE_KEY.to_owned(), note)]));
        let columns: Vec<Values<'_>> = self.columns.iter().map(Filled::values).collect();
        let schema = Arc::new(Schema::new(self.fields.clone()));
        Ok(written_bytes + row_groups::write(staging, key, schema, properties.build(), &columns)?)
    }
}

impl Filled {
    fn values(&self) -> Values<'_> {
        match self {
            Self::Array(array) => Values::Array(Arc::clone(array)),
            Self::Files(Files { bytes, places }) => {
                let file = |place: &Range<usize>| bytes.get(place.clone()).unwrap_or_default();
                Values::Files(places.iter().map(file).collect())
            }
        }
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
pub(super) fn row_of(pick: &Pick) -> usize {
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
    Ok(Part { field, column: Filled::Array(array), counts: None, video: None, non_finite, spent })
}

fn wrong(feature: &Feature, error: &ArrowError) -> WorkError {
    WorkError::Permanent(format!("feature {:?}: {error}", feature.name))
}

/// What the user should know of values that are no numbers.
pub(crate) fn non_finite_warnings(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    counts.iter().map(|(feature, count)| {
        let values = if *count == 1 { "one value that is" } else { "values that are" };
        let count = if *count == 1 { String::new() } else { format!("{count} ") };
        format!("feature {feature:?} has {count}{values} NaN or infinite")
    })
}
