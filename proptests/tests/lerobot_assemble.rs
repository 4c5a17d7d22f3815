//! Assembly of staged episodes: the same bytes whatever happens on the way, and info.json last.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test at once")]

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use roboflow::error::{Class, Classified};
use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork, Skipped};
use roboflow::lerobot::data::ROW_GROUP_BYTES;
use roboflow::lerobot::info::Version;
use roboflow::lerobot::parquet_file::{ParquetIn, ParquetOut};
use roboflow::storage::memory::{Fault, FaultKind, MemoryStorage};
use roboflow::storage::{SharedStorage, Storage};
use roboflow::work::{StopFlag, Work, WorkError};
use roboflow_proptests::staged_episodes::{CAMERA, Episode, png, stage};
use std::collections::BTreeMap;
use std::sync::Arc;

fn options() -> AssembleOptions {
    AssembleOptions {
        mapping_text: "fps = 10\n".into(),
        scratch: "assemble/".into(),
        skipped: vec![Skipped {
            source: "broken.mcap".into(),
            episode: None,
            reason: "no chunk in it".into(),
        }],
        ..AssembleOptions::default()
    }
}

/// Three recordings, one of them with two episodes; two tasks.
fn episodes() -> Vec<(String, Episode)> {
    let mut second = Episode::new("b.mcap", 9, "place", 5);
    second.number = 1;
    vec![
        ("jobs/2/".into(), Episode::new("b.mcap", 17, "pick", 2)),
        ("jobs/2/".into(), second),
        ("jobs/1/".into(), Episode::new("c.mcap", 1, "place", 3)),
        ("jobs/3/".into(), Episode::new("a.mcap", 25, "pick", 1)),
    ]
}

fn staged(episodes: &[(String, Episode)]) -> (SharedStorage, Vec<String>) {
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    for (prefix, episode) in episodes {
        stage(&staging, prefix, episode);
    }
    let mut prefixes: Vec<String> = episodes.iter().map(|(prefix, _)| prefix.clone()).collect();
    prefixes.dedup();
    (staging, prefixes)
}

fn run_all(work: &mut AssembleWork) {
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default()).unwrap();
    }
}

fn assemble(episodes: &[(String, Episode)]) -> BTreeMap<String, bytes::Bytes> {
    let (staging, prefixes) = staged(episodes);
    let out = MemoryStorage::new();
    run_all(&mut AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options()).unwrap());
    out.snapshot()
}

fn rows(storage: &MemoryStorage, key: &str) -> Vec<arrow::array::RecordBatch> {
    let shared: SharedStorage = Arc::new(storage.clone());
    ParquetIn::open(&shared, key).unwrap().batches(100_000, |_| true).unwrap().map(Result::unwrap).collect()
}

#[test]
fn values_stand_where_they_belong() {
    let out = MemoryStorage::new();
    let all = episodes();
    let (staging, prefixes) = staged(&all);
    run_all(&mut AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options()).unwrap());
    let batches = rows(&out, "data/chunk-000/file-000.parquet");
    let schema = batches[0].schema();
    let table = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let integers =
        |name: &str| table.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
    // In the order of the recordings' names, then of the episodes in each.
    let order = [&all[3].1, &all[0].1, &all[1].1, &all[2].1];
    let tasks = [0, 0, 1, 1];
    let mut row = 0;
    for (number, episode) in order.into_iter().enumerate() {
        for frame in 0..episode.frames {
            assert_eq!(integers("episode_index")[row], number as i64);
            assert_eq!(integers("frame_index")[row], frame as i64);
            assert_eq!(integers("index")[row], row as i64);
            assert_eq!(integers("task_index")[row], tasks[number]);
            let timestamp =
                table.column_by_name("timestamp").unwrap().as_primitive::<Float32Type>().value(row);
            assert_eq!(timestamp, (frame as f64 / 10.0) as f32);
            let state = table.column_by_name("observation.state").unwrap().as_fixed_size_list().value(row);
            assert_eq!(state.as_primitive::<Float32Type>().values()[..], episode.state(frame));
            let image = table.column_by_name(CAMERA).unwrap().as_struct().column(0).as_binary::<i32>();
            assert!(image.value(row) == png(episode, frame), "image bytes pass untouched");
            row += 1;
        }
    }
    assert_eq!(row, table.num_rows());
    let meta = rows(&out, "meta/episodes/chunk-000/file-000.parquet").remove(0);
    let lengths = meta.column_by_name("length").unwrap().as_primitive::<Int64Type>();
    assert_eq!(lengths.values()[..], [25, 17, 9, 1]);
    let maximum = meta.column_by_name("stats/observation.state/max").unwrap().as_list::<i32>().value(1);
    assert_eq!(maximum.as_primitive::<Float64Type>().values()[..2], [16.0, 2.0]);
    let info: serde_json::Value =
        serde_json::from_slice(&out.read("meta/info.json", 1 << 20).unwrap()).unwrap();
    assert_eq!((&info["total_frames"], &info["splits"]["train"]), (&52.into(), &"0:4".into()));
}

#[test]
fn o1_order_reruns_stops_and_failures_change_no_byte() {
    let seed: u64 =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    // Images of 2 MB each, so that there are several data files and row groups.
    let mut all = episodes();
    for (_, episode) in &mut all {
        episode.padding = 2_500_000;
    }
    let (staging, mut prefixes) = staged(&all);
    let plain = MemoryStorage::new();
    let mut work =
        AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::new(plain.clone()), options()).unwrap();
    assert_eq!(work.segments(), 3, "two data files and the metadata");
    run_all(&mut work);
    let want = plain.snapshot();

    for _ in 0..5 {
        prefixes.shuffle(&mut rng);
        let out = MemoryStorage::new();
        let mut segment = 0;
        while segment < 3 {
            // Each attempt is a new process's.
            let shared: SharedStorage = Arc::new(out.clone());
            let mut work = AssembleWork::open(Arc::clone(&staging), &prefixes, shared, options()).unwrap();
            let stop = StopFlag::default();
            match rng.random_range(0..4) {
                0 => {
                    stop.set();
                    assert!(matches!(work.run(segment, &stop), Err(WorkError::Stopped)));
                }
                1 => {
                    let after = rng.random_range(0..3);
                    let kind = FaultKind::Unavailable;
                    out.inject(Fault {
                        action: "writing",
                        key_contains: String::new(),
                        after,
                        times: 1,
                        kind,
                    });
                    match work.run(segment, &stop) {
                        Ok(_) => segment += 1,
                        Err(error) => assert_eq!(error.class(), Class::Transient, "{error}"),
                    }
                }
                2 => {
                    let again = rng.random_range(0..=segment);
                    work.run(again, &stop)
                        .map(|_| ())
                        .unwrap_or_else(|error| assert_eq!(error.class(), Class::Transient));
                }
                _ => {
                    if work.run(segment, &stop).is_ok() {
                        segment += 1;
                    }
                }
            }
        }
        let got = out.snapshot();
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
        assert!(got == want, "the same bytes");
    }
}

#[test]
fn o2_info_json_comes_last_and_another_datasets_goes_first() {
    let all = episodes();
    let (staging, prefixes) = staged(&all);
    let out = MemoryStorage::new();
    let shared: SharedStorage = Arc::new(out.clone());
    run_all(
        &mut AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options()).unwrap(),
    );
    let written: Vec<_> = out.journal().into_iter().filter(|entry| entry == "+meta/info.json").collect();
    assert_eq!((out.journal().last(), written.len()), (written.first(), 1));
    let first = out.snapshot();

    // A late duplicate of a segment leaves the published dataset as it is.
    AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options())
        .unwrap()
        .run(0, &StopFlag::default())
        .unwrap();
    assert!(out.snapshot() == first);

    // A smaller dataset in the same place: unpublished before anything else, and nothing of the old is left.
    out.put("data/chunk-000/file-001.parquet", b"old").unwrap();
    out.put("data/notes.txt", b"somebody's").unwrap();
    let before = out.journal().len();
    let other = AssembleOptions { skipped: Vec::new(), ..options() };
    run_all(&mut AssembleWork::open(staging, &prefixes[..1], shared, other).unwrap());
    let journal = out.journal().split_off(before);
    assert_eq!(
        (journal[0].as_str(), journal.last().unwrap().as_str()),
        ("-meta/info.json", "+meta/info.json")
    );
    assert!(journal.contains(&"-data/chunk-000/file-001.parquet".to_owned()));
    assert!(journal.contains(&"-meta/roboflow/skipped.json".to_owned()));
    assert!(out.head("data/notes.txt").is_ok());
}

#[test]
fn episodes_that_were_left_out_are_listed_by_name_beside_recordings_that_were_skipped() {
    let (staging, prefixes) = staged(&episodes());
    let key = "jobs/2/e000/episode.json";
    let mut staged: serde_json::Value = serde_json::from_slice(&staging.read(key, 1 << 20).unwrap()).unwrap();
    staged["left_out"] =
        serde_json::json!([{ "episode": "episode 2 of 3 (1 s to 2 s)", "reason": "too | dark" }]);
    staging.put(key, &serde_json::to_vec(&staged).unwrap()).unwrap();
    let out = MemoryStorage::new();
    run_all(&mut AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options()).unwrap());
    let listed: serde_json::Value =
        serde_json::from_slice(&out.snapshot()["meta/roboflow/skipped.json"]).unwrap();
    let expected = serde_json::json!([
        { "source": "b.mcap", "episode": "episode 2 of 3 (1 s to 2 s)", "reason": "too | dark" },
        { "source": "broken.mcap", "reason": "no chunk in it" },
    ]);
    assert_eq!(listed, expected);
    let card = String::from_utf8(out.snapshot()["README.md"].to_vec()).unwrap();
    assert!(
        card.contains(
            "| b.mcap | episode 2 of 3 (1 s to 2 s) | too \\| dark |\n| broken.mcap | all | no chunk in it |"
        ),
        "{card}"
    );
    assert!(card.contains("| 0 | a.mcap | 1234 | 25 | 0 | d1 |"), "{card}");
}

#[test]
fn a_row_group_is_an_episode_or_bounded_in_bytes() {
    let mut large = Episode::new("b.mcap", 40, "pick", 1);
    large.padding = 1_500_000;
    let all = vec![("1/".to_owned(), Episode::new("a.mcap", 25, "pick", 2)), ("2/".to_owned(), large)];
    let snapshot = assemble(&all);
    let storage = MemoryStorage::new();
    for (key, body) in &snapshot {
        storage.put(key, body).unwrap();
    }
    let shared: SharedStorage = Arc::new(storage);
    let file = ParquetIn::open(&shared, "data/chunk-000/file-000.parquet").unwrap();
    let groups = file.metadata().row_groups();
    let rows: Vec<i64> = groups.iter().map(|group| group.num_rows()).collect();
    assert_eq!((rows[0], rows.iter().sum::<i64>()), (25, 65), "{rows:?}");
    assert!(rows.len() == 3, "{rows:?}");
    for group in groups {
        assert!(group.total_byte_size() < ROW_GROUP_BYTES as i64 + (1 << 20));
        for column in group.columns() {
            let is_image = column.column_path().string() == format!("{CAMERA}.bytes");
            let wanted = if is_image { Compression::UNCOMPRESSED } else { Compression::SNAPPY };
            assert_eq!(column.compression(), wanted, "{}", column.column_path().string());
        }
    }
}

#[test]
fn a_staged_row_group_that_is_too_large_is_cut_where_it_is_staged() {
    // Ten frames a segment: 42 MB in one.
    let mut huge = Episode::new("a.mcap", 12, "pick", 1);
    huge.padding = 4_200_000;
    let storage = MemoryStorage::new();
    for (key, body) in &assemble(&[("1/".to_owned(), huge.clone())]) {
        storage.put(key, body).unwrap();
    }
    let shared: SharedStorage = Arc::new(storage.clone());
    let file = ParquetIn::open(&shared, "data/chunk-000/file-000.parquet").unwrap();
    let rows: Vec<i64> = file.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [7, 5]);
    let images = rows_of(&storage, CAMERA);
    let bytes = images.as_struct().column(0).as_binary::<i32>();
    for frame in 0..12 {
        assert!(bytes.value(frame) == png(&huge, frame as u64), "frame {frame}");
    }
}

/// A column of the first data file.
fn rows_of(storage: &MemoryStorage, column: &str) -> arrow::array::ArrayRef {
    let batches = rows(storage, "data/chunk-000/file-000.parquet");
    let table = arrow::compute::concat_batches(&batches.first().unwrap().schema(), &batches).unwrap();
    table.column_by_name(column).unwrap().clone()
}

#[test]
fn v21_has_a_file_an_episode_and_lines_of_json() {
    let all = episodes();
    let (staging, prefixes) = staged(&all);
    let out = MemoryStorage::new();
    out.put("data/chunk-000/episode_000004.parquet", b"of an older dataset").unwrap();
    let options = || AssembleOptions { version: Version::V21, ..options() };
    let shared: SharedStorage = Arc::new(out.clone());
    run_all(
        &mut AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options()).unwrap(),
    );
    let written = out.snapshot();
    let keys: Vec<&str> = written.keys().map(String::as_str).collect();
    let data: Vec<String> =
        (0..4).map(|number| format!("data/chunk-000/episode_00000{number}.parquet")).collect();
    assert_eq!(keys.iter().filter(|key| key.starts_with("data/")).copied().collect::<Vec<_>>(), data);
    assert!(!keys.iter().any(|key| key.starts_with("meta/episodes/") || key.ends_with("tasks.parquet")));
    let lines = |key: &str| -> Vec<serde_json::Value> {
        let text = String::from_utf8(written[key].to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lengths: Vec<u64> =
        lines("meta/episodes.jsonl").iter().map(|line| line["length"].as_u64().unwrap()).collect();
    assert_eq!(lengths, [25, 17, 9, 1]);
    assert_eq!(lines("meta/tasks.jsonl")[1]["task"], "place");
    assert_eq!(lines("meta/episodes_stats.jsonl")[2]["stats"]["frame_index"]["max"][0], 8.0);
    let info: serde_json::Value = serde_json::from_slice(&written["meta/info.json"]).unwrap();
    assert_eq!((&info["codebase_version"], &info["total_chunks"]), (&"v2.1".into(), &1.into()));
    let index = rows(&out, &data[1])[0].column_by_name("index").unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!(index, 25);
    // Again, as after a crash: the same bytes. And nothing is added to it, or by it.
    run_all(
        &mut AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options()).unwrap(),
    );
    assert!(out.snapshot() == written);
    for version in [Version::V21, Version::V30] {
        let options = AssembleOptions { version, append: Some("one".into()), ..options() };
        let error =
            AssembleWork::open(Arc::clone(&staging), &prefixes, Arc::clone(&shared), options).unwrap_err();
        assert!(error.to_string().contains("v2.1"), "{error}");
    }
}

#[test]
fn image_pages_that_do_not_fit_behind_each_other_are_named() {
    let (staging, prefixes) = staged(&[("1/".into(), Episode::new("a.mcap", 15, "pick", 1))]);
    let key = "1/e000/segment-00001.parquet";
    let staged = ParquetIn::open(&staging, key).unwrap();
    let batch = staged.batches(100, |_| true).unwrap().next().unwrap().unwrap();
    let note = staged.note("roboflow.segment").unwrap().to_owned();
    for (dictionary, wanted) in [(false, "compressed in another way"), (true, "in a dictionary")] {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(dictionary)
            .set_key_value_metadata(Some(vec![KeyValue::new("roboflow.segment".to_owned(), note.clone())]));
        let mut file = ParquetOut::create(&staging, key, batch.schema(), properties.build()).unwrap();
        file.write(&batch).unwrap();
        file.finish().unwrap();
        let out: SharedStorage = Arc::new(MemoryStorage::new());
        let mut work = AssembleWork::open(Arc::clone(&staging), &prefixes, out, options()).unwrap();
        let error = work.run(0, &StopFlag::default()).unwrap_err();
        assert_eq!(error.class(), Class::Permanent);
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains(key) && text.contains("convert"), "{text}");
    }
}

#[test]
fn what_does_not_fit_together_is_named_by_both_sources() {
    type Change = fn(&mut Episode);
    let cases: [(&str, Change); 4] = [
        ("feature action is", |episode| episode.features[1].shape = vec![3]),
        ("a.mcap has the feature observation.gripper, b.mcap has not", |episode| {
            episode.features.remove(2);
        }),
        ("b.mcap has the feature extra, a.mcap has not", |episode| {
            let mut extra = episode.features[4].clone();
            extra.name = "extra".into();
            episode.features.push(extra);
        }),
        ("another order", |episode| episode.features.swap(0, 1)),
    ];
    for (want, change) in cases {
        let mut other = Episode::new("b.mcap", 5, "pick", 1);
        change(&mut other);
        let (staging, prefixes) =
            staged(&[("1/".into(), Episode::new("a.mcap", 5, "pick", 1)), ("2/".into(), other)]);
        let error =
            AssembleWork::open(staging, &prefixes, Arc::new(MemoryStorage::new()), options()).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.class(), Class::Permanent);
        assert!(
            message.contains(want) && message.contains("a.mcap") && message.contains("b.mcap"),
            "{message}"
        );
    }
}

#[test]
fn broken_staging_is_a_clear_permanent_error() {
    let (staging, prefixes) = staged(&episodes());
    let open = |staging: &SharedStorage, prefixes: &[String]| {
        AssembleWork::open(Arc::clone(staging), prefixes, Arc::new(MemoryStorage::new()), options())
    };
    assert!(open(&staging, &[]).unwrap_err().to_string().contains("no episode"));
    assert!(open(&staging, &["jobs/9/".into()]).unwrap_err().to_string().contains("jobs/9/"));
    let message = |error: WorkError| {
        assert_eq!(error.class(), Class::Permanent);
        error.to_string()
    };

    staging.put("jobs/1/e000/segment-00000.parquet", b"PAR1 cut").unwrap();
    let mut work = open(&staging, &prefixes).unwrap();
    let error = message(work.run(0, &StopFlag::default()).unwrap_err());
    assert!(error.contains("jobs/1/e000/segment-00000.parquet"), "{error}");

    let other = staging.read("jobs/2/e000/segment-00000.parquet", 1 << 20).unwrap();
    staging.put("jobs/1/e000/segment-00000.parquet", &other).unwrap();
    let error = message(open(&staging, &prefixes).unwrap().run(0, &StopFlag::default()).unwrap_err());
    assert!(error.contains("10 frames, not 1") && error.contains("c.mcap"), "{error}");

    staging.put("jobs/1/e000/episode.json", b"{\"version\": 1").unwrap();
    assert!(message(open(&staging, &prefixes).unwrap_err()).contains("jobs/1/e000/episode.json"));
    staging.delete("jobs/1/e000/episode.json").unwrap();
    assert!(message(open(&staging, &prefixes).unwrap_err()).contains("not finished"));
}

#[test]
fn trouble_of_the_storage_is_transient_and_leaves_no_dataset() {
    let (staging, prefixes) = staged(&episodes());
    for (key, action) in [("file-000", "writing"), ("info.json", "writing"), ("stats.json", "writing")] {
        let out = MemoryStorage::new();
        let kind = FaultKind::Unavailable;
        out.inject(Fault { action, key_contains: key.into(), after: 0, times: 99, kind });
        let shared: SharedStorage = Arc::new(out.clone());
        let mut work = AssembleWork::open(Arc::clone(&staging), &prefixes, shared, options()).unwrap();
        let error =
            (0..work.segments()).find_map(|segment| work.run(segment, &StopFlag::default()).err()).unwrap();
        assert_eq!(error.class(), Class::Transient, "{error}");
        assert!(error.to_string().contains(key));
        assert!(out.head("meta/info.json").is_err());
    }
    // The parquet crate passes on only the text of what the storage said while it read.
    let memory = MemoryStorage::new();
    for (prefix, episode) in &episodes() {
        stage(&(Arc::new(memory.clone()) as SharedStorage), prefix, episode);
    }
    let out: SharedStorage = Arc::new(MemoryStorage::new());
    for after in 0..8 {
        let mut work =
            AssembleWork::open(Arc::new(memory.clone()), &prefixes, Arc::clone(&out), options()).unwrap();
        let kind = FaultKind::Unavailable;
        memory.inject(Fault { action: "reading", key_contains: "segment-".into(), after, times: 1, kind });
        let error = work.run(0, &StopFlag::default()).unwrap_err();
        assert_eq!(error.class(), Class::Transient, "read {after}: {error}");
        assert!(error.to_string().contains("injected") && out.head("meta/info.json").is_err());
    }
}
