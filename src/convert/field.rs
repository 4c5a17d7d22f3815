//! A field of a topic: one plan for each type that the topic's messages have.
//!
//! A field that one of the types lacks, or has as something else, is refused by name: values would be missing, or mean
//! something else, from there on.

use super::decode::{Extractor, Schema, ValueKind};
use super::nearest::listed;
use super::source::{Recording, TopicId};
use std::mem::discriminant;

/// Types that a message lists.
const LISTED_MAX: usize = 6;

/// Plans for one field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    first: Extractor,
    /// Of the other types.
    more: Vec<Extractor>,
}

impl Field {
    /// Compiles a path for each type. `schemas` are those of [`Recording::schemas`].
    ///
    /// # Errors
    /// What is wrong with it, and for which type.
    pub(crate) fn compile(
        recording: &Recording,
        topic: TopicId,
        schemas: &[Schema],
        path: &str,
    ) -> Result<Self, String> {
        let compiled = schemas.iter().map(|schema| {
            Extractor::compile(schema, path).map_err(|error| format!("{error}{}", all_must(recording, topic)))
        });
        let mut all = compiled.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = all.next().ok_or_else(|| "its topic has no type".to_owned())?;
        Ok(Self { first, more: all.collect() })
    }

    /// The plan for messages of this type; that of the first for a type that there is not.
    pub(crate) fn of(&self, kind: usize) -> &Extractor {
        kind.checked_sub(1).and_then(|at| self.more.get(at)).unwrap_or(&self.first)
    }

    /// All plans, in the order of the types.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Extractor> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// What all types give.
    ///
    /// # Errors
    /// They give different things: texts and numbers, or elements of other names.
    pub(crate) fn kind(&self, recording: &Recording, topic: TopicId) -> Result<ValueKind, String> {
        let kind = self.first.kind();
        for other in &self.more {
            if discriminant(&other.kind()) != discriminant(&kind) {
                let what = format!("{} is {} and {}", other.path(), word(kind), word(other.kind()));
                return Err(format!("{what}{}", all_must(recording, topic)));
            }
            if let (Some(one), Some(two)) = (self.first.element_names(), other.element_names())
                && one != two
            {
                let what = format!("{} is {} and {}", other.path(), one.join(", "), two.join(", "));
                return Err(format!("{what}: take its elements one by one{}", all_must(recording, topic)));
            }
        }
        Ok(kind)
    }
}

fn word(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Numbers { .. } => "numbers",
        ValueKind::Strings => "a text",
        ValueKind::Bytes => "bytes",
    }
}

/// Says of a topic of several types which they are; nothing of others.
pub(crate) fn all_must(recording: &Recording, topic: TopicId) -> String {
    let types = recording.types(topic);
    let (Some(first), 2..) = (types.first(), types.len()) else { return String::new() };
    let shown: Vec<String> = types.iter().map(|known| known.type_shown()).collect();
    let shown = listed(shown.iter().map(String::as_str), LISTED_MAX);
    format!(
        "; {} has messages of {} types or definitions, {shown}, and a field is taken of all of them: take one that all have, or \
         convert the recordings before and after the change apart",
        first.name,
        types.len()
    )
}
