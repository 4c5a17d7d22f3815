//! Uploads that were begun and never finished: found by prefix, and given up.

use super::S3Storage;
use super::failure::Ask;
use super::list::decoded;
use crate::storage::StorageError;
use rusoto_s3::{ListMultipartUploadsRequest, ListPartsRequest, MultipartUpload, S3};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

/// What a page of uploads tells.
struct Page {
    uploads: Vec<(String, MultipartUpload)>,
    next: Option<(String, Option<String>)>,
    /// The server's clock; ours where it does not tell.
    now: SystemTime,
}

impl S3Storage {
    /// Gives up unfinished uploads under a prefix: all, or those that have lain still for `age`. Never this process's own.
    pub(super) fn abort_under(&self, prefix: &str, age: Option<Duration>) -> Result<u64, StorageError> {
        let full_prefix = self.place.prefix(prefix)?;
        let mut from = None;
        let mut aborted = 0;
        loop {
            let Some(page) = self.uploads(prefix, &full_prefix, from)? else { return Ok(aborted) };
            for (full, upload) in page.uploads {
                let Some(id) = upload.upload_id.as_deref().filter(|id| !id.is_empty()) else { continue };
                let Some(key) = full.strip_prefix(self.place.prefix.as_str()) else { continue };
                if !full.starts_with(&full_prefix) || self.is_living(id) {
                    continue;
                }
                let lies_still =
                    |age| self.lies_still(key, &full, id, upload.initiated.as_deref(), page.now, age);
                if age.map(lies_still).transpose()?.unwrap_or(true) {
                    self.abort(key, id)?;
                    aborted += 1;
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(aborted),
            }
        }
    }

    fn is_living(&self, upload: &str) -> bool {
        self.shared.living.lock().unwrap_or_else(PoisonError::into_inner).contains(upload)
    }

    /// A page of unfinished uploads; none from a server that cannot tell.
    fn uploads(
        &self,
        prefix: &str,
        full_prefix: &str,
        from: Option<(String, Option<String>)>,
    ) -> Result<Option<Page>, StorageError> {
        let ask = Ask::new("sweeping", "s3:ListBucketMultipartUploads", prefix);
        let (key_marker, upload_id_marker) = from.map_or((None, None), |(key, upload)| (Some(key), upload));
        let request = ListMultipartUploadsRequest {
            bucket: self.place.bucket.clone(),
            prefix: Some(full_prefix.to_owned()),
            encoding_type: Some("url".to_owned()),
            key_marker: key_marker.clone(),
            upload_id_marker: upload_id_marker.clone(),
            ..ListMultipartUploadsRequest::default()
        };
        let listed = self.try_ask(&ask, move |s3| {
            let request = request.clone();
            async move { s3.list_multipart_uploads(request).await }
        });
        let reply = match listed {
            Ok(reply) => reply,
            Err(failure) if failure.is_not_served() => {
                let (location, prefix) = (&self.place.location, prefix);
                tracing::warn!(
                    location,
                    prefix,
                    "the server cannot list unfinished uploads; what is left of them stays"
                );
                return Ok(None);
            }
            Err(failure) => return Err(self.explain(&ask, &failure)),
        };
        let is_encoded = reply.value.encoding_type.is_some_and(|kind| kind.eq_ignore_ascii_case("url"));
        let plain = |key: String| if is_encoded { decoded(&key) } else { Some(key) };
        let uploads = reply.value.uploads.unwrap_or_default().into_iter();
        let uploads = uploads.filter_map(|upload| Some((plain(upload.key.clone()?)?, upload))).collect();
        let next = reply.value.next_key_marker.filter(|key| !key.is_empty()).and_then(plain);
        let next = next
            .filter(|_| reply.value.is_truncated.unwrap_or(false))
            .map(|key| (key, reply.value.next_upload_id_marker));
        // A server that gives the same page again would be asked for ever.
        let next =
            next.filter(|(key, upload)| key_marker.as_ref() != Some(key) || upload_id_marker != *upload);
        Ok(Some(Page { uploads, next, now: reply.answer.date.unwrap_or_else(SystemTime::now) }))
    }

    /// Whether neither its beginning nor any of its parts is younger than `age`.
    fn lies_still(
        &self,
        key: &str,
        full: &str,
        upload: &str,
        initiated: Option<&str>,
        now: SystemTime,
        age: Duration,
    ) -> Result<bool, StorageError> {
        let is_old = |then: Option<SystemTime>| {
            then.is_some_and(|then| now.duration_since(then).is_ok_and(|old| old > age))
        };
        if !is_old(initiated.and_then(time)) {
            return Ok(false);
        }
        let ask = Ask::new("sweeping", "s3:ListMultipartUploadParts", key);
        let mut marker = None;
        loop {
            let request = ListPartsRequest {
                bucket: self.place.bucket.clone(),
                key: full.to_owned(),
                upload_id: upload.to_owned(),
                part_number_marker: marker,
                ..ListPartsRequest::default()
            };
            let listed = self.try_ask(&ask, move |s3| {
                let request = request.clone();
                async move { s3.list_parts(request).await }
            });
            let page = match listed {
                Ok(reply) => reply.value,
                Err(failure) if failure.is_no_upload() => return Ok(false),
                Err(failure) => return Err(self.explain(&ask, &failure)),
            };
            let mut parts = page.parts.unwrap_or_default().into_iter();
            if !parts.all(|part| is_old(part.last_modified.as_deref().and_then(time))) {
                return Ok(false);
            }
            let next = page
                .next_part_number_marker
                .filter(|next| page.is_truncated == Some(true) && *next > marker.unwrap_or(0));
            match next {
                Some(next) => marker = Some(next),
                None => return Ok(true),
            }
        }
    }
}

fn time(text: &str) -> Option<SystemTime> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from)
}
