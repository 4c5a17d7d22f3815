//! A storage whose process dies: after so many calls, every one fails.
//!
//! What was durable before stays. It knows nothing of what is stored.

use roboflow::storage::{ObjectInfo, ObjectIter, ObjectWriter, SharedStorage, Storage, StorageError};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes calls on until it dies. Bytes of an unfinished writer are no call: they are not visible.
#[derive(Debug, Clone)]
pub struct DyingStorage {
    inner: SharedStorage,
    left: Arc<AtomicU64>,
}

impl DyingStorage {
    /// Dies after `calls`.
    pub fn new(inner: SharedStorage, calls: u64) -> Self {
        Self { inner, left: Arc::new(AtomicU64::new(calls)) }
    }

    /// How many calls are left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    fn call(&self, action: &'static str, key: &str) -> Result<(), StorageError> {
        let lives = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let (location, key, reason) = (self.inner.location(), key.to_owned(), "it is dead".to_owned());
        lives.map(drop).map_err(|_| StorageError::Unavailable { location, action, key, reason })
    }
}

impl Storage for DyingStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        self.call("reading", key)?;
        self.inner.head(key)
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<bytes::Bytes, StorageError> {
        self.call("reading", &object.key)?;
        self.inner.read_at(object, offset, len)
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<bytes::Bytes, StorageError> {
        self.call("reading", key)?;
        self.inner.read(key, limit_bytes)
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        self.call("writing", key)?;
        self.inner.put(key, body)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.call("writing", key)?;
        Ok(Box::new(DyingWriter {
            storage: self.clone(),
            key: key.to_owned(),
            inner: self.inner.writer(key)?,
        }))
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        self.call("listing", prefix)?;
        self.inner.list_after(prefix, after)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.call("deleting", key)?;
        self.inner.delete(key)
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.call("deleting", prefix)?;
        self.inner.delete_all(prefix)
    }

    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        self.call("deleting", prefix)?;
        self.inner.sweep(prefix)
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.call("deleting", prefix)?;
        self.inner.sweep_all(prefix)
    }
}

struct DyingWriter {
    storage: DyingStorage,
    key: String,
    inner: Box<dyn ObjectWriter>,
}

impl Write for DyingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl ObjectWriter for DyingWriter {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.storage.call("writing", &self.key)?;
        self.inner.finish()
    }
}
