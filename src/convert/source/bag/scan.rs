//! Walks a bag from its start when it has no index, as after a crash of the recorder. Each chunk is decompressed once,
//! since connections may be declared in chunks only.

use super::super::SourceError;
use super::super::catalog::{Catalog, Stretch, Survey};
use super::super::chunk::{Chunk, MAX_CHUNK_BYTES, too_large};
use super::super::fields::Fields;
use super::super::file::{File, Window};
use super::super::format::Format;
use super::MAGIC;
use super::connections::Connections;
use super::record::{self, Framed, Op};
use crate::convert::StopFlag;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

/// A record's header may be this long: a handful of short fields.
const MAX_HEADER_BYTES: u64 = 64 << 10;
/// The length in front of a record's header, and of its data.
const LENGTH_BYTES: u64 = 4;

struct Scan<'f> {
    file: &'f File,
    survey: Survey<'f>,
    connections: Connections,
    spare: Vec<u8>,
}

/// Finds all topics and stretches. Of a file that is cut, whole chunks count.
pub(super) fn scan(file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
    let connections = Connections::default();
    let mut scan = Scan { file, survey: Survey::new(file), connections, spare: Vec::new() };
    let mut window = Window::new(file);
    let mut at = MAGIC.len() as u64;
    let cut = loop {
        if stop.is_set() {
            return Err(SourceError::Stopped);
        }
        if at == file.size() {
            break false;
        }
        let Some(end) = end_of(&mut window, file, at)? else { break true };
        if end - at > MAX_CHUNK_BYTES {
            return Err(too_large(file.name(), at, end - at));
        }
        let bytes = window.get(at..end)?;
        let Some(framed) = record::at(&bytes, 0).filter(|framed| framed.op().is_some()) else { break true };
        scan.record(at..end, &framed, &bytes)?;
        at = end;
    };
    Ok(scan.survey.finish(cut.then_some(at)))
}

/// Where the record at `at` ends; none when that is not within the file.
fn end_of(window: &mut Window<'_>, file: &File, at: u64) -> Result<Option<u64>, SourceError> {
    let mut length = |at: u64| -> Result<Option<u64>, SourceError> {
        let end = at.saturating_add(LENGTH_BYTES);
        if end > file.size() {
            return Ok(None);
        }
        Ok(Fields(&window.get(at..end)?).u32().map(u64::from))
    };
    let Some(header) = length(at)?.filter(|header| *header <= MAX_HEADER_BYTES) else { return Ok(None) };
    let data_at = at + LENGTH_BYTES + header;
    let Some(data) = length(data_at)? else { return Ok(None) };
    Ok(Some(data_at + LENGTH_BYTES + data).filter(|end| *end <= file.size()))
}

impl Scan<'_> {
    fn record(&mut self, range: Range<u64>, framed: &Framed<'_>, bytes: &Bytes) -> Result<(), SourceError> {
        let start = range.start;
        match framed.op() {
            Some(Op::Chunk) => self.chunk(range, bytes.clone()),
            Some(Op::Connection) => self.connection(start, framed),
            Some(Op::Message) => match framed.message() {
                Some(message) => self.survey.loose_message(range, message.channel),
                None => Err(self.survey.damaged(start, "a message whose connection or time cannot be read")),
            },
            Some(Op::BagHeader | Op::IndexData | Op::ChunkInfo) | None => Ok(()),
        }
    }

    fn chunk(&mut self, range: Range<u64>, bytes: Bytes) -> Result<(), SourceError> {
        let name = self.file.name();
        let stretch = Stretch { range: range.clone(), is_chunk: true, index: None, channels: None };
        let spare = std::mem::take(&mut self.spare);
        let chunk = Chunk::from_bytes(name, Format::Bag, &stretch, bytes, spare)?;
        let mut seen: BTreeMap<u16, u64> = BTreeMap::new();
        let mut offset = 0;
        while offset < chunk.bytes().len() {
            let damaged = |reason: &str| chunk.damaged(name, offset, reason);
            let framed = record::at(chunk.bytes(), offset)
                .ok_or_else(|| damaged("a record that does not fit in its chunk"))?;
            match framed.op() {
                Some(Op::Connection) => self.connection(range.start, &framed)?,
                Some(Op::Message) => {
                    let message = framed
                        .message()
                        .ok_or_else(|| damaged("a message whose connection or time cannot be read"))?;
                    *seen.entry(message.channel).or_default() += 1;
                }
                _ => {}
            }
            offset = framed.end;
        }
        self.survey.chunk(range, seen)?;
        self.spare = chunk.into_spare();
        Ok(())
    }

    fn connection(&mut self, at: u64, framed: &Framed<'_>) -> Result<(), SourceError> {
        let added = self.connections.add(framed, &mut self.survey.channels);
        added.map_err(|reason| self.survey.damaged(at, &reason))
    }
}
