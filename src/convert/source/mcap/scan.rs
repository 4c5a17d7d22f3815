//! Walks a recording from its start when its summary is absent or broken, as after a crash of the recorder. Each chunk
//! is decompressed once, since topics may be declared in chunks only.

use super::super::SourceError;
use super::super::catalog::{Catalog, Stretch, Survey};
use super::super::chunk::{Chunk, MAX_CHUNK_BYTES, too_large};
use super::super::fields::Fields;
use super::super::file::{File, Window};
use super::super::format::Format;
use super::super::metadata::{MAX_METADATA_BYTES, Metadata};
use super::record::{self, Framed, PREFIX_BYTES};
use crate::convert::StopFlag;
use ::mcap::MAGIC;
use ::mcap::records::op;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

struct Scan<'f> {
    file: &'f File,
    survey: Survey<'f>,
    spare: Vec<u8>,
}

/// Finds all topics and stretches. Of a file that is cut, whole records count.
///
/// Not by `mcap::sans_io::LinearReader`: it copies each record, and must read attachments whole where this skips them.
pub(crate) fn scan(file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
    let mut scan = Scan { file, survey: Survey::new(file), spare: Vec::new() };
    let mut window = Window::new(file);
    let mut metadata = Metadata::default();
    let mut at = MAGIC.len() as u64;
    let cut = loop {
        if stop.is_set() {
            return Err(SourceError::Stopped);
        }
        let prefix_end = at.saturating_add(PREFIX_BYTES as u64);
        if prefix_end > file.size() {
            break true;
        }
        let prefix = window.get(at..prefix_end)?;
        let mut fields = Fields(&prefix);
        let opcode = fields.u8().unwrap_or(0);
        let end = fields.u64().and_then(|len| prefix_end.checked_add(len)).filter(|end| *end <= file.size());
        let Some(end) = end.filter(|_| opcode != 0) else { break true };
        match opcode {
            op::DATA_END | op::FOOTER => break false,
            op::SCHEMA | op::CHANNEL | op::MESSAGE | op::CHUNK => {
                if end - at > MAX_CHUNK_BYTES {
                    return Err(too_large(file.name(), at, end - at));
                }
                scan.record(at..end, opcode, window.get(at..end)?)?;
            }
            op::METADATA if end - at <= MAX_METADATA_BYTES => {
                let bytes = window.get(at..end)?;
                metadata.add_record(bytes.get(PREFIX_BYTES..).unwrap_or_default(), at..end);
            }
            // Attachments, indexes and what newer versions may add.
            _ => {}
        }
        at = end;
    };
    Ok(Catalog { metadata, ..scan.survey.finish(cut.then_some(at)) })
}

impl Scan<'_> {
    fn record(&mut self, range: Range<u64>, opcode: u8, bytes: Bytes) -> Result<(), SourceError> {
        let framed = record::at(&bytes, 0);
        let framed = framed.ok_or_else(|| self.survey.damaged(range.start, "a record that does not fit"))?;
        match opcode {
            op::CHUNK => self.chunk(range, bytes.clone()),
            op::MESSAGE => match record::message(framed.body) {
                Some(message) => self.survey.loose_message(range, message.channel),
                None => Err(self.survey.damaged(range.start, "a message too short for its header")),
            },
            _ => self.declaration(range.start, framed),
        }
    }

    fn chunk(&mut self, range: Range<u64>, bytes: Bytes) -> Result<(), SourceError> {
        let stretch = Stretch { range: range.clone(), is_chunk: true, index: None, channels: None };
        let spare = std::mem::take(&mut self.spare);
        let chunk = Chunk::from_bytes(self.file.name(), Format::Mcap, &stretch, bytes, spare)?;
        let mut seen: BTreeMap<u16, u64> = BTreeMap::new();
        for framed in record::Records::of(chunk.bytes()) {
            let framed = framed.map_err(|inner| {
                chunk.damaged(self.file.name(), inner, "a record does not fit in its chunk")
            })?;
            if framed.opcode != op::MESSAGE {
                self.declaration(range.start, framed)?;
                continue;
            }
            let message = record::message(framed.body).ok_or_else(|| {
                chunk.damaged(self.file.name(), framed.offset, "a message too short for its header")
            })?;
            *seen.entry(message.channel).or_default() += 1;
        }
        self.survey.chunk(range, seen)?;
        self.spare = chunk.into_spare();
        Ok(())
    }

    fn declaration(&mut self, at: u64, framed: Framed<'_>) -> Result<(), SourceError> {
        let Some(record) = record::parse(framed) else {
            let reason = "a schema or channel whose fields do not fit its record";
            return Err(self.survey.damaged(at, reason));
        };
        self.survey.channels.add(record).map_err(|reason| self.survey.damaged(at, &reason))
    }
}
