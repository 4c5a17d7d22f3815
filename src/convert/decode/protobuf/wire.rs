//! Protobuf's wire format: the pieces of a message, and the scalars in a piece. It knows no descriptors.

use super::super::binary::{Damage, Scalar};
use super::Form;

/// Bytes of a message, and where they begin in the whole one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    at: usize,
}

impl<'a> Part<'a> {
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn empty(&self) -> Self {
        Self { bytes: &[], at: self.at }
    }

    pub(super) fn damage(&self, reason: impl Into<String>) -> Damage {
        Damage { offset: self.at, reason: reason.into() }
    }

    /// Takes bytes off the front.
    fn take(&mut self, len: usize) -> Result<Self, Damage> {
        let Some((front, rest)) = self.bytes.split_at_checked(len) else {
            return Err(self.damage(format!("{len} bytes expected, {} left", self.bytes.len())));
        };
        let taken = Self { bytes: front, at: self.at };
        *self = Self { bytes: rest, at: self.at.saturating_add(len) };
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let taken = self.take(N)?;
        taken.bytes.try_into().map_err(|_| taken.damage("too short"))
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let begin = *self;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(begin.damage("a number of more than 10 bytes"))
    }
}

/// One occurrence of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    Varint(u64, Part<'a>),
    Eight([u8; 8], Part<'a>),
    Four([u8; 4], Part<'a>),
    Bytes(Part<'a>),
}

/// The pieces of a message, each with its field's number. After an error there are no more.
pub(super) struct Pieces<'a> {
    rest: Part<'a>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(part: Part<'a>) -> Self {
        Self { rest: part }
    }

    fn piece(&mut self) -> Result<(u32, Piece<'a>), Damage> {
        let begin = self.rest.empty();
        let key = self.rest.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| begin.damage(format!("{} is no field's number", key >> 3)))?;
        let at = self.rest.empty();
        let piece = match key & 7 {
            0 => Piece::Varint(self.rest.varint()?, at),
            1 => Piece::Eight(self.rest.array()?, at),
            2 => {
                let len = usize::try_from(self.rest.varint()?).unwrap_or(usize::MAX);
                Piece::Bytes(self.rest.take(len)?)
            }
            5 => Piece::Four(self.rest.array()?, at),
            3 | 4 => return Err(begin.damage("groups are not supported")),
            other => return Err(begin.damage(format!("{other} is no kind of field"))),
        };
        Ok((number, piece))
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<(u32, Piece<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.bytes.is_empty() {
            return None;
        }
        let piece = self.piece();
        if piece.is_err() {
            self.rest = self.rest.empty();
        }
        Some(piece)
    }
}

impl<'a> Piece<'a> {
    fn mismatch(&self, form: Form) -> Damage {
        let at = match self {
            Self::Varint(_, at) | Self::Eight(_, at) | Self::Four(_, at) | Self::Bytes(at) => at,
        };
        at.damage(format!("a field that is not encoded as its definition says ({form:?})"))
    }

    /// Of a field that is bytes or a message.
    pub(super) fn part(&self, form: Form) -> Result<Part<'a>, Damage> {
        match self {
            Self::Bytes(part) => Ok(*part),
            other => Err(other.mismatch(form)),
        }
    }

    /// Gives its scalar, or the scalars that it packs.
    pub(super) fn scalars(&self, form: Form, take: &mut dyn FnMut(Scalar<'a>)) -> Result<(), Damage> {
        match (self, form) {
            (Self::Bytes(part), Form::Text) => {
                let text = std::str::from_utf8(part.bytes);
                take(Scalar::Text(text.map_err(|_| part.damage("a text that is not UTF-8"))?.into()));
                Ok(())
            }
            (Self::Bytes(packed), _) => {
                let mut rest = *packed;
                while !rest.bytes.is_empty() {
                    let piece = match width(form) {
                        Width::Varint => Self::Varint(rest.varint()?, rest.empty()),
                        Width::Four => Self::Four(rest.array()?, rest.empty()),
                        Width::Eight => Self::Eight(rest.array()?, rest.empty()),
                        Width::Other => return Err(self.mismatch(form)),
                    };
                    take(piece.scalar(form)?);
                }
                Ok(())
            }
            _ => {
                take(self.scalar(form)?);
                Ok(())
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the format keeps numbers of 32 bits, and negative ones, in the low bits of 64"
    )]
    fn scalar(&self, form: Form) -> Result<Scalar<'a>, Damage> {
        Ok(match (*self, form) {
            (Self::Varint(raw, _), Form::Bool) => Scalar::Bool(raw != 0),
            (Self::Varint(raw, _), Form::Int32) => Scalar::Signed(i64::from(raw as i32)),
            (Self::Varint(raw, _), Form::Int64) => Scalar::Signed(raw as i64),
            (Self::Varint(raw, _), Form::UInt32) => Scalar::Unsigned(u64::from(raw as u32)),
            (Self::Varint(raw, _), Form::UInt64) => Scalar::Unsigned(raw),
            (Self::Varint(raw, _), Form::SInt32) => Scalar::Signed(unzigzag(u64::from(raw as u32))),
            (Self::Varint(raw, _), Form::SInt64) => Scalar::Signed(unzigzag(raw)),
            (Self::Four(raw, _), Form::Fixed32) => Scalar::Unsigned(u64::from(u32::from_le_bytes(raw))),
            (Self::Four(raw, _), Form::SFixed32) => Scalar::Signed(i64::from(i32::from_le_bytes(raw))),
            (Self::Four(raw, _), Form::Float) => Scalar::Float(f64::from(f32::from_le_bytes(raw))),
            (Self::Eight(raw, _), Form::Fixed64) => Scalar::Unsigned(u64::from_le_bytes(raw)),
            (Self::Eight(raw, _), Form::SFixed64) => Scalar::Signed(i64::from_le_bytes(raw)),
            (Self::Eight(raw, _), Form::Double) => Scalar::Float(f64::from_le_bytes(raw)),
            _ => return Err(self.mismatch(form)),
        })
    }
}

/// What one value of a packed field takes.
enum Width {
    Varint,
    Four,
    Eight,
    Other,
}

fn width(form: Form) -> Width {
    match form {
        Form::Bool
        | Form::Int32
        | Form::Int64
        | Form::UInt32
        | Form::UInt64
        | Form::SInt32
        | Form::SInt64 => Width::Varint,
        Form::Fixed32 | Form::SFixed32 | Form::Float => Width::Four,
        Form::Fixed64 | Form::SFixed64 | Form::Double => Width::Eight,
        Form::Text | Form::Bytes | Form::Message => Width::Other,
    }
}

#[expect(clippy::cast_possible_wrap, reason = "half of 64 bits fits")]
fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}
