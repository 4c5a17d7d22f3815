//! Data files: how features become Arrow columns, and the metadata that `datasets` reads them by.
//!
//! Format rules: `datasets` 4.8 `features.py` (`huggingface` metadata), and files written by lerobot 0.6.1.
//! Staged segments use the same columns, without the five index columns. It decides no layout and no statistics.

use super::feature::{Dtype, Feature, index_features};
use super::info::Version;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// The writer named in every Parquet file.
const CREATED_BY: &str = concat!("roboflow version ", env!("CARGO_PKG_VERSION"));
/// The key of the metadata that `datasets` reads.
pub const HUGGINGFACE_KEY: &str = "huggingface";
/// The most bytes of values in a row group of a data file, but for a single frame above it.
///
/// LeRobot writes one row group an episode. A writer holds a row group in memory until it ends, and so do readers:
/// an hour of images would take gigabytes. So an episode has one row group while it is below this, and several when
/// it is above; a row group never holds frames of two episodes. Staged segments are cut likewise, and what is staged in
/// one row group stays together.
pub const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;

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
/// A video has no column in a data file; in staging it is one of the sizes of its samples.
pub fn arrow_field(feature: &Feature) -> Field {
    let element = match feature.dtype {
        Dtype::Float32 => DataType::Float32,
        Dtype::Float64 => DataType::Float64,
        Dtype::Int64 => DataType::Int64,
        Dtype::Bool => DataType::Boolean,
        Dtype::String => DataType::Utf8,
        Dtype::Video => return Field::new(&feature.name, DataType::Int64, true),
        Dtype::Image => {
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

/// The columns of a staged segment.
pub fn staged_schema(features: &[Feature]) -> SchemaRef {
    Arc::new(Schema::new(features.iter().map(arrow_field).collect::<Vec<_>>()))
}

/// The columns of a data file: the features that are no videos, then the five index columns.
pub fn data_schema(features: &[Feature]) -> SchemaRef {
    Arc::new(Schema::new(columns(features).iter().map(arrow_field).collect::<Vec<_>>()))
}

/// The features that have a column in a data file, the five index columns last.
pub fn columns(features: &[Feature]) -> Vec<Feature> {
    let own = features.iter().filter(|feature| feature.dtype != Dtype::Video).cloned();
    own.chain(index_features()).collect()
}

/// The `huggingface` metadata: what `datasets` needs to read lists and images as such. Written as Python writes it.
pub fn huggingface_metadata(features: &[Feature], version: Version) -> String {
    let entries = columns(features);
    let entries: Vec<String> = entries.iter().map(|feature| huggingface_entry(feature, version)).collect();
    format!(r#"{{"info": {{"features": {{{}}}}}}}"#, entries.join(", "))
}

fn huggingface_entry(feature: &Feature, version: Version) -> String {
    let name = serde_json::Value::from(feature.name.as_str());
    let value = format!(r#"{{"dtype": "{}", "_type": "Value"}}"#, feature.dtype.name());
    match (feature.dtype, feature.shape.as_slice()) {
        (Dtype::Image | Dtype::Video, _) => format!(r#"{name}: {{"_type": "Image"}}"#),
        (_, [] | [1]) => format!("{name}: {value}"),
        (_, shape) => {
            let length: u64 = shape.iter().map(|side| u64::from(*side)).product();
            // What reads v2.1 comes with a `datasets` that does not know lists by that name.
            let list = if version == Version::V21 { "Sequence" } else { "List" };
            format!(r#"{name}: {{"feature": {value}, "length": {length}, "_type": "{list}"}}"#)
        }
    }
}

/// How files with these features are written: Snappy, the same bytes for the same rows. Image bytes are compressed
/// already, and never alike: no second compression, no dictionary and no statistics of them. For staged segments and
/// data files alike; row groups are ended by the caller.
pub fn writer_properties(features: &[Feature]) -> WriterPropertiesBuilder {
    let mut builder = plain_properties();
    for feature in features.iter().filter(|feature| feature.dtype == Dtype::Image) {
        let bytes = ColumnPath::new(vec![feature.name.clone(), IMAGE_BYTES.to_owned()]);
        builder = builder
            .set_column_compression(bytes.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(bytes.clone(), false)
            .set_column_statistics_enabled(bytes, EnabledStatistics::None);
    }
    builder
}

/// How all Parquet files of a dataset are written.
pub(super) fn plain_properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(None)
}
