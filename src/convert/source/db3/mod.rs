//! ROS 2 bags in SQLite (`.db3`, schema versions 1 to 4): what of reading a recording is peculiar to them.
//!
//! A chunk is some leaves of the table `messages`, with the rows of them behind each other. To know what is where, each leaf is
//! read once when the file is opened and once when it is indexed; the messages' bytes, which mostly lie in other pages, are not.
//! Tables: rosbag2's `sqlite_storage.cpp`.

mod page;
mod row;
mod tables;

use super::SourceError;
use super::catalog::{Catalog, Stretch};
use super::chunk::{Body, MAX_CHUNK_BYTES, MessageRecord, Step, too_large};
use super::fields::Fields;
use super::file::File;
use crate::convert::StopFlag;
use page::{Cell, Leaf, Pager, Shape};
use row::{Columns, Value};
use std::collections::{BTreeMap, HashMap};
use tables::{Table, Tables};

pub(super) use page::MAGIC;

/// Leaves are taken together up to this many bytes of messages.
const GROUP_BYTES: u64 = 1 << 20;
/// What a walk over leaves reads at once.
const AHEAD_BYTES: u64 = 1 << 20;
/// Of each message in a chunk: its channel, time and length.
const ROW_HEAD_BYTES: u64 = 2 + 8 + 4;
/// The header of the file.
const FILE_HEADER_BYTES: u64 = 100;
/// The channel of a message whose topic the bag does not list: no topic has it.
const NO_CHANNEL: u16 = u16::MAX;

/// What is known of a bag besides its catalog.
#[derive(Debug, Default)]
pub(super) struct Bag {
    shape: Shape,
    columns: MessageColumns,
    channels: HashMap<i64, u16>,
    /// For each stretch its leaves.
    leaves: Vec<Vec<u32>>,
}

/// Which columns of `messages` are which.
#[derive(Debug, Clone, Copy, Default)]
struct MessageColumns {
    topic: usize,
    time: usize,
    data: usize,
}

/// A message without its bytes.
#[derive(Debug, Clone, Copy)]
struct Row {
    channel: u16,
    stamp_ns: u64,
    data: u64,
}

/// Reads the small tables, and walks over the leaves of `messages`.
pub(super) fn open(file: &File, stop: &StopFlag) -> Result<(Catalog, Bag), SourceError> {
    let refuse = |reason: String| SourceError::NotARecording { file: file.name().to_owned(), reason };
    let header = file.range(0..file.size().min(FILE_HEADER_BYTES))?;
    let shape = Shape::of(&header, file.size()).map_err(|reason| SourceError::Damaged {
        file: file.name().to_owned(),
        offset: 0,
        reason,
    })?;
    unfinished(file, shape)?;
    let mut pager = Pager::new(file, shape, AHEAD_BYTES);
    let tables = Tables::read(&mut pager)?;
    let (Some(topics), Some(messages)) = (tables.get("topics"), tables.get("messages")) else {
        let reason = "it is a SQLite database and no ROS 2 bag: it has no tables `topics` and `messages`";
        return Err(refuse(reason.to_owned()));
    };
    let columns = MessageColumns::of(messages)
        .ok_or_else(|| refuse("its table `messages` is not one that a ROS 2 bag has".to_owned()))?;
    let (channels, ids) = tables.channels(&mut pager, topics)?;
    let bag = Bag { shape, columns, channels: ids, leaves: Vec::new() };
    let mut groups = Groups { bag, stretches: Vec::new(), counts: BTreeMap::new(), bytes: 0, unlisted: 0 };
    pager.walk(messages.root(), &mut |pager, leaf| {
        if stop.is_set() {
            return Err(SourceError::Stopped);
        }
        groups.leaf(pager, leaf)
    })?;
    let mut catalog = channels.into_catalog(&groups.counts);
    catalog.indexed = true;
    catalog.stretches = groups.stretches;
    if groups.unlisted > 0 {
        catalog
            .warnings
            .push(format!("{} messages of topics that the file does not list are left out", groups.unlisted));
    }
    Ok((catalog, groups.bag))
}

/// Refuses a database whose last changes stand beside it: what is in the file alone may be torn.
fn unfinished(file: &File, shape: Shape) -> Result<(), SourceError> {
    let suffixes: &[&str] = if shape.is_wal { &["-wal", "-journal"] } else { &["-journal"] };
    for suffix in suffixes {
        if file.has_beside(suffix)? {
            let reason = format!(
                "its recorder did not end well: its last messages stand in the file {suffix} beside it, which is not read; fold it \
                 in by `sqlite3 FILE 'PRAGMA journal_mode=DELETE'`"
            );
            return Err(SourceError::NotARecording { file: file.name().to_owned(), reason });
        }
    }
    Ok(())
}

impl MessageColumns {
    fn of(messages: &Table) -> Option<Self> {
        Some(Self {
            topic: messages.column("topic_id")?,
            time: messages.column("timestamp")?,
            data: messages.column("data")?,
        })
    }
}

/// Leaves on their way into stretches.
struct Groups {
    bag: Bag,
    stretches: Vec<Stretch>,
    counts: BTreeMap<u16, u64>,
    /// What the last group has.
    bytes: u64,
    unlisted: u64,
}

impl Groups {
    fn leaf(&mut self, pager: &Pager<'_>, leaf: &Leaf) -> Result<(), SourceError> {
        let (mut channels, mut bytes) = (Vec::new(), 0_u64);
        // Where reading begins, and how much is read if all lies behind each other.
        let (mut first, mut pages) = (leaf.number(), 1_u64);
        let bag = &self.bag;
        bag.rows(pager, leaf, &mut |_, row, cell| {
            bytes = bytes.saturating_add(ROW_HEAD_BYTES).saturating_add(row.data);
            pages = pages.saturating_add(bag.shape.overflow_pages(cell.payload));
            if cell.overflow != 0 {
                first = first.min(cell.overflow);
            }
            if row.channel == NO_CHANNEL {
                self.unlisted += 1;
            } else {
                *self.counts.entry(row.channel).or_default() += 1;
            }
            if let Err(place) = channels.binary_search(&row.channel) {
                channels.insert(place, row.channel);
            }
            Ok(())
        })?;
        let begin = self.bag.shape.offset(first);
        let range = begin..begin.saturating_add(self.bag.shape.bytes(pages));
        if let (Some(last), Some(leaves)) = (self.stretches.last_mut(), self.bag.leaves.last_mut())
            && self.bytes.saturating_add(bytes) <= GROUP_BYTES
        {
            self.bytes += bytes;
            leaves.push(leaf.number());
            last.range.start = last.range.start.min(range.start);
            last.range.end = last.range.end.max(range.end);
            let known = last.channels.get_or_insert_default();
            known.extend(channels);
            known.sort_unstable();
            known.dedup();
            return Ok(());
        }
        self.bytes = bytes;
        self.bag.leaves.push(vec![leaf.number()]);
        self.stretches.push(Stretch { range, is_chunk: true, index: None, channels: Some(channels) });
        Ok(())
    }
}

impl Bag {
    /// Gives each message of a leaf.
    fn rows<'l>(
        &self,
        pager: &Pager<'_>,
        leaf: &'l Leaf,
        take: &mut dyn FnMut(&Columns, Row, Cell<'l>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let damaged = |reason: &str| pager.damaged(leaf.number(), reason);
        for cell in leaf.cells(self.shape) {
            let cell = cell.ok_or_else(|| damaged("a message that does not fit in its page"))?;
            let columns = Columns::of(cell.local, cell.payload)
                .ok_or_else(|| damaged("a message whose header does not fit"))?;
            let number = |column| match columns.value(cell.local, column) {
                Some(Value::Integer(value)) => Ok(value),
                _ => Err(damaged("a message without a topic or a time")),
            };
            let topic = number(self.columns.topic)?;
            let stamp_ns =
                u64::try_from(number(self.columns.time)?).map_err(|_| damaged("a message of before 1970"))?;
            let data = columns.blob_len(self.columns.data);
            let data = data.ok_or_else(|| damaged("a message without bytes"))?;
            let channel = self.channels.get(&topic).copied().unwrap_or(NO_CHANNEL);
            take(&columns, Row { channel, stamp_ns, data }, cell)?;
        }
        Ok(())
    }

    /// Gives channel, time and offset of each message of a stretch, without reading the messages.
    pub(super) fn entries(
        &self,
        file: &File,
        number: usize,
        take: &mut dyn FnMut(u16, u64, u64),
    ) -> Result<(), SourceError> {
        let mut pager = Pager::new(file, self.shape, AHEAD_BYTES);
        let mut offset = 0_u64;
        for leaf in self.leaves.get(number).into_iter().flatten() {
            let leaf = pager.leaf(*leaf)?;
            self.rows(&pager, &leaf, &mut |_, row, _| {
                take(row.channel, row.stamp_ns, offset);
                offset = offset.saturating_add(ROW_HEAD_BYTES).saturating_add(row.data);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The messages of a stretch behind each other. `spare` is a buffer to reuse.
    pub(super) fn chunk(
        &self,
        file: &File,
        number: usize,
        stretch: &Stretch,
        spare: Vec<u8>,
    ) -> Result<Body, SourceError> {
        let mut out = spare;
        out.clear();
        let end = stretch.range.end.min(stretch.range.start.saturating_add(MAX_CHUNK_BYTES));
        // In a file that was only ever added to, all of it lies there.
        let mut pager = Pager::keeping(file, self.shape, stretch.range.start..end)?;
        let mut payload = Vec::new();
        for leaf in self.leaves.get(number).into_iter().flatten() {
            let leaf = pager.leaf(*leaf)?;
            let mut cells = Vec::new();
            self.rows(&pager, &leaf, &mut |columns, row, cell| {
                cells.push((*columns, row, cell));
                Ok(())
            })?;
            for (columns, row, cell) in cells {
                if (out.len() as u64).saturating_add(cell.payload) > MAX_CHUNK_BYTES {
                    return Err(too_large(file.name(), self.shape.offset(leaf.number()), cell.payload));
                }
                payload.clear();
                pager.payload(&leaf, cell, &mut payload)?;
                let data = match columns.value(&payload, self.columns.data) {
                    Some(Value::Blob(data) | Value::Text(data)) => data,
                    _ => return Err(pager.damaged(leaf.number(), "a message without bytes")),
                };
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&row.channel.to_le_bytes());
                out.extend_from_slice(&row.stamp_ns.to_le_bytes());
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(data);
            }
        }
        Ok(Body::Decompressed(out))
    }
}

/// The message at an offset of a chunk. A bag in SQLite knows one time of a message: when it was received.
pub(super) fn step(bytes: &[u8], offset: usize) -> Result<Step<'_>, &'static str> {
    let read = || {
        let mut fields = Fields(bytes.get(offset..)?);
        let (channel, stamp_ns) = (fields.u16()?, fields.u64()?);
        let data = fields.prefixed()?;
        let message = MessageRecord { channel, log_ns: stamp_ns, publish_ns: stamp_ns, data };
        Some(Step { end: bytes.len() - fields.0.len(), message: Some(message) })
    };
    read().ok_or("a message that does not fit in its chunk")
}
