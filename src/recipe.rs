//! The recipe of a run: everything that decides the dataset's bytes, and where things lie. It opens nothing.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The folder in an output that is ours and no part of the dataset.
pub const OWN_FOLDER: &str = ".roboflow";
/// Below [`OWN_FOLDER`]: the embedded queue.
pub const QUEUE_FILE: &str = "queue.db";
/// Below [`OWN_FOLDER`]: segments before they are assembled.
pub const STAGING_FOLDER: &str = "staging";
/// Frames of a segment, unless asked otherwise.
pub const DEFAULT_SEGMENT_FRAMES: u32 = 100;

/// How recordings are converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The place below which the recordings lie, absolute: a path or an s3:// prefix.
    pub input: String,
    /// The mapping file's text.
    pub mapping: String,
    /// Frames of a segment.
    pub segment_frames: u32,
}

/// The queue beside a dataset.
pub fn queue_path(output: &Path) -> PathBuf {
    output.join(OWN_FOLDER).join(QUEUE_FILE)
}

/// The staging place beside a dataset, as locations are written.
pub fn staging_location(out: &str) -> String {
    format!("{}/{OWN_FOLDER}/{STAGING_FOLDER}", out.trim_end_matches('/'))
}

/// The staging place of a batch that is added to a dataset: its own, so that the end of another batch leaves it alone.
pub fn append_staging(out: &str, batch: &impl std::fmt::Display) -> String {
    format!("{}/{OWN_FOLDER}/{STAGING_FOLDER}-{batch}", out.trim_end_matches('/'))
}

/// The staging folder beside a dataset.
pub fn staging_path(output: &Path) -> PathBuf {
    output.join(OWN_FOLDER).join(STAGING_FOLDER)
}
