//! Whole recordings to staging: against their truth, against a plain recomputation, whatever their form, and in any order.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test at once, and tell its seed"
)]

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};
use mcap::WriteOptions;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use roboflow::convert::crew::Crew;
use roboflow::convert::infer::infer;
use roboflow::convert::inspect::{Look, Options, inspect};
use roboflow::convert::mapping::Mapping;
use roboflow::convert::recording::RecordingWork;
use roboflow::convert::source::{DIGEST_END_BYTES, Recording};
use roboflow::convert::{StopFlag, Work, WorkError};
use roboflow::lerobot::parquet_file::ParquetIn;
use roboflow::lerobot::staged::{StagedEpisode, segment_key};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{SharedStorage, Storage};
use roboflow_proptests::recordings::{CountingStorage, Written, data_folder, without_summary, write_mcap};
use serde_json::Value;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

const TURTLE: &str = r#"
fps = 30
[task]
text = "follow the other turtle"
[[feature]]
name = "observation.state"
source = [
    { topic = "/turtle2/pose", field = "x" },
    { topic = "/turtle2/pose", field = "y" },
    { topic = "/turtle2/pose", field = "theta" },
]
[[feature]]
name = "action"
source = [{ topic = "/turtle2/cmd_vel", field = "linear.x" }, { topic = "/turtle2/cmd_vel", field = "angular.z" }]
"#;

fn real(name: &str) -> Vec<u8> {
    std::fs::read(data_folder().join(name)).unwrap()
}

fn random() -> StdRng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

struct Job {
    staging: Arc<MemoryStorage>,
    work: RecordingWork,
}

fn input(file: &[u8]) -> SharedStorage {
    let storage = MemoryStorage::new();
    storage.put("r.mcap", file).unwrap();
    Arc::new(storage)
}

fn open(input: &SharedStorage, mapping: &str, segment_frames: u32) -> Result<Job, WorkError> {
    let mapping = Mapping::parse("m.toml", mapping).unwrap();
    let staging = Arc::new(MemoryStorage::new());
    let shared: SharedStorage = staging.clone();
    let stop = StopFlag::default();
    let crew = Crew::new(NonZeroUsize::MIN).unwrap();
    let work = RecordingWork::open(
        input.clone(),
        "r.mcap",
        "r",
        shared,
        "j/",
        &mapping,
        segment_frames,
        &crew,
        &stop,
    )?;
    Ok(Job { staging, work })
}

/// Opens and runs everything.
fn convert(file: &[u8], mapping: &str, segment_frames: u32) -> Result<Job, WorkError> {
    let mut job = open(&input(file), mapping, segment_frames)?;
    for segment in 0..job.work.segments() {
        job.work.run(segment, &StopFlag::default())?;
    }
    Ok(job)
}

impl Job {
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.staging.snapshot().into_iter().map(|(key, bytes)| (key, bytes.to_vec())).collect()
    }

    fn episode(&self) -> StagedEpisode {
        serde_json::from_slice(&self.files()["j/e000/episode.json"]).unwrap()
    }

    fn batches(&self) -> Vec<RecordBatch> {
        let shared: SharedStorage = self.staging.clone();
        let read = |segment| {
            let file = ParquetIn::open(&shared, &segment_key("j/e000/", segment)).unwrap();
            file.batches(1 << 20, |_| true).unwrap().next().unwrap().unwrap()
        };
        (0..self.work.segments() as usize).map(read).collect()
    }

    /// A vector feature's rows over all segments; of images the CRC of each file.
    fn rows(&self, feature: &str) -> Vec<Vec<f32>> {
        self.batches().iter().flat_map(|batch| column_rows(batch.column_by_name(feature).unwrap())).collect()
    }
}

fn column_rows(column: &dyn Array) -> Vec<Vec<f32>> {
    match column.data_type() {
        DataType::FixedSizeList(..) => {
            let lists = column.as_fixed_size_list();
            (0..lists.len())
                .map(|row| lists.value(row).as_primitive::<Float32Type>().values().to_vec())
                .collect()
        }
        DataType::Struct(_) => {
            let files = column.as_struct().column(0).as_binary::<i32>();
            (0..files.len()).map(|row| halves(crc32(files.value(row)))).collect()
        }
        _ => column.as_primitive::<Float32Type>().values().iter().map(|value| vec![*value]).collect(),
    }
}

/// A 32-bit number as two that a float holds exactly.
fn halves(crc: u32) -> Vec<f32> {
    vec![(crc >> 16) as f32, (crc & 0xffff) as f32]
}

/// The checksum of zlib, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// The messages of one topic as the truth file tells them: (stamp, row), by stamp and place in the file.
fn truth(truth: &Value, topic: &str, time: &str, joints: &[&str]) -> Vec<(i128, Vec<f64>)> {
    let topics = truth["meta"]["topics"].as_array().unwrap();
    let number = topics.iter().position(|about| about["topic"] == topic).unwrap();
    let all = |name: &str| truth.get(format!("{number}/{name}")).and_then(Value::as_array).cloned();
    let log = all("log_time_ns").unwrap();
    let own = all(&format!("{time}_{}", if time == "header" { "stamp_ns" } else { "time_ns" })).unwrap();
    let order = all("write_order").unwrap();
    let (crcs, values) = (all("jpeg_crc32"), all("values"));
    let halved = |crc: &Value| halves(u32::try_from(crc.as_u64().unwrap()).unwrap());
    let mut rows: Vec<(i128, i64, Vec<f64>)> = (0..log.len())
        .map(|at| {
            let stamp = own[at].as_i64().filter(|stamp| *stamp >= 0).or(log[at].as_i64()).unwrap();
            let row = match (&crcs, &values) {
                (Some(crcs), _) => halved(&crcs[at]).iter().map(|half| f64::from(*half)).collect(),
                (None, values) => {
                    let row = values.as_ref().unwrap()[at].as_array().unwrap();
                    row.iter().map(|value| value.as_f64().unwrap()).collect()
                }
            };
            (i128::from(stamp), order[at].as_i64().unwrap(), row)
        })
        .collect();
    rows.sort_by_key(|(stamp, order, _)| (*stamp, *order));
    let names = truth["meta"]["joints"].as_array().unwrap();
    let pick = |row: Vec<f64>| match joints {
        [] => row,
        some => some.iter().map(|joint| row[names.iter().position(|name| name == joint).unwrap()]).collect(),
    };
    rows.into_iter().map(|(stamp, _, row)| (stamp, pick(row))).collect()
}

/// What a frame takes, by looking at every message; none when it is too far.
fn expected_row(
    messages: &[(i128, Vec<f64>)],
    frame: i128,
    align: &str,
    tolerance: Option<i128>,
) -> Option<Vec<f64>> {
    let near = |distance: i128| tolerance.is_none_or(|most| distance <= most);
    let before = messages.iter().rfind(|(stamp, _)| *stamp <= frame);
    let after = messages.iter().find(|(stamp, _)| *stamp > frame);
    match align {
        "nearest" => {
            let (stamp, row) = messages.iter().min_by_key(|(stamp, _)| (stamp - frame).abs()).unwrap();
            near((stamp - frame).abs()).then(|| row.clone())
        }
        "linear" => match (before?, after) {
            ((stamp, row), _) if *stamp == frame => Some(row.clone()),
            ((t0, a), Some((t1, b))) if near(frame - t0) && near(t1 - frame) => {
                let weight = (frame - t0) as f64 / (t1 - t0) as f64;
                Some(a.iter().zip(b).map(|(a, b)| a + (b - a) * weight).collect())
            }
            _ => None,
        },
        _ => before.filter(|(stamp, _)| near(frame - stamp)).map(|(_, row)| row.clone()),
    }
}

/// (feature, topic, field, joints, whether it is an image)
type Wanted = (&'static str, &'static str, &'static str, &'static [&'static str], bool);
const WANTED: [Wanted; 5] = [
    ("observation.state", "/joint_states", "position", &["wrist", "base", "elbow"], false),
    ("action", "/joint_command", "data", &[], false),
    ("gripper", "/gripper", "data", &[], false),
    ("observation.images.left", "/camera_0/image/compressed", "data", &[], true),
    ("observation.images.right", "/camera_1/image/compressed", "data", &[], true),
];

fn generated_mapping(fps: i128, align: &str, time: &str, tolerance_ms: Option<i128>) -> String {
    let mut text = format!("fps = {fps}\ntime = \"{time}\"\n[task]\ntopic = \"/task\"\n");
    for (feature, topic, field, joints, is_image) in WANTED {
        let align = if is_image && align == "linear" { "nearest" } else { align };
        let kind = if is_image { "image" } else { "vector" };
        let tolerance = tolerance_ms.map_or(String::new(), |ms| format!("tolerance_ms = {ms}\n"));
        let select = if joints.is_empty() { String::new() } else { format!(", select = {joints:?}") };
        text += &format!(
            "[[feature]]\nname = \"{feature}\"\nkind = \"{kind}\"\nalign = \"{align}\"\n{tolerance}\
             source = [{{ topic = \"{topic}\", field = \"{field}\"{select} }}]\n"
        );
    }
    text
}

#[test]
fn a_generated_recording_equals_its_truth() {
    let file = real("generated/two_cameras_000.mcap");
    let told: Value = serde_json::from_slice(&real("generated/two_cameras_000.truth.json")).unwrap();
    let mut frames = 0;
    for (align, time, tolerance_ms, fps) in [
        ("latest", "log", None, 30i128),
        ("latest", "header", Some(40), 30),
        ("nearest", "publish", Some(20), 7),
        ("nearest", "log", None, 1000),
        ("linear", "header", None, 24),
        ("linear", "log", Some(50), 30),
    ] {
        let told: Vec<_> = WANTED.map(|(_, topic, _, joints, _)| truth(&told, topic, time, joints)).into();
        let start = told.iter().map(|messages| messages[0].0).max().unwrap();
        let end = told.iter().map(|messages| messages[messages.len() - 1].0).min().unwrap();
        let grid = (0i128..).map(|k| start + (2 * k * 1_000_000_000 + fps).div_euclid(2 * fps));
        let mut expected: Vec<Vec<Vec<f64>>> = Vec::new();
        let mut dropped = 0;
        for frame in grid.take_while(|frame| *frame <= end) {
            let row = |(messages, (_, _, _, _, is_image)): (&Vec<_>, &Wanted)| {
                let align = if *is_image && align == "linear" { "nearest" } else { align };
                expected_row(messages, frame, align, tolerance_ms.map(|ms| ms * 1_000_000))
            };
            match told.iter().zip(&WANTED).map(row).collect::<Option<Vec<_>>>() {
                Some(rows) => expected.push(rows),
                None => dropped += 1,
            }
        }
        let job = convert(&file, &generated_mapping(fps, align, time, tolerance_ms), 16).unwrap();
        let episode = job.episode();
        assert_eq!(
            (episode.sync.dropped_frames, episode.frames),
            (dropped, expected.len() as u64),
            "{align} {time}"
        );
        assert_eq!(episode.task, "put the cup on the shelf");
        for (at, (feature, ..)) in WANTED.iter().enumerate() {
            let rows = job.rows(feature);
            let told: Vec<Vec<f32>> =
                expected.iter().map(|rows| rows[at].iter().map(|value| *value as f32).collect()).collect();
            assert_eq!(rows, told, "{feature} by {align}, {time}");
        }
        frames += episode.frames;
    }
    assert!(frames > 2000, "{frames} frames were compared");
}

#[test]
fn one_recording_in_two_encodings_and_as_a_bag_gives_the_same_files() {
    let ros1 = convert(&real("turtlesim/turtlesim_ros1.mcap"), TURTLE, 100).unwrap();
    let ros2 = convert(&real("turtlesim/turtlesim_ros2.mcap"), TURTLE, 100).unwrap();
    let bag = convert(&real("rosbagjs/example-bz2.bag"), TURTLE, 100).unwrap();
    let segments = |job: &Job| {
        let mut files = job.files();
        files.remove("j/e000/episode.json").unwrap();
        files
    };
    assert_eq!(segments(&ros1), segments(&ros2));
    assert_eq!(segments(&ros1), segments(&bag));
    assert_eq!(ros1.episode().features, ros2.episode().features);
    assert!(ros1.episode().frames > 600);
}

/// The turtle's poses, read by the mcap crate and by the layout of `turtlesim/msg/Pose` in CDR.
#[test]
fn a_real_recording_equals_a_plain_recomputation() {
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let (mut poses, mut commands) = (Vec::new(), Vec::new());
    for message in mcap::MessageStream::new(&file).unwrap() {
        let message = message.unwrap();
        let data = &message.data[4..];
        let f32_at = |at: usize| f32::from_le_bytes(data[4 * at..4 * at + 4].try_into().unwrap());
        let f64_at = |at: usize| f64::from_le_bytes(data[8 * at..8 * at + 8].try_into().unwrap()) as f32;
        match message.channel.topic.as_str() {
            "/turtle2/pose" => poses.push((message.log_time, vec![f32_at(0), f32_at(1), f32_at(2)])),
            "/turtle2/cmd_vel" => commands.push((message.log_time, vec![f64_at(0), f64_at(5)])),
            _ => {}
        }
    }
    poses.sort_by_key(|(stamp, _)| *stamp);
    commands.sort_by_key(|(stamp, _)| *stamp);
    let start = poses[0].0.max(commands[0].0);
    let end = poses[poses.len() - 1].0.min(commands[commands.len() - 1].0);
    let grid: Vec<u64> = (0..)
        .map(|k: u64| start + (2 * k * 1_000_000_000 + 30) / 60)
        .take_while(|frame| *frame <= end)
        .collect();
    let at = |messages: &[(u64, Vec<f32>)]| -> Vec<Vec<f32>> {
        grid.iter()
            .map(|frame| messages.iter().rfind(|(stamp, _)| stamp <= frame).unwrap().1.clone())
            .collect()
    };
    let job = convert(&file, TURTLE, 100).unwrap();
    assert_eq!(job.rows("observation.state"), at(&poses));
    assert_eq!(job.rows("action"), at(&commands));
}

#[test]
fn without_a_summary_the_segments_are_the_same() {
    let file = real("generated/two_cameras_000.mcap");
    let mapping = generated_mapping(30, "latest", "header", None);
    let whole = convert(&file, &mapping, 10).unwrap();
    let scanned = convert(&without_summary(&file).unwrap(), &mapping, 10).unwrap();
    assert_eq!(whole.batches(), scanned.batches());
    assert!(!scanned.episode().warnings.is_empty(), "the user hears of it");
}

/// What is left of a cut recording is the begin of the whole one, frame by frame.
#[test]
fn a_cut_recording_gives_the_begin_of_the_whole_one() {
    let mut random = random();
    let file = real("turtlesim/turtlesim_ros2.mcap");
    let whole = convert(&file, TURTLE, 50).unwrap();
    let (states, actions) = (whole.rows("observation.state"), whole.rows("action"));
    let mut shortest = states.len();
    for _ in 0..20 {
        let length = random.random_range(file.len() / 3..file.len() - 50_000);
        let cut = convert(&file[..length], TURTLE, 50).unwrap();
        let episode = cut.episode();
        assert!(episode.warnings.iter().any(|warning| warning.contains("cut")), "{:?}", episode.warnings);
        let frames = episode.frames as usize;
        assert!(frames > 0 && frames < states.len());
        assert_eq!(cut.rows("observation.state"), states[..frames]);
        assert_eq!(cut.rows("action"), actions[..frames]);
        shortest = shortest.min(frames);
    }
    assert!(shortest < states.len() / 2, "short ones were among them: {shortest} of {}", states.len());
}

/// Kills and resumes: each segment by a process of its own, in any order, some of them twice.
#[test]
fn pitfall_28_segments_have_the_same_names_and_bytes_by_whatever_process() {
    let mut random = random();
    let input = input(&real("generated/two_cameras_000.mcap"));
    let mapping = generated_mapping(30, "linear", "log", Some(60));
    let mut job = open(&input, &mapping, 7).unwrap();
    for segment in 0..job.work.segments() {
        job.work.run(segment, &StopFlag::default()).unwrap();
    }
    let reference = job.files();
    for _ in 0..5 {
        let mut order: Vec<u32> = (0..job.work.segments()).chain(0..job.work.segments()).collect();
        order.shuffle(&mut random);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for segment in order {
            let mut process = open(&input, &mapping, 7).unwrap();
            process.work.run(segment, &StopFlag::default()).unwrap();
            for (key, bytes) in process.files() {
                let before = files.insert(key.clone(), bytes.clone());
                assert!(before.is_none_or(|before| before == bytes), "{key} was written with other bytes");
            }
        }
        assert_eq!(files, reference);
    }
}

/// A resumed segment reads its own part of an indexed recording and nothing like all of it.
/// Ten seconds of a camera, some 40 kB a picture.
fn camera() -> Vec<u8> {
    let generated = real("generated/two_cameras_000.mcap");
    let jpeg = mcap::MessageStream::new(&generated).unwrap().find_map(|message| {
        let data = message.unwrap().data.into_owned();
        let begin = data.windows(3).position(|window| window == [0xff, 0xd8, 0xff])?;
        Some(data[begin..].to_vec())
    });
    // Behind its end marker a picture may be padded, as some cameras do.
    let picture = [jpeg.unwrap(), vec![0; 40_000]].concat();
    let message = [&u32::try_from(picture.len()).unwrap().to_le_bytes()[..], &picture].concat();
    let messages: Vec<Written<'_>> = (0..300u64).map(|k| ("/camera", k * 33_333_333, &message[..])).collect();
    let options = WriteOptions::new().compression(None).chunk_size(Some(400_000));
    write_mcap(options, ("Image", "ros1msg", "uint8[] data\n", "ros1"), &messages).unwrap()
}

/// A resumed job goes on where it was, and a whole one reads the file about once.
#[test]
fn a_resumed_segment_reads_its_own_part_of_the_file() {
    let mapping = "fps = 30\n[task]\ntext = \"t\"\n[[feature]]\nname = \"observation.images.a\"\nkind = \"image\"\n\
                   source = [{ topic = \"/camera\" }]\n";
    let file = camera();
    let counted = CountingStorage::with("r.mcap", &file).unwrap();
    // Both ends are read for the recording's digest, whatever is converted.
    let end = file.len().min(DIGEST_END_BYTES as usize);
    let of_digest =
        |(offset, bytes): &(u64, usize)| *bytes == end && [0, (file.len() - end) as u64].contains(offset);
    let read_bytes = |counted: &CountingStorage| {
        counted.take_reads().iter().filter(|read| !of_digest(read)).map(|(_, bytes)| bytes).sum::<usize>()
    };
    let mut resumed = open(&counted.shared(), mapping, 30).unwrap();
    let opening = read_bytes(&counted);
    let last = resumed.work.segments() - 1;
    resumed.work.run(last, &StopFlag::default()).unwrap();
    let last_segment = read_bytes(&counted);
    assert!(opening * 7 < file.len(), "opening read {opening} of {}", file.len());
    assert!(last_segment * 7 < file.len(), "the last segment read {last_segment} of {}", file.len());
    let mut whole = open(&counted.shared(), mapping, 30).unwrap();
    read_bytes(&counted);
    let mut told = 0;
    for segment in 0..=last {
        told += whole.work.run(segment, &StopFlag::default()).unwrap().read_bytes;
    }
    let all = read_bytes(&counted);
    assert!(all < file.len() * 11 / 10, "all segments read {all} of {}", file.len());
    assert_eq!(told, all as u64, "what a segment says it read");
}

#[test]
fn every_real_recording_is_described_and_a_guessed_mapping_converts() {
    let mut converted = Vec::new();
    for folder in std::fs::read_dir(data_folder()).unwrap() {
        let folder = folder.unwrap().path();
        let files = if folder.is_dir() { std::fs::read_dir(&folder).unwrap().collect() } else { Vec::new() };
        for path in files.into_iter().map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "mcap") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let stop = StopFlag::default();
            let recording = match Recording::open(input(&bytes), "r.mcap", &stop) {
                Ok(recording) => recording,
                Err(error) => panic!("{name}: {error}"),
            };
            let options = Options { details: true, ..Options::default() };
            let report = inspect(&recording, &options, &stop).unwrap();
            assert_eq!(report.topics.len(), recording.topics().len(), "{name}");
            assert_eq!(report.warnings, recording.warnings(), "{name}: every message was met");
            let look = Look { width: 100, unicode: true, colour: false };
            assert!(report.topics.iter().all(|topic| report.render(look).contains(&topic.name)), "{name}");
            match infer(&recording, &stop) {
                Ok(inferred) => {
                    let job = convert(&bytes, &inferred.mapping_text, 100);
                    let job =
                        job.unwrap_or_else(|error| panic!("{name}: {error}\n{}", inferred.mapping_text));
                    assert!(job.episode().frames > 0, "{name}");
                    converted.push(name);
                }
                Err(error) => {
                    let says =
                        if recording.topics().is_empty() { "holds no topics" } else { "write a mapping" };
                    assert!(error.to_string().contains(says), "{name}: {error}");
                }
            }
        }
    }
    converted.sort();
    println!("{converted:?}");
    let those = ["robocodec_test_0", "turtlesim_ros1", "turtlesim_ros2", "two_cameras_000"];
    assert!(those.iter().all(|name| converted.iter().any(|other| other == name)), "{converted:?}");
}
