//! The files of recordings: MCAP by the `mcap` crate, SQLite by `rusqlite`, bags by hand, folders of both.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "support of tests: what it cannot do is a failed test"
)]

use super::{Encoding, Files, Sample, TOPICS};
use mcap::records::MessageHeader;
use mcap::{Compression, WriteOptions, Writer};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::io::Cursor;

/// A small chunk, so that there are many.
const CHUNK_BYTES: u64 = 3_000;

pub(super) fn one(key: &str, bytes: Vec<u8>) -> Files {
    Files::from([(key.to_owned(), bytes)])
}

fn options() -> WriteOptions {
    WriteOptions::new().chunk_size(Some(CHUNK_BYTES))
}

pub(super) fn zstd() -> WriteOptions {
    options().compression(Some(Compression::Zstd))
}

pub(super) fn lz4() -> WriteOptions {
    options().compression(Some(Compression::Lz4))
}

pub(super) fn plain() -> WriteOptions {
    options().compression(None)
}

pub(super) fn loose() -> WriteOptions {
    options().use_chunks(false)
}

pub(super) fn no_summary() -> WriteOptions {
    plain().emit_summary_records(false)
}

/// An MCAP file.
///
/// # Panics
/// When the `mcap` crate refuses.
pub fn mcap_file(encoding: Encoding, samples: &[Sample], options: &WriteOptions) -> Vec<u8> {
    let (message_encoding, schema_encoding) = encoding.names();
    let mut writer = Writer::with_options(Cursor::new(Vec::new()), options.clone()).expect("a writer");
    let channels: Vec<u16> = TOPICS
        .iter()
        .enumerate()
        .map(|(topic, name)| {
            let (schema, text) = encoding.schema(topic);
            let schema = writer.add_schema(&schema, schema_encoding, &text).expect("a schema");
            writer.add_channel(schema, name, message_encoding, &BTreeMap::new()).expect("a channel")
        })
        .collect();
    for (sequence, sample) in (0..).zip(samples) {
        let header = MessageHeader {
            channel_id: channels[sample.topic],
            sequence,
            log_time: sample.log_ns,
            publish_time: sample.publish_ns,
        };
        writer.write_to_known_channel(&header, &encoding.body(sample)).expect("a message");
    }
    writer.finish().expect("an end");
    writer.into_inner().into_inner()
}

fn record(fields: &[(&str, &[u8])], data: &[u8], out: &mut Vec<u8>) {
    let mut header = Vec::new();
    for (name, value) in fields {
        header.extend((name.len() as u32 + 1 + value.len() as u32).to_le_bytes());
        header.extend(name.as_bytes());
        header.push(b'=');
        header.extend(*value);
    }
    out.extend((header.len() as u32).to_le_bytes());
    out.extend(header);
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
}

fn connection(number: usize, out: &mut Vec<u8>) {
    let (name, text) = Encoding::Ros1.schema(number);
    let mut data = Vec::new();
    for (key, value) in [
        ("topic", TOPICS[number].as_bytes()),
        ("type", name.as_bytes()),
        ("md5sum", format!("{number:032}").as_bytes()),
        ("message_definition", &text),
    ] {
        data.extend((key.len() as u32 + 1 + value.len() as u32).to_le_bytes());
        data.extend(key.as_bytes());
        data.push(b'=');
        data.extend(value);
    }
    let id = (number as u32).to_le_bytes();
    record(&[("op", &[7]), ("conn", &id), ("topic", TOPICS[number].as_bytes())], &data, out);
}

fn time(ns: u64) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&((ns / 1_000_000_000) as u32).to_le_bytes());
    out[4..].copy_from_slice(&((ns % 1_000_000_000) as u32).to_le_bytes());
    out
}

/// The bag's first record, padded as every writer does it.
fn bag_header(index_pos: u64, chunks: u32, out: &mut Vec<u8>) {
    const RECORD_BYTES: usize = 4096;
    let connections = (TOPICS.len() as u32).to_le_bytes();
    let (position, chunks) = (index_pos.to_le_bytes(), chunks.to_le_bytes());
    let fields: [(&str, &[u8]); 4] =
        [("op", &[3]), ("index_pos", &position), ("conn_count", &connections), ("chunk_count", &chunks)];
    let mut empty = Vec::new();
    record(&fields, &[], &mut empty);
    record(&fields, &vec![b' '; RECORD_BYTES - empty.len()], out);
}

/// A ROS 1 bag without compression, with an index or as a recorder leaves it that was killed.
pub fn bag(samples: &[Sample], indexed: bool) -> Vec<u8> {
    const PER_CHUNK: usize = 9;
    let begin = |index_pos: u64, chunks: u32| {
        let mut out = b"#ROSBAG V2.0\n".to_vec();
        bag_header(index_pos, chunks, &mut out);
        out
    };
    let mut out = begin(0, 0);
    let mut infos = Vec::new();
    for chunk in samples.chunks(PER_CHUNK) {
        let mut body = Vec::new();
        let mut index: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        (0..TOPICS.len()).for_each(|topic| connection(topic, &mut body));
        for sample in chunk {
            let entry = index.entry(sample.topic).or_default();
            entry.extend(time(sample.log_ns));
            entry.extend((body.len() as u32).to_le_bytes());
            let id = (sample.topic as u32).to_le_bytes();
            let fields: [(&str, &[u8]); 3] = [("op", &[2]), ("conn", &id), ("time", &time(sample.log_ns))];
            record(&fields, &Encoding::Ros1.body(sample), &mut body);
        }
        let position = out.len() as u64;
        let size = (body.len() as u32).to_le_bytes();
        record(&[("op", &[5]), ("compression", b"none"), ("size", &size)], &body, &mut out);
        let mut counts = Vec::new();
        for (topic, entries) in &index {
            let (id, count) = ((*topic as u32).to_le_bytes(), (entries.len() as u32 / 12).to_le_bytes());
            counts.extend(id.iter().chain(&count));
            let fields: [(&str, &[u8]); 4] =
                [("op", &[4]), ("ver", &1_u32.to_le_bytes()), ("conn", &id), ("count", &count)];
            record(&fields, entries, &mut out);
        }
        infos.push((position, index.len() as u32, counts));
    }
    if !indexed {
        return out;
    }
    let index_pos = out.len() as u64;
    (0..TOPICS.len()).for_each(|topic| connection(topic, &mut out));
    for (position, topics, counts) in &infos {
        let fields: [(&str, &[u8]); 6] = [
            ("op", &[6]),
            ("ver", &1_u32.to_le_bytes()),
            ("chunk_pos", &position.to_le_bytes()),
            ("start_time", &time(0)),
            ("end_time", &time(u64::from(u32::MAX) * 1_000_000_000)),
            ("count", &topics.to_le_bytes()),
        ];
        record(&fields, counts, &mut out);
    }
    let head = begin(index_pos, infos.len() as u32);
    out[..head.len()].copy_from_slice(&head);
    out
}

/// How a database is written.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    /// rosbag2's version of the tables, 1 to 4.
    pub schema: u8,
    /// Of a page.
    pub page_bytes: u32,
}

/// Makes the tables of a bag.
fn tables(db: &Connection, how: Database) -> rusqlite::Result<()> {
    let qos = if how.schema >= 2 { ",offered_qos_profiles TEXT NOT NULL" } else { "" };
    let hash = if how.schema >= 4 { ",type_description_hash TEXT NOT NULL" } else { "" };
    db.execute_batch(&format!(
        "PRAGMA page_size={}; BEGIN;
         CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,type TEXT NOT NULL,serialization_format TEXT NOT NULL{qos}{hash});
         CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,timestamp INTEGER NOT NULL, data BLOB NOT NULL);
         CREATE INDEX timestamp_idx ON messages (timestamp ASC);",
        how.page_bytes
    ))?;
    if how.schema >= 3 {
        db.execute_batch(
            "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY,ros_distro TEXT NOT NULL);
             CREATE TABLE metadata(id INTEGER PRIMARY KEY,metadata_version INTEGER NOT NULL,metadata TEXT NOT NULL);",
        )?;
        db.execute("INSERT INTO schema VALUES (?, 'tests')", [how.schema])?;
    }
    if how.schema >= 4 {
        db.execute_batch(
            "CREATE TABLE message_definitions (id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
             encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);",
        )?;
    }
    for (topic, name) in TOPICS.iter().enumerate() {
        let (kind, text) = Encoding::Cdr.schema(topic);
        let more = ", ''".repeat(usize::from(how.schema >= 2) + usize::from(how.schema >= 4));
        let insert = format!("INSERT INTO topics VALUES (?, ?, ?, 'cdr'{more})");
        // Ids need not be those of channels.
        db.execute(&insert, params![topic as i64 * 7 + 1, name, kind])?;
        if how.schema >= 4 {
            let text = String::from_utf8_lossy(&text).into_owned();
            db.execute(
                "INSERT INTO message_definitions (topic_type, encoding, encoded_message_definition, type_description_hash) VALUES (?, 'ros2msg', ?, '')",
                params![kind, text],
            )?;
        }
    }
    Ok(())
}

/// A bag in SQLite.
///
/// # Panics
/// When SQLite refuses.
pub fn database(samples: &[Sample], how: Database) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.db3");
    let db = Connection::open(&path).expect("a database");
    tables(&db, how).expect("tables");
    for sample in samples {
        db.execute(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
            params![sample.topic as i64 * 7 + 1, sample.log_ns.cast_signed(), Encoding::Cdr.body(sample)],
        )
        .expect("a message");
    }
    db.execute_batch("COMMIT").expect("a commit");
    db.close().expect("an end");
    std::fs::read(path).expect("the file")
}

/// What rosbag2 writes beside the files of a folder.
pub fn folder_metadata(storage: &str, files: &[String]) -> String {
    let listed: String = files.iter().map(|file| format!("    - {file}\n")).collect();
    format!(
        "rosbag2_bagfile_information:
  version: 9
  storage_identifier: {storage}
  compression_format: \"\"
  compression_mode: \"\"
  relative_file_paths:
{listed}"
    )
}

/// A folder of three files.
pub(super) fn folder(samples: &[Sample], extension: &str) -> Files {
    let mut files = Files::new();
    let mut names = Vec::new();
    for (number, part) in samples.chunks(samples.len().div_ceil(3).max(1)).enumerate() {
        let name = format!("run_{number}.{extension}");
        let bytes = match extension {
            "mcap" => mcap_file(Encoding::Cdr, part, &zstd()),
            _ => database(part, Database { schema: 4, page_bytes: 4096 }),
        };
        files.insert(format!("run/{name}"), bytes);
        names.push(name);
    }
    let storage = if extension == "mcap" { "mcap" } else { "sqlite3" };
    files.insert("run/metadata.yaml".to_owned(), folder_metadata(storage, &names).into_bytes());
    files
}
