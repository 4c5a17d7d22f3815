//! Recordings of every kind of picture to staging: the pixels that come out are those that went in.
//!
//! It opens what was stored with the `png` crate, as any loader would, and knows the pixels from writing them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use arrow::array::AsArray;
use base64::Engine;
use mcap::WriteOptions;
use roboflow::convert::crew::Crew;
use roboflow::convert::mapping::Mapping;
use roboflow::convert::recording::RecordingWork;
use roboflow::convert::{StopFlag, Work, WorkError};
use roboflow::lerobot::parquet_file::ParquetIn;
use roboflow::lerobot::staged::{SEGMENT_NOTE_KEY, SegmentNote, StagedEpisode, segment_key};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{SharedStorage, Storage};
use roboflow_proptests::recordings::write_mcap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::Arc;

const FRAMES: u64 = 5;
const PERIOD_NS: u64 = 100_000_000;
const WIDTH: u32 = 4;
const HEIGHT: u32 = 3;

/// Levels that differ from pixel to pixel and frame to frame.
fn levels(frame: u64, count: u32) -> Vec<u8> {
    (0..count).map(|at| (u64::from(at) * 7 + frame * 31) as u8).collect()
}

fn depths(frame: u64) -> Vec<u16> {
    (0..WIDTH * HEIGHT).map(|at| (u64::from(at) * 257 + frame * 1000) as u16).collect()
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn raw(encoding: &str, bytes_a_pixel: u32, data: &[u8]) -> Value {
    json!({ "width": WIDTH, "height": HEIGHT, "encoding": encoding, "step": WIDTH * bytes_a_pixel, "data": base64(data) })
}

fn depth_file(levels: &[u16]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let bytes: Vec<u8> = levels.iter().flat_map(|level| level.to_be_bytes()).collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    file
}

/// A frame of each topic.
fn said(frame: u64) -> Vec<(&'static str, Value)> {
    let little: Vec<u8> = depths(frame).iter().flat_map(|level| level.to_le_bytes()).collect();
    let packed = [&[0; 12], &depth_file(&depths(frame))[..]].concat();
    vec![
        ("/rgb", raw("rgb8", 3, &levels(frame, WIDTH * HEIGHT * 3))),
        ("/mono", raw("mono8", 1, &levels(frame, WIDTH * HEIGHT))),
        ("/depth", raw("16UC1", 2, &little)),
        ("/packed", json!({ "format": "16UC1; compressedDepth", "data": base64(&packed) })),
    ]
}

fn recording(frames: impl Iterator<Item = Vec<(&'static str, Value)>>) -> Vec<u8> {
    let bodies: Vec<(&str, u64, Vec<u8>)> = (0..)
        .zip(frames)
        .flat_map(|(frame, said)| {
            said.into_iter()
                .map(move |(topic, value)| (topic, frame * PERIOD_NS, value.to_string().into_bytes()))
        })
        .collect();
    let written: Vec<(&str, u64, &[u8])> =
        bodies.iter().map(|(topic, at, body)| (*topic, *at, &body[..])).collect();
    write_mcap(WriteOptions::new(), ("Message", "", "", "json"), &written).unwrap()
}

/// One picture feature a line: its name, its topic, and further keys.
fn mapping(features: &[(&str, &str, &str)]) -> String {
    let mut text = "fps = 10\n[task]\ntext = \"look\"\n".to_owned();
    for (name, topic, keys) in features {
        text.push_str(&format!(
            "[[feature]]\nname = \"{name}\"\nkind = \"image\"\nsource = [{{ topic = \"{topic}\" }}]\n{keys}\n"
        ));
    }
    text
}

struct Converted {
    episode: StagedEpisode,
    note: SegmentNote,
    /// The files of each feature.
    files: BTreeMap<String, Vec<Vec<u8>>>,
}

fn convert(file: &[u8], mapping: &str) -> Result<Converted, WorkError> {
    let (input, staging) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    input.put("r.mcap", file).unwrap();
    let mapping = Mapping::parse("m.toml", mapping).unwrap();
    let stop = StopFlag::default();
    let crew = Crew::new(NonZeroUsize::MIN).unwrap();
    let mut work =
        RecordingWork::open(input, "r.mcap", "r", staging.clone(), "j/", &mapping, 100, &crew, &stop)?;
    assert_eq!(work.segments(), 1);
    work.run(0, &stop)?;
    let episode: StagedEpisode = serde_json::from_slice(&staging.snapshot()["j/e000/episode.json"]).unwrap();
    let shared: SharedStorage = staging;
    let segment = ParquetIn::open(&shared, &segment_key("j/e000/", 0)).unwrap();
    let note = serde_json::from_str(segment.note(SEGMENT_NOTE_KEY).unwrap()).unwrap();
    let batch = segment.batches(1 << 20, |_| true).unwrap().next().unwrap().unwrap();
    let files = |name: &str| {
        let bytes = batch.column_by_name(name).unwrap().as_struct().column(0).clone();
        (0..bytes.len()).map(|row| bytes.as_binary::<i32>().value(row).to_vec()).collect()
    };
    let files = episode.features.iter().map(|feature| (feature.name.clone(), files(&feature.name))).collect();
    Ok(Converted { episode, note, files })
}

/// A PNG's size, colours and samples.
fn opened(file: &[u8]) -> (u32, u32, png::ColorType, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, info.color_type, pixels)
}

#[test]
fn raw_pixels_and_depth_come_out_as_they_went_in() {
    let mapping = mapping(&[
        ("rgb", "/rgb", ""),
        ("mono", "/mono", ""),
        ("depth", "/depth", ""),
        ("packed", "/packed", ""),
    ]);
    let found = convert(&recording((0..FRAMES).map(said)), &mapping).unwrap();
    let shapes: Vec<&[u32]> = found.episode.features.iter().map(|feature| &feature.shape[..]).collect();
    assert_eq!(
        shapes,
        [&[HEIGHT, WIDTH, 3][..], &[HEIGHT, WIDTH, 3], &[HEIGHT, WIDTH, 1], &[HEIGHT, WIDTH, 1]]
    );
    for frame in 0..FRAMES {
        let file = |name: &str| opened(&found.files[name][frame as usize]);
        let colour = levels(frame, WIDTH * HEIGHT * 3);
        assert_eq!(file("rgb"), (WIDTH, HEIGHT, png::ColorType::Rgb, colour));
        let grey = levels(frame, WIDTH * HEIGHT).into_iter().flat_map(|level| [level; 3]).collect();
        assert_eq!(file("mono"), (WIDTH, HEIGHT, png::ColorType::Rgb, grey));
        let deep: Vec<u8> = depths(frame).iter().flat_map(|level| level.to_be_bytes()).collect();
        for name in ["depth", "packed"] {
            assert_eq!(file(name), (WIDTH, HEIGHT, png::ColorType::Grayscale, deep.clone()), "{name}");
        }
        assert_eq!(found.files["packed"][frame as usize], depth_file(&depths(frame)), "it passes as it came");
    }
    let mut counts = BTreeMap::new();
    (0..FRAMES).flat_map(depths).for_each(|level| *counts.entry(level).or_insert(0_u64) += 1);
    for name in ["depth", "packed"] {
        assert_eq!(
            (found.note.images[name].frames, &found.note.images[name].depth),
            (FRAMES, &counts),
            "{name}"
        );
    }
    let mut reds = vec![0_u64; 256];
    for frame in 0..FRAMES {
        levels(frame, WIDTH * HEIGHT * 3).iter().step_by(3).for_each(|red| reds[usize::from(*red)] += 1);
    }
    assert_eq!(found.note.images["rgb"].channels[0], reds);
    assert!(found.note.images["rgb"].depth.is_empty());
}

#[test]
fn a_transform_changes_shape_file_and_counts() {
    let keys = "crop = [1, 0, 2, 3]\nrotate = 90";
    let mapping =
        mapping(&[("part", "/rgb", keys), ("small", "/depth", "resize = [2, 1]"), ("whole", "/rgb", "")]);
    let found = convert(&recording((0..FRAMES).map(said)), &mapping).unwrap();
    let shapes: Vec<&[u32]> = found.episode.features.iter().map(|feature| &feature.shape[..]).collect();
    assert_eq!(shapes, [&[2, 3, 3][..], &[1, 2, 1], &[HEIGHT, WIDTH, 3]]);
    for frame in 0..FRAMES {
        let whole = levels(frame, WIDTH * HEIGHT * 3);
        let pixel = |x: u32, y: u32| whole[((y * WIDTH + x) * 3) as usize..][..3].to_vec();
        // Columns 1 and 2, from the bottom to the top.
        let part = [(1, 2), (1, 1), (1, 0), (2, 2), (2, 1), (2, 0)].map(|(x, y)| pixel(x, y)).concat();
        assert_eq!(opened(&found.files["part"][frame as usize]), (3, 2, png::ColorType::Rgb, part));
        let deep = depths(frame);
        // Of four columns the second and the last, of three rows the middle one.
        let small = [deep[5], deep[7]].into_iter().flat_map(u16::to_be_bytes).collect();
        assert_eq!(opened(&found.files["small"][frame as usize]), (2, 1, png::ColorType::Grayscale, small));
    }
    assert_eq!(found.note.images["part"].channels[0].iter().sum::<u64>(), FRAMES * 6);
    assert_eq!(found.note.images["small"].depth.values().sum::<u64>(), FRAMES * 2);
}

#[test]
fn a_picture_that_cannot_be_taken_is_an_error_that_names_its_topic() {
    let refused = |mapping: &str, frames: Vec<Vec<(&'static str, Value)>>| {
        convert(&recording(frames.into_iter()), mapping).err().unwrap().to_string()
    };
    let rgb = mapping(&[("rgb", "/rgb", "")]);
    let bayer = vec![vec![("/rgb", raw("bayer_rggb8", 1, &[0; 12]))]; 3];
    let found = refused(&rgb, bayer);
    assert!(found.contains("/rgb") && found.contains("\"bayer_rggb8\""), "{found}");
    let mut short: Vec<_> = (0..3).map(said).collect();
    short[1][0].1["step"] = json!(4_000_000_000_u32);
    let found = refused(&rgb, short);
    assert!(found.contains("/rgb at 0.100000000 s") && found.contains("too few for 3 rows"), "{found}");
    let outside = mapping(&[("rgb", "/rgb", "crop = [3, 0, 2, 1]")]);
    let found = refused(&outside, (0..3).map(said).collect());
    assert!(found.contains("crop = [3, 0, 2, 1]") && found.contains("4 x 3"), "{found}");
}
