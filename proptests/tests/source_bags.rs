//! ROS 1 bags give the messages that the same recording gives as MCAP, whatever their compression, with and without an
//! index, whole and cut.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use roboflow::convert::StopFlag;
use roboflow::convert::source::{Recording, SourceError, TimeSource, TopicId};
use roboflow_proptests::recordings::{CountingStorage, data_folder};
use std::collections::BTreeMap;

/// Where a bag's first record begins.
const FIRST_RECORD: usize = 13;
/// What the first record takes, with its padding.
const HEAD_BYTES: usize = FIRST_RECORD + 4096;

/// Topic to (log time, bytes), as the index orders them.
type Contents = BTreeMap<String, Vec<(u64, Vec<u8>)>>;

fn real(name: &str) -> Vec<u8> {
    std::fs::read(data_folder().join(name)).unwrap()
}

fn open(file: &[u8]) -> Result<Recording, SourceError> {
    let storage = CountingStorage::with("file.bag", file).unwrap();
    Recording::open(storage.shared(), "file.bag", &StopFlag::default())
}

fn contents(recording: &Recording, time: TimeSource) -> Contents {
    let stop = StopFlag::default();
    let mut reader = recording.reader();
    let mut all = Contents::new();
    for (number, topic) in recording.topics().iter().enumerate() {
        let refs = recording.index(&[TopicId(number)], time, &stop).unwrap().remove(0);
        let messages = refs.iter().map(|at| (at.stamp_ns, reader.message(*at).unwrap().data.to_vec()));
        all.insert(topic.name.clone(), messages.collect());
    }
    all
}

fn count(contents: &Contents) -> usize {
    contents.values().map(Vec::len).sum()
}

/// The records of a bag: where each begins and ends, and its op.
fn records(bag: &[u8]) -> Vec<(usize, usize, u8)> {
    let length = |at: usize| u32::from_le_bytes(bag[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut found) = (FIRST_RECORD, Vec::new());
    while at < bag.len() {
        let header = &bag[at + 4..at + 4 + length(at)];
        let data_at = at + 4 + header.len();
        let end = data_at + 4 + length(data_at);
        let op = header.windows(3).position(|window| window == b"op=").unwrap();
        found.push((at, end, header[op + 3]));
        at = end;
    }
    found
}

/// The same bag as a recorder leaves it that was killed: no index, and the position of none.
fn without_index(bag: &[u8]) -> Vec<u8> {
    let position = bag.windows(10).position(|window| window == b"index_pos=").unwrap() + 10;
    let index = u64::from_le_bytes(bag[position..position + 8].try_into().unwrap());
    let mut cut = bag[..usize::try_from(index).unwrap()].to_vec();
    cut[position..position + 8].fill(0);
    cut
}

#[test]
fn a_bag_gives_what_the_same_recording_gives_as_mcap() {
    let mcap = open(&real("turtlesim/turtlesim_ros1.mcap")).unwrap();
    for name in ["rosbagjs/example-lz4.bag", "rosbagjs/example-bz2.bag"] {
        let bag = open(&real(name)).unwrap();
        assert!(
            bag.is_indexed() && !bag.is_cut() && bag.warnings().is_empty(),
            "{name}: {:?}",
            bag.warnings()
        );
        assert_eq!(bag.topics().len(), 9, "{name}");
        for (one, two) in bag.topics().iter().zip(mcap.topics()) {
            assert_eq!((&one.name, one.message_count), (&two.name, two.message_count), "{name}");
            assert_eq!(
                one.schema_name.replace("/msg/", "/"),
                two.schema_name.replace("/msg/", "/"),
                "{name}"
            );
        }
        let (ours, theirs) = (contents(&bag, TimeSource::Log), contents(&mcap, TimeSource::Log));
        assert_eq!(count(&ours), 8647, "{name}");
        assert!(ours == theirs, "{name}: other messages than the same recording's as MCAP");
        for number in 0..bag.topics().len() {
            bag.schema(TopicId(number), &StopFlag::default()).unwrap();
        }
    }
}

#[test]
fn the_index_says_what_a_walk_over_the_data_says() {
    for name in ["rosbagjs/example-lz4.bag", "rosbagjs/example-unsorted-chunks.bag"] {
        let whole = open(&real(name)).unwrap();
        let by_index = contents(&whole, TimeSource::Log);
        // A bag knows one time of a message; by any other than the log time the data is walked.
        assert!(count(&by_index) > 0 && by_index == contents(&whole, TimeSource::Publish), "{name}");
        let walked = open(&without_index(&real(name))).unwrap();
        assert!(!walked.is_indexed() && !walked.is_cut(), "{name}");
        assert!(walked.warnings()[0].contains("no index"), "{:?}", walked.warnings());
        assert!(by_index == contents(&walked, TimeSource::Log), "{name}");
    }
}

#[test]
fn of_a_cut_bag_the_whole_chunks_count() {
    let bag = without_index(&real("rosbagjs/example-unsorted-chunks.bag"));
    let chunks: Vec<_> = records(&bag).into_iter().filter(|(_, _, op)| *op == 5).collect();
    assert_eq!(chunks.len(), 3);
    let all = count(&contents(&open(&bag).unwrap(), TimeSource::Log));
    let mut before = 0;
    for (start, end, _) in chunks {
        let up_to = count(&contents(&open(&bag[..start]).unwrap(), TimeSource::Log));
        for cut_at in [start + 2, start + 40, end - 1] {
            let cut = open(&bag[..cut_at]).unwrap();
            assert!(cut.is_cut() && cut.warnings()[0].contains("cut or unreadable"), "{:?}", cut.warnings());
            assert_eq!(count(&contents(&cut, TimeSource::Log)), up_to);
        }
        let whole = count(&contents(&open(&bag[..end]).unwrap(), TimeSource::Log));
        assert!(whole > before, "each chunk adds messages");
        before = whole;
    }
    assert_eq!(before, all);
    assert!(open(&bag[..HEAD_BYTES]).unwrap().topics().is_empty());
}

#[test]
fn an_indexed_bag_is_not_read_to_be_indexed() {
    let file = real("rosbagjs/example-lz4.bag");
    let storage = CountingStorage::with("file.bag", &file).unwrap();
    let bag = Recording::open(storage.shared(), "file.bag", &StopFlag::default()).unwrap();
    let pose = bag.topic("/turtle1/pose").unwrap();
    bag.index(&[pose], TimeSource::Log, &StopFlag::default()).unwrap();
    let read: usize = storage.take_reads().iter().map(|(_, len)| len).sum();
    assert!(read < file.len() * 2 / 3, "{read} of {}", file.len());
}

#[test]
fn a_bag_without_messages_opens_and_other_versions_are_refused_by_name() {
    let empty = open(&real("rosbagjs/no-messages.bag")).unwrap();
    assert_eq!(count(&contents(&empty, TimeSource::Log)), 0);
    let old = open(b"#ROSBAG V1.2\nwhatever").unwrap_err().to_string();
    assert!(old.contains("rosbag fix"), "{old}");
    let mut encrypted = real("rosbagjs/example-lz4.bag");
    let op = encrypted.windows(11).position(|window| window == b"chunk_count").unwrap();
    // A field of the same length takes the place of one that is there.
    let value: &[u8] = b"encryptor=xyzzy";
    let (before, after) = (op - 4, op + b"chunk_count=....".len());
    let mut field = u32::try_from(value.len()).unwrap().to_le_bytes().to_vec();
    field.extend(value);
    field.resize(after - before, b'!');
    let written = u32::try_from(after - before - 4).unwrap();
    field[..4].copy_from_slice(&written.to_le_bytes());
    encrypted[before..after].copy_from_slice(&field);
    let refused = open(&encrypted).unwrap_err().to_string();
    assert!(refused.contains("encrypted by xyzzy"), "{refused}");
}
