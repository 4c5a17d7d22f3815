//! What is written is read back, and nothing that is read can hurt.

use super::*;
use crate::storage::memory::MemoryStorage;
use crate::storage::{ObjectInfo, Storage};
use proptest::prelude::*;

fn stream() -> VideoStream {
    let record = vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];
    VideoStream { codec: Codec::H264, width: 128, height: 96, record, quality: 24, preset: None }
}

fn samples(sizes: &[u32]) -> SampleSizes {
    let mut samples = SampleSizes::default();
    for (at, bytes) in sizes.iter().enumerate() {
        assert!(samples.push(*bytes, at % 2 == 0));
    }
    samples
}

fn file(stream: &VideoStream, fps: u32, sizes: &[u32]) -> Vec<u8> {
    let samples = samples(sizes);
    let mut bytes = Mp4Plan { stream, fps, samples: &samples }.head();
    for (at, size) in sizes.iter().enumerate() {
        bytes.resize(bytes.len() + *size as usize, at as u8);
    }
    bytes
}

fn read(bytes: &[u8]) -> Result<Track, Mp4Error> {
    let storage = MemoryStorage::new();
    storage.put("a.mp4", bytes).unwrap();
    let object: ObjectInfo = storage.head("a.mp4").unwrap();
    read_track(&storage, &object)
}

#[test]
fn a_file_says_what_it_was_made_of() {
    for codec in [Codec::H264, Codec::Av1] {
        let stream = VideoStream { codec, ..stream() };
        let sizes = [7, 1, 5, 300];
        let bytes = file(&stream, 30, &sizes);
        let track = read(&bytes).unwrap();
        assert_eq!(track.timescale, 15_360, "512 a frame");
        assert_eq!(track.times, [0, 512, 1024, 1536]);
        assert_eq!(track.sizes, sizes);
        assert_eq!(track.sync, Some(vec![1, 3]));
        assert_eq!(track.others, 0);
        assert_eq!(track.entry.kind, codec.entry());
        assert_eq!((track.entry.width, track.entry.height, &track.entry.record), (128, 96, &stream.record));
        for (at, (offset, size)) in track.offsets.iter().zip(sizes).enumerate() {
            let sample = &bytes[*offset as usize..][..size as usize];
            assert!(sample.iter().all(|byte| *byte == at as u8), "sample {at}");
        }
        assert_eq!(track.offsets[3] + 300, bytes.len() as u64);
    }
}

/// Beyond 4 GiB the samples' box has a long length; only the head is made here.
#[test]
fn a_large_file_has_a_long_length() {
    let samples = samples(&[u32::MAX, u32::MAX, 9]);
    let stream = stream();
    let head = Mp4Plan { stream: &stream, fps: 30, samples: &samples }.head();
    let tail = &head[head.len() - 16..];
    assert_eq!(&tail[..8], b"\0\0\0\x01mdat");
    assert_eq!(u64::from_be_bytes(tail[8..].try_into().unwrap()), 2 * u64::from(u32::MAX) + 9 + 16);
}

#[test]
fn what_lerobot_wrote_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proptests/data/lerobot_reference/video/videos");
    let bytes = std::fs::read(format!("{folder}/observation.images.front/chunk-000/file-000.mp4")).unwrap();
    let track = read(&bytes).unwrap();
    assert_eq!((track.timescale, track.times.len(), track.times[50]), (10_240, 51, 50 * 1024));
    assert_eq!((&track.entry.kind, track.entry.width, track.entry.height), (b"av01", 128, 96));
    assert_eq!(track.sync.as_deref().map(|sync| &sync[..3]), Some(&[1, 3, 5][..]));
    assert!(!track.entry.record.is_empty());
}

#[test]
fn info_has_the_keys_of_lerobot() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proptests/data/lerobot_reference/video/meta/info.json");
    let theirs: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let theirs = &theirs["features"]["observation.images.front"]["info"];
    let svt = VideoStream { codec: Codec::Av1, quality: 30, preset: Some("12".to_owned()), ..stream() };
    assert_eq!(&svt.info(10), theirs);
    assert_eq!(stream().info(10)["video.preset"], Value::Null);
    assert_eq!(stream().info(10)["video.codec"], "h264");
}

#[test]
fn a_stream_is_json_and_back() {
    let text = serde_json::to_string(&stream()).unwrap();
    assert!(text.contains("\"record\":\"0142c01effe1") && text.contains("\"codec\":\"h264\""), "{text}");
    assert_eq!(serde_json::from_str::<VideoStream>(&text).unwrap(), stream());
    for broken in ["0142c", "01zz", "é1"] {
        let text = text.replace("0142c01effe1", broken);
        assert!(serde_json::from_str::<VideoStream>(&text).is_err(), "{broken}");
    }
}

#[test]
fn parameter_sets_come_out_of_a_record() {
    assert_eq!(parameter_sets(&stream().record).unwrap(), [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68]);
    let mut short = stream().record;
    short[4] = 0xfc;
    assert_eq!(parameter_sets(&short), None, "lengths of one byte");
    for length in 0..stream().record.len() {
        assert_eq!(parameter_sets(&stream().record[..length]), None, "{length}");
    }
}

#[test]
fn what_is_no_video_is_named() {
    let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert!(refused(b"").contains("no index"));
    assert!(refused(&[9; 64]).contains("does not begin with ftyp"));
    assert!(refused(b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08moov").contains("no video track"));
    let whole = file(&stream(), 30, &[7, 1, 5]);
    assert!(refused(&whole[..whole.len() - 3]).contains("cut"));
    let swapped = |from: &[u8; 4], to: &[u8; 4]| {
        let at = whole.windows(4).position(|window| window == from).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(to);
        bytes
    };
    assert!(refused(&swapped(b"stsd", b"free")).contains("no sample entry"));
    assert!(refused(&swapped(b"stco", b"free")).contains("a place for 0 of its 3"));
    assert!(refused(&swapped(b"stts", b"free")).contains("times for 0 of its 3"));
    assert!(refused(&swapped(b"moov", b"free")).contains("no index"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A damaged index is an error or another index: no panic, and no more memory than the file has bytes times a little.
    #[test]
    fn bytes_changed_anywhere_do_no_harm(
        changes in prop::collection::vec((0usize..1200, any::<u8>()), 1..8),
        cut in prop::option::of(0usize..1200),
    ) {
        let mut bytes = file(&stream(), 30, &[7, 1, 5, 300, 9]);
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.min(bytes.len()));
        }
        if let Ok(track) = read(&bytes) {
            prop_assert_eq!(track.times.len(), track.sizes.len());
            prop_assert_eq!(track.offsets.len(), track.sizes.len());
            for (offset, size) in track.offsets.iter().zip(&track.sizes) {
                prop_assert!(offset + u64::from(*size) <= bytes.len() as u64);
            }
        }
        let _ = read_fragments(&bytes);
    }
}
