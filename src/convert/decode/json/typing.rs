//! The types of JSON messages: from a JSON schema where the recording carries one, else from a first message.

use super::super::error::DecodeError;
use super::super::rosmsg::MAX_TEXT_BYTES;
use super::super::types::{
    Count, Field, Kind, MAX_FIELDS, MAX_NESTING_DEPTH, MAX_STRUCTS, Primitive, Struct, Types,
};
use super::not_json;
use super::value::{Number, Value};

/// Reads a JSON schema: `properties`, `items`, `$ref` into its own definitions, `contentEncoding: base64`. A property of
/// a kind that a recording's numbers and texts cannot be is left out. None when it tells nothing.
pub(crate) fn types_of_schema(schema: &str, text: &[u8]) -> Result<Option<Types>, DecodeError> {
    let refuse = |reason: String| DecodeError::Definition { schema: schema.to_owned(), reason };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(refuse(format!(
            "its text of {} bytes is over the limit of {MAX_TEXT_BYTES}",
            text.len()
        )));
    }
    let document: Value =
        serde_json::from_slice(text).map_err(|e| refuse(format!("its JSON schema is not JSON: {e}")))?;
    let mut reader = SchemaReader { document: &document, structs: Vec::new() };
    reader.structure(schema, &document, 0).map_err(refuse)?;
    finish(schema, reader.structs)
}

/// Takes the types of a message's own values.
pub(crate) fn types_of_sample(schema: &str, data: &[u8]) -> Result<Types, DecodeError> {
    let refuse = |reason: String| DecodeError::Message { schema: schema.to_owned(), offset: 0, reason };
    let value: Value = serde_json::from_slice(data).map_err(|e| not_json(data, &e).into_error(schema))?;
    let mut structs = Vec::new();
    sample(schema, &value, 0, &mut structs).map_err(refuse)?;
    let types = Types { structs, tags: Vec::new() };
    types.validate(schema)?;
    Ok(types)
}

fn finish(schema: &str, structs: Vec<Struct>) -> Result<Option<Types>, DecodeError> {
    if structs.first().is_none_or(|s| s.fields.is_empty()) {
        return Ok(None);
    }
    let types = Types { structs, tags: Vec::new() };
    types.validate(schema)?;
    Ok(Some(types))
}

/// Adds a struct without fields; they follow once its parts are known.
fn reserve(name: &str, depth: usize, structs: &mut Vec<Struct>) -> Result<usize, String> {
    if depth > MAX_NESTING_DEPTH {
        return Err(format!("it nests deeper than {MAX_NESTING_DEPTH}"));
    }
    if structs.len() >= MAX_STRUCTS {
        return Err(format!("it has more than {MAX_STRUCTS} objects"));
    }
    structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
    Ok(structs.len() - 1)
}

fn fill(structs: &mut [Struct], index: usize, fields: Vec<Field>) {
    if let Some(slot) = structs.get_mut(index) {
        slot.fields = fields;
    }
}

struct SchemaReader<'d> {
    document: &'d Value,
    structs: Vec<Struct>,
}

impl<'d> SchemaReader<'d> {
    fn structure(&mut self, name: &str, node: &'d Value, depth: usize) -> Result<usize, String> {
        let index = reserve(name, depth, &mut self.structs)?;
        let mut fields: Vec<Field> = Vec::new();
        if let Some(Value::Object(properties)) = self.followed(node).field("properties") {
            for (name, property) in properties {
                if fields.len() < MAX_FIELDS
                    && let Some((kind, count)) = self.property(name, property, depth)?
                {
                    fields.push(Field { name: name.clone(), kind, count, hidden: false });
                }
            }
        }
        fill(&mut self.structs, index, fields);
        Ok(index)
    }

    fn property(
        &mut self,
        name: &str,
        node: &'d Value,
        depth: usize,
    ) -> Result<Option<(Kind, Count)>, String> {
        let node = self.followed(node);
        let primitive = |p| Ok(Some((Kind::Primitive(p), Count::One)));
        match type_name(node) {
            Some("boolean") => primitive(Primitive::Bool),
            Some("integer") => primitive(Primitive::I64),
            Some("number") => primitive(Primitive::F64),
            Some("string") if node.field("contentEncoding").and_then(Value::text) == Some("base64") => {
                primitive(Primitive::Base64)
            }
            Some("string") => primitive(Primitive::String),
            Some("object") => {
                // A title is the type's name, as Foxglove's schemas give it.
                let name = node.field("title").and_then(Value::text).unwrap_or(name);
                self.structure(name, node, depth + 1).map(|index| Some((Kind::Struct(index), Count::One)))
            }
            Some("array") => {
                let Some(items) = node.field("items") else { return Ok(None) };
                // A list of lists has no path to its elements; it is left out.
                if type_name(self.followed(items)) == Some("array") {
                    return Ok(None);
                }
                let element = self.property(name, items, depth + 1)?;
                Ok(element.map(|(kind, _)| (kind, array_count(node))))
            }
            _ => Ok(None),
        }
    }

    /// The schema behind `$ref`s within the document; a chain of them, or a circle, ends after [`MAX_NESTING_DEPTH`].
    fn followed(&self, node: &'d Value) -> &'d Value {
        let mut node = node;
        for _ in 0..MAX_NESTING_DEPTH {
            let target = node
                .field("$ref")
                .and_then(Value::text)
                .and_then(|r| r.strip_prefix('#'))
                .and_then(|r| r.split('/').skip(1).try_fold(self.document, |at, step| at.field(step)));
            match target {
                Some(target) => node = target,
                None => return node,
            }
        }
        node
    }
}

/// The type of a schema node; of several the first that is not null.
fn type_name(node: &Value) -> Option<&str> {
    match node.field("type") {
        Some(Value::Text(name)) => Some(name),
        Some(Value::List(names)) => names.iter().filter_map(Value::text).find(|n| *n != "null"),
        _ if node.field("properties").is_some() => Some("object"),
        _ => None,
    }
}

fn array_count(node: &Value) -> Count {
    let bound = |name| match node.field(name) {
        Some(Value::Number(Number::Unsigned(n))) => u32::try_from(*n).ok(),
        _ => None,
    };
    match (bound("minItems"), bound("maxItems")) {
        (Some(min), Some(max)) if min == max => Count::Fixed(min),
        (_, bound) => Count::Dynamic { bound },
    }
}

/// Null members are left out, and an empty list counts as one of numbers, as nothing tells otherwise.
fn sample(name: &str, value: &Value, depth: usize, structs: &mut Vec<Struct>) -> Result<usize, String> {
    let Value::Object(members) = value else {
        return Err(format!("{} where an object was expected", value.described()));
    };
    let index = reserve(name, depth, structs)?;
    let mut fields: Vec<Field> = Vec::new();
    if members.len() > MAX_FIELDS {
        return Err(format!("{name} has more than {MAX_FIELDS} members"));
    }
    for (name, value) in members {
        let (element, count) = match value {
            Value::List(items) => (items.first(), Count::Dynamic { bound: None }),
            one => (Some(one), Count::One),
        };
        let kind = match element {
            None | Some(Value::Number(_)) => Kind::Primitive(Primitive::F64),
            Some(Value::Bool(_)) => Kind::Primitive(Primitive::Bool),
            Some(Value::Text(_)) => Kind::Primitive(Primitive::String),
            Some(object @ Value::Object(_)) => Kind::Struct(sample(name, object, depth + 1, structs)?),
            Some(Value::Null | Value::List(_)) => continue,
        };
        if fields.iter().all(|f| f.name != *name) {
            fields.push(Field { name: name.clone(), kind, count, hidden: false });
        }
    }
    fill(structs, index, fields);
    Ok(index)
}
