//! A Parquet file made of others' column chunks: bytes that are encoded already are copied, the rest is encoded.
//!
//! Image bytes make nearly all of a dataset. In staging they stand in pages that need no other page to be read: without
//! a dictionary, and compressed already. So the pages of several staged row groups, one behind the other, are a column
//! chunk of the data file as they are. It knows no feature and no layout.

use super::error::LerobotError;
use super::file_pages::FilePages;
use super::parquet_file::{Chunks, ParquetIn, Sink, Slot};
use crate::storage::SharedStorage;
use arrow::array::{ArrayRef, StructArray, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;
use std::io::{self, Read};
use std::sync::Arc;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 1024 * 1024;

/// One top-level column of a row group.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// Values to encode, array after array.
    Values(Vec<ArrayRef>),
    /// A struct whose first part is copied, and whose others are null.
    Spliced(Splice),
    /// A struct whose first part are these files, and whose others are null.
    Files(&'a [&'a [u8]]),
}

/// Encoded pages of one leaf column, from several files.
#[derive(Debug, Default)]
pub(super) struct Splice {
    pieces: Vec<Piece>,
    rows: usize,
}

/// The pages of one column chunk.
#[derive(Debug)]
struct Piece {
    chunks: Chunks,
    start: u64,
    bytes: u64,
    metadata: ColumnChunkMetaData,
}

impl Splice {
    /// Adds the chunk of leaf column `leaf` in row group `group`.
    ///
    /// # Errors
    /// [`LerobotError::Damaged`] for a chunk that cannot stand behind another one.
    pub(super) fn add(&mut self, file: &ParquetIn, group: usize, leaf: usize) -> Result<(), LerobotError> {
        let damaged =
            |what: &str| LerobotError::damaged(file.key(), format!("{what}: convert the recording again"));
        let found = file.metadata().row_groups().get(group);
        let metadata = found.and_then(|group| group.columns().get(leaf)).cloned();
        let metadata = metadata.ok_or_else(|| damaged("a column's pages are missing"))?;
        if metadata.dictionary_page_offset().is_some() {
            return Err(damaged("its images stand in a dictionary"));
        }
        let first = self.pieces.first().map(|piece| &piece.metadata);
        if first.is_some_and(|first| first.compression_codec() != metadata.compression_codec()) {
            return Err(damaged("its images are compressed in another way than those before"));
        }
        let rows = found.and_then(|group| usize::try_from(group.num_rows()).ok()).unwrap_or_default();
        let place = (u64::try_from(metadata.data_page_offset()), u64::try_from(metadata.compressed_size()));
        let (Ok(start), Ok(bytes)) = place else { return Err(damaged("a column's pages lie nowhere")) };
        if start.saturating_add(bytes) > file.size() || i64::try_from(rows) != Ok(metadata.num_values()) {
            return Err(damaged("a column's pages do not fit its rows"));
        }
        self.rows += rows;
        self.pieces.push(Piece { chunks: file.chunks().clone(), start, bytes, metadata });
        Ok(())
    }

    fn close(&self, column: ColumnDescPtr) -> Result<ColumnCloseResult, ParquetError> {
        let sum =
            |of: fn(&ColumnChunkMetaData) -> i64| self.pieces.iter().map(|piece| of(&piece.metadata)).sum();
        let compressed: i64 = sum(ColumnChunkMetaData::compressed_size);
        let unencoded: Option<i64> =
            self.pieces.iter().map(|piece| piece.metadata.unencoded_byte_array_data_bytes()).sum();
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_num_values(sum(ColumnChunkMetaData::num_values))
            .set_total_compressed_size(compressed)
            .set_total_uncompressed_size(sum(ColumnChunkMetaData::uncompressed_size))
            .set_data_page_offset(0)
            .set_unencoded_byte_array_data_bytes(unencoded);
        if let Some(Piece { metadata: first, .. }) = self.pieces.first() {
            metadata = metadata
                .set_compression_codec(first.compression_codec())
                .set_encodings_mask(*first.encodings_mask());
        }
        Ok(ColumnCloseResult {
            bytes_written: compressed.unsigned_abs(),
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        })
    }
}

impl Length for Splice {
    fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

impl ChunkReader for Splice {
    type T = io::BufReader<SpliceRead>;

    /// Only from the beginning: it is copied as a whole.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        if start != 0 {
            return Err(ParquetError::General("a splice is read from its beginning".into()));
        }
        let pieces = self.pieces.iter().rev().map(|piece| (piece.chunks.clone(), piece.start, piece.bytes));
        Ok(io::BufReader::with_capacity(COPY_BYTES, SpliceRead { left: pieces.collect() }))
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("a splice is read from its beginning".into()))
    }
}

/// Reads pieces in order.
#[derive(Debug)]
pub(super) struct SpliceRead {
    /// File, offset and bytes of what is left, the next one last.
    left: Vec<(Chunks, u64, u64)>,
}

impl Read for SpliceRead {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        while self.left.last().is_some_and(|(_, _, bytes)| *bytes == 0) {
            self.left.pop();
        }
        let Some((chunks, offset, bytes)) = self.left.last_mut() else { return Ok(0) };
        let wanted = usize::try_from(*bytes).unwrap_or(usize::MAX).min(space.len());
        let found = chunks.read_into(*offset, space.get_mut(..wanted).unwrap_or_default())?;
        if found == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *offset += found as u64;
        *bytes -= found as u64;
        Ok(found)
    }
}

/// A leaf column ready to be written.
enum Leaf<'a> {
    Encoded(Box<ArrowColumnWriter>),
    Spliced(Splice),
    Files(&'a [&'a [u8]]),
}

/// A Parquet file being written, a row group at a time. Nothing is visible before [`SplicedOut::finish`].
pub(super) struct SplicedOut {
    storage: SharedStorage,
    key: String,
    schema: SchemaRef,
    writer: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    groups: usize,
    slot: Slot,
}

impl SplicedOut {
    /// Starts the file `key`.
    ///
    /// # Errors
    /// The storage's, and a schema that Parquet cannot hold.
    pub(super) fn create(
        storage: &SharedStorage,
        key: &str,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, LerobotError> {
        let slot = Slot::default();
        let sink = Sink::create(storage, key, &slot)?;
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer);
        let (writer, factory) = writer.map_err(|error| slot.explain(key, error))?;
        Ok(Self {
            storage: Arc::clone(storage),
            key: key.to_owned(),
            schema,
            writer,
            factory,
            groups: 0,
            slot,
        })
    }

    /// Writes a row group: one part a column, in their order, all of as many rows.
    ///
    /// # Errors
    /// The storages' that are read and written.
    pub(super) fn write_group(&mut self, parts: Vec<Part<'_>>) -> Result<(), LerobotError> {
        self.try_group(parts).map_err(|error| self.slot.explain(&self.key, error))
    }

    fn try_group(&mut self, parts: Vec<Part<'_>>) -> Result<(), ParquetError> {
        let mut writers = self.factory.create_column_writers(self.groups)?.into_iter();
        let mut leaves = Vec::new();
        announce(&parts);
        for (field, part) in self.schema.fields().iter().zip(parts) {
            match part {
                Part::Values(arrays) => encode(field, &arrays, &mut writers, &mut leaves)?,
                Part::Spliced(mut splice) => {
                    splice.pieces.iter_mut().for_each(|piece| piece.chunks.report_to(&self.slot));
                    let rows = splice.rows;
                    encode_beside(field, rows, Leaf::Spliced(splice), &mut writers, &mut leaves)?;
                }
                Part::Files(files) => {
                    encode_beside(field, files.len(), Leaf::Files(files), &mut writers, &mut leaves)?;
                }
            }
        }
        let columns = self.writer.schema_descr().columns().to_vec();
        let mut group = self.writer.next_row_group()?;
        for (leaf, column) in leaves.into_iter().zip(columns) {
            append(leaf, column, &mut group)?;
        }
        group.close()?;
        self.groups += 1;
        Ok(())
    }

    /// Ends the file: durable and visible when it returns. Gives its size in bytes.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn finish(self) -> Result<u64, LerobotError> {
        let Self { storage, key, writer, slot, .. } = self;
        let sink = writer.into_inner().map_err(|error| slot.explain(&key, error))?;
        sink.finish(&storage, &key)
    }
}

/// Says what will be copied, in its order.
fn announce(parts: &[Part<'_>]) {
    let splices = parts.iter().filter_map(|part| match part {
        Part::Spliced(splice) => Some(splice),
        Part::Values(_) | Part::Files(_) => None,
    });
    let pieces = splices.flat_map(|splice| &splice.pieces);
    Chunks::announce(
        pieces.map(|piece| (&piece.chunks, piece.start..piece.start.saturating_add(piece.bytes))),
    );
}

/// A struct's first part as it is given, and nulls for its others.
fn encode_beside<'a>(
    field: &Field,
    rows: usize,
    first: Leaf<'a>,
    writers: &mut impl Iterator<Item = ArrowColumnWriter>,
    leaves: &mut Vec<Leaf<'a>>,
) -> Result<(), ParquetError> {
    let from = leaves.len();
    encode(field, &[nulls(field, rows)?], writers, leaves)?;
    // What was encoded of the first part, nulls only, gives way.
    if let Some(leaf) = leaves.get_mut(from) {
        *leaf = first;
    }
    Ok(())
}

/// Encodes the values of one column: one writer a leaf.
fn encode(
    field: &Field,
    arrays: &[ArrayRef],
    writers: &mut impl Iterator<Item = ArrowColumnWriter>,
    leaves: &mut Vec<Leaf<'_>>,
) -> Result<(), ParquetError> {
    let mut own: Vec<ArrowColumnWriter> = Vec::new();
    for array in arrays {
        let values = compute_leaves(field, array)?;
        while own.len() < values.len() {
            let missing = || ParquetError::General(format!("the column {} has too many parts", field.name()));
            own.push(writers.next().ok_or_else(missing)?);
        }
        for (writer, values) in own.iter_mut().zip(&values) {
            writer.write(values)?;
        }
    }
    leaves.extend(own.into_iter().map(|writer| Leaf::Encoded(Box::new(writer))));
    Ok(())
}

/// A struct of nulls, that is none itself.
fn nulls(field: &Field, rows: usize) -> Result<ArrayRef, ParquetError> {
    let DataType::Struct(parts) = field.data_type() else {
        return Err(ParquetError::General(format!("the column {} is no struct", field.name())));
    };
    let arrays = parts.iter().map(|part| new_null_array(part.data_type(), rows)).collect();
    Ok(Arc::new(StructArray::try_new(parts.clone(), arrays, None)?))
}

fn append(
    leaf: Leaf<'_>,
    column: ColumnDescPtr,
    group: &mut SerializedRowGroupWriter<'_, Sink>,
) -> Result<(), ParquetError> {
    match leaf {
        Leaf::Encoded(writer) => writer.close()?.append_to_row_group(group),
        Leaf::Spliced(splice) => {
            let close = splice.close(column)?;
            group.append_column(&splice, close)
        }
        Leaf::Files(files) => {
            let pages = FilePages::new(files, &column)?;
            let close = pages.close(column)?;
            group.append_column(&pages, close)
        }
    }
}
