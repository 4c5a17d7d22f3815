//! Row groups of bounded size: a reader holds one in memory, and so does whoever writes it.
//!
//! Where rows are cut follows from their values alone.

use super::data::ROW_GROUP_BYTES;
use super::error::LerobotError;
use super::splice::{Part, SplicedOut};
use crate::storage::SharedStorage;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::SchemaRef;
use parquet::file::properties::WriterProperties;
use std::ops::Range;

/// The values of a top-level column, one a row.
#[derive(Debug, Clone)]
pub enum Values<'a> {
    /// Numbers and texts.
    Array(ArrayRef),
    /// Of a column of images: their files. They are written from where they lie.
    Files(Vec<&'a [u8]>),
}

impl Values<'_> {
    /// How many there are.
    fn rows(&self) -> usize {
        match self {
            Self::Array(array) => array.len(),
            Self::Files(files) => files.len(),
        }
    }

    /// Some of the rows.
    fn part(&self, rows: &Range<usize>) -> Part<'_> {
        match self {
            Self::Array(array) => Part::Values(vec![array.slice(rows.start, rows.len())]),
            Self::Files(files) => Part::Files(files.get(rows.clone()).unwrap_or_default()),
        }
    }
}

/// Writes a Parquet file of these columns, in row groups of bounded size: durable and visible when it returns. Gives its
/// size in bytes.
///
/// # Errors
/// The storage's, and columns that do not fit the schema.
pub fn write(
    storage: &SharedStorage,
    key: &str,
    schema: SchemaRef,
    properties: WriterProperties,
    columns: &[Values<'_>],
) -> Result<u64, LerobotError> {
    let rows = columns.first().map_or(0, Values::rows);
    if columns.len() != schema.fields().len() || columns.iter().any(|column| column.rows() != rows) {
        return Err(LerobotError::damaged(key, "its columns do not fit each other"));
    }
    let mut out = SplicedOut::create(storage, key, schema, properties)?;
    for range in cuts(rows, columns) {
        out.write_group(columns.iter().map(|column| column.part(&range)).collect())?;
    }
    out.finish()
}

/// The rows of each row group that columns are to be written in: as many as fit into [`ROW_GROUP_BYTES`], at least one.
fn cuts(rows: usize, columns: &[Values<'_>]) -> Vec<Range<usize>> {
    let (mut cuts, mut start, mut filled) = (Vec::new(), 0, 0usize);
    for (row, bytes) in row_bytes(rows, columns).into_iter().enumerate() {
        if row > start && filled.saturating_add(bytes) > ROW_GROUP_BYTES {
            cuts.push(start..row);
            (start, filled) = (row, 0);
        }
        filled = filled.saturating_add(bytes);
    }
    if rows > start {
        cuts.push(start..rows);
    }
    cuts
}

/// The bytes of each row's values: of texts and images what they hold, of the rest what their types take.
fn row_bytes(rows: usize, columns: &[Values<'_>]) -> Vec<usize> {
    let mut bytes = vec![0; rows];
    for column in columns {
        let mut add = |sizes: &mut dyn Iterator<Item = usize>| {
            bytes.iter_mut().zip(sizes).for_each(|(bytes, size)| *bytes += size);
        };
        match column {
            Values::Files(files) => add(&mut files.iter().map(|file| file.len())),
            Values::Array(array) => match array.as_string_opt::<i32>() {
                Some(texts) => add(&mut texts.offsets().lengths()),
                None => add(&mut std::iter::repeat(width_bytes(array))),
            },
        }
    }
    bytes
}

/// What a value takes by its type.
fn width_bytes(array: &ArrayRef) -> usize {
    let (element, elements) = match array.as_fixed_size_list_opt() {
        Some(list) => (list.value_type(), usize::try_from(list.value_length()).unwrap_or(1)),
        None => (array.data_type().clone(), 1),
    };
    element.primitive_width().unwrap_or(1) * elements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lerobot::data::{IMAGE_BYTES, staged_schema, writer_properties};
    use crate::lerobot::feature::{Dtype, Feature};
    use crate::lerobot::parquet_file::ParquetIn;
    use crate::storage::memory::MemoryStorage;
    use arrow::array::{Int64Array, RecordBatch};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::sync::Arc;

    fn cuts_of(sizes: &[usize]) -> Vec<Range<usize>> {
        let files: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7u8; *size]).collect();
        cuts(sizes.len(), &[Values::Files(files.iter().map(Vec::as_slice).collect())])
    }

    #[test]
    fn a_row_group_ends_before_it_is_too_large_and_has_at_least_a_row() {
        let half = ROW_GROUP_BYTES / 2;
        assert_eq!(cuts_of(&[half, half, half]), [0..2, 2..3]);
        assert_eq!(cuts_of(&[half, half + 1, 1]), [0..1, 1..3]);
        assert_eq!(cuts_of(&[1, ROW_GROUP_BYTES + 1, 1]), [0..1, 1..2, 2..3]);
        assert!(cuts_of(&[]).is_empty());
    }

    fn features() -> Vec<Feature> {
        let feature = |name: &str, dtype, shape: &[u32]| Feature {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            names: None,
        };
        vec![feature("camera", Dtype::Image, &[1, 1, 3]), feature("number", Dtype::Int64, &[1])]
    }

    /// Written and read back by the parquet crate.
    fn round(files: &[&[u8]]) -> (ParquetIn, Vec<RecordBatch>) {
        let storage: SharedStorage = Arc::new(MemoryStorage::new());
        let numbers: ArrayRef = Arc::new((0..files.len() as i64).collect::<Int64Array>());
        let columns = [Values::Files(files.to_vec()), Values::Array(numbers)];
        let (schema, properties) = (staged_schema(&features()), writer_properties(&features()).build());
        let bytes = write(&storage, "f", schema, properties, &columns).unwrap();
        let file = ParquetIn::open(&storage, "f").unwrap();
        assert_eq!(file.size(), bytes);
        let batches = file.batches(7, |_| true).unwrap().map(Result::unwrap).collect();
        (file, batches)
    }

    #[test]
    fn files_are_read_back_as_they_were_whatever_their_sizes() {
        let mut random = StdRng::seed_from_u64(3);
        for (rows, most) in [(1, 10), (70, 60_000), (100_000, 3), (9, 3_000_000), (3, 0), (40, 2_000_000)] {
            let sizes: Vec<usize> = (0..rows).map(|_| random.random_range(0..=most)).collect();
            let mut all = vec![0; sizes.iter().sum()];
            random.fill(all.as_mut_slice());
            let mut rest = all.as_slice();
            let files: Vec<&[u8]> = sizes.iter().map(|size| rest.split_off(..*size).unwrap()).collect();
            let (file, batches) = round(&files);
            let groups = file.metadata().row_groups();
            assert_eq!(groups.len() > 1, all.len() > ROW_GROUP_BYTES);
            let column = groups[0].column(0);
            assert_eq!(column.column_path().parts(), ["camera", IMAGE_BYTES]);
            assert!(column.statistics().is_none() && column.dictionary_page_offset().is_none());
            let mut found = Vec::new();
            for batch in &batches {
                let camera = batch.column(0).as_struct();
                assert!(camera.null_count() == 0 && camera.column(1).null_count() == batch.num_rows());
                let bytes = camera.column(0).as_binary::<i32>();
                found.extend(bytes.iter().map(|value| value.unwrap()));
            }
            assert!(found == files, "{rows} files of at most {most} bytes");
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let storage: SharedStorage = Arc::new(MemoryStorage::new());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        for columns in
            [vec![Values::Files(vec![b"x"])], vec![Values::Files(vec![b"x"]), Values::Array(numbers)]]
        {
            let (schema, properties) = (staged_schema(&features()), writer_properties(&features()).build());
            assert!(write(&storage, "f", schema, properties, &columns).is_err());
        }
    }
}
