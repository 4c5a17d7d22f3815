//! MCAP records out of bytes: framing, and the `mcap` crate's parser behind a check of lengths. No IO, and no allocation
//! beyond the bytes at hand.
//!
//! Messages and their index entries, of which a recording has millions, are read in place: measured, the crate's parser
//! takes over ten times as long for each, and reserves an array for each index.
//!
//! Format rules: <https://mcap.dev/spec>.

use super::super::chunk::MessageRecord;
use super::super::fields::Fields;
use ::mcap::records::{Record, op};
use std::borrow::Cow;

/// Opcode and length in front of each record.
pub(crate) const PREFIX_BYTES: usize = 9;

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

/// A record by the `mcap` crate's parser: of the kinds that come once a file or once a chunk, and [`Record::Unknown`]
/// for all others. None when it is damaged.
pub(crate) fn parse(framed: Framed<'_>) -> Option<Record<'_>> {
    let Framed { opcode, body, .. } = framed;
    match opcode {
        op::SCHEMA | op::CHANNEL | op::CHUNK | op::CHUNK_INDEX => strings_fit(opcode, body)?,
        op::STATISTICS | op::FOOTER => {}
        _ => return Some(Record::Unknown { opcode, data: Cow::Borrowed(body) }),
    }
    ::mcap::parse_record(opcode, body).ok()
}

/// Whether each string lies within its record: the crate reserves whatever a string's length says before it looks for
/// its bytes, which under a memory limit ends the process. Arrays end on whole entries, or the crate reads past them.
fn strings_fit(opcode: u8, body: &[u8]) -> Option<()> {
    let mut f = Fields(body);
    match opcode {
        op::SCHEMA => {
            f.take(2)?;
            f.prefixed()?;
        }
        op::CHANNEL => {
            f.take(4)?;
            f.prefixed()?;
            f.prefixed()?;
            let mut metadata = Fields(f.prefixed()?);
            while !metadata.0.is_empty() {
                metadata.prefixed()?;
                metadata.prefixed()?;
            }
            return Some(());
        }
        op::CHUNK => {
            f.take(28)?;
        }
        _ => {
            f.take(32)?;
            f.prefixed().filter(|offsets| offsets.len().is_multiple_of(10))?;
            f.take(8)?;
        }
    }
    f.prefixed().map(drop)
}

pub(crate) fn message(body: &[u8]) -> Option<MessageRecord<'_>> {
    let mut f = Fields(body);
    let channel = f.u16()?;
    let _sequence = f.u32()?;
    Some(MessageRecord { channel, log_ns: f.u64()?, publish_ns: f.u64()?, data: f.0 })
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

#[cfg(test)]
mod tests;
