//! From a location to a storage: paths and `file://` URLs are the disk's, `s3://` URLs object storage's.
//!
//! Any other scheme is refused by name; nothing ever falls back to another place in silence.

use super::fs::FsStorage;
use super::s3::{S3Options, S3Storage, Shared, is_s3};
use super::{SharedStorage, StorageError, local_path};
use crate::work::StopFlag;
use std::sync::{Arc, Mutex, PoisonError};

/// Opens storages. Those of one `Places`, and of its clones, share their connections.
#[derive(Debug, Clone, Default)]
pub struct Places {
    options: S3Options,
    /// Made when the first place of object storage is opened.
    s3: Arc<Mutex<Option<Arc<Shared>>>>,
}

impl Places {
    /// With these means. Nothing is opened yet.
    pub fn new(options: S3Options) -> Self {
        Self { options, s3: Arc::default() }
    }

    /// Opens a place to read from. It must exist. What waits in it gives up soon after the flag is set.
    ///
    /// # Errors
    /// [`StorageError::Refused`] names the location and what to do.
    pub fn open(&self, location: &str, stop: &StopFlag) -> Result<SharedStorage, StorageError> {
        if is_s3(location) {
            return Ok(Arc::new(S3Storage::open(&self.shared(location)?, location, stop)?));
        }
        Ok(Arc::new(FsStorage::open(&local_path(location)?)?))
    }

    /// Opens a place to write to, and makes it if need be (but for a bucket). That it can be written is tried at once.
    ///
    /// # Errors
    /// [`StorageError::Refused`] names the location and what to do.
    pub fn create(&self, location: &str, stop: &StopFlag) -> Result<SharedStorage, StorageError> {
        if is_s3(location) {
            return Ok(Arc::new(S3Storage::create(&self.shared(location)?, location, stop)?));
        }
        Ok(Arc::new(FsStorage::create(&local_path(location)?)?))
    }

    fn shared(&self, location: &str) -> Result<Arc<Shared>, StorageError> {
        let mut s3 = self.s3.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = s3.as_ref() {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new(Shared::start(self.options.clone(), location)?);
        *s3 = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::s3::Environment;

    #[test]
    fn pitfall_29_object_storage_that_cannot_be_had_is_an_error_and_never_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::of([("HOME", folder.path().to_str().unwrap())]);
        for (endpoint, location, word) in [
            ("http://127.0.0.1:1", "s3://bucket/x", "no credentials"),
            ("nowhere", "s3://bucket/x", "--s3-endpoint"),
            ("http://127.0.0.1:1", "s3://b/x", "3 to 63"),
        ] {
            let environment = match word {
                "3 to 63" => Environment::of([("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]),
                _ => environment.clone(),
            };
            let places = Places::new(S3Options {
                endpoint: Some(endpoint.into()),
                environment,
                ..S3Options::default()
            });
            for error in [
                places.open(location, &StopFlag::default()).unwrap_err().to_string(),
                places.create(location, &StopFlag::default()).unwrap_err().to_string(),
            ] {
                assert!(error.contains(word) && error.contains(location), "{error}");
            }
        }
        let places = Places::new(S3Options { endpoint: None, ..S3Options::default() });
        let error = places.create("gs://bucket/x", &StopFlag::default()).unwrap_err().to_string();
        assert!(error.contains("not served"), "{error}");
    }
}
