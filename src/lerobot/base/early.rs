//! What can be told of an addition before anything is converted: hours of work are not done for a refusal.
//!
//! It looks at info.json alone. What it lets pass is checked again, and in full, when the dataset is assembled.

use super::videos::coded_as;
use super::{MAX_BYTES, check_layout};
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::{Dtype, INDEX_COLUMNS};
use crate::lerobot::info::{FeatureInfo, Info};
use crate::lerobot::json::parse_json;
use crate::lerobot::layout::INFO_KEY;
use crate::lerobot::video::{Codec, PIXEL_FORMAT};
use crate::storage::{Storage, StorageError};
use serde_json::Value;

/// What a mapping makes, as far as it says.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Frames a second.
    pub fps: u32,
    /// The robot.
    pub robot_type: Option<&'a str>,
    /// The features.
    pub features: Vec<&'a str>,
    /// Those that are pictures.
    pub pictures: Vec<WantedPicture<'a>>,
}

/// A feature that is an image or a video.
#[derive(Debug, Clone, Copy)]
pub struct WantedPicture<'a> {
    /// The feature.
    pub name: &'a str,
    /// How it is coded, of a video.
    pub codec: Option<Codec>,
}

/// Whether this can be added to the dataset in `storage`, as far as that can be told. Where there is no dataset yet, it can.
///
/// # Errors
/// The storage's; [`LerobotError::Unfit`] with what differs and what to do.
pub fn check_wanted(storage: &dyn Storage, wanted: &Wanted<'_>) -> Result<(), LerobotError> {
    let text = match storage.read(INFO_KEY, MAX_BYTES) {
        Ok(text) => text,
        Err(StorageError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let info: Info = parse_json(INFO_KEY, &text)?;
    check_layout(&info, storage)?;
    match difference(&info, wanted) {
        None => Ok(()),
        Some(difference) => Err(LerobotError::Unfit(format!(
            "{}: nothing can be added to the dataset by this mapping: {difference}; or choose another --out",
            storage.location()
        ))),
    }
}

fn difference(info: &Info, wanted: &Wanted<'_>) -> Option<String> {
    if info.fps != wanted.fps {
        let (theirs, ours) = (info.fps, wanted.fps);
        return Some(format!(
            "the dataset has {theirs} frames a second, the mapping {ours}: take fps = {theirs}"
        ));
    }
    if let (Some(theirs), Some(ours)) = (info.robot_type.as_deref(), wanted.robot_type)
        && theirs != ours
    {
        return Some(format!(
            "the dataset is of {theirs}, the mapping of {ours}: take robot_type = {theirs:?}, or none"
        ));
    }
    if let Some(name) = wanted.features.iter().find(|name| info.features.get(name).is_none()) {
        return Some(format!("the mapping has the feature {name}, the dataset has not: take it out"));
    }
    let is_index = |name: &str| INDEX_COLUMNS.iter().any(|(index, _)| *index == name);
    if let Some(name) = info.features.keys().find(|name| !is_index(name) && !wanted.features.contains(name)) {
        return Some(format!("the dataset has the feature {name}, the mapping has not: add it"));
    }
    wanted.pictures.iter().find_map(|picture| picture_difference(info.features.get(picture.name)?, picture))
}

fn picture_difference(theirs: &FeatureInfo, ours: &WantedPicture<'_>) -> Option<String> {
    let name = ours.name;
    let dtype = if ours.codec.is_some() { Dtype::Video } else { Dtype::Image };
    if theirs.dtype != dtype.name() {
        let advice = if theirs.is_picture() {
            format!("take kind = {:?}", theirs.dtype)
        } else {
            "give it another name".to_owned()
        };
        return Some(format!(
            "feature {name} is {} in the dataset and {} by the mapping: {advice}",
            theirs.dtype,
            dtype.name()
        ));
    }
    let said = |part: &str| theirs.info.as_ref()?.get(part).and_then(Value::as_str);
    let codec = ours.codec?.name();
    match (said("video.codec"), said("video.pix_fmt")) {
        (Some(theirs), _) if theirs != codec => Some(format!(
            "the video {name} is {theirs} in the dataset and {codec} by the mapping: {}",
            coded_as(theirs)
        )),
        (_, Some(theirs)) if theirs != PIXEL_FORMAT => Some(format!(
            "the video {name} is {theirs} in the dataset, and this program writes {PIXEL_FORMAT} alone"
        )),
        _ => None,
    }
}
