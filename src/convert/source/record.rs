//! MCAP records out of bytes: framing and the fields that conversion needs. No IO, and no allocation beyond the bytes
//! at hand (the `mcap` crate's own record parser reserves what a hostile length asks for).
//!
//! Format rules: <https://mcap.dev/spec>.

use bytes::Bytes;
use std::collections::BTreeMap;

/// Opcode and length in front of each record.
pub(crate) const PREFIX_BYTES: usize = 9;

/// Reads little-endian fields off the front.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn string(&mut self) -> Option<String> {
        std::str::from_utf8(self.prefixed()?).ok().map(str::to_owned)
    }
}

/// One record in a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framed<'a> {
    /// Where it begins in the buffer.
    pub(crate) offset: usize,
    pub(crate) opcode: u8,
    pub(crate) body: &'a [u8],
}

/// The record at `offset`; none when it does not fit in the buffer.
pub(crate) fn at(buffer: &[u8], offset: usize) -> Option<Framed<'_>> {
    let mut fields = Fields(buffer.get(offset..)?);
    let opcode = fields.take(1)?.first().copied()?;
    let len = usize::try_from(fields.u64()?).ok()?;
    Some(Framed { offset, opcode, body: fields.take(len)? })
}

/// The records of a buffer, one after the other; the error is the offset of one that does not fit.
pub(crate) struct Records<'a> {
    buffer: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn of(buffer: &'a [u8]) -> Self {
        Self { buffer, offset: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Framed<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.buffer.len() {
            return None;
        }
        let Some(framed) = at(self.buffer, self.offset) else {
            let offset = self.offset;
            self.offset = self.buffer.len();
            return Some(Err(offset));
        };
        self.offset = self.offset.saturating_add(PREFIX_BYTES).saturating_add(framed.body.len());
        Some(Ok(framed))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaRecord {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) encoding: String,
    pub(crate) data: Bytes,
}

pub(crate) fn schema(body: &[u8]) -> Option<SchemaRecord> {
    let mut f = Fields(body);
    Some(SchemaRecord {
        id: f.u16()?,
        name: f.string()?,
        encoding: f.string()?,
        data: Bytes::copy_from_slice(f.prefixed()?),
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRecord {
    pub(crate) id: u16,
    pub(crate) schema_id: u16,
    pub(crate) topic: String,
    pub(crate) message_encoding: String,
}

/// Its metadata is of no use here and is not read.
pub(crate) fn channel(body: &[u8]) -> Option<ChannelRecord> {
    let mut f = Fields(body);
    Some(ChannelRecord {
        id: f.u16()?,
        schema_id: f.u16()?,
        topic: f.string()?,
        message_encoding: f.string()?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) channel: u16,
    pub(crate) log_ns: u64,
    pub(crate) publish_ns: u64,
    pub(crate) data: &'a [u8],
}

pub(crate) fn message(body: &[u8]) -> Option<MessageRecord<'_>> {
    let mut f = Fields(body);
    let channel = f.u16()?;
    let _sequence = f.u32()?;
    Some(MessageRecord { channel, log_ns: f.u64()?, publish_ns: f.u64()?, data: f.0 })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkRecord<'a> {
    pub(crate) uncompressed_size: u64,
    /// 0: not given.
    pub(crate) crc: u32,
    pub(crate) compression: &'a str,
    /// Where the compressed bytes lie in the body.
    pub(crate) records: std::ops::Range<usize>,
}

pub(crate) fn chunk(body: &[u8]) -> Option<ChunkRecord<'_>> {
    let mut f = Fields(body);
    let _times = f.take(16)?;
    let uncompressed_size = f.u64()?;
    let crc = f.u32()?;
    let compression = std::str::from_utf8(f.prefixed()?).ok()?;
    let len = usize::try_from(f.u64()?).ok()?;
    let start = body.len() - f.0.len();
    f.take(len)?;
    Some(ChunkRecord { uncompressed_size, crc, compression, records: start..start + len })
}

/// Log time and offset of each message of a channel in a chunk.
pub(crate) fn message_index(body: &[u8]) -> Option<(u16, impl Iterator<Item = (u64, u64)>)> {
    let mut f = Fields(body);
    let channel = f.u16()?;
    let entries = f.prefixed()?;
    if !entries.len().is_multiple_of(16) {
        return None;
    }
    Some((
        channel,
        entries.chunks_exact(16).filter_map(|entry| {
            let mut f = Fields(entry);
            Some((f.u64()?, f.u64()?))
        }),
    ))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkIndexRecord {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) channels: Vec<u16>,
    pub(crate) index_length: u64,
}

pub(crate) fn chunk_index(body: &[u8]) -> Option<ChunkIndexRecord> {
    let mut f = Fields(body);
    let _times = f.take(16)?;
    let (start, length) = (f.u64()?, f.u64()?);
    let offsets = f.prefixed()?;
    if !offsets.len().is_multiple_of(10) {
        return None;
    }
    let channels = offsets.chunks_exact(10).filter_map(|entry| Fields(entry).u16()).collect();
    Some(ChunkIndexRecord { start, length, channels, index_length: f.u64()? })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatisticsRecord {
    pub(crate) messages: u64,
    pub(crate) channels: u32,
    pub(crate) chunks: u32,
    pub(crate) by_channel: BTreeMap<u16, u64>,
}

pub(crate) fn statistics(body: &[u8]) -> Option<StatisticsRecord> {
    let mut f = Fields(body);
    let messages = f.u64()?;
    let _schemas = f.u16()?;
    let channels = f.u32()?;
    let _attachments_and_metadata = f.take(8)?;
    let chunks = f.u32()?;
    let _times = f.take(16)?;
    let counts = f.prefixed()?;
    let by_channel = counts
        .chunks_exact(10)
        .filter_map(|entry| {
            let mut f = Fields(entry);
            Some((f.u16()?, f.u64()?))
        })
        .collect();
    Some(StatisticsRecord { messages, channels, chunks, by_channel })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FooterRecord {
    pub(crate) summary_start: u64,
    /// 0: not given.
    pub(crate) summary_crc: u32,
}

pub(crate) fn footer(body: &[u8]) -> Option<FooterRecord> {
    let mut f = Fields(body);
    let summary_start = f.u64()?;
    let _offsets_start = f.u64()?;
    Some(FooterRecord { summary_start, summary_crc: f.u32()? })
}
