//! A message type as a recording declares it, parsed. It does not read messages, but for [`Schema::learn`].

use super::error::DecodeError;
use super::types::{Count, Kind, Primitive, Types};
use super::{binary, idl, json, protobuf, ros2, rosmsg};
use crate::convert::source::Topic;
use std::sync::Arc;

/// Leaves listed by [`Schema::fields`].
pub(crate) const MAX_LISTED_FIELDS: usize = 10_000;

/// How messages lie in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// ROS 2: four bytes of encapsulation, then aligned values in either byte order.
    Cdr,
    /// ROS 1: little-endian, packed.
    Ros1,
    /// Protobuf, by descriptors.
    Protobuf,
    /// JSON text.
    Json,
}

/// A parsed message type. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema {
    name: Arc<str>,
    encoding: Encoding,
    /// None until a sample was learned from, for JSON without a definition.
    types: Option<Arc<Types>>,
}

/// A leaf of a message type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its path, as [`super::Extractor::compile`] takes it. Inside a list of structs it is that of the list's first element.
    pub path: String,
    /// What each of its elements is.
    pub element: Primitive,
    /// Whether it is one value or an array.
    pub array: Count,
    /// Whether it stands inside a list of structs (`transforms[0].…`), and so may be absent.
    pub in_list: bool,
}

impl FieldInfo {
    /// A number or numbers (booleans too, but not bytes).
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.element.is_numeric() && !self.is_bytes()
    }

    /// A boolean or booleans.
    #[must_use]
    pub fn is_bool(&self) -> bool {
        self.element == Primitive::Bool
    }

    /// A text or texts.
    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(self.element, Primitive::String | Primitive::WString)
    }

    /// Bytes: an array of `uint8`, or base64 in JSON.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        is_bytes(self.element, self.array)
    }
}

/// Whether a value of this type is one run of bytes.
pub(crate) fn is_bytes(element: Primitive, count: Count) -> bool {
    match element {
        Primitive::U8 => count != Count::One,
        Primitive::Base64 => count == Count::One,
        _ => false,
    }
}

impl Schema {
    /// Parses the definition that a recording carries for a topic.
    ///
    /// Reads message encoding `cdr` with `ros2msg` or `ros2idl` (or none, for the standard messages of ROS 2), `ros1` with
    /// `ros1msg`, `protobuf` with its descriptors, and `json` with `jsonschema` or none (then [`Schema::learn`] must see a message before fields are
    /// known).
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] by name for other encodings, [`DecodeError::Definition`] for a text that cannot be read.
    pub fn parse(topic: &Topic) -> Result<Self, DecodeError> {
        let name: Arc<str> = Arc::from(topic.schema_name.as_str());
        let unsupported = |encoding: String| DecodeError::Unsupported { schema: name.to_string(), encoding };
        let text: &[u8] = &topic.schema_data;
        let (encoding, types) = match (topic.message_encoding.as_str(), topic.schema_encoding.as_str()) {
            ("cdr", "ros2msg") => (Encoding::Cdr, Some(rosmsg::parse(&name, text, rosmsg::Ros::Two)?)),
            ("cdr", "ros2idl") => (Encoding::Cdr, Some(idl::parse(&name, text)?)),
            ("cdr", "ros1msg") => (Encoding::Cdr, Some(rosmsg::parse(&name, text, rosmsg::Ros::One)?)),
            ("ros1", "ros1msg" | "ros2msg") => {
                (Encoding::Ros1, Some(rosmsg::parse(&name, text, rosmsg::Ros::One)?))
            }
            ("protobuf", "protobuf") => {
                (Encoding::Protobuf, Some(protobuf::types_of_descriptors(&name, text)?))
            }
            ("json", "jsonschema") => (Encoding::Json, json::types_of_schema(&name, text)?),
            ("json", "") => (Encoding::Json, None),
            ("cdr", "") => (Encoding::Cdr, Some(standard(&name)?)),
            ("ros1" | "protobuf", "") => {
                return Err(DecodeError::Definition {
                    schema: name.to_string(),
                    reason: format!("the recording carries none for this {} topic", topic.message_encoding),
                });
            }
            ("cdr" | "ros1" | "protobuf" | "json", definition) => {
                return Err(unsupported(format!(
                    "{} with a {definition} definition",
                    topic.message_encoding
                )));
            }
            ("", _) => return Err(unsupported("an encoding without a name".to_owned())),
            (other, _) => return Err(unsupported(other.to_owned())),
        };
        Ok(Self { name, encoding, types: types.map(Arc::new) })
    }

    /// The message type's name, as the recording has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its messages lie in bytes.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether [`Schema::learn`] must see a message before fields can be compiled.
    #[must_use]
    pub fn needs_sample(&self) -> bool {
        self.types.is_none()
    }

    /// Looks at a first message: takes the types from it where the recording carries no definition (every number is
    /// a `float64` then, since JSON does not tell), and checks the label otherwise.
    ///
    /// # Errors
    /// [`DecodeError::WrongLabel`] when the bytes follow another encoding, [`DecodeError::Message`] when none.
    pub fn learn(&mut self, sample: &[u8]) -> Result<(), DecodeError> {
        match (&self.types, self.encoding) {
            (None, _) => self.types = Some(Arc::new(json::types_of_sample(&self.name, sample)?)),
            (Some(types), Encoding::Cdr | Encoding::Ros1) => {
                binary::check(&self.name, types, self.encoding, sample)?;
            }
            (Some(_), Encoding::Protobuf) => protobuf::check(&self.name, sample)?,
            (Some(_), Encoding::Json) => json::check(&self.name, sample)?,
        }
        Ok(())
    }

    /// The leaves, in order; at most 10,000 of them. None while [`Schema::needs_sample`].
    #[must_use]
    pub fn fields(&self) -> Vec<FieldInfo> {
        let mut out = Vec::new();
        if let Some(types) = &self.types {
            list(types, 0, "", false, &mut out);
        }
        out
    }

    /// Whether the message begins with a header that carries a stamp, or has a `timestamp` of its own.
    #[must_use]
    pub fn has_header(&self) -> bool {
        super::StampPlan::compile(self).is_some()
    }

    /// The types, or the error that asks for a sample.
    pub(crate) fn types(&self) -> Result<&Arc<Types>, DecodeError> {
        self.types.as_ref().ok_or_else(|| DecodeError::NeedsSample { schema: self.name.to_string() })
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }
}

/// The types of a standard message of ROS 2.
fn standard(name: &str) -> Result<Types, DecodeError> {
    if name.is_empty() {
        let reason = "the recording names no type for this cdr topic, so its bytes cannot be read".to_owned();
        return Err(DecodeError::Definition { schema: "messages without a type".to_owned(), reason });
    }
    let text = ros2::definition(name).ok_or_else(|| DecodeError::Definition {
        schema: name.to_owned(),
        reason: "the recording carries none, and it is no message that all releases of ROS 2 define alike; rewrite the \
                 recording as MCAP where the message's package is installed (`ros2 bag convert`)"
            .to_owned(),
    })?;
    rosmsg::parse(name, text.as_bytes(), rosmsg::Ros::Two)
}

/// Recursion is bounded: [`Types::validate`] holds the nesting.
fn list(types: &Types, index: usize, prefix: &str, in_list: bool, out: &mut Vec<FieldInfo>) {
    for field in types.fields(index).iter().filter(|f| !f.hidden) {
        if out.len() >= MAX_LISTED_FIELDS {
            return;
        }
        let path = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
        match (field.kind, field.count) {
            (Kind::Primitive(element), array) => out.push(FieldInfo { path, element, array, in_list }),
            (Kind::Struct(inner), Count::One) => list(types, inner, &path, in_list, out),
            (Kind::Struct(inner), _) => list(types, inner, &format!("{path}[0]"), true, out),
        }
    }
}
