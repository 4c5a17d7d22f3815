//! The mapping: which topics and fields become which features, on which frame grid, as its file says.
//!
//! What is held here was checked as far as the text alone allows; whether a recording has the topics and fields is
//! found when the mapping is bound to one. It reads no recording and no file.

mod check;
pub mod edit;
pub mod episodes;
mod error;
mod keys;
mod picture;
#[cfg(test)]
mod tests;
pub mod video;

pub use error::{MappingError, Place};
pub use video::Video;

use super::align::Align;
use super::image::Transform;
use super::source::TimeSource;
use crate::lerobot::feature::Dtype;
use crate::lerobot::info::Version;
use episodes::Episodes;

/// Largest mapping file, in bytes.
pub const MAPPING_BYTES_MAX: usize = 1 << 20;
/// Most frames a second.
pub const FPS_MAX: u32 = 1000;
/// Most features in a mapping.
pub const FEATURES_MAX: usize = 256;
/// Most sources in a feature, and most elements in `select` and `names`.
pub const LIST_MAX: usize = 4096;
/// Greatest `shift`, in frames.
pub const SHIFT_FRAMES_MAX: u32 = 10_000;
/// Greatest `tolerance_ms`: a day.
pub const TOLERANCE_MS_MAX: u32 = 86_400_000;

/// Names that a feature cannot have: every dataset has five of them, and the loader puts the task's text under the sixth.
pub const RESERVED_NAMES: [&str; 6] =
    ["timestamp", "frame_index", "episode_index", "index", "task_index", "task"];

/// A checked mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The file's name as messages give it.
    pub file: String,
    /// The file's text, as it is saved with the dataset.
    pub text: String,
    /// Frames a second, 1 to [`FPS_MAX`].
    pub fps: u32,
    /// The version of the dataset's format.
    pub format: Version,
    /// The robot, for `info.json`.
    pub robot_type: Option<String>,
    /// Which stamp orders and aligns messages.
    pub time: TimeSource,
    /// Where the task's text comes from.
    pub task: Task,
    /// How a recording becomes episodes.
    pub episodes: Episodes,
    /// The features, in the file's order; at least one, and at least one of them from topics.
    pub features: Vec<FeatureMap>,
    /// How videos are encoded.
    pub video: Video,
}

/// Something that was written in the mapping file, with where it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where it begins.
    pub place: Place,
}

/// Where the task's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// It is this text.
    Text(String),
    /// The topic's first message whose stamp is at or before the episode's end; where a recording is split, the last such.
    Topic {
        /// The topic.
        topic: Located<String>,
        /// The field, `data` unless written.
        field: Located<String>,
    },
    /// The text of a file beside the recording.
    File(Located<String>),
    /// Each of the ranges that split the recording has its own.
    Ranges,
}

/// One feature of the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMap {
    /// Its name.
    pub name: Located<String>,
    /// What it is made of.
    pub content: Content,
    /// What becomes of a frame for which it has no value.
    pub on_missing: OnMissing,
}

/// What a feature is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Numbers, or one text, of one or several sources that are concatenated.
    Vector {
        /// The sources; at least one.
        sources: Vec<Source>,
        /// How messages meet frames.
        rule: Rule,
        /// The element type, if written.
        dtype: Option<Located<Dtype>>,
        /// The elements' names, if written.
        names: Option<Located<Vec<String>>>,
    },
    /// Pictures of one topic: as files, those that came where they can stay so, else PNG; or as the frames of a video.
    Image {
        /// The source; its `field` is `data` unless written.
        source: Source,
        /// How messages meet frames; never linear.
        rule: Rule,
        /// What becomes of each picture.
        transform: Transform,
        /// Whether they become a video.
        is_video: bool,
    },
    /// The value that another vector has some grid frames later.
    Shifted {
        /// The other's place in [`Mapping::features`].
        from: usize,
        /// How many grid frames later.
        shift_frames: u32,
    },
}

/// A field of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The topic.
    pub topic: Located<String>,
    /// The field's path, if written.
    pub field: Option<Located<String>>,
    /// The elements to take, by the names in the message; all if not written.
    pub select: Vec<Located<String>>,
    /// Whether each message carries some of the selected elements only, if written: else the first messages tell.
    pub partial: Option<bool>,
    /// How values between two messages are made, if written: else by their types.
    pub interpolate: Option<Interpolate>,
}

/// How a value between two messages is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolate {
    /// Each number for itself.
    Linear,
    /// Four by four, as rotations.
    Slerp,
}

/// How messages meet frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which message a frame takes.
    pub align: Align,
    /// The greatest distance between frame and message, in nanoseconds; none: any.
    pub tolerance_ns: Option<u64>,
}

/// What becomes of a frame for which a feature has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// It is dropped, and the frames around it close up.
    Drop,
    /// It takes the latest message at or before it, whatever its age.
    Hold,
    /// The episode is left out; a recording that is one episode is not converted.
    Fail,
}

impl Mapping {
    /// Whether any feature becomes a video.
    pub fn has_videos(&self) -> bool {
        self.features.iter().any(video::is_video)
    }

    /// Reads and checks a mapping file's text. `file` is its name for messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line and column, and what would be valid.
    pub fn parse(file: &str, text: &str) -> Result<Self, MappingError> {
        check::mapping(file, text)
    }

    /// An error about something that stands at `place` of the file.
    pub fn error(&self, place: Place, what: impl Into<String>) -> MappingError {
        MappingError::new(&self.file, place, what)
    }
}
