//! Listing a prefix page by page, as it is read on, and removing objects.

use super::S3Storage;
use super::failure::{Ask, Failure};
use super::read::{modified_ms, version_of};
use super::requests::wait_before;
use crate::storage::{ObjectInfo, StorageError};
use rusoto_s3::{
    Delete, DeleteObjectRequest, DeleteObjectsRequest, ListObjectsV2Output, ListObjectsV2Request,
    ObjectIdentifier, S3,
};

/// Keys that a page of a listing has, and that one request removes.
const PAGE: usize = 1000;

/// How often a request that removes many is sent while some of them are refused for now.
const ENTRY_TRIES: u32 = 8;

/// A listing on its way: one page is held.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    storage: &'a S3Storage,
    /// The bucket's prefix.
    prefix: String,
    /// Ours, for messages.
    shown: String,
    page: std::vec::IntoIter<rusoto_s3::Object>,
    /// Whether the page's names are encoded.
    is_encoded: bool,
    next: Next,
    /// The bucket's key that came last.
    last: String,
}

/// Where the next page begins.
#[derive(Debug)]
enum Next {
    /// At the prefix's beginning.
    First,
    /// Where this token says.
    Token(String),
    /// Behind the last key.
    Behind,
    /// There is none.
    End,
}

impl<'a> Listing<'a> {
    /// Everything under `prefix` behind the key `after`, if that is not empty.
    pub(super) fn new(storage: &'a S3Storage, prefix: &str, after: &str) -> Result<Self, StorageError> {
        let (next, last) = match after {
            "" => (Next::First, String::new()),
            after => (Next::Behind, format!("{}{after}", storage.place.prefix)),
        };
        let mut listing = Self {
            storage,
            prefix: storage.place.prefix(prefix)?,
            shown: prefix.to_owned(),
            page: Vec::new().into_iter(),
            is_encoded: false,
            next,
            last,
        };
        // Errors come where a caller looks for them: at the beginning.
        listing.turn()?;
        Ok(listing)
    }

    fn ask(&self) -> Ask {
        Ask::new("listing", "s3:ListBucket", &self.shown)
    }

    fn fail(&self, what: &str) -> StorageError {
        self.storage.explain(&self.ask(), &Failure::Unreadable(what.to_owned()))
    }

    /// Takes the next page.
    fn turn(&mut self) -> Result<(), StorageError> {
        let (token, behind) = match std::mem::replace(&mut self.next, Next::End) {
            Next::First => (None, None),
            Next::Token(token) => (Some(token), None),
            Next::Behind => (None, Some(self.last.clone())),
            Next::End => return Ok(()),
        };
        let request = ListObjectsV2Request {
            bucket: self.storage.place.bucket.clone(),
            prefix: Some(self.prefix.clone()),
            continuation_token: token,
            start_after: behind,
            max_keys: i64::try_from(PAGE).ok(),
            // XML cannot carry every key as it is.
            encoding_type: Some("url".to_owned()),
            ..ListObjectsV2Request::default()
        };
        let reply = self.storage.ask(self.ask(), move |s3| super::list_once(s3, request.clone()))?;
        let ListObjectsV2Output { contents, is_truncated, next_continuation_token, encoding_type, .. } =
            reply.value;
        let objects = contents.unwrap_or_default();
        self.next = match (is_truncated.unwrap_or(false), next_continuation_token) {
            (false, _) => Next::End,
            (true, Some(token)) if !token.is_empty() => Next::Token(token),
            (true, _) if objects.is_empty() => return Err(self.fail("an empty page that is not the last")),
            (true, _) => Next::Behind,
        };
        self.is_encoded = encoding_type.is_some_and(|kind| kind.eq_ignore_ascii_case("url"));
        self.page = objects.into_iter();
        Ok(())
    }

    /// The next object by the bucket's key, whatever it is named.
    fn next_full(&mut self) -> Result<Option<(String, rusoto_s3::Object)>, StorageError> {
        loop {
            let Some(object) = self.page.next() else {
                if matches!(self.next, Next::End) {
                    return Ok(None);
                }
                self.turn()?;
                continue;
            };
            let key = object.key.clone().unwrap_or_default();
            let key = if self.is_encoded { decoded(&key) } else { Some(key) };
            let key = key.ok_or_else(|| self.fail("a key that is not UTF-8"))?;
            if key <= self.last && !self.last.is_empty() {
                return Err(self.fail("keys that are not in the order of their bytes"));
            }
            if !key.starts_with(&self.prefix) {
                return Err(self.fail("keys of another prefix"));
            }
            self.last.clone_from(&key);
            return Ok(Some((key, object)));
        }
    }

    fn next_own(&mut self) -> Result<Option<ObjectInfo>, StorageError> {
        while let Some((full, object)) = self.next_full()? {
            let Some(key) = self.storage.place.own(&full) else {
                // Markers of folders, and what no storage takes.
                if !full.ends_with('/') {
                    tracing::warn!(
                        location = self.storage.place.location,
                        key = full,
                        "left out of a listing: its name is none that is served"
                    );
                }
                continue;
            };
            let version = object.e_tag.as_deref().map(version_of).filter(|version| !version.is_empty());
            let size = object.size.and_then(|size| u64::try_from(size).ok());
            return match (size, version) {
                (Some(size), Some(version)) => {
                    let modified_ms = object.last_modified.as_deref().and_then(modified_ms);
                    Ok(Some(ObjectInfo { key: key.to_owned(), size, version, modified_ms }))
                }
                // Some servers leave ETags out of listings.
                _ => match self.storage.look(key) {
                    Err(StorageError::NotFound { .. }) => continue,
                    looked => looked.map(Some),
                },
            };
        }
        Ok(None)
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<ObjectInfo, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_own().transpose();
        if matches!(next, Some(Err(_))) {
            // An error ends it: what would follow is unknown.
            self.next = Next::End;
            self.page = Vec::new().into_iter();
        }
        next
    }
}

/// Undoes the encoding of a listing: `%41` for `A`, `+` for a blank.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

impl S3Storage {
    pub(super) fn delete_one(&self, key: &str) -> Result<(), StorageError> {
        self.delete_full(key, self.place.key(key)?)
    }

    fn delete_full(&self, key: &str, full: String) -> Result<(), StorageError> {
        let request = DeleteObjectRequest {
            bucket: self.place.bucket.clone(),
            key: full,
            ..DeleteObjectRequest::default()
        };
        let deleted = self.ask(Ask::new("deleting", "s3:DeleteObject", key), move |s3| {
            let request = request.clone();
            async move { s3.delete_object(request).await }
        });
        match deleted {
            Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Everything under a prefix, whatever it is named.
    pub(super) fn delete_under(&self, prefix: &str) -> Result<u64, StorageError> {
        let mut listing = Listing::new(self, prefix, "")?;
        let mut removed = 0;
        let mut batch = Vec::new();
        loop {
            match listing.next_full()? {
                // Control characters cannot stand in the list of many.
                Some((full, _)) if full.chars().any(char::is_control) => {
                    self.delete_full(prefix, full)?;
                    removed += 1;
                }
                Some((full, _)) => batch.push(full),
                None => break,
            }
            if batch.len() >= PAGE {
                removed += self.delete_batch(prefix, std::mem::take(&mut batch))?;
                // What was removed is no longer there to count from.
                listing.next = if matches!(listing.next, Next::End) { Next::End } else { Next::Behind };
            }
        }
        if !batch.is_empty() {
            removed += self.delete_batch(prefix, batch)?;
        }
        Ok(removed)
    }

    fn delete_batch(&self, prefix: &str, keys: Vec<String>) -> Result<u64, StorageError> {
        let count = keys.len() as u64;
        let ask = Ask::new("deleting", "s3:DeleteObject", prefix);
        let objects = keys.into_iter().map(|key| ObjectIdentifier { key, version_id: None }).collect();
        let request = DeleteObjectsRequest {
            bucket: self.place.bucket.clone(),
            delete: Delete { objects, quiet: Some(true) },
            ..DeleteObjectsRequest::default()
        };
        // One by one they may be refused within an answer that succeeds.
        for tries in 1.. {
            let request = request.clone();
            let reply = self.ask(ask.clone(), move |s3| {
                let request = request.clone();
                async move { s3.delete_objects(request).await }
            })?;
            let errors = reply.value.errors.unwrap_or_default();
            let Some(error) = errors.into_iter().find(|error| error.code.as_deref() != Some("NoSuchKey"))
            else {
                break;
            };
            let failure = Failure::of_entry(error.code, error.message);
            if !failure.may_pass() || tries >= ENTRY_TRIES {
                return Err(self.explain(&ask, &failure));
            }
            let wait = wait_before(tries);
            let waited = self.shared.bridge.run(&self.stop, async move {
                tokio::time::sleep(wait).await;
                Ok(())
            });
            waited.map_err(|failure| self.explain(&ask, &failure))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_listings_are_decoded() {
        assert_eq!(decoded("a%2Fb+c%C3%A4%2B").as_deref(), Some("a/b cä+"));
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }
}
