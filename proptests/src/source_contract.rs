//! What every source gives, as one suite for all formats and all storages: the same topics, the same three stamps, the same
//! bytes and values of one content, and positions that reading goes on from.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise fails the test at once"
)]

use crate::sources::{Body, CAMERA, Cut, Encoding, FORMATS, Files, Format, Sample, TOPICS, content};
use roboflow::convert::StopFlag;
use roboflow::convert::decode::Extractor;
use roboflow::convert::source::{MessageRef, Recording, SourceError, TimeSource, TopicId};
use roboflow::storage::SharedStorage;

/// Puts a recording's files.
///
/// # Panics
/// When the storage refuses.
pub fn put(storage: &SharedStorage, files: &Files) {
    for (key, bytes) in files {
        storage.put(key, bytes).expect("put");
    }
}

fn open(storage: &SharedStorage, format: &Format) -> Result<Recording, SourceError> {
    Recording::open(SharedStorage::clone(storage), format.key, &StopFlag::default())
}

/// What a format gives for a time source, in the order of the index.
fn stamp(format: &Format, time: TimeSource, sample: &Sample) -> u64 {
    match time {
        TimeSource::Log => sample.log_ns,
        TimeSource::Publish if format.keeps_publish => sample.publish_ns,
        TimeSource::Publish => sample.log_ns,
        TimeSource::Header => sample.stamp_ns,
    }
}

/// The messages of a topic in stamp order; of equal stamps, in the file's.
fn expected<'s>(format: &Format, samples: &'s [Sample], topic: usize, time: TimeSource) -> Vec<&'s Sample> {
    let mut own: Vec<&Sample> = samples.iter().filter(|sample| sample.topic == topic).collect();
    own.sort_by_key(|sample| stamp(format, time, sample));
    own
}

fn index(recording: &Recording, topic: usize, time: TimeSource) -> Vec<MessageRef> {
    let id = recording.topic(TOPICS[topic]).unwrap_or_else(|| panic!("no topic {}", TOPICS[topic]));
    recording.index(&[id], time, &StopFlag::default()).expect("an index").remove(0)
}

/// Checks all promises of all formats on a storage that `make` gives for each.
///
/// # Panics
/// When one is broken; the format is printed before.
pub fn check_all(seed: u64, messages: usize, mut make: impl FnMut() -> SharedStorage) {
    let samples = content(seed, messages);
    for format in FORMATS {
        say(format.name, seed);
        let storage = make();
        put(&storage, &(format.write)(&samples));
        check(format, &samples, &storage);
    }
}

#[expect(clippy::print_stderr, reason = "says in a failing test's output which format it was")]
fn say(name: &str, seed: u64) {
    eprintln!("format: {name}, SEED={seed}");
}

fn check(format: &Format, samples: &[Sample], storage: &SharedStorage) {
    let recording = open(storage, format).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((recording.is_indexed(), recording.is_cut()), (format.indexed, false));
    let names: Vec<&str> = recording.topics().iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, TOPICS, "topics, in the order of their names");
    for time in [TimeSource::Log, TimeSource::Publish, TimeSource::Header] {
        for topic in 0..TOPICS.len() {
            stream(format, samples, &recording, topic, time);
        }
    }
    (0..TOPICS.len()).for_each(|topic| values(format, samples, &recording, topic));
    positions(format, storage, &recording);
}

/// Topic, the three stamps and the bytes.
fn stream(format: &Format, samples: &[Sample], recording: &Recording, topic: usize, time: TimeSource) {
    let expected = expected(format, samples, topic, time);
    let refs = index(recording, topic, time);
    assert_eq!(refs.len(), expected.len(), "{} by {time:?}", TOPICS[topic]);
    let counted = recording.topics()[topic].message_count;
    assert_eq!(counted, Some(expected.len() as u64), "counts of {}", TOPICS[topic]);
    let mut reader = recording.reader();
    for (at, sample) in refs.iter().zip(expected) {
        assert_eq!(at.stamp_ns, stamp(format, time, sample));
        let message = reader.message(*at).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(message.topic, TopicId(topic));
        assert_eq!(message.log_ns, sample.log_ns);
        assert_eq!(message.publish_ns, stamp(format, TimeSource::Publish, sample));
        assert!(message.data == format.encoding.body(sample), "other bytes than were written");
    }
}

/// The values, which are the same in every encoding.
fn values(format: &Format, samples: &[Sample], recording: &Recording, topic: usize) {
    let stop = StopFlag::default();
    let schema = recording.schema(TopicId(topic), &stop).unwrap_or_else(|error| panic!("{error}"));
    assert!(schema.has_header());
    let field = |path: &str| Extractor::compile(&schema, path).unwrap_or_else(|error| panic!("{error}"));
    let mut reader = recording.reader();
    for (at, sample) in
        index(recording, topic, TimeSource::Log).iter().zip(expected(format, samples, topic, TimeSource::Log))
    {
        let data = reader.message(*at).expect("a message").data;
        match &sample.body {
            Body::Joints(joints) => {
                let (mut names, mut positions) = (Vec::new(), Vec::new());
                field("name").strings(data, &mut names).expect("names");
                field("position").numbers(data, &mut positions).expect("numbers");
                let read: Vec<(String, f64)> = names.into_iter().zip(positions).collect();
                assert_eq!(&read, joints);
            }
            Body::Picture(bytes) => assert!(*field("data").bytes(data).expect("bytes") == *bytes),
        }
    }
    let borrowed = matches!(format.encoding, Encoding::Cdr | Encoding::Ros1 | Encoding::Protobuf);
    if let (CAMERA, true, Some(at)) = (topic, borrowed, index(recording, topic, TimeSource::Log).first()) {
        let data = reader.message(*at).expect("a message").data;
        let bytes = field("data");
        let bytes = bytes.bytes(data).expect("bytes");
        assert!(matches!(bytes, std::borrow::Cow::Borrowed(_)), "bytes are borrowed from the message");
    }
}

/// Places are the same whenever the recording is opened, and reading from any of them gives what is behind it.
fn positions(format: &Format, storage: &SharedStorage, recording: &Recording) {
    let again = open(storage, format).expect("opened again");
    let ids: Vec<TopicId> = (0..TOPICS.len()).map(TopicId).collect();
    let stop = StopFlag::default();
    let all = |recording: &Recording| {
        let mut refs = recording.index(&ids, TimeSource::Log, &stop).expect("an index").concat();
        refs.sort_unstable();
        refs
    };
    let refs = all(recording);
    assert_eq!(refs, all(&again), "the same positions");
    let read = |recording: &Recording, refs: &[MessageRef]| -> Vec<(usize, u64, Vec<u8>)> {
        let mut reader = recording.reader();
        refs.iter()
            .map(|at| {
                let message = reader.message(*at).expect("a message");
                (message.topic.0, message.log_ns, message.data.to_vec())
            })
            .collect()
    };
    let whole = read(recording, &refs);
    for from in [0, 1, refs.len() / 3, refs.len() / 2, refs.len().saturating_sub(1)] {
        assert!(read(&again, &refs[from..]) == whole[from..], "the tail from {from}");
    }
}

/// Checks what each format does with files that end too soon.
///
/// # Panics
/// When a cut file gives other messages than its first ones, or is not refused where it must be.
pub fn check_cut(seed: u64, messages: usize, mut make: impl FnMut() -> SharedStorage) {
    let samples = content(seed, messages);
    for format in FORMATS {
        say(format.name, seed);
        let files = (format.write)(&samples);
        let last = files.keys().rfind(|key| !key.ends_with(".yaml")).expect("a file").clone();
        for share in [40, 60, 90] {
            let storage = make();
            let mut cut = files.clone();
            let bytes = cut.get_mut(&last).expect("the last file");
            bytes.truncate(bytes.len() * share / 100);
            put(&storage, &cut);
            match (format.cut, open(&storage, format)) {
                (Cut::Refused, Err(error)) => {
                    let text = error.to_string();
                    assert!(text.contains("cut") && text.contains(&last), "{text}");
                }
                (Cut::Prefix, Ok(recording)) => prefix(format, &samples, &recording),
                (_, found) => panic!("{share} %: {found:?}"),
            }
        }
    }
}

/// Of each topic the first messages in the file's order, and no others.
fn prefix(format: &Format, samples: &[Sample], recording: &Recording) {
    assert!(recording.is_cut() && recording.warnings().iter().any(|warning| warning.contains("cut")));
    let mut read: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut reader = recording.reader();
    for topic in recording.topics() {
        let number = TOPICS.iter().position(|name| *name == topic.name).expect("a topic");
        for at in index(recording, number, TimeSource::Log) {
            read.push((number, reader.message(at).expect("a message").data.to_vec()));
        }
    }
    let mut first: Vec<(usize, Vec<u8>)> =
        samples.iter().take(read.len()).map(|sample| (sample.topic, format.encoding.body(sample))).collect();
    assert!(!read.is_empty() && read.len() < samples.len(), "{} of {}", read.len(), samples.len());
    read.sort();
    first.sort();
    assert!(read == first, "other messages than the first {}", first.len());
}
