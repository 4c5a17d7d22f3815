//! `validate` accepts what lerobot and this program write, and names each rule that is broken on purpose.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test at once")]

mod edit;
mod videos;

use arrow::array::{ArrayRef, AsArray, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type};
use bytes::Bytes;
use edit::{delete, edit_json, edit_parquet, edit_text};
use parquet::basic::Compression;
use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork};
use roboflow::lerobot::validate::{Depth, Report, Rule, validate};
use roboflow::storage::fs::FsStorage;
use roboflow::storage::memory::{Fault, FaultKind, MemoryStorage};
use roboflow::storage::{SharedStorage, Storage};
use roboflow::work::{StopFlag, Work};
use roboflow_proptests::staged_episodes::{CAMERA, Episode, stage};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use videos::{FILM_MUTATIONS, VIDEO_MUTATIONS, filmed};

const DATA: &str = "data/chunk-000/file-000.parquet";
const EPISODES: &str = "meta/episodes/chunk-000/file-000.parquet";
const TASKS: &str = "meta/tasks.parquet";
const INFO: &str = "meta/info.json";
const RECORD: &str = ".roboflow/append.json";
const STATS: &str = "meta/stats.json";
const LENGTHS: [usize; 3] = [25, 17, 9];

fn reference(name: &str) -> MemoryStorage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/lerobot_reference").join(name);
    let folder = FsStorage::open(&path).unwrap();
    let storage = MemoryStorage::new();
    for object in folder.list("").unwrap() {
        let key = object.unwrap().key;
        storage.put(&key, &folder.read(&key, 1 << 20).unwrap()).unwrap();
    }
    storage
}

/// Three episodes, of 25, 17 and 9 frames, the last of another task.
fn ours() -> MemoryStorage {
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let tasks = ["pick", "pick", "place"];
    for (number, (length, task)) in LENGTHS.into_iter().zip(tasks).enumerate() {
        stage(
            &staging,
            &format!("{number}/"),
            &Episode::new(&format!("{number}.mcap"), length as u64, task, number as u32),
        );
    }
    let out = MemoryStorage::new();
    let prefixes = ["0/".to_owned(), "1/".to_owned(), "2/".to_owned()];
    let mut work =
        AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), AssembleOptions::default()).unwrap();
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default()).unwrap();
    }
    out
}

fn report(storage: &MemoryStorage) -> Report {
    let shared: SharedStorage = Arc::new(storage.clone());
    validate(&shared, Depth::Frames).unwrap()
}

#[test]
fn what_lerobot_and_this_program_write_is_valid() {
    for (name, storage) in [
        ("none", reference("none")),
        ("image", reference("image")),
        ("video", reference("video")),
        ("ours", ours()),
    ] {
        storage.put("staging/left-over", b"x").unwrap();
        let report = report(&storage);
        assert!(report.is_valid() && report.advice.is_empty(), "{name}: {report:#?}");
        let summary = report.summary.unwrap();
        assert_eq!((summary.episodes, summary.frames, summary.tasks), (3, 51, 2), "{name}");
        assert!(summary.bytes > 10_000 && summary.features.len() >= 7);
        assert_eq!(report.unchecked.len(), usize::from(name == "video"));
    }
}

/// The fixture's data file with the same rows is still valid: the tool itself breaks nothing.
#[test]
fn taking_a_file_apart_and_together_breaks_nothing() {
    let storage = ours();
    for key in [DATA, EPISODES, TASKS] {
        edit_parquet(&storage, key, |_| {});
    }
    let report = report(&storage);
    assert!(report.is_valid() && report.advice.is_empty(), "{report:#?}");
}

/// Which rule, in which file, with which words; and what breaks it.
type Mutation = (Rule, &'static str, &'static str, fn(&MemoryStorage));

const INFO_MUTATIONS: &[Mutation] = &[
    (Rule::InfoReadable, INFO, "missing", |s| delete(s, INFO)),
    (Rule::InfoReadable, INFO, "line 1", |s| s.put(INFO, b"{\"fps\": 10").unwrap()),
    (Rule::InfoReadable, INFO, "line 3", |s| edit_text(s, INFO, "\"fps\": 10", "\"fps\": -1")),
    (Rule::InfoReadable, INFO, "twice", |s| edit_text(s, INFO, "\"action\": {", "\"observation.state\": {")),
    (Rule::InfoVersion, INFO, "v2.1", |s| edit_text(s, INFO, "v3.0", "v2.1")),
    (Rule::InfoFps, INFO, "0", |s| edit_text(s, INFO, "\"fps\": 10", "\"fps\": 0")),
    (Rule::InfoFeatures, INFO, "complex64", |s| edit_text(s, INFO, "\"float64\"", "\"complex64\"")),
    (Rule::InfoFeatures, INFO, "`/`", |s| {
        edit_text(s, INFO, "\"observation.force\"", "\"observation/force\"")
    }),
    (Rule::InfoFeatures, INFO, "names", |s| edit_text(s, INFO, "\"j0\",", "")),
    (Rule::InfoIndexFeatures, INFO, "task_index", |s| {
        edit_json(s, INFO, |info| _ = info["features"].as_object_mut().unwrap().remove("task_index"));
    }),
    (Rule::InfoIndexFeatures, INFO, "timestamp", |s| {
        edit_text(
            s,
            INFO,
            "\"timestamp\": {\n            \"dtype\": \"float32\"",
            "\"timestamp\": {\"dtype\": \"float64\"",
        );
    }),
    (Rule::InfoTotals, INFO, "total_episodes", |s| {
        edit_json(s, INFO, |info| info["total_episodes"] = json!(4))
    }),
    (Rule::InfoTotals, INFO, "total_frames", |s| edit_json(s, INFO, |info| info["total_frames"] = json!(50))),
    (Rule::InfoTotals, INFO, "total_tasks", |s| edit_json(s, INFO, |info| info["total_tasks"] = json!(1))),
    (Rule::InfoSizes, INFO, "chunks_size", |s| edit_json(s, INFO, |info| info["chunks_size"] = json!(0))),
    (Rule::InfoPaths, INFO, "file_index", |s| edit_text(s, INFO, "file-{file_index:03d}", "file")),
    (Rule::InfoPaths, INFO, "leads out", |s| edit_text(s, INFO, "data/chunk-", "../data/chunk-")),
    (Rule::InfoSplits, INFO, "0:4", |s| edit_text(s, INFO, "0:3", "0:4")),
    (Rule::InfoSplits, INFO, "no split", |s| edit_json(s, INFO, |info| info["splits"] = json!({}))),
];

const META_MUTATIONS: &[Mutation] = &[
    (Rule::AppendRecord, RECORD, "line 1", |s| s.put(RECORD, b"{\"version\": 1").unwrap()),
    (Rule::TasksReadable, TASKS, "missing", |s| delete(s, TASKS)),
    (Rule::TasksReadable, TASKS, "Parquet", |s| s.put(TASKS, b"PAR1").unwrap()),
    (Rule::TasksReadable, TASKS, "task_index", |s| {
        edit_parquet(s, TASKS, |t| t.project(|name| name == "task"))
    }),
    (Rule::TasksIndex, TASKS, "pandas", |s| edit_parquet(s, TASKS, |t| t.notes.clear())),
    (Rule::TasksOrder, TASKS, "task_index 7", |s| {
        edit_parquet(s, TASKS, |t| t.integers("task_index", |v| v[1] = 7))
    }),
    (Rule::TasksOrder, TASKS, "twice", |s| {
        edit_parquet(s, TASKS, |t| t.set("task", Arc::new(StringArray::from(vec!["pick", "pick"]))));
    }),
    (Rule::EpisodesReadable, EPISODES, "missing", |s| delete(s, EPISODES)),
    (Rule::EpisodesReadable, EPISODES, "Parquet", |s| {
        let cut = s.read(EPISODES, 1 << 20).unwrap().slice(..5000);
        s.put(EPISODES, &cut).unwrap();
    }),
    (Rule::EpisodesColumns, EPISODES, "stats/action/q90", |s| {
        edit_parquet(s, EPISODES, |t| t.project(|name| name != "stats/action/q90"));
    }),
    (Rule::EpisodesColumns, EPISODES, "length", |s| {
        edit_parquet(s, EPISODES, |t| t.project(|name| name != "length"))
    }),
    (Rule::EpisodesOrder, EPISODES, "episode_index 5", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("episode_index", |v| v[1] = 5));
    }),
    (Rule::EpisodesRange, EPISODES, "from 26", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("dataset_from_index", |v| v[1] = 26));
    }),
    (Rule::EpisodesRange, EPISODES, "length 16", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("length", |v| v[1] = 16))
    }),
    (Rule::EpisodesRange, EPISODES, "below 0", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("length", |v| v[1] = -1))
    }),
    (Rule::EpisodesTasks, EPISODES, "not in tasks.parquet", |s| {
        edit_parquet(s, TASKS, |t| t.set("task", Arc::new(StringArray::from(vec!["pick", "other"]))));
    }),
    (Rule::EpisodesTasks, EPISODES, "does not name", |s| {
        edit_parquet(s, DATA, |t| t.integers("task_index", |v| v[0] = 1));
    }),
    (Rule::EpisodesPlace, EPISODES, "chunk 1", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("meta/episodes/chunk_index", |v| v[2] = 1));
    }),
    (Rule::DataStray, "data/chunk-000/file-001.parquet", "no episode", |s| {
        let copy = s.read(DATA, 1 << 24).unwrap();
        s.put("data/chunk-000/file-001.parquet", &copy).unwrap();
    }),
    (Rule::StatsReadable, STATS, "missing", |s| delete(s, STATS)),
    (Rule::StatsReadable, STATS, "line", |s| s.put(STATS, b"{\"action\": {\"min\": [NaN]}}").unwrap()),
    (Rule::StatsKeys, STATS, "action/q50", |s| {
        edit_json(s, STATS, |stats| _ = stats["action"].as_object_mut().unwrap().remove("q50"));
    }),
    (Rule::StatsKeys, STATS, "index", |s| {
        edit_json(s, STATS, |stats| _ = stats.as_object_mut().unwrap().remove("index"));
    }),
    (Rule::StatsShape, STATS, "action/min", |s| {
        edit_json(s, STATS, |stats| stats["action"]["min"] = json!([1.0]))
    }),
    (Rule::StatsShape, STATS, "[3, 1, 1]", |s| {
        edit_json(s, STATS, |stats| stats[CAMERA]["mean"] = json!([0.5, 0.5, 0.5]));
    }),
    (Rule::StatsValues, STATS, "action[1]/std", |s| {
        edit_json(s, STATS, |stats| stats["action"]["std"] = json!([1.0, -1.0]));
    }),
    (Rule::StatsValues, STATS, "q99", |s| {
        edit_json(s, STATS, |stats| stats["action"]["q99"] = json!([-99.0, -99.0]));
    }),
    (Rule::StatsValues, STATS, "count", |s| {
        edit_json(s, STATS, |stats| stats["action"]["count"] = json!([50]))
    }),
    (Rule::StatsValues, STATS, "mean", |s| {
        edit_json(s, STATS, |stats| stats[CAMERA]["mean"] = json!([[[1.5]], [[0.1]], [[1.0]]]));
    }),
    (Rule::StatsMatch, STATS, "observation.state[0]/max", |s| {
        edit_json(s, STATS, |stats| stats["observation.state"]["max"][0] = json!(24.5));
    }),
    (Rule::StatsMatch, STATS, "observation.force[2]/mean", |s| {
        edit_json(s, STATS, |stats| stats["observation.force"]["mean"][2] = json!(3.0));
    }),
];

const DATA_MUTATIONS: &[Mutation] = &[
    (Rule::DataReadable, DATA, "missing", |s| delete(s, DATA)),
    (Rule::DataReadable, DATA, "missing", |s| {
        let whole = s.read(DATA, 1 << 24).unwrap();
        s.put("data/chunk-000/file-007.parquet", &whole).unwrap();
        delete(s, DATA);
    }),
    (Rule::DataReadable, DATA, "", |s| {
        // The footer is whole, the first pages are not.
        let mut bytes = s.read(DATA, 1 << 24).unwrap().to_vec();
        bytes[4..400].fill(0xff);
        s.put(DATA, &bytes).unwrap();
    }),
    (Rule::DataSchema, DATA, "action is missing", |s| {
        edit_parquet(s, DATA, |t| t.project(|name| name != "action"))
    }),
    (Rule::DataSchema, DATA, "observation.gripper is Float64", |s| {
        edit_parquet(s, DATA, |t| {
            let wide = arrow::compute::cast(
                t.rows.column_by_name("observation.gripper").unwrap(),
                &DataType::Float64,
            );
            t.set("observation.gripper", wide.unwrap());
        });
    }),
    (Rule::DataSchema, DATA, "instead of float32 [4]", |s| {
        edit_text(
            s,
            INFO,
            "\"shape\": [\n                3\n            ],\n            \"names\": [\n                \"j0\",",
            "\"shape\": [4], \"names\": [\"j\", \"j0\",",
        );
    }),
    (Rule::DataSchema, DATA, "order", |s| {
        edit_parquet(s, DATA, |t| {
            let mut order: Vec<usize> = (0..t.rows.num_columns()).collect();
            order.swap(0, 1);
            t.rows = t.rows.project(&order).unwrap();
        });
    }),
    (Rule::DataHuggingface, DATA, "missing", |s| edit_parquet(s, DATA, |t| t.notes.clear())),
    (Rule::DataHuggingface, DATA, "observation.state", |s| {
        edit_parquet(s, DATA, |t| {
            let text = t.notes[0].value.take().unwrap();
            t.notes[0].value = Some(text.replacen("\"length\": 3", "\"length\": 4", 1));
        });
    }),
    (Rule::DataHuggingface, DATA, CAMERA, |s| {
        edit_parquet(s, DATA, |t| {
            let text = t.notes[0].value.take().unwrap();
            t.notes[0].value = Some(text.replacen(
                "{\"_type\": \"Image\"}",
                "{\"dtype\": \"binary\", \"_type\": \"Value\"}",
                1,
            ));
        });
    }),
    (Rule::DataRows, DATA, "50 rows", |s| edit_parquet(s, DATA, |t| t.rows = t.rows.slice(0, 50))),
    (Rule::DataRows, DATA, "51 rows, the episodes in it have 42", |s| {
        edit_parquet(s, EPISODES, |t| t.integers("data/file_index", |v| v[2] = 1));
    }),
    (Rule::DataIndex, DATA, "frame 3: index is 99", |s| {
        edit_parquet(s, DATA, |t| t.integers("index", |v| v[28] = 99))
    }),
    (Rule::DataEpisodeIndex, DATA, "episode_index is 0, not 1", |s| {
        edit_parquet(s, DATA, |t| t.integers("episode_index", |v| v[25] = 0));
    }),
    (Rule::DataFrameIndex, DATA, "frame_index is 25", |s| {
        edit_parquet(s, DATA, |t| t.integers("frame_index", |v| v[25] = 25));
    }),
    (Rule::DataTimestamp, DATA, "episode 0, frame 7", |s| {
        // One step of 32-bit numbers beside the right one.
        edit_parquet(s, DATA, |t| {
            let mut times =
                t.rows.column_by_name("timestamp").unwrap().as_primitive::<Float32Type>().values().to_vec();
            times[7] = f32::from_bits(times[7].to_bits() + 1);
            t.set("timestamp", Arc::new(Float32Array::from(times)));
        });
    }),
    (Rule::DataTaskIndex, DATA, "no task 2", |s| {
        edit_parquet(s, DATA, |t| t.integers("task_index", |v| v[50] = 2))
    }),
    (Rule::DataNulls, DATA, "observation.gripper", |s| {
        edit_parquet(s, DATA, |t| {
            let mut values: Vec<Option<f32>> = vec![Some(1.0); 51];
            values[30] = None;
            t.set("observation.gripper", Arc::new(Float32Array::from(values)));
        });
    }),
    (Rule::DataImages, DATA, "[12, 16, 3]", |s| {
        edit_text(
            s,
            INFO,
            "                12,\n                16,",
            "                16,\n                12,",
        );
    }),
    (Rule::DataImages, DATA, "neither JPEG nor PNG", |s| set_image(s, 5, b"GIF89a")),
    (Rule::DataImages, DATA, "damaged", |s| set_image(s, 5, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")),
    (Rule::DataImages, DATA, "empty", |s| set_image(s, 5, b"")),
    (Rule::DataRowGroups, DATA, "row group 0", |s| edit_parquet(s, DATA, |t| t.groups = vec![51])),
    (Rule::DataCompression, DATA, "Snappy", |s| {
        edit_parquet(s, DATA, |t| t.compression = Compression::UNCOMPRESSED)
    }),
    (Rule::StatsMatch, EPISODES, "episode 1: observation.state[0]/max", |s| {
        edit_parquet(s, DATA, |t| {
            let list = t.rows.column_by_name("observation.state").unwrap().as_fixed_size_list().clone();
            let mut values = list.values().as_primitive::<Float32Type>().values().to_vec();
            values[30 * 3] = 100.0;
            let element = Arc::new(Field::new("element", DataType::Float32, true));
            let values = Arc::new(Float32Array::from(values));
            let list = arrow::array::FixedSizeListArray::new(element, 3, values, None);
            t.set("observation.state", Arc::new(list));
        });
    }),
];

fn set_image(storage: &MemoryStorage, row: usize, bytes: &[u8]) {
    edit_parquet(storage, DATA, |table| {
        let parts = table.rows.column_by_name(CAMERA).unwrap().as_struct().clone();
        let images = parts.column(0).as_binary::<i32>();
        let images: arrow::array::BinaryArray =
            (0..51).map(|at| Some(if at == row { bytes } else { images.value(at) })).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(images), parts.column(1).clone()];
        let parts = arrow::array::StructArray::new(parts.fields().clone(), columns, None);
        table.set(CAMERA, Arc::new(parts));
    });
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let (ours, video, filmed) = (ours(), reference("video"), filmed());
    let mut tried = BTreeSet::new();
    for (base, mutations) in [
        (&ours, INFO_MUTATIONS),
        (&ours, META_MUTATIONS),
        (&ours, DATA_MUTATIONS),
        (&video, VIDEO_MUTATIONS),
        (&filmed, FILM_MUTATIONS),
    ] {
        for (rule, file, words, mutate) in mutations {
            let storage = copy(base);
            mutate(&storage);
            let report = report(&storage);
            let list = if rule.is_advice() { &report.advice } else { &report.problems };
            let named = list
                .iter()
                .any(|found| found.rule == *rule && found.file == *file && found.what.contains(words));
            assert!(named, "{rule:?} in {file} with {words:?}: {report:#?}");
            assert_eq!(report.is_valid(), rule.is_advice(), "{rule:?}");
            tried.insert(*rule);
        }
    }
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !tried.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a mutation: {missing:?}");
}

fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for (key, body) in storage.snapshot() {
        copy.put(&key, &body).unwrap();
    }
    copy
}

#[test]
fn many_findings_of_one_kind_are_counted() {
    let storage = ours();
    edit_parquet(&storage, DATA, |table| table.integers("frame_index", |values| values.fill(77)));
    let found: Vec<_> =
        report(&storage).problems.into_iter().filter(|found| found.rule == Rule::DataFrameIndex).collect();
    assert_eq!(found.len(), 6, "five, and the rest as a number");
    assert_eq!(found[5].what, "and 46 more like this");
}

#[test]
fn trouble_of_the_storage_is_no_finding() {
    let storage = ours();
    storage.inject(Fault {
        action: "reading",
        key_contains: "file-000".into(),
        after: 1,
        times: 99,
        kind: FaultKind::Unavailable,
    });
    let shared: SharedStorage = Arc::new(storage);
    assert!(validate(&shared, Depth::Frames).unwrap_err().to_string().contains("injected"));
}

#[test]
fn cut_files_never_panic() {
    let base = ours();
    for key in [DATA, EPISODES, TASKS, INFO, STATS] {
        let whole: Bytes = base.read(key, 1 << 24).unwrap();
        for step in 0..24 {
            let storage = copy(&base);
            let cut = whole.len() * step / 24;
            storage.put(key, &whole[..cut]).unwrap();
            assert!(!report(&storage).is_valid(), "{key} cut at {cut}");
            // The same place with other bytes: may go unseen (a pixel), must not panic.
            let mut bytes = whole.to_vec();
            bytes[cut..(cut + 3).min(whole.len())].fill(0xa5);
            storage.put(key, &bytes).unwrap();
            report(&storage);
        }
    }
}
