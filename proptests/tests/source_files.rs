//! Recordings whole, without summary, cut, out of order, unchunked and mislabelled give the same messages or say why not.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test at once")]

use mcap::{Compression, WriteOptions};
use roboflow::convert::StopFlag;
use roboflow::convert::decode::{DecodeError, Extractor, Schema};
use roboflow::convert::source::{MessageRef, Recording, SourceError, TimeSource, TopicId};
use roboflow::error::{Class, Classified};
use roboflow_proptests::recordings::{
    CountingStorage, Written, data_folder, summary_start, without_summary, write_mcap,
};

const JSON: (&str, &str, &str, &str) = ("Sample", "", "", "json");

fn open(file: &[u8]) -> Result<Recording, SourceError> {
    let storage = CountingStorage::with("file.mcap", file).unwrap();
    Recording::open(storage.shared(), "file.mcap", &StopFlag::default())
}

fn real(name: &str) -> Vec<u8> {
    std::fs::read(data_folder().join(name)).unwrap()
}

fn all(recording: &Recording, time: TimeSource) -> Vec<Vec<MessageRef>> {
    let ids: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
    recording.index(&ids, time, &StopFlag::default()).unwrap()
}

/// Each message's bytes, by topic, in stamp order.
fn contents(recording: &Recording, time: TimeSource) -> Vec<Vec<(u64, Vec<u8>)>> {
    let mut reader = recording.reader();
    let read = |at: &MessageRef| (at.stamp_ns, reader.message(*at).unwrap().data.to_vec());
    let mut read = read;
    all(recording, time).iter().map(|refs| refs.iter().map(&mut read).collect()).collect()
}

fn numbers(recording: &Recording, topic: &str, path: &str) -> Vec<(u64, Vec<f64>)> {
    let id = recording.topic(topic).unwrap();
    let schema = recording.schema(id, &StopFlag::default()).unwrap();
    let extractor = Extractor::compile(&schema, path).unwrap();
    let mut reader = recording.reader();
    let refs = recording.index(&[id], TimeSource::Log, &StopFlag::default()).unwrap().remove(0);
    refs.iter()
        .map(|at| {
            let mut out = Vec::new();
            extractor.numbers(reader.message(*at).unwrap().data, &mut out).unwrap();
            (at.stamp_ns, out)
        })
        .collect()
}

#[test]
fn one_recording_in_both_encodings_gives_equal_values() {
    let ros1 = open(&real("turtlesim/turtlesim_ros1.mcap")).unwrap();
    let ros2 = open(&real("turtlesim/turtlesim_ros2.mcap")).unwrap();
    let mut messages = 0;
    for (topic, paths) in [
        ("/turtle1/pose", &["x", "y", "theta", "linear_velocity", "angular_velocity"][..]),
        ("/turtle2/pose", &["x", "y", "theta"]),
        ("/turtle2/cmd_vel", &["linear", "angular", "linear.x", "angular.z"]),
        ("/tf", &["transforms[0].transform.translation", "transforms[:].transform.rotation"]),
    ] {
        for path in paths {
            let (one, two) = (numbers(&ros1, topic, path), numbers(&ros2, topic, path));
            assert!(!one.is_empty(), "{topic} {path}");
            assert_eq!(one, two, "{topic} {path}");
            messages += one.len();
        }
    }
    let total = |r: &Recording| r.topics().iter().map(|t| t.message_count.unwrap()).sum::<u64>();
    assert_eq!((total(&ros1), total(&ros2)), (8647, 8647));
    assert!(messages > 5_000, "{messages}");
    let pose = ros2.topic("/turtle2/pose").unwrap();
    let schema = ros2.schema(pose, &StopFlag::default()).unwrap();
    let extractor = Extractor::compile(&schema, "theta").unwrap();
    assert_eq!((extractor.fixed_len(), extractor.element_names()), (Some(1), Some(vec!["theta".to_owned()])));
}

#[test]
fn without_its_summary_a_recording_gives_the_same_index() {
    for name in
        ["turtlesim/turtlesim_ros2.mcap", "turtlesim/turtlesim_ros1.mcap", "mcap_crate/compressed.mcap"]
    {
        let whole = open(&real(name)).unwrap();
        let stripped = open(&without_summary(&real(name)).unwrap()).unwrap();
        assert!(whole.is_indexed() && !stripped.is_indexed() && !stripped.is_cut(), "{name}");
        assert_eq!(whole.topics(), stripped.topics(), "{name}");
        for time in [TimeSource::Log, TimeSource::Publish, TimeSource::Header] {
            assert_eq!(all(&whole, time), all(&stripped, time), "{name} {time:?}");
        }
        assert_eq!(contents(&whole, TimeSource::Log), contents(&stripped, TimeSource::Log), "{name}");
    }
}

#[test]
fn indexing_by_log_time_reads_no_chunk_and_a_message_costs_one_read() {
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let storage = CountingStorage::with("file.mcap", &file).unwrap();
    let stop = StopFlag::default();
    let recording = Recording::open(storage.shared(), "file.mcap", &stop).unwrap();
    let opening: usize = storage.take_reads().iter().map(|(_, len)| len).sum();
    assert!(opening < 70_000, "{opening} of {} bytes read to open", file.len());
    let id = recording.topic("/turtle2/pose").unwrap();
    let refs = recording.index(&[id], TimeSource::Log, &stop).unwrap().remove(0);
    let indexes = storage.take_reads();
    let start_opcodes: Vec<u8> = indexes.iter().map(|(at, _)| file[usize::try_from(*at).unwrap()]).collect();
    assert!(start_opcodes.iter().all(|op| *op == 7), "only message indexes: {start_opcodes:?}");
    let mut reader = recording.reader();
    for at in refs.iter().filter(|r| r.chunk == refs[0].chunk) {
        reader.message(*at).unwrap();
    }
    let reads = storage.take_reads();
    assert_eq!(reads.len(), 1, "one chunk, one read");
    assert_eq!(reader.bytes_read(), reads[0].1 as u64);
    assert_eq!(file[usize::try_from(reads[0].0).unwrap()], 6);
}

#[test]
fn of_a_cut_file_whole_chunks_count() {
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let whole = contents(&open(&file).unwrap(), TimeSource::Log);
    let names: Vec<String> = open(&file).unwrap().topics().iter().map(|t| t.name.clone()).collect();
    let end = summary_start(&file).unwrap();
    let mut last = 0;
    for cut_at in (1..20).map(|i| end * i / 20) {
        let cut = open(&file[..cut_at]).unwrap();
        assert!(cut.is_cut() && !cut.is_indexed());
        assert!(cut.warnings()[0].contains("cut"), "{:?}", cut.warnings());
        let mut total = 0;
        for (topic, messages) in cut.topics().iter().zip(contents(&cut, TimeSource::Log)) {
            let place = names.iter().position(|n| *n == topic.name).unwrap();
            assert_eq!(topic.message_count, Some(messages.len() as u64));
            assert!(messages.iter().all(|m| whole[place].contains(m)), "{}", topic.name);
            total += messages.len();
        }
        assert!(total >= last);
        last = total;
    }
    assert!(last > 6_000, "{last}");
    let head_only = open(&real("mcap_crate/chunk_not_closed.mcap")).unwrap();
    assert!(head_only.is_cut() && head_only.topics().is_empty());
}

/// Messages whose log times go back and forth over chunk borders, with equal stamps too.
fn shuffled() -> Vec<(u64, String)> {
    let mut out: Vec<(u64, String)> =
        (0..400_u64).map(|i| (1_000 + (i * 7919) % 397, format!("{{\"v\":{i}}}"))).collect();
    out.push((1_000, "{\"v\":1000}".to_owned()));
    out
}

#[test]
fn chunks_out_of_order_and_messages_outside_of_chunks_come_in_stamp_order() {
    let messages = shuffled();
    let written: Vec<Written<'_>> = messages.iter().map(|(t, m)| ("joints", *t, m.as_bytes())).collect();
    let mut expected: Vec<(u64, Vec<u8>)> = written.iter().map(|(_, t, m)| (*t, m.to_vec())).collect();
    expected.sort_by_key(|(t, _)| *t);
    let base = || WriteOptions::new().chunk_size(Some(300));
    for (name, options, indexed) in [
        ("zstd", base().compression(Some(Compression::Zstd)), true),
        ("lz4", base().compression(Some(Compression::Lz4)), true),
        ("none", base().compression(None), true),
        ("no chunks", base().use_chunks(false), false),
        ("no message indexes", base().emit_message_indexes(false), false),
        ("no chunk indexes", base().emit_chunk_indexes(false), false),
        ("no statistics", base().emit_statistics(false), false),
        ("no channels", base().repeat_channels(false), false),
        ("no summary", base().emit_summary_records(false), false),
    ] {
        let file = write_mcap(options, JSON, &written).unwrap();
        let recording = open(&file).unwrap();
        assert_eq!(recording.is_indexed(), indexed, "{name}");
        assert_eq!(contents(&recording, TimeSource::Log), [expected.clone()], "{name}");
        let published: Vec<u64> =
            all(&recording, TimeSource::Publish)[0].iter().map(|r| r.stamp_ns).collect();
        assert_eq!(published, expected.iter().map(|(t, _)| t + 1).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn bytes_of_another_encoding_than_the_label_are_named() {
    let ros1 = open(&real("turtlesim/turtlesim_ros1.mcap")).unwrap();
    let id = ros1.topic("/turtle2/pose").unwrap();
    let mut reader = ros1.reader();
    let refs = ros1.index(&[id], TimeSource::Log, &StopFlag::default()).unwrap().remove(0);
    let data = reader.message(refs[0]).unwrap().data.to_vec();
    let text = String::from_utf8(ros1.topics()[id.0].schema_data.to_vec()).unwrap();
    let typed = ("turtlesim/Pose", "ros2msg", text.as_str(), "cdr");
    let file = write_mcap(WriteOptions::new(), typed, &[("/pose", 5, &data)]).unwrap();
    let recording = open(&file).unwrap();
    let error = recording.schema(TopicId(0), &StopFlag::default()).unwrap_err();
    let text = error.to_string();
    for part in ["file.mcap", "/pose", "labelled cdr", "ROS 1"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(error.class(), Class::Permanent);
    let schema = Schema::parse(&recording.topics()[0]).unwrap();
    let error =
        Extractor::compile(&schema, "angular_velocity").unwrap().numbers(&data, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, DecodeError::WrongLabel { .. }), "{error}");
}

#[test]
fn an_encoding_that_is_not_read_fails_only_when_its_topic_is_asked_for() {
    let typed = ("foxglove.Log", "flatbuffer", "", "flatbuffer");
    let recording = open(&write_mcap(WriteOptions::new(), typed, &[("/log", 5, b"x")]).unwrap()).unwrap();
    assert_eq!(all(&recording, TimeSource::Log)[0].len(), 1);
    let error = recording.schema(TopicId(0), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("/log") && error.contains("flatbuffer"), "{error}");
    let wrong = open(&real("rosbag2/wrong_rmw_test_0.mcap")).unwrap();
    let errors = (0..wrong.topics().len()).filter(|i| Schema::parse(&wrong.topics()[*i]).is_err()).count();
    assert!(errors > 0);
}

#[test]
fn definitions_that_are_not_read_or_not_there_are_named_and_others_go_on() {
    let mut writer = mcap::Writer::new(std::io::Cursor::new(Vec::new())).unwrap();
    let topics = [
        ("/idl", "foxglove::Log", "omgidl", "cdr", "omgidl"),
        ("/cbor", "a.B", "cbor", "cbor", "cbor"),
        ("/event", "demo_msgs/srv/Add_Event", "", "cdr", "demo_msgs/srv/Add_Event"),
        ("/none", "", "", "cdr", "no type"),
        ("/packed", "a.B", "", "protobuf", "carries none"),
        ("/nameless", "a.B", "ros2msg", "", "without a name"),
        ("/standard", "std_msgs/msg/Float64", "", "cdr", ""),
    ];
    for (topic, schema, schema_encoding, encoding, _) in topics {
        let schema = match schema {
            "" => 0,
            name => writer.add_schema(name, schema_encoding, b"").unwrap(),
        };
        let channel_id = writer.add_channel(schema, topic, encoding, &Default::default()).unwrap();
        let header = mcap::records::MessageHeader { channel_id, sequence: 0, log_time: 7, publish_time: 7 };
        let body = [&[0, 1, 0, 0][..], &2.5_f64.to_le_bytes()].concat();
        writer.write_to_known_channel(&header, &body).unwrap();
    }
    writer.finish().unwrap();
    let recording = open(&writer.into_inner().into_inner()).unwrap();
    assert!(all(&recording, TimeSource::Log).iter().all(|messages| messages.len() == 1));
    for (topic, .., word) in topics.iter().filter(|(.., word)| !word.is_empty()) {
        let id = recording.topic(topic).unwrap();
        let text = recording.schema(id, &StopFlag::default()).unwrap_err().to_string();
        assert!(text.contains(topic) && text.contains(word), "{topic}: {text}");
    }
    assert_eq!(numbers(&recording, "/standard", "data"), [(7, vec![2.5])]);
}

/// Two channels of /a and two of /b, each with a type (name, definition) and a count of messages.
fn two_topics(channels: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut writer = mcap::Writer::new(std::io::Cursor::new(Vec::new())).unwrap();
    for (topic, schema, text, count) in channels {
        let schema = writer.add_schema(schema, "ros2msg", text.as_bytes()).unwrap();
        let metadata = [("n".to_owned(), format!("{text}{topic}{count}"))].into();
        let channel_id = writer.add_channel(schema, topic, "cdr", &metadata).unwrap();
        for sequence in 0..*count {
            let header = mcap::records::MessageHeader { channel_id, sequence, log_time: 7, publish_time: 7 };
            writer.write_to_known_channel(&header, &[0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        }
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

#[test]
fn each_message_says_which_of_its_topics_types_it_has() {
    let file = two_topics(&[
        ("/a", "A", "int32 x", 2),
        ("/a", "A", "float64 x", 3),
        ("/b", "C", "int32 x", 1),
        ("/a", "Z", "int8 never", 0),
        ("/b", "C", "int32 x", 4),
        ("/a", "A", "int32 x", 5),
        ("/c", "D", "int8 x", 0),
        ("/c", "E", "int8 x", 0),
    ]);
    for file in [file.clone(), without_summary(&file).unwrap()] {
        let recording = open(&file).unwrap();
        let told = |topic: &str| -> Vec<(String, Option<u64>)> {
            let types = recording.types(recording.topic(topic).unwrap());
            types
                .iter()
                .map(|known| (String::from_utf8(known.schema_data.to_vec()).unwrap(), known.message_count))
                .collect()
        };
        assert_eq!(
            told("/a"),
            [("int32 x".to_owned(), Some(7)), ("float64 x".to_owned(), Some(3))],
            "none without messages"
        );
        assert_eq!(told("/b"), [("int32 x".to_owned(), Some(5))]);
        let c = told("/c");
        assert_eq!(c, [("int8 x".to_owned(), Some(0))], "silent topics keep one");
        let id = recording.topic("/a").unwrap();
        assert_eq!(recording.topics()[id.0].message_count, Some(10));
        let refs = recording.index(&[id], TimeSource::Log, &StopFlag::default()).unwrap().remove(0);
        let mut reader = recording.reader();
        let kinds: Vec<usize> = refs.iter().map(|at| reader.message(*at).unwrap().kind).collect();
        assert_eq!(kinds, [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
        let schemas = recording.schemas(id, &StopFlag::default()).unwrap();
        let numbers = |kind: usize| {
            let mut out = Vec::new();
            let body = [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
            Extractor::compile(&schemas[kind], "x").unwrap().numbers(&body, &mut out).unwrap();
            out
        };
        assert_eq!((numbers(0), numbers(1)), (vec![1.0], vec![f64::from_bits(1)]));
    }
}

#[test]
fn more_types_of_a_topic_than_are_read_are_refused_by_name() {
    let texts: Vec<String> = (0..40).map(|number| format!("int32 x{number}")).collect();
    let channels: Vec<_> = texts.iter().map(|text| ("/a", "A", text.as_str(), 1)).collect();
    let recording = open(&two_topics(&channels)).unwrap();
    let error = recording.schemas(TopicId(0), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("/a") && error.contains("40 types") && error.contains("at most 32"), "{error}");
}

#[test]
fn damage_is_named_with_file_and_place() {
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let recording = open(&file).unwrap();
    let refs = all(&recording, TimeSource::Log);
    let mut broken = file.clone();
    // Within the first chunk's compressed bytes.
    broken[600] ^= 0x55;
    let recording = open(&broken).unwrap();
    let mut reader = recording.reader();
    let first = refs.iter().flatten().find(|r| r.chunk == 0).unwrap();
    let error = reader.message(*first).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("file.mcap") && text.contains("byte") && text.contains("mcap recover"), "{text}");
    assert_eq!(error.class(), Class::Permanent);
    assert!(open(&without_summary(&broken).unwrap()).is_err(), "a scan meets it at once");
    for (bytes, part) in
        [(&b""[..], "empty"), (b"#ROSBAG V1.2\n....", "rosbag fix"), (b"hello, world, hello", "MCAP")]
    {
        let text = open(bytes).unwrap_err().to_string();
        assert!(text.contains(part) && text.contains("file.mcap"), "{text}");
    }
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    let file =
        write_mcap(WriteOptions::new().compression(Some(Compression::Zstd)), JSON, &[("/a", 5, b"{}")])
            .unwrap();
    let mut named = file.clone();
    for at in 0..file.len() - 4 {
        if &file[at..at + 4] == b"zstd" {
            named[at..at + 4].copy_from_slice(b"brot");
        }
    }
    let text = open(&without_summary(&named).unwrap()).unwrap_err().to_string();
    assert!(text.contains("`brot`") && text.contains("file.mcap"), "{text}");
}

#[test]
fn a_stop_ends_opening_and_indexing() {
    let stop = StopFlag::default();
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let recording = open(&file).unwrap();
    stop.set();
    let stopped = recording.index(&[TopicId(0)], TimeSource::Log, &stop).unwrap_err();
    assert!(matches!(stopped, SourceError::Stopped) && stopped.class() == Class::Transient);
    let storage = CountingStorage::with("f", &without_summary(&file).unwrap()).unwrap();
    assert!(matches!(Recording::open(storage.shared(), "f", &stop), Err(SourceError::Stopped)));
}
