//! JSON as lerobot lays it out, and an object whose keys keep their order, as lerobot writes features in the order of their columns.

use super::error::LerobotError;
use crate::storage::Storage;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// The largest JSON file that is read, in bytes.
const MAX_JSON_BYTES: u64 = 64 * 1024 * 1024;

/// Keys and values in order. A key is there once.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered<V>(pub Vec<(String, V)>);

/// Any JSON, with the keys of its objects in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Json>),
    Object(Ordered<Json>),
}

impl<V> Ordered<V> {
    /// Sets a key: in its place where it is there, else last.
    pub(super) fn set(&mut self, key: &str, value: V) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for OrderedVisitor<V> {
    type Value = Ordered<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, V)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, V>()? {
            if entries.iter().any(|(name, _)| *name == key) {
                return Err(serde::de::Error::custom(format!("the key {key} is there twice")));
            }
            entries.push((key, value));
        }
        Ok(Ordered(entries))
    }
}

/// JSON as Python's `json.dumps(value, indent=4)` lays it out, without a line's end.
///
/// # Errors
/// [`LerobotError::Damaged`] for a value that JSON cannot hold.
pub(super) fn to_json<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, LerobotError> {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    value.serialize(&mut serializer).map_err(|error| LerobotError::damaged(key, error))?;
    Ok(bytes)
}

/// Reads a JSON object of at most `MAX_JSON_BYTES`.
///
/// # Errors
/// The storage's, and [`LerobotError::Damaged`] with line and column.
pub(super) fn read_json<T: DeserializeOwned>(storage: &dyn Storage, key: &str) -> Result<T, LerobotError> {
    parse_json(key, &storage.read(key, MAX_JSON_BYTES)?)
}

/// Reads JSON; `key` is where it stands.
///
/// # Errors
/// [`LerobotError::Damaged`] with line and column.
pub(super) fn parse_json<T: DeserializeOwned>(key: &str, text: &[u8]) -> Result<T, LerobotError> {
    serde_json::from_slice(text).map_err(|error| LerobotError::damaged(key, error))
}
