//! What every segment of a recording is made from: fixed when the recording is opened, and never changed after.
//!
//! Architecture Invariant: a segment is a function of the blueprint and its number. Whoever makes it brings a reader of
//! its own, so segments are made on any thread, in any order, with the same bytes. Nothing is written here.

use super::bind::BoundFeature;
use super::episode::Episodes;
use super::rows::Sources;
use super::segment::Segment;
use super::source::Reader;
use super::tap::Tap;
use super::video::Cameras;
use super::{StopFlag, WorkError};
use crate::lerobot::feature::Feature;

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
}

/// A segment in memory.
pub(crate) struct Made {
    pub(crate) segment: Segment,
    /// Frames in it.
    pub(crate) frames: u32,
    /// Bytes read from the recording for it.
    pub(crate) read_bytes: u64,
}

impl Blueprint {
    /// Makes a segment, by its number among all of the recording's.
    ///
    /// # Errors
    /// What is wrong with its messages, with their time; [`WorkError::Stopped`].
    pub(crate) fn make(&self, number: u32, reader: &mut Reader, stop: &StopFlag) -> Result<Made, WorkError> {
        stop.check()?;
        let Some(place) = self.episodes.place(number) else {
            return Err(WorkError::Permanent(format!(
                "{}: there is no segment {number}, only {}",
                self.sources.recording.name(),
                self.episodes.segments()
            )));
        };
        let read_before = reader.bytes_read();
        // Taps remember the message before: each segment begins with those of the first kept frame.
        let mut taps = self.taps.clone();
        let rows = self.sources.read(reader, &mut taps, &place.episode.plan.grid, &place.frames, stop)?;
        let segment = Segment::build(self, rows, (place.first, place.episode.staged.frames), stop)?;
        stop.check()?;
        Ok(Made {
            segment,
            frames: u32::try_from(place.frames.len()).unwrap_or(u32::MAX),
            read_bytes: reader.bytes_read() - read_before,
        })
    }
}
