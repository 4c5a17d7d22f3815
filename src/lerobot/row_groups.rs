//! Row groups of bounded size: a reader holds one in memory, and so does whoever writes it.
//!
//! Where a batch of rows is cut follows from its values alone.

use super::data::{IMAGE_BYTES, ROW_GROUP_BYTES};
use super::error::LerobotError;
use super::parquet_file::ParquetOut;
use arrow::array::{Array, AsArray, RecordBatch};
use std::ops::Range;

/// Writes rows in row groups of bounded size, and ends the last one.
///
/// # Errors
/// The storage's.
pub fn write(file: &mut ParquetOut, batch: &RecordBatch) -> Result<(), LerobotError> {
    for rows in cuts(batch) {
        file.write(&batch.slice(rows.start, rows.len()))?;
        file.end_row_group()?;
    }
    Ok(())
}

/// The rows of each row group that a batch is to be written in: as many as fit into [`ROW_GROUP_BYTES`], at least one.
fn cuts(batch: &RecordBatch) -> Vec<Range<usize>> {
    let (mut cuts, mut start, mut filled) = (Vec::new(), 0, 0usize);
    for (row, bytes) in row_bytes(batch).into_iter().enumerate() {
        if row > start && filled.saturating_add(bytes) > ROW_GROUP_BYTES {
            cuts.push(start..row);
            (start, filled) = (row, 0);
        }
        filled = filled.saturating_add(bytes);
    }
    if batch.num_rows() > start {
        cuts.push(start..batch.num_rows());
    }
    cuts
}

/// The bytes of each row's values: of texts and images what they hold, of the rest what their types take.
fn row_bytes(batch: &RecordBatch) -> Vec<usize> {
    let mut bytes = vec![0; batch.num_rows()];
    for column in batch.columns() {
        let image = column.as_struct_opt().and_then(|parts| parts.column_by_name(IMAGE_BYTES));
        let image = image.and_then(|bytes| bytes.as_binary_opt::<i32>());
        let text = column.as_string_opt::<i32>();
        let offsets = image.map(|image| image.offsets()).or_else(|| text.map(|text| text.offsets()));
        match offsets {
            Some(offsets) => {
                for (bytes, length) in bytes.iter_mut().zip(offsets.lengths()) {
                    *bytes += length;
                }
            }
            None => {
                let list = column.as_fixed_size_list_opt();
                let (element, elements) = match list {
                    Some(list) => (list.value_type(), usize::try_from(list.value_length()).unwrap_or(1)),
                    None => (column.data_type().clone(), 1),
                };
                let width = element.primitive_width().unwrap_or(1) * elements;
                bytes.iter_mut().for_each(|bytes| *bytes += width);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lerobot::data::image_fields;
    use arrow::array::{ArrayRef, BinaryArray, StringArray, StructArray};
    use std::sync::Arc;

    fn images(sizes: &[usize]) -> RecordBatch {
        let bytes: BinaryArray = sizes.iter().map(|size| Some(vec![7u8; *size])).collect();
        let paths = StringArray::new_null(sizes.len());
        let parts: Vec<ArrayRef> = vec![Arc::new(bytes), Arc::new(paths)];
        let column: ArrayRef = Arc::new(StructArray::new(image_fields(), parts, None));
        RecordBatch::try_from_iter([("camera", column)]).unwrap()
    }

    #[test]
    fn a_row_group_ends_before_it_is_too_large_and_has_at_least_a_row() {
        let half = ROW_GROUP_BYTES / 2;
        assert_eq!(cuts(&images(&[half, half, half])), [0..2, 2..3]);
        assert_eq!(cuts(&images(&[half, half + 1, 1])), [0..1, 1..3]);
        assert_eq!(cuts(&images(&[1, ROW_GROUP_BYTES + 1, 1])), [0..1, 1..2, 2..3]);
        assert!(cuts(&images(&[])).is_empty());
    }
}
