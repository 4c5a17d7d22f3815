//! The type tree of a message: structs in a table, fields of primitives or structs, each one value or a list.
//! One tree for all encodings; how its values lie in bytes is the walkers' business.

use super::error::DecodeError;
use super::protobuf::Tag;

/// Structs may nest this deep. Real messages stay below 10.
pub(crate) const MAX_NESTING_DEPTH: usize = 32;
/// Values in a message whose lists are empty, with the elements of fixed arrays counted one by one.
pub(crate) const MAX_STATIC_VALUES: u64 = 1 << 20;
/// Structs of one definition.
pub(crate) const MAX_STRUCTS: usize = 2_000;
/// Fields of one struct.
pub(crate) const MAX_FIELDS: usize = 4_000;

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits; `byte` and `char` of ROS 2 too.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
    /// Float, 32 bits.
    F32,
    /// Float, 64 bits.
    F64,
    /// UTF-8 text.
    String,
    /// UTF-16 text (CDR only).
    WString,
    /// Base64 text that stands for bytes (JSON only).
    Base64,
}

impl Primitive {
    /// Width in bytes, none for texts.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            Self::Bool | Self::I8 | Self::U8 => Some(1),
            Self::I16 | Self::U16 => Some(2),
            Self::I32 | Self::U32 | Self::F32 => Some(4),
            Self::I64 | Self::U64 | Self::F64 => Some(8),
            Self::String | Self::WString | Self::Base64 => None,
        }
    }

    /// Numbers and booleans.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        self.width().is_some()
    }

    /// Whole numbers, without booleans.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.is_numeric() && !matches!(self, Self::Bool | Self::F32 | Self::F64)
    }

    /// The name a user knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::String => "string",
            Self::WString => "wstring",
            Self::Base64 => "bytes",
        }
    }
}

/// One value, or how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// One value.
    One,
    /// An array of exactly this many.
    Fixed(u32),
    /// A list; its length is in the message, and at most the bound if there is one.
    Dynamic {
        /// The largest length the definition allows.
        bound: Option<u32>,
    },
}

/// What a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Primitive(Primitive),
    /// An index into [`Types::structs`].
    Struct(usize),
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) count: Count,
    /// Stands in the bytes but not in the definition (the one member of an empty ROS 2 struct).
    pub(crate) hidden: bool,
}

/// A struct.
#[derive(Debug, Clone)]
pub(crate) struct Struct {
    /// `package/Type`, without `msg`.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// A message's types.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    /// The message itself is the first. Never empty.
    pub(crate) structs: Vec<Struct>,
    /// Of Protobuf, how each struct's fields are found; empty otherwise.
    pub(crate) tags: Vec<Vec<Tag>>,
}

/// A field with nothing in it, for indices that cannot be.
static NO_FIELDS: &[Field] = &[];

impl Types {
    /// The fields of a struct.
    pub(crate) fn fields(&self, index: usize) -> &[Field] {
        self.structs.get(index).map_or(NO_FIELDS, |s| s.fields.as_slice())
    }

    /// The name of a struct.
    pub(crate) fn struct_name(&self, index: usize) -> &str {
        self.structs.get(index).map_or("", |s| s.name.as_str())
    }

    /// Holds the tree to its limits: no cycles, [`MAX_NESTING_DEPTH`], [`MAX_STATIC_VALUES`].
    /// After it, a walk over the tree ends.
    pub(crate) fn validate(&self, schema: &str) -> Result<(), DecodeError> {
        let refuse = |reason: String| DecodeError::Definition { schema: schema.to_owned(), reason };
        if self.structs.len() > MAX_STRUCTS {
            return Err(refuse(format!(
                "{} types are more than the limit of {MAX_STRUCTS}",
                self.structs.len()
            )));
        }
        if let Some(s) = self.structs.iter().find(|s| s.fields.len() > MAX_FIELDS) {
            return Err(refuse(format!("{} has more than {MAX_FIELDS} fields", s.name)));
        }
        // Structs only refer to each other by index; sizes settle from the leaves up, one level a round.
        let mut sizes: Vec<Option<u64>> = vec![None; self.structs.len()];
        for _ in 0..=MAX_NESTING_DEPTH {
            let next: Vec<Option<u64>> = self.structs.iter().map(|s| self.static_values(s, &sizes)).collect();
            if next == sizes {
                break;
            }
            sizes = next;
        }
        match sizes.first().copied().flatten() {
            None => {
                Err(refuse(format!("its types contain themselves, or nest deeper than {MAX_NESTING_DEPTH}")))
            }
            Some(n) if n > MAX_STATIC_VALUES => Err(refuse(format!(
                "one message holds {n} values and more, over the limit of {MAX_STATIC_VALUES}"
            ))),
            Some(_) => Ok(()),
        }
    }

    fn static_values(&self, s: &Struct, known: &[Option<u64>]) -> Option<u64> {
        let mut sum = 1_u64;
        for field in &s.fields {
            let one = match field.kind {
                Kind::Primitive(_) => 1,
                Kind::Struct(index) => known.get(index).copied().flatten()?,
            };
            // A fixed array of primitives is skipped as a whole: it costs no walk.
            let times = match (field.count, field.kind) {
                (Count::Fixed(n), Kind::Struct(_)) => u64::from(n.max(1)),
                _ => 1,
            };
            sum = sum.saturating_add(one.saturating_mul(times));
        }
        Some(sum)
    }
}
