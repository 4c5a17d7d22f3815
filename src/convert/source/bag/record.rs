//! A bag's records out of bytes: a header of named fields, then data. No IO, and no allocation beyond the bytes at hand.

use super::super::chunk::MessageRecord;
use super::super::fields::Fields;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Message,
    BagHeader,
    IndexData,
    Chunk,
    ChunkInfo,
    Connection,
}

/// One record in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed<'a> {
    fields: &'a [u8],
    /// Its data.
    pub(super) data: &'a [u8],
    /// Where it ends in the buffer.
    pub(super) end: usize,
}

/// The record at `offset`; none when it does not fit in the buffer.
pub(super) fn at(buffer: &[u8], offset: usize) -> Option<Framed<'_>> {
    let mut rest = Fields(buffer.get(offset..)?);
    let (fields, data) = (rest.prefixed()?, rest.prefixed()?);
    Some(Framed { fields, data, end: buffer.len() - rest.0.len() })
}

/// The value of a field among `name=value` fields, each behind its length.
pub(super) fn field<'a>(fields: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = Fields(fields);
    while !rest.0.is_empty() {
        let value = rest.prefixed()?.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        if value.is_some() {
            return value;
        }
    }
    None
}

impl<'a> Framed<'a> {
    /// What it is; none for what newer writers may add.
    pub(super) fn op(&self) -> Option<Op> {
        match self.header("op")? {
            [2] => Some(Op::Message),
            [3] => Some(Op::BagHeader),
            [4] => Some(Op::IndexData),
            [5] => Some(Op::Chunk),
            [6] => Some(Op::ChunkInfo),
            [7] => Some(Op::Connection),
            _ => None,
        }
    }

    /// A field of its header.
    pub(super) fn header(&self, name: &str) -> Option<&'a [u8]> {
        field(self.fields, name)
    }

    pub(super) fn u32(&self, name: &str) -> Option<u32> {
        self.header(name)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, name: &str) -> Option<u64> {
        self.header(name)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// The connection it is about. Writers number them from 0 on.
    pub(super) fn connection(&self) -> Option<u16> {
        self.u32("conn")?.try_into().ok()
    }

    /// Of a message record. A bag knows one time of a message: when it was received.
    pub(super) fn message(&self) -> Option<MessageRecord<'a>> {
        let stamp_ns = nanoseconds(&mut Fields(self.header("time")?))?;
        let channel = self.connection()?;
        Some(MessageRecord { channel, log_ns: stamp_ns, publish_ns: stamp_ns, data: self.data })
    }

    /// Of an index record: its connection, and time and offset of each message.
    pub(super) fn index_data(&self) -> Option<(u16, impl Iterator<Item = (u64, u64)> + 'a)> {
        let count = usize::try_from(self.u32("count")?).ok()?;
        if self.u32("ver")? != 1 || self.data.len() != count.checked_mul(INDEX_ENTRY_BYTES)? {
            return None;
        }
        let entries = self.data.chunks_exact(INDEX_ENTRY_BYTES).filter_map(|entry| {
            let mut entry = Fields(entry);
            Some((nanoseconds(&mut entry)?, u64::from(entry.u32()?)))
        });
        Some((self.connection()?, entries))
    }

    /// Of a chunk info record: where the chunk begins, and how many messages of each connection are in it.
    pub(super) fn chunk_info(&self) -> Option<(u64, Vec<(u16, u64)>)> {
        let count = usize::try_from(self.u32("count")?).ok()?;
        if self.u32("ver")? != 1 || self.data.len() != count.checked_mul(8)? {
            return None;
        }
        let pair = |entry: &[u8]| {
            let mut entry = Fields(entry);
            Some((u16::try_from(entry.u32()?).ok()?, u64::from(entry.u32()?)))
        };
        let counts = self.data.chunks_exact(8).map(pair).collect::<Option<Vec<_>>>()?;
        Some((self.u64("chunk_pos")?, counts))
    }
}

/// Time and offset.
const INDEX_ENTRY_BYTES: usize = 12;

/// How long an index record of so many messages is, as every known writer lays it out.
pub(super) fn index_record_bytes(messages: u64) -> u64 {
    /// Two lengths, and the fields op, ver, conn and count, each behind its length.
    const FIXED_BYTES: u64 = 4 + 4 + (4 + 4) + (4 + 8) + (4 + 9) + (4 + 10);
    FIXED_BYTES.saturating_add(messages.saturating_mul(INDEX_ENTRY_BYTES as u64))
}

/// A time: seconds and nanoseconds, 32 bits each.
fn nanoseconds(fields: &mut Fields<'_>) -> Option<u64> {
    let (seconds, nanos) = (fields.u32()?, fields.u32()?);
    Some(u64::from(seconds) * 1_000_000_000 + u64::from(nanos))
}
