//! Where recordings are read from and datasets are written to: objects under keys, over one place.
//!
//! Architecture Invariant: nothing here knows what the bytes mean. It blocks: it is called from conversion threads,
//! never from a runtime's own.
//!
//! What every implementation promises, held by one contract suite:
//! - A key is a relative path with `/` between its parts, never empty, without `.` or `..` parts.
//! - A reader never sees part of an object: [`Storage::put`] and [`ObjectWriter::finish`] make the whole object appear
//!   at once, durably, in place of an older one of the same key. A writer that is dropped leaves nothing under its key.
//! - [`Storage::list`] is in the order of the keys' bytes.

pub mod fs;
mod key;
mod location;
pub mod memory;
mod places;
pub mod s3;

pub use key::MAX_KEY_BYTES;
pub(crate) use key::is_partial;
pub use location::{absolute, is_local, local_path};
pub use places::Places;

use crate::error::{Class, Classified};
use crate::work::WorkError;
use bytes::Bytes;
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// When an unfinished write of which nothing else is known counts as left behind.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// One place (a folder, a bucket's prefix).
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The place, as a path or URL without secrets, for messages.
    fn location(&self) -> String;

    /// Size and version of an object.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when there is none.
    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError>;

    /// The bytes `offset..offset + len` of this very version of an object; fewer only where it ends.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when another version stands under its key now: reads never mix two.
    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError>;

    /// Several such ranges of it, in the order in which they are asked for. For short ones that lie far apart: what lies between
    /// is not read, unless that is quicker. All of them are held at once.
    ///
    /// # Errors
    /// As [`Storage::read_at`].
    fn read_ranges(&self, object: &ObjectInfo, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StorageError> {
        let len = |range: &Range<u64>| usize::try_from(range.end.saturating_sub(range.start));
        let read = |range: &Range<u64>| self.read_at(object, range.start, len(range).unwrap_or(usize::MAX));
        ranges.iter().map(read).collect()
    }

    /// Says what will be read next: these ranges in their order, each forward and to its end. A hint: a place that reads ahead
    /// fetches what is announced and no more. What was announced before counts no longer.
    fn announce(&self, ranges: &[(ObjectInfo, Range<u64>)]) {
        let _ = ranges;
    }

    /// The whole object. For small ones: `limit_bytes` bounds it, and a larger one is an error.
    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError>;

    /// Writes a whole object. Durable and visible when it returns.
    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError>;

    /// Writes an object bit by bit, with bounded memory.
    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError>;

    /// Everything whose key begins with `prefix` (which ends with `/` or is empty), in key order. What is many is asked for
    /// page by page, as the iterator goes on.
    fn list(&self, prefix: &str) -> Result<ObjectIter<'_>, StorageError> {
        self.list_after(prefix, "")
    }

    /// As [`Storage::list`], only what comes behind this key (which need not be there), so that a listing goes on where one
    /// before it ended.
    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError>;

    /// Removes an object. Removing what is not there is no error.
    fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Removes all objects under `prefix`. Gives how many there were, as far as the place tells.
    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError>;

    /// Removes what unfinished writers left behind under `prefix` when they are known to be gone, or have not been heard of
    /// for [`ABANDONED_AFTER`]. Gives their count.
    fn sweep(&self, prefix: &str) -> Result<u64, StorageError>;

    /// Like [`Storage::sweep`], with the caller's promise that no other process writes under `prefix` any more: all that is
    /// unfinished goes, but for this process's own writers. One that writes there all the same fails to finish.
    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError>;
}

/// A shared storage.
pub type SharedStorage = Arc<dyn Storage>;

/// Objects as they are listed.
pub type ObjectIter<'a> = Box<dyn Iterator<Item = Result<ObjectInfo, StorageError>> + 'a>;

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Changes whenever the object does (an ETag; on disk made of size, modification time and inode).
    pub version: String,
    /// When it was written last, by the place's own clock, in ms since 1970, where the place tells. Says how old an object
    /// seems, never whether it is the same.
    pub modified_ms: Option<u64>,
}

/// An object being written. Nothing is visible before [`ObjectWriter::finish`].
pub trait ObjectWriter: Write + Send {
    /// Makes the object durable and visible.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// What can go wrong with storage. Each names the location and the key.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No such object.
    #[error("{location}: no object {key}")]
    NotFound {
        /// The place.
        location: String,
        /// The key.
        key: String,
    },
    /// Not allowed, read-only, or not a place that can be used.
    #[error("{location}: {action} {key} is refused: {reason}")]
    Refused {
        /// The place.
        location: String,
        /// What was tried: reading, writing, listing, deleting.
        action: &'static str,
        /// The key.
        key: String,
        /// What was seen and what to do.
        reason: String,
    },
    /// A key that no storage takes, or an object over a limit.
    #[error("{location}: {key}: {reason}")]
    Invalid {
        /// The place.
        location: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object was replaced or removed since it was looked at.
    #[error(
        "{location}: {key} has changed since it was opened: nothing of the new version is taken; open it anew"
    )]
    Changed {
        /// The place.
        location: String,
        /// The key.
        key: String,
    },
    /// Trouble that may pass.
    #[error("{location}: {action} {key} failed: {reason}")]
    Unavailable {
        /// The place.
        location: String,
        /// What was tried: reading, writing, listing, deleting.
        action: &'static str,
        /// The key.
        key: String,
        /// What was seen.
        reason: String,
    },
}

impl Classified for StorageError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::Refused { .. } | Self::Invalid { .. } => Class::Permanent,
            Self::Changed { .. } | Self::Unavailable { .. } => Class::Transient,
        }
    }
}

impl From<StorageError> for WorkError {
    fn from(error: StorageError) -> Self {
        match error.class() {
            Class::Transient => Self::Transient(error.to_string()),
            Class::Permanent | Class::Lost => Self::Permanent(error.to_string()),
        }
    }
}

/// What stopped a [`Write`] of an [`ObjectWriter`], as an error of storage: the one that the writer gave, when it did.
pub fn from_io(
    storage: &dyn Storage,
    action: &'static str,
    key: &str,
    error: std::io::Error,
) -> StorageError {
    error.downcast::<StorageError>().unwrap_or_else(|error| StorageError::Unavailable {
        location: storage.location(),
        action,
        key: key.to_owned(),
        reason: error.to_string(),
    })
}
