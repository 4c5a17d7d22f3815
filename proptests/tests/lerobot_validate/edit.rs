//! Changes one thing in a dataset: a file taken apart, edited and put together again. It knows no rules.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use roboflow::storage::Storage;
use roboflow::storage::memory::MemoryStorage;
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn edit_json(storage: &MemoryStorage, key: &str, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&storage.read(key, 1 << 20).unwrap()).unwrap();
    edit(&mut value);
    storage.put(key, &serde_json::to_vec(&value).unwrap()).unwrap();
}

/// info.json keeps the order of its features: edited as text.
pub(crate) fn edit_text(storage: &MemoryStorage, key: &str, from: &str, to: &str) {
    let text = String::from_utf8(storage.read(key, 1 << 20).unwrap().to_vec()).unwrap();
    assert!(text.contains(from), "{key} holds {from}: {text}");
    storage.put(key, text.replacen(from, to, 1).as_bytes()).unwrap();
}

/// A Parquet file taken apart.
pub(crate) struct Table {
    pub(crate) rows: RecordBatch,
    pub(crate) notes: Vec<KeyValue>,
    pub(crate) groups: Vec<usize>,
    pub(crate) compression: Compression,
}

impl Table {
    pub(crate) fn set(&mut self, name: &str, column: ArrayRef) {
        let at = self.rows.schema().index_of(name).unwrap();
        let mut fields: Vec<Field> =
            self.rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[at] = Field::new(name, column.data_type().clone(), true);
        let mut columns = self.rows.columns().to_vec();
        columns[at] = column;
        self.rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    }

    pub(crate) fn integers(&mut self, name: &str, edit: impl FnOnce(&mut Vec<i64>)) {
        let mut values =
            self.rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
        edit(&mut values);
        self.set(name, Arc::new(Int64Array::from(values)));
    }

    pub(crate) fn project(&mut self, keep: impl Fn(&str) -> bool) {
        let schema = self.rows.schema();
        let kept: Vec<usize> =
            (0..schema.fields().len()).filter(|at| keep(schema.field(*at).name())).collect();
        self.rows = self.rows.project(&kept).unwrap();
    }
}

pub(crate) fn edit_parquet(storage: &MemoryStorage, key: &str, edit: impl FnOnce(&mut Table)) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(storage.read(key, 1 << 24).unwrap()).unwrap();
    let notes = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let notes = notes.into_iter().filter(|note| note.key != "ARROW:schema").collect();
    let groups = reader.metadata().row_groups().iter().map(|group| group.num_rows() as usize).collect();
    let schema = Arc::new(
        reader.schema().as_ref().clone().with_metadata(std::collections::HashMap::<String, String>::new()),
    );
    let batches: Vec<_> =
        reader.build().unwrap().map(|batch| batch.unwrap().with_schema(schema.clone()).unwrap()).collect();
    let rows = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let mut table = Table { rows, notes, groups, compression: Compression::SNAPPY };
    edit(&mut table);
    let properties = WriterProperties::builder()
        .set_compression(table.compression)
        .set_key_value_metadata(Some(table.notes))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.rows.schema(), Some(properties)).unwrap();
    let mut from = 0;
    for rows in table.groups {
        let rows = rows.min(table.rows.num_rows() - from);
        writer.write(&table.rows.slice(from, rows)).unwrap();
        writer.flush().unwrap();
        from += rows;
    }
    writer.close().unwrap();
    storage.put(key, &bytes).unwrap();
}

pub(crate) fn delete(storage: &MemoryStorage, key: &str) {
    storage.delete(key).unwrap();
}

/// Changes a file at the first place, from its end, where a box's type stands.
pub(crate) fn edit_bytes(
    storage: &MemoryStorage,
    key: &str,
    kind: &[u8; 4],
    edit: impl FnOnce(&mut [u8], usize),
) {
    let mut bytes = storage.read(key, 1 << 24).unwrap().to_vec();
    let at = bytes.windows(4).rposition(|window| window == kind).unwrap();
    edit(&mut bytes, at);
    storage.put(key, &bytes).unwrap();
}
