//! `meta/tasks.parquet`: the tasks' texts in order of first appearance, made the index by pandas metadata.

use super::data::plain_properties;
use super::error::LerobotError;
use super::layout::TASKS_KEY;
use super::parquet_file::{ParquetIn, ParquetOut, with_note};
use crate::storage::SharedStorage;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use parquet::file::metadata::KeyValue;
use std::sync::Arc;

/// The key of the metadata that pandas reads.
pub(super) const PANDAS_KEY: &str = "pandas";
/// The most tasks that are read.
const MAX_TASKS: usize = 1_000_000;
const BATCH_ROWS: usize = 1024;
/// What pandas calls an index without a name: the texts of a dataset that lerobot 0.4 wrote.
const UNNAMED_INDEX: &str = "__index_level_0__";

/// What pandas writes for a table of `task_index` whose index is `task`.
const PANDAS_METADATA: &str = concat!(
    r#"{"index_columns": ["task"], "column_indexes": [{"name": null, "field_name": null, "#,
    r#""pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}], "#,
    r#""columns": [{"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "#,
    r#""numpy_type": "int64", "metadata": null}, {"name": "task", "field_name": "task", "#,
    r#""pandas_type": "unicode", "numpy_type": "object", "metadata": null}], "attributes": {}, "#,
    r#""creator": {"library": "roboflow", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#""}, "pandas_version": "2.3.3"}"#,
);

/// Writes the tasks, numbered from 0. Durable when it returns; gives the bytes written.
///
/// # Errors
/// The storage's.
pub fn write_tasks(out: &SharedStorage, tasks: &[String]) -> Result<u64, LerobotError> {
    let note = KeyValue::new(PANDAS_KEY.to_owned(), PANDAS_METADATA.to_owned());
    let fields =
        vec![Field::new("task_index", DataType::Int64, true), Field::new("task", DataType::Utf8, true)];
    let schema = with_note(&Schema::new(fields), &note);
    let properties = plain_properties().set_key_value_metadata(Some(vec![note])).build();
    let mut file = ParquetOut::create(out, TASKS_KEY, Arc::clone(&schema), properties)?;
    let numbers: Int64Array = (0i64..).take(tasks.len()).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(StringArray::from_iter_values(tasks))];
    let batch =
        RecordBatch::try_new(schema, columns).map_err(|error| LerobotError::damaged(TASKS_KEY, error))?;
    file.write(&batch)?;
    file.finish()
}

/// The rows of tasks.parquet as they stand.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    /// Number and text of each row.
    pub rows: Vec<(i64, String)>,
    /// Whether pandas metadata makes the texts the index.
    pub task_is_index: bool,
}

/// Reads the tasks.
///
/// # Errors
/// The storage's; [`LerobotError::Damaged`] when the two columns are not there, of other types, or hold nulls.
pub fn read_tasks(storage: &SharedStorage) -> Result<Tasks, LerobotError> {
    let file = ParquetIn::open(storage, TASKS_KEY)?;
    let pandas = file.note(PANDAS_KEY).and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let index =
        pandas.as_ref().and_then(|pandas| pandas.get("index_columns")).and_then(|columns| columns.get(0));
    let index = index.and_then(|name| name.as_str());
    let text = index.filter(|name| *name == UNNAMED_INDEX).unwrap_or("task");
    let mut tasks = Tasks { rows: Vec::new(), task_is_index: index == Some(text) };
    for batch in file.batches(BATCH_ROWS, |_| true)? {
        let batch = batch?;
        let numbers =
            batch.column_by_name("task_index").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let texts = batch.column_by_name(text);
        let texts = texts.and_then(|column| arrow_text(column.as_ref()));
        let (Some(numbers), Some(texts)) = (numbers, texts) else {
            return Err(LerobotError::damaged(
                TASKS_KEY,
                "it needs the columns task_index (int64) and task (string)",
            ));
        };
        if numbers.null_count() > 0 || texts.iter().any(Option::is_none) {
            return Err(LerobotError::damaged(TASKS_KEY, "task_index and task hold no nulls"));
        }
        tasks.rows.extend(numbers.values().iter().copied().zip(texts.into_iter().flatten()));
        if tasks.rows.len() > MAX_TASKS {
            return Err(LerobotError::damaged(TASKS_KEY, format!("more than {MAX_TASKS} tasks")));
        }
    }
    Ok(tasks)
}

/// The texts of a string column of either width.
pub(super) fn arrow_text(array: &dyn Array) -> Option<Vec<Option<String>>> {
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Some(texts.iter().map(|text| text.map(str::to_owned)).collect());
    }
    let texts = array.as_string_opt::<i64>()?;
    Some(texts.iter().map(|text| text.map(str::to_owned)).collect())
}
