//! One stretch of a recording in memory: a chunk decompressed and checked, or messages that stand outside of chunks.

use super::SourceError;
use super::catalog::Stretch;
use super::record::{self, Framed, MessageRecord, PREFIX_BYTES};
use bytes::Bytes;
use mcap::records::{Record, op};
use std::io::Read;

/// A chunk may be this large, compressed or not.
pub(crate) const MAX_CHUNK_BYTES: u64 = 256 << 20;

const _: () = assert!(MAX_CHUNK_BYTES <= u32::MAX as u64, "offsets into a chunk are 32 bits");

/// The records of a stretch.
#[derive(Debug)]
pub(crate) struct Chunk {
    body: Body,
    /// Where the stretch begins in the file, for messages.
    at: u64,
}

#[derive(Debug)]
enum Body {
    /// As read.
    Plain(Bytes),
    Decompressed(Vec<u8>),
}

impl Chunk {
    /// Takes a stretch as it was read from the file. `spare` is a buffer to reuse.
    pub(crate) fn from_bytes(
        file: &str,
        stretch: &Stretch,
        bytes: Bytes,
        spare: Vec<u8>,
    ) -> Result<Self, SourceError> {
        let at = stretch.range.start;
        if !stretch.is_chunk {
            return Ok(Self { body: Body::Plain(bytes), at });
        }
        let damaged = |reason: &str| SourceError::Damaged {
            file: file.to_owned(),
            offset: at,
            reason: reason.to_owned(),
        };
        let framed = record::at(&bytes, 0)
            .filter(|f| f.opcode == op::CHUNK && f.body.len() + PREFIX_BYTES == bytes.len())
            .ok_or_else(|| damaged("no chunk stands where one should"))?;
        let Some(Record::Chunk { header, data: packed }) = record::parse(framed) else {
            return Err(damaged("its chunk header does not fit its record"));
        };
        if header.uncompressed_size > MAX_CHUNK_BYTES {
            return Err(too_large(file, at, header.uncompressed_size));
        }
        let size = usize::try_from(header.uncompressed_size)
            .map_err(|_| damaged("its size does not fit in memory"))?;
        let body = match header.compression.as_str() {
            "" if packed.len() != size => {
                return Err(damaged("an uncompressed chunk whose two sizes differ"));
            }
            "" => Body::Plain(bytes.slice_ref(&packed)),
            name @ ("zstd" | "lz4") => Body::Decompressed(
                decompress(name, &packed, size, spare)
                    .map_err(|e| damaged(&format!("its {name} data: {e}")))?,
            ),
            other => {
                return Err(SourceError::Compression {
                    file: file.to_owned(),
                    offset: at,
                    compression: other.chars().take(40).collect(),
                });
            }
        };
        let chunk = Self { body, at };
        if header.uncompressed_crc != 0 && header.uncompressed_crc != crc32fast::hash(chunk.bytes()) {
            return Err(damaged("its checksum does not fit its data"));
        }
        Ok(chunk)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Plain(bytes) => bytes,
            Body::Decompressed(bytes) => bytes,
        }
    }

    /// Its buffer, to be used again.
    pub(crate) fn into_spare(self) -> Vec<u8> {
        match self.body {
            Body::Plain(_) => Vec::new(),
            Body::Decompressed(bytes) => bytes,
        }
    }

    /// Each record in it.
    pub(crate) fn records<'a>(
        &'a self,
        file: &'a str,
    ) -> impl Iterator<Item = Result<Framed<'a>, SourceError>> + 'a {
        record::Records::of(self.bytes()).map(move |framed| {
            framed.map_err(|inner| self.damaged(file, inner, "a record does not fit in its chunk"))
        })
    }

    /// The message of a record of [`Chunk::records`]; none for other records.
    pub(crate) fn message<'a>(
        &self,
        file: &str,
        framed: Framed<'a>,
    ) -> Result<Option<MessageRecord<'a>>, SourceError> {
        if framed.opcode != op::MESSAGE {
            return Ok(None);
        }
        record::message(framed.body)
            .map(Some)
            .ok_or_else(|| self.damaged(file, framed.offset, "a message too short for its header"))
    }

    /// The message at an offset that an index gave.
    pub(crate) fn message_at(&self, file: &str, offset: u32) -> Result<MessageRecord<'_>, SourceError> {
        let offset = offset as usize;
        let framed = record::at(self.bytes(), offset)
            .ok_or_else(|| self.damaged(file, offset, "the index points to no record"))?;
        self.message(file, framed)?
            .ok_or_else(|| self.damaged(file, offset, "the index points to a record that is no message"))
    }

    pub(crate) fn damaged(&self, file: &str, inner: usize, reason: &str) -> SourceError {
        SourceError::Damaged {
            file: file.to_owned(),
            offset: self.at,
            reason: format!("{reason} (byte {inner} of the chunk)"),
        }
    }
}

pub(crate) fn too_large(file: &str, offset: u64, size: u64) -> SourceError {
    SourceError::TooLarge {
        file: file.to_owned(),
        offset,
        reason: format!("a chunk of {size} bytes is over the limit of {MAX_CHUNK_BYTES}"),
    }
}

/// Decompresses exactly `size` bytes. Whatever follows them is ignored, as padded chunks exist.
fn decompress(name: &str, packed: &[u8], size: usize, mut out: Vec<u8>) -> std::io::Result<Vec<u8>> {
    /// What a hostile size may reserve before the data bears it out.
    const FIRST_RESERVE_BYTES: usize = 8 << 20;
    out.clear();
    out.reserve(size.min(FIRST_RESERVE_BYTES));
    let limit = size as u64;
    let read = match name {
        "lz4" => lz4::Decoder::new(packed)?.take(limit).read_to_end(&mut out)?,
        _ => zstd::stream::read::Decoder::with_buffer(packed)?.take(limit).read_to_end(&mut out)?,
    };
    if read == size {
        Ok(out)
    } else {
        Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            format!("{read} bytes came out, not {size}"),
        ))
    }
}
