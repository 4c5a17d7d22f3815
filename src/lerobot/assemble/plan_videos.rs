//! Which episode goes to which file of each video: a part of the plan.

use super::plan::{Found, Plan, PlannedEpisode, Start};
use crate::lerobot::feature::Dtype;
use crate::lerobot::layout::Packer;
use crate::lerobot::staged::StagedEpisode;
use crate::lerobot::video::{FILE_FRAMES_MAX, VideoStream};

/// What a frame takes in the index of a file: its size, and for every second one its number.
const INDEX_BYTES_PER_FRAME: u64 = 6;

/// A feature that is a video.
#[derive(Debug, Clone)]
pub(super) struct PlannedVideo {
    pub(super) name: String,
    /// Its place among the features as they are staged.
    pub(super) feature: usize,
    /// As the first episode has it; others differ in nothing that info.json says.
    pub(super) stream: VideoStream,
    /// The number of its first file.
    pub(super) first_file: u32,
    /// Its files.
    pub(super) files: u32,
}

/// An episode's place in a video.
#[derive(Debug, Clone)]
pub(super) struct VideoPlace {
    /// The number of the file.
    pub(super) file: u32,
    /// Frames before it in the file.
    pub(super) from_frame: u64,
    /// What its frames have in common; the same in all of a file.
    pub(super) stream: VideoStream,
}

/// All videos in the order of the dataset's features, and for each episode its place in each. A file ends before an episode would pass its limit, and where the
/// parameters of the decoder change, since a file has one set of them.
pub(super) fn place_videos(
    first: &StagedEpisode,
    found: &[Found],
    start: &Start,
) -> (Vec<PlannedVideo>, impl Iterator<Item = Vec<VideoPlace>> + use<>) {
    let mut videos = Vec::new();
    let mut places: Vec<Vec<VideoPlace>> = vec![Vec::new(); found.len()];
    for feature in start.features.iter().filter(|feature| feature.dtype == Dtype::Video) {
        let Some(stream) = first.videos.get(&feature.name) else { continue };
        let Some(at) = first.features.iter().position(|staged| staged.name == feature.name) else { continue };
        let first_file = start.first_video_files.get(&feature.name).copied().unwrap_or(0);
        let mut packer = Packer::new(start.video_file_bytes);
        let mut before: Option<(&VideoStream, u32, u64)> = None;
        for (Found { staged, video_bytes, .. }, places) in found.iter().zip(&mut places) {
            let stream = staged.videos.get(&feature.name).unwrap_or(stream);
            let full = |frames: u64| frames + staged.frames > FILE_FRAMES_MAX as u64;
            if before.is_some_and(|(other, _, frames)| other != stream || full(frames)) {
                packer.part();
            }
            let bytes = video_bytes.get(&at).copied().unwrap_or(0);
            let file = first_file + packer.place(bytes + staged.frames * INDEX_BYTES_PER_FRAME);
            let from_frame = before.filter(|(_, last, _)| *last == file).map_or(0, |(_, _, frames)| frames);
            before = Some((stream, file, from_frame + staged.frames));
            places.push(VideoPlace { file, from_frame, stream: stream.clone() });
        }
        let files = before.map_or(0, |(_, last, _)| last + 1 - first_file);
        let (name, stream) = (feature.name.clone(), stream.clone());
        videos.push(PlannedVideo { name, feature: at, stream, first_file, files });
    }
    (videos, places.into_iter())
}

impl Plan {
    /// The names of the videos.
    pub(super) fn video_names(&self) -> Vec<&str> {
        self.videos.iter().map(|video| video.name.as_str()).collect()
    }

    /// Files of all videos.
    pub(super) fn video_files(&self) -> u32 {
        self.videos.iter().map(|video| video.files).sum()
    }

    /// The `number`-th file to write of all videos: the video's place among [`Plan::videos`], and the file's number.
    pub(super) fn video_file(&self, number: u32) -> Option<(usize, u32)> {
        let mut rest = number;
        for (at, video) in self.videos.iter().enumerate() {
            match rest.checked_sub(video.files) {
                None => return Some((at, video.first_file + rest)),
                Some(beyond) => rest = beyond,
            }
        }
        None
    }

    /// The episodes of a video's file with their numbers and their places in it.
    pub(super) fn episodes_of_video(
        &self,
        video: usize,
        file: u32,
    ) -> impl Iterator<Item = (u64, &PlannedEpisode, &VideoPlace)> {
        let placed = (self.before..)
            .zip(&self.episodes)
            .filter_map(move |(number, episode)| Some((number, episode, episode.videos.get(video)?)));
        placed.filter(move |(_, _, place)| place.file == file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lerobot::feature::Feature;
    use crate::lerobot::staged::{STAGED_VERSION, SyncReport};
    use crate::lerobot::video::Codec;
    use std::collections::BTreeMap;

    const MB: u64 = 1 << 20;

    fn stream(record: u8) -> VideoStream {
        VideoStream {
            codec: Codec::H264,
            width: 64,
            height: 48,
            record: vec![record],
            quality: 24,
            preset: None,
        }
    }

    /// An episode of so many frames, whose only video has so many bytes.
    fn found(frames: u64, bytes: u64, record: u8) -> Found {
        let feature =
            Feature { name: "front".to_owned(), dtype: Dtype::Video, shape: vec![48, 64, 3], names: None };
        let staged = StagedEpisode {
            version: STAGED_VERSION,
            source: String::new(),
            source_bytes: 0,
            source_digest: String::new(),
            fps: 30,
            robot_type: None,
            task: String::new(),
            frames,
            segments: Vec::new(),
            features: vec![feature],
            sync: SyncReport::default(),
            warnings: Vec::new(),
            left_out: Vec::new(),
            videos: BTreeMap::from([("front".to_owned(), stream(record))]),
        };
        let video_bytes = BTreeMap::from([(0, bytes)]);
        Found { folder: String::new(), number: 0, staged_bytes: 0, video_bytes, staged }
    }

    /// File and first frame of each episode, and the number of files.
    fn placed(found: &[Found]) -> (Vec<(u32, u64)>, u32) {
        let start = Start::of(None, &found[0].staged).unwrap();
        let (videos, places) = place_videos(&found[0].staged, found, &start);
        let places = places.map(|places| (places[0].file, places[0].from_frame)).collect();
        (places, videos[0].files)
    }

    #[test]
    fn a_file_ends_before_an_episode_would_pass_its_limit() {
        let of = |sizes: &[u64]| placed(&sizes.iter().map(|mb| found(100, mb * MB, 1)).collect::<Vec<_>>());
        assert_eq!(of(&[90, 90, 90]), (vec![(0, 0), (0, 100), (1, 0)], 2));
        assert_eq!(
            of(&[500, 1, 199]),
            (vec![(0, 0), (1, 0), (2, 0)], 3),
            "an episode is never split, and the index counts"
        );
    }

    #[test]
    fn a_file_has_one_set_of_parameters_and_a_bounded_index() {
        let of =
            |records: &[u8]| placed(&records.iter().map(|record| found(7, MB, *record)).collect::<Vec<_>>());
        assert_eq!(of(&[1, 1, 2, 1]), (vec![(0, 0), (0, 7), (1, 0), (2, 0)], 3));
        let half = FILE_FRAMES_MAX as u64 / 2;
        let long: Vec<Found> = (0..3).map(|_| found(half, MB, 1)).collect();
        assert_eq!(placed(&long), (vec![(0, 0), (0, half), (1, 0)], 2));
    }
}
