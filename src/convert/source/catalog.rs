//! What is known of a recording once it is open: its topics and where its messages lie. Summary and scan both fill it.

use super::file::File;
use super::format::Format;
use super::metadata::Metadata;
use super::{SourceError, Topic, TopicId, db3};
use ::mcap::Channel;
use ::mcap::read::ChannelAccumulator;
use ::mcap::records::Record;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Channels of one recording.
pub(crate) const MAX_CHANNELS: usize = 10_000;
/// Messages outside of chunks are taken together up to this size.
const MAX_RUN_BYTES: u64 = 4 << 20;
/// Stretches of one recording.
const MAX_STRETCHES: usize = 16 << 20;

/// A stretch of the file that holds messages.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// Where it lies in the file, record prefix included.
    pub(crate) range: Range<u64>,
    /// A chunk record; otherwise messages that stand outside of chunks, one after the other.
    pub(crate) is_chunk: bool,
    /// Where its message indexes lie, if it has any that can be relied on.
    pub(crate) index: Option<Range<u64>>,
    /// The channels in it, sorted; none if unknown.
    pub(crate) channels: Option<Vec<u16>>,
}

impl Stretch {
    /// Whether a message of these channels may be in it.
    pub(crate) fn may_hold(&self, wanted: impl Fn(u16) -> bool) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.iter().any(|c| wanted(*c)))
    }
}

/// Topics and stretches.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) format: Format,
    /// For each topic its types, each with the messages of its own; at least one.
    pub(crate) topics: Vec<Vec<Topic>>,
    /// The topic of each channel, and which of its types.
    pub(crate) by_channel: HashMap<u16, (TopicId, usize)>,
    /// In the order of the file.
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) indexed: bool,
    pub(crate) cut: bool,
    pub(crate) warnings: Vec<String>,
    /// Of a bag in SQLite, how its stretches are read.
    pub(crate) bag: Option<db3::Bag>,
    pub(crate) metadata: Metadata,
}

impl Catalog {
    /// It was found by a scan, for this reason.
    pub(crate) fn scanned(mut self, file: &File, reason: &str) -> Self {
        tracing::debug!(file = file.name(), reason, "the recording was scanned");
        if !self.cut {
            self.warnings.push(format!("{reason}; the file was scanned instead"));
        }
        self
    }
}

/// Collects schemas and channels as they are met: one met again must be the same, and a channel's schema known.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    met: ChannelAccumulator<'static>,
    ids: BTreeSet<u16>,
}

impl Channels {
    /// Takes schemas and channels; other records are of no interest.
    pub(crate) fn add(&mut self, record: Record<'_>) -> Result<(), String> {
        match record {
            // No channel can name it.
            Record::Schema { header, .. } if header.id == 0 => Ok(()),
            Record::Schema { header, data } => {
                self.met.add_schema_from_slice(header, &data).map_err(|e| e.to_string())
            }
            Record::Channel(mut channel) => {
                // Of no use here, and no reason to refuse a channel that is met again.
                channel.metadata.clear();
                self.ids.insert(channel.id);
                if self.ids.len() > MAX_CHANNELS {
                    return Err(format!("more than {MAX_CHANNELS} channels"));
                }
                self.met.add_channel(channel).map_err(|e| e.to_string())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn knows(&self, channel: u16) -> bool {
        self.ids.contains(&channel)
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Merges the channels of each topic, in the order of topic names, and those of a topic that have the same type, in the
    /// order of their first channels.
    pub(crate) fn into_catalog(self, counts: &BTreeMap<u16, u64>) -> Catalog {
        let mut catalog = Catalog::default();
        let mut names: BTreeMap<&str, Vec<&Channel<'_>>> = BTreeMap::new();
        let channels: Vec<Arc<Channel<'_>>> = self.ids.iter().filter_map(|id| self.met.get(*id)).collect();
        for channel in &channels {
            names.entry(channel.topic.as_str()).or_default().push(channel);
        }
        for (name, channels) in names {
            let id = TopicId(catalog.topics.len());
            let mut types: Vec<Topic> = Vec::new();
            let mut places = HashMap::new();
            for channel in channels {
                let schema = channel.schema.as_deref();
                let key = (&channel.message_encoding, schema.map(|s| (&s.name, &s.encoding, &s.data)));
                let place = *places.entry(key).or_insert_with(|| {
                    types.push(topic(name, channel));
                    types.len() - 1
                });
                let count = counts.get(&channel.id).copied().unwrap_or(0);
                if let Some(known) = types.get_mut(place).and_then(|known| known.message_count.as_mut()) {
                    *known = known.saturating_add(count);
                }
                catalog.by_channel.insert(channel.id, (id, place));
            }
            catalog.topics.push(types);
        }
        catalog
    }
}

/// A channel's type under a topic's name, without messages.
fn topic(name: &str, channel: &Channel<'_>) -> Topic {
    let schema = channel.schema.as_ref();
    Topic {
        name: name.to_owned(),
        schema_name: schema.map(|s| s.name.clone()).unwrap_or_default(),
        schema_encoding: schema.map(|s| s.encoding.clone()).unwrap_or_default(),
        schema_data: schema.map_or_else(Bytes::new, |s| Bytes::copy_from_slice(&s.data)),
        message_encoding: channel.message_encoding.clone(),
        message_count: Some(0),
    }
}

/// What a scan has found so far.
#[derive(Debug)]
pub(crate) struct Survey<'f> {
    file: &'f File,
    pub(crate) channels: Channels,
    counts: BTreeMap<u16, u64>,
    stretches: Vec<Stretch>,
    /// Messages of channels that nothing declares before them: they belong to no topic.
    undeclared: u64,
}

impl<'f> Survey<'f> {
    pub(crate) fn new(file: &'f File) -> Self {
        let (channels, counts) = (Channels::default(), BTreeMap::new());
        Self { file, channels, counts, stretches: Vec::new(), undeclared: 0 }
    }

    /// A chunk with so many messages of each channel.
    pub(crate) fn chunk(&mut self, range: Range<u64>, seen: BTreeMap<u16, u64>) -> Result<(), SourceError> {
        let channels = Some(self.count(seen));
        self.push(Stretch { range, is_chunk: true, index: None, channels })
    }

    /// A message outside of chunks: it joins the ones directly before it.
    pub(crate) fn loose_message(&mut self, range: Range<u64>, channel: u16) -> Result<(), SourceError> {
        let channels = self.count(BTreeMap::from([(channel, 1)]));
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

    fn push(&mut self, stretch: Stretch) -> Result<(), SourceError> {
        if self.stretches.len() >= MAX_STRETCHES {
            return Err(self.damaged(stretch.range.start, &format!("more than {MAX_STRETCHES} chunks")));
        }
        self.stretches.push(stretch);
        Ok(())
    }

    pub(crate) fn damaged(&self, offset: u64, reason: &str) -> SourceError {
        SourceError::Damaged { file: self.file.name().to_owned(), offset, reason: reason.to_owned() }
    }

    /// What was found. `cut_at` is where the file can be read no further, when that is before its end.
    pub(crate) fn finish(self, cut_at: Option<u64>) -> Catalog {
        let mut catalog = self.channels.into_catalog(&self.counts);
        catalog.stretches = self.stretches;
        catalog.cut = cut_at.is_some();
        if let Some(at) = cut_at {
            catalog.warnings.push(format!(
                "the file is cut or unreadable from byte {at} of {}; the whole chunks before it are used",
                self.file.size()
            ));
        }
        if self.undeclared > 0 {
            catalog.warnings.push(format!(
                "{} messages of channels that the file does not declare are left out",
                self.undeclared
            ));
        }
        catalog
    }
}
