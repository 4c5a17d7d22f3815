//! Finds one value in a JSON text and passes over all others without building them.

use super::super::path::Items;
use super::super::target::Node;
use super::value::Value;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The value at the end of the part of `node` that leads to one place, and the rest of the node. No value: no such place.
pub(super) fn find<'n>(data: &[u8], node: &'n Node) -> Result<(Option<Value>, &'n Node), serde_json::Error> {
    let mut rest = node;
    let mut depth = 0;
    while let Node::Field { then, .. } | Node::Items { items: Items::One(_), then } = rest {
        rest = then;
        depth += 1;
    }
    let mut deserializer = serde_json::Deserializer::from_slice(data);
    let found = Seek { node, depth }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((found, rest))
}

struct Seek<'n> {
    node: &'n Node,
    /// Steps left.
    depth: usize,
}

impl<'n> Seek<'n> {
    fn next(&self, then: &'n Node) -> Self {
        Self { node: then, depth: self.depth.saturating_sub(1) }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.depth == 0 {
            return serde::Deserialize::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Node::Field { name, .. } => write!(f, "an object with {name}"),
            Node::Items { .. } | Node::Whole => f.write_str("a list"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let Node::Field { name, then, .. } = self.node else {
            return Err(A::Error::custom("an object where a list was expected"));
        };
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == *name {
                found = map.next_value_seed(self.next(then))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let Node::Items { items: Items::One(wanted), then } = self.node else {
            return Err(A::Error::custom("a list where an object was expected"));
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = seq.next_element_seed(self.next(then))?.flatten();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}
