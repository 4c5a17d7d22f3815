//! From what was typed to the list of recordings: on this host, or in a bucket.
//!
//! A recording's name is its path below the folder that all of them have in common: the same set of recordings gives
//! the same names wherever it lies, and episodes are ordered by them. No recording is opened here, but for the `metadata.yaml`
//! of a folder that is one recording ([`rosbag2`]): its files are no recordings of their own then.

pub mod local;

mod remote;

use crate::convert::source::SourceError;
use crate::convert::source::rosbag2::{self, Folder, METADATA_FILE};
use crate::storage::fs::FsStorage;
use crate::storage::{ObjectInfo, Places, SharedStorage, StorageError, local_path};
use crate::work::StopFlag;
use globset::{GlobBuilder, GlobMatcher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Recordings found at once at most.
pub const MAX_RECORDINGS: usize = 100_000;

/// How the names of recordings end.
const EXTENSIONS: [&str; 3] = ["mcap", "bag", "db3"];
/// How the names of files end that a ROS 2 bag is made of.
const BAG_EXTENSIONS: [&str; 2] = ["mcap", "db3"];

/// What is wrong with the inputs.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing there.
    #[error("{path}: no such file or folder")]
    Missing {
        /// As typed.
        path: String,
    },
    /// Something there that is no recording.
    #[error("{path}: {reason}")]
    NotARecording {
        /// As typed.
        path: String,
        /// What it is, and what would be one.
        reason: String,
    },
    /// A folder or glob with nothing in it that could be converted.
    #[error("{path}: no recordings (*.mcap, *.bag, *.db3, or folders of ROS 2) here")]
    Nothing {
        /// As typed.
        path: String,
    },
    /// A glob that cannot be understood.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// As typed.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A folder that cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Over a limit.
    #[error("{path}: {reason}")]
    TooMany {
        /// Where.
        path: String,
        /// Which limit.
        reason: String,
    },
    /// A recording that has no name beside those that are there already.
    #[error(
        "{path}: the recordings of this output are named by their paths below {base}, and this one is not below it: choose \
         another --out"
    )]
    Outside {
        /// Which.
        path: String,
        /// Where the others are.
        base: String,
    },
    /// Recordings that have no folder in common.
    #[error("{one} and {other}: the recordings of one output lie in one bucket, or all on this host")]
    Apart {
        /// One place.
        one: String,
        /// Another.
        other: String,
    },
    /// A folder of ROS 2 that is not whole.
    #[error(transparent)]
    Folder(SourceError),
    /// The storage's word.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SourceError> for InputError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Storage(error) => Self::Storage(error),
            error => Self::Folder(error),
        }
    }
}

/// Recordings, looked at.
#[derive(Debug, Clone)]
pub struct Found {
    /// The place that all have in common, absolute.
    pub location: String,
    /// It, open.
    pub storage: SharedStorage,
    /// Each under its key there, in the order of the keys' bytes. [`rosbag2::name_of`] a key is the recording's name.
    pub objects: Vec<ObjectInfo>,
}

/// Finds recordings: paths, `file://` and `s3://` URLs, each a recording, a folder (searched to its depths) or a glob. With
/// `base`, names are paths below that place.
///
/// # Errors
/// When an input is missing, is no recording, or gives none, or when they lie too far apart.
pub fn find(
    inputs: &[String],
    base: Option<&str>,
    places: &Places,
    stop: &StopFlag,
) -> Result<Found, InputError> {
    let (urls, paths): (Vec<&String>, Vec<&String>) = inputs.iter().partition(|input| remote::is_url(input));
    if let (Some(url), Some(path)) = (urls.first(), paths.first()) {
        return Err(InputError::Apart { one: (*url).clone(), other: (*path).clone() });
    }
    if !urls.is_empty() {
        return remote::find(&urls, base, places, stop);
    }
    let paths: Vec<PathBuf> = paths.into_iter().map(|path| local_path(path)).collect::<Result<_, _>>()?;
    let found = match base {
        None => local::expand(&paths)?,
        Some(base) => local::expand_below(&paths, &local_path(base)?)?,
    };
    let storage = FsStorage::open(&found.base)?;
    let objects = found.keys.iter().map(|key| rosbag2::look(&storage, key)).collect::<Result<_, _>>()?;
    Ok(Found { location: found.base.display().to_string(), storage: Arc::new(storage), objects })
}

/// What a key may be, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A recording, or a file of a folder that is one.
    File,
    /// What makes a folder a recording, if it describes a ROS 2 bag.
    Folder,
    /// Neither.
    Other,
}

/// What a key may be. Nothing hidden is a recording.
pub fn kind(key: &str) -> Kind {
    if key.split('/').any(|part| part.starts_with('.')) {
        Kind::Other
    } else if rosbag2::folder_of(key).is_some() {
        Kind::Folder
    } else if is_named_so(Path::new(key)) {
        Kind::File
    } else {
        Kind::Other
    }
}

/// The folder that a key lies in, and the key of what would make that folder a recording. None for files that no ROS 2 bag is
/// made of.
pub fn folder_over(key: &str) -> Option<(&str, String)> {
    if !ends_so(Path::new(key), &BAG_EXTENSIONS) {
        return None;
    }
    let (folder, below) = key.rsplit_once('/').map_or(("", ""), |(folder, _)| (folder, "/"));
    Some((folder, format!("{folder}{below}{METADATA_FILE}")))
}

/// Whether a file is named as rosbag2 names those that it writes: by the folder they lie in, with a number. While it writes them,
/// the folder has no `metadata.yaml` yet.
pub fn is_named_by_folder(key: &str) -> bool {
    let mut parts = key.rsplit('/');
    let (Some(file), Some(folder)) = (parts.next(), parts.next()) else { return false };
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let number = stem.strip_prefix(folder).and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
        && ends_so(Path::new(file), &BAG_EXTENSIONS)
}

/// Says which of the files beside a bag's own are no part of it: they would be missed otherwise.
fn say_strangers<'a>(folder: &Folder, beside: impl Iterator<Item = &'a str>) {
    for stranger in beside.filter(|key| !folder.files().iter().any(|file| file.key == *key)) {
        tracing::warn!(
            file = stranger,
            metadata = folder.metadata().key,
            "left out: it lies in the folder of a ROS 2 bag, whose metadata.yaml does not name it"
        );
    }
}

/// A glob whose `*` and `?` stay within one folder. `typed` is what errors name.
///
/// # Errors
/// [`InputError::Pattern`].
pub fn glob(typed: &str, pattern: &str) -> Result<GlobMatcher, InputError> {
    let wrong = |error: globset::Error| InputError::Pattern {
        pattern: typed.to_owned(),
        reason: format!("not a valid pattern: {}", error.kind()),
    };
    Ok(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?.compile_matcher())
}

fn has_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Whether a file is named as recordings are. (`*.bag.active` is one that is still being recorded.)
fn is_named_so(path: &Path) -> bool {
    ends_so(path, &EXTENSIONS)
}

fn ends_so(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension();
    extension.is_some_and(|found| extensions.iter().any(|known| found.eq_ignore_ascii_case(known)))
}
