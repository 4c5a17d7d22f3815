//! Assembly of videos: what is staged comes out as mp4 files, whole, in order, and at its place in the episodes' table.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork};
use roboflow::lerobot::info::Version;
use roboflow::lerobot::parquet_file::ParquetIn;
use roboflow::lerobot::staged::{segment_key, segment_video_key};
use roboflow::lerobot::validate::{Depth, validate};
use roboflow::lerobot::video::{Track, read_track};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{SharedStorage, Storage};
use roboflow::work::{StopFlag, Work, WorkError};
use roboflow_proptests::staged_episodes::{CAMERA, Episode, SECOND_CAMERA, stage, video_features};
use serde_json::Value;
use std::sync::Arc;

const FIRST: &str = "videos/observation.images.front/chunk-000/file-000.mp4";
const LENGTHS: [u64; 3] = [25, 17, 9];

fn episodes() -> Vec<Episode> {
    let episode = |(number, length): (usize, u64)| Episode {
        features: video_features(),
        ..Episode::new(&format!("{number}.mcap"), length, "pick", number as u32)
    };
    LENGTHS.into_iter().enumerate().map(episode).collect()
}

fn staged(episodes: &[Episode]) -> (SharedStorage, Vec<String>) {
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let prefixes: Vec<String> = (0..episodes.len()).map(|number| format!("{number}/")).collect();
    for (episode, prefix) in episodes.iter().zip(&prefixes) {
        stage(&staging, prefix, episode);
    }
    (staging, prefixes)
}

fn open(staging: &SharedStorage, prefixes: &[String], out: &MemoryStorage) -> AssembleWork {
    let out: SharedStorage = Arc::new(out.clone());
    AssembleWork::open(Arc::clone(staging), prefixes, out, AssembleOptions::default()).unwrap()
}

fn assembled(episodes: &[Episode]) -> MemoryStorage {
    let (staging, prefixes) = staged(episodes);
    let out = MemoryStorage::new();
    let mut work = open(&staging, &prefixes, &out);
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default()).unwrap();
    }
    out
}

fn track(storage: &MemoryStorage, key: &str) -> Track {
    read_track(storage, &storage.head(key).unwrap()).unwrap()
}

/// The samples of a file.
fn samples(storage: &MemoryStorage, key: &str) -> Vec<Vec<u8>> {
    let (track, bytes) = (track(storage, key), storage.read(key, 1 << 24).unwrap());
    let places = track.offsets.iter().zip(&track.sizes);
    places.map(|(offset, size)| bytes[*offset as usize..][..*size as usize].to_vec()).collect()
}

fn table(storage: &MemoryStorage) -> RecordBatch {
    let shared: SharedStorage = Arc::new(storage.clone());
    let file = ParquetIn::open(&shared, "meta/episodes/chunk-000/file-000.parquet").unwrap();
    file.batches(1 << 20, |_| true).unwrap().next().unwrap().unwrap()
}

#[test]
fn episodes_follow_each_other_sample_by_sample() {
    let episodes = episodes();
    let out = assembled(&episodes);
    for camera in [CAMERA, SECOND_CAMERA] {
        let key = FIRST.replace(CAMERA, camera);
        let wanted: Vec<Vec<u8>> = episodes
            .iter()
            .flat_map(|episode| (0..episode.frames).map(|frame| episode.sample(camera, frame)))
            .collect();
        assert_eq!(samples(&out, &key), wanted);
        let track = track(&out, &key);
        assert_eq!(track.timescale, 5120);
        assert_eq!(track.times, (0..51).map(|frame| frame * 512).collect::<Vec<i64>>());
        // Segments of ten frames: the first and every second one of each decodes alone.
        let starts = [0, 10, 20, 25, 35, 42];
        let ends = [10, 20, 25, 35, 42, 51];
        let sync = starts.iter().zip(ends).flat_map(|(from, to)| (from + 1..=to).step_by(2));
        assert_eq!(track.sync.unwrap(), sync.collect::<Vec<u32>>());
        let table = table(&out);
        let column = |part: &str| table.column_by_name(&format!("videos/{camera}/{part}")).unwrap().clone();
        assert_eq!(column("file_index").as_primitive::<Int64Type>().values(), &[0, 0, 0]);
        assert_eq!(column("from_timestamp").as_primitive::<Float64Type>().values(), &[0.0, 2.5, 4.2]);
        assert_eq!(column("to_timestamp").as_primitive::<Float64Type>().values(), &[2.5, 4.2, 5.1]);
    }
    let shared: SharedStorage = Arc::new(out.clone());
    let report = validate(&shared, Depth::Index).unwrap();
    assert!(report.is_valid() && report.advice.is_empty(), "{report:#?}");
    let info: Value = serde_json::from_slice(&out.read("meta/info.json", 1 << 20).unwrap()).unwrap();
    assert_eq!(info["features"][CAMERA]["info"]["video.codec"], "h264");
    assert_eq!(info["video_path"], "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4");
}

#[test]
fn the_table_has_the_columns_of_lerobot_in_its_order() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/lerobot_reference/video");
    let theirs: SharedStorage = Arc::new(roboflow::storage::fs::FsStorage::open(path.as_ref()).unwrap());
    let theirs = ParquetIn::open(&theirs, "meta/episodes/chunk-000/file-000.parquet").unwrap();
    let videos = |schema: &arrow::datatypes::Schema| -> Vec<(usize, String, arrow::datatypes::DataType)> {
        let fields = schema.fields().iter().enumerate();
        let videos = fields.filter(|(_, field)| field.name().starts_with("videos/"));
        videos.map(|(at, field)| (at, field.name().clone(), field.data_type().clone())).collect()
    };
    assert_eq!(videos(&table(&assembled(&episodes())).schema()), videos(theirs.schema()));
}

/// In any order, some twice, by another worker each: the same bytes.
#[test]
fn segments_run_again_and_elsewhere_give_the_same_bytes() {
    let episodes = episodes();
    let whole = assembled(&episodes).snapshot();
    let (staging, prefixes) = staged(&episodes);
    let out = MemoryStorage::new();
    let segments = open(&staging, &prefixes, &out).segments();
    assert_eq!(segments, 4, "data, two videos, metadata");
    for segment in [2, 0, 1, 2, 0, 3] {
        open(&staging, &prefixes, &out).run(segment, &StopFlag::default()).unwrap();
    }
    assert_eq!(out.snapshot(), whole);
}

#[test]
fn other_parameters_of_the_decoder_begin_another_file() {
    let mut episodes = episodes();
    episodes[1].record = vec![1, 0x43];
    let out = assembled(&episodes);
    let lengths: Vec<usize> = (0..3)
        .map(|file| track(&out, &FIRST.replace("000.mp4", &format!("00{file}.mp4"))).times.len())
        .collect();
    assert_eq!(lengths, [25, 17, 9]);
    assert_eq!(track(&out, &FIRST.replace("000.mp4", "001.mp4")).entry.record, [1, 0x43]);
    let table = table(&out);
    let from = table.column_by_name(&format!("videos/{CAMERA}/from_timestamp")).unwrap();
    assert_eq!(from.as_primitive::<Float64Type>().values(), &[0.0, 0.0, 0.0]);
    let shared: SharedStorage = Arc::new(out);
    let report = validate(&shared, Depth::Index).unwrap();
    assert!(report.is_valid(), "{report:#?}");
}

/// Why the assembly of what is staged fails once `break_it` was at it.
fn refused(break_it: impl FnOnce(&SharedStorage)) -> String {
    let (staging, prefixes) = staged(&episodes());
    break_it(&staging);
    let out: SharedStorage = Arc::new(MemoryStorage::new());
    let opened = AssembleWork::open(staging, &prefixes, out, AssembleOptions::default());
    let error = match opened {
        Err(error) => error,
        Ok(mut work) => {
            let ran = (0..work.segments()).find_map(|segment| work.run(segment, &StopFlag::default()).err());
            ran.unwrap()
        }
    };
    assert!(matches!(error, WorkError::Permanent(_)), "{error:?}");
    error.to_string()
}

#[test]
fn what_is_damaged_in_staging_is_named() {
    let samples = segment_video_key(&segment_key("1/e000/", 0), 7);
    let cut = refused(|staging| {
        let bytes = staging.read(&samples, 1 << 20).unwrap();
        staging.put(&samples, &bytes[1..]).unwrap();
    });
    assert!(cut.contains(&samples) && cut.contains("convert 1.mcap again"), "{cut}");
    assert!(refused(|staging| staging.delete(&samples).unwrap()).contains(&samples));
    let stream = refused(|staging| {
        let key = "1/e000/episode.json";
        let text = String::from_utf8(staging.read(key, 1 << 20).unwrap().to_vec()).unwrap();
        staging.put(key, text.replace("\"record\":\"0142\"", "\"record\":\"0143\"").as_bytes()).unwrap();
    });
    assert!(stream.contains("another encoder made this segment"), "{stream}");
    let codec = refused(|staging| {
        let key = "1/e000/episode.json";
        let text = String::from_utf8(staging.read(key, 1 << 20).unwrap().to_vec()).unwrap();
        staging.put(key, text.replace("\"codec\":\"h264\"", "\"codec\":\"av1\"").as_bytes()).unwrap();
    });
    assert!(codec.contains("is h264 of quality 24 in 0.mcap and av1 of quality 24 in 1.mcap"), "{codec}");
}

/// A smaller dataset over a larger one, or one without videos, leaves no video that a loader would find.
#[test]
fn videos_of_an_older_dataset_go() {
    let mut larger = episodes();
    larger[1].record = vec![1, 0x43];
    let (staging, prefixes) = staged(&larger);
    let out = MemoryStorage::new();
    let run = |staging: &SharedStorage, prefixes: &[String]| {
        let mut work = open(staging, prefixes, &out);
        for segment in 0..work.segments() {
            work.run(segment, &StopFlag::default()).unwrap();
        }
        out.list("videos/").unwrap().map(|object| object.unwrap().key).collect::<Vec<_>>()
    };
    assert_eq!(run(&staging, &prefixes).len(), 6);
    out.put("videos/notes.txt", b"mine").unwrap();
    assert_eq!(run(&staging, &prefixes[..1]).len(), 3, "one a video, and what is not ours");
    let plain = vec![Episode::new("0.mcap", 5, "pick", 0)];
    let (staging, prefixes) = staged(&plain);
    assert_eq!(run(&staging, &prefixes), ["videos/notes.txt"]);
}

#[test]
fn v21_has_a_file_of_each_video_an_episode() {
    let mut episodes = episodes();
    episodes[1].record = vec![1, 0x43];
    let (staging, prefixes) = staged(&episodes);
    let out = MemoryStorage::new();
    let old = [
        "videos/chunk-000/observation.images.front/episode_000007.mp4",
        "videos/chunk-000/gone/episode_000000.mp4",
    ];
    old.iter().for_each(|key| out.put(key, b"of an older dataset").unwrap());
    out.put("videos/notes.txt", b"mine").unwrap();
    let shared: SharedStorage = Arc::new(out.clone());
    let options = || AssembleOptions { version: Version::V21, ..AssembleOptions::default() };
    let run = || {
        let mut work =
            AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options()).unwrap();
        for segment in 0..work.segments() {
            work.run(segment, &StopFlag::default()).unwrap();
        }
        out.snapshot()
    };
    let written = run();
    let mut wanted = vec!["videos/notes.txt".to_owned()];
    for (number, episode) in episodes.iter().enumerate() {
        for camera in [CAMERA, SECOND_CAMERA] {
            let key = format!("videos/chunk-000/{camera}/episode_{number:06}.mp4");
            let samples_of: Vec<Vec<u8>> =
                (0..episode.frames).map(|frame| episode.sample(camera, frame)).collect();
            assert_eq!(samples(&out, &key), samples_of);
            let track = track(&out, &key);
            assert_eq!((track.entry.record, track.times[0]), (episode.record.clone(), 0));
            wanted.push(key);
        }
    }
    wanted.sort();
    let keys: Vec<_> = written.keys().filter(|key| key.starts_with("videos/")).cloned().collect();
    assert_eq!(keys, wanted);
    let info: Value = serde_json::from_slice(&written["meta/info.json"]).unwrap();
    let path = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4";
    assert_eq!((&info["video_path"], &info["total_videos"]), (&path.into(), &6.into()));
    let said = &info["features"][CAMERA]["info"];
    assert_eq!((&said["video.codec"], &said["video.fps"]), (&"h264".into(), &10.into()));
    assert!(run() == written, "again, as after a crash");
}
