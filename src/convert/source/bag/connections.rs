//! A bag's connections, as the channels that other recordings have.

use super::super::catalog::Channels;
use super::record::{Framed, field};
use ::mcap::records::{Channel, Record, SchemaHeader};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Collects connections as they are met; one met again must be the same.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// By type and checksum: publishers may spell one definition in several ways (other comments, other blanks).
    definitions: HashMap<(String, String), Vec<u8>>,
}

impl Connections {
    /// Adds a connection record to the channels. The error is a reason.
    pub(super) fn add(&mut self, framed: &Framed<'_>, channels: &mut Channels) -> Result<(), String> {
        let text = |value: Option<&[u8]>, what: &str| {
            let text = value.and_then(|value| std::str::from_utf8(value).ok());
            text.map(str::to_owned).ok_or_else(|| format!("a connection without a readable {what}"))
        };
        let id = framed.connection().filter(|id| *id < u16::MAX);
        let id = id.ok_or_else(|| format!("a connection whose number is not below {}", u16::MAX))?;
        let topic = text(framed.header("topic"), "topic")?;
        let name = text(field(framed.data, "type"), "type")?;
        let checksum = text(field(framed.data, "md5sum"), "md5sum")?;
        let definition = field(framed.data, "message_definition").unwrap_or_default();
        let definition =
            self.definitions.entry((name.clone(), checksum)).or_insert_with(|| definition.to_vec());
        // A schema's number is never 0: that stands for none.
        let schema_id = id + 1;
        let header = SchemaHeader { id: schema_id, name, encoding: "ros1msg".to_owned() };
        channels.add(Record::Schema { header, data: Cow::Borrowed(definition) })?;
        let message_encoding = "ros1".to_owned();
        channels.add(Record::Channel(Channel {
            id,
            schema_id,
            topic,
            message_encoding,
            metadata: BTreeMap::new(),
        }))
    }
}
