//! Looking at objects and reading them: each read names its version, and an answer is checked against what was asked.

use super::S3Storage;
use super::failure::{Ask, Failure};
use super::requests::Requests;
use crate::storage::{ObjectInfo, StorageError};
use bytes::Bytes;
use rusoto_s3::{GetObjectRequest, HeadObjectRequest, S3};
use std::ops::Range;
use std::time::Duration;

/// An answer without a body that matters.
const HEAD_BYTES: usize = 64 * 1024;

/// The version that an `ETag` stands for: the tag without its quotes, as listings and looks give it alike.
pub(super) fn version_of(etag: &str) -> String {
    etag.trim().trim_matches('"').to_owned()
}

/// The time that a listing or a look tells, in whole seconds: a look tells no less.
pub(super) fn modified_ms(text: &str) -> Option<u64> {
    let time =
        chrono::DateTime::parse_from_rfc2822(text).or_else(|_| chrono::DateTime::parse_from_rfc3339(text));
    u64::try_from(time.ok()?.timestamp()).ok()?.checked_mul(1_000)
}

impl S3Storage {
    /// Size and version of an object.
    pub(super) fn look(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        let ask = Ask { takes: HEAD_BYTES, ..Ask::new("reading", "s3:GetObject", key) };
        let (bucket, full) = (self.place.bucket.clone(), self.place.key(key)?);
        let request = HeadObjectRequest { bucket, key: full, ..HeadObjectRequest::default() };
        let looked = self.try_ask(&ask, move |s3| {
            let request = request.clone();
            async move { s3.head_object(request).await }
        });
        let reply = looked.map_err(|failure| {
            // The answer to a look has no body, so a read has to say why it is refused.
            let explained = failure.is_unexplained().then(|| self.read_whole(key, 0));
            match explained {
                Some(Err(error @ StorageError::Refused { .. })) => error,
                _ => self.explain(&ask, &failure),
            }
        })?;
        let size = reply.value.content_length.and_then(|size| u64::try_from(size).ok());
        let version = reply.value.e_tag.as_deref().map(version_of).filter(|version| !version.is_empty());
        match (size, version) {
            (Some(size), Some(version)) => {
                let modified_ms = reply.value.last_modified.as_deref().and_then(modified_ms);
                Ok(ObjectInfo { key: key.to_owned(), size, version, modified_ms })
            }
            _ => Err(self.explain(&ask, &Failure::Unreadable("an object without size or ETag".to_owned()))),
        }
    }

    /// A whole object of at most `limit_bytes`, by one request.
    pub(super) fn read_whole(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        let takes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let ask = Ask { takes, ..Ask::new("reading", "s3:GetObject", key) };
        let (bucket, full) = (self.place.bucket.clone(), self.place.key(key)?);
        let request = GetObjectRequest { bucket, key: full, ..GetObjectRequest::default() };
        let reply = self.ask(ask, move |s3| {
            let request = request.clone();
            async move { s3.get_object(request).await }
        })?;
        Ok(reply.answer.body)
    }
}

/// One version of an object in its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) bucket: String,
    /// The bucket's key.
    pub(super) full: String,
    /// What is known of it.
    pub(super) object: ObjectInfo,
}

impl Version {
    pub(super) fn ask(&self, range: &Range<u64>) -> Ask {
        let takes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Ask { takes, ..Ask::new("reading", "s3:GetObject", &self.object.key) }
    }

    /// Exactly a range of this version, which must lie within it and not be empty.
    pub(super) async fn get(
        &self,
        requests: &Requests,
        patience: Duration,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let request = GetObjectRequest {
            bucket: self.bucket.clone(),
            key: self.full.clone(),
            range: Some(format!("bytes={}-{}", range.start, range.end.saturating_sub(1))),
            if_match: Some(format!("\"{}\"", self.object.version)),
            ..GetObjectRequest::default()
        };
        let ask = self.ask(&range);
        let asked = requests.ask(&ask, patience, move |s3| {
            let request = request.clone();
            async move { s3.get_object(request).await }
        });
        let answer = match asked.await {
            // A server that takes no note of ranges sends all of it.
            Err(Failure::TooLong(_)) => {
                return Err(Failure::Unreadable("more than the range that was asked for".into()));
            }
            Err(failure) => return Err(failure),
            Ok(reply) => reply.answer,
        };
        if answer.etag.as_deref().map(version_of).as_deref() != Some(&self.object.version) {
            return Err(Failure::Changed);
        }
        let is_whole = range == (0..self.object.size);
        let starts = format!("bytes {}-", range.start);
        let is_range = answer.status == 206 && answer.range.is_some_and(|range| range.starts_with(&starts));
        let fits = is_range || (is_whole && answer.status == 200);
        if !fits {
            return Err(Failure::Unreadable("another range than the one that was asked for".into()));
        }
        if answer.body.len() as u64 != range.end - range.start {
            return Err(Failure::Unreadable(format!("{} bytes of the range {range:?}", answer.body.len())));
        }
        Ok(answer.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_and_listings_tell_the_same_of_an_object() {
        assert_eq!(version_of("\"abc-1\""), version_of("abc-1"));
        let look = modified_ms("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(look, Some(784_111_777_000));
        assert_eq!(modified_ms("1994-11-06T08:49:37.825Z"), look);
        assert_eq!(modified_ms("soon"), None);
    }
}
