//! The files of a recording: one, or those of a rosbag2 folder, whose topics are merged and whose chunks are numbered on.

use super::catalog::{Catalog, Stretch};
use super::chunk::{self, Chunk, MAX_CHUNK_BYTES};
use super::file::File;
use super::format::Format;
use super::metadata::Metadata;
use super::{SourceError, Topic, TopicId};
use crate::convert::StopFlag;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;

/// One file of a recording.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    catalog: Catalog,
    /// The topic of each of its channels, among those of the whole recording, and which of the topic's types.
    by_channel: HashMap<u16, (TopicId, usize)>,
    /// The number of its first stretch.
    first: u32,
}

/// What all files of a recording have together.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// As the first of their types, with the messages of all.
    pub(crate) topics: Vec<Topic>,
    /// For each topic the types that its messages have, each with the count of them; at least one.
    pub(crate) types: Vec<Vec<Topic>>,
    pub(crate) indexed: bool,
    pub(crate) cut: bool,
    pub(crate) warnings: Vec<String>,
    pub(crate) parts: Vec<Part>,
    /// Where each topic stands, while files are added.
    places: HashMap<String, usize>,
}

impl Part {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where its metadata records lie.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.catalog.metadata
    }

    /// The topic of a channel, among those of the whole recording, and which of its types.
    pub(crate) fn topic(&self, channel: u16) -> Option<(TopicId, usize)> {
        self.by_channel.get(&channel).copied()
    }

    pub(crate) fn channels(&self) -> &HashMap<u16, (TopicId, usize)> {
        &self.by_channel
    }

    /// The number of its first stretch.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Its stretches, each with its number in the whole recording.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (u32, &Stretch)> {
        (self.first..).zip(&self.catalog.stretches)
    }

    /// The stretch of this number, where it is one of its own.
    pub(crate) fn stretch(&self, number: u32) -> Option<&Stretch> {
        self.catalog.stretches.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// A stretch, read and unpacked. `spare` is a buffer to reuse.
    pub(crate) fn chunk(&self, number: u32, stretch: &Stretch, spare: Vec<u8>) -> Result<Chunk, SourceError> {
        let name = self.file.name();
        let at = stretch.range.start;
        if let Some(bag) = &self.catalog.bag {
            let body = bag.chunk(&self.file, (number - self.first) as usize, stretch, spare)?;
            return Ok(Chunk::new(Format::Db3, body, at));
        }
        let len = stretch.range.end.saturating_sub(at);
        if len > MAX_CHUNK_BYTES {
            return Err(chunk::too_large(name, at, len));
        }
        let bytes = self.file.range(stretch.range.clone())?;
        Chunk::from_bytes(name, self.catalog.format, stretch, bytes, spare)
    }

    /// The message indexes of some stretches, in their order: empty for those that have none.
    pub(crate) fn indexes(&self, stretches: &[(u32, &Stretch)]) -> Result<Vec<Bytes>, SourceError> {
        let at = |(_, stretch): &(u32, &Stretch)| stretch.index.clone().unwrap_or_default();
        self.file.ranges(&stretches.iter().map(at).collect::<Vec<_>>())
    }

    /// Gives channel, log time and offset of each message of a stretch, whose index was read, where that can be told without
    /// reading them; false where it cannot.
    pub(crate) fn entries(
        &self,
        number: u32,
        stretch: &Stretch,
        index: &Bytes,
        take: &mut dyn FnMut(u16, u64, u64),
    ) -> Result<bool, SourceError> {
        if let Some(bag) = &self.catalog.bag {
            bag.entries(&self.file, (number - self.first) as usize, take)?;
            return Ok(true);
        }
        let Some(Range { start, .. }) = stretch.index else { return Ok(false) };
        self.catalog.format.entries(index, take).map(|()| true).ok_or_else(|| SourceError::Damaged {
            file: self.file.name().to_owned(),
            offset: start,
            reason: "a chunk's message index does not fit its place".to_owned(),
        })
    }
}

impl Whole {
    /// Opens each file, and merges what they hold.
    pub(crate) fn open(files: Vec<File>, stop: &StopFlag) -> Result<Self, SourceError> {
        let many = files.len() > 1;
        let mut whole = Self { indexed: true, ..Self::default() };
        for file in files {
            let format = Format::of(&file)?;
            let catalog = format.open(&file, stop)?;
            whole.add(file, catalog, many)?;
        }
        whole.sort();
        Ok(whole)
    }

    fn add(&mut self, file: File, mut catalog: Catalog, many: bool) -> Result<(), SourceError> {
        let before = self
            .parts
            .last()
            .map_or(0, |last| u64::from(last.first).saturating_add(last.catalog.stretches.len() as u64));
        let end = before.saturating_add(catalog.stretches.len() as u64);
        let first = u32::try_from(before).ok().filter(|_| end < u64::from(u32::MAX));
        let first = first.ok_or_else(|| SourceError::TooLarge {
            file: file.name().to_owned(),
            offset: 0,
            reason: "the recording has more chunks than 32 bits can number".to_owned(),
        })?;
        self.indexed &= catalog.indexed;
        self.cut |= catalog.cut;
        let leaf = file.key().rsplit('/').next().unwrap_or_default().to_owned();
        let named = |warning: String| if many { format!("{leaf}: {warning}") } else { warning };
        self.warnings.extend(std::mem::take(&mut catalog.warnings).into_iter().map(named));
        let topics: Vec<(TopicId, Vec<usize>)> =
            std::mem::take(&mut catalog.topics).into_iter().filter_map(|types| self.topic(types)).collect();
        let place = |(channel, (id, kind)): (&u16, &(TopicId, usize))| {
            let (topic, kinds) = topics.get(id.0)?;
            Some((*channel, (*topic, *kinds.get(*kind)?)))
        };
        let by_channel = catalog.by_channel.iter().filter_map(place).collect();
        self.parts.push(Part { file, catalog, by_channel, first });
        Ok(())
    }

    /// Adds a file's topic, or its messages to the topic of that name; for each of its types, which it is here. None for
    /// a topic without types, which no file has.
    fn topic(&mut self, types: Vec<Topic>) -> Option<(TopicId, Vec<usize>)> {
        let name = types.first()?.name.clone();
        let at = *self.places.entry(name).or_insert_with(|| {
            self.types.push(Vec::new());
            self.types.len() - 1
        });
        let here = self.types.get_mut(at)?;
        let kinds = types.into_iter().map(|new| {
            let Some(kind) = here.iter().position(|known| known.has_type_of(&new)) else {
                here.push(new);
                return here.len() - 1;
            };
            if let Some(known) = here.get_mut(kind) {
                known.message_count = sum(known.message_count, new.message_count);
            }
            kind
        });
        Some((TopicId(at), kinds.collect()))
    }

    /// Puts the topics in the order of their names, and forgets types without messages where there are others: recorders
    /// declare what nobody publishes then.
    fn sort(&mut self) {
        self.places.clear();
        let mut order: Vec<usize> = (0..self.types.len()).collect();
        let name = |at: &usize| self.types.get(*at).and_then(|types| types.first()).map(|topic| &topic.name);
        order.sort_by(|one, two| name(one).cmp(&name(two)));
        // Where each topic and each of its types went; none for types that are forgotten.
        let mut moved: Vec<(TopicId, Vec<Option<usize>>)> = vec![(TopicId(0), Vec::new()); order.len()];
        let mut sorted = Vec::with_capacity(order.len());
        for (new, old) in order.into_iter().enumerate() {
            let all = self.types.get_mut(old).map(std::mem::take).unwrap_or_default();
            let spoken = all.iter().any(|known| known.message_count != Some(0));
            let mut kept = Vec::new();
            let kinds = all.into_iter().enumerate().map(|(place, known)| {
                let keep = if spoken { known.message_count != Some(0) } else { place == 0 };
                keep.then(|| {
                    kept.push(known);
                    kept.len() - 1
                })
            });
            let kinds = kinds.collect();
            if let Some(moved) = moved.get_mut(old) {
                *moved = (TopicId(new), kinds);
            }
            sorted.push(kept);
        }
        self.types = sorted;
        self.topics = self.types.iter().filter_map(|types| together(types)).collect();
        for part in &mut self.parts {
            let moved = |(topic, kind): &(TopicId, usize)| {
                let (topic, kinds) = moved.get(topic.0)?;
                Some((*topic, kinds.get(*kind).copied().flatten()?))
            };
            // A message of a type that is counted nowhere has no topic: whoever counts what there is will say so.
            part.by_channel =
                part.by_channel.iter().filter_map(|(channel, at)| Some((*channel, moved(at)?))).collect();
        }
    }
}

/// A topic as the first of its types, with the messages of all.
fn together(types: &[Topic]) -> Option<Topic> {
    let first = types.first()?.clone();
    let message_count = types.iter().map(|known| known.message_count).fold(Some(0), sum);
    Some(Topic { message_count, ..first })
}

fn sum(one: Option<u64>, two: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(two?))
}
