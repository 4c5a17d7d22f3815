//! Message bytes by hand: a joint state and a compressed image in CDR, ROS 1, JSON and Protobuf, with their definitions.

use super::{Body, CAMERA, Sample};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::fmt::Write;

const NS: u64 = 1_000_000_000;
const LINE: &str = "================================================================================";

/// How messages lie in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ROS 2.
    Cdr,
    /// ROS 1.
    Ros1,
    /// With the schemas of Foxglove where it has one.
    Json,
    /// Likewise.
    Protobuf,
}

impl Encoding {
    /// What an MCAP channel calls it, and its definitions.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Cdr => ("cdr", "ros2msg"),
            Self::Ros1 => ("ros1", "ros1msg"),
            Self::Json => ("json", "jsonschema"),
            Self::Protobuf => ("protobuf", "protobuf"),
        }
    }

    /// Name and definition of a topic's type.
    pub fn schema(self, topic: usize) -> (String, Vec<u8>) {
        let ros = |middle: &str, header: &str| {
            let (name, fields) = match topic {
                CAMERA => ("CompressedImage", "string format\nuint8[] data"),
                _ => {
                    ("JointState", "string[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort")
                }
            };
            let text = format!("std_msgs/Header header\n{fields}\n{LINE}\nMSG: std_msgs/Header\n{header}");
            (format!("sensor_msgs/{middle}{name}"), text.into_bytes())
        };
        match self {
            Self::Cdr => ros(
                "msg/",
                &format!(
                    "builtin_interfaces/Time stamp\nstring frame_id\n{LINE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
                ),
            ),
            Self::Ros1 => ros("", "uint32 seq\ntime stamp\nstring frame_id\n"),
            Self::Json => json_schema(topic),
            Self::Protobuf => protobuf_schema(topic),
        }
    }

    /// A message's bytes.
    pub fn body(self, sample: &Sample) -> Vec<u8> {
        match self {
            Self::Cdr => ros(sample, 2),
            Self::Ros1 => ros(sample, 1),
            Self::Json => json(sample).into_bytes(),
            Self::Protobuf => protobuf(sample),
        }
    }
}

/// Bytes of either ROS: CDR aligns, has a head, and ends texts by a zero.
struct Ros {
    out: Vec<u8>,
    version: u8,
}

impl Ros {
    fn align(&mut self, to: usize) {
        while self.version == 2 && !(self.out.len() - 4).is_multiple_of(to) {
            self.out.push(0);
        }
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.out.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let zero = u32::from(self.version == 2);
        self.u32(text.len() as u32 + zero);
        self.out.extend(text.as_bytes());
        if zero == 1 {
            self.out.push(0);
        }
    }

    fn floats(&mut self, values: &[f64]) {
        self.u32(values.len() as u32);
        for value in values {
            self.align(8);
            self.out.extend(value.to_le_bytes());
        }
    }
}

fn ros(sample: &Sample, version: u8) -> Vec<u8> {
    let out = if version == 2 { vec![0, 1, 0, 0] } else { 7_u32.to_le_bytes().to_vec() };
    let mut ros = Ros { out, version };
    ros.u32((sample.stamp_ns / NS) as u32);
    ros.u32((sample.stamp_ns % NS) as u32);
    ros.text("base");
    match &sample.body {
        Body::Joints(joints) => {
            ros.u32(joints.len() as u32);
            joints.iter().for_each(|(name, _)| ros.text(name));
            ros.floats(&joints.iter().map(|(_, value)| *value).collect::<Vec<_>>());
            ros.floats(&[]);
            ros.floats(&[]);
        }
        Body::Picture(bytes) => {
            ros.text("jpeg");
            ros.u32(bytes.len() as u32);
            ros.out.extend(bytes);
        }
    }
    ros.out
}

fn json_schema(topic: usize) -> (String, Vec<u8>) {
    let (name, fields) = match topic {
        CAMERA => (
            "foxglove.CompressedImage",
            r#""frame_id":{"type":"string"},"format":{"type":"string"},"data":{"type":"string","contentEncoding":"base64"}"#,
        ),
        _ => (
            "demo.JointState",
            r#""name":{"type":"array","items":{"type":"string"}},"position":{"type":"array","items":{"type":"number"}}"#,
        ),
    };
    let stamp =
        r#""timestamp":{"type":"object","properties":{"sec":{"type":"integer"},"nsec":{"type":"integer"}}}"#;
    (name.to_owned(), format!(r#"{{"type":"object","properties":{{{stamp},{fields}}}}}"#).into_bytes())
}

fn json(sample: &Sample) -> String {
    let mut out =
        format!(r#"{{"timestamp":{{"sec":{},"nsec":{}}}"#, sample.stamp_ns / NS, sample.stamp_ns % NS);
    let _ = match &sample.body {
        Body::Joints(joints) => {
            let names: Vec<String> = joints.iter().map(|(name, _)| format!("{name:?}")).collect();
            let values: Vec<String> = joints.iter().map(|(_, value)| format!("{value:?}")).collect();
            write!(out, r#","name":[{}],"position":[{}]}}"#, names.join(","), values.join(","))
        }
        Body::Picture(bytes) => {
            write!(out, r#","frame_id":"base","format":"jpeg","data":"{}"}}"#, base64(bytes))
        }
    };
    out
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'A');
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

fn field(name: &str, number: i32, kind: Type, repeated: bool) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        type_name: (kind == Type::Message).then(|| ".google.protobuf.Timestamp".to_owned()),
        label: Some(if repeated { Label::Repeated } else { Label::Optional }.into()),
        ..FieldDescriptorProto::default()
    }
}

fn file(package: &str, message: &str, field: Vec<FieldDescriptorProto>) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: Some(package.to_owned()),
        message_type: vec![DescriptorProto {
            name: Some(message.to_owned()),
            field,
            ..DescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn protobuf_schema(topic: usize) -> (String, Vec<u8>) {
    let stamp = vec![field("seconds", 1, Type::Int64, false), field("nanos", 2, Type::Int32, false)];
    let stamped = field("timestamp", 1, Type::Message, false);
    // Numbered as foxglove.CompressedImage is.
    let (package, name, fields) = match topic {
        CAMERA => (
            "foxglove",
            "CompressedImage",
            vec![
                stamped,
                field("frame_id", 4, Type::String, false),
                field("data", 2, Type::Bytes, false),
                field("format", 3, Type::String, false),
            ],
        ),
        _ => (
            "demo",
            "JointState",
            vec![stamped, field("name", 2, Type::String, true), field("position", 3, Type::Double, true)],
        ),
    };
    let files = vec![file("google.protobuf", "Timestamp", stamp), file(package, name, fields)];
    (format!("{package}.{name}"), FileDescriptorSet { file: files }.encode_to_vec())
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn prefixed(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn protobuf(sample: &Sample) -> Vec<u8> {
    let mut stamp = vec![1 << 3];
    varint(sample.stamp_ns / NS, &mut stamp);
    stamp.push(2 << 3);
    varint(sample.stamp_ns % NS, &mut stamp);
    let mut out = Vec::new();
    prefixed(1, &stamp, &mut out);
    match &sample.body {
        Body::Joints(joints) => {
            joints.iter().for_each(|(name, _)| prefixed(2, name.as_bytes(), &mut out));
            let packed: Vec<u8> = joints.iter().flat_map(|(_, value)| value.to_le_bytes()).collect();
            prefixed(3, &packed, &mut out);
        }
        Body::Picture(bytes) => {
            prefixed(4, b"base", &mut out);
            prefixed(2, bytes, &mut out);
            prefixed(3, b"jpeg", &mut out);
        }
    }
    out
}
