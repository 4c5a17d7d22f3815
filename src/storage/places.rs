//! From a location to a storage: paths and `file://` URLs are the disk's, `s3://` URLs object storage's.
//!
//! Any other scheme is refused by name; nothing ever falls back to another place in silence.

use super::fs::FsStorage;
use super::s3::S3Options;
use super::{SharedStorage, StorageError, local_path};
use crate::work::StopFlag;
use std::sync::Arc;

/// Opens storages. Those of one `Places` share their connections.
#[derive(Debug, Clone, Default)]
pub struct Places {
    #[expect(dead_code, reason = "the client comes with the next commit")]
    s3: S3Options,
}

impl Places {
    /// With these means. Nothing is opened yet.
    pub fn new(s3: S3Options) -> Self {
        Self { s3 }
    }

    /// Opens a place to read from. It must exist. What waits in it gives up soon after the flag is set.
    ///
    /// # Errors
    /// [`StorageError::Refused`] names the location and what to do.
    pub fn open(&self, location: &str, _stop: &StopFlag) -> Result<SharedStorage, StorageError> {
        Ok(Arc::new(FsStorage::open(&local_path(location)?)?))
    }

    /// Opens a place to write to, and makes it if need be. That it can be written is tried at once.
    ///
    /// # Errors
    /// [`StorageError::Refused`] names the location and what to do.
    pub fn create(&self, location: &str, _stop: &StopFlag) -> Result<SharedStorage, StorageError> {
        Ok(Arc::new(FsStorage::create(&local_path(location)?)?))
    }
}
