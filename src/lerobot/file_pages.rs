//! The pages of a column of files, made where the files lie: they go from there to the Parquet file, and no copy of the
//! column is held.
//!
//! Source: Apache Parquet's `Encodings.md` (PLAIN byte arrays, RLE levels), `parquet.thrift` (PageHeader), and the compact
//! protocol of Thrift. It knows no feature and no row group.

use bytes::Bytes;
use parquet::basic::{CompressionCodec, Encoding, EncodingMask};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnDescPtr;
use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;

/// A page ends once its values have so many bytes, as by pyarrow and others.
const PAGE_BYTES: usize = 1 << 20;
/// Rows of a page at most.
const PAGE_ROWS: usize = 20_000;
/// What a page's header takes at most.
const HEAD_BYTES_MAX: usize = 64;
/// A length before each value, and before the levels.
const LENGTH_BYTES: usize = 4;

/// A column chunk: each file is a value, none is null.
#[derive(Debug)]
pub(super) struct FilePages<'a> {
    /// Headers, lengths and files, as they follow each other.
    pieces: Arc<[Cow<'a, [u8]>]>,
    rows: usize,
    bytes: u64,
    /// Of the files alone.
    values_bytes: u64,
}

impl<'a> FilePages<'a> {
    /// The pages of these files in the column `column`.
    ///
    /// # Errors
    /// A file, or the page that it is in, is too large for the format.
    pub(super) fn new(files: &[&'a [u8]], column: &ColumnDescPtr) -> Result<Self, ParquetError> {
        let mut pieces: Vec<Cow<'a, [u8]>> = Vec::with_capacity(files.len() * 2 + 1);
        let mut left = files;
        while !left.is_empty() {
            let (page, rest) = left.split_at_checked(page_rows(left)).unwrap_or((left, &[]));
            let mut head = head(page, column.max_def_level())?;
            for file in page {
                // The first one's length stands behind the header.
                head.extend(u32::try_from(file.len()).map_err(|_| too_large())?.to_le_bytes());
                pieces.push(Cow::Owned(std::mem::take(&mut head)));
                pieces.push(Cow::Borrowed(file));
            }
            left = rest;
        }
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let values_bytes = files.iter().map(|file| file.len() as u64).sum();
        Ok(Self { pieces: pieces.into(), rows: files.len(), bytes, values_bytes })
    }

    /// What the file's footer says of it.
    pub(super) fn close(&self, column: ColumnDescPtr) -> Result<ColumnCloseResult, ParquetError> {
        let bytes = i64::try_from(self.bytes).map_err(|_| too_large())?;
        let metadata = ColumnChunkMetaData::builder(column)
            .set_num_values(i64::try_from(self.rows).map_err(|_| too_large())?)
            .set_total_compressed_size(bytes)
            .set_total_uncompressed_size(bytes)
            .set_data_page_offset(0)
            .set_unencoded_byte_array_data_bytes(i64::try_from(self.values_bytes).ok())
            .set_compression_codec(CompressionCodec::UNCOMPRESSED)
            .set_encodings_mask(EncodingMask::new_from_encodings([Encoding::PLAIN, Encoding::RLE].iter()));
        Ok(ColumnCloseResult {
            bytes_written: self.bytes,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        })
    }
}

fn too_large() -> ParquetError {
    ParquetError::General("a file is too large for a page".to_owned())
}

/// How many of the files the next page has.
fn page_rows(files: &[&[u8]]) -> usize {
    let mut bytes = 0_usize;
    let full = files.iter().position(|file| {
        bytes = bytes.saturating_add(file.len() + LENGTH_BYTES);
        bytes >= PAGE_BYTES
    });
    full.map_or(files.len(), |last| last + 1).min(PAGE_ROWS)
}

/// The header of a page, and the levels that say that no value is null.
fn head(files: &[&[u8]], max_def_level: i16) -> Result<Vec<u8>, ParquetError> {
    let mut levels = Vec::new();
    if let Ok(level @ 1..) = u8::try_from(max_def_level) {
        // One run of the same level: its length, and the level in as many bytes as its bits need.
        let mut run = Vec::new();
        varint((files.len() as u64) << 1, &mut run);
        run.push(level);
        levels.extend(u32::try_from(run.len()).map_err(|_| too_large())?.to_le_bytes());
        levels.extend(run);
    }
    let values: usize = files.iter().map(|file| file.len() + LENGTH_BYTES).sum();
    let bytes = i32::try_from(levels.len() + values).map_err(|_| too_large())?;
    let rows = i32::try_from(files.len()).map_err(|_| too_large())?;
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    let number = |step: u8, value: i32, head: &mut Vec<u8>| {
        head.push(step << 4 | thrift::I32);
        varint(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()), head);
    };
    number(1, thrift::DATA_PAGE, &mut head);
    number(1, bytes, &mut head);
    number(1, bytes, &mut head);
    // Field 5, two behind the last: what a data page has beside.
    head.push(2 << 4 | thrift::STRUCT);
    number(1, rows, &mut head);
    number(1, thrift::PLAIN, &mut head);
    number(1, thrift::RLE, &mut head);
    number(1, thrift::RLE, &mut head);
    head.extend([thrift::STOP, thrift::STOP]);
    head.extend(levels);
    Ok(head)
}

/// Types of the compact protocol, and values of the format's enumerations.
mod thrift {
    pub(super) const STOP: u8 = 0;
    pub(super) const I32: u8 = 5;
    pub(super) const STRUCT: u8 = 12;
    pub(super) const DATA_PAGE: i32 = 0;
    pub(super) const PLAIN: i32 = 0;
    pub(super) const RLE: i32 = 3;
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Length for FilePages<'_> {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl<'a> ChunkReader for FilePages<'a> {
    type T = FilePagesRead<'a>;

    /// Only from the beginning: it is written as a whole.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        if start != 0 {
            return Err(ParquetError::General("pages are read from their beginning".into()));
        }
        Ok(FilePagesRead { pieces: Arc::clone(&self.pieces), at: 0, done: 0 })
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("pages are read from their beginning".into()))
    }
}

/// Reads the pieces in their order.
#[derive(Debug)]
pub(super) struct FilePagesRead<'a> {
    pieces: Arc<[Cow<'a, [u8]>]>,
    /// The piece that comes next, and how much of it was read.
    at: usize,
    done: usize,
}

impl Read for FilePagesRead<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let (Some(room), Some(piece)) = (space.get_mut(filled..), self.pieces.get(self.at)) {
            let mut rest = piece.get(self.done..).unwrap_or_default();
            if room.is_empty() {
                break;
            }
            let count = rest.read(room)?;
            (filled, self.done) = (filled + count, self.done + count);
            if rest.is_empty() {
                (self.at, self.done) = (self.at + 1, 0);
            }
        }
        Ok(filled)
    }
}
