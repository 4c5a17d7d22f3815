//! Writing an object: a small one by one request, a larger one part by part while the next part is filled.
//!
//! What is held: one part being filled and [`PARTS_AT_ONCE`] on their way, or as much as those while it may be one request. Nothing
//! is visible before the end.

use super::S3Storage;
use super::bridge::Pending;
use super::failure::{Ask, Failure};
use super::options::{ONE_REQUEST_BYTES, PART_BYTES, PARTS_AT_ONCE};
use super::parts::{self, Sum};
use super::read::version_of;
use super::requests::Requests;
use crate::storage::{ObjectWriter, StorageError};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rusoto_core::ByteStream;
use rusoto_s3::{
    CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart, CreateMultipartUploadRequest,
    PutObjectRequest, S3, UploadPartRequest,
};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a dropped writer waits until its upload is given up at the server.
const ABORT_WAIT: Duration = Duration::from_secs(2);
/// The same once it was asked to stop; what is left is swept.
const STOPPED_ABORT_WAIT: Duration = Duration::from_millis(30);
/// An answer to a write.
const ANSWER_BYTES: usize = 1 << 20;

/// A part at the server.
#[derive(Debug)]
struct Sent {
    etag: String,
    sum: Sum,
    is_encrypted: bool,
}

/// An object being written.
#[derive(Debug)]
pub(super) struct S3Writer {
    storage: S3Storage,
    key: String,
    /// The bucket's key.
    full: String,
    filling: Vec<u8>,
    upload: Option<String>,
    on_their_way: VecDeque<Pending<Sent>>,
    sent: Vec<Sent>,
    /// Bytes handed over for sending.
    bytes: u64,
}

impl S3Writer {
    pub(super) fn new(storage: &S3Storage, key: &str) -> Result<Self, StorageError> {
        let full = storage.place.key(key)?;
        Ok(Self {
            storage: storage.clone(),
            key: key.to_owned(),
            full,
            filling: Vec::new(),
            upload: None,
            on_their_way: VecDeque::new(),
            sent: Vec::new(),
            bytes: 0,
        })
    }

    /// Takes bytes, and sends what fills a part.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let number = self.next_number();
            let Some(size) = parts::part_bytes(number) else {
                let reason = format!(
                    "it has over {} bytes, more than is written to one object",
                    parts::max_object_bytes()
                );
                let location = self.storage.place.location.clone();
                return Err(StorageError::Invalid { location, key: self.key.clone(), reason });
            };
            let room = if self.upload.is_none() { ONE_REQUEST_BYTES } else { size };
            // Full, and more comes: these are parts, and not the last.
            if self.filling.len() >= room {
                self.ship()?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.sent.len() + self.on_their_way.len() + 1).unwrap_or(u32::MAX)
    }

    fn ask(&self, sends: usize) -> Ask {
        Ask { sends, takes: ANSWER_BYTES, ..Ask::new("writing", "s3:PutObject", &self.key) }
    }

    /// Sends what was filled: one part, or at first those of [`ONE_REQUEST_BYTES`].
    fn ship(&mut self) -> Result<(), StorageError> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.begin()?,
        };
        let mut filled = Bytes::from(std::mem::take(&mut self.filling));
        while !filled.is_empty() {
            let size = parts::part_bytes(self.next_number()).unwrap_or(PART_BYTES);
            let body = filled.split_to(size.min(filled.len()));
            self.send_part(upload.clone(), body)?;
        }
        Ok(())
    }

    fn send_part(&mut self, upload: String, body: Bytes) -> Result<(), StorageError> {
        while self.on_their_way.len() >= PARTS_AT_ONCE {
            self.await_one()?;
        }
        self.bytes += body.len() as u64;
        let number = self.next_number();
        let part =
            Part { bucket: self.storage.place.bucket.clone(), full: self.full.clone(), upload, number, body };
        let (requests, ask) = (Arc::clone(&self.storage.shared.requests), self.ask(part.body.len()));
        let patience = self.storage.patience;
        let pending =
            self.storage.shared.bridge.spawn(async move { part.send(&requests, &ask, patience).await });
        self.on_their_way.push_back(pending);
        Ok(())
    }

    fn begin(&mut self) -> Result<String, StorageError> {
        let (bucket, key) = (self.storage.place.bucket.clone(), self.full.clone());
        let request = CreateMultipartUploadRequest { bucket, key, ..CreateMultipartUploadRequest::default() };
        let upload = self.storage.create_upload(self.ask(0), request)?;
        self.living(|living| living.insert(upload.clone()));
        self.upload = Some(upload.clone());
        Ok(upload)
    }

    fn living<T>(&self, change: impl FnOnce(&mut std::collections::BTreeSet<String>) -> T) -> T {
        change(&mut self.storage.shared.living.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn await_one(&mut self) -> Result<(), StorageError> {
        if let Some(pending) = self.on_their_way.pop_front() {
            let sent = pending.wait(&self.storage.stop);
            self.sent.push(sent.map_err(|failure| self.storage.explain(&self.ask(0), &failure))?);
        }
        Ok(())
    }

    /// Makes the object visible.
    pub(super) fn settle(&mut self) -> Result<(), StorageError> {
        if self.upload.is_none() {
            return self.put();
        }
        // There is an upload only once a part was full and more came: this is the last part, and not empty.
        self.ship()?;
        while !self.on_their_way.is_empty() {
            self.await_one()?;
        }
        self.complete()
    }

    /// All of it by one request.
    fn put(&mut self) -> Result<(), StorageError> {
        let body = Bytes::from(std::mem::take(&mut self.filling));
        let (bucket, key) = (self.storage.place.bucket.clone(), self.full.clone());
        let sum = parts::sum(&body);
        let ask = self.ask(body.len());
        let reply = self.storage.ask(ask.clone(), move |s3| {
            let request = PutObjectRequest {
                bucket: bucket.clone(),
                key: key.clone(),
                content_length: i64::try_from(body.len()).ok(),
                content_md5: Some(BASE64_STANDARD.encode(sum)),
                body: Some(stream(&body)),
                ..PutObjectRequest::default()
            };
            async move { s3.put_object(request).await }
        })?;
        let answer = &reply.answer;
        match &answer.etag {
            Some(etag) if !answer.is_encrypted && !parts::may_be(&version_of(etag), &parts::hex(&sum)) => {
                Err(self.differs("its checksum is another"))
            }
            _ => Ok(()),
        }
    }

    /// Puts the parts together, and looks whether the whole is what was sent.
    fn complete(&mut self) -> Result<(), StorageError> {
        let Some(upload) = self.upload.clone() else { return Ok(()) };
        let parts = self.sent.iter().zip(1..);
        let parts = parts.map(|(sent, number)| CompletedPart {
            e_tag: Some(sent.etag.clone()),
            part_number: Some(number),
        });
        let request = CompleteMultipartUploadRequest {
            bucket: self.storage.place.bucket.clone(),
            key: self.full.clone(),
            upload_id: upload.clone(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts.collect()) }),
            ..CompleteMultipartUploadRequest::default()
        };
        let ask = Ask { takes: ANSWER_BYTES, ..self.ask(0) };
        let completed = self.storage.try_ask(&ask, move |s3| {
            let request = request.clone();
            async move { s3.complete_multipart_upload(request).await }
        });
        let lost = match completed {
            Ok(_) => None,
            // An earlier try may have been carried out and its answer lost: the object itself tells.
            Err(failure) if failure.is_no_upload() => Some(self.storage.explain(&ask, &failure)),
            Err(failure) => return Err(self.storage.explain(&ask, &failure)),
        };
        let sums: Vec<Sum> = self.sent.iter().map(|sent| sent.sum).collect();
        let meant = parts::whole_version(&sums);
        let is_plain = self.sent.iter().all(|sent| !sent.is_encrypted);
        match (self.storage.look(&self.key), lost) {
            (Ok(there), lost) => {
                let is_ours =
                    there.size == self.bytes && (!is_plain || parts::may_be(&there.version, &meant));
                if !is_ours {
                    return Err(lost.unwrap_or_else(|| self.differs("its size or checksum is another")));
                }
            }
            (Err(StorageError::NotFound { .. }), lost) => {
                return Err(lost.unwrap_or_else(|| self.differs("nothing stands there")));
            }
            (Err(error), _) => return Err(error),
        }
        self.living(|living| living.remove(&upload));
        self.upload = None;
        Ok(())
    }

    fn differs(&self, what: &str) -> StorageError {
        StorageError::Unavailable {
            location: self.storage.place.location.clone(),
            action: "writing",
            key: self.key.clone(),
            reason: format!(
                "what stands there now is not what was sent ({what}): somebody else wrote it, or it was damaged on its way"
            ),
        }
    }
}

/// A part on its way.
struct Part {
    bucket: String,
    full: String,
    upload: String,
    number: u32,
    body: Bytes,
}

impl Part {
    async fn send(self, requests: &Requests, ask: &Ask, patience: Duration) -> Result<Sent, Failure> {
        let sum = parts::sum(&self.body);
        let reply = requests.ask(ask, patience, |s3| {
            let request = UploadPartRequest {
                bucket: self.bucket.clone(),
                key: self.full.clone(),
                upload_id: self.upload.clone(),
                part_number: i64::from(self.number),
                content_length: i64::try_from(self.body.len()).ok(),
                content_md5: Some(BASE64_STANDARD.encode(sum)),
                body: Some(stream(&self.body)),
                ..UploadPartRequest::default()
            };
            async move { s3.upload_part(request).await }
        });
        let answer = reply.await?.answer;
        let etag = answer.etag.ok_or_else(|| Failure::Unreadable("a part without its ETag".to_owned()))?;
        Ok(Sent { etag, sum, is_encrypted: answer.is_encrypted })
    }
}

/// The same bytes for each try.
fn stream(body: &Bytes) -> ByteStream {
    let (len, body) = (body.len(), body.clone());
    ByteStream::new_with_size(futures_util::stream::once(std::future::ready(Ok(body))), len)
}

impl Write for S3Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    /// A part goes when it is full; before the end nothing is durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for S3Writer {
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.settle()
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        self.on_their_way.clear();
        let storage = &self.storage;
        let ask = Ask {
            takes: ANSWER_BYTES,
            ..Ask::new("giving up the upload of", "s3:AbortMultipartUpload", &self.key)
        };
        let request = storage.abort_request(&self.key, &upload);
        let (requests, patience) = (Arc::clone(&storage.shared.requests), storage.patience);
        let aborting = storage.shared.bridge.spawn(async move {
            requests
                .ask(&ask, patience, |s3| {
                    let request = request.clone();
                    async move { s3.abort_multipart_upload(request).await }
                })
                .await
        });
        let wait = if storage.stop.is_set() { STOPPED_ABORT_WAIT } else { ABORT_WAIT };
        match aborting.wait_for(wait) {
            Some(Ok(_)) => {}
            Some(Err(failure)) if failure.is_no_upload() => {}
            Some(Err(failure)) => {
                let (location, key, error) = (&storage.place.location, &self.key, failure.shown());
                tracing::warn!(location, key, error, "an unfinished upload stays behind; a sweep removes it");
            }
            None => aborting.detach(),
        }
        self.living(|living| living.remove(&upload));
    }
}
