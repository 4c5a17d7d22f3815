//! ROS 2 bags that are folders: `metadata.yaml` and the files it names, MCAP or SQLite, which are one recording together.
//!
//! The recording's key is that of its `metadata.yaml`; its name is the folder's. Its size is the files' together, and its version
//! changes when that of any of them does. rosbag2 writes `metadata.yaml` last: a folder without one is not finished.

mod metadata;
mod yaml;

use super::SourceError;
use crate::storage::{ObjectInfo, Storage, StorageError};
use metadata::Metadata;
use sha2::{Digest, Sha256};

/// What makes a folder a recording.
pub const METADATA_FILE: &str = "metadata.yaml";
/// It may be this long.
const MAX_METADATA_BYTES: u64 = 16 << 20;

/// The folder of a `metadata.yaml`'s key, empty for one at the top; none for other keys.
#[must_use]
pub fn folder_of(key: &str) -> Option<&str> {
    match key.strip_suffix(METADATA_FILE)? {
        "" => Some(""),
        folder => folder.strip_suffix('/'),
    }
}

/// What a recording is called whose key this is: a folder by its path, others by their key.
#[must_use]
pub fn name_of(key: &str) -> &str {
    folder_of(key).filter(|folder| !folder.is_empty()).unwrap_or(key)
}

/// The recording under a key, as storage knows it: of a folder, all of its files.
///
/// # Errors
/// As [`Folder::look`]; [`SourceError::NotARecording`] for a `metadata.yaml` that is no bag's.
pub fn look(storage: &dyn Storage, key: &str) -> Result<ObjectInfo, SourceError> {
    if folder_of(key).is_none() {
        return Ok(storage.head(key)?);
    }
    Ok(Folder::look(storage, key)?.ok_or_else(|| not_a_bag(storage, key))?.object())
}

/// What a `metadata.yaml` is that is no bag's.
pub(super) fn not_a_bag(storage: &dyn Storage, key: &str) -> SourceError {
    let file = format!("{}/{key}", storage.location().trim_end_matches('/'));
    let reason = "it does not describe a ROS 2 bag (no rosbag2_bagfile_information in it)".to_owned();
    SourceError::NotARecording { file, reason }
}

/// A folder and the files that its `metadata.yaml` names, all of which are there.
#[derive(Debug, Clone)]
pub struct Folder {
    metadata: ObjectInfo,
    files: Vec<ObjectInfo>,
}

impl Folder {
    /// Reads the `metadata.yaml` of this key, and looks at each file that it names. None when it is something else than a bag's.
    ///
    /// # Errors
    /// [`SourceError::NotARecording`] by name for a file that is missing or empty, and for bags that are compressed as rosbag2
    /// does it.
    pub fn look(storage: &dyn Storage, key: &str) -> Result<Option<Self>, SourceError> {
        let place = storage.location();
        let refuse = |key: &str, reason: String| {
            let file = format!("{}/{key}", place.trim_end_matches('/'));
            SourceError::NotARecording { file, reason }
        };
        let metadata = storage.head(key)?;
        let text = storage.read(key, MAX_METADATA_BYTES)?;
        let parsed = Metadata::parse(&text).map_err(|reason| refuse(key, reason))?;
        let Some(parsed) = parsed else { return Ok(None) };
        parsed.check().map_err(|reason| refuse(key, reason))?;
        let folder = folder_of(key).unwrap_or_default();
        let mut files = Vec::with_capacity(parsed.files.len());
        for name in &parsed.files {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            match storage.head(&path) {
                Ok(file) if file.size > 0 => files.push(file),
                Ok(_) => return Err(refuse(&path, "it is a file of a ROS 2 bag, and empty".to_owned())),
                Err(StorageError::NotFound { .. }) => {
                    let reason = format!("{METADATA_FILE} names it, and it is not there");
                    return Err(refuse(&path, reason));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(Self { metadata, files }))
    }

    /// Its files, in the order in which they were recorded.
    #[must_use]
    pub fn files(&self) -> &[ObjectInfo] {
        &self.files
    }

    /// Its `metadata.yaml`.
    #[must_use]
    pub fn metadata(&self) -> &ObjectInfo {
        &self.metadata
    }

    /// All of it as one object: the size of the files together, a version that changes with any of theirs.
    #[must_use]
    pub fn object(&self) -> ObjectInfo {
        let mut hash = Sha256::new();
        let folder = folder_of(&self.metadata.key).unwrap_or_default();
        for file in std::iter::once(&self.metadata).chain(&self.files) {
            // The same version from wherever the folder is looked at.
            let below = file.key.strip_prefix(folder).unwrap_or(&file.key).trim_start_matches('/');
            for part in [below.as_bytes(), file.version.as_bytes(), &file.size.to_be_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let version = hash.finalize();
        ObjectInfo {
            key: self.metadata.key.clone(),
            size: self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size)),
            version: hex(version.get(..16).unwrap_or_default()),
            // The latest of them; unknown where that of a file is.
            modified_ms: self
                .files
                .iter()
                .try_fold(self.metadata.modified_ms.unwrap_or(0), |latest, file| {
                    Some(latest.max(file.modified_ms?))
                }),
        }
    }
}

#[cfg(test)]
mod tests;
