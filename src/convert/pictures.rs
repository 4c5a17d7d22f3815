//! One camera's part of a segment: its files as a column, or its frames as samples of a video, and the pixel counts of
//! those frames that are sampled.
//!
//! Every byte is a function of the frames: several threads may work on it, and what they give is put together in the
//! frames' order.

use super::blueprint::Blueprint;
use super::image::{Geometry, Pixels, Transform, Yuv420, no_counts, sampled};
use super::rows::{Rows, complaint};
use super::segment::{Files, Filled, Part, row_of};
use super::spent::{Spent, timed};
use super::tap::{Column, Tap};
use super::video::{Camera, Planes, Samples};
use super::{StopFlag, WorkError};
use crate::lerobot::data::arrow_field;
use crate::lerobot::feature::Feature;
use crate::lerobot::staged::ImageCounts;
use crate::lerobot::stats::merge_counts;
use crate::lerobot::video::VideoStream;
use arrow::array::Int64Array;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Sampled images that one thread decodes in a row: some tens of milliseconds of work.
const SAMPLES_A_TASK: usize = 8;
/// Files of a column in one segment at most, in bytes: frames may take the same one many times.
const SEGMENT_FILES_BYTES_MAX: usize = i32::MAX as usize;

/// The frames of a segment.
pub(super) struct Frames<'a> {
    pub(super) blueprint: &'a Blueprint,
    pub(super) rows: &'a Rows,
    /// The number of the first among the episode's kept ones.
    pub(super) first: u64,
    /// How many the episode keeps.
    pub(super) kept: u64,
}

/// The files of a lane of pictures.
pub(super) struct Pictures {
    files: Column,
    lane: usize,
}

impl Pictures {
    /// The files that messages of this lane gave.
    pub(super) fn new(files: Column, lane: usize) -> Self {
        Self { files, lane }
    }

    /// What the feature gets of them.
    pub(super) fn part(
        self,
        feature: &Feature,
        frames: &Frames<'_>,
        stop: &StopFlag,
    ) -> Result<Part, WorkError> {
        let field = arrow_field(feature);
        if let Some(camera) = frames.blueprint.cameras.get(&feature.name) {
            let (made, picturing) = timed(|| self.video(camera, frames, stop));
            let (samples, counts) = made?;
            let sizes: Int64Array = samples.sizes.iter().map(|bytes| i64::from(*bytes)).collect();
            let video = Some((camera.stream.clone(), samples.bytes));
            let spent = Spent { picturing, ..Spent::default() };
            return Ok(Part {
                field,
                column: Filled::Array(Arc::new(sizes)),
                counts: Some(counts),
                video,
                non_finite: 0,
                spent,
            });
        }
        let (counts, picturing) = self.counts(frames, stop)?;
        let (files, arranging) = timed(|| self.in_order(frames));
        let files =
            files.map_err(|what| WorkError::Permanent(format!("feature {:?}: {what}", feature.name)))?;
        let spent = Spent { picturing, arranging, ..Spent::default() };
        let column = Filled::Files(files);
        Ok(Part { field, column, counts: Some(counts), video: None, non_finite: 0, spent })
    }

    /// Pixel counts of those of the rows that are sampled, among all kept frames.
    fn counts(&self, frames: &Frames<'_>, stop: &StopFlag) -> Result<(ImageCounts, Duration), WorkError> {
        let Some((geometry, transform)) = self.kind(frames) else { return Ok((no_counts(), Duration::ZERO)) };
        let here = frames.first..frames.first + frames.rows.frames as u64;
        let numbers: Vec<u64> = sampled(frames.kept)
            .skip_while(|frame| *frame < here.start)
            .take_while(|frame| *frame < here.end)
            .collect();
        let count_all = |numbers: &[u64]| {
            let (mut counts, mut pixels) = (no_counts(), Pixels::default());
            for number in numbers {
                stop.check()?;
                let row = self.row(frames, usize::try_from(number - frames.first).unwrap_or(usize::MAX));
                let Some(bytes) = self.file(row) else { continue };
                pixels
                    .count(bytes, geometry, &transform, &mut counts)
                    .map_err(|what| self.complain(frames, row, &what))?;
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

    /// The frames as samples of a video, and the pixel counts of those that are sampled. One frame is in memory at a
    /// time; the files are let go when all are encoded.
    fn video(
        self,
        camera: &Camera,
        frames: &Frames<'_>,
        stop: &StopFlag,
    ) -> Result<(Samples, ImageCounts), WorkError> {
        let (mut counts, mut pixels, mut planes) = (no_counts(), Pixels::default(), Yuv420::default());
        let (mut encoder, mut samples) = (camera.start()?, Samples::default());
        let Some((geometry, transform)) = self.kind(frames) else { return Ok((samples, counts)) };
        let mut to_count = sampled(frames.kept).skip_while(|frame| *frame < frames.first).peekable();
        let mut before = None;
        for frame in 0..frames.rows.frames {
            stop.check()?;
            let row = self.row(frames, frame);
            let complain = |what: &str| self.complain(frames, row, what);
            let bytes = self.file(row).ok_or_else(|| complain("a picture was lost"))?;
            if before != Some(row) {
                pixels.yuv(bytes, geometry, &transform, &mut planes).map_err(|what| complain(&what))?;
            }
            if to_count.next_if_eq(&(frames.first + frame as u64)).is_some() {
                pixels.count_same(&mut counts);
            }
            before = Some(row);
            let planes = Planes::of(&planes).ok_or_else(|| complain("its planes have no even sides"))?;
            encoder.encode(&planes, &mut samples, stop).map_err(|error| camera.failed(error))?;
        }
        let stream: VideoStream = encoder.finish(&mut samples, stop).map_err(|error| camera.failed(error))?;
        camera.check(&stream, &samples, frames.rows.frames)?;
        self.files.let_go(frames.blueprint.member.spares());
        Ok((samples, counts))
    }

    /// What all files are, and what becomes of their pixels; none when no message was seen.
    fn kind(&self, frames: &Frames<'_>) -> Option<(Geometry, Transform)> {
        let picture = frames.blueprint.taps.get(self.lane).and_then(Tap::picture)?;
        Some((picture.kept()?, picture.transform()))
    }

    /// The file that a frame of the segment takes.
    fn row(&self, frames: &Frames<'_>, frame: usize) -> usize {
        let picks = frames.rows.picks.get(self.lane);
        picks.and_then(|picks| picks.get(frame)).map_or(usize::MAX, row_of)
    }

    fn complain(&self, frames: &Frames<'_>, row: usize, what: &str) -> WorkError {
        let sources = &frames.blueprint.sources;
        let topic = sources.lanes.get(self.lane).map_or("", |lane| lane.topic_name.as_str());
        let stamps = frames.rows.stamps.get(self.lane);
        let stamp_ns = stamps.and_then(|stamps| stamps.get(row)).copied().unwrap_or(0);
        complaint(sources.recording.name(), topic, stamp_ns, what)
    }

    /// The files as they lie, and which each frame takes.
    fn in_order(self, frames: &Frames<'_>) -> Result<Files, &'static str> {
        let picks = frames.rows.picks.get(self.lane).ok_or("not an image's column")?;
        let places = picks.iter().map(|pick| self.place(row_of(pick)).ok_or("a picture was lost"));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        if places.iter().map(Range::len).sum::<usize>() > SEGMENT_FILES_BYTES_MAX {
            return Err("over 2 GiB of images: take fewer frames a segment");
        }
        let Column::Files { bytes, .. } = self.files else { return Err("not an image's column") };
        Ok(Files { bytes, places })
    }

    /// Where the file of a row lies.
    fn place(&self, row: usize) -> Option<Range<usize>> {
        let Column::Files { ends, .. } = &self.files else { return None };
        let begin = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
        Some(begin..*ends.get(row)?)
    }

    fn file(&self, row: usize) -> Option<&[u8]> {
        let Column::Files { bytes, .. } = &self.files else { return None };
        bytes.get(self.place(row)?)
    }
}
