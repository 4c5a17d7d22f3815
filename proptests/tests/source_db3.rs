//! ROS 2 bags in SQLite: whatever SQLite itself made of a table is read as SQLite reads it, and no bytes make the reader fail
//! otherwise than by an error.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use proptest::prelude::*;
use roboflow::convert::StopFlag;
use roboflow::convert::source::{MessageRef, Recording, SourceError, TimeSource, TopicId};
use roboflow::storage::Storage;
use roboflow::storage::memory::MemoryStorage;
use roboflow_proptests::recordings::CountingStorage;
use roboflow_proptests::sources::{CAMERA, Database, TOPICS, content, database};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Arc;

/// Of each message in SQLite's order: topic, time, bytes.
type Rows = Vec<(i64, u64, Vec<u8>)>;

fn cases() -> ProptestConfig {
    let cases = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn open(files: &[(&str, &[u8])]) -> Result<Recording, SourceError> {
    let storage = MemoryStorage::new();
    for (key, bytes) in files {
        storage.put(key, bytes).unwrap();
    }
    Recording::open(Arc::new(storage), files[0].0, &StopFlag::default())
}

/// What a change does to the table.
#[derive(Debug, Clone)]
enum Change {
    Add { topic: usize, time: u32, len: usize },
    Remove { nth: usize },
    Grow { nth: usize, len: usize },
    Vacuum,
}

fn change() -> impl Strategy<Value = Change> {
    let len = prop_oneof![4 => 0..200_usize, 2 => 200..5_000_usize, 1 => 5_000..90_000_usize];
    prop_oneof![
        12 => (0..3_usize, any::<u32>(), len.clone()).prop_map(|(topic, time, len)| Change::Add { topic, time, len }),
        2 => any::<usize>().prop_map(|nth| Change::Remove { nth }),
        2 => (any::<usize>(), len).prop_map(|(nth, len)| Change::Grow { nth, len }),
        1 => Just(Change::Vacuum),
    ]
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (seed.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8)) as u8).collect()
}

/// Applies the changes by SQLite, and gives the file and what SQLite reads from it.
fn made(path: &Path, page_bytes: u32, settings: &str, changes: &[Change]) -> (Vec<u8>, Rows) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA page_size={page_bytes}; {settings} PRAGMA synchronous=OFF;
         CREATE TABLE junk(a, b); CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,type TEXT NOT NULL,serialization_format TEXT NOT NULL);
         CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,timestamp INTEGER NOT NULL, data BLOB NOT NULL);
         CREATE INDEX timestamp_idx ON messages (timestamp ASC);
         INSERT INTO topics VALUES (4, '/a', 'std_msgs/msg/String', 'cdr'), (5, '/b', 'std_msgs/msg/String', 'cdr'),
            (90000000000, '/c', 'std_msgs/msg/String', 'cdr');"
    ))
    .unwrap();
    let ids = [4_i64, 5, 90_000_000_000];
    for (number, change) in changes.iter().enumerate() {
        let nth = |nth: usize| nth as i64 % (number as i64 + 1) + 1;
        match change {
            Change::Add { topic, time, len } => db
                .execute(
                    "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
                    params![ids[*topic], i64::from(*time), bytes(number, *len)],
                )
                .unwrap(),
            Change::Remove { nth: n } => db.execute("DELETE FROM messages WHERE id = ?", [nth(*n)]).unwrap(),
            Change::Grow { nth: n, len } => db
                .execute("UPDATE messages SET data = ? WHERE id = ?", params![bytes(number, *len), nth(*n)])
                .unwrap(),
            Change::Vacuum => {
                db.execute_batch("VACUUM").unwrap();
                0
            }
        };
    }
    let mut rows = Rows::new();
    {
        let mut read =
            db.prepare("SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp, id").unwrap();
        let mut found = read.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            rows.push((
                row.get(0).unwrap(),
                row.get::<_, i64>(1).unwrap().cast_unsigned(),
                row.get(2).unwrap(),
            ));
        }
    }
    db.close().unwrap();
    (std::fs::read(path).unwrap(), rows)
}

/// All messages in the order of time and place.
fn read(recording: &Recording) -> Rows {
    let ids = [4_i64, 5, 90_000_000_000];
    let topics: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
    let mut refs: Vec<MessageRef> =
        recording.index(&topics, TimeSource::Log, &StopFlag::default()).unwrap().concat();
    refs.sort_unstable();
    let mut reader = recording.reader();
    refs.iter()
        .map(|at| {
            let message = reader.message(*at).unwrap();
            assert_eq!((message.log_ns, message.publish_ns), (at.stamp_ns, at.stamp_ns));
            (ids[message.topic.0], message.log_ns, message.data.to_vec())
        })
        .collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn tables_are_read_as_sqlite_reads_them(
        page in prop::sample::select(vec![512_u32, 1024, 4096, 16384, 65536]),
        settings in prop::sample::select(vec!["", "PRAGMA auto_vacuum=FULL;", "PRAGMA journal_mode=WAL;", "PRAGMA secure_delete=ON;"]),
        changes in prop::collection::vec(change(), 0..120),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (file, rows) = made(&folder.path().join("r.db3"), page, settings, &changes);
        let recording = open(&[("r.db3", &file)]).unwrap();
        prop_assert!(read(&recording) == rows, "{} rows of SQLite", rows.len());
        let counted: u64 = recording.topics().iter().filter_map(|topic| topic.message_count).sum();
        prop_assert_eq!(counted, rows.len() as u64);
    }

    #[test]
    fn tampered_files_are_read_or_refused(
        page in prop::sample::select(vec![512_u32, 4096]),
        changes in prop::collection::vec(change(), 0..30),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        words in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..3),
        near_start in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = made(&folder.path().join("r.db3"), page, "", &changes);
        let reach = if near_start { 1200 } else { file.len() };
        for (at, with) in edits {
            let at = at.index(reach);
            file[at] = with;
        }
        for (at, with) in words {
            let at = at.index(reach - 4);
            file[at..at + 4].copy_from_slice(&with.to_be_bytes());
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let Ok(recording) = open(&[("r.db3", &file)]) else { return Ok(()) };
        let topics: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
        for time in [TimeSource::Log, TimeSource::Publish, TimeSource::Header] {
            let Ok(refs) = recording.index(&topics, time, &StopFlag::default()) else { continue };
            let mut reader = recording.reader();
            refs.concat().into_iter().for_each(|at| drop(reader.message(at).map(|message| message.data.len())));
        }
    }
}

#[test]
fn a_log_that_is_not_folded_in_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.db3");
    let (file, _) = made(&path, 4096, "PRAGMA journal_mode=WAL;", &[Change::Vacuum]);
    assert!(open(&[("r.db3", &file), ("r.db3-wal", b"")]).is_ok(), "an empty log is none");
    for beside in ["r.db3-wal", "r.db3-journal"] {
        let error = open(&[("r.db3", &file), (beside, b"something")]).unwrap_err().to_string();
        assert!(error.contains("r.db3") && error.contains("sqlite3"), "{error}");
    }
    let plain = database(&content(1, 9), Database { schema: 4, page_bytes: 4096 });
    assert!(open(&[("r.db3", &plain), ("r.db3-wal", b"of another")]).is_ok(), "it has no log of its own");
}

#[test]
fn databases_that_are_no_bags_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db3");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1);").unwrap();
    let error = open(&[("other.db3", &std::fs::read(&path).unwrap())]).unwrap_err().to_string();
    assert!(error.contains("other.db3") && error.contains("no ROS 2 bag"), "{error}");
    let mut utf16 = std::fs::read(&path).unwrap();
    utf16[59] = 2;
    assert!(open(&[("other.db3", &utf16)]).unwrap_err().to_string().contains("UTF-16"));
}

#[test]
fn types_without_a_definition_are_standard_ones_or_named() {
    let bag = database(&content(2, 20), Database { schema: 3, page_bytes: 4096 });
    let recording = open(&[("r.db3", &bag)]).unwrap();
    assert_eq!(recording.topics()[CAMERA].schema_data.len(), 0, "none is in the file");
    let fields = recording.schema(TopicId(CAMERA), &StopFlag::default()).unwrap().fields();
    assert!(fields.iter().any(|field| field.path == "data" && field.is_bytes()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.db3");
    std::fs::write(&path, &bag).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE topics SET type = 'my_msgs/msg/Own' WHERE name = ?", [TOPICS[CAMERA]])
        .unwrap();
    let recording = open(&[("r.db3", &std::fs::read(&path).unwrap())]).unwrap();
    let error = recording.schema(TopicId(CAMERA), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("my_msgs/msg/Own") && error.contains("ros2 bag convert"), "{error}");
    assert!(recording.schema(TopicId(0), &StopFlag::default()).is_ok(), "others are read");
}

#[test]
fn the_index_reads_no_pictures_and_a_chunk_is_one_read() {
    let samples = content(3, 400);
    let file = database(&samples, Database { schema: 4, page_bytes: 4096 });
    let storage = CountingStorage::with("r.db3", &file).unwrap();
    let stop = StopFlag::default();
    let recording = Recording::open(storage.shared(), "r.db3", &stop).unwrap();
    storage.take_reads();
    let refs = recording.index(&[TopicId(CAMERA)], TimeSource::Log, &stop).unwrap().remove(0);
    storage.take_reads();
    let mut reader = recording.reader();
    let last = refs.iter().max_by_key(|at| at.chunk).unwrap();
    reader.message(*last).unwrap();
    let reads = storage.take_reads();
    assert!(reads.len() <= 2, "{reads:?}");
    let read: usize = reads.iter().map(|(_, len)| len).sum();
    assert!(read < 3 << 20, "{read} bytes for one chunk");
}
