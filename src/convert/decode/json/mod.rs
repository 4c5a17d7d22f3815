//! JSON messages: values along a path, and bytes as base64 or arrays of numbers. It parses only what a path leads to.

mod seek;
mod typing;
mod value;

pub(crate) use typing::{types_of_sample, types_of_schema};

use super::binary::{Damage, Scalar, Sink};
use super::error::DecodeError;
use super::path::Items;
use super::target::{Node, takes};
use super::types::{Count, Kind, Primitive, Types};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use value::{Number, Value};

/// Standard base64, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a message is JSON at all.
pub(crate) fn check(schema: &str, data: &[u8]) -> Result<(), DecodeError> {
    serde_json::from_slice::<serde::de::IgnoredAny>(data)
        .map(|_| ())
        .map_err(|e| not_json(data, &e).into_error(schema))
}

fn not_json(data: &[u8], error: &serde_json::Error) -> Damage {
    // serde_json counts lines and columns; most messages are one line.
    let line_start: usize =
        data.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    Damage {
        offset: line_start.saturating_add(error.column()),
        reason: format!("not the JSON expected: {error}"),
    }
}

/// Gives the values that `node` selects.
pub(crate) fn emit<'a>(
    types: &Types,
    data: &'a [u8],
    node: &Node,
    take_text: bool,
    sink: Sink<'_, 'a>,
) -> Result<(), Damage> {
    let (value, rest) = find(data, node)?;
    let (kind, count) = type_of(types, node, rest);
    give(types, (kind, count), &value, rest, take_text, sink).map_err(|reason| Damage { offset: 0, reason })
}

/// The bytes that a path leads to.
pub(crate) fn bytes(data: &[u8], node: &Node) -> Result<Vec<u8>, Damage> {
    let (value, _) = find(data, node)?;
    decoded(&value).map_err(|reason| Damage { offset: 0, reason })
}

fn decoded(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::Text(text) => BASE64.decode(text).map_err(|e| format!("a text that is not base64: {e}")),
        Value::List(items) => items
            .iter()
            .map(|item| match item {
                Value::Number(Number::Unsigned(n)) => {
                    u8::try_from(*n).map_err(|_| format!("{n} is not a byte"))
                }
                other => Err(format!("{} is not a byte", other.described())),
            })
            .collect(),
        other => Err(format!("{} is not bytes", other.described())),
    }
}

fn find<'n>(data: &[u8], node: &'n Node) -> Result<(Value, &'n Node), Damage> {
    let (found, rest) = seek::find(data, node).map_err(|e| not_json(data, &e))?;
    match found {
        Some(value) => Ok((value, rest)),
        None => {
            Err(Damage { offset: data.len(), reason: "the message has no such field or element".to_owned() })
        }
    }
}

/// The type that stands where `rest` begins.
fn type_of(types: &Types, mut node: &Node, rest: &Node) -> (Kind, Count) {
    let (mut kind, mut count) = (Kind::Struct(0), Count::One);
    while !std::ptr::eq(node, rest) {
        match (node, kind) {
            (Node::Field { index, then, .. }, Kind::Struct(inner)) => {
                if let Some(field) = types.fields(inner).get(*index) {
                    (kind, count) = (field.kind, field.count);
                }
                node = then;
            }
            (Node::Items { then, .. }, _) => {
                count = Count::One;
                node = then;
            }
            _ => break,
        }
    }
    (kind, count)
}

fn give<'a>(
    types: &Types,
    at: (Kind, Count),
    value: &Value,
    node: &Node,
    take_text: bool,
    sink: Sink<'_, 'a>,
) -> Result<(), String> {
    let (kind, count) = at;
    match node {
        Node::Whole => give_whole(types, kind, count, value, take_text, sink),
        Node::Field { index, name, then } => {
            let inner = value.field(name).ok_or_else(|| format!("{name} is missing"))?;
            let Kind::Struct(parent) = kind else { return Err(format!("{name} has no type")) };
            let field = types.fields(parent).get(*index).ok_or_else(|| format!("{name} has no type"))?;
            give(types, (field.kind, field.count), inner, then, take_text, sink)
        }
        Node::Items { items, then } => {
            let Value::List(list) = value else {
                return Err(format!("{} is not a list", value.described()));
            };
            let (from, to) = match *items {
                Items::One(at) => (at as usize, at as usize + 1),
                Items::Range(from, to) => (from as usize, to.map_or(list.len(), |to| to as usize)),
            };
            let taken = list.get(from..to).ok_or_else(|| {
                format!("elements {from} to {to} of a list of {} were asked for", list.len())
            })?;
            taken.iter().try_for_each(|item| give(types, (kind, Count::One), item, then, take_text, sink))
        }
    }
}

fn give_whole<'a>(
    types: &Types,
    kind: Kind,
    count: Count,
    value: &Value,
    take_text: bool,
    sink: Sink<'_, 'a>,
) -> Result<(), String> {
    if count != Count::One {
        let Value::List(items) = value else {
            return Err(format!("{} is not a list", value.described()));
        };
        if let Count::Fixed(n) = count
            && items.len() != n as usize
        {
            return Err(format!("a list of {} elements, not {n}", items.len()));
        }
        return items.iter().try_for_each(|item| give_whole(types, kind, Count::One, item, take_text, sink));
    }
    match kind {
        Kind::Primitive(p) if !takes(p, take_text) && p != Primitive::Base64 => Ok(()),
        Kind::Primitive(Primitive::Base64) if take_text => Ok(()),
        Kind::Primitive(Primitive::Base64) => {
            decoded(value)?.into_iter().try_for_each(|byte| sink(Scalar::Unsigned(u64::from(byte))))
        }
        Kind::Primitive(_) => sink(scalar(value)?),
        Kind::Struct(index) => {
            for field in types.fields(index) {
                if matches!(field.kind, Kind::Primitive(p) if !takes(p, take_text)) {
                    continue;
                }
                let inner = value.field(&field.name).ok_or_else(|| format!("{} is missing", field.name))?;
                give_whole(types, field.kind, field.count, inner, take_text, sink)
                    .map_err(|e| format!("{}: {e}", field.name))?;
            }
            Ok(())
        }
    }
}

fn scalar(value: &Value) -> Result<Scalar<'static>, String> {
    Ok(match value {
        Value::Bool(b) => Scalar::Bool(*b),
        Value::Number(Number::Signed(i)) => Scalar::Signed(*i),
        Value::Number(Number::Unsigned(u)) => Scalar::Unsigned(*u),
        Value::Number(Number::Float(f)) => Scalar::Float(*f),
        Value::Text(text) => Scalar::Text(Cow::Owned(text.clone())),
        other => return Err(format!("{} is no value", other.described())),
    })
}
