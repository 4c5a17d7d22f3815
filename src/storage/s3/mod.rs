//! Storage in a bucket of object storage that speaks S3.
//!
//! Architecture Invariant: this folder alone uses rusoto, hyper 0.14 and what they need. Requests run on a runtime of their
//! own (`bridge`); callers block, and a wait ends soon after the stop flag of their place is set. There is never a
//! fall-back to another place.
//!
//! - No conditional PUT is used: names always hold the same bytes, and fencing decides who publishes.
//! - An object appears whole: by one PUT, or by completing an upload of parts, each checked by its MD5.
//! - Reads name the version that was looked at, so that a replaced object is an error and not a mixture.

mod ahead;
mod announced;
mod bridge;
mod credentials;
mod failure;
mod list;
mod options;
mod parts;
mod place;
mod profile;
mod ranges;
mod read;
mod requests;
mod sweep;
mod tokens;
mod transport;
mod write;

pub use options::{
    CONNECT_TIMEOUT, Environment, ONE_REQUEST_BYTES, OPENING_PATIENCE, PART_BYTES, PARTS_AT_ONCE, PATIENCE,
    READ_AHEAD_BYTES, READ_AHEAD_TOTAL_BYTES, S3Options, SILENCE_TIMEOUT, SLOWEST_BYTES_PER_SEC, TRY_TIMEOUT,
};
pub(crate) use place::is_s3;

use super::{ObjectInfo, ObjectIter, ObjectWriter, Storage, StorageError};
use crate::work::StopFlag;
use ahead::{Ahead, Budget};
use bridge::Bridge;
use bytes::Bytes;
use failure::{Ask, Asked, Failure};
use place::{Place, refused};
use requests::{Reply, Requests};
use rusoto_core::RusotoError;
use rusoto_s3::{
    AbortMultipartUploadRequest, CreateMultipartUploadRequest, ListObjectsV2Request, S3, S3Client,
};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Places that were found usable, so that the next opening asks nothing. Forgotten all at once beyond this.
const MAX_TRIED: usize = 256;

/// What all places of a [`Places`](super::Places) share: threads, connections, credentials, and a bound on memory.
#[derive(Debug)]
pub(super) struct Shared {
    requests: Arc<Requests>,
    bridge: Bridge,
    ahead: Arc<Budget>,
    /// Uploads of this process that are still being written.
    living: Mutex<BTreeSet<String>>,
    /// Locations that were opened before, for reading (`r`) or writing (`w`).
    tried: Mutex<BTreeSet<(char, String)>>,
}

impl Shared {
    /// Starts the threads; nothing is sent yet.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for `location`: what is wrong with endpoint, certificates or credentials.
    pub(super) fn start(options: S3Options, location: &str) -> Result<Self, StorageError> {
        let requests = Requests::new(options).map_err(|reason| refused(location, &reason))?;
        let bridge = Bridge::start()
            .map_err(|error| refused(location, &format!("its threads cannot be started: {error}")))?;
        Ok(Self {
            requests: Arc::new(requests),
            bridge,
            ahead: Arc::new(Budget::new(READ_AHEAD_TOTAL_BYTES)),
            living: Mutex::default(),
            tried: Mutex::default(),
        })
    }
}

/// A bucket's prefix. Clones share what they read ahead.
#[derive(Clone)]
pub struct S3Storage {
    shared: Arc<Shared>,
    place: Arc<Place>,
    stop: StopFlag,
    patience: Duration,
    ahead: Arc<Mutex<Ahead>>,
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Storage").field("location", &self.place.location).finish_non_exhaustive()
    }
}

impl S3Storage {
    fn new(shared: &Arc<Shared>, location: &str, stop: &StopFlag) -> Result<Self, StorageError> {
        let options = &shared.requests.options;
        Ok(Self {
            shared: Arc::clone(shared),
            place: Arc::new(Place::parse(location)?),
            stop: stop.clone(),
            patience: options.patience,
            ahead: Arc::new(Mutex::new(Ahead::new(options.read_ahead_bytes, &shared.ahead))),
        })
    }

    /// A place to read from. Its bucket must exist, and be one that may be listed.
    pub(super) fn open(shared: &Arc<Shared>, location: &str, stop: &StopFlag) -> Result<Self, StorageError> {
        let storage = Self::new(shared, location, stop)?;
        storage.try_once('r', |storage| {
            let request = ListObjectsV2Request {
                bucket: storage.place.bucket.clone(),
                prefix: Some(storage.place.prefix.clone()),
                max_keys: Some(1),
                ..ListObjectsV2Request::default()
            };
            let ask = Ask::new("opening", "s3:ListBucket", "it");
            storage.ask(ask, move |s3| list_once(s3, request.clone())).map(|_| ())
        })?;
        Ok(storage)
    }

    /// A place to write to. That it may be written is tried at once, by an upload that is begun and given up.
    pub(super) fn create(
        shared: &Arc<Shared>,
        location: &str,
        stop: &StopFlag,
    ) -> Result<Self, StorageError> {
        let storage = Self::new(shared, location, stop)?;
        storage.try_once('w', |storage| {
            let (bucket, key) =
                (storage.place.bucket.clone(), format!("{}.probe.partial", storage.place.prefix));
            let request =
                CreateMultipartUploadRequest { bucket, key, ..CreateMultipartUploadRequest::default() };
            let ask = Ask::new("writing", "s3:PutObject", "a first object");
            let upload = storage.create_upload(ask, request)?;
            storage.abort(".probe.partial", &upload)
        })?;
        Ok(storage)
    }

    /// Carries a trial out, with the patience of an opening, unless the place has passed it before.
    fn try_once(
        &self,
        how: char,
        trial: impl Fn(&Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mark = (how, self.place.location.clone());
        let tried = || self.shared.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried().contains(&mark) {
            return Ok(());
        }
        trial(&Self { patience: self.shared.requests.options.opening_patience, ..self.clone() })?;
        let mut tried = tried();
        if tried.len() >= MAX_TRIED {
            tried.clear();
        }
        tried.insert(mark);
        Ok(())
    }

    /// Asks the server, and waits for the answer.
    fn ask<T, E, F, A>(&self, ask: Ask, request: F) -> Result<Reply<T>, StorageError>
    where
        T: Send + 'static,
        E: Error + 'static,
        F: Fn(S3Client) -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, RusotoError<E>>> + Send,
    {
        self.try_ask(&ask, request).map_err(|failure| self.explain(&ask, &failure))
    }

    /// The same, with the failure as it was seen.
    fn try_ask<T, E, F, A>(&self, ask: &Ask, request: F) -> Result<Reply<T>, Failure>
    where
        T: Send + 'static,
        E: Error + 'static,
        F: Fn(S3Client) -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, RusotoError<E>>> + Send,
    {
        let (requests, asked, patience) = (Arc::clone(&self.shared.requests), ask.clone(), self.patience);
        self.shared.bridge.run(&self.stop, async move { requests.ask(&asked, patience, request).await })
    }

    fn explain(&self, ask: &Ask, failure: &Failure) -> StorageError {
        let requests = &self.shared.requests;
        let asked = Asked {
            location: &self.place.location,
            bucket: &self.place.bucket,
            endpoint: &requests.endpoint.url,
            region: &requests.region,
            credentials: &requests.credentials.shown(),
        };
        failure.explain(ask, &asked)
    }

    /// Begins an upload of parts. Gives its number.
    fn create_upload(&self, ask: Ask, request: CreateMultipartUploadRequest) -> Result<String, StorageError> {
        let reply = self.ask(ask.clone(), move |s3| {
            let request = request.clone();
            async move { s3.create_multipart_upload(request).await }
        })?;
        let none = || Failure::Unreadable("an upload without its id".to_owned());
        reply.value.upload_id.filter(|id| !id.is_empty()).ok_or_else(|| self.explain(&ask, &none()))
    }

    /// Gives an upload up, with what was sent for it.
    fn abort(&self, key: &str, upload: &str) -> Result<(), StorageError> {
        let ask = Ask::new("giving up the upload of", "s3:AbortMultipartUpload", key);
        let request = self.abort_request(key, upload);
        let aborted = self.try_ask(&ask, move |s3| {
            let request = request.clone();
            async move { s3.abort_multipart_upload(request).await }
        });
        match aborted {
            Err(failure) if !failure.is_no_upload() => Err(self.explain(&ask, &failure)),
            _ => Ok(()),
        }
    }

    fn abort_request(&self, key: &str, upload: &str) -> AbortMultipartUploadRequest {
        AbortMultipartUploadRequest {
            bucket: self.place.bucket.clone(),
            key: format!("{}{key}", self.place.prefix),
            upload_id: upload.to_owned(),
            ..AbortMultipartUploadRequest::default()
        }
    }
}

async fn list_once(
    s3: S3Client,
    request: ListObjectsV2Request,
) -> Result<rusoto_s3::ListObjectsV2Output, RusotoError<rusoto_s3::ListObjectsV2Error>> {
    s3.list_objects_v2(request).await
}

impl Storage for S3Storage {
    fn location(&self) -> String {
        self.place.location.clone()
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        self.look(key)
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.read_ahead(object, offset, len)
    }

    fn read_ranges(&self, object: &ObjectInfo, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StorageError> {
        self.ranges(object, ranges)
    }

    fn announce(&self, ranges: &[(ObjectInfo, Range<u64>)]) {
        self.note_announced(ranges);
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        self.read_whole(key, limit_bytes)
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        let mut writer = write::S3Writer::new(self, key)?;
        writer.take(body)?;
        writer.settle()
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(write::S3Writer::new(self, key)?))
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        Ok(Box::new(list::Listing::new(self, prefix, after)?))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.delete_one(key)
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.delete_under(prefix)
    }

    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        self.abort_under(prefix, Some(super::ABANDONED_AFTER))
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.abort_under(prefix, None)
    }
}
