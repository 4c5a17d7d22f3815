//! Recordings that are several episodes: by gaps, markers and ranges; what is left out; and the same bytes in any order.

use super::*;
use crate::convert::testing::recording_with;

/// Joints at 100 Hz and a camera at 20 Hz from one instant to another, in milliseconds.
fn spell(from: u64, to: u64) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for ms in (from..=to).step_by(10) {
        said.push(joints(ms, &["a", "b"], &[ms as f64, 0.5]));
        if ms % 50 == 0 {
            said.push(image(ms, &png_file(4, 3, (ms / 10 % 256) as u8)));
        }
    }
    said
}

/// Three spells: 2 s, then 0.3 s, then 1 s, with silences of 3 s between them.
fn spells() -> Vec<Said> {
    [spell(0, 2000), spell(5000, 5300), spell(8300, 9300)].concat()
}

fn mapping(episodes: &str) -> String {
    format!("{HEAD}{STATE}{FRONT}[episodes]\n{episodes}\n")
}

/// Frames, task, and the stamps of the first and last frame in milliseconds, of each episode.
fn told(job: &Job) -> Vec<(u64, String, u64, u64)> {
    let told = |episode: &StagedEpisode| {
        let sync = &episode.sync;
        (episode.frames, episode.task.clone(), sync.start_ns / MS, sync.end_ns / MS)
    };
    job.work.episodes().map(told).collect()
}

fn plain(told: &[(u64, u64, u64)]) -> Vec<(u64, String, u64, u64)> {
    told.iter().map(|(frames, start, end)| (*frames, "t".to_owned(), *start, *end)).collect()
}

#[test]
fn gaps_separate_episodes_that_are_as_recordings_of_their_own() {
    let split = mapping("split = \"gap\"\ngap_ms = 2999");
    let job = open(&spells(), &split, 8).unwrap().run();
    assert_eq!(told(&job), plain(&[(21, 0, 2000), (4, 5000, 5300), (11, 8300, 9300)]));
    let sized = |text: &Bytes| {
        String::from_utf8_lossy(text).lines().filter(|l| !l.contains("source_")).collect::<String>()
    };
    let files = job.files();
    for (number, spell) in [spell(0, 2000), spell(5000, 5300), spell(8300, 9300)].iter().enumerate() {
        let alone = open(spell, &mapping("split = \"file\""), 8).unwrap().run();
        for (key, bytes) in alone.files() {
            let key = key.replace("e000", &format!("e{number:03}"));
            if key.ends_with("json") {
                let stamps = ["start_ns", "end_ns"];
                assert!(stamps.iter().all(|stamp| sized(&bytes).contains(stamp)));
                assert_eq!(sized(&files[&key]), sized(&bytes), "{key}");
            } else {
                assert_eq!(files[&key], bytes, "{key}");
            }
        }
    }
    assert_eq!(files.len(), 3 + 1 + 2 + 3, "no other file");
    let longer = open(&spells(), &mapping("split = \"gap\"\ngap_ms = 3000"), 8).unwrap();
    assert_eq!(told(&longer), plain(&[(94, 0, 9300)]), "3 s is not longer than 3 s");
}

#[test]
fn a_gap_may_be_one_topics() {
    let mut said = spells();
    said.extend((0..=93).map(|k| ("/clock", k * 100 * MS, json!({ "data": 1 }))));
    let clock = "[[feature]]\nname = \"c\"\nsource = [{ topic = \"/clock\", field = \"data\" }]\n";
    let by = |keys: &str| format!("{HEAD}{STATE}{clock}[episodes]\nsplit = \"gap\"\ngap_ms = 1000\n{keys}\n");
    assert_eq!(told(&open(&said, &by(""), 8).unwrap()), plain(&[(94, 0, 9300)]));
    let one = open(&said, &by("topic = \"/joints\""), 8).unwrap();
    assert_eq!(told(&one), plain(&[(21, 0, 2000), (4, 5000, 5300), (11, 8300, 9300)]));
}

#[test]
fn markers_place_frames_and_what_was_said_before_counts() {
    let mut said = spell(0, 3000);
    let markers = [(503, "start"), (1203, "stop"), (1300, "?"), (2007, "start")];
    said.extend(markers.map(|(ms, text)| ("/m", ms * MS, json!({ "data": text }))));
    let job =
        open(&said, &mapping("split = \"marker\"\ntopic = \"/m\"\nstart = \"start\"\nstop = \"stop\""), 8)
            .unwrap()
            .run();
    assert_eq!(told(&job), plain(&[(8, 503, 1203), (10, 2007, 2907)]));
    assert_eq!(vectors(&job.batch(0), "observation.state")[0], [500.0, 0.5], "the latest before the marker");
    let each = open(&said, &mapping("split = \"marker\"\ntopic = \"/m\""), 8).unwrap();
    assert_eq!(told(&each), plain(&[(7, 503, 1103), (1, 1203, 1203), (8, 1300, 2000), (10, 2007, 2907)]));
}

#[test]
fn markers_may_be_numbers_and_booleans() {
    let mut said = spell(0, 2000);
    said.extend(
        (0..20u64).map(|k| ("/on", k * 100 * MS, json!({ "data": (5..=8).contains(&k), "id": k / 8 }))),
    );
    let on =
        open(&said, &mapping("split = \"marker\"\ntopic = \"/on\"\nstart = true\nstop = false"), 8).unwrap();
    assert_eq!(told(&on), plain(&[(5, 500, 900)]));
    let id = open(&said, &mapping("split = \"marker\"\ntopic = \"/on\"\nfield = \"id\""), 8).unwrap();
    assert_eq!(told(&id), plain(&[(8, 0, 700), (8, 800, 1500), (5, 1600, 2000)]));
    let kind = refused(&said, &mapping("split = \"marker\"\ntopic = \"/on\"\nstart = \"go\""));
    assert_eq!(kind, "m.toml:13:9: data of /on is a number or a boolean: start = 1, or start = true");
    let never = refused(&said, &mapping("split = \"marker\"\ntopic = \"/on\"\nfield = \"id\"\nstart = 9"));
    assert_eq!(never, "m.toml:13:9: none of the 20 messages of /on in in/one.mcap begins an episode");
}

const RANGES: &str =
    r#"[{"start_s": 0.5, "end_s": 1.1, "task": " fold "}, {"start_ns": 1100000000, "end_ns": 99000000000}]"#;

#[test]
fn ranges_stand_beside_the_recording_or_in_its_metadata() {
    let expected = [(7, "fold".to_owned(), 500, 1100), (10, "t".to_owned(), 1100, 2000)];
    let input = stored(&recording(&spell(0, 2000), 2000));
    input.put("in/one.episodes.json", RANGES.as_bytes()).unwrap();
    let beside = mapping("split = \"ranges\"\nfile = \"{recording}.episodes.json\"");
    let beside = open_on(&input, &beside, 4).unwrap().run();
    assert_eq!(told(&beside), expected);
    let texts = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let one_each = [
        ("eps", texts(&[("start_s", "0.5"), ("end_s", "1.1"), ("task", "fold")])),
        ("eps", texts(&[("start_ns", "1100000000"), ("end_ns", "99000000000")])),
    ];
    let all_in_one = [("eps", texts(&[("episodes", RANGES)]))];
    for metadata in [&one_each[..], &all_in_one[..]] {
        let input = stored(&recording_with(&spell(0, 2000), 2000, metadata));
        let job = open_on(&input, &mapping("split = \"ranges\"\nmetadata = \"eps\""), 4).unwrap().run();
        let segments =
            |job: &Job| job.files().into_iter().filter(|(key, _)| key.ends_with("t")).collect::<Vec<_>>();
        assert_eq!((told(&job), segments(&job)), (expected.to_vec(), segments(&beside)));
        let none = open_on(&input, &mapping("split = \"ranges\"\nmetadata = \"ep\""), 4).err().unwrap();
        assert_eq!(
            none.to_string(),
            "m.toml:13:12: in/one.mcap has no metadata record \"ep\"; there are: \"eps\""
        );
    }
}

#[test]
fn ranges_that_cannot_be_used_are_named() {
    let input = stored(&recording(&spell(0, 2000), 2000));
    let beside = mapping("split = \"ranges\"\nfile = \"{recording}.episodes.csv\"");
    let refused = |mapping: &str| open_on(&input, mapping, 4).err().unwrap().to_string();
    let missing = refused(&beside);
    assert!(
        missing.starts_with("m.toml:13:8: ")
            && missing
                .ends_with("there is no in/one.episodes.csv: write the episodes of in/one.mcap into it"),
        "{missing}"
    );
    input.put("in/one.episodes.csv", b"start_s,end_s\n0,1\n2,1\n").unwrap();
    assert_eq!(
        refused(&beside),
        "in/one.episodes.csv: episode 2: it ends at 1.000000000 s, before it begins at 2.000000000 s"
    );
    input.put("in/one.episodes.csv", b"start_s,end_s\n0,1\n").unwrap();
    let no_task = beside.replace("[task]\ntext = \"t\"\n", "");
    assert!(
        refused(&no_task)
            .starts_with("in/one.mcap: the episode that ends at 1.000000000 s has no task: give it one")
    );
}

#[test]
fn episodes_are_trimmed_and_short_ones_left_out_with_a_word() {
    let keys = "split = \"gap\"\ngap_ms = 1000\ntrim_start_ms = 200\ntrim_end_ms = 50\nmin_frames = 9";
    let job = open(&spells(), &mapping(keys), 8).unwrap().run();
    assert_eq!(told(&job), plain(&[(18, 200, 1900)]), "episodes are numbered without gaps");
    let said = [
        "one: episode 2 of 3 (5.000000000 s to 5.300000000 s) is left out: it has 1 frames, and min_frames is 9",
        "one: episode 3 of 3 (from 8.300000000 s) is left out: it has 8 frames, and min_frames is 9",
    ];
    assert_eq!(job.work.warnings(), said);
    let in_dataset: Vec<String> = job.work.episodes().flat_map(|episode| episode.warnings.clone()).collect();
    assert_eq!(in_dataset, said.map(|line| line.replace("one: ", "")));
    let none = open(&spells(), &mapping("trim_start_ms = 9000\ntrim_end_ms = 301"), 8).err().unwrap();
    assert_eq!(
        none.to_string(),
        "in/one.mcap: nothing of its 9.300000000 s is left after trim_start_ms and trim_end_ms"
    );
    let short = open(&spells(), &mapping("min_frames = 95"), 8).err().unwrap();
    assert_eq!(
        short.to_string(),
        "in/one.mcap: none of its 1 episodes is left: episode 1 of 1 is left out: it has 94 frames, and min_frames is 95"
    );
}

#[test]
fn an_episode_without_a_topic_is_left_out_and_a_failing_one_is_named() {
    let mut said = spells();
    said.retain(|(topic, stamp_ns, _)| *topic == "/joints" || !(5000..6000).contains(&(stamp_ns / MS)));
    let job = open(&said, &mapping("split = \"gap\"\ngap_ms = 1000"), 8).unwrap();
    assert_eq!(
        job.work.warnings(),
        ["one: episode 2 of 3 (5.000000000 s to 5.300000000 s) is left out: /camera has no message in it"]
    );
    let strict = mapping("split = \"marker\"\ntopic = \"/joints\"\nfield = \"position[1]\"")
        .replace("select", "# select")
        .replace(
            "name = \"observation.state\"",
            "name = \"observation.state\"\ntolerance_ms = 10\non_missing = \"fail\"",
        );
    let mut holes = spell(0, 2000);
    holes.retain(|(_, stamp_ns, _)| !(1000..1200).contains(&(stamp_ns / MS)));
    let strict = strict.replace("# select = [\"a\", \"b\"] }]", "}]");
    let failed = open(&holes, &strict, 8).err().unwrap().to_string();
    assert!(
        failed.starts_with("in/one.mcap: none of its 1 episodes is left: episode 1 of 1 is left out: feature \"observation.state\": the frame at 1.100000000 s has no message"),
        "{failed}"
    );
    let whole = strict.split("[episodes]").next().unwrap();
    let failed = open(&holes, whole, 8).err().unwrap().to_string();
    assert!(failed.starts_with("in/one.mcap: feature \"observation.state\": the frame at 1.1"), "{failed}");
}

#[test]
fn an_episode_that_asks_to_fail_leaves_the_others_as_they_are() {
    // 0 to 2 s, 5 to 5.3 s, 8.3 to 9.3 s; the second has no joints for 150 ms.
    let mut said = spells();
    said.retain(|(topic, stamp_ns, _)| *topic != "/joints" || !(5110..5260).contains(&(stamp_ns / MS)));
    let strict = mapping("split = \"gap\"\ngap_ms = 1000").replace(
        "name = \"observation.state\"",
        "name = \"observation.state\"\ntolerance_ms = 50\non_missing = \"fail\"",
    );
    let job = open(&said, &strict, 8).unwrap().run();
    assert_eq!(told(&job), plain(&[(21, 0, 2000), (11, 8300, 9300)]), "numbered without a hole");
    let left_out: Vec<_> = job.work.episodes().map(|episode| episode.left_out.clone()).collect();
    let [first, second] = &left_out[..] else { panic!("{left_out:?}") };
    assert!(second.is_empty(), "said once: {second:?}");
    assert_eq!(first[0].episode, "episode 2 of 3 (5.000000000 s to 5.300000000 s)");
    assert!(
        first[0].reason.starts_with(
            "feature \"observation.state\": the frame at 5.200000000 s has no message of /joints within 50 ms"
        ),
        "{first:?}"
    );
    let without: Vec<Said> =
        said.iter().filter(|(_, stamp_ns, _)| !(5000..6000).contains(&(stamp_ns / MS))).cloned().collect();
    let alone = open(&without, &strict, 8).unwrap().run();
    let segments =
        |job: &Job| job.files().into_iter().filter(|(key, _)| key.ends_with("parquet")).collect::<Vec<_>>();
    assert_eq!(segments(&job), segments(&alone), "the others are what they were without it");
}

#[test]
fn the_last_task_before_an_episodes_end_is_its_own() {
    let mut said = spells();
    let tasks = [(0, "pour"), (4900, "fold"), (5100, "sort"), (9400, "late")];
    said.extend(tasks.map(|(ms, text)| ("/task", ms * MS, json!({ "data": text }))));
    let by_topic = mapping("split = \"gap\"\ngap_ms = 1000").replace("text = \"t\"", "topic = \"/task\"");
    let job = open(&said, &by_topic, 8).unwrap();
    let tasks: Vec<String> = job.work.episodes().map(|episode| episode.task.clone()).collect();
    assert_eq!(tasks, ["pour", "sort", "sort"]);
}

#[test]
fn any_order_of_segments_and_any_process_writes_the_same_bytes_of_all_episodes() {
    let mut said = spell(0, 6000);
    let markers = (0..12u64).map(|k| ("/m", (k * 500 + 3) * MS, json!({ "data": k % 3 })));
    said.extend(markers);
    let split = mapping("split = \"marker\"\ntopic = \"/m\"\nfield = \"data\"");
    let whole = open(&said, &split, 3).unwrap().run();
    let reference = whole.files();
    assert_eq!(whole.work.episodes().count(), 12);
    assert_eq!(reference.len(), 12 * 3, "two segments and episode.json each");
    let mut backwards = open_on(&whole.input, &split, 3).unwrap();
    for segment in (0..backwards.work.segments()).rev().chain([7, 2]) {
        backwards.work.run(segment, &StopFlag::default()).unwrap();
    }
    assert_eq!(backwards.files(), reference);
    for segment in 0..whole.work.segments() {
        let mut resumed = open_on(&whole.input, &split, 3).unwrap();
        resumed.work.run(segment, &StopFlag::default()).unwrap();
        for (key, bytes) in resumed.files() {
            assert_eq!(reference[&key], bytes, "{key} by a fresh process");
        }
    }
}

#[test]
fn thousands_of_episodes_are_numbered_past_999() {
    let said: Vec<Said> = (0..2500u64).map(|k| ("/x", k * 100 * MS, json!({ "data": k / 2 }))).collect();
    let mapping = format!(
        "{HEAD}[[feature]]\nname = \"x\"\nsource = [{{ topic = \"/x\", field = \"data\" }}]\n\
         [episodes]\nsplit = \"marker\"\ntopic = \"/x\"\nfield = \"data\"\n"
    );
    let job = open(&said, &mapping, 100).unwrap();
    assert_eq!((job.work.episodes().count(), job.work.segments()), (1250, 1250));
    let mut job = job;
    job.work.run(1249, &StopFlag::default()).unwrap();
    let keys: Vec<String> = job.files().into_keys().collect();
    assert_eq!(keys, ["job/e1249/episode.json", "job/e1249/segment-00000.parquet"]);
}

#[test]
fn clocks_that_jump_are_told_with_what_to_do() {
    let mut said = spell(0, 2000);
    said.extend(spell(500, 700));
    let job = open(&said, &mapping("split = \"file\""), 8).unwrap();
    let warnings = job.work.warnings();
    let joints = "one: the stamps of /joints go back once, at most by 1.500000000 s from 2.000000000 s to 0.500000000 s: a clock was set back";
    assert!(warnings.len() == 2 && warnings[0].starts_with(joints), "{warnings:?}");
    assert!(warnings[1].contains("/camera go back once"), "{warnings:?}");
    let apart = [spell(0, 1000), spell(50_000, 51_000)].concat();
    let told = open(&apart, &mapping("split = \"file\""), 8).unwrap().work.warnings();
    let silence = "one: no mapped topic says anything for 49.000000000 s after 1.000000000 s, and 0 more silences are over 30.000000000 s";
    assert!(told.len() == 1 && told[0].starts_with(silence), "{told:?}");
    let split = open(&apart, &mapping("split = \"gap\"\ngap_ms = 30000"), 8).unwrap();
    assert!(split.work.warnings().is_empty());
    assert_eq!(told_frames(&split), [11, 11]);
}

fn told_frames(job: &Job) -> Vec<u64> {
    told(job).into_iter().map(|(frames, ..)| frames).collect()
}

#[test]
fn rotations_take_the_shorter_way_where_the_mapping_or_the_type_says_so() {
    let turned = |ms: u64, by: f64| {
        let (sin, cos) = (by / 2.0).sin_cos();
        ("/pose", ms * MS, json!({ "data": [1.0, 0.0, 0.0, sin, cos] }))
    };
    // A quarter turn, then the same with the other sign.
    let said: Vec<Said> = (0..=4u64).map(|k| turned(k * 200, k as f64 * 0.5)).collect();
    let mut said = said;
    said[3].2 = json!({ "data": [1.0, -0.0, -0.0, -(0.75f64.sin()), -(0.75f64.cos())] });
    let at = |interpolate: &str| {
        let mapping = format!(
            "{HEAD}[[feature]]\nname = \"q\"\nalign = \"linear\"\nsource = [{{ topic = \"/pose\", field = \"data[1:5]\"{interpolate} }}]\n"
        );
        vectors(&open(&said, &mapping, 100).unwrap().run().batch(0), "q")
    };
    let by = |by: f64| [0.0, 0.0, (by / 2.0).sin() as f32, (by / 2.0).cos() as f32];
    let near = |got: &[f32], wanted: [f32; 4]| got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
    let slerped = at(", interpolate = \"slerp\"");
    assert!(near(&slerped[1], by(0.25)), "{slerped:?}");
    assert!(near(&slerped[5], by(1.25)), "over the sign: {slerped:?}");
    assert!(near(&slerped[7], by(1.75).map(|x| -x)), "{slerped:?}");
    let plain = at("");
    assert!(!near(&plain[1], by(0.25)), "four numbers are no rotation by themselves: {plain:?}");
    let wide = format!(
        "{HEAD}[[feature]]\nname = \"q\"\nalign = \"linear\"\nsource = [{{ topic = \"/pose\", field = \"data\", interpolate = \"slerp\" }}]\n"
    );
    assert!(
        refused(&said, &wide)
            .contains("data has 5 values, and interpolate = \"slerp\" takes them four by four")
    );
}
