//! Walks the bytes of CDR and ROS 1 messages along their types. It keeps nothing between messages.
//!
//! Format rules: CDR of DDS-XTYPES 7.4 (plain, versions 1 and 2; alignment relative to the byte behind the
//! encapsulation), and wiki.ros.org's ROS 1 serialization (packed, little-endian, u32 lengths).

use super::error::DecodeError;
use super::path::Items;
use super::schema::Encoding;
use super::target::{Node, takes};
use super::types::{Count, Field, Kind, MAX_NESTING_DEPTH, Primitive, Types};
use std::borrow::Cow;

/// Bytes of padding that writers are known to leave behind a message.
const MAX_PADDING_BYTES: usize = 7;

/// Every struct but ROS 1's empty ones takes a byte, and nests in at most so many others.
const STEPS_PER_BYTE: u64 = 2 * MAX_NESTING_DEPTH as u64;
/// How many structs without bytes a message may hold besides.
const FREE_STEPS: u64 = 1 << 16;

/// One value on its way out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Cow<'a, str>),
}

/// Takes values, in order; the error is a reason.
pub(crate) type Sink<'s, 'a> = &'s mut dyn FnMut(Scalar<'a>) -> Result<(), String>;

/// A place in a message and a reason.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) offset: usize,
    pub(crate) reason: String,
}

impl Damage {
    pub(crate) fn into_error(self, schema: &str) -> DecodeError {
        DecodeError::Message { schema: schema.to_owned(), offset: self.offset, reason: self.reason }
    }
}

/// A position in a message.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    pos: usize,
    /// Alignment counts from here.
    origin: usize,
    /// The largest alignment: 8 for CDR, 4 for CDR version 2, 1 for ROS 1.
    max_align: usize,
    big_endian: bool,
    /// Texts end with a zero byte that their length counts.
    terminated: bool,
    /// Bytes of one character of a `wstring`: DDS implementations differ (2 or 4).
    wide: usize,
    /// Structs and elements that may still be walked over: hostile types cannot cost more time than bytes.
    steps: u64,
}

impl<'a> Cursor<'a> {
    /// Stands at a message's first value.
    pub(crate) fn start(data: &'a [u8], encoding: Encoding) -> Result<Self, Damage> {
        let steps = FREE_STEPS.saturating_add((data.len() as u64).saturating_mul(STEPS_PER_BYTE));
        let packed = Self {
            data,
            pos: 0,
            origin: 0,
            max_align: 1,
            big_endian: false,
            terminated: false,
            wide: 2,
            steps,
        };
        if encoding != Encoding::Cdr {
            return Ok(packed);
        }
        let refuse = |reason: String| Damage { offset: 0, reason };
        let kind = match data.first_chunk::<4>() {
            Some([0, kind, _, _]) => *kind,
            Some(other) => return Err(refuse(format!("{other:02x?} is not a CDR encapsulation"))),
            None => return Err(refuse("it is shorter than the 4 bytes of CDR encapsulation".to_owned())),
        };
        let (big_endian, max_align) = match kind {
            0 => (true, 8),
            1 => (false, 8),
            6 => (true, 4),
            7 => (false, 4),
            2 | 3 => return Err(refuse("parameter-list CDR (PL_CDR) is not supported".to_owned())),
            8..=11 => return Err(refuse("delimited or mutable CDR version 2 is not supported".to_owned())),
            _ => return Err(refuse(format!("0x{kind:02x} is not a kind of CDR"))),
        };
        Ok(Self { pos: 4, origin: 4, max_align, big_endian, terminated: true, ..packed })
    }

    /// A cursor for `types`: finds out how wide the characters of wide texts are, where there are any.
    pub(crate) fn for_types(data: &'a [u8], encoding: Encoding, types: &Types) -> Result<Self, Damage> {
        let cursor = Self::start(data, encoding)?;
        let wide = |f: &Field| f.kind == Kind::Primitive(Primitive::WString);
        if !types.structs.iter().any(|s| s.fields.iter().any(wide)) {
            return Ok(cursor);
        }
        for wide in [2, 4] {
            let mut trial = Self { wide, ..cursor.clone() };
            if trial.skip(types, Kind::Struct(0), Count::One).is_ok()
                && trial.remaining() <= MAX_PADDING_BYTES
            {
                return Ok(Self { wide, ..cursor });
            }
        }
        Err(Damage {
            offset: 4,
            reason: "its wstring fields fit neither 2 nor 4 bytes a character".to_owned(),
        })
    }

    pub(crate) fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.pos)
    }

    fn damage(&self, reason: impl Into<String>) -> Damage {
        Damage { offset: self.pos, reason: reason.into() }
    }

    fn step(&mut self) -> Result<(), Damage> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.damage("its lists and types have more parts than bytes could carry")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let end = self.pos.checked_add(len);
        match end.and_then(|end| self.data.get(self.pos..end)) {
            Some(bytes) => {
                self.pos += len;
                Ok(bytes)
            }
            None => Err(self.damage(format!("{len} bytes expected, {} left", self.remaining()))),
        }
    }

    fn align(&mut self, width: usize) {
        let width = width.min(self.max_align);
        let past = self.pos.saturating_sub(self.origin) % width.max(1);
        if past != 0 {
            self.pos = self.pos.saturating_add(width - past);
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.align(N);
        let bytes = self.take(N)?;
        let mut out: [u8; N] = bytes.try_into().map_err(|_| self.damage("too short"))?;
        if self.big_endian {
            out.reverse();
        }
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    /// How many elements stand here.
    fn len(&mut self, kind: Kind, count: Count) -> Result<usize, Damage> {
        let (n, bound) = match count {
            Count::One => return Ok(1),
            Count::Fixed(n) => (n, None),
            Count::Dynamic { bound } => (self.u32()?, bound),
        };
        if let Some(bound) = bound.filter(|bound| n > *bound) {
            return Err(self.damage(format!("a list of {n} elements, bounded to {bound}")));
        }
        let smallest = match kind {
            Kind::Primitive(p) => p.width().unwrap_or(4),
            Kind::Struct(_) => 0,
        };
        let len = usize::try_from(n).map_err(|_| self.damage("a list too long"))?;
        if len.checked_mul(smallest).is_none_or(|bytes| bytes > self.remaining()) {
            return Err(self.damage(format!("a list of {n} elements in {} bytes", self.remaining())));
        }
        Ok(len)
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self, types: &Types, kind: Kind, count: Count) -> Result<(), Damage> {
        let n = self.len(kind, count)?;
        self.skip_items(types, kind, n)
    }

    fn skip_items(&mut self, types: &Types, kind: Kind, n: usize) -> Result<(), Damage> {
        if n == 0 {
            return Ok(());
        }
        match kind {
            Kind::Primitive(p) => match p.width() {
                Some(width) => {
                    self.align(width);
                    let bytes = width.checked_mul(n).ok_or_else(|| self.damage("a list too long"))?;
                    self.take(bytes)?;
                }
                None => {
                    for _ in 0..n {
                        self.text_bytes(p)?;
                    }
                }
            },
            Kind::Struct(index) => {
                for _ in 0..n {
                    self.step()?;
                    for field in types.fields(index) {
                        self.skip(types, field.kind, field.count)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn text_bytes(&mut self, p: Primitive) -> Result<&'a [u8], Damage> {
        let n = self.u32()?;
        let n = usize::try_from(n).map_err(|_| self.damage("a text too long"))?;
        match p {
            Primitive::WString => {
                let bytes = n.checked_mul(self.wide).ok_or_else(|| self.damage("a text too long"))?;
                self.take(bytes)
            }
            _ => self.take(n),
        }
    }

    fn text(&mut self, p: Primitive) -> Result<Cow<'a, str>, Damage> {
        let at = self.pos;
        let bytes = self.text_bytes(p)?;
        let refuse = |reason: String| Damage { offset: at, reason };
        if p == Primitive::WString {
            let units = bytes.chunks_exact(self.wide).map(|c| {
                let mut unit = [0_u8; 4];
                for (to, from) in unit.iter_mut().zip(c) {
                    *to = *from;
                }
                if self.big_endian {
                    u32::from_be_bytes(unit) >> (32 - 8 * self.wide)
                } else {
                    u32::from_le_bytes(unit)
                }
            });
            return wide_text(units)
                .map(Cow::Owned)
                .ok_or_else(|| refuse("a text that is not UTF-16".to_owned()));
        }
        let bytes = if self.terminated { bytes.strip_suffix(&[0]).unwrap_or(bytes) } else { bytes };
        std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|e| refuse(format!("a text that is not UTF-8 after {} bytes", e.valid_up_to())))
    }

    fn scalar(&mut self, p: Primitive) -> Result<Scalar<'a>, Damage> {
        Ok(match p {
            Primitive::Bool => Scalar::Bool(u8::from_le_bytes(self.array()?) != 0),
            Primitive::I8 => Scalar::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            Primitive::U8 => Scalar::Unsigned(u64::from(u8::from_le_bytes(self.array()?))),
            Primitive::I16 => Scalar::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            Primitive::U16 => Scalar::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            Primitive::I32 => Scalar::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            Primitive::U32 => Scalar::Unsigned(u64::from(u32::from_le_bytes(self.array()?))),
            Primitive::I64 => Scalar::Signed(i64::from_le_bytes(self.array()?)),
            Primitive::U64 => Scalar::Unsigned(u64::from_le_bytes(self.array()?)),
            Primitive::F32 => Scalar::Float(f64::from(f32::from_le_bytes(self.array()?))),
            Primitive::F64 => Scalar::Float(f64::from_le_bytes(self.array()?)),
            Primitive::String | Primitive::WString | Primitive::Base64 => Scalar::Text(self.text(p)?),
        })
    }

    /// Goes where `node` leads as long as it leads to one place; gives what stands there and what is left of the node.
    pub(crate) fn locate<'n>(
        &mut self,
        types: &Types,
        mut node: &'n Node,
    ) -> Result<(Kind, Count, &'n Node), Damage> {
        let (mut kind, mut count) = (Kind::Struct(0), Count::One);
        loop {
            match (node, kind) {
                (Node::Field { index, then, .. }, Kind::Struct(inner)) => {
                    let field = self.enter(types, inner, *index)?;
                    (kind, count, node) = (field.kind, field.count, then);
                }
                (Node::Items { items: Items::One(wanted), then }, _) => {
                    let n = self.len(kind, count)?;
                    let wanted = usize::try_from(*wanted).unwrap_or(usize::MAX);
                    if wanted >= n {
                        return Err(self.damage(format!("element {wanted} of a list of {n} was asked for")));
                    }
                    self.skip_items(types, kind, wanted)?;
                    (count, node) = (Count::One, then);
                }
                _ => return Ok((kind, count, node)),
            }
        }
    }

    /// Passes over the fields of a struct before `index`.
    fn enter<'t>(&mut self, types: &'t Types, inner: usize, index: usize) -> Result<&'t Field, Damage> {
        let fields = types.fields(inner);
        for field in fields.iter().take(index) {
            self.skip(types, field.kind, field.count)?;
        }
        fields.get(index).ok_or_else(|| self.damage("a field beyond its type"))
    }

    /// Gives the values that `node` selects of the value at hand. Where it stands afterwards is unspecified.
    pub(crate) fn emit(
        &mut self,
        types: &Types,
        at: (Kind, Count),
        node: &Node,
        take_text: bool,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Damage> {
        let (kind, count) = at;
        match node {
            Node::Whole => self.emit_whole(types, kind, count, take_text, sink),
            Node::Field { index, then, .. } => {
                let Kind::Struct(inner) = kind else { return Err(self.damage("no struct")) };
                let field = self.enter(types, inner, *index)?;
                self.emit(types, (field.kind, field.count), then, take_text, sink)
            }
            Node::Items { items, then } => {
                let n = self.len(kind, count)?;
                let (from, to) = match *items {
                    Items::One(at) => (at, at.saturating_add(1)),
                    Items::Range(from, to) => (from, to.unwrap_or(u32::try_from(n).unwrap_or(u32::MAX))),
                };
                let (from, to) = (from as usize, to as usize);
                if to > n || from > to {
                    return Err(
                        self.damage(format!("elements {from} to {to} of a list of {n} were asked for"))
                    );
                }
                self.skip_items(types, kind, from)?;
                for _ in from..to {
                    let here = self.pos;
                    self.emit(types, (kind, Count::One), then, take_text, sink)?;
                    self.pos = here;
                    self.skip_items(types, kind, 1)?;
                }
                Ok(())
            }
        }
    }

    fn emit_whole(
        &mut self,
        types: &Types,
        kind: Kind,
        count: Count,
        take_text: bool,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Damage> {
        match kind {
            Kind::Primitive(p) if !takes(p, take_text) => self.skip(types, kind, count),
            Kind::Primitive(p) => {
                for _ in 0..self.len(kind, count)? {
                    let at = self.pos;
                    let value = self.scalar(p)?;
                    sink(value).map_err(|reason| Damage { offset: at, reason })?;
                }
                Ok(())
            }
            Kind::Struct(index) => {
                for _ in 0..self.len(kind, count)? {
                    self.step()?;
                    for field in types.fields(index) {
                        if field.hidden {
                            self.skip(types, field.kind, field.count)?;
                        } else {
                            self.emit_whole(types, field.kind, field.count, take_text, sink)?;
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// The bytes of an array of one-byte elements.
    pub(crate) fn run_of_bytes(&mut self, kind: Kind, count: Count) -> Result<&'a [u8], Damage> {
        match kind {
            Kind::Primitive(p) if p.width() == Some(1) => {
                let n = self.len(kind, count)?;
                self.take(n)
            }
            _ => Err(self.damage("not an array of bytes")),
        }
    }

    /// The encoded bytes of the value at hand, from its alignment on.
    pub(crate) fn span(&mut self, types: &Types, kind: Kind, count: Count) -> Result<&'a [u8], Damage> {
        let texts = matches!(kind, Kind::Primitive(p) if p.width().is_none());
        match (kind, count) {
            (_, Count::Dynamic { .. }) => self.align(4),
            _ if texts => self.align(4),
            (Kind::Primitive(p), _) => self.align(p.width().unwrap_or(1)),
            (Kind::Struct(_), _) => {}
        }
        let from = self.pos;
        self.skip(types, kind, count)?;
        self.data.get(from..self.pos).ok_or_else(|| self.damage("too short"))
    }
}

fn wide_text(units: impl Iterator<Item = u32>) -> Option<String> {
    let narrow: Option<Vec<u16>> = units.map(|u| u16::try_from(u).ok()).collect();
    String::from_utf16(&narrow?).ok()
}

/// Whether a message can be what its label says; if not, and it is the other encoding to the last byte, that is said.
pub(crate) fn check(schema: &str, types: &Types, encoding: Encoding, data: &[u8]) -> Result<(), DecodeError> {
    let walk = |encoding| {
        let mut cursor = Cursor::for_types(data, encoding, types)?;
        cursor.skip(types, Kind::Struct(0), Count::One).map(|()| cursor.remaining())
    };
    let as_labelled = walk(encoding);
    let (other, padding, label, seems) = match encoding {
        Encoding::Cdr => (Encoding::Ros1, 0, "cdr", "ROS 1 (no encapsulation, no alignment)"),
        _ => (Encoding::Cdr, MAX_PADDING_BYTES, "ros1", "CDR (ROS 2)"),
    };
    if matches!(as_labelled, Ok(left) if left <= MAX_PADDING_BYTES) {
        return Ok(());
    }
    if matches!(walk(other), Ok(left) if left <= padding) {
        return Err(DecodeError::WrongLabel { schema: schema.to_owned(), label, seems });
    }
    // Bytes behind the last field are no damage: newer versions of a type only add fields.
    as_labelled.map(|_| ()).map_err(|damage| damage.into_error(schema))
}
