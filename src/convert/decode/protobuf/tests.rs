//! What is read equals what the `prost-reflect` crate's own decoder reads, and no bytes make it panic.

use super::super::{DecodeError, Extractor, FieldInfo, Schema, StampPlan};
use crate::convert::source::Topic;
use crate::convert::testing::cases;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
};

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(Label::Optional.into()),
        ..FieldDescriptorProto::default()
    }
}

fn list(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field(name, number, kind) }
}

fn of(type_name: &str, field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(type_name.to_owned()), ..field }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

/// Numbers of every kind, in an order of definition that is not that of their tags.
const NUMBERS: [(&str, Type); 13] = [
    ("double", Type::Double),
    ("float", Type::Float),
    ("int32", Type::Int32),
    ("int64", Type::Int64),
    ("uint32", Type::Uint32),
    ("uint64", Type::Uint64),
    ("sint32", Type::Sint32),
    ("sint64", Type::Sint64),
    ("fixed32", Type::Fixed32),
    ("fixed64", Type::Fixed64),
    ("sfixed32", Type::Sfixed32),
    ("sfixed64", Type::Sfixed64),
    ("bool", Type::Bool),
];

fn descriptors() -> FileDescriptorSet {
    let numbers = |make: fn(&str, i32, Type) -> FieldDescriptorProto| {
        let numbered = NUMBERS.iter().zip((1..=13).rev());
        numbered.map(|((name, kind), number)| make(name, number, *kind)).collect::<Vec<_>>()
    };
    let maybe = FieldDescriptorProto {
        proto3_optional: Some(true),
        oneof_index: Some(0),
        ..field("maybe", 6, Type::Double)
    };
    let all = DescriptorProto {
        oneof_decl: vec![OneofDescriptorProto { name: Some("_maybe".to_owned()), options: None }],
        ..message(
            "All",
            vec![
                of(".t.Stamp", field("timestamp", 1, Type::Message)),
                of(".t.Ones", field("ones", 2, Type::Message)),
                of(".t.Lists", field("lists", 3, Type::Message)),
                of(".t.Ones", list("many", 4, Type::Message)),
                field("data", 5, Type::Bytes),
                maybe,
                list("names", 7, Type::String),
                field("text", 8, Type::String),
                of(".t.All", field("itself", 9, Type::Message)),
                list("blobs", 10, Type::Bytes),
            ],
        )
    };
    let stamp = message("Stamp", vec![field("seconds", 1, Type::Int64), field("nanos", 2, Type::Int32)]);
    let file = FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![all, message("Ones", numbers(field)), message("Lists", numbers(list)), stamp],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }
}

fn schema() -> Schema {
    parse(&descriptors().encode_to_vec(), "t.All").unwrap()
}

fn parse(set: &[u8], name: &str) -> Result<Schema, DecodeError> {
    Schema::parse(&Topic {
        name: "/t".to_owned(),
        schema_name: name.to_owned(),
        schema_encoding: "protobuf".to_owned(),
        schema_data: Bytes::copy_from_slice(set),
        message_encoding: "protobuf".to_owned(),
        message_count: None,
    })
}

fn dynamic(name: &str) -> DynamicMessage {
    let pool = DescriptorPool::from_file_descriptor_set(descriptors()).unwrap();
    DynamicMessage::new(pool.get_message_by_name(name).unwrap())
}

fn numbers(data: &[u8], path: &str) -> Result<Vec<f64>, DecodeError> {
    let mut out = Vec::new();
    Extractor::compile(&schema(), path).unwrap().numbers(data, &mut out).map(|()| out)
}

/// A value of a number's kind out of any 64 bits.
fn value(kind: Type, bits: u64) -> Value {
    match kind {
        Type::Double => Value::F64(f64::from(bits as u32) / 7.0 - 1e9),
        Type::Float => Value::F32(bits as u16 as f32 / 3.0 - 9e3),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => Value::I32(bits as i32),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => Value::I64(bits as i64),
        Type::Uint32 | Type::Fixed32 => Value::U32(bits as u32),
        Type::Uint64 | Type::Fixed64 => Value::U64(bits),
        _ => Value::Bool(bits & 1 == 1),
    }
}

fn as_float(value: &Value) -> f64 {
    match value {
        Value::F64(v) => *v,
        Value::F32(v) => f64::from(*v),
        Value::I32(v) => f64::from(*v),
        Value::I64(v) => *v as f64,
        Value::U32(v) => f64::from(*v),
        Value::U64(v) => *v as f64,
        Value::Bool(v) => f64::from(u8::from(*v)),
        other => panic!("{other:?} is no number"),
    }
}

fn ones(bits: &[u64]) -> (DynamicMessage, Vec<f64>) {
    let mut ones = dynamic("t.Ones");
    for ((name, kind), bits) in NUMBERS.iter().zip(bits) {
        ones.set_field_by_name(name, value(*kind, *bits));
    }
    // The oracle reads its own bytes: a zero is absent in them, and comes back as the default.
    let read = DynamicMessage::decode(ones.descriptor(), ones.encode_to_vec().as_slice()).unwrap();
    let expected = NUMBERS.iter().map(|(name, _)| as_float(&read.get_field_by_name(name).unwrap())).collect();
    (ones, expected)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn numbers_equal_those_of_another_decoder(
        single in prop::array::uniform13(any::<u64>()),
        many in prop::collection::vec(prop::array::uniform13(any::<u64>()), 0..4),
        listed in prop::collection::vec(any::<u64>(), 0..6),
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut all = dynamic("t.All");
        let (message, expected) = ones(&single);
        all.set_field_by_name("ones", Value::Message(message));
        let many: Vec<_> = many.iter().map(|bits| ones(bits)).collect();
        let messages = many.iter().map(|(message, _)| Value::Message(message.clone())).collect();
        all.set_field_by_name("many", Value::List(messages));
        let mut lists = dynamic("t.Lists");
        for (name, kind) in NUMBERS {
            lists.set_field_by_name(name, Value::List(listed.iter().map(|bits| value(kind, *bits)).collect()));
        }
        all.set_field_by_name("lists", Value::Message(lists));
        all.set_field_by_name("data", Value::Bytes(Bytes::from(data.clone())));
        let bytes = all.encode_to_vec();
        prop_assert_eq!(numbers(&bytes, "ones").unwrap(), expected.clone());
        for ((name, kind), one) in NUMBERS.iter().zip(&expected) {
            prop_assert_eq!(numbers(&bytes, &format!("ones.{name}")).unwrap(), vec![*one]);
            let list: Vec<f64> = listed.iter().map(|bits| as_float(&value(*kind, *bits))).collect();
            prop_assert_eq!(numbers(&bytes, &format!("lists.{name}")).unwrap(), list.clone());
            if let Some(last) = list.len().checked_sub(1) {
                prop_assert_eq!(numbers(&bytes, &format!("lists.{name}[{last}]")).unwrap(), vec![list[last]]);
            }
            let beyond = format!("lists.{name}[{}]", list.len());
            prop_assert!(numbers(&bytes, &beyond).is_err());
        }
        let of_all: Vec<f64> = many.iter().flat_map(|(_, expected)| expected.clone()).collect();
        prop_assert_eq!(numbers(&bytes, "many").unwrap(), of_all.clone());
        if let Some((_, first)) = many.first() {
            prop_assert_eq!(numbers(&bytes, "many[0].sint64").unwrap(), vec![first[7]]);
        }
        let extractor = Extractor::compile(&schema(), "data").unwrap();
        let run = extractor.bytes(&bytes).unwrap();
        prop_assert_eq!(run.as_ref(), data.as_slice());
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200), nested in any::<bool>()) {
        let data = if nested {
            // As the message's own parts: field 2, of length.
            let mut whole = vec![0x12, u8::try_from(data.len().min(127)).unwrap()];
            whole.extend(data.iter().take(127));
            whole
        } else {
            data
        };
        let mut schema = schema();
        let _ = schema.learn(&data);
        for path in ["ones", "lists", "many[:].bool", "many[1]", "data[3]", "timestamp"] {
            let _ = numbers(&data, path);
        }
        let _ = Extractor::compile(&schema, "data").unwrap().bytes(&data);
        let _ = Extractor::compile(&schema, "names").unwrap().strings(&data, &mut Vec::new());
        let _ = StampPlan::compile(&schema).unwrap().stamp_ns(&data);
    }

    #[test]
    fn any_descriptors_are_taken_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut set = descriptors().encode_to_vec();
        for (at, with) in edits {
            let at = at.index(set.len());
            set[at] = with;
        }
        if let Ok(schema) = parse(&set, "t.All") {
            let _ = schema.fields();
        }
    }
}

#[test]
fn fields_stand_in_the_order_of_their_definition_without_what_no_path_reaches() {
    let fields: Vec<String> = schema().fields().into_iter().map(|FieldInfo { path, .. }| path).collect();
    let expected = ["timestamp.seconds", "timestamp.nanos", "ones.double", "ones.float"];
    assert_eq!(fields.iter().take(4).map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(!fields.iter().any(|path| path.starts_with("itself") || path.starts_with("blobs")), "{fields:?}");
    let names = Extractor::compile(&schema(), "ones").unwrap().element_names().unwrap();
    assert_eq!(names, NUMBERS.map(|(name, _)| name));
}

#[test]
fn what_is_absent_has_its_default_and_what_says_so_is_not_set() {
    assert_eq!(numbers(b"", "ones").unwrap(), [0.0; 13]);
    assert_eq!(numbers(b"", "timestamp.seconds").unwrap(), [0.0]);
    assert_eq!(numbers(b"", "lists.double").unwrap(), [0.0; 0]);
    assert!(numbers(b"", "maybe").unwrap_err().to_string().contains("maybe is not set"));
    let mut all = dynamic("t.All");
    all.set_field_by_name("maybe", Value::F64(0.0));
    assert_eq!(numbers(&all.encode_to_vec(), "maybe").unwrap(), [0.0]);
}

#[test]
fn the_last_of_a_single_value_counts_and_a_message_that_must_be_merged_is_refused() {
    let part =
        |number: u8, body: &[u8]| [&[number << 3 | 2, u8::try_from(body.len()).unwrap()], body].concat();
    // sint64 is field 6 of Ones.
    let twice = part(2, &[6 << 3, 2, 6 << 3, 4]);
    assert_eq!(numbers(&twice, "ones.sint64").unwrap(), [2.0]);
    let merged = [part(2, &[6 << 3, 2]), part(2, &[6 << 3, 4])].concat();
    assert!(numbers(&merged, "ones.sint64").unwrap_err().to_string().contains("merging"));
}

#[test]
fn texts_and_stamps_are_read() {
    let mut all = dynamic("t.All");
    all.set_field_by_name("text", Value::String("grün".to_owned()));
    all.set_field_by_name("names", Value::List(vec![Value::String("a".into()), Value::String("b".into())]));
    let mut stamp = dynamic("t.Stamp");
    stamp.set_field_by_name("seconds", Value::I64(12));
    stamp.set_field_by_name("nanos", Value::I32(345));
    all.set_field_by_name("timestamp", Value::Message(stamp));
    let bytes = all.encode_to_vec();
    for (path, expected) in [("text", vec!["grün"]), ("names", vec!["a", "b"]), ("names[1]", vec!["b"])] {
        let mut out = Vec::new();
        Extractor::compile(&schema(), path).unwrap().strings(&bytes, &mut out).unwrap();
        assert_eq!(out, expected, "{path}");
    }
    assert_eq!(StampPlan::compile(&schema()).unwrap().stamp_ns(&bytes).unwrap(), 12_000_000_345);
}

#[test]
fn a_definition_that_cannot_be_used_is_named() {
    for (set, name, says) in [
        (&b"nonsense"[..], "t.All", "cannot be read"),
        (&descriptors().encode_to_vec(), "t.Other", "no message"),
    ] {
        let refused = parse(set, name).unwrap_err().to_string();
        assert!(refused.contains(says) && refused.contains(name), "{refused}");
    }
    let refused = schema().learn(&[0x0b]).unwrap_err().to_string();
    assert!(refused.contains("groups"), "{refused}");
}
