//! Topics whose messages have several types: each is decoded by its own, and a field that one lacks is refused by name.

use super::*;
use mcap::Writer;
use mcap::records::MessageHeader;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::io::Cursor;

/// A channel's type: schema name, how its definition is written, the definition, how messages are written.
type Typed = (&'static str, &'static str, Vec<u8>, &'static str);

/// What is tried, the types of the topic, and its messages.
type Tried = (&'static str, Vec<Typed>, Vec<(usize, Vec<u8>)>);

/// A message with a text and a number.
const CDR: &str = "string note\nfloat64 x";

fn cdr(text: &str) -> Typed {
    ("p/msg/State", "ros2msg", text.as_bytes().to_vec(), "cdr")
}

fn cdr_body(note: Option<&str>, x: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0];
    if let Some(note) = note {
        out.extend((note.len() as u32 + 1).to_le_bytes());
        out.extend([note.as_bytes(), &[0]].concat());
    }
    while !(out.len() - 4).is_multiple_of(x.len().max(1)) {
        out.push(0);
    }
    out.extend(x);
    out
}

fn ros1_body(note: &str, x: f64) -> Vec<u8> {
    [&(note.len() as u32).to_le_bytes()[..], note.as_bytes(), &x.to_le_bytes()].concat()
}

/// `x` as a double under this number, the text under the other.
fn protobuf(number: i32) -> Typed {
    let field = |name: &str, number: i32, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let state = DescriptorProto {
        name: Some("State".to_owned()),
        field: vec![field("x", number, Type::Double), field("note", 3 - number, Type::String)],
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("state.proto".to_owned()),
        package: Some("p".to_owned()),
        message_type: vec![state],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    ("p.State", "protobuf", FileDescriptorSet { file: vec![file] }.encode_to_vec(), "protobuf")
}

fn protobuf_body(number: u8, x: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &x.to_le_bytes()].concat()
}

/// A recording of /state: message k at k × 100 ms, of the type that it names.
fn recording_of(
    types: &[Typed],
    messages: &[(usize, Vec<u8>)],
    options: mcap::WriteOptions,
) -> SharedStorage {
    let mut writer = Writer::with_options(Cursor::new(Vec::new()), options.chunk_size(Some(100))).unwrap();
    let channels: Vec<u16> = types
        .iter()
        .map(|(name, encoding, text, message)| {
            let schema =
                if encoding.is_empty() { 0 } else { writer.add_schema(name, encoding, text).unwrap() };
            writer.add_channel(schema, "/state", message, &BTreeMap::new()).unwrap()
        })
        .collect();
    for (number, (kind, body)) in messages.iter().enumerate() {
        let time = number as u64 * 100 * MS;
        let header =
            MessageHeader { channel_id: channels[*kind], sequence: 0, log_time: time, publish_time: time };
        writer.write_to_known_channel(&header, body).unwrap();
    }
    writer.finish().unwrap();
    stored(&writer.into_inner().into_inner())
}

fn mapping_of(field: &str, keys: &str) -> String {
    format!(
        "{HEAD}[[feature]]\nname = \"s\"\n{keys}\nsource = [{{ topic = \"/state\", field = \"{field}\" }}]\n"
    )
}

fn why(types: &[Typed], messages: &[(usize, Vec<u8>)], mapping: &str) -> String {
    let input = recording_of(types, messages, mcap::WriteOptions::new());
    match open_on(&input, mapping, 8) {
        Err(error) => error.to_string(),
        Ok(mut job) => job.work.run(0, &StopFlag::default()).unwrap_err().to_string(),
    }
}

#[test]
fn each_message_is_decoded_by_its_own_type_in_every_encoding() {
    let double = |x: f64| cdr_body(None, &x.to_le_bytes());
    let noted = |x: f64| cdr_body(Some("ab"), &x.to_le_bytes());
    let ros1 = ("p/State", "ros1msg", CDR.as_bytes().to_vec(), "ros1");
    let json = |title: &str| {
        let schema = json!({ "title": title, "type": "object", "properties": { "x": { "type": "number" } } });
        ("State", "jsonschema", schema.to_string().into_bytes(), "json")
    };
    let json_body = |x: f64| json!({ "x": x }).to_string().into_bytes();
    let cases: Vec<Tried> = vec![
        (
            "cdr, a field before it and another size",
            vec![cdr("float64 x"), cdr(CDR), cdr("float32 x")],
            vec![
                (0, double(0.0)),
                (1, noted(1.0)),
                (0, double(2.0)),
                (2, cdr_body(None, &3f32.to_le_bytes())),
                (1, noted(4.0)),
            ],
        ),
        (
            "cdr to ros1 to json",
            vec![cdr("float64 x"), ros1, json("a")],
            vec![
                (0, double(0.0)),
                (1, ros1_body("abc", 1.0)),
                (2, json_body(2.0)),
                (1, ros1_body("", 3.0)),
                (0, double(4.0)),
            ],
        ),
        (
            "protobuf, another field number",
            vec![protobuf(1), protobuf(2)],
            (0..5).map(|k| (k % 2, protobuf_body(1 + (k % 2) as u8, k as f64))).collect(),
        ),
        (
            "json, with a definition and without",
            vec![json("a"), ("", "", Vec::new(), "json")],
            (0..5).map(|k| (k / 3, json_body(k as f64))).collect(),
        ),
    ];
    for (what, types, messages) in cases {
        for options in [mcap::WriteOptions::new(), mcap::WriteOptions::new().emit_summary_records(false)] {
            for keys in ["", "align = \"linear\""] {
                let input = recording_of(&types, &messages, options.clone());
                let job = open_on(&input, &mapping_of("x", keys), 2).unwrap().run();
                let mut found = Vec::new();
                for segment in 0..3 {
                    let column = job.batch(segment).column_by_name("s").unwrap().clone();
                    found.extend(column.as_primitive::<Float32Type>().values().to_vec());
                }
                assert_eq!(found, [0.0, 1.0, 2.0, 3.0, 4.0], "{what} {keys}");
            }
        }
    }
}

#[test]
fn a_field_that_one_type_lacks_or_has_otherwise_is_refused_by_name() {
    let double = |x: f64| cdr_body(None, &x.to_le_bytes());
    let two = |text: &str, body: Vec<u8>| {
        why(&[cdr("float64 x"), cdr(text)], &[(0, double(0.0)), (1, body)], &mapping_of("x", ""))
    };
    let lacks = two("float64 y", double(1.0));
    assert!(lacks.starts_with("m.toml:7:") && lacks.contains("has no x"), "{lacks}");
    assert!(
        lacks.contains("/state has messages of 2 types or definitions, \"p/msg/State (cdr)\", \"p/msg/State (cdr)\", and a field is taken of all"),
        "{lacks}"
    );
    let text = two("string x", cdr_body(Some("a"), &[]));
    assert!(text.contains("x is numbers and a text; /state has messages of 2 types"), "{text}");
    let order = why(
        &[
            cdr("p/V x\n===\nMSG: p/V\nfloat64 a\nfloat64 b"),
            cdr("p/V x\n===\nMSG: p/V\nfloat64 b\nfloat64 a"),
        ],
        &[
            (0, [double(1.0), double(2.0)[4..].to_vec()].concat()),
            (1, [double(1.0), double(2.0)[4..].to_vec()].concat()),
        ],
        &mapping_of("x", ""),
    );
    assert!(order.contains("x is a, b and b, a: take its elements one by one"), "{order}");
    let longer = why(
        &[cdr("float64[1] x"), cdr("float64[2] x")],
        &[(0, double(0.0)), (1, [double(1.0), double(2.0)[4..].to_vec()].concat())],
        &mapping_of("x", ""),
    );
    assert!(longer.contains("x has 2 values here and had 1 before"), "{longer}");
    let silent = why(
        &[cdr("float64 x"), ("Odd", "flatbuffer", vec![1], "flatbuffer")],
        &[(0, double(0.0)), (1, vec![1])],
        &mapping_of("x", ""),
    );
    assert!(silent.contains("flatbuffer") && silent.contains("/state"), "{silent}");
}

#[test]
fn joints_keep_their_names_over_types() {
    let named = |text: &'static str| {
        (
            "J",
            "jsonschema",
            {
                let list = |of: &str| json!({ "type": "array", "items": { "type": of } });
                json!({ "title": text, "type": "object", "properties": { "name": list("string"), "position": list("number") } }).to_string().into_bytes()
            },
            "json",
        )
    };
    let body = |names: [&str; 2], position: [f64; 2]| {
        json!({ "name": names, "position": position }).to_string().into_bytes()
    };
    let types = [named("a"), named("b")];
    let messages = [(0, body(["l", "r"], [1.0, 2.0])), (1, body(["r", "l"], [3.0, 4.0]))];
    let plain = why(&types, &messages, &mapping_of("position", ""));
    assert!(plain.contains("name is \"r\", \"l\" here and was \"l\", \"r\" before"), "{plain}");
    let input = recording_of(&types, &messages, mcap::WriteOptions::new());
    let chosen = mapping_of("position", "").replace("\"position\"", "\"position\", select = [\"l\", \"r\"]");
    let job = open_on(&input, &chosen, 8).unwrap().run();
    assert_eq!(vectors(&job.batch(0), "s"), [[1.0, 2.0], [4.0, 3.0]]);
}

#[test]
fn pictures_of_another_type_must_be_as_those_before() {
    let camera = |format: &str| {
        let text = json!({ "type": "string" });
        let data = json!({ "type": "string", "contentEncoding": "base64" });
        let schema = json!({ "type": "object", "properties": { (format): text, "data": data } });
        ("Image", "jsonschema", schema.to_string().into_bytes(), "json")
    };
    let body = |file: &[u8]| {
        let (_, _, value) = image(0, file);
        value.to_string().into_bytes()
    };
    let types = [camera("format"), camera("kind")];
    let mapping =
        format!("{HEAD}[[feature]]\nname = \"p\"\nkind = \"image\"\nsource = [{{ topic = \"/state\" }}]\n");
    let (small, large) = (png_file(4, 3, 7), png_file(5, 3, 7));
    let differs = why(&types, &[(0, body(&small)), (1, body(&large))], &mapping);
    assert!(differs.contains("5 x 3") && differs.contains("4 x 3"), "{differs}");
    let input = recording_of(&types, &[(0, body(&small)), (1, body(&small))], mcap::WriteOptions::new());
    let job = open_on(&input, &mapping, 8).unwrap().run();
    assert_eq!(job.batch(0).num_rows(), 2);
}

#[test]
fn markers_and_tasks_are_read_by_their_own_types() {
    let said = |data: &str| json!({ "data": data }).to_string().into_bytes();
    let string = ("std_msgs/msg/String", "ros2msg", b"string data".to_vec(), "cdr");
    let types = [("", "", Vec::new(), "json"), string];
    let messages = [
        (0, said("go")),
        (1, cdr_body(Some("halt"), &[])),
        (1, cdr_body(Some("go"), &[])),
        (0, said("halt")),
        (0, said("x")),
    ];
    let input = recording_of(&types, &messages, mcap::WriteOptions::new());
    let mapping = "fps = 10\n[task]\ntopic = \"/state\"\n[[feature]]\nname = \"s\"\nsource = [{ topic = \"/state\", field = \"data\" }]\n\
                   [episodes]\nsplit = \"marker\"\ntopic = \"/state\"\nstart = \"go\"\nstop = \"halt\"\n";
    let job = open_on(&input, mapping, 8).unwrap().run();
    let told: Vec<_> = job
        .work
        .episodes()
        .map(|episode| (episode.frames, episode.task.clone(), episode.sync.start_ns / MS))
        .collect();
    assert_eq!(told, [(2, "halt".to_owned(), 0), (2, "halt".to_owned(), 200)]);
}
