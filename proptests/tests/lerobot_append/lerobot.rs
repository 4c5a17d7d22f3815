//! Datasets that lerobot wrote, or went on with, are added to.

use super::*;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use roboflow::lerobot::parquet_file::{ParquetIn, ParquetOut};
use roboflow::storage::fs::FsStorage;
use roboflow_proptests::staged_episodes::{SECOND_CAMERA, video_features};
use std::path::Path;

const TASKS: &str = "meta/tasks.parquet";
const TABLE: &str = "meta/episodes/chunk-000/file-000.parquet";

fn reference(name: &str) -> Objects {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/lerobot_reference").join(name);
    let folder = FsStorage::open(&path).unwrap();
    let keys = folder.list("").unwrap().map(|object| object.unwrap().key);
    keys.map(|key| (key.clone(), folder.read(&key, 1 << 20).unwrap())).collect()
}

/// An episode with the features of the set `small`.
fn small() -> Episode {
    let mut episode = Episode::new("c.mcap", 12, "place", 3);
    episode
        .features
        .retain(|feature| ["observation.state", "action", CAMERA].contains(&feature.name.as_str()));
    episode
}

fn rewrite(objects: &mut Objects, key: &str, change: impl Fn(&Field, ArrayRef) -> (DataType, ArrayRef)) {
    let storage: SharedStorage = Arc::new(memory(objects));
    let file = ParquetIn::open(&storage, key).unwrap();
    let batch = file.batches(1000, |_| true).unwrap().next().unwrap().unwrap();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in file.schema().fields().iter().zip(batch.columns()) {
        let (data_type, column) = change(field, Arc::clone(column));
        fields.push(Field::new(field.name(), data_type, true));
        columns.push(column);
    }
    let schema = Arc::new(Schema::new(fields));
    let properties = parquet::file::properties::WriterProperties::builder().build();
    let mut out = ParquetOut::create(&storage, key, Arc::clone(&schema), properties).unwrap();
    out.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    out.finish().unwrap();
    objects.insert(key.to_owned(), storage.read(key, 1 << 24).unwrap());
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", data_type, true)))
}

/// The least and the greatest of whole numbers and of truth values as lerobot 0.4 has them in the table.
fn as_of_04(objects: &mut Objects, key: &str, columns: &[&str]) {
    rewrite(objects, key, |field, column| {
        let wanted = columns.iter().any(|name| {
            field.name() == &format!("stats/{name}/min") || field.name() == &format!("stats/{name}/max")
        });
        if !wanted {
            return (field.data_type().clone(), column);
        }
        let leaf = if field.name().contains("done") { DataType::Boolean } else { DataType::Int64 };
        (list_of(leaf.clone()), cast(&column, &list_of(leaf)).unwrap())
    });
}

const WHOLE: [&str; 4] = ["frame_index", "episode_index", "index", "task_index"];

#[test]
fn a_dataset_that_lerobot_wrote_is_added_to() {
    let before = reference("small");
    let after = appended(&before, &[small()], "one");
    let report = check(&after);
    assert!(report.is_valid(), "{report:#?}");
    let (info, old) = (json(&after, "meta/info.json"), json(&before, "meta/info.json"));
    assert_eq!(info["total_episodes"].as_u64(), old["total_episodes"].as_u64().map(|count| count + 1));
    assert_eq!(info["features"], old["features"], "as lerobot wrote them");
}

#[test]
fn a_table_of_lerobot_04_goes_on_in_its_own_types_and_order() {
    let mut before = dataset(&first());
    as_of_04(&mut before, TABLE, &[&WHOLE[..], &["next.done", "observation.count"]].concat());
    let mut stats = json(&before, "meta/stats.json");
    stats["next.done"]["min"] = serde_json::json!([false]);
    stats["next.done"]["max"] = serde_json::json!([true]);
    before.insert("meta/stats.json".into(), serde_json::to_vec(&stats).unwrap().into());
    let after = appended(&before, &second(), "one");
    let report = check(&after);
    assert!(report.is_valid(), "{report:#?}");
    let storage: SharedStorage = Arc::new(memory(&after));
    let [old, new] = [0, 1].map(|file| {
        ParquetIn::open(&storage, &format!("meta/episodes/chunk-000/file-{file:03}.parquet")).unwrap()
    });
    assert_eq!(new.schema().fields(), old.schema().fields());
    let rows = new.batches(100, |_| true).unwrap().next().unwrap().unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap().as_list::<i32>().values().clone();
    assert_eq!(column("stats/index/max").as_primitive::<Int64Type>().values(), &[45, 52, 63]);
    assert!(column("stats/next.done/max").as_boolean().iter().all(|done| done == Some(true)));
}

#[test]
fn a_table_that_lerobot_04_went_on_with_is_added_to() {
    // Ours, then a file of lerobot 0.4: what it wrote when it resumed a dataset of this program's.
    let mut before = appended(&dataset(&first()[..1]), &first()[1..], "earlier");
    as_of_04(&mut before, "meta/episodes/chunk-000/file-001.parquet", &WHOLE);
    let after = appended(&before, &second(), "one");
    let report = check(&after);
    assert!(report.is_valid(), "{report:#?}");
    assert_eq!(report.summary.unwrap().episodes, 5);
}

#[test]
fn numbers_that_do_not_go_into_the_types_of_the_table_are_refused() {
    let mut before = dataset(&first());
    as_of_04(&mut before, TABLE, &["observation.state"]);
    let out = memory(&before);
    let error = assemble(Arc::new(out.clone()), &second(), Some("one")).unwrap_err();
    assert_eq!(error.class(), Class::Permanent);
    let said = error.to_string();
    assert!(said.contains("column stats/observation.state/min is") && said.contains("Int64"), "{said}");
    assert!(out.snapshot()["meta/info.json"] == before["meta/info.json"], "nothing is published");
    let mut before = dataset(&first());
    rewrite(&mut before, TABLE, |field, column| {
        let is_text = field.name() == "stats/action/q01";
        let text: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x"; column.len()]));
        if is_text { (DataType::Utf8, text) } else { (field.data_type().clone(), column) }
    });
    let said = assemble(Arc::new(memory(&before)), &second(), Some("one")).unwrap_err().to_string();
    assert!(said.contains("its column stats/action/q01 is Utf8"), "{said}");
}

/// lerobot 0.4 gives the index of the tasks no name.
#[test]
fn tasks_of_lerobot_04_are_read_and_go_on() {
    let mut before = dataset(&first());
    let storage: SharedStorage = Arc::new(memory(&before));
    let file = ParquetIn::open(&storage, TASKS).unwrap();
    let batch = file.batches(100, |_| true).unwrap().next().unwrap().unwrap();
    let pandas = file.note("pandas").unwrap().replace("[\"task\"]", "[\"__index_level_0__\"]");
    let fields = ["task_index", "__index_level_0__"].into_iter().zip(batch.columns());
    let fields: Vec<Field> =
        fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let note = parquet::file::metadata::KeyValue::new("pandas".to_owned(), pandas);
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_key_value_metadata(Some(vec![note]))
        .build();
    let mut out = ParquetOut::create(&storage, TASKS, Arc::clone(&schema), properties).unwrap();
    out.write(&RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap()).unwrap();
    out.finish().unwrap();
    before.insert(TASKS.to_owned(), storage.read(TASKS, 1 << 20).unwrap());
    let report = check(&before);
    assert!(report.is_valid(), "{report:#?}");
    let after = appended(&before, &second(), "one");
    let report = check(&after);
    assert!(report.is_valid(), "{report:#?}");
    assert_eq!(report.summary.unwrap().tasks, 3);
}

/// lerobot's videos are AV1: nothing else goes behind them.
#[test]
fn videos_of_lerobot_are_looked_at() {
    let mut before = reference("video");
    let text = String::from_utf8(before["meta/info.json"].to_vec()).unwrap().replace("so100", "so101");
    before.insert("meta/info.json".into(), text.clone().into());
    let mut episode = Episode::new("c.mcap", 12, "place", 3);
    episode.features = video_features();
    let error = assemble(Arc::new(memory(&before)), &[episode.clone()], Some("one")).unwrap_err();
    assert!(error.to_string().contains("the dataset has the feature observation.mat"), "{error}");
    // Without what this program does not write, in the sizes of theirs.
    let mut info: Value = serde_json::from_str(&text).unwrap();
    let features = info["features"].as_object_mut().unwrap();
    features.remove("observation.mat");
    before.insert("meta/info.json".into(), serde_json::to_vec(&info).unwrap().into());
    episode.features.retain(|feature| feature.name != "observation.count");
    for feature in &mut episode.features {
        if [CAMERA, SECOND_CAMERA].contains(&feature.name.as_str()) {
            feature.shape = vec![96, 128, 3];
        }
        feature.names = serde_json::from_value(info["features"][&feature.name]["names"].clone()).unwrap();
    }
    let mut staged = episode.clone();
    staged.features.iter_mut().filter(|feature| feature.name == "action").for_each(|feature| {
        feature.shape = vec![2];
    });
    let error = assemble(Arc::new(memory(&before)), &[staged], Some("one")).unwrap_err().to_string();
    assert!(
        error.contains(
            "front is av1, 128 x 96, yuv420p, 10 frames a second in the dataset and h264, 128 x 96"
        ) && error.contains("--video-encoder ffmpeg:libsvtav1"),
        "{error}"
    );
}
