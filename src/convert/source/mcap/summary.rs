//! Reads the summary at a recording's end: topics, counts and where the chunks lie, in two or three ranged reads.
//! A summary that is absent, broken or not enough is no error: the file is scanned then.

use super::super::SourceError;
use super::super::catalog::{Catalog, Channels, Stretch};
use super::super::chunk::MAX_CHUNK_BYTES;
use super::super::file::File;
use super::super::metadata::Metadata;
use super::record::{self, PREFIX_BYTES};
use ::mcap::MAGIC;
use ::mcap::records::{ChunkIndex, Record, Statistics, op};

/// A summary may be this large.
const MAX_SUMMARY_BYTES: u64 = 256 << 20;
/// Read at once from the end of the file: most summaries fit.
const TAIL_BYTES: u64 = 64 << 10;
/// Start of the summary, start of its offsets, checksum.
const FOOTER_BODY_BYTES: u64 = 20;
const FOOTER_BYTES: u64 = PREFIX_BYTES as u64 + FOOTER_BODY_BYTES;

/// What the summary tells, or why it cannot be used.
///
/// Not by `mcap::sans_io::SummaryReader`: it checks no checksum, and parses strings of any claimed length.
pub(crate) fn read(file: &File) -> Result<Result<Catalog, String>, SourceError> {
    let end_bytes = FOOTER_BYTES + MAGIC.len() as u64;
    if file.size() < end_bytes + MAGIC.len() as u64 {
        return Ok(Err("the file ends before its footer".to_owned()));
    }
    let tail_start = file.size().saturating_sub(TAIL_BYTES);
    let tail = file.range(tail_start..file.size())?;
    let Some(records) = tail.strip_suffix(MAGIC) else {
        return Ok(Err("the file does not end as an MCAP file ends".to_owned()));
    };
    let footer = usize::try_from(FOOTER_BYTES)
        .ok()
        .and_then(|len| records.len().checked_sub(len))
        .and_then(|from| record::at(records, from))
        .and_then(record::parse);
    let Some(Record::Footer(footer)) = footer else {
        return Ok(Err("its footer is damaged".to_owned()));
    };
    let footer_start = file.size() - end_bytes;
    if footer.summary_start == 0 {
        return Ok(Err("it has no summary".to_owned()));
    }
    if footer.summary_start < MAGIC.len() as u64 || footer.summary_start > footer_start {
        return Ok(Err("its footer points outside of the file".to_owned()));
    }
    if footer_start - footer.summary_start > MAX_SUMMARY_BYTES {
        return Ok(Err(format!("its summary is over the limit of {MAX_SUMMARY_BYTES} bytes")));
    }
    // The checksum covers the footer but for the checksum itself.
    let covered = footer.summary_start..file.size() - MAGIC.len() as u64 - 4;
    let bytes = match covered.start.checked_sub(tail_start).and_then(|from| usize::try_from(from).ok()) {
        Some(from) => tail.slice(from..tail.len() - MAGIC.len() - 4),
        None => file.range(covered)?,
    };
    if footer.summary_crc != 0 && footer.summary_crc != crc32fast::hash(&bytes) {
        return Ok(Err("the checksum of its summary does not fit".to_owned()));
    }
    let len = usize::try_from(footer_start - footer.summary_start).unwrap_or(0);
    Ok(parse(bytes.get(..len).unwrap_or_default(), footer.summary_start))
}

fn parse(summary: &[u8], data_end: u64) -> Result<Catalog, String> {
    let mut channels = Channels::default();
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut statistics = None;
    let mut metadata = Metadata::default();
    for framed in record::Records::of(summary) {
        let framed = framed.map_err(|_| "a record of its summary does not fit".to_owned())?;
        if framed.opcode == op::METADATA_INDEX {
            metadata.add_index(framed.body).ok_or_else(|| "a record of its summary is damaged".to_owned())?;
            continue;
        }
        match record::parse(framed).ok_or_else(|| "a record of its summary is damaged".to_owned())? {
            Record::ChunkIndex(index) => stretches.push(
                stretch(index)
                    .ok_or_else(|| "its summary has a chunk of a size that cannot be".to_owned())?,
            ),
            Record::Statistics(counted) => statistics = Some(counted),
            record => channels.add(record)?,
        }
    }
    let statistics = statistics.ok_or_else(|| "its summary has no statistics".to_owned())?;
    enough(&statistics, &channels, stretches.len())?;
    stretches.sort_by_key(|s| s.range.start);
    let mut free_from = MAGIC.len() as u64;
    for stretch in &stretches {
        if stretch.range.start < free_from {
            return Err("its summary has chunks that lie over each other".to_owned());
        }
        free_from = stretch.index.as_ref().map_or(stretch.range.end, |index| index.end);
        if free_from > data_end {
            return Err("its summary has chunks beyond the file's data".to_owned());
        }
    }
    let mut catalog = channels.into_catalog(&statistics.channel_message_counts);
    catalog.indexed = stretches.iter().all(|s| s.index.is_some());
    catalog.stretches = stretches;
    metadata.unlisted |= u32::try_from(metadata.count()) != Ok(statistics.metadata_count);
    catalog.metadata = metadata;
    Ok(catalog)
}

/// Whether the summary tells all that a scan would.
fn enough(statistics: &Statistics, channels: &Channels, chunks: usize) -> Result<(), String> {
    if u32::try_from(chunks) != Ok(statistics.chunk_count) {
        return Err("its summary does not list all chunks".to_owned());
    }
    if u32::try_from(channels.len()) != Ok(statistics.channel_count) {
        return Err("its summary does not list all channels".to_owned());
    }
    let counted = statistics.channel_message_counts.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    if counted != statistics.message_count {
        return Err("its summary does not count the messages of each channel".to_owned());
    }
    if statistics.message_count > 0 && chunks == 0 {
        return Err("its messages are not in chunks".to_owned());
    }
    Ok(())
}

fn stretch(chunk: ChunkIndex) -> Option<Stretch> {
    let end = chunk.chunk_start_offset.checked_add(chunk.chunk_length)?;
    let index_end = end.checked_add(chunk.message_index_length)?;
    if chunk.chunk_length < PREFIX_BYTES as u64 || chunk.message_index_length > MAX_CHUNK_BYTES {
        return None;
    }
    let channels: Vec<u16> = chunk.message_index_offsets.into_keys().collect();
    let indexed = chunk.message_index_length > 0 && !channels.is_empty();
    Some(Stretch {
        range: chunk.chunk_start_offset..end,
        is_chunk: true,
        index: indexed.then_some(end..index_end),
        channels: indexed.then_some(channels),
    })
}
