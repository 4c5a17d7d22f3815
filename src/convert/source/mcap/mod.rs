//! MCAP files: what of reading a recording is peculiar to them.
//!
//! Format rules: <https://mcap.dev/spec>.

pub(super) mod record;
mod scan;
mod summary;

use super::SourceError;
use super::catalog::Catalog;
use super::chunk::{Body, Packing, Step};
use super::file::File;
use crate::convert::StopFlag;
use ::mcap::records::{Record, op};
use bytes::Bytes;
use record::PREFIX_BYTES;

pub(super) use ::mcap::MAGIC;

/// Reads the summary, or scans the file once when there is none to rely on.
pub(super) fn open(file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
    match summary::read(file)? {
        Ok(catalog) => Ok(catalog),
        Err(reason) => Ok(scan::scan(file, stop)?.scanned(file, &reason)),
    }
}

/// A chunk's records, as the file's chunk record holds them.
pub(super) fn unpack(file: &str, at: u64, bytes: &Bytes, spare: Vec<u8>) -> Result<Body, SourceError> {
    let damaged =
        |reason: &str| SourceError::Damaged { file: file.to_owned(), offset: at, reason: reason.to_owned() };
    let framed = record::at(bytes, 0)
        .filter(|f| f.opcode == op::CHUNK && f.body.len() + PREFIX_BYTES == bytes.len())
        .ok_or_else(|| damaged("no chunk stands where one should"))?;
    let Some(Record::Chunk { header, data: packed }) = record::parse(framed) else {
        return Err(damaged("its chunk header does not fit its record"));
    };
    let packing = match header.compression.as_str() {
        "" => Packing::None,
        "zstd" => Packing::Zstd,
        "lz4" => Packing::Lz4,
        other => return Err(SourceError::unsupported_compression(file, at, other)),
    };
    let body = packing.unpack(file, at, bytes.slice_ref(&packed), header.uncompressed_size, spare)?;
    if header.uncompressed_crc != 0 && header.uncompressed_crc != crc32fast::hash(body.bytes()) {
        return Err(damaged("its checksum does not fit its data"));
    }
    Ok(body)
}

/// The record at an offset of a chunk's bytes.
pub(super) fn step(bytes: &[u8], offset: usize) -> Result<Step<'_>, &'static str> {
    let framed = record::at(bytes, offset).ok_or("a record does not fit in its chunk")?;
    let end = offset.saturating_add(PREFIX_BYTES).saturating_add(framed.body.len());
    let message = match framed.opcode {
        op::MESSAGE => Some(record::message(framed.body).ok_or("a message too short for its header")?),
        _ => None,
    };
    Ok(Step { end, message })
}

/// Gives channel, log time and offset of each entry of a chunk's message indexes. None when they do not fit their place.
pub(super) fn entries(bytes: &[u8], take: &mut dyn FnMut(u16, u64, u64)) -> Option<()> {
    for framed in record::Records::of(bytes) {
        let framed = framed.ok().filter(|framed| framed.opcode == op::MESSAGE_INDEX)?;
        let (channel, entries) = record::message_index(framed.body)?;
        entries.for_each(|(stamp_ns, offset)| take(channel, stamp_ns, offset));
    }
    Some(())
}
