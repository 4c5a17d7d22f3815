//! Where a path leads in a message's types, and what stands there: the part of compiling that all encodings share.

use super::error::DecodeError;
use super::extract::ValueKind;
use super::path::{self, Items, Segment};
use super::quaternion::Quaternions;
use super::schema::is_bytes;
use super::types::{Count, Kind, Primitive, Types};
use crate::convert::nearest::{listed, meant};

/// Elements that are given names.
const MAX_NAMED_ELEMENTS: usize = 4_096;
/// Field names listed in an error.
const MAX_LISTED: usize = 24;

/// What to do with the value at hand.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// It is a struct: go into this field.
    Field { index: usize, name: String, then: Box<Self> },
    /// It is a list: go into these elements.
    Items { items: Items, then: Box<Self> },
    /// Take all of it.
    Whole,
}

/// A path resolved.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) node: Node,
    pub(crate) kind: ValueKind,
    /// How many values come out of every message, if the types tell.
    pub(crate) fixed_len: Option<usize>,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) quaternions: Quaternions,
}

/// What a path's end is.
struct End {
    kind: Kind,
    count: Count,
    /// How many times it is taken, if the types tell.
    times: Option<usize>,
    through_items: bool,
}

/// Resolves a path in the types of `schema`.
pub(crate) fn resolve(schema: &str, types: &Types, text: &str) -> Result<Target, DecodeError> {
    let refuse =
        |reason: String| DecodeError::Field { schema: schema.to_owned(), path: text.to_owned(), reason };
    let segments = path::parse(text).map_err(refuse)?;
    let (node, end) = walk(types, Kind::Struct(0), Count::One, &segments, "").map_err(refuse)?;
    let mut found = Found::default();
    found.collect(types, end.kind);
    let kind = match end.kind {
        Kind::Primitive(p) if is_bytes(p, end.count) && !end.through_items => ValueKind::Bytes,
        _ if found.numeric => ValueKind::Numbers { integer: found.all_integer, boolean: found.all_boolean },
        _ if found.text => ValueKind::Strings,
        _ => return Err(refuse("it holds neither numbers nor texts".to_owned())),
    };
    let take_text = kind == ValueKind::Strings;
    let one = leaves(types, end.kind, end.count, take_text);
    let fixed_len = match (one, end.times) {
        (Some(one), Some(times)) => one.checked_mul(times).filter(|_| kind != ValueKind::Bytes),
        _ => None,
    };
    let names = match fixed_len {
        Some(n) if n <= MAX_NAMED_ELEMENTS && end.times == Some(1) && end.count == Count::One => {
            let last = segments.iter().rev().find_map(|s| match s {
                Segment::Name(name) => Some(name.as_str()),
                Segment::Items(_) => None,
            });
            let mut out = Vec::with_capacity(n);
            match end.kind {
                Kind::Primitive(_) if end.through_items => None,
                Kind::Primitive(_) => Some(vec![last.unwrap_or_default().to_owned()]),
                Kind::Struct(index) => {
                    name_leaves(types, index, "", take_text, &mut out);
                    Some(out)
                }
            }
        }
        _ => None,
    };
    let quaternions = Quaternions::of(types, end.kind);
    Ok(Target { node, kind, fixed_len, names, quaternions })
}

fn walk(
    types: &Types,
    kind: Kind,
    count: Count,
    segments: &[Segment],
    so_far: &str,
) -> Result<(Node, End), String> {
    let Some((segment, rest)) = segments.split_first() else {
        return Ok((Node::Whole, End { kind, count, times: Some(1), through_items: false }));
    };
    match segment {
        Segment::Name(name) => {
            if count != Count::One {
                return Err(format!("{so_far} is a list: write {so_far}[0].{name} or {so_far}[:].{name}"));
            }
            let Kind::Struct(inner) = kind else {
                return Err(format!("{so_far} is {}, which has no parts", described(types, kind, count)));
            };
            let fields = types.fields(inner);
            let Some((index, field)) = fields.iter().enumerate().find(|(_, f)| f.name == *name && !f.hidden)
            else {
                return Err(unknown(types, inner, name, so_far));
            };
            let path = if so_far.is_empty() { name.clone() } else { format!("{so_far}.{name}") };
            let (then, end) = walk(types, field.kind, field.count, rest, &path)?;
            Ok((Node::Field { index, name: name.clone(), then: Box::new(then) }, end))
        }
        Segment::Items(items) => {
            let taken = match (count, *items) {
                (Count::One, _) => {
                    return Err(format!("{so_far} is {}, not a list", described(types, kind, count)));
                }
                (Count::Fixed(n), Items::One(last)) if last >= n => {
                    return Err(format!("{so_far} has {n} elements, from 0"));
                }
                (Count::Fixed(n), Items::Range(from, to)) if from >= n || to.is_some_and(|to| to > n) => {
                    return Err(format!("{so_far} has {n} elements, from 0"));
                }
                (_, Items::One(_)) => Some(1),
                (_, Items::Range(from, Some(to))) => usize::try_from(to - from).ok(),
                (Count::Fixed(n), Items::Range(from, None)) => usize::try_from(n - from).ok(),
                (Count::Dynamic { .. }, Items::Range(_, None)) => None,
            };
            let (then, mut end) = walk(types, kind, Count::One, rest, &format!("{so_far}[…]"))?;
            end.times = end.times.zip(taken).and_then(|(a, b)| a.checked_mul(b));
            end.through_items |= rest.is_empty();
            Ok((Node::Items { items: *items, then: Box::new(then) }, end))
        }
    }
}

/// A type for an error message.
fn described(types: &Types, kind: Kind, count: Count) -> String {
    let one = match kind {
        Kind::Primitive(p) => p.name(),
        Kind::Struct(index) => types.struct_name(index),
    };
    match count {
        Count::One => format!("one {one}"),
        Count::Fixed(n) => format!("{n} × {one}"),
        Count::Dynamic { .. } => format!("a list of {one}"),
    }
}

fn unknown(types: &Types, index: usize, name: &str, so_far: &str) -> String {
    let visible = || types.fields(index).iter().filter(|f| !f.hidden).map(|f| f.name.as_str());
    let place = if so_far.is_empty() { "the message".to_owned() } else { so_far.to_owned() };
    let hint = meant(name, visible()).map(|n| format!(", did you mean {n:?}?")).unwrap_or_default();
    format!("{place} has no {name}{hint}; its fields are {}", listed(visible(), MAX_LISTED))
}

/// What kinds of leaves a subtree has.
struct Found {
    numeric: bool,
    text: bool,
    all_integer: bool,
    all_boolean: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { numeric: false, text: false, all_integer: true, all_boolean: true }
    }
}

impl Found {
    fn collect(&mut self, types: &Types, kind: Kind) {
        match kind {
            Kind::Primitive(p) if p.is_numeric() => {
                self.numeric = true;
                self.all_integer &= p.is_integer();
                self.all_boolean &= p == Primitive::Bool;
            }
            Kind::Primitive(_) => self.text = true,
            Kind::Struct(index) => {
                for field in types.fields(index).iter().filter(|f| !f.hidden) {
                    self.collect(types, field.kind);
                }
            }
        }
    }
}

/// How many leaves are taken from a value; none when lists in it decide.
fn leaves(types: &Types, kind: Kind, count: Count, take_text: bool) -> Option<usize> {
    let one = match kind {
        Kind::Primitive(p) => usize::from(takes(p, take_text)),
        Kind::Struct(index) => {
            let mut sum = 0_usize;
            for field in types.fields(index).iter().filter(|f| !f.hidden) {
                sum = sum.checked_add(leaves(types, field.kind, field.count, take_text)?)?;
            }
            sum
        }
    };
    match count {
        Count::One => Some(one),
        Count::Fixed(n) => one.checked_mul(usize::try_from(n).ok()?),
        Count::Dynamic { .. } if one == 0 => Some(0),
        Count::Dynamic { .. } => None,
    }
}

/// Whether a leaf is taken when a whole subtree is: numbers, or texts where there are no numbers.
pub(crate) fn takes(p: Primitive, take_text: bool) -> bool {
    p.is_numeric() != take_text
}

fn name_leaves(types: &Types, index: usize, prefix: &str, take_text: bool, out: &mut Vec<String>) {
    for field in types.fields(index).iter().filter(|f| !f.hidden) {
        if matches!(field.kind, Kind::Primitive(p) if !takes(p, take_text)) {
            continue;
        }
        let path = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
        let places: Vec<String> = match field.count {
            Count::One => vec![path],
            Count::Fixed(n) => (0..n).map(|i| format!("{path}[{i}]")).collect(),
            Count::Dynamic { .. } => Vec::new(),
        };
        for place in places {
            match field.kind {
                Kind::Primitive(_) => out.push(place),
                Kind::Struct(inner) => name_leaves(types, inner, &place, take_text, out),
            }
        }
    }
}
