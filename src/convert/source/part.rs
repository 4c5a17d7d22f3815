//! The files of a recording: one, or those of a rosbag2 folder, whose topics are merged and whose chunks are numbered on.

use super::catalog::{Catalog, Stretch};
use super::chunk::{self, Chunk, MAX_CHUNK_BYTES};
use super::file::File;
use super::format::Format;
use super::metadata::Metadata;
use super::{SourceError, Topic, TopicId};
use crate::convert::StopFlag;
use std::collections::HashMap;
use std::ops::Range;

/// One file of a recording.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    catalog: Catalog,
    /// The topic of each of its channels, among those of the whole recording.
    by_channel: HashMap<u16, TopicId>,
    /// The number of its first stretch.
    first: u32,
}

/// What all files of a recording have together.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) topics: Vec<Topic>,
    /// For each topic, why its messages cannot be taken as one stream.
    pub(crate) conflicts: Vec<Option<String>>,
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

    /// The topic of a channel, among those of the whole recording.
    pub(crate) fn topic(&self, channel: u16) -> Option<TopicId> {
        self.by_channel.get(&channel).copied()
    }

    pub(crate) fn channels(&self) -> &HashMap<u16, TopicId> {
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

    /// Gives channel, log time and offset of each message of a stretch, where that can be told without reading them; false where
    /// it cannot.
    pub(crate) fn entries(
        &self,
        number: u32,
        stretch: &Stretch,
        take: &mut dyn FnMut(u16, u64, u64),
    ) -> Result<bool, SourceError> {
        if let Some(bag) = &self.catalog.bag {
            bag.entries(&self.file, (number - self.first) as usize, take)?;
            return Ok(true);
        }
        let Some(Range { start, end }) = stretch.index.clone() else { return Ok(false) };
        let bytes = self.file.range(start..end)?;
        self.catalog.format.entries(&bytes, take).map(|()| true).ok_or_else(|| SourceError::Damaged {
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
        let conflicts = std::mem::take(&mut catalog.conflicts);
        let topics: Vec<TopicId> = std::mem::take(&mut catalog.topics)
            .into_iter()
            .zip(conflicts)
            .map(|(topic, conflict)| self.topic(topic, conflict))
            .collect();
        let place = |(channel, id): (&u16, &TopicId)| Some((*channel, *topics.get(id.0)?));
        let by_channel = catalog.by_channel.iter().filter_map(place).collect();
        self.parts.push(Part { file, catalog, by_channel, first });
        Ok(())
    }

    /// Adds a file's topic, or its messages to the topic of that name.
    fn topic(&mut self, topic: Topic, conflict: Option<String>) -> TopicId {
        let Some(at) = self.places.get(&topic.name).copied() else {
            self.places.insert(topic.name.clone(), self.topics.len());
            self.topics.push(topic);
            self.conflicts.push(conflict);
            return TopicId(self.topics.len() - 1);
        };
        if let (Some(known), Some(conflicts)) = (self.topics.get_mut(at), self.conflicts.get_mut(at)) {
            let about = |topic: &Topic| format!("{} ({})", topic.schema_name, topic.message_encoding);
            let same =
                (&known.schema_name, &known.schema_encoding, &known.schema_data, &known.message_encoding)
                    == (
                        &topic.schema_name,
                        &topic.schema_encoding,
                        &topic.schema_data,
                        &topic.message_encoding,
                    );
            let differ = || {
                let (one, two) = (about(known), about(&topic));
                format!(
                    "it has messages of two types or definitions in the files of the bag, {one} and {two}"
                )
            };
            *conflicts = conflicts.take().or(conflict).or_else(|| (!same).then(differ));
            known.message_count = match (known.message_count, topic.message_count) {
                (Some(one), Some(two)) => Some(one.saturating_add(two)),
                _ => None,
            };
        }
        TopicId(at)
    }

    /// Puts the topics in the order of their names.
    fn sort(&mut self) {
        self.places.clear();
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by(|one, two| {
            self.topics.get(*one).map(|t| &t.name).cmp(&self.topics.get(*two).map(|t| &t.name))
        });
        let mut place = vec![TopicId(0); order.len()];
        for (new, old) in order.iter().enumerate() {
            if let Some(place) = place.get_mut(*old) {
                *place = TopicId(new);
            }
        }
        self.topics = order.iter().filter_map(|old| self.topics.get(*old).cloned()).collect();
        self.conflicts = order.iter().filter_map(|old| self.conflicts.get(*old).cloned()).collect();
        for id in self.parts.iter_mut().flat_map(|part| part.by_channel.values_mut()) {
            *id = place.get(id.0).copied().unwrap_or(*id);
        }
    }
}
