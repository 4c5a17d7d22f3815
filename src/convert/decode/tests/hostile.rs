//! Definitions and messages that were made to hurt.

use super::*;

/// Tries all that can be done with a definition and some bytes.
fn exercise(topic: &Topic, data: &[u8]) {
    let Ok(mut schema) = Schema::parse(topic) else { return };
    let _ = schema.learn(data);
    let _ = StampPlan::compile(&schema).map(|plan| plan.stamp_ns(data));
    let mut paths: Vec<String> = schema.fields().into_iter().take(12).map(|f| f.path).collect();
    paths.extend(["header", "list[:]", "a[0:2].x"].map(str::to_owned));
    for path in paths {
        let Ok(extractor) = Extractor::compile(&schema, &path) else { continue };
        let (mut floats, mut texts) = (Vec::new(), Vec::new());
        let _ = extractor.numbers(data, &mut floats);
        let _ = extractor.integers(data, &mut Vec::new());
        let _ = extractor.strings(data, &mut texts);
        let _ = extractor.bytes(data);
        let _ = extractor.span(data);
        assert!(floats.len() <= data.len() && texts.len() <= data.len(), "{path}: values out of nothing");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_memory_is_taken() {
    let schema = ros2("float64[] list\nstring[] names\nuint8[] data");
    for (path, at) in [("list", 0), ("names", 1), ("data", 2)] {
        let mut body = vec![0_u8; 12];
        body[at * 4..at * 4 + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let data = cdr(&[&body]);
        let extractor = Extractor::compile(&schema, path).unwrap();
        let error = match path {
            "list" => extractor.numbers(&data, &mut Vec::new()).unwrap_err(),
            "names" => extractor.strings(&data, &mut Vec::new()).unwrap_err(),
            _ => extractor.bytes(&data).unwrap_err(),
        };
        assert!(error.to_string().contains("4294967295"), "{error}");
    }
    let fixed = ros2("float64[4294967295] list\nfloat64[4294967295] more");
    assert!(numbers(&fixed, "list", &cdr(&[&[0; 64]])).is_err());
    assert!(numbers(&fixed, "more", &cdr(&[&[0; 64]])).is_err());
}

#[test]
fn definitions_that_contain_themselves_or_explode_are_refused() {
    let refused = |text: &str, part: &str| {
        for (message, definition) in [("cdr", "ros2msg"), ("ros1", "ros1msg")] {
            let error = Schema::parse(&topic("p/M", message, definition, text)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    };
    refused("p/M me", "contain themselves");
    refused("p/A a\n===\nMSG: p/A\np/B b\n===\nMSG: p/B\np/A a", "contain themselves");
    let tower = |levels: usize, fields: &str| {
        let mut text = "T1 a\n".to_owned();
        for level in 1..levels {
            let next = fields.replace('T', &format!("T{}", level + 1));
            text.push_str(&format!("===\nMSG: p/T{level}\n{next}\n"));
        }
        text + &format!("===\nMSG: p/T{levels}\nuint8 x\n")
    };
    refused(&tower(60, "T a"), "deeper than 32");
    refused(&tower(25, "T a\nT b"), "over the limit");
    refused(&tower(25, "T[0] a\nT[0] b"), "over the limit");
    refused(&tower(6, "T[1000] a"), "over the limit");
    assert!(Schema::parse(&topic("p/M", "cdr", "ros2msg", &tower(20, "T a"))).is_ok());
    refused("Missing x", "line 1");
    refused("int32", "line 1");
    refused("int32[ x", "line 1");
    refused("===\nint32 x", "line 2");
    refused(&"uint8 x\n".repeat(5_000), "more than 4000 fields");
}

#[test]
fn lists_of_nothing_end_soon() {
    let text = "p/E[] nothings\nuint8 end\n===\nMSG: p/E\n";
    let data = [&u32::MAX.to_le_bytes()[..], &[7]].concat();
    let error = numbers(&ros1(text), "end", &data).unwrap_err().to_string();
    assert!(error.contains("more parts"), "{error}");
}

#[test]
fn json_that_nests_too_deep_is_refused() {
    let deep = "{\"a\":".repeat(5_000) + "1" + &"}".repeat(5_000);
    assert!(json("").learn(deep.as_bytes()).is_err());
    let deep = "{\"a\":".repeat(60) + "1" + &"}".repeat(60);
    assert!(json("").learn(deep.as_bytes()).unwrap_err().to_string().contains("deeper than 32"));
    let schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}}}";
    assert!(Schema::parse(&topic("M", "json", "jsonschema", schema)).is_err());
}

const DEFINITIONS: [(&str, &str, &str); 5] = [
    ("cdr", "ros2msg", JOINTS),
    (
        "cdr",
        "ros2msg",
        "int32[<=3] a\nwstring w\nE[] list\nfloat32[3] f\nbool b\nuint8[] data\n===\nMSG: pkg/E\n",
    ),
    ("ros1", "ros1msg", "time t\nE[] list\nE e\nstring[] s\nuint8[] data\nfloat64[2] f\n===\nMSG: pkg/E\n"),
    ("json", "", ""),
    (
        "json",
        "jsonschema",
        "{\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}},\"data\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}}}",
    ),
];

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_decoded_or_refused(which in 0..DEFINITIONS.len(), head in 0_u8..12, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (message, definition, text) = DEFINITIONS[which];
        let topic = topic("pkg/msg/Main", message, definition, text);
        exercise(&topic, &bytes);
        exercise(&topic, &[&[0, head, 0, 0][..], &bytes].concat());
        // Small lengths lead deeper into a message than random ones.
        let low: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| if i % 4 == 0 { b % 5 } else { 0 }).collect();
        exercise(&topic, &[&[0, 1, 0, 0][..], &low].concat());
    }

    #[test]
    fn any_definition_is_parsed_or_refused(which in 0..DEFINITIONS.len(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), noise in "[\\PC\n=\\[\\]/<#]{0,60}") {
        let (message, definition, text) = DEFINITIONS[which];
        let mut bytes = text.as_bytes().to_vec();
        for (at, with) in edits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
        }
        bytes.extend(noise.as_bytes());
        let mut topic = topic("pkg/msg/Main", message, definition, "");
        topic.schema_data = bytes.into();
        exercise(&topic, &joints());
        exercise(&topic, b"{\"a\":[1,2],\"b\":{\"c\":\"x\"}}");
    }

    #[test]
    fn any_json_is_learned_or_refused(bytes in "[\\[\\]{}:,\"a0-9.e -]{0,80}", path in "[a.\\[\\]:0-9]{0,12}") {
        let mut schema = json("");
        if schema.learn(bytes.as_bytes()).is_ok() {
            exercise(&topic("M", "json", "", ""), bytes.as_bytes());
        }
        let _ = schema.learn(b"{\"a\":{\"a\":[1,2,3]}}");
        if let Ok(extractor) = Extractor::compile(&schema, &path) {
            let _ = extractor.numbers(bytes.as_bytes(), &mut Vec::new());
            let _ = extractor.bytes(bytes.as_bytes());
        }
    }

    #[test]
    fn mutated_messages_are_decoded_or_refused(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut data = joints();
        for (at, with) in edits {
            let at = at.index(data.len());
            data[at] = with;
        }
        data.truncate(cut.index(data.len()) + 1);
        exercise(&topic("pkg/msg/Main", "cdr", "ros2msg", JOINTS), &data);
    }
}
