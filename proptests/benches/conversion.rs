//! What one message, one frame and one picture cost: taking values out of messages by a compiled plan, in every encoding;
//! finding the messages of frames by each alignment; decoding and counting a JPEG; the index of an mp4 file.
//!
//! `cargo bench --bench conversion`; `cargo bench --bench conversion -- align` for a part. It asserts that what is
//! measured gives the values that were put in, before it measures.

#![expect(clippy::unwrap_used, reason = "a benchmark ends when something is wrong")]

use base64::Engine;
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use roboflow::bench::picture::PictureBench;
use roboflow::convert::align::{Align, pick};
use roboflow::convert::decode::{Extractor, Schema};
use roboflow::convert::source::{MessageRef, Topic};
use roboflow::lerobot::video::{Codec, GOP_FRAMES, Mp4Plan, SampleSizes, VideoStream};
use std::hint::black_box;

/// Joints of an arm.
const JOINTS: u32 = 6;
/// A picture of 640 x 480 as JPEG.
const PICTURE_BYTES: usize = 48 * 1024;
const NS: u64 = 1_000_000_000;
const ROS1: &str = "float64 stamp\nstring[] name\nfloat64[] position\nuint8[] data\n";

fn positions() -> Vec<f64> {
    (0..JOINTS).map(|joint| f64::from(joint) * 0.25 - 0.5).collect()
}

fn names() -> Vec<String> {
    (0..JOINTS).map(|joint| format!("joint_{joint}")).collect()
}

/// Not zeros, so that no encoding has it easy.
fn picture() -> Vec<u8> {
    (0..PICTURE_BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Names, positions and a picture in one message, and its type.
struct Sample {
    encoding: &'static str,
    schema: Schema,
    data: Vec<u8>,
}

fn sample(
    encoding: &'static str,
    message_encoding: &str,
    schema: (&str, &str, Vec<u8>),
    data: Vec<u8>,
) -> Sample {
    let (schema_name, schema_encoding, schema_data) = schema;
    let topic = Topic {
        name: "/topic".to_owned(),
        schema_name: schema_name.to_owned(),
        schema_encoding: schema_encoding.to_owned(),
        schema_data: Bytes::from(schema_data),
        message_encoding: message_encoding.to_owned(),
        message_count: None,
    };
    Sample { encoding, schema: Schema::parse(&topic).unwrap(), data }
}

/// Little-endian values as ROS 1 packs them, or aligned as CDR has them, with the zero byte behind texts.
fn ros(cdr: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let align = |out: &mut Vec<u8>, to: usize| {
        while cdr && !out.len().is_multiple_of(to) {
            out.push(0);
        }
    };
    out.extend(1.0_f64.to_le_bytes());
    out.extend(JOINTS.to_le_bytes());
    for name in names() {
        align(&mut out, 4);
        out.extend((name.len() as u32 + u32::from(cdr)).to_le_bytes());
        out.extend(name.bytes().chain(cdr.then_some(0)));
    }
    align(&mut out, 4);
    out.extend(JOINTS.to_le_bytes());
    align(&mut out, 8);
    positions().iter().for_each(|value| out.extend(value.to_le_bytes()));
    out.extend((PICTURE_BYTES as u32).to_le_bytes());
    out.extend(picture());
    if cdr { [vec![0, 1, 0, 0], out].concat() } else { out }
}

fn descriptors() -> Vec<u8> {
    let field = |name: &str, number: i32, kind: Type, label: Label| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(label.into()),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: Some("Main".to_owned()),
        field: vec![
            field("stamp", 1, Type::Double, Label::Optional),
            field("name", 2, Type::String, Label::Repeated),
            field("position", 3, Type::Double, Label::Repeated),
            field("data", 4, Type::Bytes, Label::Optional),
        ],
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("demo.proto".to_owned()),
        package: Some("demo".to_owned()),
        message_type: vec![message],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn protobuf() -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(1.0_f64.to_le_bytes());
    let mut delimited = |tag: u8, bytes: &[u8]| {
        out.push(tag << 3 | 2);
        prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
        out.extend(bytes);
    };
    names().iter().for_each(|name| delimited(2, name.as_bytes()));
    let packed: Vec<u8> = positions().iter().flat_map(|value| value.to_le_bytes()).collect();
    delimited(3, &packed);
    delimited(4, &picture());
    out
}

fn json() -> (String, Vec<u8>) {
    let list = |kind: &str| serde_json::json!({ "type": "array", "items": { "type": kind } });
    let schema = serde_json::json!({ "type": "object", "properties": {
        "stamp": { "type": "number" }, "name": list("string"), "position": list("number"),
        "data": { "type": "string", "contentEncoding": "base64" } } });
    let data = base64::engine::general_purpose::STANDARD.encode(picture());
    let message = serde_json::json!({ "stamp": 1.0, "name": names(), "position": positions(), "data": data });
    (schema.to_string(), message.to_string().into_bytes())
}

fn samples() -> Vec<Sample> {
    let (json_schema, json_message) = json();
    vec![
        sample("cdr", "cdr", ("demo/msg/Main", "ros2msg", ROS1.into()), ros(true)),
        sample("ros1", "ros1", ("demo/Main", "ros1msg", ROS1.into()), ros(false)),
        sample("protobuf", "protobuf", ("demo.Main", "protobuf", descriptors()), protobuf()),
        sample("json", "json", ("demo.Main", "jsonschema", json_schema.into()), json_message),
    ]
}

fn decode(criterion: &mut Criterion) {
    for Sample { encoding, schema, data } in samples() {
        let plan = |path: &str| Extractor::compile(&schema, path).unwrap();
        let (position, one, image) = (plan("position"), plan("position[3]"), plan("data"));
        let mut values = Vec::new();
        position.numbers(&data, &mut values).unwrap();
        assert_eq!(values, positions(), "{encoding}");
        assert_eq!(image.bytes(&data).unwrap(), picture(), "{encoding}");
        let mut group = criterion.benchmark_group(format!("decode/{encoding}"));
        let mut numbers = |group: &mut BenchmarkGroup<'_, WallTime>, name: &str, plan: &Extractor| {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    values.clear();
                    plan.numbers(black_box(&data), &mut values).unwrap();
                    values.len()
                });
            });
        };
        numbers(&mut group, "position", &position);
        numbers(&mut group, "position[3]", &one);
        group.throughput(Throughput::Bytes(PICTURE_BYTES as u64));
        group.bench_function("image", |bencher| {
            bencher.iter(|| image.bytes(black_box(&data)).unwrap().len());
        });
        group.bench_function("compile", |bencher| {
            bencher.iter(|| Extractor::compile(black_box(&schema), "position").unwrap());
        });
        group.finish();
    }
}

fn align(criterion: &mut Criterion) {
    /// Joint states at 100 Hz: a minute, and a quarter of an hour.
    const MESSAGES: [u64; 2] = [6_000, 100_000];
    for count in MESSAGES {
        let frames = count * 30 / 100;
        let message = |number: u64| MessageRef { stamp_ns: number * NS / 100, chunk: 0, offset: 0 };
        let messages: Vec<MessageRef> = (0..count).map(message).collect();
        let mut group = criterion.benchmark_group(format!("align/{count} stamps"));
        group.throughput(Throughput::Elements(frames));
        for (name, align) in
            [("latest", Align::Latest), ("nearest", Align::Nearest), ("linear", Align::Linear)]
        {
            let walk = |messages: &[MessageRef]| {
                (0..frames).filter(|frame| pick(messages, frame * NS / 30, align).is_some()).count()
            };
            assert_eq!(walk(&messages) as u64, frames, "{name}");
            group.bench_function(name, |bencher| bencher.iter(|| walk(black_box(&messages))));
        }
        group.finish();
    }
}

fn pictures(criterion: &mut Criterion) {
    let mut picture = PictureBench::jpeg(640, 480).unwrap();
    assert_eq!(picture.planes().unwrap(), 640 * 480 * 3 / 2);
    assert_eq!(picture.count().unwrap(), 160 * 120 * 3);
    let mut group = criterion.benchmark_group("picture/640x480 jpeg");
    group.throughput(Throughput::Elements(1));
    group.bench_function("to planes", |bencher| bencher.iter(|| picture.planes().unwrap()));
    group.bench_function("statistics", |bencher| bencher.iter(|| picture.count().unwrap()));
    picture.planes().unwrap();
    group.bench_function("statistics of planes", |bencher| bencher.iter(|| picture.count_same()));
    group.finish();
}

fn mux(criterion: &mut Criterion) {
    /// An hour of one camera.
    const FRAMES: u32 = 108_000;
    let record = vec![1, 66, 192, 31, 0xff, 0xe1, 0, 4, 0x67, 66, 192, 31, 1, 0, 2, 0x68, 0xce];
    let stream =
        VideoStream { codec: Codec::H264, width: 640, height: 480, record, quality: 23, preset: None };
    let sizes = || {
        let mut samples = SampleSizes::default();
        (0..FRAMES)
            .for_each(|number| assert!(samples.push(5_000 + number % 1_000, number % GOP_FRAMES == 0)));
        samples
    };
    let samples = sizes();
    let plan = Mp4Plan { stream: &stream, fps: 30, samples: &samples };
    let head = plan.head();
    // Four bytes a sample, and four for every second one.
    assert!((FRAMES * 6..FRAMES * 6 + 2_000).contains(&(head.len() as u32)));
    let mut group = criterion.benchmark_group("mux/an hour");
    group.throughput(Throughput::Elements(u64::from(FRAMES)));
    group.bench_function("sizes", |bencher| bencher.iter(|| sizes().len()));
    group.bench_function("head", |bencher| bencher.iter(|| black_box(&plan).head().len()));
    group.finish();
}

criterion_group!(benches, decode, align, pictures, mux);
criterion_main!(benches);
