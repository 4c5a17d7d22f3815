//! Protobuf messages: values along a path, by the descriptors that the recording carries. It keeps nothing between messages.
//!
//! Format rules: <https://protobuf.dev/programming-guides/encoding/>. A field that is absent has its default, as every
//! reader of Protobuf gives it; one that says itself whether it is set (`optional`, `oneof`) must be set to be read.
//! Of a single value that stands several times the last one counts; a single message that does would have to be merged,
//! and is refused.

mod typing;
mod wire;

pub(crate) use typing::types_of_descriptors;

use super::binary::{Damage, Scalar, Sink};
use super::error::DecodeError;
use super::path::Items;
use super::target::{Node, takes};
use super::types::{Kind, Primitive, Types};
use std::sync::Arc;
use wire::{Part, Piece, Pieces};

/// Parts that are looked at for each byte of a message, and besides: hostile types cannot cost more time than bytes.
const STEPS_PER_BYTE: u64 = 64;
const FREE_STEPS: u64 = 1 << 16;

/// How a field's values lie in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Bool,
    /// `int32`, and the numbers of an `enum`.
    Int32,
    Int64,
    UInt32,
    UInt64,
    SInt32,
    SInt64,
    Fixed32,
    Fixed64,
    SFixed32,
    SFixed64,
    Float,
    Double,
    Text,
    Bytes,
    Message,
}

/// What a field has when it is absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Absent {
    /// Zero, false, nothing.
    Zero,
    /// What its definition says.
    Default(Default),
    /// No value: it says itself whether it is set.
    Unset,
}

/// A default that is not zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Default {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Arc<str>),
}

/// How a field of [`Types`] is found in a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag {
    pub(crate) number: u32,
    pub(crate) form: Form,
    pub(crate) repeated: bool,
    pub(crate) absent: Absent,
}

/// Whether a message can be read as Protobuf at all.
pub(crate) fn check(schema: &str, data: &[u8]) -> Result<(), DecodeError> {
    Pieces::of(Part::whole(data))
        .try_for_each(|piece| piece.map(drop))
        .map_err(|damage| damage.into_error(schema))
}

/// Gives the values that `node` selects.
pub(crate) fn emit<'a>(
    types: &Types,
    data: &'a [u8],
    node: &Node,
    take_text: bool,
    sink: Sink<'_, 'a>,
) -> Result<(), Damage> {
    let mut walk = Walk::over(types, data, take_text);
    walk.message(Part::whole(data), 0, node, sink)
}

/// The bytes that a path leads to, borrowed from the message.
pub(crate) fn bytes<'a>(types: &Types, data: &'a [u8], node: &Node) -> Result<&'a [u8], Damage> {
    let mut walk = Walk::over(types, data, false);
    let (mut part, mut index, mut node) = (Part::whole(data), 0, node);
    loop {
        let Node::Field { index: at, name, then } = node else {
            return Err(part.damage("the path does not lead to bytes"));
        };
        let tag = walk.tag(index, *at, &part)?;
        match (tag.form, &**then) {
            (Form::Bytes, Node::Whole) => {
                return Ok(walk.last(&part, &tag)?.map_or(&[], |(_, bytes)| bytes.bytes));
            }
            (Form::Message, inner) => {
                let (wanted, inner) = match inner {
                    Node::Items { items: Items::One(wanted), then } => (*wanted, &**then),
                    inner => (0, inner),
                };
                index = walk.inner(index, *at, &part)?;
                part = walk.nth(&part, &tag, wanted, name)?;
                node = inner;
            }
            _ => return Err(part.damage("the path does not lead to bytes")),
        }
    }
}

/// One value of a field.
enum Value<'a> {
    Scalar(Scalar<'a>),
    Message(Part<'a>),
}

struct Walk<'t> {
    types: &'t Types,
    take_text: bool,
    steps: u64,
}

impl<'t> Walk<'t> {
    fn over(types: &'t Types, data: &[u8], take_text: bool) -> Self {
        let steps = FREE_STEPS.saturating_add((data.len() as u64).saturating_mul(STEPS_PER_BYTE));
        Self { types, take_text, steps }
    }

    fn tag(&self, index: usize, field: usize, part: &Part<'_>) -> Result<Tag, Damage> {
        let tag = self.types.tags.get(index).and_then(|tags| tags.get(field));
        tag.cloned().ok_or_else(|| part.damage("a field beyond its type"))
    }

    /// The struct that a field holds.
    fn inner(&self, index: usize, field: usize, part: &Part<'_>) -> Result<usize, Damage> {
        match self.types.fields(index).get(field).map(|field| field.kind) {
            Some(Kind::Struct(inner)) => Ok(inner),
            _ => Err(part.damage("no struct")),
        }
    }

    /// Each piece of a field, in order.
    fn pieces<'a>(
        &mut self,
        part: &Part<'a>,
        tag: &Tag,
        take: &mut dyn FnMut(Piece<'a>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        for piece in Pieces::of(*part) {
            let (number, piece) = piece?;
            self.steps = self
                .steps
                .checked_sub(1)
                .ok_or_else(|| part.damage("its fields have more parts than bytes could carry"))?;
            if number == tag.number {
                take(piece)?;
            }
        }
        Ok(())
    }

    /// The only value of a field that is bytes or a message; none when it is absent. The number says how often it stands.
    fn last<'a>(&mut self, part: &Part<'a>, tag: &Tag) -> Result<Option<(u32, Part<'a>)>, Damage> {
        let mut found: Option<(u32, Part<'a>)> = None;
        self.pieces(part, tag, &mut |piece| {
            let times = found.map_or(0, |(times, _)| times);
            found = Some((times.saturating_add(1), piece.part(tag.form)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// A message of a field: the only one, or the one at `wanted` of a list. One that is absent is empty.
    fn nth<'a>(&mut self, part: &Part<'a>, tag: &Tag, wanted: u32, name: &str) -> Result<Part<'a>, Damage> {
        if !tag.repeated {
            return self.only(part, tag, name);
        }
        let (mut count, mut found) = (0_u32, None);
        self.pieces(part, tag, &mut |piece| {
            if count == wanted {
                found = Some(piece.part(tag.form)?);
            }
            count = count.saturating_add(1);
            Ok(())
        })?;
        found.ok_or_else(|| part.damage(format!("element {wanted} of a list of {count} was asked for")))
    }

    fn only<'a>(&mut self, part: &Part<'a>, tag: &Tag, name: &str) -> Result<Part<'a>, Damage> {
        match self.last(part, tag)? {
            None => Ok(part.empty()),
            Some((1, message)) => Ok(message),
            Some((times, _)) => {
                Err(part
                    .damage(format!("{name} stands {times} times, and merging messages is not supported")))
            }
        }
    }

    fn message<'a>(
        &mut self,
        part: Part<'a>,
        index: usize,
        node: &Node,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Damage> {
        match node {
            Node::Field { index: field, then, .. } => self.field(&part, index, *field, then, sink),
            Node::Whole => {
                for (at, field) in self.types.fields(index).iter().enumerate() {
                    let other = matches!(field.kind, Kind::Primitive(p) if !takes(p, self.take_text));
                    if !other {
                        self.field(&part, index, at, &Node::Whole, sink)?;
                    }
                }
                Ok(())
            }
            Node::Items { .. } => Err(part.damage("a message is no list")),
        }
    }

    /// The values of a field that `then` selects.
    fn field<'a>(
        &mut self,
        part: &Part<'a>,
        index: usize,
        field: usize,
        then: &Node,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Damage> {
        let tag = self.tag(index, field, part)?;
        let name = self.types.fields(index).get(field).map_or("", |field| field.name.as_str());
        if tag.form == Form::Message && !tag.repeated {
            let inner = self.inner(index, field, part)?;
            let message = self.only(part, &tag, name)?;
            return self.message(message, inner, then, sink);
        }
        let values = self.values(part, &tag, name)?;
        let (chosen, then): (&[Value<'a>], &Node) = match then {
            Node::Items { items, then } => (chosen(&values, *items).map_err(|e| part.damage(e))?, then),
            then => (&values, then),
        };
        for value in chosen {
            match value {
                Value::Scalar(scalar) => {
                    sink(scalar.clone()).map_err(|reason| part.damage(reason))?;
                }
                Value::Message(message) => {
                    let inner = self.inner(index, field, part)?;
                    self.message(*message, inner, then, sink)?;
                }
            }
        }
        Ok(())
    }

    /// All values of a field: of a single one just it, of bytes each byte.
    fn values<'a>(&mut self, part: &Part<'a>, tag: &Tag, name: &str) -> Result<Vec<Value<'a>>, Damage> {
        if tag.form == Form::Bytes {
            let bytes = self.last(part, tag)?.map_or(&[][..], |(_, part)| part.bytes);
            return Ok(bytes.iter().map(|b| Value::Scalar(Scalar::Unsigned(u64::from(*b)))).collect());
        }
        let mut values = Vec::new();
        self.pieces(part, tag, &mut |piece| {
            if tag.form == Form::Message {
                values.push(Value::Message(piece.part(tag.form)?));
                return Ok(());
            }
            if !tag.repeated {
                values.clear();
            }
            piece.scalars(tag.form, &mut |scalar| values.push(Value::Scalar(scalar)))
        })?;
        if values.is_empty() && !tag.repeated {
            let absent = match &tag.absent {
                Absent::Zero => zero(tag.form),
                Absent::Default(default) => default.scalar(),
                Absent::Unset => return Err(part.damage(format!("{name} is not set"))),
            };
            values.push(Value::Scalar(absent));
        }
        Ok(values)
    }
}

fn chosen<'v, 'a>(values: &'v [Value<'a>], items: Items) -> Result<&'v [Value<'a>], String> {
    let n = values.len();
    let (from, to) = match items {
        Items::One(at) => (at as usize, (at as usize).saturating_add(1)),
        Items::Range(from, to) => (from as usize, to.map_or(n, |to| to as usize)),
    };
    values.get(from..to).ok_or_else(|| format!("elements {from} to {to} of a list of {n} were asked for"))
}

fn zero(form: Form) -> Scalar<'static> {
    match form {
        Form::Bool => Scalar::Bool(false),
        Form::Float | Form::Double => Scalar::Float(0.0),
        Form::Text => Scalar::Text("".into()),
        Form::UInt32 | Form::UInt64 | Form::Fixed32 | Form::Fixed64 => Scalar::Unsigned(0),
        _ => Scalar::Signed(0),
    }
}

impl Default {
    fn scalar(&self) -> Scalar<'static> {
        match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Signed(value) => Scalar::Signed(*value),
            Self::Unsigned(value) => Scalar::Unsigned(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Text(value) => Scalar::Text(value.to_string().into()),
        }
    }
}

impl Form {
    /// What its values are for those who know no Protobuf; none for messages.
    fn primitive(self) -> Option<Primitive> {
        Some(match self {
            Self::Bool => Primitive::Bool,
            Self::Int32 | Self::SInt32 | Self::SFixed32 => Primitive::I32,
            Self::Int64 | Self::SInt64 | Self::SFixed64 => Primitive::I64,
            Self::UInt32 | Self::Fixed32 => Primitive::U32,
            Self::UInt64 | Self::Fixed64 => Primitive::U64,
            Self::Float => Primitive::F32,
            Self::Double => Primitive::F64,
            Self::Text => Primitive::String,
            Self::Bytes => Primitive::U8,
            Self::Message => return None,
        })
    }
}

#[cfg(test)]
mod tests;
