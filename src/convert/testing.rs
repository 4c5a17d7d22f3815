//! What this module's tests share: seeded randomness, and small recordings in JSON written by the mcap crate.

use super::crew::Crew;
use crate::storage::memory::MemoryStorage;
use crate::storage::{SharedStorage, Storage};
use base64::Engine;
use mcap::records::{MessageHeader, Metadata};
use mcap::{WriteOptions, Writer};
use proptest::test_runner::{Config, RngSeed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Cases of a property test: 256 or `CASES`, from seed 1 or `SEED`, which a failure prints.
pub(crate) fn cases() -> Config {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(1);
    println!("SEED={seed}");
    let cases = number("CASES").unwrap_or(256);
    Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Milliseconds as nanoseconds.
pub(crate) const MS: u64 = 1_000_000;

/// One message to record: its topic, its log time and what it says.
pub(crate) type Said = (&'static str, u64, Value);

/// Joint states with their names.
pub(crate) fn joints(ms: u64, names: &[&str], position: &[f64]) -> Said {
    ("/joints", ms * MS, json!({ "name": names, "position": position }))
}

/// A camera's image file.
pub(crate) fn image(ms: u64, file: &[u8]) -> Said {
    let data = base64::engine::general_purpose::STANDARD.encode(file);
    ("/camera", ms * MS, json!({ "format": "jpeg", "data": data }))
}

/// A PNG in red, green and blue, all of one level.
pub(crate) fn png_file(width: u32, height: u32, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels = vec![level; (width * height * 3) as usize];
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// A recording of these messages, in this order in the file, in chunks of about `chunk_bytes`.
pub(crate) fn recording(said: &[Said], chunk_bytes: u64) -> Vec<u8> {
    recording_with(said, chunk_bytes, &[])
}

/// The same with metadata records of these names behind the messages.
pub(crate) fn recording_with(
    said: &[Said],
    chunk_bytes: u64,
    metadata: &[(&str, BTreeMap<String, String>)],
) -> Vec<u8> {
    let camera = json!({ "type": "object", "properties": {
        "format": { "type": "string" }, "data": { "type": "string", "contentEncoding": "base64" } } });
    let mut file = Cursor::new(Vec::new());
    let mut writer =
        WriteOptions::new().chunk_size(Some(chunk_bytes)).create(&mut file).map(Box::new).unwrap();
    let mut channels = BTreeMap::new();
    for (sequence, (topic, log_time, value)) in said.iter().enumerate() {
        let channel = *channels.entry(*topic).or_insert_with(|| {
            let schema = match *topic {
                "/camera" => writer.add_schema("Image", "jsonschema", camera.to_string().as_bytes()).unwrap(),
                _ => 0,
            };
            writer.add_channel(schema, topic, "json", &BTreeMap::new()).unwrap()
        });
        let header = MessageHeader {
            channel_id: channel,
            sequence: sequence as u32,
            log_time: *log_time,
            publish_time: *log_time,
        };
        write(&mut writer, &header, value);
    }
    for (name, texts) in metadata {
        let record = Metadata { name: (*name).to_owned(), metadata: texts.clone() };
        writer.write_metadata(&record).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    file.into_inner()
}

fn write(writer: &mut Writer<&mut Cursor<Vec<u8>>>, header: &MessageHeader, value: &Value) {
    writer.write_to_known_channel(header, value.to_string().as_bytes()).unwrap();
}

/// A storage that holds one recording, `in/one.mcap`.
pub(crate) fn stored(file: &[u8]) -> SharedStorage {
    let storage = MemoryStorage::new();
    storage.put("in/one.mcap", file).unwrap();
    Arc::new(storage)
}

/// A crew of so many threads.
pub(crate) fn crew(threads: usize) -> Crew {
    Crew::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

/// Random numbers from `SEED`, or 1.
pub(crate) fn random() -> StdRng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}
