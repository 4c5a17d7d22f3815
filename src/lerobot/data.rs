//! Data files: how features become Arrow columns, and the metadata that `datasets` reads them by.
//!
//! Format rules: `datasets` 4.8 `features.py` (`huggingface` metadata), and files written by lerobot 0.6.1.
//! Staged segments use the same columns, without the five index columns. It decides no layout and no statistics.

use super::feature::{Dtype, Feature};
use arrow::datatypes::{DataType, Field, Fields};
use std::sync::Arc;

/// The name that `datasets` gives to a list's elements.
const LIST_ELEMENT: &str = "element";
/// The part of an image column that holds the file's bytes.
pub const IMAGE_BYTES: &str = "bytes";
/// The part of an image column that names a file beside; always null here.
pub const IMAGE_PATH: &str = "path";

/// The Arrow column of a feature: `T` for shape `[1]`, `fixed_size_list<element: T>[n]` for `[n]`, and
/// `struct<bytes: binary, path: string>` for an image. All are nullable in the schema, as in files that lerobot
/// writes; no value ever is null but an image's path.
///
/// A video has no column in a data file; in staging its frames stand as images do.
pub fn arrow_field(feature: &Feature) -> Field {
    let element = match feature.dtype {
        Dtype::Float32 => DataType::Float32,
        Dtype::Float64 => DataType::Float64,
        Dtype::Int64 => DataType::Int64,
        Dtype::Bool => DataType::Boolean,
        Dtype::String => DataType::Utf8,
        Dtype::Image | Dtype::Video => {
            return Field::new(&feature.name, DataType::Struct(image_fields()), true);
        }
    };
    let data_type = match feature.shape.as_slice() {
        [] | [1] => element,
        shape => {
            let length =
                shape.iter().try_fold(1i32, |product, side| product.checked_mul(i32::try_from(*side).ok()?));
            let item = Arc::new(Field::new(LIST_ELEMENT, element, true));
            DataType::FixedSizeList(item, length.unwrap_or(i32::MAX))
        }
    };
    Field::new(&feature.name, data_type, true)
}

/// The parts of an image column.
pub fn image_fields() -> Fields {
    Fields::from(vec![
        Field::new(IMAGE_BYTES, DataType::Binary, true),
        Field::new(IMAGE_PATH, DataType::Utf8, true),
    ])
}
