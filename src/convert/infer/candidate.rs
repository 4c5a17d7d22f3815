//! One topic as a candidate for a feature: what it is for, what is taken of it, and when it speaks.
//!
//! Looks at the topic's names, its type, and its first message.

use super::fields::{Taken, numbers};
use super::words::{base_type, is_task, role_of_numbers};
use crate::convert::decode::{Encoding, Extractor, Schema};
use crate::convert::field::Field;
use crate::convert::image::Transform;
use crate::convert::picture::{Keep, Picture};
use crate::convert::source::{Message, MessageRef, Reader, Recording, TopicId};
use crate::convert::{StopFlag, WorkError};

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    State,
    Action,
    Camera,
    Task,
}

/// A topic that may become part of a feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) topic: String,
    pub(super) role: Role,
    pub(super) taken: Vec<Taken>,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) messages: usize,
    /// The usual time between two of them; 0 of fewer than two.
    pub(super) period_ns: u64,
}

impl Candidate {
    /// How long it speaks.
    pub(super) fn span_ns(&self) -> u64 {
        self.last_ns - self.first_ns
    }

    /// Messages a second, by the median time between two: gaps do not count. None of fewer than two.
    pub(super) fn rate_hz(&self) -> Option<f64> {
        (self.period_ns > 0).then(|| 1e9 / self.period_ns as f64)
    }
}

/// The median time between two messages, or the mean one where it is zero.
fn usual_period_ns(messages: &[MessageRef]) -> u64 {
    let pairs = messages.iter().zip(messages.iter().skip(1));
    let mut periods: Vec<u64> = pairs.map(|(before, after)| after.stamp_ns - before.stamp_ns).collect();
    periods.sort_unstable();
    match periods.get(periods.len() / 2) {
        Some(0) => periods.iter().sum::<u64>() / periods.len() as u64,
        Some(median) => *median,
        None => 0,
    }
}

/// What a topic may be; a note when it looks useful and cannot be used.
pub(super) fn candidate(
    recording: &Recording,
    reader: &mut Reader,
    topic: TopicId,
    messages: &[MessageRef],
    stop: &StopFlag,
    notes: &mut Vec<String>,
) -> Result<Option<Candidate>, WorkError> {
    let (Some(about), Some(first), Some(last)) =
        (recording.topics().get(topic.0), messages.first(), messages.last())
    else {
        return Ok(None);
    };
    let by_numbers = role_of_numbers(&about.name, &about.schema_name);
    let looks_like_image = base_type(&about.schema_name).contains("Image");
    let schemas = match recording.schemas(topic, stop) {
        Ok(schemas) => schemas,
        Err(error) => {
            let why = error.of_topic()?;
            if by_numbers.is_some() || looks_like_image {
                notes.push(format!("left out {}: {why}", about.name));
            }
            return Ok(None);
        }
    };
    let Message { kind, data, .. } = reader.message(*first)?;
    let Some(schema) = schemas.get(kind) else { return Ok(None) };
    let found = match image(schema, data) {
        Some(Ok(())) => Some((Role::Camera, vec![Taken::whole("data")])),
        Some(Err(why)) if looks_like_image => {
            notes.push(format!("left out {}: {why}", about.name));
            None
        }
        _ if is_task(&about.name) => text(schema).map(|field| (Role::Task, vec![Taken::whole(&field)])),
        _ => by_numbers.map(|role| (role, numbers(schema, data))),
    };
    let found = found.filter(|(_, taken)| !taken.is_empty());
    // A topic whose type changes is taken where all of its types have the fields.
    let fields = found.iter().flat_map(|(_, taken)| taken);
    let lacking = fields.map(|taken| {
        let field = Field::compile(recording, topic, &schemas, &taken.field)?;
        field.kind(recording, topic)
    });
    if let Some(why) = lacking.filter_map(Result::err).next() {
        notes.push(format!("left out {}: {why}", about.name));
        return Ok(None);
    }
    Ok(found.map(|(role, taken)| Candidate {
        topic: about.name.clone(),
        role,
        taken,
        first_ns: first.stamp_ns,
        last_ns: last.stamp_ns,
        messages: messages.len(),
        period_ns: usual_period_ns(messages),
    }))
}

/// Whether a message holds a picture that can be taken; none when it has no bytes called `data`.
fn image(schema: &Schema, data: &[u8]) -> Option<Result<(), String>> {
    let is_bytes = schema.fields().iter().any(|field| {
        let base64 = schema.encoding() == Encoding::Json && field.is_string();
        field.path == "data" && (field.is_bytes() || base64)
    });
    if !is_bytes {
        return None;
    }
    let extractor = Extractor::compile(schema, "data").ok()?;
    let picture = Picture::new(schema, extractor, Transform::default(), Keep::Files);
    Some(picture.look(data).map(|_| ()))
}

/// The field of a text message.
fn text(schema: &Schema) -> Option<String> {
    let fields = schema.fields();
    let mut texts = fields.iter().filter(|field| field.is_string() && !field.path.starts_with("header."));
    let first = texts.next()?;
    texts.next().is_none().then(|| first.path.clone())
}
