//! Prints every message of a recording as a line of JSON, for readers that are not ours to compare: topic, times, its bytes'
//! length, and every field that a mapping could name. A topic that cannot be decoded is a line with the reason.
//!
//!     cargo run -p roboflow-proptests --example decoded -- FILE_OR_FOLDER

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use roboflow::convert::StopFlag;
use roboflow::convert::decode::{Extractor, FieldInfo, Schema};
use roboflow::convert::source::rosbag2::METADATA_FILE;
use roboflow::convert::source::{Recording, SourceError, TimeSource, TopicId};
use roboflow::storage::fs::FsStorage;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln_exit("give a recording");
        return ExitCode::from(64);
    };
    match print(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln_exit(&error.to_string());
            ExitCode::from(65)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the error of a program")]
fn eprintln_exit(text: &str) {
    eprintln!("{text}");
}

fn print(path: &Path) -> Result<(), SourceError> {
    let stop = StopFlag::default();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let key = if path.is_dir() { format!("{name}/{METADATA_FILE}") } else { name.into_owned() };
    let recording = Recording::open(Arc::new(FsStorage::open(folder)?), &key, &stop)?;
    for (number, topic) in recording.topics().iter().enumerate() {
        let id = TopicId(number);
        let schemas = match recording.schemas(id, &stop) {
            Ok(schemas) => schemas,
            Err(error) => {
                let reason = error.to_string();
                println!(
                    "{}",
                    json!({"topic": topic.name, "type": topic.schema_name, "encoding": topic.message_encoding,
                    "messages": topic.message_count, "refused": reason})
                );
                continue;
            }
        };
        let fields: Vec<Vec<(FieldInfo, Extractor)>> = schemas.iter().map(compiled).collect();
        let mut reader = recording.reader();
        for at in recording.index(&[id], TimeSource::Log, &stop)?.concat() {
            let message = reader.message(at)?;
            let values: Map<String, Value> = fields
                .get(message.kind)
                .into_iter()
                .flatten()
                .map(|(field, of)| (field.path.clone(), value(field, of, message.data)))
                .collect();
            println!(
                "{}",
                json!({"topic": topic.name, "log": message.log_ns, "publish": message.publish_ns,
                "bytes": message.data.len(), "values": values})
            );
        }
    }
    Ok(())
}

fn compiled(schema: &Schema) -> Vec<(FieldInfo, Extractor)> {
    let compile = |field: FieldInfo| {
        let extractor = Extractor::compile(schema, &field.path).ok()?;
        Some((field, extractor))
    };
    schema.fields().into_iter().filter_map(compile).collect()
}

/// Of bytes their length and sum; null where a message has no such element.
fn value(field: &FieldInfo, extractor: &Extractor, data: &[u8]) -> Value {
    if field.is_bytes() {
        return extractor.bytes(data).map_or(Value::Null, |bytes| {
            json!([bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>()])
        });
    }
    if field.is_string() {
        let mut texts = Vec::new();
        return extractor.strings(data, &mut texts).map_or(Value::Null, |()| json!(texts));
    }
    let mut numbers = Vec::new();
    let read = extractor.numbers(data, &mut numbers);
    // JSON has no infinities: all numbers as text that says every bit of them.
    read.map_or(Value::Null, |()| {
        json!(numbers.iter().map(|n| format!("{:016x}", n.to_bits())).collect::<Vec<_>>())
    })
}
