//! The episodes of one recording: which frames each has, and where its segments stand among all of the recording's.
//!
//! Segments are numbered through all episodes in their order, and no segment holds frames of two. It reads no message
//! and writes nothing.

use super::WorkError;
use super::plan::Plan;
use crate::lerobot::staged::{StagedEpisode, episode_prefix, segment_key};

/// One episode.
pub(crate) struct Episode {
    /// What stamps decided of it.
    pub(crate) plan: Plan,
    /// What its `episode.json` will say.
    pub(crate) staged: StagedEpisode,
    /// Its folder in staging, with `/` behind it.
    pub(crate) folder: String,
    /// The number of its first segment among all of the recording's.
    first_segment: u32,
}

/// All episodes of a recording, in their order; each has at least one segment.
pub(crate) struct Episodes {
    list: Vec<Episode>,
    segment_frames: u64,
    segments: u32,
}

/// One segment: whose it is and which frames it has.
pub(crate) struct Place<'a> {
    pub(crate) episode: &'a Episode,
    /// Its number in the episode.
    pub(crate) number: u32,
    /// The kept frame of the episode that it begins with, by its number among the kept ones.
    pub(crate) first: u64,
    /// Its frames, as frames of the episode's grid.
    pub(crate) frames: Vec<u64>,
}

impl Episodes {
    /// None yet, for segments of `segment_frames` kept frames.
    pub(crate) fn new(segment_frames: u32) -> Self {
        Self { list: Vec::new(), segment_frames: u64::from(segment_frames), segments: 0 }
    }

    /// Adds the next episode: `describe` tells what its `episode.json` says, given the kept frames in each segment.
    ///
    /// # Errors
    /// There would be more segments than can be numbered.
    pub(crate) fn push(
        &mut self,
        prefix: &str,
        plan: Plan,
        describe: impl FnOnce(&Plan, Vec<u32>) -> StagedEpisode,
    ) -> Result<(), WorkError> {
        let lengths = segment_lengths(plan.kept.count(), self.segment_frames);
        let count = u32::try_from(lengths.len()).ok();
        let segments = count.and_then(|count| self.segments.checked_add(count)).ok_or_else(|| {
            WorkError::Permanent("the recording has too many segments: take more frames a segment".to_owned())
        })?;
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let staged = describe(&plan, lengths);
        let folder = episode_prefix(prefix, number);
        self.list.push(Episode { plan, staged, folder, first_segment: self.segments });
        self.segments = segments;
        Ok(())
    }

    /// How many segments all episodes have together.
    pub(crate) fn segments(&self) -> u32 {
        self.segments
    }

    /// Kept frames of all episodes.
    pub(crate) fn frames(&self) -> u64 {
        self.iter().map(|episode| episode.staged.frames).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Episode> {
        self.list.iter()
    }

    /// A segment, by its number among all of the recording's.
    pub(crate) fn place(&self, segment: u32) -> Option<Place<'_>> {
        let after = self.list.partition_point(|episode| episode.first_segment <= segment);
        let episode = self.list.get(after.checked_sub(1)?)?;
        let number = segment - episode.first_segment;
        let first = u64::from(number) * self.segment_frames;
        let frames = episode.plan.kept.frames(first..first + self.segment_frames);
        (!frames.is_empty()).then_some(Place { episode, number, first, frames })
    }
}

impl Place<'_> {
    /// Where the segment's file stands.
    pub(crate) fn key(&self) -> String {
        segment_key(&self.episode.folder, self.number as usize)
    }

    /// Whether the episode has no segment after it.
    pub(crate) fn is_last(&self) -> bool {
        self.number as usize + 1 == self.episode.staged.segments.len()
    }
}

/// Kept frames in each segment: all full but the last.
fn segment_lengths(frames: u64, segment_frames: u64) -> Vec<u32> {
    let length = |first: u64| u32::try_from(segment_frames.min(frames - first)).unwrap_or(u32::MAX);
    (0..frames.div_ceil(segment_frames)).map(|segment| length(segment * segment_frames)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Grid, NS_PER_S, Span};
    use super::*;
    use crate::convert::StopFlag;
    use crate::lerobot::staged::STAGED_VERSION;

    /// An episode of so many frames, one a second.
    fn push(episodes: &mut Episodes, frames: u64) {
        let grid = Grid::shared(&[Span { first_ns: 0, last_ns: (frames - 1) * NS_PER_S }], 1).unwrap();
        let plan = Plan::make::<u64>(&[], &[], grid, Vec::new(), &StopFlag::default()).unwrap();
        let describe = |plan: &Plan, segments| StagedEpisode {
            version: STAGED_VERSION,
            source: "r".to_owned(),
            source_bytes: 0,
            source_digest: String::new(),
            fps: 1,
            robot_type: None,
            task: "t".to_owned(),
            frames: plan.kept.count(),
            segments,
            features: Vec::new(),
            sync: plan.sync.clone(),
            warnings: Vec::new(),
            left_out: Vec::new(),
            videos: std::collections::BTreeMap::new(),
        };
        episodes.push("p/", plan, describe).unwrap();
    }

    #[test]
    fn segments_run_through_all_episodes_and_never_hold_frames_of_two() {
        let mut episodes = Episodes::new(4);
        for frames in [9, 4, 1] {
            push(&mut episodes, frames);
        }
        let all: Vec<_> = (0..episodes.segments())
            .map(|segment| {
                let place = episodes.place(segment).unwrap();
                (place.key(), place.first, place.frames.len(), place.is_last())
            })
            .collect();
        let expected = [
            ("p/e000/segment-00000.parquet", 0, 4, false),
            ("p/e000/segment-00001.parquet", 4, 4, false),
            ("p/e000/segment-00002.parquet", 8, 1, true),
            ("p/e001/segment-00000.parquet", 0, 4, true),
            ("p/e002/segment-00000.parquet", 0, 1, true),
        ];
        assert_eq!(all, expected.map(|(key, first, frames, last)| (key.to_owned(), first, frames, last)));
        assert!(episodes.place(5).is_none());
        assert_eq!(episodes.frames(), 14);
        let lengths: Vec<_> = episodes.iter().map(|episode| episode.staged.segments.clone()).collect();
        assert_eq!(lengths, [vec![4, 4, 1], vec![4], vec![1]]);
    }
}
