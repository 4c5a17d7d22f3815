//! A batch added to a dataset: behind what is there, published last, and killed at any instant without harm.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

use bytes::Bytes;
use roboflow::error::{Class, Classified};
use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork};
use roboflow::lerobot::validate::{Depth, Report, validate};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{SharedStorage, Storage};
use roboflow::work::{StopFlag, Work, WorkError};
use roboflow_proptests::dying_storage::DyingStorage;
use roboflow_proptests::staged_episodes::{CAMERA, Episode, stage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

mod lerobot;
mod videos;

type Objects = BTreeMap<String, Bytes>;

const RECORD: &str = ".roboflow/append.json";
/// What an append replaces in place.
const REPLACED: [&str; 4] = ["meta/info.json", "meta/stats.json", "meta/tasks.parquet", "README.md"];

fn options(append: Option<&str>) -> AssembleOptions {
    AssembleOptions {
        mapping_text: "fps = 10\n".into(),
        scratch: format!("assembly/{}/", append.unwrap_or("first")),
        append: append.map(str::to_owned),
        ..AssembleOptions::default()
    }
}

fn staged(episodes: &[Episode]) -> (SharedStorage, Vec<String>) {
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let prefixes: Vec<String> = (0..episodes.len()).map(|number| format!("{number}/")).collect();
    for (prefix, episode) in prefixes.iter().zip(episodes) {
        stage(&staging, prefix, episode);
    }
    (staging, prefixes)
}

/// Assembles all of it, from the first segment on.
fn assemble(out: SharedStorage, episodes: &[Episode], append: Option<&str>) -> Result<(), WorkError> {
    let (staging, prefixes) = staged(episodes);
    let mut work = AssembleWork::open(staging, &prefixes, out, options(append))?;
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default())?;
    }
    Ok(())
}

fn memory(objects: &Objects) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (key, body) in objects {
        storage.put(key, body).unwrap();
    }
    storage
}

fn first() -> Vec<Episode> {
    vec![Episode::new("a.mcap", 25, "pick", 1), Episode::new("b.mcap", 9, "place", 2)]
}

fn second() -> Vec<Episode> {
    vec![
        Episode::new("c.mcap", 12, "place", 3),
        Episode::new("d.mcap", 7, "stack", 4),
        Episode::new("e.mcap", 11, "pick", 5),
    ]
}

/// A dataset of two episodes.
fn base() -> Objects {
    dataset(&first())
}

fn dataset(episodes: &[Episode]) -> Objects {
    let out = MemoryStorage::new();
    assemble(Arc::new(out.clone()), episodes, None).unwrap();
    out.snapshot()
}

fn appended(base: &Objects, episodes: &[Episode], owner: &str) -> Objects {
    let out = memory(base);
    assemble(Arc::new(out.clone()), episodes, Some(owner)).unwrap();
    out.snapshot()
}

fn check(objects: &Objects) -> Report {
    let shared: SharedStorage = Arc::new(memory(objects));
    validate(&shared, Depth::Index).unwrap()
}

fn json(objects: &Objects, key: &str) -> Value {
    serde_json::from_slice(&objects[key]).unwrap()
}

#[test]
fn episodes_stand_behind_those_that_were_there_whose_files_stay() {
    let before = base();
    let after = appended(&before, &second(), "one");
    let report = check(&after);
    assert!(report.is_valid() && report.advice.is_empty(), "{report:#?}");
    let summary = report.summary.unwrap();
    assert_eq!((summary.episodes, summary.frames, summary.tasks), (5, 64, 3));
    for (key, body) in before.iter().filter(|(key, _)| !REPLACED.contains(&key.as_str())) {
        assert!(after[key] == body, "{key} is as it was");
    }
    let new: Vec<&str> = after.keys().filter(|key| !before.contains_key(*key)).map(String::as_str).collect();
    assert_eq!(
        new,
        [
            RECORD,
            "data/chunk-000/file-001.parquet",
            "meta/episodes/chunk-000/file-001.parquet",
            "meta/roboflow/from-000002/mapping.toml",
            "meta/roboflow/from-000002/sync.json",
        ]
    );
    assert_eq!(json(&after, "meta/info.json")["splits"]["train"], "0:5");
    // What lerobot's aggregate_stats makes of the parts is what it makes of the episodes one by one.
    let whole = MemoryStorage::new();
    assemble(Arc::new(whole.clone()), &[first(), second()].concat(), None).unwrap();
    let (whole, parts) = (json(&whole.snapshot(), "meta/stats.json"), json(&after, "meta/stats.json"));
    for feature in ["observation.state", CAMERA, "index", "task_index"] {
        for stat in ["min", "max", "mean", "std", "count", "q01", "q50", "q99"] {
            let (one, other) = (flat(&whole[feature][stat]), flat(&parts[feature][stat]));
            assert!(!one.is_empty() && one.len() == other.len(), "{feature}/{stat}");
            for (one, other) in one.iter().zip(&other) {
                assert!((one - other).abs() <= 1e-9 * one.abs().max(1.0), "{feature}/{stat}: {one} {other}");
            }
        }
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(flat).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

#[test]
fn killed_at_every_call_the_old_dataset_stands_and_the_same_append_ends_in_the_same_bytes() {
    storm(&base(), &second());
}

/// Adds three episodes to a dataset of two with the tasks "pick" and "place", killed after each number of calls.
fn storm(before: &Objects, added: &[Episode]) {
    let want = appended(before, added, "one");
    let old_tasks = ["pick", "place"];
    let mut states = [0, 0];
    for calls in 0.. {
        let out = memory(before);
        let dying = DyingStorage::new(Arc::new(out.clone()), calls);
        let ended = assemble(Arc::new(dying.clone()), added, Some("one"));
        if let Err(error) = &ended {
            assert_eq!(error.class(), Class::Transient, "after {calls} calls: {error}");
        }
        let killed = out.snapshot();
        for (key, body) in before.iter().filter(|(key, _)| !REPLACED.contains(&key.as_str())) {
            assert!(killed[key] == body, "after {calls} calls {key} is another one");
        }
        let report = check(&killed);
        assert!(report.is_valid(), "after {calls} calls: {:#?}", report.problems);
        let published = killed["meta/info.json"] != before["meta/info.json"];
        assert_eq!(report.summary.unwrap().episodes, if published { 5 } else { 2 });
        states[usize::from(published)] += 1;
        let shared: SharedStorage = Arc::new(out.clone());
        let tasks = roboflow::lerobot::tasks::read_tasks(&shared).unwrap().rows;
        assert!(tasks.iter().map(|(_, text)| text).zip(old_tasks).all(|(text, old)| text == old));

        // Another process, from the first segment that is not known to be done: none.
        assemble(shared, added, Some("one")).unwrap();
        let got = out.snapshot();
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "after {calls} calls");
        assert!(got == want, "after {calls} calls the bytes are others");
        if ended.is_ok() {
            assert!(dying.left() <= 1, "the first count of calls that is enough");
            break;
        }
    }
    assert!(states[0] > 40 && states[1] > 0, "killed before and after it was published: {states:?}");
}

#[test]
fn an_append_that_never_ended_gives_way_to_the_next_one() {
    let before = base();
    let want = appended(&before, &second()[..1], "two");
    // Images of 2.5 MB: two data files, so that the first append leaves one more than the second has.
    let mut large = second();
    large.iter_mut().for_each(|episode| episode.padding = 5_000_000);
    let out = memory(&before);
    let (staging, prefixes) = staged(&large);
    let mut work =
        AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options(Some("one"))).unwrap();
    assert_eq!(work.segments(), 3);
    work.run(0, &StopFlag::default()).unwrap();
    work.run(1, &StopFlag::default()).unwrap();
    assert!(out.head("data/chunk-000/file-002.parquet").is_ok() && check(&out.snapshot()).is_valid());

    assemble(Arc::new(out.clone()), &second()[..1], Some("two")).unwrap();
    assert!(out.snapshot() == want, "nothing of the first is left");
    let late = work.run(2, &StopFlag::default()).unwrap_err();
    assert_eq!(late.class(), Class::Permanent, "{late}");
    assert!(out.snapshot() == want, "and it writes nothing any more");
}

#[test]
fn batch_upon_batch_each_on_top_of_the_one_before() {
    let one = appended(&base(), &second()[..1], "one");
    let mut reordered = second()[1].clone();
    reordered.features.swap(0, 1);
    let two = appended(&one, &[reordered], "two");
    let report = check(&two);
    assert!(report.is_valid(), "{report:#?}");
    assert_eq!(report.summary.unwrap().episodes, 4);
    assert!(two.contains_key("data/chunk-000/file-002.parquet"));
    assert!(two.contains_key("meta/roboflow/from-000003/sync.json"));
    // Asked for again, as by a worker whose answer was lost, it changes nothing.
    let out = memory(&two);
    let mut again = second()[1].clone();
    again.features.swap(0, 1);
    assemble(Arc::new(out.clone()), &[again], Some("two")).unwrap();
    assert!(out.snapshot() == two);
}

#[test]
fn what_cannot_be_added_is_refused_and_nothing_is_written() {
    type Change = fn(&mut MemoryStorage, &mut Episode);
    fn edit(out: &MemoryStorage, from: &str, to: &str) {
        let text = String::from_utf8(out.read("meta/info.json", 1 << 20).unwrap().to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        out.put("meta/info.json", text.replacen(from, to, 1).as_bytes()).unwrap();
    }
    let cases: [(&str, Change); 11] = [
        ("20 frames a second", |out, _| edit(out, "\"fps\": 10", "\"fps\": 20")),
        ("of aloha", |out, _| edit(out, "\"so101\"", "\"aloha\"")),
        ("version v2.1", |out, _| edit(out, "v3.0", "v2.1")),
        ("500 files in a folder", |out, _| edit(out, "\"chunks_size\": 1000", "\"chunks_size\": 500")),
        ("its splits are", |out, _| edit(out, "0:2", "0:1")),
        ("no dataset to append to", |out, _| out.delete("meta/info.json").unwrap()),
        ("no episode is in data/chunk-000/file-007.parquet", |out, _| {
            out.put("data/chunk-000/file-007.parquet", b"x").unwrap();
        }),
        ("the dataset has the feature action", |_, episode| _ = episode.features.remove(1)),
        ("the recordings have the feature extra", |_, episode| {
            let mut extra = episode.features[4].clone();
            extra.name = "extra".into();
            episode.features.push(extra);
        }),
        ("action is float32 [2] in the dataset and float32 [3]", |_, episode| {
            episode.features[1].shape = vec![3];
        }),
        ("the elements [\"j0\", \"j1\", \"j2\"] in the dataset", |_, episode| {
            episode.features[0].names = Some(vec!["j1".into(), "j0".into(), "j2".into()]);
        }),
    ];
    for (want, change) in cases {
        let (mut out, mut episode) = (memory(&base()), second()[0].clone());
        change(&mut out, &mut episode);
        let before = out.snapshot();
        let error = assemble(Arc::new(out.clone()), &[episode], Some("one")).unwrap_err();
        assert_eq!(error.class(), Class::Permanent);
        assert!(error.to_string().contains(want), "{want}: {error}");
        let mut after = out.snapshot();
        after.remove(RECORD);
        after.retain(|key, _| !key.contains("file-001"));
        after.retain(|key, _| !key.contains("from-000002"));
        assert!(after == before, "{want}: nothing of the dataset is changed");
    }
}

#[test]
fn a_dataset_that_changes_meanwhile_stops_the_append() {
    let out = memory(&base());
    let (staging, prefixes) = staged(&second());
    let mut work =
        AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options(Some("one"))).unwrap();
    work.run(0, &StopFlag::default()).unwrap();
    let text = String::from_utf8(out.read("meta/info.json", 1 << 20).unwrap().to_vec()).unwrap();
    out.put("meta/info.json", text.replace("so101", "so102").as_bytes()).unwrap();
    let before = out.snapshot();
    let error = work.run(1, &StopFlag::default()).unwrap_err();
    assert!(error.to_string().contains("has changed since the append began"), "{error}");
    assert!(out.snapshot() == before);
}
