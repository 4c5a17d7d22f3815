//! Reads the index section at a bag's end: connections, and where the chunks lie, in three ranged reads. One that is
//! absent or not enough is no error: the file is scanned then.

use super::super::SourceError;
use super::super::catalog::{Catalog, Channels, Stretch};
use super::super::chunk::MAX_CHUNK_BYTES;
use super::super::file::File;
use super::MAGIC;
use super::connections::Connections;
use super::record::{self, Op, index_record_bytes};
use std::collections::BTreeMap;

/// The first record with its padding, and then some.
const HEAD_BYTES: u64 = 8 << 10;
/// An index section may be this large.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// What the index section tells, or why it cannot be used.
pub(super) fn read(file: &File) -> Result<Result<Catalog, String>, SourceError> {
    let head = file.range(0..file.size().min(HEAD_BYTES))?;
    let framed = record::at(&head, MAGIC.len()).filter(|framed| framed.op() == Some(Op::BagHeader));
    let Some(framed) = framed else {
        return Ok(Err("its first record is damaged".to_owned()));
    };
    if let Some(encryptor) = framed.header("encryptor").filter(|name| !name.is_empty()) {
        let name: String = String::from_utf8_lossy(encryptor).chars().take(40).collect();
        let reason = format!("the bag is encrypted by {name}, which is not read; decrypt it first");
        return Err(SourceError::NotARecording { file: file.name().to_owned(), reason });
    }
    let counts = (framed.u32("conn_count"), framed.u32("chunk_count"));
    let start = framed.u64("index_pos").unwrap_or(0);
    if start == 0 {
        return Ok(Err("it has no index: its recorder did not end well".to_owned()));
    }
    if start < framed.end as u64 || start > file.size() {
        return Ok(Err("its index lies outside of the file".to_owned()));
    }
    if file.size() - start > MAX_INDEX_BYTES {
        return Ok(Err(format!("its index is over the limit of {MAX_INDEX_BYTES} bytes")));
    }
    let index = file.range(start..file.size())?;
    Ok(parse(&index, start, counts))
}

/// `start` is where the index begins in the file, and the last chunk ends.
fn parse(index: &[u8], start: u64, counts: (Option<u32>, Option<u32>)) -> Result<Catalog, String> {
    let (mut channels, mut connections) = (Channels::default(), Connections::default());
    let mut chunks: Vec<(u64, Vec<(u16, u64)>)> = Vec::new();
    let mut offset = 0;
    while offset < index.len() {
        let framed = record::at(index, offset).ok_or("a record of its index does not fit")?;
        match framed.op() {
            Some(Op::Connection) => connections.add(&framed, &mut channels)?,
            Some(Op::ChunkInfo) => {
                chunks.push(framed.chunk_info().ok_or("a record of its index is damaged")?);
            }
            _ => {}
        }
        offset = framed.end;
    }
    let listed = (u32::try_from(channels.len()).ok(), u32::try_from(chunks.len()).ok());
    if listed != counts {
        return Err("its index does not list all connections and chunks".to_owned());
    }
    chunks.sort_unstable_by_key(|(position, _)| *position);
    let mut messages: BTreeMap<u16, u64> = BTreeMap::new();
    let mut stretches = Vec::with_capacity(chunks.len());
    let ends: Vec<u64> = chunks.iter().skip(1).map(|(position, _)| *position).chain([start]).collect();
    for ((position, counts), end) in chunks.into_iter().zip(ends) {
        for (connection, count) in &counts {
            if !channels.knows(*connection) {
                return Err("its index counts messages of a connection that it does not list".to_owned());
            }
            let sum = messages.entry(*connection).or_default();
            *sum = sum.saturating_add(*count);
        }
        stretches.push(stretch(position, end, counts).ok_or("its index has a chunk that cannot be")?);
    }
    let mut catalog = channels.into_catalog(&messages);
    catalog.indexed = true;
    catalog.stretches = stretches;
    Ok(catalog)
}

/// A chunk and the index records behind it: from its position to the next chunk's.
fn stretch(position: u64, end: u64, counts: Vec<(u16, u64)>) -> Option<Stretch> {
    let indexes = counts.iter().fold(0_u64, |sum, (_, n)| sum.saturating_add(index_record_bytes(*n)));
    let index = end.checked_sub(indexes).filter(|index| *index > position)?;
    if position < MAGIC.len() as u64 || end - position > MAX_CHUNK_BYTES {
        return None;
    }
    let mut channels: Vec<u16> = counts.into_iter().map(|(connection, _)| connection).collect();
    channels.sort_unstable();
    Some(Stretch { range: position..end, is_chunk: true, index: Some(index..end), channels: Some(channels) })
}
