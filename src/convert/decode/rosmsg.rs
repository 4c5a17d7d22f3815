//! ROS message definitions as text, of ROS 1 (`ros1msg`) and ROS 2 (`ros2msg`): the main definition, then each type
//! it needs behind a line of `=` and `MSG: package/Type`.
//!
//! Format rules: wiki.ros.org/msg, and the ROS 2 interface definition page. Constants and default values are read
//! over, since they are not in the bytes.

use super::error::DecodeError;
use super::types::{Count, Field, Kind, MAX_FIELDS, MAX_STRUCTS, Primitive, Struct, Types};
use std::collections::HashMap;

/// A definition's text may be this long, with all types it needs.
pub(crate) const MAX_TEXT_BYTES: usize = 4 << 20;

/// Which ROS: they differ in `char`, `byte`, `time`, `Header` and in empty structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ros {
    One,
    Two,
}

/// A definition before its types are looked up.
struct Section<'a> {
    name: String,
    fields: Vec<RawField<'a>>,
}

struct RawField<'a> {
    line: usize,
    name: &'a str,
    base: &'a str,
    count: Count,
}

/// Reads a definition. `schema` is the main type's name, with or without `/msg/`.
pub(crate) fn parse(schema: &str, text: &[u8], ros: Ros) -> Result<Types, DecodeError> {
    let refuse = |reason: String| DecodeError::Definition { schema: schema.to_owned(), reason };
    if text.len() > MAX_TEXT_BYTES {
        return Err(refuse(format!(
            "its text of {} bytes is over the limit of {MAX_TEXT_BYTES}",
            text.len()
        )));
    }
    let text = std::str::from_utf8(text)
        .map_err(|e| refuse(format!("its text is not UTF-8 after byte {}", e.valid_up_to())))?;
    let sections = split(schema, text).map_err(refuse)?;
    let types = link(&sections, ros).map_err(refuse)?;
    types.validate(schema)?;
    Ok(types)
}

/// `package/Type` of a name that may have `msg`, `srv` or `action` in its middle.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.trim().trim_start_matches('/');
    match (name.split('/').next(), name.rsplit('/').next(), name.matches('/').count()) {
        (Some(package), Some(short), 2..) => format!("{package}/{short}"),
        _ => name.to_owned(),
    }
}

fn split<'a>(schema: &str, text: &'a str) -> Result<Vec<Section<'a>>, String> {
    let mut sections = vec![Section { name: canonical(schema), fields: Vec::new() }];
    let mut awaiting_name = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.len() >= 3 && trimmed.bytes().all(|b| b == b'=') {
            awaiting_name = true;
            continue;
        }
        if awaiting_name {
            if trimmed.is_empty() {
                continue;
            }
            let name = trimmed.strip_prefix("MSG:").ok_or_else(|| {
                format!("line {}: expected `MSG: package/Type` after a line of =", index + 1)
            })?;
            if sections.len() >= MAX_STRUCTS {
                return Err(format!("line {}: more than {MAX_STRUCTS} types", index + 1));
            }
            sections.push(Section { name: canonical(name), fields: Vec::new() });
            awaiting_name = false;
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(field) = field_of(trimmed, index + 1).map_err(|e| format!("line {}: {e}", index + 1))? {
            if section.fields.len() >= MAX_FIELDS {
                return Err(format!(
                    "line {}: {} has more than {MAX_FIELDS} fields",
                    index + 1,
                    section.name
                ));
            }
            section.fields.push(field);
        }
    }
    Ok(sections)
}

/// The field of a line; none for comments, blank lines and constants.
fn field_of(line: &str, number: usize) -> Result<Option<RawField<'_>>, String> {
    // A text constant may hold a `#`, but a constant is known by the `=` that follows its name before any `#`.
    let line = line.split('#').next().unwrap_or("").trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (ty, rest) = line
        .split_once(|c: char| c.is_ascii_whitespace())
        .ok_or_else(|| format!("`{}` is not `type name`", shorten(line)))?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(format!("`{}` is not `type name`", shorten(line)));
    }
    if after.trim_start().starts_with('=') {
        return Ok(None);
    }
    let (base, count) = type_of(ty)?;
    Ok(Some(RawField { line: number, name, base, count }))
}

/// Splits `int32[<=5]` into its element type and count. The bound of a bounded text is read over.
fn type_of(ty: &str) -> Result<(&str, Count), String> {
    let (element, count) = match ty.split_once('[') {
        None => (ty, Count::One),
        Some((element, rest)) => {
            let inner =
                rest.strip_suffix(']').ok_or_else(|| format!("type `{}` lacks a `]`", shorten(ty)))?;
            let number = |text: &str| {
                text.parse::<u32>().map_err(|_| format!("`{}` is not an array length", shorten(text)))
            };
            let count = match inner.strip_prefix("<=") {
                Some(bound) => Count::Dynamic { bound: Some(number(bound.trim())?) },
                None if inner.trim().is_empty() => Count::Dynamic { bound: None },
                None => Count::Fixed(number(inner.trim())?),
            };
            (element, count)
        }
    };
    let base = element.split("<=").next().unwrap_or(element);
    if base.is_empty() {
        return Err(format!("`{}` is not a type", shorten(ty)));
    }
    Ok((base, count))
}

fn primitive(name: &str, ros: Ros) -> Option<Primitive> {
    Some(match name {
        "bool" | "boolean" => Primitive::Bool,
        "int8" => Primitive::I8,
        "uint8" | "char" | "octet" => Primitive::U8,
        // ROS 1's deprecated alias of int8; an octet in ROS 2.
        "byte" => match ros {
            Ros::One => Primitive::I8,
            Ros::Two => Primitive::U8,
        },
        "int16" => Primitive::I16,
        "uint16" => Primitive::U16,
        "int32" => Primitive::I32,
        "uint32" => Primitive::U32,
        "int64" => Primitive::I64,
        "uint64" => Primitive::U64,
        "float32" | "float" => Primitive::F32,
        "float64" | "double" => Primitive::F64,
        "string" => Primitive::String,
        "wstring" if ros == Ros::Two => Primitive::WString,
        _ => return None,
    })
}

/// Types that definitions use without bringing them along: (name, seconds, rest of a second).
fn builtin(name: &str, ros: Ros) -> Option<Struct> {
    let (seconds, rest) = match ros {
        Ros::One => ("secs", "nsecs"),
        Ros::Two => ("sec", "nanosec"),
    };
    let (second, fraction) = match (name, ros) {
        ("time", Ros::One) => (Primitive::U32, Primitive::U32),
        ("duration", Ros::One) => (Primitive::I32, Primitive::I32),
        ("time" | "duration" | "builtin_interfaces/Time" | "builtin_interfaces/Duration", Ros::Two) => {
            (Primitive::I32, Primitive::U32)
        }
        _ => return None,
    };
    let field = |name: &str, p| Field {
        name: name.to_owned(),
        kind: Kind::Primitive(p),
        count: Count::One,
        hidden: false,
    };
    Some(Struct { name: name.to_owned(), fields: vec![field(seconds, second), field(rest, fraction)] })
}

/// Where types are looked up while a definition is linked.
struct Names {
    full: HashMap<String, usize>,
    /// By the part behind the slash; the first of several.
    short: HashMap<String, usize>,
}

impl Names {
    fn of(sections: &[Section<'_>]) -> Self {
        let mut names = Self { full: HashMap::new(), short: HashMap::new() };
        for (index, section) in sections.iter().enumerate() {
            names.full.entry(section.name.clone()).or_insert(index);
            let short = section.name.rsplit('/').next().unwrap_or_default();
            names.short.entry(short.to_owned()).or_insert(index);
        }
        names
    }

    fn find(&self, base: &str, scope: &str) -> Option<usize> {
        let name = canonical(base);
        if name.contains('/') {
            return self.full.get(&name).copied();
        }
        let package = scope.split('/').next().unwrap_or_default();
        self.full
            .get(&format!("{package}/{name}"))
            .or_else(|| if name == "Header" { self.full.get("std_msgs/Header") } else { None })
            .or_else(|| self.full.get(&name))
            .or_else(|| self.short.get(&name))
            .copied()
    }
}

fn link(sections: &[Section<'_>], ros: Ros) -> Result<Types, String> {
    let mut names = Names::of(sections);
    let mut structs: Vec<Struct> = Vec::with_capacity(sections.len());
    let mut extra: Vec<Struct> = Vec::new();
    for section in sections {
        let mut fields = Vec::with_capacity(section.fields.len());
        for raw in &section.fields {
            let kind = if let Some(p) = primitive(raw.base, ros) {
                Kind::Primitive(p)
            } else if let Some(index) = names.find(raw.base, &section.name) {
                Kind::Struct(index)
            } else if let Some(known) = builtin(&canonical(raw.base), ros) {
                let index = sections.len() + extra.len();
                names.full.insert(known.name.clone(), index);
                extra.push(known);
                Kind::Struct(index)
            } else {
                return Err(format!(
                    "line {}: field {} has the type {}, which the definition does not bring along",
                    raw.line,
                    raw.name,
                    shorten(raw.base)
                ));
            };
            fields.push(Field { name: raw.name.to_owned(), kind, count: raw.count, hidden: false });
        }
        if fields.is_empty() && ros == Ros::Two {
            // rosidl gives an empty struct one member, and it is in the bytes.
            fields.push(Field {
                name: "structure_needs_at_least_one_member".to_owned(),
                kind: Kind::Primitive(Primitive::U8),
                count: Count::One,
                hidden: true,
            });
        }
        structs.push(Struct { name: section.name.clone(), fields });
    }
    structs.append(&mut extra);
    Ok(Types { structs, tags: Vec::new() })
}

/// Enough of a hostile text to recognise it.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut out: String = text.chars().take(SHOWN_CHARS).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
