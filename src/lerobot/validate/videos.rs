//! Rules of `videos/`: each file against the episodes that say they are in it.

use super::decode::decode;
use super::episodes::Episode;
use super::rule::{Findings, Rule};
use super::{Column, Dataset, Depth};
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::FeatureInfo;
use crate::lerobot::layout::{FileRef, video_key};
use crate::lerobot::video::{Mp4Error, Track, read_track};
use crate::storage::{ObjectInfo, StorageError};
use serde_json::Value;
use std::collections::BTreeMap;

/// How far a frame may be from its time, in seconds: lerobot's loader refuses more.
const TOLERANCE_S: f64 = 1e-4;

/// Checks all video files. Gives what was not looked at.
pub(super) fn check(
    dataset: &Dataset,
    depth: Depth,
    found: &mut Findings,
) -> Result<Option<String>, LerobotError> {
    let Some(template) = dataset.info.video_path.as_deref() else { return Ok(None) };
    let mut undecoded: BTreeMap<String, u64> = BTreeMap::new();
    for (at, column) in dataset.columns.iter().filter(|column| column.is_video()).enumerate() {
        let mut files: BTreeMap<FileRef, Vec<&Episode>> = BTreeMap::new();
        for episode in &dataset.episodes {
            if let Some(span) = episode.videos.get(at).copied().flatten() {
                files.entry(span.file).or_default().push(episode);
            }
        }
        for (file, episodes) in files {
            let key = video_key(template, &column.name, file);
            let Some((object, track)) = open(dataset, &key, &episodes, found)? else { continue };
            let video = Video { dataset, column, at, key: &key, track: &track };
            video.check_shape(found);
            video.check_frames(&episodes, found);
            video.check_key_frames(found);
            let is_decoded = depth == Depth::Frames && decode(dataset, &key, &object, &track, found)?;
            if !is_decoded {
                let codec = String::from_utf8_lossy(&track.entry.kind).into_owned();
                *undecoded.entry(codec).or_default() += 1;
            }
        }
    }
    let codecs: Vec<&str> = undecoded.keys().map(String::as_str).collect();
    let files: u64 = undecoded.values().sum();
    Ok((files > 0)
        .then(|| format!("the pictures of {files} videos ({}), only their index", codecs.join(", "))))
}

/// The file and its index; none, and a finding, when it is none.
fn open(
    dataset: &Dataset,
    key: &str,
    episodes: &[&Episode],
    found: &mut Findings,
) -> Result<Option<(ObjectInfo, Track)>, LerobotError> {
    let object = match dataset.storage.head(key) {
        Ok(object) if object.size > 0 => object,
        Ok(_) => {
            found.add(key, Rule::VideoFiles, "it is empty");
            return Ok(None);
        }
        Err(StorageError::NotFound { .. } | StorageError::Invalid { .. }) => {
            let first = episodes.first().map_or(0, |episode| episode.number);
            found.add(key, Rule::VideoFiles, format!("it is missing; episode {first} needs it"));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    match read_track(dataset.storage.as_ref(), &object) {
        Ok(track) => {
            found.hold(track.others == 0, key, Rule::VideoReadable, || {
                format!("there is more in it than one video: {} other tracks", track.others)
            });
            Ok(Some((object, track)))
        }
        Err(Mp4Error::Damaged(what)) => {
            found.add(key, Rule::VideoReadable, what);
            Ok(None)
        }
        Err(Mp4Error::Storage(error)) => Err(error.into()),
    }
}

struct Video<'a> {
    dataset: &'a Dataset,
    column: &'a Column,
    /// Its place among the videos.
    at: usize,
    key: &'a str,
    track: &'a Track,
}

impl Video<'_> {
    fn feature(&self) -> Option<&FeatureInfo> {
        self.dataset.info.features.get(&self.column.name)
    }

    fn info(&self, name: &str) -> Option<&Value> {
        self.feature()?.info.as_ref()?.get(name)
    }

    fn check_shape(&self, found: &mut Findings) {
        let entry = &self.track.entry;
        let mut hold = |holds: bool, what: String| found.hold(holds, self.key, Rule::VideoShape, || what);
        let size = [u64::from(entry.height), u64::from(entry.width)];
        hold(
            self.column.shape.starts_with(&size),
            format!("its pictures are {size:?}, the feature is {:?}", self.column.shape),
        );
        if let Some(codec) = self.info("video.codec").and_then(Value::as_str) {
            let kind = String::from_utf8_lossy(&entry.kind);
            hold(entry.codecs().contains(&codec), format!("it is coded as {kind}, info.json says {codec}"));
        }
        let fps = self.info("video.fps").and_then(Value::as_f64);
        hold(
            fps.is_none_or(|fps| fps == f64::from(self.dataset.info.fps)),
            format!("info.json gives it {fps:?} frames a second, the dataset {}", self.dataset.info.fps),
        );
    }

    fn check_frames(&self, episodes: &[&Episode], found: &mut Findings) {
        let fps = f64::from(self.dataset.info.fps.max(1));
        let frames = self.track.times.len() as u64;
        let mut next = 0u64;
        let mut in_order: Vec<_> = episodes
            .iter()
            .filter_map(|episode| Some((episode.videos.get(self.at).copied()??, episode)))
            .collect();
        in_order.sort_by(|(one, _), (two, _)| one.from.total_cmp(&two.from));
        for (span, episode) in in_order {
            let begins = next as f64 / fps;
            found.hold((span.from - begins).abs() < TOLERANCE_S, self.key, Rule::VideoFrames, || {
                format!("episode {} begins at {} s, its frames at {begins} s", episode.number, span.from)
            });
            next = next.saturating_add(episode.length);
        }
        found.hold(frames == next, self.key, Rule::VideoFrames, || {
            format!("it has {frames} frames, its episodes have {next}")
        });
        let mut times = self.track.times.clone();
        times.sort_unstable();
        for (number, time) in times.into_iter().enumerate() {
            let (shown, wanted) = (time as f64 / f64::from(self.track.timescale.max(1)), number as f64 / fps);
            found.hold((shown - wanted).abs() < TOLERANCE_S, self.key, Rule::VideoTimes, || {
                format!("frame {number} is shown at {shown} s, not at {wanted} s")
            });
        }
    }

    fn check_key_frames(&self, found: &mut Findings) {
        let frames = self.track.times.len() as u64;
        // Without a list every frame can be decoded alone.
        let Some(sync) = &self.track.sync else { return };
        let rises = sync.windows(2).all(|pair| matches!(pair, [one, two] if one < two));
        let inside = sync.last().is_none_or(|last| u64::from(*last) <= frames);
        found.hold(sync.first() == Some(&1) && rises && inside, self.key, Rule::VideoKeyFrames, || {
            format!(
                "the frames that decode alone are said to be {:?} and so on, of {frames}",
                sync.get(..4).unwrap_or(sync)
            )
        });
        let Some(gop) = self.info("video.g").and_then(Value::as_u64) else { return };
        let longest = sync
            .windows(2)
            .map(|pair| pair.iter().copied().map(u64::from).reduce(|a, b| b.saturating_sub(a)));
        let longest = longest.flatten().max().unwrap_or(0);
        found.hold(longest <= gop, self.key, Rule::VideoGop, || {
            format!(
                "up to {longest} frames hang together, info.json says {gop}: single frames are slow to read"
            )
        });
    }
}
