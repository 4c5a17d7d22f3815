//! Datasets with videos: one of ours, and what is done to one of lerobot's.

use crate::edit::{delete, edit_bytes, edit_json, edit_parquet, edit_text};
use crate::{EPISODES, INFO, Mutation, report};
use arrow::array::ArrayRef;
use roboflow::convert::crew::Crew;
use roboflow::convert::mapping::Mapping;
use roboflow::convert::recording::RecordingWork;
use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork};
use roboflow::lerobot::validate::Rule;
use roboflow::storage::fs::FsStorage;
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{SharedStorage, Storage};
use roboflow::work::{StopFlag, Work};
use roboflow_proptests::recording::Robot;
use roboflow_proptests::staged_episodes::CAMERA;
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;

const VIDEO: &str = "videos/observation.images.front/chunk-000/file-000.mp4";
const MAPPING: &str = "fps = 10
[task]
text = \"t\"
[[feature]]
name = \"observation.state\"
source = [{ topic = \"/joint_states\", field = \"position\" }]
[[feature]]
name = \"observation.images.front\"
kind = \"video\"
source = [{ topic = \"/camera_0/image/compressed\" }]
";

/// A recording converted, with a camera as H.264.
pub(crate) fn filmed() -> MemoryStorage {
    let folder = tempfile::tempdir().unwrap();
    Robot { seconds: 3.0, cameras: 1, ..Robot::default() }.write(&folder.path().join("a.mcap"));
    let input: SharedStorage = Arc::new(FsStorage::open(folder.path()).unwrap());
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let (mapping, stop) = (Mapping::parse("m.toml", MAPPING).unwrap(), StopFlag::default());
    let crew = Crew::new(NonZeroUsize::MIN).unwrap();
    let mut work =
        RecordingWork::open(input, "a.mcap", "a.mcap", staging.clone(), "0/", &mapping, 11, &crew, &stop)
            .unwrap();
    for segment in 0..work.segments() {
        work.run(segment, &stop).unwrap();
    }
    let out = MemoryStorage::new();
    let shared: SharedStorage = Arc::new(out.clone());
    let mut work =
        AssembleWork::open(staging, &["0/".to_owned()], shared, AssembleOptions::default()).unwrap();
    for segment in 0..work.segments() {
        work.run(segment, &stop).unwrap();
    }
    out
}

#[test]
fn every_frame_of_our_own_videos_decodes() {
    let report = report(&filmed());
    assert!(report.is_valid() && report.advice.is_empty() && report.unchecked.is_empty(), "{report:#?}");
}

pub(crate) const FILM_MUTATIONS: &[Mutation] = &[
    (Rule::VideoDecodes, VIDEO, "frame 0 is no whole sample", |s| {
        edit_bytes(s, VIDEO, b"mdat", |bytes, at| bytes[at + 4] = 0xff);
    }),
    (Rule::VideoDecodes, VIDEO, "frame", |s| {
        edit_bytes(s, VIDEO, b"mdat", |bytes, at| bytes[at + 8..].fill(0x65));
    }),
    (Rule::VideoDecodes, VIDEO, "configuration is damaged", |s| {
        edit_bytes(s, VIDEO, b"avcC", |bytes, at| bytes[at + 8] = 0);
    }),
];

pub(crate) const VIDEO_MUTATIONS: &[Mutation] = &[
    (Rule::VideoFiles, VIDEO, "missing", |s| delete(s, VIDEO)),
    (Rule::VideoFiles, VIDEO, "empty", |s| s.put(VIDEO, b"").unwrap()),
    (Rule::VideoFiles, EPISODES, "lasts 2.5 s", |s| {
        edit_parquet(s, EPISODES, |t| {
            let times = arrow::array::Float64Array::from(vec![2.0, 4.2, 5.1]);
            t.set("videos/observation.images.front/to_timestamp", Arc::new(times));
        });
    }),
    (Rule::VideoReadable, VIDEO, "ftyp", |s| s.put(VIDEO, &[9; 900]).unwrap()),
    (Rule::VideoReadable, VIDEO, "cut", |s| {
        let whole = s.read(VIDEO, 1 << 20).unwrap();
        s.put(VIDEO, &whole[..whole.len() - 1]).unwrap();
    }),
    (Rule::VideoReadable, VIDEO, "1 other tracks", |s| {
        edit_bytes(s, VIDEO, b"udta", |bytes, at| bytes[at..at + 4].copy_from_slice(b"trak"));
    }),
    (Rule::VideoFrames, VIDEO, "51 frames, its episodes have 50", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("length", |lengths| lengths[2] = 8));
    }),
    (Rule::VideoFrames, VIDEO, "episode 1 begins at 2.6 s", |s| {
        edit_parquet(s, EPISODES, |t| {
            let times = |values: Vec<f64>| -> ArrayRef { Arc::new(arrow::array::Float64Array::from(values)) };
            t.set("videos/observation.images.front/from_timestamp", times(vec![0.0, 2.6, 4.2]));
            t.set("videos/observation.images.front/to_timestamp", times(vec![2.5, 4.3, 5.1]));
        });
    }),
    (Rule::VideoTimes, VIDEO, "frame 2 is shown at 0.20019", |s| {
        // The only run of durations: each a tick longer.
        edit_bytes(s, VIDEO, b"stts", |bytes, at| bytes[at + 19] = 1);
    }),
    (Rule::VideoShape, VIDEO, "[96, 130]", |s| {
        edit_bytes(s, VIDEO, b"av01", |bytes, at| bytes[at + 29] = 130);
    }),
    (Rule::VideoShape, VIDEO, "info.json says h264", |s| {
        edit_json(s, INFO, |info| info["features"][CAMERA]["info"]["video.codec"] = json!("h264"))
    }),
    (Rule::VideoShape, VIDEO, "25", |s| {
        edit_json(s, INFO, |info| info["features"][CAMERA]["info"]["video.fps"] = json!(25))
    }),
    (Rule::VideoKeyFrames, VIDEO, "[2, 3", |s| {
        edit_bytes(s, VIDEO, b"stss", |bytes, at| bytes[at + 15] = 2);
    }),
    (Rule::VideoGop, VIDEO, "info.json says 1", |s| {
        edit_text(s, INFO, "\"video.g\": 2", "\"video.g\": 1");
    }),
    (Rule::InfoPaths, INFO, "video_path is null", |s| {
        edit_json(s, INFO, |info| info["video_path"] = Value::Null)
    }),
    (Rule::EpisodesColumns, EPISODES, "from_timestamp", |s| {
        edit_parquet(s, EPISODES, |t| {
            t.project(|name| name != "videos/observation.images.wrist/from_timestamp")
        });
    }),
];
