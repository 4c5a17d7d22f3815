//! Storage in memory, for tests: with failures on demand and a journal of what became visible in which order.
//!
//! It is the model of the contract, not a place to keep anything.

use super::key::{check_key, check_prefix};
use super::{ObjectInfo, ObjectIter, ObjectWriter, Storage, StorageError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an injected failure looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Trouble that may pass: [`StorageError::Unavailable`].
    Unavailable,
    /// Not allowed: [`StorageError::Refused`].
    Refused,
}

/// A failure to come.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which calls fail: "reading", "writing", "listing" or "deleting".
    pub action: &'static str,
    /// Only keys that hold this text; empty for all.
    pub key_contains: String,
    /// How many such calls still succeed.
    pub after: u32,
    /// How many fail then. The rest succeeds.
    pub times: u32,
    /// What they fail with.
    pub kind: FaultKind,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    version: u64,
    modified_ms: Option<u64>,
}

impl Object {
    fn info(&self, key: &str) -> ObjectInfo {
        let (size, version) = (self.body.len() as u64, self.version.to_string());
        ObjectInfo { key: key.to_owned(), size, version, modified_ms: self.modified_ms }
    }
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    now_ms: Option<u64>,
    faults: Vec<Fault>,
    journal: Vec<String>,
    versions: u64,
}

/// Objects in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    inner: Arc<Mutex<Inner>>,
}

const LOCATION: &str = "memory:";

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes calls fail. Several faults add up; the first that matches a call decides.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Shows this time from now on: what is written carries it. Without, writes carry none.
    pub fn set_time(&self, now_ms: u64) {
        self.lock().now_ms = Some(now_ms);
    }

    /// The keys that were written (`+key`) and removed (`-key`), in that order.
    pub fn journal(&self) -> Vec<String> {
        self.lock().journal.clone()
    }

    /// A copy of all objects.
    pub fn snapshot(&self) -> BTreeMap<String, Bytes> {
        self.lock().objects.iter().map(|(key, object)| (key.clone(), object.body.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, unless this call is to fail.
    fn call(&self, action: &'static str, key: &str) -> Result<MutexGuard<'_, Inner>, StorageError> {
        let mut inner = self.lock();
        for fault in &mut inner.faults {
            if fault.action != action || !key.contains(&fault.key_contains) || fault.times == 0 {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                break;
            }
            fault.times -= 1;
            let (location, key, reason) = (LOCATION.to_owned(), key.to_owned(), "injected".to_owned());
            return Err(match fault.kind {
                FaultKind::Unavailable => StorageError::Unavailable { location, action, key, reason },
                FaultKind::Refused => StorageError::Refused { location, action, key, reason },
            });
        }
        Ok(inner)
    }

    fn object(&self, key: &str) -> Result<Object, StorageError> {
        check_key(LOCATION, key)?;
        let inner = self.call("reading", key)?;
        let missing = || StorageError::NotFound { location: LOCATION.into(), key: key.into() };
        inner.objects.get(key).cloned().ok_or_else(missing)
    }

    fn store(&self, key: &str, body: Vec<u8>) -> Result<(), StorageError> {
        let mut inner = self.call("writing", key)?;
        inner.versions += 1;
        let object = Object { body: Bytes::from(body), version: inner.versions, modified_ms: inner.now_ms };
        inner.objects.insert(key.to_owned(), object);
        inner.journal.push(format!("+{key}"));
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn location(&self) -> String {
        LOCATION.into()
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        Ok(self.object(key)?.info(key))
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let Object { body, version, .. } = self.object(&object.key)?;
        if version.to_string() != object.version {
            return Err(StorageError::Changed { location: LOCATION.into(), key: object.key.clone() });
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        Ok(body.slice(start..start.saturating_add(len).min(body.len())))
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        let body = self.object(key)?.body;
        if body.len() as u64 <= limit_bytes {
            return Ok(body);
        }
        let reason = format!("it has {} bytes; at most {limit_bytes} are read at once", body.len());
        Err(StorageError::Invalid { location: LOCATION.into(), key: key.into(), reason })
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        check_key(LOCATION, key)?;
        self.store(key, body.to_vec())
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        check_key(LOCATION, key)?;
        Ok(Box::new(MemoryWriter { storage: self.clone(), key: key.to_owned(), body: Vec::new() }))
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        check_prefix(LOCATION, prefix)?;
        let inner = self.call("listing", prefix)?;
        let found = inner.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let found = found.filter(|(key, _)| key.as_str() > after);
        let found: Vec<_> = found.map(|(key, object)| Ok(object.info(key))).collect();
        Ok(Box::new(found.into_iter()))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        check_key(LOCATION, key)?;
        let mut inner = self.call("deleting", key)?;
        if inner.objects.remove(key).is_some() {
            inner.journal.push(format!("-{key}"));
        }
        Ok(())
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        check_prefix(LOCATION, prefix)?;
        let mut inner = self.call("deleting", prefix)?;
        let found = inner.objects.range(prefix.to_owned()..).map(|(key, _)| key.clone());
        let found: Vec<String> = found.take_while(|key| key.starts_with(prefix)).collect();
        for key in &found {
            inner.objects.remove(key);
            inner.journal.push(format!("-{key}"));
        }
        Ok(found.len() as u64)
    }

    /// No writer outlives its process here.
    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        check_prefix(LOCATION, prefix)?;
        Ok(0)
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.sweep(prefix)
    }
}

struct MemoryWriter {
    storage: MemoryStorage,
    key: String,
    body: Vec<u8>,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.storage.store(&self.key, self.body)
    }
}
