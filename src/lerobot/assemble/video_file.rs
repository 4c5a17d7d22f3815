//! Writes one video file: the samples of its episodes as they stand in staging, behind an index that is made first. In v2.1
//! one file for each of its episodes.
//!
//! Samples pass through in pieces; of a whole file only their sizes are in memory.

use super::data_file::open_segment;
use super::in_order::in_order;
use super::plan::PlannedEpisode;
use super::plan_videos::{PlannedVideo, VideoPlace};
use super::{AssembleWork, check};
use crate::lerobot::data::staged_schema;
use crate::lerobot::episodes::VideoSpan;
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Version;
use crate::lerobot::layout::{FileRef, VIDEO_PATH, video_key};
use crate::lerobot::staged::{SEGMENT_NOTE_KEY, SegmentNote, segment_key, segment_video_key};
use crate::lerobot::v21;
use crate::lerobot::video::{GOP_FRAMES, Mp4Plan, SampleSizes, VideoStream};
use crate::storage::{ObjectInfo, ObjectWriter, from_io};
use crate::work::{SegmentDone, StopFlag};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

/// Frames whose sizes are read at once.
const BATCH_FRAMES: usize = 4096;
/// Bytes of samples in memory.
const PIECE_BYTES: usize = 1 << 20;

/// The samples of a video in one staged segment.
struct StagedSamples {
    object: ObjectInfo,
    /// In bytes.
    sizes: Vec<u32>,
    /// To tell.
    read_bytes: u64,
}

impl AssembleWork {
    /// Writes a video's file, or in v2.1 one for each of its episodes; durable when it returns.
    pub(super) fn write_video_file(
        &self,
        video: usize,
        number: u32,
        stop: &StopFlag,
    ) -> Result<SegmentDone, LerobotError> {
        let Some(planned) = self.plan.videos.get(video) else {
            return Err(LerobotError::Unfit(format!("there is no video {video}")));
        };
        let mut done = SegmentDone { frames: 0, read_bytes: 0, written_bytes: 0 };
        let mut write = |key: &str, episodes: &[(&PlannedEpisode, &VideoPlace)]| {
            let (read, written) = self.write_episodes_of_video(planned, key, episodes, stop)?;
            done.read_bytes += read;
            done.written_bytes += written;
            Ok::<_, LerobotError>(())
        };
        let episodes = self.plan.episodes_of_video(video, number);
        match self.options.version {
            Version::V30 => {
                let episodes: Vec<_> = episodes.map(|(_, episode, place)| (episode, place)).collect();
                write(&video_key(VIDEO_PATH, &planned.name, FileRef::nth(number)), &episodes)?;
            }
            Version::V21 => {
                for (index, episode, place) in episodes {
                    write(&v21::video_key(&planned.name, index), &[(episode, place)])?;
                }
            }
        }
        Ok(done)
    }

    /// Writes the file of these episodes. Gives the bytes read and those written.
    fn write_episodes_of_video(
        &self,
        planned: &PlannedVideo,
        key: &str,
        episodes: &[(&PlannedEpisode, &VideoPlace)],
        stop: &StopFlag,
    ) -> Result<(u64, u64), LerobotError> {
        let mut samples = SampleSizes::default();
        let mut pieces = Vec::new();
        let mut stream = &planned.stream;
        let mut read_bytes = 0;
        if let Some((_, place)) = episodes.last() {
            stream = &place.stream;
        }
        let segments = episodes.iter().flat_map(|(episode, place)| {
            (0..episode.segments.len()).map(move |segment| (*episode, &place.stream, segment))
        });
        let look = |(episode, stream, segment)| self.staged_samples(planned, episode, stream, segment);
        in_order(segments, look, |looked| {
            for staged in looked {
                check(stop)?;
                let staged = staged?;
                for (bytes, frame) in staged.sizes.iter().zip(0_u64..) {
                    if !samples.push(*bytes, frame.is_multiple_of(u64::from(GOP_FRAMES))) {
                        return Err(LerobotError::damaged(
                            &staged.object.key,
                            "a file would have too many frames",
                        ));
                    }
                }
                read_bytes += staged.read_bytes;
                pieces.push(staged.object);
            }
            Ok(())
        })?;
        let head = Mp4Plan { stream, fps: self.plan.fps, samples: &samples }.head();
        let mut writer = self.out.writer(key)?;
        let write = |writer: &mut Box<dyn ObjectWriter>, bytes: &[u8]| {
            writer.write_all(bytes).map_err(|error| from_io(self.out.as_ref(), "writing", key, error))
        };
        write(&mut writer, &head)?;
        let whole = |piece: &ObjectInfo| (piece.clone(), 0..piece.size);
        self.staging.announce(&pieces.iter().map(whole).collect::<Vec<_>>());
        for piece in &pieces {
            let mut offset = 0;
            while offset < piece.size {
                check(stop)?;
                let bytes = self.staging.read_at(piece, offset, PIECE_BYTES)?;
                if bytes.is_empty() {
                    return Err(LerobotError::damaged(&piece.key, "it ends early"));
                }
                offset += bytes.len() as u64;
                write(&mut writer, &bytes)?;
            }
        }
        writer.finish()?;
        let written_bytes = head.len() as u64 + samples.total_bytes();
        tracing::debug!(key, frames = samples.len(), bytes = written_bytes, "wrote a video file");
        Ok((read_bytes + samples.total_bytes(), written_bytes))
    }

    /// Looks at the samples of a video in a segment, and makes sure that they are what they should be.
    fn staged_samples(
        &self,
        planned: &PlannedVideo,
        episode: &PlannedEpisode,
        stream: &VideoStream,
        segment: usize,
    ) -> Result<StagedSamples, LerobotError> {
        let again = |key: &str, what: &str| {
            LerobotError::damaged(key, format!("{}: {what}: convert {} again", planned.name, episode.source))
        };
        let columns = segment_key(&episode.folder, segment);
        let input = open_segment(&self.staging, episode, segment, &staged_schema(&self.plan.staged))?;
        let read_bytes = input.size();
        let note = input.note(SEGMENT_NOTE_KEY).map(serde_json::from_str::<SegmentNote>).transpose();
        let note = note.map_err(|error| LerobotError::damaged(&columns, error))?.unwrap_or_default();
        if note.videos.get(&planned.name) != Some(stream) {
            return Err(again(&columns, "another encoder made this segment than the rest of its episode"));
        }
        let mut sizes = Vec::new();
        for batch in input.batches(BATCH_FRAMES, |name| name == planned.name)? {
            let batch = batch?;
            let column =
                batch.column_by_name(&planned.name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            let column = column.ok_or_else(|| again(&columns, "it has no sizes of samples"))?;
            for bytes in column {
                let bytes = bytes.and_then(|bytes| u32::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
                sizes.push(bytes.ok_or_else(|| again(&columns, "a sample has no size"))?);
            }
        }
        let key = segment_video_key(&columns, planned.feature);
        let object = self.staging.head(&key)?;
        if object.size != sizes.iter().map(|bytes| u64::from(*bytes)).sum::<u64>() {
            return Err(again(&key, "its samples are not as long as the segment says"));
        }
        Ok(StagedSamples { object, sizes, read_bytes })
    }

    /// An episode's place in each video, in seconds.
    pub(super) fn video_spans(&self, episode: &PlannedEpisode) -> Vec<VideoSpan> {
        let seconds = |frames: u64| frames as f64 / f64::from(self.plan.fps.max(1));
        let span = |place: &VideoPlace| VideoSpan {
            file: FileRef::nth(place.file),
            from: seconds(place.from_frame),
            to: seconds(place.from_frame + episode.frames),
        };
        episode.videos.iter().map(span).collect()
    }

    /// Removes video files of an older dataset, as for data files; also those of videos that there are no more. Of a dataset
    /// that is added to, only what an append left that was never published.
    pub(super) fn remove_videos_beyond(&self) -> Result<(), LerobotError> {
        let folders: Result<std::collections::BTreeSet<String>, LerobotError> = self
            .out
            .list("videos/")?
            .map(|object| Ok(object?.key.split('/').nth(1).unwrap_or_default().to_owned()))
            .collect();
        for name in folders? {
            let own = self.plan.videos.iter().find(|video| video.name == name);
            if own.is_none() && self.base.is_some() {
                continue;
            }
            let files = own.map_or(0, |video| video.first_file + video.files);
            self.remove_beyond(&VIDEO_PATH.replace("{video_key}", &name), files)?;
        }
        Ok(())
    }
}
