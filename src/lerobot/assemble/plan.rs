//! Which episode goes to which file and rows: a pure function of what is staged.

use super::Skipped;
use super::in_order::in_order;
use super::plan_videos::{PlannedVideo, VideoPlace, place_videos};
use crate::lerobot::base::Base;
use crate::lerobot::data::columns;
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::{Dtype, Feature, INDEX_COLUMNS};
use crate::lerobot::json::read_json;
use crate::lerobot::layout::{DATA_FILE_BYTES, Packer, VIDEO_FILE_BYTES};
use crate::lerobot::staged::{EPISODE_FILE, STAGED_VERSION, StagedEpisode, video_feature};
use crate::lerobot::stats::MAX_EPISODE_FRAMES;
use crate::lerobot::video::VideoStream;
use crate::storage::{SharedStorage, Storage};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// What the five index columns take for a frame before they are packed, in bytes: part of the choice of the file.
const INDEX_BYTES_PER_FRAME: u64 = 36;

/// One staged episode and its place in the dataset.
#[derive(Debug, Clone)]
pub(super) struct PlannedEpisode {
    /// The recording.
    pub(super) source: String,
    /// Its folder in staging, with `/` behind it.
    pub(super) folder: String,
    /// Frames in each staged segment.
    pub(super) segments: Vec<u32>,
    /// Frames in all.
    pub(super) frames: u64,
    /// Its task.
    pub(super) task_index: usize,
    /// Its first frame's row in the dataset.
    pub(super) from: u64,
    /// The number of its data file.
    pub(super) file: u32,
    /// Its place in each of [`Plan::videos`].
    pub(super) videos: Vec<VideoPlace>,
}

/// The whole dataset; or, where there is one already, what is added to it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) fps: u32,
    pub(super) robot_type: Option<String>,
    /// In the order of the dataset, without the five index columns.
    pub(super) features: Vec<Feature>,
    /// In the order in which they are staged.
    pub(super) staged: Vec<Feature>,
    /// Those of the dataset before, then new ones.
    pub(super) tasks: Vec<String>,
    pub(super) episodes: Vec<PlannedEpisode>,
    /// Episodes before.
    pub(super) before: u64,
    /// The number of the first data file.
    pub(super) first_file: u32,
    /// Data files.
    pub(super) files: u32,
    /// The features that are videos.
    pub(super) videos: Vec<PlannedVideo>,
    /// Frames of the dataset, those before included.
    pub(super) frames: u64,
    /// Episodes of the recordings that are no part of it, in the order of the recordings.
    pub(super) left_out: Vec<Skipped>,
    /// Changes with anything that changes the plan.
    pub(super) fingerprint: String,
}

/// An episode as found, before it has a place.
pub(super) struct Found {
    pub(super) folder: String,
    pub(super) number: u32,
    /// Of the segments' columns.
    pub(super) staged_bytes: u64,
    /// Of the samples of each video, by its place among the features.
    pub(super) video_bytes: BTreeMap<usize, u64>,
    pub(super) staged: StagedEpisode,
}

impl Plan {
    /// Reads every `episode.json` under the prefixes. `base`: what is added to.
    pub(super) fn read(
        staging: &SharedStorage,
        prefixes: &[String],
        base: Option<&Base>,
    ) -> Result<Self, LerobotError> {
        let find = |prefix: &String| find(staging.as_ref(), prefix);
        let found: Result<Vec<Vec<Found>>, LerobotError> = in_order(prefixes.iter(), find, Iterator::collect);
        let mut found: Vec<Found> = found?.into_iter().flatten().collect();
        let place = |found: &Found| (found.staged.source.clone(), found.number, found.folder.clone());
        found.sort_by_cached_key(place);
        let Some(first) = found.first().map(|found| found.staged.clone()) else {
            return Err(LerobotError::Unfit("there is no episode to assemble".into()));
        };
        check_features(&first)?;
        for Found { staged, .. } in &found {
            check_fit(&first, staged)?;
        }
        let start = Start::of(base, &first)?;
        Ok(Self::arrange(first, found, start))
    }

    fn arrange(first: StagedEpisode, found: Vec<Found>, start: Start) -> Self {
        let (videos, mut places) = place_videos(&first, &found, &start);
        let Start { features, robot_type, mut tasks, before, mut frames, first_file, file_bytes, .. } = start;
        let mut packer = Packer::new(file_bytes);
        let mut known: HashMap<String, usize> = tasks.iter().cloned().zip(0..).collect();
        let (mut files, mut left_out) = (0, Vec::new());
        let mut fingerprint = Sha256::new();
        fingerprint.update(format!("{before} {frames} {first_file} {features:?}\n"));
        let mut episodes = Vec::with_capacity(found.len());
        for Found { folder, staged_bytes, video_bytes, staged, .. } in found {
            let file = packer.place(staged_bytes + staged.frames * INDEX_BYTES_PER_FRAME);
            let task_index = *known.entry(staged.task).or_insert_with_key(|task| {
                tasks.push(task.clone());
                tasks.len() - 1
            });
            let segments = &staged.segments;
            fingerprint
                .update(format!("{folder} {staged_bytes} {video_bytes:?} {segments:?} {task_index}\n"));
            left_out.extend(staged.left_out.into_iter().map(|out| Skipped {
                source: staged.source.clone(),
                episode: Some(out.episode),
                reason: out.reason,
            }));
            let (source, segments) = (staged.source, staged.segments);
            let from = frames;
            frames += staged.frames;
            files = file + 1;
            let file = first_file + file;
            let frames = staged.frames;
            let videos = places.next().unwrap_or_default();
            episodes.push(PlannedEpisode {
                source,
                folder,
                segments,
                frames,
                task_index,
                from,
                file,
                videos,
            });
        }
        let fingerprint = fingerprint.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let StagedEpisode { fps, features: staged, .. } = first;
        Self {
            fps,
            robot_type,
            features,
            staged,
            tasks,
            episodes,
            before,
            first_file,
            files,
            videos,
            frames,
            left_out,
            fingerprint,
        }
    }

    /// The episodes of a data file, with their numbers.
    pub(super) fn episodes_of(&self, file: u32) -> impl Iterator<Item = (u64, &PlannedEpisode)> {
        // They follow each other.
        let first = self.episodes.partition_point(|episode| episode.file < file);
        let own = self.episodes.get(first..).unwrap_or_default();
        (self.before + first as u64..).zip(own.iter().take_while(move |episode| episode.file == file))
    }
}

/// Where the episodes begin: nowhere, or behind those of a dataset.
pub(super) struct Start {
    /// In the order of the dataset.
    pub(super) features: Vec<Feature>,
    robot_type: Option<String>,
    tasks: Vec<String>,
    before: u64,
    frames: u64,
    first_file: u32,
    file_bytes: u64,
    /// The number of each video's first file, where it is not 0.
    pub(super) first_video_files: BTreeMap<String, u32>,
    pub(super) video_file_bytes: u64,
}

impl Start {
    pub(super) fn of(base: Option<&Base>, first: &StagedEpisode) -> Result<Self, LerobotError> {
        let robot_type = first.robot_type.clone();
        let Some(base) = base else {
            let features = first.features.clone();
            return Ok(Self {
                features,
                robot_type,
                tasks: Vec::new(),
                before: 0,
                frames: 0,
                first_file: 0,
                file_bytes: DATA_FILE_BYTES,
                first_video_files: BTreeMap::new(),
                video_file_bytes: VIDEO_FILE_BYTES,
            });
        };
        let info = base.info()?;
        let features = base.fit(&info, first);
        let bytes = |mb: u32| u64::from(mb.max(1)) << 20;
        let robots = (info.robot_type.as_ref(), robot_type.as_ref());
        let difference = match (&features, robots) {
            _ if info.fps != first.fps => {
                format!("the dataset has {} frames a second, the recordings {}", info.fps, first.fps)
            }
            (_, (Some(theirs), Some(ours))) if theirs != ours => {
                format!("the dataset is of {theirs}, the recordings of {ours}")
            }
            (Err(difference), _) => difference.clone(),
            (Ok(features), _) => {
                return Ok(Self {
                    features: features.clone(),
                    robot_type,
                    tasks: base.tasks.clone(),
                    before: info.total_episodes,
                    frames: info.total_frames,
                    first_file: base.data_files,
                    file_bytes: bytes(info.data_files_size_in_mb),
                    first_video_files: base
                        .videos
                        .iter()
                        .map(|(name, video)| (name.clone(), video.files))
                        .collect(),
                    video_file_bytes: bytes(info.video_files_size_in_mb),
                });
            }
        };
        Err(LerobotError::Unfit(format!(
            "{} cannot be added to the dataset: {difference}; give a mapping that fits, or choose another --out",
            first.source
        )))
    }
}

/// The episodes of one recording.
fn find(staging: &dyn Storage, prefix: &str) -> Result<Vec<Found>, LerobotError> {
    let mut folders: BTreeMap<String, (u64, BTreeMap<usize, u64>, bool)> = BTreeMap::new();
    for object in staging.list(prefix)? {
        let object = object?;
        let Some((folder, name)) = object.key.rsplit_once('/') else { continue };
        let entry = folders.entry(format!("{folder}/")).or_default();
        match video_feature(name) {
            Some(feature) => *entry.1.entry(feature).or_default() += object.size,
            None if name == EPISODE_FILE => entry.2 = true,
            None => entry.0 += object.size,
        }
    }
    folders.retain(|folder, _| number_of(prefix, folder).is_some());
    if folders.is_empty() {
        let reason = "no episode is staged there: convert the recording again";
        return Err(LerobotError::damaged(prefix, reason));
    }
    let mut found = Vec::with_capacity(folders.len());
    for (folder, (staged_bytes, video_bytes, is_finished)) in folders {
        if !is_finished {
            let reason = format!(
                "{EPISODE_FILE} is missing, the episode is not finished: convert the recording again"
            );
            return Err(LerobotError::damaged(&folder, reason));
        }
        let key = format!("{folder}{EPISODE_FILE}");
        let staged: StagedEpisode = read_json(staging, &key)?;
        check_episode(&key, &staged)?;
        let number = number_of(prefix, &folder).unwrap_or_default();
        found.push(Found { folder, number, staged_bytes, video_bytes, staged });
    }
    Ok(found)
}

/// The episode's number in its recording: 12 for `{prefix}e012/`.
fn number_of(prefix: &str, folder: &str) -> Option<u32> {
    folder.strip_prefix(prefix)?.strip_prefix('e')?.strip_suffix('/')?.parse().ok()
}

/// What one episode alone can have wrong.
fn check_episode(key: &str, staged: &StagedEpisode) -> Result<(), LerobotError> {
    let sum: u64 = staged.segments.iter().map(|frames| u64::from(*frames)).sum();
    let reason = if staged.version != STAGED_VERSION {
        format!(
            "it is staged in version {} of the layout, not {STAGED_VERSION}: convert it again",
            staged.version
        )
    } else if staged.frames == 0 || sum != staged.frames || staged.segments.contains(&0) {
        format!("its segments have {sum} frames, it says {}: convert it again", staged.frames)
    } else if staged.frames > MAX_EPISODE_FRAMES {
        format!(
            "{}: {} frames are more than {MAX_EPISODE_FRAMES}: split the recording",
            staged.source, staged.frames
        )
    } else if staged.fps == 0 {
        "fps is 0".to_owned()
    } else if let Some(name) = without_stream(staged) {
        format!("it does not say how the video {name} is coded, or of another size: convert it again")
    } else {
        return Ok(());
    };
    Err(LerobotError::damaged(key, reason))
}

/// A video of which the episode does not say how it is coded, as large as the feature is.
fn without_stream(staged: &StagedEpisode) -> Option<&str> {
    let videos = staged.features.iter().filter(|feature| feature.dtype == Dtype::Video);
    let mut wrong = videos.filter(|feature| {
        let stream = staged.videos.get(&feature.name);
        !stream.is_some_and(|stream| feature.shape.starts_with(&[stream.height, stream.width]))
    });
    wrong.next().map(|feature| feature.name.as_str())
}

/// Whether a dataset can have these features at all.
fn check_features(staged: &StagedEpisode) -> Result<(), LerobotError> {
    let all = columns(&staged.features);
    for feature in &staged.features {
        let Feature { name, dtype, shape, names } = feature;
        let own = all.iter().filter(|other| other.name == *name).count();
        let wrong = if name.is_empty() || name.contains('/') {
            "a name is not empty and holds no `/`"
        } else if INDEX_COLUMNS.iter().any(|(index, _)| index == name) {
            "every dataset has this one by itself: give it another name"
        } else if own > 1 {
            "two features have this name"
        } else {
            let sides = shape.iter().all(|side| (1..=i32::MAX.cast_unsigned()).contains(side));
            let named = names.as_ref().is_none_or(|names| match dtype {
                Dtype::Image | Dtype::Video => names.len() == shape.len(),
                _ => names.len() as u64 == shape.iter().map(|side| u64::from(*side)).product::<u64>(),
            });
            match dtype {
                Dtype::Image | Dtype::Video if shape.len() != 3 || !sides => {
                    "an image or a video has the shape [height, width, channels]"
                }
                Dtype::String if shape.as_slice() != [1] => "a text has the shape [1]",
                Dtype::Image | Dtype::Video if !named => "there are as many names as sides",
                Dtype::Image | Dtype::Video => continue,
                _ if shape.len() != 1 || !sides => "a vector has the shape [n]",
                _ if !named => "there are as many names as elements",
                _ => continue,
            }
        };
        return Err(LerobotError::Unfit(format!("{}: feature {name:?}: {wrong}", staged.source)));
    }
    Ok(())
}

/// Whether an episode can stand in one dataset with the first.
fn check_fit(first: &StagedEpisode, other: &StagedEpisode) -> Result<(), LerobotError> {
    let (one, two) = (&first.source, &other.source);
    let difference = if first.fps != other.fps {
        format!("{one} has {} frames a second, {two} has {}", first.fps, other.fps)
    } else if first.robot_type != other.robot_type {
        let name = |robot: &Option<String>| robot.clone().unwrap_or_else(|| "no robot".into());
        format!("{one} is of {}, {two} of {}", name(&first.robot_type), name(&other.robot_type))
    } else if let Some(difference) = feature_difference(first, other) {
        difference
    } else if let Some(difference) = codec_difference(first, other) {
        difference
    } else {
        return Ok(());
    };
    Err(LerobotError::Unfit(format!(
        "these recordings do not fit in one dataset: {difference}; leave one out, or give a mapping that fits both"
    )))
}

fn feature_difference(first: &StagedEpisode, other: &StagedEpisode) -> Option<String> {
    let (one, two) = (&first.source, &other.source);
    let by_name = |episode: &StagedEpisode, name: &str| -> Option<Feature> {
        episode.features.iter().find(|feature| feature.name == name).cloned()
    };
    for feature in &first.features {
        let name = &feature.name;
        match by_name(other, name) {
            None => return Some(format!("{one} has the feature {name}, {two} has not")),
            Some(theirs) if theirs != *feature => {
                let (ours, theirs) = (shown(feature), shown(&theirs));
                return Some(format!("feature {name} is {ours} in {one} and {theirs} in {two}"));
            }
            Some(_) => {}
        }
    }
    if let Some(feature) = other.features.iter().find(|feature| by_name(first, &feature.name).is_none()) {
        return Some(format!("{two} has the feature {}, {one} has not", feature.name));
    }
    (first.features != other.features)
        .then(|| format!("{one} and {two} have the same features in another order"))
}

/// info.json names one codec for a video.
fn codec_difference(first: &StagedEpisode, other: &StagedEpisode) -> Option<String> {
    first.videos.iter().find_map(|(name, one)| {
        let two = other.videos.get(name)?;
        let shown = |stream: &VideoStream| format!("{} of quality {}", stream.codec.name(), stream.quality);
        let differs = (one.codec, one.quality, &one.preset) != (two.codec, two.quality, &two.preset);
        let (source, theirs) = (&first.source, &other.source);
        differs
            .then(|| format!("the video {name} is {} in {source} and {} in {theirs}", shown(one), shown(two)))
    })
}

fn shown(feature: &Feature) -> String {
    let names = feature.names.as_ref().map(|names| format!(" {names:?}")).unwrap_or_default();
    format!("{} {:?}{names}", feature.dtype.name(), feature.shape)
}
