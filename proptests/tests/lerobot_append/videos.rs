//! Videos: what is added stands in files of its own, is coded as what is there, and nothing of that is touched.

use super::*;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use roboflow::lerobot::parquet_file::ParquetIn;
use roboflow::lerobot::video::read_track;
use roboflow_proptests::staged_episodes::{SECOND_CAMERA, video_features};

/// The same episodes, with both cameras as videos.
fn filmed(mut episodes: Vec<Episode>) -> Vec<Episode> {
    episodes.iter_mut().for_each(|episode| episode.features = video_features());
    episodes
}

fn file(camera: &str, number: u32) -> String {
    format!("videos/{camera}/chunk-000/file-{number:03}.mp4")
}

/// The samples of a file.
fn samples(objects: &Objects, key: &str) -> Vec<Vec<u8>> {
    let storage = memory(objects);
    let track = read_track(&storage, &storage.head(key).unwrap()).unwrap();
    let places = track.offsets.iter().zip(&track.sizes);
    places.map(|(offset, size)| objects[key][*offset as usize..][..*size as usize].to_vec()).collect()
}

#[test]
fn videos_that_are_added_begin_a_file_and_the_old_ones_stay() {
    let before = dataset(&filmed(first()));
    // The cameras in another order: the dataset's own holds.
    let mut added = filmed(second());
    added.iter_mut().for_each(|episode| episode.features.reverse());
    let after = appended(&before, &added, "one");
    let report = check(&after);
    assert!(report.is_valid() && report.advice.is_empty(), "{report:#?}");
    assert_eq!(report.summary.unwrap().episodes, 5);
    for (key, body) in before.iter().filter(|(key, _)| !REPLACED.contains(&key.as_str())) {
        assert!(after[key] == body, "{key} is as it was");
    }
    let shared: SharedStorage = Arc::new(memory(&after));
    let table = ParquetIn::open(&shared, "meta/episodes/chunk-000/file-001.parquet").unwrap();
    let old = ParquetIn::open(&shared, "meta/episodes/chunk-000/file-000.parquet").unwrap();
    assert_eq!(table.schema(), old.schema());
    let rows = table.batches(100, |_| true).unwrap().next().unwrap().unwrap();
    for camera in [CAMERA, SECOND_CAMERA] {
        let wanted: Vec<Vec<u8>> = added
            .iter()
            .flat_map(|episode| (0..episode.frames).map(|frame| episode.sample(camera, frame)))
            .collect();
        assert_eq!(samples(&after, &file(camera, 1)), wanted);
        let column = |part: &str| rows.column_by_name(&format!("videos/{camera}/{part}")).unwrap().clone();
        assert_eq!(column("chunk_index").as_primitive::<Int64Type>().values(), &[0, 0, 0]);
        assert_eq!(column("file_index").as_primitive::<Int64Type>().values(), &[1, 1, 1]);
        assert_eq!(column("from_timestamp").as_primitive::<Float64Type>().values(), &[0.0, 1.2, 1.9]);
        assert_eq!(column("to_timestamp").as_primitive::<Float64Type>().values(), &[1.2, 1.9, 3.0]);
    }
    assert_eq!(json(&after, "meta/info.json")["features"], json(&before, "meta/info.json")["features"]);
    let counts = |objects: &Objects| json(objects, "meta/stats.json")[CAMERA]["count"][0].as_u64().unwrap();
    assert_eq!(counts(&after), 64);
    assert_eq!(counts(&before), 34);
}

#[test]
fn killed_at_every_call_the_old_videos_stand_and_the_same_append_ends_in_the_same_bytes() {
    storm(&dataset(&filmed(first())), &filmed(second()));
}

#[test]
fn a_killed_append_of_more_files_leaves_none_to_the_next_one() {
    let before = dataset(&filmed(first()));
    let want = appended(&before, &filmed(second())[..1], "two");
    let mut other = filmed(second());
    other[1].record = vec![1, 0x43];
    let out = memory(&before);
    let (staging, prefixes) = staged(&other);
    let mut work =
        AssembleWork::open(staging, &prefixes, Arc::new(out.clone()), options(Some("one"))).unwrap();
    assert_eq!(work.segments(), 1 + 2 * 3 + 1, "data, three files of two videos, metadata");
    for segment in 0..work.segments() - 1 {
        work.run(segment, &StopFlag::default()).unwrap();
    }
    assert!(out.head(&file(SECOND_CAMERA, 3)).is_ok() && check(&out.snapshot()).is_valid());
    assemble(Arc::new(out.clone()), &filmed(second())[..1], Some("two")).unwrap();
    assert!(out.snapshot() == want, "nothing of the first is left");
    let late = work.run(1, &StopFlag::default()).unwrap_err();
    assert_eq!(late.class(), Class::Permanent, "{late}");
    assert!(out.snapshot() == want, "and it writes nothing any more");
}

#[test]
fn videos_that_are_no_part_of_a_dataset_of_images_stay() {
    let mut before = base();
    before.insert("videos/mine/chunk-000/file-000.mp4".into(), Bytes::from_static(b"mine"));
    let after = appended(&before, &second(), "one");
    assert!(after.contains_key("videos/mine/chunk-000/file-000.mp4"));
}

#[test]
fn videos_of_another_kind_are_refused_by_name_and_nothing_is_written() {
    type Change = fn(&mut Objects);
    fn edit(out: &mut Objects, from: &str, to: &str) {
        let text = String::from_utf8(out["meta/info.json"].to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        out.insert("meta/info.json".into(), text.replacen(from, to, 1).into());
    }
    /// What stands in a video's file, in place of something as long.
    fn patch(out: &mut Objects, from: &[u8], to: &[u8]) {
        let key = file(CAMERA, 0);
        let mut bytes = out[&key].to_vec();
        let mut changed = 0;
        for at in 0..bytes.len() - from.len() {
            if bytes[at..].starts_with(from) {
                bytes[at..at + to.len()].copy_from_slice(to);
                changed += 1;
            }
        }
        assert!(changed > 0);
        out.insert(key, bytes.into());
    }
    let cases: [(&str, Change); 8] = [
        (
            "the video observation.images.front is av1, 16 x 12, yuv420p, 10 frames a second in the dataset and h264, 16 x 12, \
             yuv420p, 10 frames a second in the recordings: take encoder = \"ffmpeg:libsvtav1\"",
            |out| edit(out, "\"video.codec\": \"h264\"", "\"video.codec\": \"av1\""),
        ),
        // Where info.json does not say, the file does.
        ("no encoder of this program makes hevc", |out| {
            edit(out, "\"video.codec\"", "\"codec\"");
            patch(out, b"avc1", b"hvc1");
        }),
        ("is h264, 18 x 12,", |out| edit(out, "\"video.width\": 16", "\"video.width\": 18")),
        ("is h264, 18 x 14,", |out| {
            edit(out, "\"video.width\"", "\"width\"");
            edit(out, "\"video.height\"", "\"height\"");
            patch(out, &[0, 16, 0, 12], &[0, 18, 0, 14]);
        }),
        ("yuv444p, 10 frames a second in the dataset", |out| edit(out, "yuv420p", "yuv444p")),
        ("only a mapping of 15 frames a second fits", |out| {
            edit(out, "\"video.fps\": 10", "\"video.fps\": 15")
        }),
        ("no episode is in videos/observation.images.front/chunk-000/file-004.mp4", |out| {
            _ = out.insert(file(CAMERA, 4), Bytes::from_static(b"x"));
        }),
        ("get it back before anything is added", |out| {
            let cut = out[&file(SECOND_CAMERA, 0)].slice(..100);
            out.insert(file(SECOND_CAMERA, 0), cut);
        }),
    ];
    for (want, change) in cases {
        let mut before = dataset(&filmed(first()));
        change(&mut before);
        let out = memory(&before);
        let error = assemble(Arc::new(out.clone()), &filmed(second()), Some("one")).unwrap_err();
        assert_eq!(error.class(), Class::Permanent);
        assert!(error.to_string().contains(want), "{want}: {error}");
        assert!(out.snapshot() == before, "{want}: nothing is written");
    }
    let out = memory(&base());
    let error = assemble(Arc::new(out.clone()), &filmed(second()), Some("one")).unwrap_err().to_string();
    assert!(error.contains("front is image [12, 16, 3] in the dataset and video"), "{error}");
}
