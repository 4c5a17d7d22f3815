//! The format as this program has it, against datasets that lerobot itself wrote.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test at once")]

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use roboflow::lerobot::data::{HUGGINGFACE_KEY, data_schema, huggingface_metadata};
use roboflow::lerobot::feature::{Dtype, Feature, INDEX_COLUMNS};
use roboflow::lerobot::info::{Info, Version};
use roboflow::lerobot::parquet_file::ParquetIn;
use roboflow::lerobot::stats::{Aggregate, Column, QUANTILES, STAT_NAMES, Stats};
use roboflow::storage::SharedStorage;
use roboflow::storage::fs::FsStorage;
use std::path::Path;
use std::sync::Arc;

const DATA: &str = "data/chunk-000/file-000.parquet";
const EPISODES: &str = "meta/episodes/chunk-000/file-000.parquet";

fn reference(name: &str) -> SharedStorage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/lerobot_reference").join(name);
    Arc::new(FsStorage::open(&path).unwrap())
}

fn table(storage: &SharedStorage, key: &str) -> RecordBatch {
    let file = ParquetIn::open(storage, key).unwrap();
    let schema = Arc::clone(file.schema());
    let batches: Vec<_> = file.batches(1000, |_| true).unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// The features that this program can write: without the matrix.
fn features(info: &Info) -> Vec<Feature> {
    let own = info.features.0.iter().filter(|(name, feature)| {
        !INDEX_COLUMNS.iter().any(|(index, _)| index == name)
            && (feature.shape.len() == 1 || feature.is_picture())
    });
    own.map(|(name, feature)| Feature {
        name: name.clone(),
        dtype: serde_json::from_value::<Dtype>(feature.dtype.clone().into()).unwrap(),
        shape: feature.shape.iter().map(|side| u32::try_from(*side).unwrap()).collect(),
        names: serde_json::from_value(feature.names.clone()).unwrap(),
    })
    .collect()
}

#[test]
fn info_json_is_written_byte_for_byte() {
    for name in ["none", "image"] {
        let storage = reference(name);
        let bytes = storage.read("meta/info.json", 1 << 20).unwrap();
        let info = Info::read(storage.as_ref()).unwrap();
        assert_eq!(
            String::from_utf8(info.to_bytes().unwrap()).unwrap(),
            String::from_utf8(bytes.to_vec()).unwrap()
        );
    }
}

#[test]
fn columns_and_their_metadata_are_lerobots() {
    for name in ["none", "image", "video"] {
        let storage = reference(name);
        let features = features(&Info::read(storage.as_ref()).unwrap());
        let file = ParquetIn::open(&storage, DATA).unwrap();
        let theirs = file.schema().fields().iter().filter(|field| field.name() != "observation.mat");
        let theirs: Vec<_> =
            theirs.map(|field| (field.name(), field.data_type(), field.is_nullable())).collect();
        let schema = data_schema(&features);
        let ours = schema.fields().iter().map(|field| (field.name(), field.data_type(), field.is_nullable()));
        assert_eq!(ours.collect::<Vec<_>>(), theirs, "{name}");

        // The same text, but for the matrix, and the fingerprint of their cache.
        let note = file.note(HUGGINGFACE_KEY).unwrap();
        let (note, _) = note.split_once(", \"fingerprint\"").unwrap();
        let matrix = r#""observation.mat": {"shape": [2, 2], "dtype": "float32", "_type": "Array2D"}, "#;
        assert!(note.contains(matrix));
        assert_eq!(huggingface_metadata(&features, Version::V30), format!("{}}}", note.replace(matrix, "")));
    }
}

fn flat(array: &ArrayRef) -> Vec<f64> {
    match array.as_list_opt::<i32>() {
        Some(list) => list.iter().flatten().flat_map(|inner| flat(&inner)).collect(),
        None => match array.as_primitive_opt::<Int64Type>() {
            Some(counts) => counts.values().iter().map(|count| *count as f64).collect(),
            None => array.as_primitive::<Float64Type>().values().to_vec(),
        },
    }
}

/// A row's statistics of a feature as lerobot wrote them.
fn stats_of(episodes: &RecordBatch, feature: &str, row: usize) -> Stats {
    let list = |stat: &str| {
        let column = episodes.column_by_name(&format!("stats/{feature}/{stat}")).unwrap();
        flat(&column.as_list::<i32>().value(row))
    };
    Stats {
        min: list("min"),
        max: list("max"),
        mean: list("mean"),
        std: list("std"),
        count: list("count").into_iter().sum::<f64>() as u64,
        quantiles: QUANTILES.map(|(name, _)| list(name)),
        skipped: 0,
    }
}

fn flat_json(value: &serde_json::Value) -> Vec<f64> {
    match value.as_array() {
        Some(list) => list.iter().flat_map(flat_json).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn assert_close(ours: &[f64], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{what}: {ours} and {theirs}");
    }
}

#[test]
fn statistics_of_the_dataset_are_aggregated_as_lerobot_does() {
    for name in ["none", "image", "video"] {
        let storage = reference(name);
        let episodes = table(&storage, EPISODES);
        let stats: serde_json::Value =
            serde_json::from_slice(&storage.read("meta/stats.json", 1 << 20).unwrap()).unwrap();
        let stats = stats.as_object().unwrap();
        assert!(stats.len() >= 11);
        for (feature, theirs) in stats {
            let mut aggregate = Aggregate::default();
            for row in 0..episodes.num_rows() {
                aggregate.add(feature, &stats_of(&episodes, feature, row)).unwrap();
            }
            let ours = aggregate.finish().unwrap();
            for stat in STAT_NAMES {
                let what = format!("{name} {feature}/{stat}");
                let theirs = flat_json(&theirs[stat]);
                // Theirs passed through 32 bits.
                match ours.list(stat) {
                    Some(ours) => assert_close(ours, &theirs, 1e-7, &what),
                    None => assert_eq!(vec![ours.count as f64], theirs, "{what}"),
                }
            }
        }
    }
}

#[test]
fn statistics_of_an_episode_are_those_of_lerobot_made_exact() {
    let storage = reference("none");
    let (rows, episodes) = (table(&storage, DATA), table(&storage, EPISODES));
    let mut all = features(&Info::read(storage.as_ref()).unwrap());
    all.extend(roboflow::lerobot::feature::index_features());
    let lengths = episodes.column_by_name("length").unwrap().as_primitive::<Int64Type>().values().to_vec();
    let mut compared = 0;
    for feature in &all {
        let mut from = 0;
        for (row, length) in lengths.iter().enumerate() {
            let Some(mut column) = Column::new(feature) else { continue };
            let array = rows.column_by_name(&feature.name).unwrap().slice(from, *length as usize);
            column.extend(&feature.name, array.as_ref()).unwrap();
            let (ours, theirs) = (column.stats(), stats_of(&episodes, &feature.name, row));
            // Theirs are summed in 32 bits, and their quantiles come from histograms of neighbours' means.
            for (stat, tolerance) in [("min", 1e-6), ("max", 1e-6), ("mean", 1e-6), ("std", 1e-6)] {
                let what = format!("{} episode {row} {stat}", feature.name);
                assert_close(ours.list(stat).unwrap(), theirs.list(stat).unwrap(), tolerance, &what);
            }
            assert_eq!(ours.count, theirs.count);
            compared += 1;
            from += *length as usize;
        }
    }
    assert_eq!(compared, 30, "ten features with numbers, three episodes");
}
