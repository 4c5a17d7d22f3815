//! Reads the summary at a recording's end: topics, counts and where the chunks lie, in two or three ranged reads.
//! A summary that is absent, broken or not enough is no error: the file is scanned then.

use super::SourceError;
use super::catalog::{Catalog, Channels, Stretch};
use super::chunk::MAX_CHUNK_BYTES;
use super::file::File;
use super::record::{self, ChunkIndexRecord, PREFIX_BYTES, StatisticsRecord};
use mcap::MAGIC;
use mcap::records::op;

/// A summary may be this large.
const MAX_SUMMARY_BYTES: u64 = 256 << 20;
/// Read at once from the end of the file: most summaries fit.
const TAIL_BYTES: u64 = 64 << 10;
/// Start of the summary, start of its offsets, checksum.
const FOOTER_BODY_BYTES: u64 = 20;
const FOOTER_BYTES: u64 = PREFIX_BYTES as u64 + FOOTER_BODY_BYTES;

/// What the summary tells, or why it cannot be used.
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
        .filter(|f| f.opcode == op::FOOTER)
        .and_then(|f| record::footer(f.body));
    let Some(footer) = footer else {
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
    let mut chunks: Vec<ChunkIndexRecord> = Vec::new();
    let mut statistics = None;
    for framed in record::Records::of(summary) {
        let framed = framed.map_err(|_| "a record of its summary does not fit".to_owned())?;
        let damaged = || "a record of its summary is damaged".to_owned();
        match framed.opcode {
            op::SCHEMA => channels.add_schema(record::schema(framed.body).ok_or_else(damaged)?)?,
            op::CHANNEL => channels.add_channel(record::channel(framed.body).ok_or_else(damaged)?)?,
            op::CHUNK_INDEX => chunks.push(record::chunk_index(framed.body).ok_or_else(damaged)?),
            op::STATISTICS => statistics = Some(record::statistics(framed.body).ok_or_else(damaged)?),
            _ => {}
        }
    }
    let statistics = statistics.ok_or_else(|| "its summary has no statistics".to_owned())?;
    enough(&statistics, &channels, &chunks)?;
    chunks.sort_by_key(|c| c.start);
    let mut stretches: Vec<Stretch> = Vec::with_capacity(chunks.len());
    let mut free_from = MAGIC.len() as u64;
    for chunk in chunks {
        let stretch = stretch(chunk).filter(|s| s.range.start >= free_from);
        let stretch = stretch.ok_or_else(|| "its summary has chunks that lie over each other".to_owned())?;
        free_from = stretch.index.as_ref().map_or(stretch.range.end, |index| index.end);
        if free_from > data_end {
            return Err("its summary has chunks beyond the file's data".to_owned());
        }
        stretches.push(stretch);
    }
    let mut catalog = channels.into_catalog(&statistics.by_channel);
    catalog.indexed = stretches.iter().all(|s| s.index.is_some());
    catalog.stretches = stretches;
    Ok(catalog)
}

/// Whether the summary tells all that a scan would.
fn enough(
    statistics: &StatisticsRecord,
    channels: &Channels,
    chunks: &[ChunkIndexRecord],
) -> Result<(), String> {
    if u32::try_from(chunks.len()) != Ok(statistics.chunks) {
        return Err("its summary does not list all chunks".to_owned());
    }
    if u32::try_from(channels.len()) != Ok(statistics.channels) {
        return Err("its summary does not list all channels".to_owned());
    }
    let counted = statistics.by_channel.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    if counted != statistics.messages {
        return Err("its summary does not count the messages of each channel".to_owned());
    }
    if statistics.messages > 0 && chunks.is_empty() {
        return Err("its messages are not in chunks".to_owned());
    }
    Ok(())
}

fn stretch(chunk: ChunkIndexRecord) -> Option<Stretch> {
    let end = chunk.start.checked_add(chunk.length)?;
    let index_end = end.checked_add(chunk.index_length)?;
    if chunk.length < PREFIX_BYTES as u64 || chunk.index_length > MAX_CHUNK_BYTES {
        return None;
    }
    let mut channels = chunk.channels;
    channels.sort_unstable();
    let indexed = chunk.index_length > 0 && !channels.is_empty();
    Some(Stretch {
        range: chunk.start..end,
        is_chunk: true,
        index: indexed.then_some(end..index_end),
        channels: indexed.then_some(channels),
    })
}
