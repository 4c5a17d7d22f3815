//! From what was typed to the list of recordings: on this host, or in a bucket.
//!
//! A recording's name is its path below the folder that all of them have in common: the same set of recordings gives
//! the same names wherever it lies, and episodes are ordered by them. No recording is opened here.

pub mod local;

mod remote;

use crate::storage::fs::FsStorage;
use crate::storage::{ObjectInfo, Places, SharedStorage, Storage, StorageError, local_path};
use crate::work::StopFlag;
use globset::{GlobBuilder, GlobMatcher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Recordings found at once at most.
pub const MAX_RECORDINGS: usize = 100_000;

/// How the names of recordings end.
const EXTENSIONS: [&str; 2] = ["mcap", "bag"];

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
    #[error("{path}: no recordings (*.mcap, *.bag) here")]
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
    /// The storage's word.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Recordings, looked at.
#[derive(Debug, Clone)]
pub struct Found {
    /// The place that all have in common, absolute.
    pub location: String,
    /// It, open.
    pub storage: SharedStorage,
    /// Each under its name, which is its key there; in the order of the names' bytes.
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
    let objects = found.names.iter().map(|name| storage.head(name)).collect::<Result<_, _>>()?;
    Ok(Found { location: found.base.display().to_string(), storage: Arc::new(storage), objects })
}

/// Whether a key is that of a recording: nothing hidden, and a name that ends as one does.
pub fn is_recording(key: &str) -> bool {
    !key.split('/').any(|part| part.starts_with('.')) && is_named_so(Path::new(key))
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
    let extension = path.extension();
    extension.is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
}
