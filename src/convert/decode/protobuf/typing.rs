//! The types of Protobuf messages, from the descriptors that a recording carries.
//!
//! Not by the crate `prost-reflect`: its pool panics on descriptors that were tampered with.

use super::super::error::DecodeError;
use super::super::rosmsg::MAX_TEXT_BYTES;
use super::super::types::{Count, Field, Kind, MAX_FIELDS, MAX_NESTING_DEPTH, MAX_STRUCTS, Struct, Types};
use super::{Absent, Default, Form, Tag};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::HashMap;

/// Reads a serialized `FileDescriptorSet`. Left out are fields that no path could lead to: lists of bytes, groups, and
/// what contains itself.
pub(crate) fn types_of_descriptors(schema: &str, set: &[u8]) -> Result<Types, DecodeError> {
    let refuse = |reason: String| DecodeError::Definition { schema: schema.to_owned(), reason };
    if set.len() > MAX_TEXT_BYTES {
        return Err(refuse(format!("its {} bytes are over the limit of {MAX_TEXT_BYTES}", set.len())));
    }
    let set = FileDescriptorSet::decode(set)
        .map_err(|error| refuse(format!("its file descriptor set cannot be read: {error}")))?;
    let mut known = HashMap::new();
    for file in &set.file {
        let presence = if file.syntax() == "proto3" { Presence::Implicit } else { Presence::Explicit };
        collect(file.package(), &file.message_type, presence, &mut known);
    }
    let mut building = Building { known, ..Building::default() };
    building.message(schema).map_err(refuse)?;
    let types = Types { structs: building.structs, tags: building.tags };
    types.validate(schema)?;
    Ok(types)
}

/// Whether a single value that says nothing of itself tells an absent one from a zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Implicit,
    Explicit,
}

type Known<'d> = HashMap<String, (&'d DescriptorProto, Presence)>;

/// All messages under their full names. The decoder bounds how deep they nest.
fn collect<'d>(scope: &str, messages: &'d [DescriptorProto], presence: Presence, known: &mut Known<'d>) {
    for message in messages {
        let name =
            if scope.is_empty() { message.name().to_owned() } else { format!("{scope}.{}", message.name()) };
        collect(&name, &message.nested_type, presence, known);
        known.insert(name, (message, presence));
    }
}

#[derive(Default)]
struct Building<'d> {
    known: Known<'d>,
    structs: Vec<Struct>,
    tags: Vec<Vec<Tag>>,
    done: HashMap<String, usize>,
    /// The messages that are being built, outermost first.
    open: Vec<String>,
}

impl Building<'_> {
    fn message(&mut self, name: &str) -> Result<usize, String> {
        if let Some(index) = self.done.get(name) {
            return Ok(*index);
        }
        let (message, presence) = self
            .known
            .get(name)
            .copied()
            .ok_or_else(|| format!("its file descriptor set has no message {name}"))?;
        if self.structs.len() >= MAX_STRUCTS {
            return Err(format!("it has more than {MAX_STRUCTS} messages"));
        }
        let index = self.structs.len();
        self.structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
        self.tags.push(Vec::new());
        self.open.push(name.to_owned());
        let (mut fields, mut tags) = (Vec::new(), Vec::new());
        for field in message.field.iter().take(MAX_FIELDS) {
            if let Some((kind, count, tag)) = self.field(field, presence)? {
                fields.push(Field { name: field.name().to_owned(), kind, count, hidden: false });
                tags.push(tag);
            }
        }
        self.open.pop();
        if let (Some(slot), Some(of)) = (self.structs.get_mut(index), self.tags.get_mut(index)) {
            (slot.fields, *of) = (fields, tags);
        }
        self.done.insert(name.to_owned(), index);
        Ok(index)
    }

    fn field(
        &mut self,
        field: &FieldDescriptorProto,
        presence: Presence,
    ) -> Result<Option<(Kind, Count, Tag)>, String> {
        let repeated = field.label() == Label::Repeated;
        let count = if repeated { Count::Dynamic { bound: None } } else { Count::One };
        let Some(form) = form(field) else { return Ok(None) };
        let number = u32::try_from(field.number()).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| format!("{} has {} for a number", field.name(), field.number()))?;
        let tag = Tag { number, form, repeated, absent: absent(field, form, presence) };
        Ok(match form {
            Form::Bytes if repeated => None,
            Form::Bytes => {
                form.primitive().map(|p| (Kind::Primitive(p), Count::Dynamic { bound: None }, tag))
            }
            Form::Message => {
                let name = field.type_name().trim_start_matches('.');
                let circular = self.open.iter().any(|open| open == name);
                if circular || self.open.len() >= MAX_NESTING_DEPTH {
                    None
                } else {
                    Some((Kind::Struct(self.message(name)?), count, tag))
                }
            }
            _ => form.primitive().map(|p| (Kind::Primitive(p), count, tag)),
        })
    }
}

/// None for groups, and for what newer versions may add.
fn form(field: &FieldDescriptorProto) -> Option<Form> {
    Some(match Type::try_from(field.r#type?).ok()? {
        Type::Bool => Form::Bool,
        Type::Int32 | Type::Enum => Form::Int32,
        Type::Int64 => Form::Int64,
        Type::Uint32 => Form::UInt32,
        Type::Uint64 => Form::UInt64,
        Type::Sint32 => Form::SInt32,
        Type::Sint64 => Form::SInt64,
        Type::Fixed32 => Form::Fixed32,
        Type::Fixed64 => Form::Fixed64,
        Type::Sfixed32 => Form::SFixed32,
        Type::Sfixed64 => Form::SFixed64,
        Type::Float => Form::Float,
        Type::Double => Form::Double,
        Type::String => Form::Text,
        Type::Bytes => Form::Bytes,
        Type::Message => Form::Message,
        Type::Group => return None,
    })
}

/// What a single field has when it is absent. A field of proto2 with a default in its definition has that.
fn absent(field: &FieldDescriptorProto, form: Form, presence: Presence) -> Absent {
    let says_itself = field.oneof_index.is_some() || presence == Presence::Explicit;
    let default = field.default_value.as_deref().and_then(|text| match form {
        Form::Bool => text.parse().ok().map(Default::Bool),
        Form::UInt32 | Form::UInt64 | Form::Fixed32 | Form::Fixed64 => {
            text.parse().ok().map(Default::Unsigned)
        }
        Form::Float | Form::Double => text.parse().ok().map(Default::Float),
        Form::Text => Some(Default::Text(text.into())),
        Form::Bytes | Form::Message => None,
        // The default of an enum is a name: such a field must be set to be read.
        _ => text.parse().ok().map(Default::Signed),
    });
    match default {
        Some(default) => Absent::Default(default),
        None if says_itself => Absent::Unset,
        None => Absent::Zero,
    }
}
