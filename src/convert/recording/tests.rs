//! A recording's way to staging: values, determinism, and what is refused with which words.

use super::*;
use crate::convert::testing::{MS, Said, crew, image, joints, png_file, random, recording, stored};
use crate::lerobot::parquet_file::ParquetIn;
use crate::lerobot::staged::{SEGMENT_NOTE_KEY, SegmentNote, segment_key};
use crate::storage::memory::MemoryStorage;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use std::sync::Arc;

mod partial;
mod preview;
mod split;
mod types;
mod videos;

const HEAD: &str = "fps = 10\n[task]\ntext = \"t\"\n";
const STATE: &str = "[[feature]]\nname = \"observation.state\"\nsource = [{ topic = \"/joints\", field = \"position\", select = [\"a\", \"b\"] }]\n";
const FRONT: &str = "[[feature]]\nname = \"observation.images.front\"\nkind = \"image\"\nsource = [{ topic = \"/camera\" }]\n";

/// Two seconds of joints at 100 Hz, whose names change their order, and of a camera at 20 Hz.
fn said() -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for ms in (0..=2000).step_by(10) {
        let value = ms as f64;
        let (names, position) =
            if ms % 200 == 0 { (["a", "b"], [value, -value]) } else { (["b", "a"], [-value, value]) };
        said.push(joints(ms, &names, &position));
        if ms % 50 == 0 {
            said.push(image(ms, &png_file(4, 3, (ms / 10) as u8)));
        }
    }
    said
}

struct Job {
    input: SharedStorage,
    staging: Arc<MemoryStorage>,
    work: RecordingWork,
}

fn open_on(input: &SharedStorage, mapping: &str, segment_frames: u32) -> Result<Job, WorkError> {
    open_with(input, mapping, segment_frames, 2)
}

fn open_with(
    input: &SharedStorage,
    mapping: &str,
    segment_frames: u32,
    threads: usize,
) -> Result<Job, WorkError> {
    let staging = Arc::new(MemoryStorage::new());
    let shared: SharedStorage = staging.clone();
    let mapping = Mapping::parse("m.toml", mapping).expect("a valid mapping");
    let stop = StopFlag::default();
    let work = RecordingWork::open(
        input.clone(),
        "in/one.mcap",
        "one",
        shared,
        "job/",
        &mapping,
        segment_frames,
        &crew(threads),
        &stop,
    )?;
    Ok(Job { input: input.clone(), staging, work })
}

fn open(said: &[Said], mapping: &str, segment_frames: u32) -> Result<Job, WorkError> {
    open_on(&stored(&recording(said, 2000)), mapping, segment_frames)
}

/// Why a recording cannot be converted, whether it shows when it is opened or later.
fn refused(said: &[Said], mapping: &str) -> String {
    let error = match open(said, mapping, 5) {
        Err(error) => error,
        Ok(mut job) => (0..job.work.segments())
            .find_map(|segment| job.work.run(segment, &StopFlag::default()).err())
            .expect("an error"),
    };
    assert!(matches!(error, WorkError::Permanent(_)), "{error:?}");
    error.to_string()
}

impl Job {
    fn run(mut self) -> Self {
        for segment in 0..self.work.segments() {
            self.work.run(segment, &StopFlag::default()).unwrap();
        }
        self
    }

    fn file(&self, segment: usize) -> ParquetIn {
        let shared: SharedStorage = self.staging.clone();
        ParquetIn::open(&shared, &segment_key("job/e000/", segment)).unwrap()
    }

    fn batch(&self, segment: usize) -> RecordBatch {
        self.file(segment).batches(1 << 20, |_| true).unwrap().next().unwrap().unwrap()
    }

    fn note(&self, segment: usize) -> SegmentNote {
        serde_json::from_str(self.file(segment).note(SEGMENT_NOTE_KEY).unwrap()).unwrap()
    }

    fn files(&self) -> BTreeMap<String, Bytes> {
        self.staging.snapshot()
    }
}

/// A vector column, row by row.
fn vectors(batch: &RecordBatch, name: &str) -> Vec<Vec<f32>> {
    let column = batch.column_by_name(name).unwrap().as_fixed_size_list();
    (0..column.len()).map(|row| column.value(row).as_primitive::<Float32Type>().values().to_vec()).collect()
}

#[test]
fn joints_stand_in_the_selected_order_and_images_pass_untouched() {
    let job = open(&said(), &format!("{HEAD}{STATE}{FRONT}"), 8).unwrap().run();
    let episode: StagedEpisode = serde_json::from_slice(&job.files()["job/e000/episode.json"]).unwrap();
    assert_eq!((episode.frames, episode.segments.as_slice()), (21, &[8, 8, 5][..]));
    assert_eq!((episode.source.as_str(), episode.task.as_str(), episode.fps), ("one", "t", 10));
    assert_eq!(episode.features[0].names, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(episode.features[1].shape, [3, 4, 3]);
    assert_eq!(episode.sync.sources.len(), 2);
    let mut states = Vec::new();
    for segment in 0..3 {
        let batch = job.batch(segment);
        let files = batch.column_by_name("observation.images.front").unwrap().as_struct();
        for (row, state) in vectors(&batch, "observation.state").into_iter().enumerate() {
            let level = ((states.len() * 100) / 10) as u8;
            assert_eq!(files.column(0).as_binary::<i32>().value(row), png_file(4, 3, level));
            states.push(state);
        }
        assert_eq!(files.column(1).null_count(), batch.num_rows(), "no paths");
    }
    let expected: Vec<Vec<f32>> =
        (0..21u16).map(|k| vec![f32::from(k) * 100.0, f32::from(k) * -100.0]).collect();
    assert_eq!(states, expected);
}

#[test]
fn any_order_of_segments_and_any_process_writes_the_same_bytes() {
    let mapping = format!("{HEAD}{STATE}{FRONT}");
    let whole = open(&said(), &mapping, 4).unwrap().run();
    let reference = whole.files();
    assert_eq!(reference.len(), 7);
    let mut backwards = open_on(&whole.input, &mapping, 4).unwrap();
    for segment in (0..backwards.work.segments()).rev().chain([2, 2]) {
        backwards.work.run(segment, &StopFlag::default()).unwrap();
    }
    assert_eq!(backwards.files(), reference);
    for segment in 0..whole.work.segments() {
        let mut resumed = open_on(&whole.input, &mapping, 4).unwrap();
        resumed.work.run(segment, &StopFlag::default()).unwrap();
        for (key, bytes) in resumed.files() {
            assert_eq!(reference[&key], bytes, "{key} by a fresh process");
        }
    }
}

/// Whoever works on it is lost at any segment, and the next one goes on at the last checkpoint or before, with any number
/// of threads.
#[test]
fn any_number_of_threads_and_any_losses_write_the_same_bytes() {
    let mapping = format!("{HEAD}{STATE}{FRONT}");
    let input = stored(&recording(&said(), 2000));
    let reference = open_with(&input, &mapping, 3, 1).unwrap().run().files();
    let mut random = random();
    for threads in [1, 2, 8] {
        let staging = Arc::new(MemoryStorage::new());
        let mut next = 0;
        while next < 7 {
            let mut job = open_with(&input, &mapping, 3, threads).unwrap();
            job.work.staging = staging.clone();
            let lost_at = next + random.random_range(0..4);
            for segment in next..job.work.segments().min(lost_at) {
                job.work.run(segment, &StopFlag::default()).unwrap();
            }
            // The checkpoint may be behind what is staged.
            next = lost_at.saturating_sub(random.random_range(0..2)).max(next);
        }
        assert_eq!(staging.snapshot(), reference, "{threads} threads");
    }
}

/// What is ahead is nobody's yet: it stands nowhere, and its errors are told when it is asked for.
#[test]
fn nothing_of_a_segment_that_nobody_asked_for_is_written_or_told() {
    let mut said = said();
    let last = said.len() - 1;
    said[last].2 = json!({ "data": "no image" });
    let mut job = open(&said, &format!("{HEAD}{STATE}{FRONT}"), 4).unwrap();
    for segment in 0..5 {
        job.work.run(segment, &StopFlag::default()).unwrap();
        assert_eq!(job.files().len(), segment as usize + 1);
    }
    for _ in 0..2 {
        let error = job.work.run(5, &StopFlag::default()).unwrap_err().to_string();
        assert!(error.contains("/camera at 2.000000000 s"), "{error}");
    }
    job.work.run(0, &StopFlag::default()).unwrap();
    assert_eq!(job.files().len(), 5);
}

#[test]
fn the_files_bytes_do_not_depend_on_their_chunks() {
    let mapping = format!("{HEAD}{STATE}{FRONT}");
    let small = open_on(&stored(&recording(&said(), 100)), &mapping, 4).unwrap().run();
    let large = open_on(&stored(&recording(&said(), 1 << 20)), &mapping, 4).unwrap().run();
    let files =
        |job: &Job| job.files().into_iter().filter(|(key, _)| key.ends_with("parquet")).collect::<Vec<_>>();
    assert_eq!(files(&small), files(&large));
}

#[test]
fn messages_out_of_order_in_the_file_give_the_same_values() {
    let mapping = format!("{HEAD}{STATE}{FRONT}");
    let straight = open(&said(), &mapping, 8).unwrap().run();
    let mut shuffled = said();
    for block in shuffled.chunks_mut(7) {
        block.reverse();
    }
    let shuffled = open(&shuffled, &mapping, 8).unwrap().run();
    for segment in 0..3 {
        assert_eq!(straight.batch(segment), shuffled.batch(segment));
    }
}

#[test]
fn images_stand_in_the_order_of_time_not_of_the_file() {
    let files: Vec<Said> = (0..10).rev().map(|k| image(k * 100, &png_file(1, 1, k as u8))).collect();
    let job = open(&files, &format!("{HEAD}{FRONT}"), 10).unwrap().run();
    let batch = job.batch(0);
    let column = batch.column(0).as_struct().column(0).as_binary::<i32>();
    for frame in 0..10 {
        assert_eq!(column.value(frame), png_file(1, 1, frame as u8), "frame {frame}");
    }
}

#[test]
fn the_episode_is_closed_by_its_last_segment_alone() {
    let mut job = open(&said(), &format!("{HEAD}{STATE}"), 8).unwrap();
    let closed = |job: &Job| job.files().contains_key("job/e000/episode.json");
    for segment in [0, 1] {
        job.work.run(segment, &StopFlag::default()).unwrap();
        assert!(!closed(&job), "after segment {segment}");
    }
    job.work.run(2, &StopFlag::default()).unwrap();
    assert!(closed(&job));
}

#[test]
fn sampled_pixels_are_counted_once_over_all_segments() {
    let job = open(&said(), &format!("{HEAD}{FRONT}"), 8).unwrap().run();
    let notes: Vec<SegmentNote> = (0..3).map(|segment| job.note(segment)).collect();
    let counts = |note: &SegmentNote| note.images["observation.images.front"].clone();
    assert_eq!(
        notes.iter().map(|note| counts(note).frames).collect::<Vec<_>>(),
        [8, 8, 5],
        "21 frames are all sampled"
    );
    assert_eq!(counts(&notes[1]).channels[2][80], 12, "a picture of 4 x 3 at level 80");
    let long: Vec<Said> = (0..=400).map(|k| image(k * 100, &png_file(1, 1, 0))).collect();
    let job = open(&long, &format!("{HEAD}{FRONT}"), 100).unwrap().run();
    let sampled: Vec<u64> = (0..5).map(|segment| counts(&job.note(segment)).frames).collect();
    assert_eq!(sampled.iter().sum::<u64>(), 100);
    assert_eq!(sampled, [25, 25, 25, 24, 1]);
}

#[test]
fn linear_values_lie_between_their_neighbours() {
    let said: Vec<Said> = (0..=20).map(|k| ("/x", k * 70 * MS, json!({ "data": k * 7 }))).collect();
    let mapping = format!(
        "{HEAD}[[feature]]\nname = \"x\"\nalign = \"linear\"\nsource = [{{ topic = \"/x\", field = \"data\" }}]\n"
    );
    let job = open(&said, &mapping, 100).unwrap().run();
    let batch = job.batch(0);
    let values = batch.column(0).as_primitive::<Float32Type>().values().to_vec();
    for (k, value) in values.iter().enumerate() {
        assert!((value - 10.0 * k as f32).abs() < 1e-5, "frame {k}: {value}");
    }
    assert_eq!(values.len(), 15);
}

#[test]
fn an_action_may_be_the_next_state() {
    let action = "[[feature]]\nname = \"action\"\nfrom = \"observation.state\"\nshift = 1\n";
    let job = open(&said(), &format!("{HEAD}{action}{STATE}"), 100).unwrap().run();
    let batch = job.batch(0);
    let (actions, states) = (vectors(&batch, "action"), vectors(&batch, "observation.state"));
    assert_eq!(states.len(), 20, "the last frame has no next state");
    assert_eq!(actions[..19], states[1..]);
    assert_eq!(actions[19], [2000.0, -2000.0]);
    assert_eq!(batch.schema().field(0).name(), "action", "the mapping's order");
}

#[test]
fn sources_are_concatenated_and_types_are_as_asked() {
    let mut said = said();
    said.extend(
        (0..=200).map(|k| {
            ("/flags", k * 10 * MS, json!({ "on": k % 20 == 0, "count": k, "word": format!("w{k}") }))
        }),
    );
    let features = "[[feature]]\nname = \"both\"\nsource = [{ topic = \"/joints\", field = \"position\", select = [\"b\"] }, { topic = \"/flags\", field = \"count\" }]\n\
        [[feature]]\nname = \"count\"\ndtype = \"int64\"\nsource = [{ topic = \"/flags\", field = \"count\" }]\n\
        [[feature]]\nname = \"on\"\nsource = [{ topic = \"/flags\", field = \"on\" }]\n\
        [[feature]]\nname = \"word\"\nsource = [{ topic = \"/flags\", field = \"word\" }]\n";
    let mapping = format!("{HEAD}{features}");
    let job = open(&said, &mapping, 100).unwrap().run();
    let batch = job.batch(0);
    assert_eq!(vectors(&batch, "both")[3], [-300.0, 30.0]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(3), 30);
    assert!(batch.column(2).as_boolean().value(4) && !batch.column(2).as_boolean().value(5));
    assert_eq!(batch.column(3).as_string::<i32>().value(3), "w30");
    assert_eq!(job.work.blueprint.features[0].names, Some(vec!["b".to_owned(), "count".to_owned()]));
}

#[test]
fn not_a_number_passes_and_is_counted() {
    let mut said: Vec<Said> = (0..=4).map(|k| ("/x", k * 100 * MS, json!({ "data": k }))).collect();
    said[2].2 = json!({ "data": 1e300 });
    let source = "[[feature]]\nname = \"x\"\nsource = [{ topic = \"/x\", field = \"data\" }]\n";
    let mut job = open(&said, &format!("{HEAD}{source}"), 2).unwrap();
    assert!(job.work.warnings().is_empty());
    job.work.run(1, &StopFlag::default()).unwrap();
    job.work.run(1, &StopFlag::default()).unwrap();
    assert_eq!(job.work.warnings(), ["one: feature \"x\" has one value that is NaN or infinite"]);
    assert_eq!(job.note(1).non_finite["x"], 1);
}

fn task_of(job: &Job) -> String {
    job.work.episodes().next().unwrap().task.clone()
}

#[test]
fn tasks_come_from_topics_and_files() {
    let mut said = said();
    said.insert(0, ("/task", 0, json!({ "data": " pour tea \n" })));
    let task = |head: &str, said: &[Said]| {
        open(said, &format!("fps = 10\n[task]\n{head}\n{STATE}"), 5).map(|job| task_of(&job))
    };
    assert_eq!(task("topic = \"/task\"", &said).unwrap(), "pour tea");
    let input = stored(&recording(&said, 2000));
    input.put("in/one.task.txt", b"fold\n").unwrap();
    let by_file = format!("fps = 10\n[task]\nfile = \"{{recording}}.task.txt\"\n{STATE}");
    assert_eq!(open_on(&input, &by_file, 5).map(|job| task_of(&job)).unwrap(), "fold");
    let missing = task("file = \"{recording}.task.txt\"", &said).unwrap_err().to_string();
    assert!(
        missing.starts_with("m.toml:3:8: ")
            && missing.contains("in/one.task.txt: write the task of in/one.mcap into it"),
        "{missing}"
    );
    said[0].1 = 5000 * MS;
    let late = task("topic = \"/task\"", &said).unwrap_err().to_string();
    assert!(late.contains("/task has no message at or before the episode's end at 2.000000000 s"), "{late}");
}

#[test]
fn what_the_recording_lacks_is_named_with_what_it_has() {
    let source = |source: &str| format!("{HEAD}[[feature]]\nname = \"x\"\nsource = [{{ {source} }}]\n");
    assert_eq!(
        refused(&said(), &source("topic = \"/joint\", field = \"position\"")),
        "m.toml:6:21: topic \"/joint\" is not in in/one.mcap; its topics, nearest first: \"/joints\", \"/camera\""
    );
    let field = refused(&said(), &source("topic = \"/joints\", field = \"positon\""));
    assert!(field.starts_with("m.toml:6:40: ") && field.contains("position"), "{field}");
    let none = refused(&said(), &source("topic = \"/joints\""));
    assert!(
        none.starts_with("m.toml:6:21: a source of /joints needs its field;")
            && none.contains("\"position\""),
        "{none}"
    );
    assert_eq!(
        refused(&said(), &source("topic = \"/joints\", field = \"position\", select = [\"c\"]")),
        "in/one.mcap: no message of /joints carries \"c\", which is selected; there are: \"a\", \"b\""
    );
    let names = format!("{HEAD}{}names = [\"x\"]\n", STATE);
    assert_eq!(refused(&said(), &names), "m.toml:7:9: 1 names for 2 elements: a, b");
}

#[test]
fn messages_unlike_the_first_are_named_with_their_time() {
    let state = "[[feature]]\nname = \"x\"\nsource = [{ topic = \"/joints\", field = \"position\" }]\n";
    assert_eq!(
        refused(&said()[..], &format!("{HEAD}{state}").replace("fps = 10", "fps = 100")),
        "in/one.mcap: /joints at 0.010000000 s: name is \"b\", \"a\" here and was \"a\", \"b\" before: choose and order the elements by select = [\"a\", \"b\"]"
    );
    let mut short = said();
    let last = short.len() - 2;
    short[last] = joints(2000, &["a"], &[1.0]);
    assert!(
        refused(&short, &format!("{HEAD}{STATE}")).contains("/joints at 2.000000000 s: name has no \"b\"")
    );
    short[last] = joints(2000, &[], &[]);
    assert!(refused(&short, &format!("{HEAD}{STATE}")).contains("there are: none"));
    let unnamed: Vec<Said> = [(0, 2), (100, 2), (200, 3)]
        .map(|(ms, count)| ("/joints", ms * MS, json!({ "position": vec![0.5; count] })))
        .to_vec();
    let length = refused(&unnamed, &format!("{HEAD}{state}"));
    assert!(
        length.contains("/joints at 0.200000000 s: position has 3 values here and had 2 before"),
        "{length}"
    );
}

#[test]
fn images_unlike_the_first_or_broken_are_named_with_their_time() {
    let with = |file: &[u8]| {
        let files = [image(0, &png_file(4, 3, 9)), image(100, file)];
        refused(&files, &format!("{HEAD}{FRONT}"))
    };
    assert_eq!(
        with(&png_file(3, 4, 9)),
        "in/one.mcap: /camera at 0.100000000 s: the image is a PNG of 3 x 4, and the first one is a PNG of 4 x 3; a feature's images are all alike"
    );
    assert!(
        with(b"RIFFxxxxWEBP")
            .contains("at 0.100000000 s: an image must be a JPEG or PNG file; this is a WebP")
    );
    let mut broken = png_file(4, 3, 9);
    let middle = broken.len() - 20;
    broken[middle] ^= 0xff;
    assert!(with(&broken).contains("/camera at 0.100000000 s: the PNG does not decode"));
}

#[test]
fn topics_that_share_no_moment_are_named() {
    let apart = [joints(0, &["a", "b"], &[0.0, 0.0]), image(500, &png_file(1, 1, 1))];
    assert_eq!(
        refused(&apart, &format!("{HEAD}{STATE}{FRONT}")),
        "in/one.mcap: its topics share no moment: /camera begins at 0.500000000 s, after /joints has ended at 0.000000000 s"
    );
}

#[test]
fn a_stop_leaves_nothing_of_the_segment() {
    let mut job = open(&said(), &format!("{HEAD}{STATE}{FRONT}"), 8).unwrap();
    let stop = StopFlag::default();
    stop.set();
    assert!(matches!(job.work.run(0, &stop), Err(WorkError::Stopped)));
    assert!(job.files().is_empty());
    let mapping = Mapping::parse("m.toml", &format!("{HEAD}{STATE}")).unwrap();
    let staging: SharedStorage = job.staging.clone();
    let opened = RecordingWork::open(
        job.input.clone(),
        "in/one.mcap",
        "one",
        staging,
        "job/",
        &mapping,
        8,
        &crew(1),
        &stop,
    );
    assert!(matches!(opened, Err(WorkError::Stopped)));
}

#[test]
fn segments_that_are_not_there_and_sizes_that_make_no_sense_are_refused() {
    let mut job = open(&said(), &format!("{HEAD}{STATE}"), 8).unwrap();
    assert!(job.work.run(3, &StopFlag::default()).unwrap_err().to_string().contains("no segment 3, only 3"));
    let none = open(&said(), &format!("{HEAD}{STATE}"), 0).err().unwrap();
    assert!(none.to_string().contains("1 to 100000"));
}
