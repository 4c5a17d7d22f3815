//! Walks a recording from its start when its summary is absent or broken, as after a crash of the recorder. Each chunk
//! is decompressed once, since topics may be declared in chunks only.

use super::SourceError;
use super::catalog::{Catalog, Channels, Stretch};
use super::chunk::{Chunk, MAX_CHUNK_BYTES, too_large};
use super::file::{File, Window};
use super::record::{self, Framed, PREFIX_BYTES};
use crate::convert::StopFlag;
use bytes::Bytes;
use mcap::MAGIC;
use mcap::records::op;
use std::collections::BTreeMap;
use std::ops::Range;

/// Messages outside of chunks are taken together up to this size.
const MAX_RUN_BYTES: u64 = 4 << 20;
/// Stretches of one recording.
const MAX_STRETCHES: usize = 16 << 20;

struct Scan<'f> {
    file: &'f File,
    channels: Channels,
    counts: BTreeMap<u16, u64>,
    stretches: Vec<Stretch>,
    /// Messages of channels that nothing declares before them: they belong to no topic.
    undeclared: u64,
    spare: Vec<u8>,
}

/// Finds all topics and stretches. Of a file that is cut, whole records count.
///
/// Not by `mcap::sans_io::LinearReader`: it copies each record, and must read attachments whole where this skips them.
pub(crate) fn scan(file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
    let mut scan = Scan {
        file,
        channels: Channels::default(),
        counts: BTreeMap::new(),
        stretches: Vec::new(),
        undeclared: 0,
        spare: Vec::new(),
    };
    let mut window = Window::new(file);
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
        let mut fields = record::Fields(&prefix);
        let opcode = fields.take(1).and_then(|b| b.first()).copied().unwrap_or(0);
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
            // Attachments, metadata, indexes and what newer versions may add.
            _ => {}
        }
        at = end;
    };
    let undeclared = scan.undeclared;
    let mut catalog = scan.channels.into_catalog(&scan.counts);
    catalog.stretches = scan.stretches;
    catalog.cut = cut;
    if cut {
        catalog.warnings.push(format!(
            "the file is cut or unreadable from byte {at} of {}; the whole chunks before it are used",
            file.size()
        ));
    }
    if undeclared > 0 {
        catalog
            .warnings
            .push(format!("{undeclared} messages of channels that the file does not declare are left out"));
    }
    Ok(catalog)
}

impl Scan<'_> {
    fn record(&mut self, range: Range<u64>, opcode: u8, bytes: Bytes) -> Result<(), SourceError> {
        let framed = record::at(&bytes, 0);
        let framed = framed.ok_or_else(|| self.damaged(range.start, "a record that does not fit"))?;
        match opcode {
            op::CHUNK => self.chunk(range, bytes.clone()),
            op::MESSAGE => self.loose_message(range, framed),
            _ => self.declaration(range.start, framed),
        }
    }

    fn chunk(&mut self, range: Range<u64>, bytes: Bytes) -> Result<(), SourceError> {
        let start = range.start;
        let mut stretch = Stretch { range, is_chunk: true, index: None, channels: None };
        let chunk = Chunk::from_bytes(self.file.name(), &stretch, bytes, std::mem::take(&mut self.spare))?;
        let mut seen: BTreeMap<u16, u64> = BTreeMap::new();
        for framed in chunk.records(self.file.name()) {
            let framed = framed?;
            match chunk.message(self.file.name(), framed)? {
                Some(message) => *seen.entry(message.channel).or_default() += 1,
                None => self.declaration(start, framed)?,
            }
        }
        stretch.channels = Some(self.count(seen));
        self.spare = chunk.into_spare();
        self.push(stretch)
    }

    /// Adds counts; the channels counted, in order.
    fn count(&mut self, mut seen: BTreeMap<u16, u64>) -> Vec<u16> {
        seen.retain(|channel, n| {
            let known = self.channels.knows(*channel);
            if !known {
                self.undeclared = self.undeclared.saturating_add(*n);
            }
            known
        });
        for (channel, n) in &seen {
            *self.counts.entry(*channel).or_default() += n;
        }
        seen.into_keys().collect()
    }

    fn loose_message(&mut self, range: Range<u64>, framed: Framed<'_>) -> Result<(), SourceError> {
        let message = record::message(framed.body)
            .ok_or_else(|| self.damaged(range.start, "a message too short for its header"))?;
        let channels = self.count(BTreeMap::from([(message.channel, 1)]));
        if let Some(last) = self.stretches.last_mut()
            && !last.is_chunk
            && last.range.end == range.start
            && range.end - last.range.start <= MAX_RUN_BYTES
        {
            last.range.end = range.end;
            for channel in channels {
                if let Some(known) = &mut last.channels
                    && let Err(place) = known.binary_search(&channel)
                {
                    known.insert(place, channel);
                }
            }
            return Ok(());
        }
        self.push(Stretch { range, is_chunk: false, index: None, channels: Some(channels) })
    }

    fn declaration(&mut self, at: u64, framed: Framed<'_>) -> Result<(), SourceError> {
        let Some(record) = record::parse(framed) else {
            return Err(self.damaged(at, "a schema or channel whose fields do not fit its record"));
        };
        self.channels.add(record).map_err(|reason| self.damaged(at, &reason))
    }

    fn push(&mut self, stretch: Stretch) -> Result<(), SourceError> {
        if self.stretches.len() >= MAX_STRETCHES {
            return Err(self.damaged(stretch.range.start, &format!("more than {MAX_STRETCHES} chunks")));
        }
        self.stretches.push(stretch);
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &str) -> SourceError {
        SourceError::Damaged { file: self.file.name().to_owned(), offset, reason: reason.to_owned() }
    }
}
