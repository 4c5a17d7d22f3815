//! Every CDR message of the real recordings, decoded by `re_ros_msg` and by extractors, value by value.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helpers fail the test at once"
)]

use re_cdr::{BigEndian, CdrReader, LittleEndian};
use re_ros_msg::MessageSchema;
use re_ros_msg::deserialize::primitive_array::PrimitiveArray;
use re_ros_msg::deserialize::{MapResolver, Value, decode_message};
use roboflow::convert::StopFlag;
use roboflow::convert::decode::{Extractor, Schema, ValueKind};
use roboflow::convert::source::{Recording, TimeSource, TopicId};
use roboflow::storage::fs::FsStorage;
use roboflow_proptests::recordings::data_folder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extractors by path, for one type.
struct Ours {
    schema: Schema,
    compiled: HashMap<String, Extractor>,
    leaves: usize,
}

impl Ours {
    fn extractor(&mut self, path: &str) -> &Extractor {
        if !self.compiled.contains_key(path) {
            let compiled = Extractor::compile(&self.schema, path).unwrap();
            self.compiled.insert(path.to_owned(), compiled);
        }
        &self.compiled[path]
    }

    fn numbers(&mut self, path: &str, data: &[u8], expected: &[f64]) {
        let mut out = Vec::new();
        self.extractor(path).numbers(data, &mut out).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(expected), "{path}");
        self.leaves += expected.len().max(1);
    }

    fn integers(&mut self, path: &str, data: &[u8], expected: &[i64]) {
        let mut out = Vec::new();
        self.extractor(path).integers(data, &mut out).unwrap();
        assert_eq!(out, expected, "{path}");
        self.leaves += expected.len().max(1);
    }

    fn strings(&mut self, path: &str, data: &[u8], expected: &[String]) {
        let mut out = Vec::new();
        assert_eq!(self.extractor(path).kind(), ValueKind::Strings);
        self.extractor(path).strings(data, &mut out).unwrap();
        assert_eq!(out, expected, "{path}");
        self.leaves += expected.len().max(1);
    }

    fn array(&mut self, path: &str, data: &[u8], array: &PrimitiveArray) {
        macro_rules! whole {
            ($v:expr) => {
                self.integers(path, data, &$v.iter().map(|x| i64::try_from(*x).unwrap()).collect::<Vec<_>>())
            };
        }
        match array {
            PrimitiveArray::Bool(v) => whole!(v.iter().map(|b| u8::from(*b)).collect::<Vec<_>>()),
            PrimitiveArray::I8(v) => whole!(v),
            PrimitiveArray::U8(v) => {
                assert_eq!(self.extractor(path).kind(), ValueKind::Bytes);
                assert_eq!(&*self.extractor(path).bytes(data).unwrap(), v.as_slice(), "{path}");
                self.leaves += 1;
            }
            PrimitiveArray::I16(v) => whole!(v),
            PrimitiveArray::U16(v) => whole!(v),
            PrimitiveArray::I32(v) => whole!(v),
            PrimitiveArray::U32(v) => whole!(v),
            PrimitiveArray::I64(v) => whole!(v),
            PrimitiveArray::U64(v) => {
                self.numbers(path, data, &v.iter().map(|x| *x as f64).collect::<Vec<_>>());
            }
            PrimitiveArray::F32(v) => {
                self.numbers(path, data, &v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            }
            PrimitiveArray::F64(v) => self.numbers(path, data, v),
            PrimitiveArray::String(v) => self.strings(path, data, v),
        }
    }

    fn compare(&mut self, path: &str, data: &[u8], value: &Value) {
        match value {
            Value::Message(fields) => {
                for (name, value) in fields {
                    if name != "structure_needs_at_least_one_member" {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        self.compare(&path, data, value);
                    }
                }
            }
            Value::Array(items) | Value::Sequence(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.compare(&format!("{path}[{index}]"), data, value);
                }
            }
            Value::PrimitiveArray(array) | Value::PrimitiveSeq(array) => self.array(path, data, array),
            Value::Bool(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::I8(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::U8(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::I16(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::U16(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::I32(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::U32(v) => self.integers(path, data, &[i64::from(*v)]),
            Value::I64(v) => self.integers(path, data, &[*v]),
            Value::U64(v) => self.numbers(path, data, &[*v as f64]),
            Value::F32(v) => self.numbers(path, data, &[f64::from(*v)]),
            Value::F64(v) => self.numbers(path, data, &[*v]),
            Value::String(v) => self.strings(path, data, std::slice::from_ref(v)),
        }
    }
}

/// Compares one topic; gives (messages, leaves).
fn topic(recording: &Recording, id: TopicId) -> (usize, usize) {
    let stop = StopFlag::default();
    let topic = &recording.topics()[id.0];
    let text = std::str::from_utf8(&topic.schema_data).unwrap();
    let oracle = MessageSchema::parse(&topic.schema_name, text).unwrap();
    let short = |name: &str| {
        let parts: Vec<&str> = name.split('/').collect();
        format!("{}/{}", parts[0], parts[parts.len() - 1])
    };
    let resolver = MapResolver::new(oracle.dependencies.iter().map(|d| (short(&d.name), d)));
    let schema = recording.schema(id, &stop).unwrap();
    let mut ours = Ours { schema, compiled: HashMap::new(), leaves: 0 };
    let refs = recording.index(&[id], TimeSource::Log, &stop).unwrap().remove(0);
    let mut reader = recording.reader();
    for at in &refs {
        let message = reader.message(*at).unwrap();
        assert_eq!(message.topic, id);
        assert_eq!(message.log_ns, at.stamp_ns);
        let body = &message.data[4..];
        let value = if message.data[1] == 0 {
            decode_message(&mut CdrReader::<BigEndian>::new(body), &oracle.spec, &resolver)
        } else {
            decode_message(&mut CdrReader::<LittleEndian>::new(body), &oracle.spec, &resolver)
        };
        ours.compare("", message.data, &value.unwrap_or_else(|e| panic!("{}: {e}", topic.name)));
    }
    (refs.len(), ours.leaves)
}

fn mcap_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mcap_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "mcap") {
            out.push(path);
        }
    }
}

#[test]
fn every_cdr_value_of_the_real_recordings_equals_the_oracles() {
    let folder = data_folder();
    let storage = Arc::new(FsStorage::open(&folder).unwrap());
    let mut files = Vec::new();
    mcap_files(&folder, &mut files);
    files.sort();
    let (mut topics, mut messages, mut leaves) = (0, 0, 0);
    for file in files {
        let key = file.strip_prefix(&folder).unwrap().to_str().unwrap();
        let recording = Recording::open(storage.clone(), key, &StopFlag::default()).unwrap();
        for (index, known) in recording.topics().iter().enumerate() {
            let readable = known.message_encoding == "cdr" && known.schema_encoding == "ros2msg";
            if !readable || known.schema_data.windows(7).any(|w| w == b"wstring") {
                println!("{key} {}: {} {}", known.name, known.message_encoding, known.schema_encoding);
                continue;
            }
            let (m, l) = topic(&recording, TopicId(index));
            topics += 1;
            messages += m;
            leaves += l;
        }
    }
    println!("{topics} topics, {messages} messages, {leaves} values compared");
    assert!(topics > 100 && messages > 8_600 && leaves > 50_000, "{topics} {messages} {leaves}");
}
