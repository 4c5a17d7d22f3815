//! What is known of a recording once it is open: its topics and where its messages lie. Summary and scan both fill it.

use super::record::{ChannelRecord, SchemaRecord};
use super::{Topic, TopicId};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Channels (and schemas) of one recording.
pub(crate) const MAX_CHANNELS: usize = 10_000;

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
    pub(crate) topics: Vec<Topic>,
    /// For each topic, why its messages cannot be taken as one stream.
    pub(crate) conflicts: Vec<Option<String>>,
    pub(crate) by_channel: HashMap<u16, TopicId>,
    /// In the order of the file.
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) indexed: bool,
    pub(crate) cut: bool,
    pub(crate) warnings: Vec<String>,
}

/// Collects schemas and channels as they are met.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    schemas: HashMap<u16, SchemaRecord>,
    channels: BTreeMap<u16, ChannelRecord>,
}

impl Channels {
    /// Adds a schema; one met again must be the same.
    pub(crate) fn add_schema(&mut self, schema: SchemaRecord) -> Result<(), String> {
        if self.schemas.len() >= MAX_CHANNELS {
            return Err(format!("more than {MAX_CHANNELS} schemas"));
        }
        match self.schemas.get(&schema.id) {
            Some(known) if *known != schema => {
                Err(format!("schema {} is given twice, differently", schema.id))
            }
            Some(_) => Ok(()),
            None => {
                self.schemas.insert(schema.id, schema);
                Ok(())
            }
        }
    }

    /// Adds a channel; one met again must be the same.
    pub(crate) fn add_channel(&mut self, channel: ChannelRecord) -> Result<(), String> {
        if self.channels.len() >= MAX_CHANNELS {
            return Err(format!("more than {MAX_CHANNELS} channels"));
        }
        if channel.schema_id != 0 && !self.schemas.contains_key(&channel.schema_id) {
            return Err(format!("topic {} names the unknown schema {}", channel.topic, channel.schema_id));
        }
        match self.channels.get(&channel.id) {
            Some(known) if *known != channel => {
                Err(format!("channel {} is given twice, differently", channel.id))
            }
            Some(_) => Ok(()),
            None => {
                self.channels.insert(channel.id, channel);
                Ok(())
            }
        }
    }

    pub(crate) fn knows(&self, channel: u16) -> bool {
        self.channels.contains_key(&channel)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Merges the channels of each topic, in the order of topic names.
    pub(crate) fn into_catalog(self, counts: &BTreeMap<u16, u64>) -> Catalog {
        let mut catalog = Catalog::default();
        let mut names: BTreeMap<&str, Vec<&ChannelRecord>> = BTreeMap::new();
        for channel in self.channels.values() {
            names.entry(&channel.topic).or_default().push(channel);
        }
        for (name, channels) in names {
            let Some(first) = channels.first() else { continue };
            let schema = |c: &ChannelRecord| self.schemas.get(&c.schema_id);
            let same = |c: &&ChannelRecord| {
                c.message_encoding == first.message_encoding
                    && match (schema(c), schema(first)) {
                        (Some(a), Some(b)) => {
                            (&a.name, &a.encoding, &a.data) == (&b.name, &b.encoding, &b.data)
                        }
                        (a, b) => a.is_none() && b.is_none(),
                    }
            };
            let conflict = channels.iter().find(|c| !same(c)).map(|other| {
                let describe = |c: &ChannelRecord| {
                    let name = schema(c).map_or("no type", |s| s.name.as_str());
                    format!("{name} ({}, channel {})", c.message_encoding, c.id)
                };
                format!(
                    "it has messages of two types or definitions, {} and {}",
                    describe(first),
                    describe(other)
                )
            });
            let id = TopicId(catalog.topics.len());
            for channel in &channels {
                catalog.by_channel.insert(channel.id, id);
            }
            let of_schema = schema(first);
            catalog.topics.push(Topic {
                name: name.to_owned(),
                schema_name: of_schema.map(|s| s.name.clone()).unwrap_or_default(),
                schema_encoding: of_schema.map(|s| s.encoding.clone()).unwrap_or_default(),
                schema_data: of_schema.map_or_else(Bytes::new, |s| s.data.clone()),
                message_encoding: first.message_encoding.clone(),
                message_count: Some(channels.iter().filter_map(|c| counts.get(&c.id)).sum()),
            });
            catalog.conflicts.push(conflict);
        }
        catalog
    }
}
