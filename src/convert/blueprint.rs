//! What every segment of a recording is made from: fixed when the recording is opened, and never changed after.
//!
//! Architecture Invariant: a segment is a function of the blueprint and its number. Whoever makes it brings a reader of
//! its own, so segments are made on any thread, in any order, with the same bytes. Nothing is written here.

use super::ahead::Line;
use super::bind::BoundFeature;
use super::crew::Member;
use super::episode::{Episodes, Place};
use super::rows::{Rows, Sources};
use super::segment::Segment;
use super::source::Reader;
use super::spent::{Spent, timed};
use super::tap::Tap;
use super::video::Cameras;
use super::{StopFlag, WorkError};
use crate::lerobot::feature::Feature;
use std::sync::Arc;

/// An open recording with all decisions made.
pub(crate) struct Blueprint {
    pub(crate) sources: Sources,
    /// One for each lane, as the first kept frame fixed them: the lengths, names and geometry that all others must have.
    pub(crate) taps: Vec<Tap>,
    pub(crate) bound: Vec<BoundFeature>,
    /// The dataset's features, in the mapping's order.
    pub(crate) features: Vec<Feature>,
    pub(crate) episodes: Episodes,
    /// How each feature that is a video is encoded.
    pub(crate) cameras: Cameras,
    /// Whose spare memory pictures are read into.
    pub(crate) member: Arc<Member>,
}

/// A segment in memory.
pub(crate) struct Made {
    pub(crate) segment: Segment,
    /// Frames in it.
    pub(crate) frames: u32,
    /// Bytes read from the recording for it.
    pub(crate) read_bytes: u64,
    pub(crate) spent: Spent,
}

/// A segment's values, before they become columns.
pub(crate) struct Gathered {
    rows: Rows,
    /// The kept frame that it begins with, and how many its episode has.
    span: (u64, u64),
    read_bytes: u64,
    spent: Spent,
}

impl Blueprint {
    /// Where a segment stands, by its number among all of the recording's.
    pub(crate) fn place(&self, number: u32) -> Result<Place<'_>, WorkError> {
        self.episodes.place(number).ok_or_else(|| {
            WorkError::Permanent(format!(
                "{}: there is no segment {number}, only {}",
                self.sources.recording.name(),
                self.episodes.segments()
            ))
        })
    }
}

impl Line for Blueprint {
    type Reader = Reader;
    type Read = Gathered;
    type Made = Made;

    fn read(&self, number: u32, reader: &mut Reader, stop: &StopFlag) -> Result<Gathered, WorkError> {
        let place = self.place(number)?;
        let (read_before, loading_before) = (reader.bytes_read(), reader.loading());
        // Taps remember the message before: each segment begins with those of the first kept frame.
        let mut taps = self.taps.clone();
        let plan = &place.episode.plan;
        let spares = self.member.spares();
        let (rows, took) = timed(|| self.sources.read(reader, &mut taps, spares, plan, &place.frames, stop));
        let span = (place.first, place.episode.staged.frames);
        let reading = reader.loading() - loading_before;
        let spent = Spent { reading, extracting: took.saturating_sub(reading), ..Spent::default() };
        Ok(Gathered { rows: rows?, span, read_bytes: reader.bytes_read() - read_before, spent })
    }

    fn size_bytes(read: &Gathered) -> usize {
        read.rows.size_bytes()
    }

    fn finish(&self, read: Gathered, stop: &StopFlag) -> Result<Made, WorkError> {
        let Gathered { rows, span, read_bytes, spent } = read;
        let frames = u32::try_from(rows.frames).unwrap_or(u32::MAX);
        let (segment, built) = Segment::build(self, rows, span, stop)?;
        stop.check()?;
        Ok(Made { segment, frames, read_bytes, spent: spent + built })
    }
}
