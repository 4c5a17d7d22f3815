//! Recordings for tests: the real ones in `data/`, small ones written on the spot, and ways to damage them.

use bytes::Bytes;
use mcap::records::MessageHeader;
use mcap::{MAGIC, WriteOptions, Writer};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{ObjectInfo, ObjectIter, ObjectWriter, SharedStorage, Storage, StorageError};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of real recordings.
pub fn data_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data"))
}

/// A message to be written: topic, log time in ns, bytes.
pub type Written<'a> = (&'a str, u64, &'a [u8]);

/// A type and an encoding for every topic of a written recording: (schema name, schema encoding, definition, message encoding).
pub type Typed<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Writes messages in the order given, each topic of the same type. Publish times are log times + 1 ns.
///
/// # Errors
/// What the mcap crate says.
pub fn write_mcap(
    options: WriteOptions,
    typed: Typed<'_>,
    messages: &[Written<'_>],
) -> mcap::McapResult<Vec<u8>> {
    let (schema, schema_encoding, text, encoding) = typed;
    let mut writer = Writer::with_options(Cursor::new(Vec::new()), options)?;
    let schema = writer.add_schema(schema, schema_encoding, text.as_bytes())?;
    let mut channels = BTreeMap::new();
    for (sequence, (topic, log_time, data)) in (0_u32..).zip(messages) {
        let channel_id = match channels.get(topic) {
            Some(id) => *id,
            None => {
                let id = writer.add_channel(schema, topic, encoding, &BTreeMap::new())?;
                channels.insert(*topic, id);
                id
            }
        };
        let header = MessageHeader { channel_id, sequence, log_time: *log_time, publish_time: *log_time + 1 };
        writer.write_to_known_channel(&header, data)?;
    }
    writer.finish()?;
    Ok(writer.into_inner().into_inner())
}

/// Footer record and end magic.
const END_BYTES: usize = 9 + 20 + 8;

/// Where the summary of a whole recording begins; none if it has none.
pub fn summary_start(file: &[u8]) -> Option<usize> {
    let footer = file.get(file.len().checked_sub(END_BYTES)? + 9..)?;
    let start = u64::from_le_bytes(footer.get(..8)?.try_into().ok()?);
    usize::try_from(start).ok().filter(|start| *start > 0)
}

/// The same recording without its summary, as a recorder that writes none leaves it.
pub fn without_summary(file: &[u8]) -> Option<Vec<u8>> {
    let mut out = file.get(..summary_start(file)?)?.to_vec();
    out.push(2);
    out.extend(20_u64.to_le_bytes());
    out.extend([0; 20]);
    out.extend(MAGIC);
    Some(out)
}

/// Memory that remembers which ranges were read.
#[derive(Debug, Clone, Default)]
pub struct CountingStorage {
    inner: MemoryStorage,
    reads: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl CountingStorage {
    /// Holds one object.
    ///
    /// # Errors
    /// For keys that no storage takes.
    pub fn with(key: &str, body: &[u8]) -> Result<Self, StorageError> {
        let storage = Self::default();
        storage.inner.put(key, body)?;
        Ok(storage)
    }

    /// As the readers take it.
    pub fn shared(&self) -> SharedStorage {
        Arc::new(self.clone())
    }

    /// The ranges read since the last call, as (offset, length).
    pub fn take_reads(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for CountingStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        self.inner.head(key)
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push((offset, len));
        self.inner.read_at(object, offset, len)
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        self.inner.read(key, limit_bytes)
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        self.inner.put(key, body)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.inner.writer(key)
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        self.inner.list_after(prefix, after)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key)
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.inner.delete_all(prefix)
    }

    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        self.inner.sweep(prefix)
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        self.inner.sweep_all(prefix)
    }
}
