//! Extractors: a path compiled once for a message type, applied to each message's bytes.

use super::binary::{Cursor, Damage, Scalar};
use super::error::DecodeError;
use super::quaternion::Quaternions;
use super::schema::{Encoding, Schema};
use super::target::{Node, Target, resolve};
use super::types::Types;
use super::{binary, json, protobuf};
use std::borrow::Cow;
use std::sync::Arc;

/// What an extractor gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Numbers, by [`Extractor::numbers`], or exact by [`Extractor::integers`].
    Numbers {
        /// All of them are integers.
        integer: bool,
        /// All of them are booleans.
        boolean: bool,
    },
    /// Texts, by [`Extractor::strings`].
    Strings,
    /// One run of bytes, by [`Extractor::bytes`]; [`Extractor::numbers`] works too, a number a byte.
    Bytes,
}

/// A compiled plan that skips to one field.
#[derive(Debug, Clone)]
pub struct Extractor {
    schema: Arc<str>,
    encoding: Encoding,
    types: Arc<Types>,
    path: String,
    target: Target,
}

impl Extractor {
    /// Compiles a path: a field (`position`), one inside others (`pose.position.x`), a struct with all its numbers in
    /// order (`linear`), some elements (`data[2]`, `data[0:3]`, `data[:]`), or any of these behind each other
    /// (`transforms[0].transform.translation`). A struct without numbers gives its texts.
    ///
    /// # Errors
    /// [`DecodeError::Field`] with what would be valid; [`DecodeError::NeedsSample`] before [`Schema::learn`].
    pub fn compile(schema: &Schema, path: &str) -> Result<Self, DecodeError> {
        let types = schema.types()?;
        let target = resolve(schema.name(), types, path)?;
        Ok(Self {
            schema: schema.shared_name(),
            encoding: schema.encoding(),
            types: Arc::clone(types),
            path: path.to_owned(),
            target,
        })
    }

    pub(crate) fn schema_name(&self) -> &str {
        &self.schema
    }

    /// The path it was compiled from.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it gives.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.target.kind
    }

    /// How many values every message gives, where the types tell; none for lists and bytes.
    #[must_use]
    pub fn fixed_len(&self) -> Option<usize> {
        self.target.fixed_len
    }

    /// Which of the values are quaternions, where the types tell.
    #[must_use]
    pub fn quaternions(&self) -> &Quaternions {
        &self.target.quaternions
    }

    /// The names of the values where the types tell: `x, y, z` of a point, the last name of a single field.
    #[must_use]
    pub fn element_names(&self) -> Option<Vec<String>> {
        self.target.names.clone()
    }

    /// Appends the numbers, in order. Booleans are 0 and 1; integers over 2⁵³ lose their last digits.
    ///
    /// # Errors
    /// The message is damaged, lacks an element, or the field is a text. What was appended before is to be dropped.
    pub fn numbers(&self, data: &[u8], out: &mut Vec<f64>) -> Result<(), DecodeError> {
        self.no_text()?;
        self.each(data, false, &mut |value| {
            out.push(as_float(&value)?);
            Ok(())
        })
    }

    /// Appends the numbers as integers, exactly.
    ///
    /// # Errors
    /// As [`Extractor::numbers`], and when a number has a fraction or exceeds 64 bits.
    pub fn integers(&self, data: &[u8], out: &mut Vec<i64>) -> Result<(), DecodeError> {
        self.no_text()?;
        self.each(data, false, &mut |value| {
            out.push(as_integer(&value)?);
            Ok(())
        })
    }

    /// Appends the texts, in order.
    ///
    /// # Errors
    /// The message is damaged, lacks an element, or the field is a number.
    pub fn strings(&self, data: &[u8], out: &mut Vec<String>) -> Result<(), DecodeError> {
        if self.target.kind != ValueKind::Strings {
            return Err(self.wrong_kind("texts"));
        }
        self.each(data, true, &mut |value| match value {
            Scalar::Text(text) => {
                out.push(text.into_owned());
                Ok(())
            }
            other => Err(format!("{other:?} is not a text")),
        })
    }

    /// The bytes of a `uint8` array, borrowed from the message; in JSON those of a base64 text or an array of numbers.
    ///
    /// # Errors
    /// The message is damaged, or the field is nothing like bytes.
    pub fn bytes<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let node = &self.target.node;
        match self.encoding {
            Encoding::Json => {
                return json::bytes(data, node).map_err(|e| self.broken(e, data)).map(Cow::Owned);
            }
            Encoding::Protobuf => {
                let run = protobuf::bytes(&self.types, data, node);
                return run.map_err(|e| self.broken(e, data)).map(Cow::Borrowed);
            }
            Encoding::Cdr | Encoding::Ros1 => {}
        }
        let run = |mut cursor: Cursor<'a>| {
            let (kind, count, _) = cursor.locate(&self.types, &self.target.node)?;
            cursor.run_of_bytes(kind, count)
        };
        if !matches!(self.target.node_end(), Node::Whole) {
            return Err(self.wrong_kind("bytes"));
        }
        self.cursor(data).and_then(run).map(Cow::Borrowed).map_err(|e| self.broken(e, data))
    }

    /// The field as it lies in the message, undecoded: equal spans of two messages mean equal values, so that (for
    /// example) a list of names need be decoded only when it changed. JSON and Protobuf give none.
    ///
    /// # Errors
    /// The message is damaged before the field's end.
    pub fn span<'a>(&self, data: &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
        if matches!(self.encoding, Encoding::Json | Encoding::Protobuf) {
            return Ok(None);
        }
        let span = |mut cursor: Cursor<'a>| {
            let (kind, count, _) = cursor.locate(&self.types, &self.target.node)?;
            cursor.span(&self.types, kind, count)
        };
        self.cursor(data).and_then(span).map(Some).map_err(|e| self.broken(e, data))
    }

    /// Gives each value, without a list in between.
    pub(crate) fn each<'a>(
        &self,
        data: &'a [u8],
        take_text: bool,
        sink: binary::Sink<'_, 'a>,
    ) -> Result<(), DecodeError> {
        let node = &self.target.node;
        match self.encoding {
            Encoding::Json => {
                return json::emit(&self.types, data, node, take_text, sink)
                    .map_err(|e| self.broken(e, data));
            }
            Encoding::Protobuf => {
                return protobuf::emit(&self.types, data, node, take_text, sink)
                    .map_err(|e| self.broken(e, data));
            }
            Encoding::Cdr | Encoding::Ros1 => {}
        }
        let go = |mut cursor: Cursor<'a>| {
            let (kind, count, rest) = cursor.locate(&self.types, &self.target.node)?;
            cursor.emit(&self.types, (kind, count), rest, take_text, sink)
        };
        self.cursor(data).and_then(go).map_err(|e| self.broken(e, data))
    }

    fn cursor<'a>(&self, data: &'a [u8]) -> Result<Cursor<'a>, Damage> {
        Cursor::for_types(data, self.encoding, &self.types)
    }

    fn no_text(&self) -> Result<(), DecodeError> {
        if self.target.kind == ValueKind::Strings { Err(self.wrong_kind("numbers")) } else { Ok(()) }
    }

    fn wrong_kind(&self, wanted: &str) -> DecodeError {
        let is = match self.target.kind {
            ValueKind::Numbers { .. } => "numbers",
            ValueKind::Strings => "texts",
            ValueKind::Bytes => "bytes",
        };
        DecodeError::Field {
            schema: self.schema.to_string(),
            path: self.path.clone(),
            reason: format!("it holds {is}, and {wanted} were asked for"),
        }
    }

    /// Names the field; says so when the whole message looks like another encoding.
    fn broken(&self, damage: Damage, data: &[u8]) -> DecodeError {
        if matches!(self.encoding, Encoding::Cdr | Encoding::Ros1)
            && let Err(label @ DecodeError::WrongLabel { .. }) =
                binary::check(&self.schema, &self.types, self.encoding, data)
        {
            return label;
        }
        let reason = format!("reading {}: {}", self.path, damage.reason);
        Damage { reason, ..damage }.into_error(&self.schema)
    }
}

impl Target {
    /// The last node of the path.
    fn node_end(&self) -> &Node {
        let mut node = &self.node;
        loop {
            match node {
                Node::Field { then, .. } => node = then,
                Node::Items { items: super::path::Items::One(_), then } => node = then,
                Node::Items { .. } | Node::Whole => return node,
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "documented: integers over 2^53 lose their last digits")]
fn as_float(value: &Scalar<'_>) -> Result<f64, String> {
    Ok(match value {
        Scalar::Bool(b) => f64::from(u8::from(*b)),
        Scalar::Signed(i) => *i as f64,
        Scalar::Unsigned(u) => *u as f64,
        Scalar::Float(f) => *f,
        Scalar::Text(text) => return Err(format!("{text:?} is not a number")),
    })
}

fn as_integer(value: &Scalar<'_>) -> Result<i64, String> {
    /// Floats of this size and more are not whole numbers for sure.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Scalar::Bool(b) => Ok(i64::from(*b)),
        Scalar::Signed(i) => Ok(*i),
        Scalar::Unsigned(u) => i64::try_from(*u).map_err(|_| format!("{u} is over the largest int64")),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Scalar::Float(f) if f.fract() == 0.0 && f.abs() <= MAX_EXACT => Ok(*f as i64),
        Scalar::Float(f) => Err(format!("{f} is not a whole number")),
        Scalar::Text(text) => Err(format!("{text:?} is not a number")),
    }
}
