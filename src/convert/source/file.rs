//! Ranges of one object in storage, with its size known.

use super::SourceError;
use crate::storage::{ObjectInfo, SharedStorage, StorageError};
use bytes::Bytes;
use std::ops::Range;

/// What a scan reads ahead.
const WINDOW_BYTES: u64 = 4 << 20;

/// A recording's object.
#[derive(Debug, Clone)]
pub(crate) struct File {
    storage: SharedStorage,
    object: ObjectInfo,
    place: String,
    /// Its place and key, for messages.
    name: String,
}

impl File {
    pub(crate) fn open(storage: SharedStorage, key: &str) -> Result<Self, SourceError> {
        let object = storage.head(key)?;
        Ok(Self::of(storage, object))
    }

    /// One that was looked at already.
    pub(crate) fn of(storage: SharedStorage, object: ObjectInfo) -> Self {
        let place = storage.location();
        let name = format!("{}/{}", place.trim_end_matches('/'), object.key);
        Self { storage, object, place, name }
    }

    /// The storage it lies in.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn key(&self) -> &str {
        &self.object.key
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn size(&self) -> u64 {
        self.object.size
    }

    /// Whether there is something in the object of this one's key with `suffix` behind it. What may not be looked at counts as
    /// nothing: a bucket that may not be listed refuses to say that an object is not there.
    pub(crate) fn has_beside(&self, suffix: &str) -> Result<bool, SourceError> {
        match self.storage.head(&format!("{}{suffix}", self.object.key)) {
            Ok(found) => Ok(found.size > 0),
            Err(StorageError::NotFound { .. } | StorageError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Exactly this range, in one read.
    pub(crate) fn range(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        let len = range.end.saturating_sub(range.start);
        let len = usize::try_from(len).map_err(|_| self.short(&range, 0))?;
        self.whole(&range, self.storage.read_at(&self.object, range.start, len)?)
    }

    /// Exactly these ranges, which are short and lie far apart.
    pub(crate) fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, SourceError> {
        let read = self.storage.read_ranges(&self.object, ranges)?;
        ranges.iter().zip(read).map(|(range, bytes)| self.whole(range, bytes)).collect()
    }

    fn whole(&self, range: &Range<u64>, bytes: Bytes) -> Result<Bytes, SourceError> {
        let is_whole = bytes.len() as u64 == range.end.saturating_sub(range.start);
        if is_whole { Ok(bytes) } else { Err(self.short(range, bytes.len())) }
    }

    fn short(&self, range: &Range<u64>, got: usize) -> SourceError {
        let len = range.end.saturating_sub(range.start);
        SourceError::Damaged {
            file: self.name.clone(),
            offset: range.start,
            reason: format!("{len} bytes expected, {got} read"),
        }
    }
}

/// Reads forward through a file in few, large reads.
pub(crate) struct Window<'f> {
    file: &'f File,
    ahead_bytes: u64,
    start: u64,
    bytes: Bytes,
}

impl<'f> Window<'f> {
    pub(crate) fn new(file: &'f File) -> Self {
        Self::ahead(file, WINDOW_BYTES)
    }

    /// One that reads so many bytes at once.
    pub(crate) fn ahead(file: &'f File, ahead_bytes: u64) -> Self {
        Self { file, ahead_bytes, start: 0, bytes: Bytes::new() }
    }

    /// This range, which must lie within the file.
    pub(crate) fn get(&mut self, range: Range<u64>) -> Result<Bytes, SourceError> {
        if let Some(held) = self.held(&range) {
            return Ok(held);
        }
        let end = range.end.max(range.start.saturating_add(self.ahead_bytes).min(self.file.size()));
        self.bytes = self.file.range(range.start..end)?;
        self.start = range.start;
        self.held(&range).ok_or_else(|| SourceError::Damaged {
            file: self.file.name().to_owned(),
            offset: range.start,
            reason: "a range that cannot be".to_owned(),
        })
    }

    /// This range, where it is held.
    pub(crate) fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}
