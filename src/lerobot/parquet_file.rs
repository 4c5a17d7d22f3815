//! Parquet files in a storage: read by range, written bit by bit, with the storage's own error when it failed.
//!
//! The parquet crate turns errors into text on its way; what the storage said is kept aside, so that a full disk
//! stays a thing to retry. It knows no columns of any format.

use super::error::LerobotError;
use crate::storage::{ObjectInfo, ObjectWriter, SharedStorage, StorageError, from_io};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Read at once of a file's end, where its footer stands: over a long way each read costs, whatever it moves. A small file
/// is not read again.
const TAIL_BYTES: u64 = 64 * 1024;
/// Bytes read ahead for a page's header.
const HEADER_BYTES: usize = 4 * 1024;
/// Columns of a row group that have no more in all are read at once, and held while they are decoded.
const HELD_BYTES: u64 = 4 << 20;

/// Where the storage's own error waits while the parquet crate passes on its text.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<StorageError>>>);

impl Slot {
    fn keep(&self, error: StorageError) -> io::Error {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other(text)
    }

    /// The storage's error, or else a damaged file.
    pub(super) fn explain(&self, key: &str, error: impl ToString) -> LerobotError {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => error.into(),
            None => LerobotError::damaged(key, error),
        }
    }
}

/// The schema with a note in its metadata. pyarrow looks for notes there, others in the file's own: a writer gives the
/// note in both places.
pub(super) fn with_note(schema: &Schema, note: &KeyValue) -> SchemaRef {
    let metadata = HashMap::from([(note.key.clone(), note.value.clone().unwrap_or_default())]);
    Arc::new(schema.clone().with_metadata(metadata))
}

/// A Parquet file being written. Nothing is visible before [`ParquetOut::finish`].
pub struct ParquetOut {
    storage: SharedStorage,
    key: String,
    writer: ArrowWriter<Sink>,
    slot: Slot,
}

/// Where a file's bytes go, as they come.
pub(super) struct Sink {
    storage: SharedStorage,
    key: String,
    writer: Box<dyn ObjectWriter>,
    written: u64,
    slot: Slot,
}

impl Sink {
    /// Starts the file `key`. What the storage says when it fails waits in `slot`.
    pub(super) fn create(storage: &SharedStorage, key: &str, slot: &Slot) -> Result<Self, LerobotError> {
        Ok(Self {
            storage: Arc::clone(storage),
            key: key.to_owned(),
            writer: storage.writer(key)?,
            written: 0,
            slot: slot.clone(),
        })
    }

    /// Ends the file: durable and visible when it returns. Gives its size in bytes.
    pub(super) fn finish(mut self, storage: &SharedStorage, key: &str) -> Result<u64, LerobotError> {
        self.flush().map_err(|error| self.slot.explain(key, error))?;
        self.writer.finish()?;
        tracing::debug!(location = %storage.location(), key, bytes = self.written, "wrote a parquet file");
        Ok(self.written)
    }

    fn fail(&self, error: io::Error) -> io::Error {
        self.slot.keep(from_io(self.storage.as_ref(), "writing", &self.key, error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes).map_err(|error| self.fail(error))?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(|error| self.fail(error))
    }
}

impl ParquetOut {
    /// Starts the file `key`.
    ///
    /// # Errors
    /// The storage's, and a schema that Parquet cannot hold.
    pub fn create(
        storage: &SharedStorage,
        key: &str,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, LerobotError> {
        let slot = Slot::default();
        let sink = Sink::create(storage, key, &slot)?;
        let writer =
            ArrowWriter::try_new(sink, schema, Some(properties)).map_err(|error| slot.explain(key, error))?;
        Ok(Self { storage: Arc::clone(storage), key: key.to_owned(), writer, slot })
    }

    /// Adds rows to the row group in progress.
    ///
    /// # Errors
    /// The storage's.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LerobotError> {
        self.writer.write(batch).map_err(|error| self.slot.explain(&self.key, error))
    }

    /// Ends the row group in progress, if it has rows.
    ///
    /// # Errors
    /// The storage's.
    pub fn end_row_group(&mut self) -> Result<(), LerobotError> {
        self.writer.flush().map_err(|error| self.slot.explain(&self.key, error))
    }

    /// Ends the file: durable and visible when it returns. Gives its size in bytes.
    ///
    /// # Errors
    /// The storage's.
    pub fn finish(self) -> Result<u64, LerobotError> {
        let Self { storage, key, writer, slot } = self;
        let sink = writer.into_inner().map_err(|error| slot.explain(&key, error))?;
        sink.finish(&storage, &key)
    }
}

/// A Parquet file to read, page by page.
#[derive(Debug)]
pub struct ParquetIn {
    key: String,
    chunks: Chunks,
    footer: ArrowReaderMetadata,
    slot: Slot,
}

/// The bytes of a file, by range.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    storage: SharedStorage,
    object: ObjectInfo,
    /// What of it is in memory, by its offset: its last bytes first.
    held: Vec<(u64, Bytes)>,
    slot: Slot,
}

impl Chunks {
    fn open(storage: &SharedStorage, key: &str) -> Result<Self, StorageError> {
        let object = storage.head(key)?;
        let start = object.size.saturating_sub(TAIL_BYTES);
        let tail =
            storage.read_at(&object, start, usize::try_from(object.size - start).unwrap_or(usize::MAX))?;
        Ok(Self { storage: Arc::clone(storage), object, held: vec![(start, tail)], slot: Slot::default() })
    }

    /// With these ranges in memory, unless they are many bytes.
    fn hold(mut self, mut ranges: Vec<Range<u64>>) -> Result<Self, StorageError> {
        ranges.retain(|range| self.in_memory(range.start).is_none());
        let bytes =
            ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)));
        if bytes <= HELD_BYTES && !ranges.is_empty() {
            let read = self.storage.read_ranges(&self.object, &ranges)?;
            self.held.extend(ranges.iter().map(|range| range.start).zip(read));
        }
        Ok(self)
    }

    /// What is held from an offset on.
    fn in_memory(&self, offset: u64) -> Option<Bytes> {
        self.held.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            (from < bytes.len()).then(|| bytes.slice(from..))
        })
    }

    /// As the storage gives it, fewer bytes only where what is held ends, or the file.
    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        match self.in_memory(offset) {
            Some(held) => Ok(held.slice(..len.min(held.len()))),
            None => self.storage.read_at(&self.object, offset, len),
        }
    }

    /// Says that these files will be read so, as [`crate::storage::Storage::announce`] has it.
    pub(super) fn announce<'a>(pieces: impl Iterator<Item = (&'a Self, Range<u64>)>) {
        let mut storage = None;
        let announced = pieces.map(|(chunks, range)| {
            storage.get_or_insert(&chunks.storage);
            (chunks.object.clone(), range)
        });
        let announced: Vec<_> = announced.collect();
        if let Some(storage) = storage {
            storage.announce(&announced);
        }
    }

    /// Leaves the storage's errors in another slot from now on.
    pub(super) fn report_to(&mut self, slot: &Slot) {
        self.slot = slot.clone();
    }

    /// Reads from an offset as much as there is room for, or as there is.
    pub(super) fn read_into(&self, offset: u64, space: &mut [u8]) -> io::Result<usize> {
        let bytes = self.read_at(offset, space.len()).map_err(|error| self.slot.keep(error))?;
        let count = bytes.len().min(space.len());
        if let (Some(to), Some(from)) = (space.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// Reads on from an offset.
#[derive(Debug)]
pub(super) struct ChunkRead {
    chunks: Chunks,
    offset: u64,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.object.size
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<ChunkRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(HEADER_BYTES, ChunkRead { chunks: self.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = self.read_at(start, length).map_err(|error| self.slot.keep(error))?;
        if bytes.len() < length {
            bytes =
                self.storage.read_at(&self.object, start, length).map_err(|error| self.slot.keep(error))?;
        }
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("the file ends {} bytes early", length - bytes.len())));
        }
        Ok(bytes)
    }
}

impl Read for ChunkRead {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let count = self.chunks.read_into(self.offset, space)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl ParquetIn {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// The storage's, and [`LerobotError::Damaged`] for what is no Parquet file.
    pub fn open(storage: &SharedStorage, key: &str) -> Result<Self, LerobotError> {
        let chunks = Chunks::open(storage, key)?;
        let slot = chunks.slot.clone();
        let footer = ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::default())
            .map_err(|error| slot.explain(key, format!("no readable Parquet file: {error}")))?;
        Ok(Self { key: key.to_owned(), chunks, footer, slot })
    }

    /// The file.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.chunks.object.size
    }

    /// The file's bytes.
    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The columns as Arrow has them.
    pub fn schema(&self) -> &SchemaRef {
        self.footer.schema()
    }

    /// The footer.
    pub fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    /// A value of the key-value metadata.
    pub fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata().file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == key)?.value.as_deref()
    }

    /// Reads all rows, at most `batch_rows` at a time; only the columns that `wanted` takes by their name.
    ///
    /// # Errors
    /// [`LerobotError::Damaged`] when the columns cannot be read.
    pub fn batches(&self, batch_rows: usize, wanted: impl Fn(&str) -> bool) -> Result<Batches, LerobotError> {
        self.read(None, batch_rows, wanted)
    }

    /// As [`ParquetIn::batches`], only the rows of one row group.
    ///
    /// # Errors
    /// [`LerobotError::Damaged`] when the columns cannot be read.
    pub fn group_batches(
        &self,
        group: usize,
        batch_rows: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Batches, LerobotError> {
        self.read(Some(group), batch_rows, wanted)
    }

    fn read(
        &self,
        group: Option<usize>,
        batch_rows: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Batches, LerobotError> {
        let roots = self.schema().fields().iter().enumerate();
        let roots: Vec<usize> = roots.filter(|(_, field)| wanted(field.name())).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(self.metadata().file_metadata().schema_descr(), roots);
        let columns = group.and_then(|group| self.metadata().row_groups().get(group));
        let columns = columns.map(|group| group.columns()).unwrap_or_default().iter().enumerate();
        let wanted = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
        let ranges = wanted.filter_map(|(_, column)| pages_of(column)).collect();
        let chunks = self.chunks.clone().hold(ranges)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.footer.clone());
        let mut builder = builder.with_projection(mask).with_batch_size(batch_rows.max(1));
        if let Some(group) = group {
            builder = builder.with_row_groups(vec![group]);
        }
        let reader = builder.build().map_err(|error| self.slot.explain(&self.key, error))?;
        Ok(Batches { key: self.key.clone(), slot: self.slot.clone(), reader })
    }
}

/// Where the pages of a column chunk lie; none where the footer says nonsense, which reading it finds out.
fn pages_of(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let (start, bytes) = (u64::try_from(start).ok()?, u64::try_from(column.compressed_size()).ok()?);
    Some(start..start.checked_add(bytes)?)
}

/// Rows, batch by batch.
pub struct Batches {
    key: String,
    slot: Slot,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, LerobotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| self.slot.explain(&self.key, error)))
    }
}
