//! A dataset's features as `info.json` describes them, and the Arrow type each is stored as.
//!
//! Format rules: lerobot `datasets/feature_utils.py` (v3.0). It does not read or write files.

use serde::{Deserialize, Serialize};

/// The element type of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float: states and actions, unless asked otherwise.
    Float32,
    /// 64-bit float.
    Float64,
    /// 64-bit integer.
    Int64,
    /// Boolean.
    Bool,
    /// Text; only with shape `[1]`.
    String,
    /// JPEG or PNG bytes in the data file; shape `[height, width, channels]`.
    Image,
    /// Frames in an mp4 file; shape `[height, width, channels]`.
    Video,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name: no `/` in it.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// `[n]` for vectors and scalars, `[height, width, channels]` for images.
    pub shape: Vec<u32>,
    /// Names of the elements, or `height`, `width`, `channels`.
    pub names: Option<Vec<String>>,
}

impl Feature {
    /// Whether it is a 16-bit grey image of distances: of all images these alone have one channel.
    pub fn is_depth(&self) -> bool {
        self.dtype == Dtype::Image && self.shape.last() == Some(&1)
    }
}

impl Dtype {
    /// As `info.json` and `datasets` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

/// The five columns that every dataset has, last and in this order: all of shape `[1]`, without names.
pub const INDEX_COLUMNS: [(&str, Dtype); 5] = [
    ("timestamp", Dtype::Float32),
    ("frame_index", Dtype::Int64),
    ("episode_index", Dtype::Int64),
    ("index", Dtype::Int64),
    ("task_index", Dtype::Int64),
];

/// [`INDEX_COLUMNS`] as features.
pub fn index_features() -> impl Iterator<Item = Feature> {
    INDEX_COLUMNS.iter().map(|(name, dtype)| Feature {
        name: (*name).to_owned(),
        dtype: *dtype,
        shape: vec![1],
        names: None,
    })
}
