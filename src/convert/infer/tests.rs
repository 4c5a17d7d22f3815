//! Whole recordings to mappings: what comes out parses, and converts.

use super::*;
use crate::convert::mapping::{Content, Mapping, Task};
use crate::convert::recording::RecordingWork;
use crate::convert::testing::{MS, Said, crew, image, joints, png_file, recording, stored};
use crate::storage::SharedStorage;
use crate::storage::memory::MemoryStorage;
use serde_json::json;
use std::sync::Arc;

fn open(storage: &SharedStorage) -> Recording {
    Recording::open(storage.clone(), "in/one.mcap", &StopFlag::default()).unwrap()
}

fn inferred(said: &[Said]) -> (Inferred, SharedStorage) {
    let storage = stored(&recording(said, 1000));
    (infer(&open(&storage), &StopFlag::default()).unwrap(), storage)
}

fn said() -> Vec<Said> {
    let mut said: Vec<Said> = vec![("/task", 0, json!({ "data": "stack" }))];
    for ms in (0..=3000).step_by(20) {
        said.push(joints(ms, &["b\"1", "a"], &[1.0, 2.0]));
        said.push(("/arm/command", ms * MS, json!({ "data": [1.0, 2.0] })));
        if ms % 100 == 0 {
            said.push(image(ms, &png_file(2, 2, 1)));
        }
    }
    said
}

#[test]
fn joints_command_camera_and_task_are_found() {
    let (inferred, storage) = inferred(&said());
    let mapping = Mapping::parse("guess.toml", &inferred.mapping_text).unwrap();
    assert_eq!(mapping.fps, 10, "the camera's");
    assert!(matches!(&mapping.task, Task::Topic { topic, .. } if topic.value == "/task"));
    let names: Vec<&str> = mapping.features.iter().map(|feature| feature.name.value.as_str()).collect();
    assert_eq!(names, ["observation.state", "action", "observation.images.camera"]);
    let Content::Vector { sources, .. } = &mapping.features[0].content else { panic!("{mapping:?}") };
    let select: Vec<&str> = sources[0].select.iter().map(|name| name.value.as_str()).collect();
    assert_eq!(select, ["b\"1", "a"]);
    assert!(inferred.notes.is_empty(), "{:?}", inferred.notes);
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let work = RecordingWork::open(
        storage,
        "in/one.mcap",
        "one",
        staging,
        "j/",
        &mapping,
        100,
        &crew(1),
        &StopFlag::default(),
    )
    .unwrap();
    let episodes: Vec<_> = work.episodes().map(|episode| (episode.frames, episode.task.as_str())).collect();
    assert_eq!(episodes, [(31, "stack")]);
}

#[test]
fn without_a_command_the_action_is_the_next_state() {
    let said: Vec<Said> = said().into_iter().filter(|(topic, ..)| *topic == "/joints").collect();
    let (inferred, _) = inferred(&said);
    let mapping = Mapping::parse("guess.toml", &inferred.mapping_text).unwrap();
    assert_eq!(mapping.features[1].content, Content::Shifted { from: 0, shift_frames: 1 });
    assert_eq!(mapping.task, Task::Text("unspecified task".to_owned()));
    assert_eq!(mapping.fps, 30, "the state's 50, capped");
    assert_eq!(inferred.notes.len(), 2);
}

#[test]
fn structs_are_taken_whole_and_stamps_never() {
    let twist = json!({ "header": { "stamp": { "sec": 1, "nanosec": 2 } },
        "linear": { "x": 1.0, "y": 0.0, "z": 0.0 }, "angular": { "x": 0.0, "y": 0.0, "z": 1.0 } });
    let pose = json!({ "x": 1.0, "y": 2.0, "theta": 3.0, "timestamp": { "sec": 1, "nsec": 2 } });
    let said: Vec<Said> = (0..50)
        .flat_map(|k| {
            [("/base/cmd_vel", k * 20 * MS, twist.clone()), ("/base/pose", k * 20 * MS, pose.clone())]
        })
        .collect();
    let (inferred, _) = inferred(&said);
    let mapping = Mapping::parse("guess.toml", &inferred.mapping_text).unwrap();
    let fields = |at: usize| match &mapping.features[at].content {
        Content::Vector { sources, .. } => {
            let mut fields: Vec<String> =
                sources.iter().filter_map(|s| Some(s.field.clone()?.value)).collect();
            fields.sort();
            fields
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(fields(0), ["theta", "x", "y"]);
    assert_eq!(fields(1), ["angular", "linear"]);
}

#[test]
fn nothing_that_fits_lists_the_topics() {
    let said: Vec<Said> = vec![("/chatter", 0, json!({ "data": "hello" }))];
    let storage = stored(&recording(&said, 1000));
    let error = infer(&open(&storage), &StopFlag::default()).unwrap_err().to_string();
    assert!(
        error.contains("write a mapping and give it by --mapping") && error.contains("/chatter"),
        "{error}"
    );
}

#[test]
fn a_file_without_topics_says_so() {
    let storage = stored(&recording(&[], 1000));
    let error = infer(&open(&storage), &StopFlag::default()).unwrap_err().to_string();
    assert_eq!(error, "in/one.mcap: it holds no topics, so there is nothing to convert");
}

#[test]
fn the_file_reads_like_this() {
    let (inferred, _) = inferred(&said());
    let expected = r#"# Guessed from the topics of one.mcap: read it, correct it, and give it by --mapping.

fps = 10  # the slowest camera has 10.0 frames a second
time = "log"  # which stamp orders messages: log | publish | header
# robot_type = "so101"

[task]
topic = "/task"
field = "data"

[[feature]]
name = "observation.state"
align = "latest"  # latest at or before the frame | nearest | linear
# tolerance_ms = 100  # how far a message may be from its frame
# on_missing = "drop"  # drop the frame | hold the last value | fail the episode
[[feature.source]]  # 151 messages, 50.0 a second
topic = "/joints"
field = "position"
select = ['b"1', "a"]

[[feature]]
name = "action"
align = "latest"  # latest at or before the frame | nearest | linear
# tolerance_ms = 100  # how far a message may be from its frame
# on_missing = "drop"  # drop the frame | hold the last value | fail the episode
[[feature.source]]  # 151 messages, 50.0 a second
topic = "/arm/command"
field = "data"

[[feature]]
name = "observation.images.camera"
kind = "image"  # JPEG and PNG files as they came, raw pixels as PNG
source = [{ topic = "/camera" }]  # 31 messages, 10.0 a second

[episodes]
split = "file"  # one episode a file
"#;
    assert_eq!(inferred.mapping_text, expected);
}
