//! A feature as the validator knows it: more element types and shapes than this program writes.

use crate::lerobot::data::{IMAGE_BYTES, IMAGE_PATH};
use crate::lerobot::info::FeatureInfo;
use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::DataType;

/// The most elements of a vector.
const MAX_ELEMENTS: u64 = 1 << 24;

/// What a feature's values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers or booleans.
    Number(DataType),
    Text,
    Image,
    Video,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<u64>,
}

impl Column {
    /// None for a dtype that is not known, or a shape that cannot be.
    pub(super) fn new(name: &str, feature: &FeatureInfo) -> Option<Self> {
        let kind = match feature.dtype.as_str() {
            "image" => Kind::Image,
            "video" => Kind::Video,
            "string" => Kind::Text,
            "bool" => Kind::Number(DataType::Boolean),
            "int8" => Kind::Number(DataType::Int8),
            "int16" => Kind::Number(DataType::Int16),
            "int32" => Kind::Number(DataType::Int32),
            "int64" => Kind::Number(DataType::Int64),
            "uint8" => Kind::Number(DataType::UInt8),
            "uint16" => Kind::Number(DataType::UInt16),
            "uint32" => Kind::Number(DataType::UInt32),
            "uint64" => Kind::Number(DataType::UInt64),
            "float16" => Kind::Number(DataType::Float16),
            "float32" => Kind::Number(DataType::Float32),
            "float64" => Kind::Number(DataType::Float64),
            _ => return None,
        };
        let shape = feature.shape.clone();
        let elements = shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side))?;
        let fits = match kind {
            Kind::Image | Kind::Video => shape.len() == 3,
            Kind::Text => shape == [1],
            Kind::Number(_) => (1..=5).contains(&shape.len()) && elements <= MAX_ELEMENTS,
        };
        let (name, dtype) = (name.to_owned(), feature.dtype.clone());
        (fits && elements > 0).then_some(Self { name, dtype, kind, shape })
    }

    pub(super) fn is_video(&self) -> bool {
        self.kind == Kind::Video
    }

    pub(super) fn is_picture(&self) -> bool {
        matches!(self.kind, Kind::Image | Kind::Video)
    }

    /// Whether it has statistics.
    pub(super) fn has_stats(&self) -> bool {
        self.kind != Kind::Text
    }

    /// Values in a statistic: over all axes but the last, so of shape [2, 3] there are three.
    pub(super) fn stat_width(&self) -> usize {
        self.shape.last().and_then(|side| usize::try_from(*side).ok()).unwrap_or(1)
    }

    /// Numbers in a row.
    pub(super) fn elements(&self) -> usize {
        usize::try_from(self.shape.iter().product::<u64>()).unwrap_or(usize::MAX)
    }

    /// Whether an Arrow column of this type holds it.
    pub(super) fn is_held_by(&self, data_type: &DataType) -> bool {
        match &self.kind {
            Kind::Video => false,
            Kind::Text => matches!(data_type, DataType::Utf8 | DataType::LargeUtf8),
            Kind::Image => {
                let DataType::Struct(parts) = data_type else { return false };
                let has = |name: &str, takes: fn(&DataType) -> bool| {
                    parts.iter().any(|part| part.name() == name && takes(part.data_type()))
                };
                has(IMAGE_BYTES, |part| matches!(part, DataType::Binary | DataType::LargeBinary))
                    && has(IMAGE_PATH, |part| matches!(part, DataType::Utf8 | DataType::LargeUtf8))
            }
            Kind::Number(element) => match self.shape.as_slice() {
                [1] => data_type == element,
                [length] => match data_type {
                    DataType::FixedSizeList(item, found) => {
                        item.data_type() == element && u64::try_from(*found) == Ok(*length)
                    }
                    _ => false,
                },
                shape => is_nested(data_type, shape.len(), element),
            },
        }
    }

    /// The numbers of a column, row after row, in double precision; none when they do not fit the shape.
    pub(super) fn numbers(&self, array: &ArrayRef) -> Option<Vec<f64>> {
        let mut flat = array.clone();
        loop {
            flat = match flat.data_type() {
                DataType::FixedSizeList(..) => flat.as_fixed_size_list_opt()?.values().clone(),
                DataType::List(_) => list_values(flat.as_list_opt::<i32>()?)?,
                _ => break,
            };
        }
        if flat.len() != array.len() * self.elements() || flat.null_count() > 0 {
            return None;
        }
        let flat = arrow::compute::cast(&flat, &DataType::Float64).ok()?;
        Some(flat.as_primitive_opt::<arrow::datatypes::Float64Type>()?.values().to_vec())
    }
}

/// The values of all lists, without what a slice left out.
pub(super) fn list_values(lists: &ListArray) -> Option<ArrayRef> {
    let (first, last) = (*lists.value_offsets().first()?, *lists.value_offsets().last()?);
    Some(lists.values().slice(usize::try_from(first).ok()?, usize::try_from(last - first).ok()?))
}

fn is_nested(data_type: &DataType, depth: usize, element: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) if depth > 0 => {
            is_nested(item.data_type(), depth - 1, element)
        }
        _ => depth == 0 && data_type == element,
    }
}
