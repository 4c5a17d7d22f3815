//! Rules of the `huggingface` metadata of a data file.

use super::column::{Column, Kind};
use super::rule::{Findings, Rule};
use crate::lerobot::data::HUGGINGFACE_KEY;
use serde_json::{Value, json};

/// Checks the metadata of one data file.
pub(super) fn check(note: Option<&str>, columns: &[Column], file: &str, found: &mut Findings) {
    let Some(note) = note else {
        found.add(file, Rule::DataHuggingface, format!("the metadata {HUGGINGFACE_KEY} is missing"));
        return;
    };
    let parsed = serde_json::from_str::<Value>(note);
    let features = parsed.as_ref().ok().and_then(|value| value.pointer("/info/features")?.as_object());
    let Some(features) = features else {
        found.add(file, Rule::DataHuggingface, format!("{HUGGINGFACE_KEY} is no JSON with info.features"));
        return;
    };
    for column in columns.iter().filter(|column| !column.is_video()) {
        let name = &column.name;
        match features.get(name) {
            None => found.add(file, Rule::DataHuggingface, format!("{HUGGINGFACE_KEY} lacks {name}")),
            Some(entry) if !describes(entry, column) => {
                found.add(file, Rule::DataHuggingface, format!("{HUGGINGFACE_KEY} has {name} as {entry}"));
            }
            Some(_) => {}
        }
    }
    for name in features.keys().filter(|name| !columns.iter().any(|column| column.name == **name)) {
        found.add(file, Rule::DataHuggingface, format!("{HUGGINGFACE_KEY} has {name}, which is no feature"));
    }
}

fn describes(entry: &Value, column: &Column) -> bool {
    let kind = entry.get("_type").and_then(Value::as_str).unwrap_or_default();
    let value = json!({"dtype": column.dtype, "_type": "Value"});
    match (&column.kind, column.shape.as_slice()) {
        (Kind::Image, _) => kind == "Image",
        (Kind::Video, _) => false,
        (_, [1]) => *entry == value,
        (_, [length]) => {
            matches!(kind, "List" | "Sequence")
                && entry.get("feature") == Some(&value)
                && entry.get("length").and_then(Value::as_u64) == Some(*length)
        }
        (_, shape) => {
            kind == format!("Array{}D", shape.len())
                && entry.get("shape") == Some(&json!(shape))
                && entry.get("dtype") == Some(&json!(column.dtype))
        }
    }
}
