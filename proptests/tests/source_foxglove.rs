//! Foxglove's message types in every encoding that has them: the same fields by the same paths, their `timestamp` as the header's
//! time, and a mapping inferred from them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use mcap::records::MessageHeader;
use mcap::{WriteOptions, Writer};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use roboflow::convert::StopFlag;
use roboflow::convert::decode::Extractor;
use roboflow::convert::infer::infer;
use roboflow::convert::source::{Recording, TimeSource};
use roboflow_proptests::recordings::CountingStorage;
use std::collections::BTreeMap;
use std::io::Cursor;

const NS: u64 = 1_000_000_000;
const LOG_NS: u64 = 1_700_000_000 * NS;
const STAMP_NS: u64 = 1_600_000_001 * NS + 250;

/// A type's fields: name, type (`[]` behind it for a list), number in Protobuf.
type Fields = &'static [(&'static str, &'static str, i32)];

const TYPES: &[(&str, Fields)] = &[
    ("Vector3", &[("x", "f64", 1), ("y", "f64", 2), ("z", "f64", 3)]),
    ("Quaternion", &[("x", "f64", 1), ("y", "f64", 2), ("z", "f64", 3), ("w", "f64", 4)]),
    ("Pose", &[("position", "Vector3", 1), ("orientation", "Quaternion", 2)]),
    ("PoseInFrame", &[("timestamp", "time", 1), ("frame_id", "text", 2), ("pose", "Pose", 3)]),
    ("PosesInFrame", &[("timestamp", "time", 1), ("frame_id", "text", 2), ("poses", "Pose[]", 3)]),
    (
        "FrameTransform",
        &[
            ("timestamp", "time", 1),
            ("parent_frame_id", "text", 2),
            ("child_frame_id", "text", 3),
            ("translation", "Vector3", 4),
            ("rotation", "Quaternion", 5),
        ],
    ),
    (
        "RawImage",
        &[
            ("timestamp", "time", 1),
            ("frame_id", "text", 7),
            ("width", "u32", 2),
            ("height", "u32", 3),
            ("encoding", "text", 4),
            ("step", "u32", 5),
            ("data", "bytes", 6),
        ],
    ),
    (
        "CompressedImage",
        &[("timestamp", "time", 1), ("frame_id", "text", 4), ("data", "bytes", 2), ("format", "text", 3)],
    ),
    (
        "JointState",
        &[("name", "text", 1), ("position", "f64", 2), ("velocity", "f64", 3), ("effort", "f64", 4)],
    ),
    ("JointStates", &[("timestamp", "time", 1), ("joints", "JointState[]", 2)]),
];

fn fields(name: &str) -> Fields {
    TYPES.iter().find(|(known, _)| *known == name).unwrap().1
}

/// The types that one needs, itself first.
fn needed(name: &'static str) -> Vec<&'static str> {
    let mut all = vec![name];
    let mut at = 0;
    while at < all.len() {
        let inner = fields(all[at]).iter().map(|(_, kind, _)| kind.trim_end_matches("[]"));
        let inner = inner.filter(|kind| TYPES.iter().any(|(known, _)| known == kind));
        for kind in inner {
            if !all.contains(&kind) {
                all.push(kind);
            }
        }
        at += 1;
    }
    all
}

/// What a field holds, made of its path: the same in every encoding.
fn number(path: &str) -> f64 {
    f64::from(
        path.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 10_000,
    ) / 8.0
}

/// Writes the messages of one encoding.
trait Encode {
    fn schema(&self, name: &'static str) -> (String, &'static str, Vec<u8>);
    fn name(&self) -> &'static str;
    fn body(&self, name: &str) -> Vec<u8>;
}

struct Json;

fn json_type(kind: &str) -> String {
    if let Some(element) = kind.strip_suffix("[]") {
        return format!(r#"{{"type":"array","items":{}}}"#, json_type(element));
    }
    match kind {
        "f64" => r#"{"type":"number"}"#.to_owned(),
        "u32" => r#"{"type":"integer","minimum":0}"#.to_owned(),
        "text" => r#"{"type":"string"}"#.to_owned(),
        "bytes" => r#"{"type":"string","contentEncoding":"base64"}"#.to_owned(),
        "time" => r#"{"type":"object","title":"time","properties":{"sec":{"type":"integer","minimum":0},"nsec":{"type":"integer","minimum":0,"maximum":999999999}}}"#.to_owned(),
        name => {
            let inner: Vec<String> =
                fields(name).iter().map(|(field, kind, _)| format!("{field:?}:{}", json_type(kind))).collect();
            format!(r#"{{"title":"foxglove.{name}","type":"object","properties":{{{}}}}}"#, inner.join(","))
        }
    }
}

fn json_value(kind: &str, path: &str) -> String {
    if let Some(element) = kind.strip_suffix("[]") {
        let items: Vec<String> = (0..2).map(|at| json_value(element, &format!("{path}[{at}]"))).collect();
        return format!("[{}]", items.join(","));
    }
    match kind {
        "f64" => format!("{:?}", number(path)),
        "u32" => "4".to_owned(),
        "text" => format!("{path:?}"),
        // base64 of "data".
        "bytes" => r#""ZGF0YQ==""#.to_owned(),
        "time" => format!(r#"{{"sec":{},"nsec":{}}}"#, STAMP_NS / NS, STAMP_NS % NS),
        name => {
            let inner: Vec<String> = fields(name)
                .iter()
                .map(|(field, kind, _)| format!("{field:?}:{}", json_value(kind, &joined(path, field))))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
    }
}

fn joined(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

impl Encode for Json {
    fn schema(&self, name: &'static str) -> (String, &'static str, Vec<u8>) {
        (format!("foxglove.{name}"), "jsonschema", json_type(name).into_bytes())
    }
    fn name(&self) -> &'static str {
        "json"
    }
    fn body(&self, name: &str) -> Vec<u8> {
        json_value(name, "").into_bytes()
    }
}

struct Ros(u8);

impl Ros {
    fn align(&self, to: usize, out: &mut Vec<u8>) {
        while self.0 == 2 && !(out.len() - 4).is_multiple_of(to) {
            out.push(0);
        }
    }

    fn word(&self, value: u32, out: &mut Vec<u8>) {
        self.align(4, out);
        out.extend(value.to_le_bytes());
    }

    fn value(&self, kind: &str, path: &str, out: &mut Vec<u8>) {
        if let Some(element) = kind.strip_suffix("[]") {
            self.word(2, out);
            (0..2).for_each(|at| self.value(element, &format!("{path}[{at}]"), out));
            return;
        }
        match kind {
            "f64" => {
                self.align(8, out);
                out.extend(number(path).to_le_bytes());
            }
            "u32" => self.word(4, out),
            "text" => {
                let zero = u32::from(self.0 == 2);
                self.word(path.len() as u32 + zero, out);
                out.extend(path.as_bytes());
                out.extend(vec![0; zero as usize]);
            }
            "bytes" => {
                self.word(4, out);
                out.extend(b"data");
            }
            "time" => {
                self.word((STAMP_NS / NS) as u32, out);
                self.word((STAMP_NS % NS) as u32, out);
            }
            name => {
                fields(name).iter().for_each(|(field, kind, _)| self.value(kind, &joined(path, field), out))
            }
        }
    }
}

impl Encode for Ros {
    fn schema(&self, name: &'static str) -> (String, &'static str, Vec<u8>) {
        let time = if self.0 == 2 { "builtin_interfaces/Time" } else { "time" };
        let mut text = String::new();
        for (at, name) in needed(name).into_iter().enumerate() {
            if at > 0 {
                text.push_str(&format!("{}\nMSG: foxglove_msgs/{name}\n", "=".repeat(80)));
            }
            for (field, kind, _) in fields(name) {
                let (element, list) = kind.strip_suffix("[]").map_or((*kind, ""), |element| (element, "[]"));
                let kind = match element {
                    "f64" => "float64",
                    "u32" => "uint32",
                    "text" => "string",
                    "bytes" => "uint8[]",
                    "time" => time,
                    name => &format!("foxglove_msgs/{name}"),
                };
                text.push_str(&format!("{kind}{list} {field}\n"));
            }
        }
        let middle = if self.0 == 2 { "msg/" } else { "" };
        let encoding = if self.0 == 2 { "ros2msg" } else { "ros1msg" };
        (format!("foxglove_msgs/{middle}{name}"), encoding, text.into_bytes())
    }
    fn name(&self) -> &'static str {
        if self.0 == 2 { "cdr" } else { "ros1" }
    }
    fn body(&self, name: &str) -> Vec<u8> {
        let mut out = if self.0 == 2 { vec![0, 1, 0, 0] } else { Vec::new() };
        self.value(name, "", &mut out);
        out
    }
}

struct Protobuf;

fn descriptor(name: &str) -> DescriptorProto {
    let field = |(field, kind, number): &(&str, &str, i32)| {
        let (element, list) = kind.strip_suffix("[]").map_or((*kind, false), |element| (element, true));
        let (kind, of) = match element {
            "f64" => (Type::Double, None),
            "u32" => (Type::Fixed32, None),
            "text" => (Type::String, None),
            "bytes" => (Type::Bytes, None),
            "time" => (Type::Message, Some(".google.protobuf.Timestamp".to_owned())),
            name => (Type::Message, Some(format!(".foxglove.{name}"))),
        };
        FieldDescriptorProto {
            name: Some((*field).to_owned()),
            number: Some(*number),
            r#type: Some(kind.into()),
            type_name: of,
            label: Some(if list { Label::Repeated } else { Label::Optional }.into()),
            ..FieldDescriptorProto::default()
        }
    };
    DescriptorProto {
        name: Some(name.to_owned()),
        field: fields(name).iter().map(field).collect(),
        ..DescriptorProto::default()
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn prefixed(number: i32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number.unsigned_abs() << 3 | 2), out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn protobuf_message(name: &str, path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, kind, number) in fields(name) {
        let path = joined(path, field);
        let (element, paths) = match kind.strip_suffix("[]") {
            Some(element) => (element, (0..2).map(|at| format!("{path}[{at}]")).collect()),
            None => (*kind, vec![path]),
        };
        for path in paths {
            match element {
                "f64" => {
                    varint(u64::from(number.unsigned_abs() << 3 | 1), &mut out);
                    out.extend(self::number(&path).to_le_bytes());
                }
                "u32" => {
                    varint(u64::from(number.unsigned_abs() << 3 | 5), &mut out);
                    out.extend(4_u32.to_le_bytes());
                }
                "text" => prefixed(*number, path.as_bytes(), &mut out),
                "bytes" => prefixed(*number, b"data", &mut out),
                "time" => {
                    let mut stamp = vec![1 << 3];
                    varint(STAMP_NS / NS, &mut stamp);
                    stamp.push(2 << 3);
                    varint(STAMP_NS % NS, &mut stamp);
                    prefixed(*number, &stamp, &mut out);
                }
                name => prefixed(*number, &protobuf_message(name, &path), &mut out),
            }
        }
    }
    out
}

impl Encode for Protobuf {
    fn schema(&self, name: &'static str) -> (String, &'static str, Vec<u8>) {
        let whole = |name: &str, number, kind: Type| FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            r#type: Some(kind.into()),
            label: Some(Label::Optional.into()),
            ..FieldDescriptorProto::default()
        };
        let stamp = DescriptorProto {
            name: Some("Timestamp".to_owned()),
            field: vec![whole("seconds", 1, Type::Int64), whole("nanos", 2, Type::Int32)],
            ..DescriptorProto::default()
        };
        let file = |package: &str, message_type| FileDescriptorProto {
            name: Some(format!("{package}.proto")),
            package: Some(package.to_owned()),
            message_type,
            syntax: Some("proto3".to_owned()),
            ..FileDescriptorProto::default()
        };
        let own = needed(name).into_iter().map(descriptor).collect();
        let set =
            FileDescriptorSet { file: vec![file("google.protobuf", vec![stamp]), file("foxglove", own)] };
        (format!("foxglove.{name}"), "protobuf", set.encode_to_vec())
    }
    fn name(&self) -> &'static str {
        "protobuf"
    }
    fn body(&self, name: &str) -> Vec<u8> {
        protobuf_message(name, "")
    }
}

fn recording(topics: &[(&str, &'static str)], encode: &dyn Encode) -> Recording {
    let mut writer = Writer::with_options(Cursor::new(Vec::new()), WriteOptions::new()).unwrap();
    for (topic, name) in topics {
        let (schema, encoding, text) = encode.schema(name);
        let schema = writer.add_schema(&schema, encoding, &text).unwrap();
        let channel_id = writer.add_channel(schema, topic, encode.name(), &BTreeMap::new()).unwrap();
        for message in 0..40 {
            let at = LOG_NS + u64::from(message) * NS / 20;
            let header = MessageHeader { channel_id, sequence: message, log_time: at, publish_time: at };
            writer.write_to_known_channel(&header, &encode.body(name)).unwrap();
        }
    }
    writer.finish().unwrap();
    let storage = CountingStorage::with("f.mcap", &writer.into_inner().into_inner()).unwrap();
    Recording::open(storage.shared(), "f.mcap", &StopFlag::default()).unwrap()
}

const ENCODINGS: [&dyn Encode; 4] = [&Json, &Ros(1), &Ros(2), &Protobuf];

#[test]
fn the_same_paths_give_the_same_values_in_every_encoding() {
    let stop = StopFlag::default();
    for encode in ENCODINGS {
        for (name, paths) in [
            ("PoseInFrame", &["pose.position.x", "pose.orientation.w", "pose.position.z"][..]),
            ("PosesInFrame", &["poses[1].position.y", "poses[0].orientation.z"]),
            ("FrameTransform", &["translation.x", "rotation.w"]),
            ("JointStates", &["joints[0].position", "joints[1].velocity"]),
        ] {
            let recording = recording(&[("/t", name)], encode);
            let id = recording.topic("/t").unwrap();
            let schema = recording.schema(id, &stop).unwrap();
            assert!(schema.has_header(), "{name} in {}", encode.name());
            let refs = recording.index(&[id], TimeSource::Header, &stop).unwrap().remove(0);
            assert!(refs.iter().all(|at| at.stamp_ns == STAMP_NS), "{name} in {}", encode.name());
            let mut reader = recording.reader();
            let data = reader.message(refs[0]).unwrap().data.to_vec();
            for path in paths {
                let mut values = Vec::new();
                Extractor::compile(&schema, path).unwrap().numbers(&data, &mut values).unwrap();
                assert_eq!(values, [number(path)], "{name} {path} in {}", encode.name());
            }
        }
    }
}

#[test]
fn pictures_and_their_geometry_are_reached_in_every_encoding() {
    let stop = StopFlag::default();
    for encode in ENCODINGS {
        for (name, texts, numbers) in [
            ("RawImage", &["encoding", "frame_id"][..], &["width", "height", "step"][..]),
            ("CompressedImage", &["format", "frame_id"], &[]),
        ] {
            let recording = recording(&[("/camera", name)], encode);
            let id = recording.topic("/camera").unwrap();
            let schema = recording.schema(id, &stop).unwrap();
            let refs = recording.index(&[id], TimeSource::Log, &stop).unwrap().remove(0);
            let mut reader = recording.reader();
            let data = reader.message(refs[0]).unwrap().data.to_vec();
            let field = |path: &str| Extractor::compile(&schema, path).unwrap();
            assert_eq!(&*field("data").bytes(&data).unwrap(), b"data", "{name} in {}", encode.name());
            for path in texts {
                let mut values = Vec::new();
                field(path).strings(&data, &mut values).unwrap();
                assert_eq!(values, [(*path).to_owned()], "{name} in {}", encode.name());
            }
            for path in numbers {
                let mut values = Vec::new();
                field(path).integers(&data, &mut values).unwrap();
                assert_eq!(values, [4], "{name} in {}", encode.name());
            }
        }
    }
}

#[test]
fn a_mapping_is_inferred_from_them() {
    for encode in ENCODINGS {
        let topics =
            [("/arm/joints", "JointStates"), ("/goal_pose", "PoseInFrame"), ("/log", "FrameTransform")];
        let recording = recording(&topics, encode);
        let text = infer(&recording, &StopFlag::default()).unwrap().mapping_text;
        for part in [
            "topic = \"/arm/joints\"",
            "field = \"joints[:].position\"",
            "select = [\"joints[0].name\", \"joints[1].name\"]",
            "topic = \"/goal_pose\"",
            "field = \"pose.position\"",
            "field = \"pose.orientation\"",
        ] {
            assert!(text.contains(part), "{part} in {}:\n{text}", encode.name());
        }
        assert!(!text.contains("/log"), "{text}");
    }
}
