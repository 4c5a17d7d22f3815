//! Recordings added to a dataset that is there: by `run`, killed and started again, and by `submit` to workers.

use crate::lab::{Lab, short};
use roboflow_proptests::program::{Running, dataset_bytes};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use std::fs;
use std::path::Path;

const QUEUE: &str = "--store sqlite:queue.db";

/// Three recordings in `in/`, and two in `more/`, with a camera each.
fn lab() -> Lab {
    let lab = Lab::with(3, &Robot { cameras: 1, ..short() });
    fs::create_dir(lab.path("more")).unwrap();
    for number in [8, 9] {
        let robot = Robot { seed: number, cameras: 1, ..short() };
        robot.write(&lab.path(&format!("more/r{number}.mcap")));
    }
    lab
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn valid(lab: &Lab, set: &str, episodes: usize) {
    let said = lab.run(&format!("validate {set}"));
    let wanted = format!(": {episodes} episodes,");
    assert!(said.expect_code(0).stdout.contains(&wanted), "{}", said.stdout);
}

#[test]
fn a_run_adds_to_a_dataset_and_killed_at_any_moment_it_ends_in_the_same_bytes() {
    let lab = lab();
    lab.run("run in --out set --segment-frames 30").expect_code(0);
    let refused = lab.run("run more --out copied --append");
    assert!(refused.expect_code(66).stderr.contains("leave out --append"), "{}", refused.stderr);
    copy(&lab.path("set"), &lab.path("other"));
    fs::remove_dir_all(lab.path("other/.roboflow")).unwrap();
    let refused = lab.run("run more --out other");
    assert!(refused.expect_code(73).stderr.contains("give --append"), "{}", refused.stderr);
    copy(&lab.path("other"), &lab.path("plain"));
    let added = lab.run("run more --out plain --append --segment-frames 30");
    assert!(added.expect_code(0).stdout.contains("5 episodes,"), "{}", added.stdout);
    valid(&lab, "plain", 5);
    let want = dataset_bytes(&lab.path("plain"));

    // A copy for each moment: that of which the ready-made queue knows nothing.
    for moment in 0..4 {
        let set = format!("killed-{moment}");
        copy(&lab.path("other"), &lab.path(&set));
        let command = format!("run more --out {set} --append --segment-frames 30");
        let mut running = lab.start(&command);
        let folder = lab.path(&set);
        let reached = running.until("its moment", || moments(&folder) >= moment);
        running.signal(Signal::KILL);
        running.wait();
        assert!(reached, "it ended before moment {moment}");
        valid(&lab, &set, if moments(&folder) > 3 { 5 } else { 3 });
        let other = lab.run(&format!("run in --out {set} --append --segment-frames 30"));
        if other.code() == Some(78) {
            assert!(other.stderr.contains("begun with other settings"), "{}", other.stderr);
            lab.run(&command).expect_code(0);
            assert_eq!(dataset_bytes(&folder), want, "killed at moment {moment}");
        }
    }
    let again = lab.run("run more --out plain --append --segment-frames 30");
    assert!(again.expect_code(0).stderr.contains("complete already"), "{}", again.stderr);
    assert_eq!(dataset_bytes(&lab.path("plain")), want);
}

/// How far an append is: begun, a segment staged, being assembled, new data there, published.
fn moments(set: &Path) -> usize {
    let staged = fs::read_dir(set.join(".roboflow")).is_ok_and(|mut entries| {
        entries.any(|entry| {
            let path = entry.unwrap().path();
            path.file_name().unwrap().to_string_lossy().starts_with("staging-")
                && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        })
    });
    let info = fs::read_to_string(set.join("meta/info.json")).unwrap();
    if info.contains("\"total_episodes\": 5") {
        4
    } else if set.join("data/chunk-000/file-001.parquet").exists() {
        3
    } else if set.join(".roboflow/append.json").exists() {
        2
    } else {
        usize::from(staged)
    }
}

fn stop(worker: Running) {
    worker.signal(Signal::TERM);
    worker.wait().expect_code(0);
}

#[test]
fn batches_that_are_submitted_to_one_output_are_added_in_their_order() {
    let lab = lab();
    lab.run("run in --out ran --segment-frames 30").expect_code(0);
    lab.run("run more/r8.mcap --out ran --append --segment-frames 30").expect_code(0);
    lab.run("run more/r9.mcap --out ran --append --segment-frames 30").expect_code(0);
    valid(&lab, "ran", 5);

    lab.run(&format!("submit in --out set --segment-frames 30 {QUEUE}")).expect_code(0);
    for recording in ["r8", "r9"] {
        let command = format!("submit more/{recording}.mcap --out set --append --segment-frames 30 {QUEUE}");
        let said = lab.run(&command);
        assert!(said.expect_code(0).stdout.contains("1 new recording"), "{}", said.stdout);
    }
    let workers =
        ["one", "two"].map(|name| lab.start(&format!("worker {QUEUE} --name {name} --poll-interval 50ms")));
    let last = format!("submit more/r9.mcap --out set --append --wait --wait-interval 50ms {QUEUE}");
    assert!(lab.run(&last).expect_code(0).stdout.contains("5 episodes,"));
    workers.into_iter().for_each(stop);
    valid(&lab, "set", 5);
    assert_eq!(dataset_bytes(&lab.path("set")), dataset_bytes(&lab.path("ran")));
    let known = lab.run(&format!("submit in --out set --append {QUEUE}"));
    assert!(known.expect_code(0).stdout.contains("nothing new"), "{}", known.stdout);
}

#[test]
fn videos_are_added_by_a_run_and_through_the_queue_to_the_same_bytes() {
    let lab = lab();
    let film = "--segment-frames 30 --video-encoder openh264";
    lab.run(&format!("run in --out ran {film}")).expect_code(0);
    let first = dataset_bytes(&lab.path("ran"));
    for recording in ["r8", "r9"] {
        // The mapping is the dataset's own, videos and all.
        lab.run(&format!("run more/{recording}.mcap --out ran --append --segment-frames 30")).expect_code(0);
    }
    let videos = "ran/videos/observation.images.camera_0/chunk-000";
    for number in 0..3 {
        assert!(lab.path(&format!("{videos}/file-{number:03}.mp4")).is_file(), "{number}");
    }
    let checked = lab.run("validate ran --deep");
    assert!(checked.expect_code(0).stdout.contains("5 episodes,"), "{}", checked.stdout);
    let after = dataset_bytes(&lab.path("ran"));
    let old = first.iter().filter(|(key, _)| key.starts_with("videos/") || key.starts_with("data/"));
    assert!(old.clone().count() == 2 && old.into_iter().all(|(key, body)| after[key] == *body));

    // Two batches in line for one output, with two workers.
    lab.run(&format!("submit in --out set {film} {QUEUE}")).expect_code(0);
    for recording in ["r8", "r9"] {
        let command = format!("submit more/{recording}.mcap --out set --append --segment-frames 30 {QUEUE}");
        assert!(lab.run(&command).expect_code(0).stdout.contains("1 new recording"));
    }
    let workers =
        ["one", "two"].map(|name| lab.start(&format!("worker {QUEUE} --name {name} --poll-interval 50ms")));
    let last = format!("submit more/r9.mcap --out set --append --wait --wait-interval 50ms {QUEUE}");
    assert!(lab.run(&last).expect_code(0).stdout.contains("5 episodes,"));
    workers.into_iter().for_each(stop);
    assert_eq!(dataset_bytes(&lab.path("set")), after);
}

#[test]
fn what_does_not_fit_the_dataset_is_refused_before_anything_is_converted() {
    let lab = lab();
    lab.run("run in --out set --video-encoder openh264").expect_code(0);
    let before = dataset_bytes(&lab.path("set"));
    let mapping = fs::read_to_string(lab.path("set/meta/roboflow/mapping.toml")).unwrap();
    let cases = [
        (
            "kind = \"video\"",
            "kind = \"image\"",
            "is video in the dataset and image by the mapping: take kind = \"video\"",
        ),
        ("fps = ", "fps = 1", "frames a second, the mapping 1"),
        (
            "name = \"observation.state\"",
            "name = \"observation.other\"",
            "the mapping has the feature observation.other",
        ),
        ("fps = ", "robot_type = \"aloha\"\nfps = ", ""),
    ];
    for (from, to, says) in cases {
        let other = mapping.replacen(from, to, 1);
        let other =
            if to.contains("image") { other.replace("[video]\nencoder = \"openh264\"", "") } else { other };
        assert_ne!(other, mapping);
        fs::write(lab.path("other.toml"), other).unwrap();
        let ran = lab.run("run more --out set --append --mapping other.toml");
        if says.is_empty() {
            // A robot that the dataset does not name is no difference; and the run is a run.
            ran.expect_code(0);
            continue;
        }
        assert!(ran.expect_code(78).stderr.contains(says), "{says}: {}", ran.stderr);
        assert_eq!(dataset_bytes(&lab.path("set")), before, "{says}");
    }
}

#[test]
fn a_summary_lists_what_this_batch_left_out_and_not_what_others_did() {
    let lab = lab();
    fs::write(lab.path("in/old.mcap"), b"not a recording at all").unwrap();
    fs::write(lab.path("more/new.mcap"), b"not a recording either").unwrap();
    let mapping = lab.run("inspect in/r0.mcap --suggest");
    fs::write(lab.path("map.toml"), mapping.expect_code(0).stdout.as_bytes()).unwrap();
    let first = lab.run("run in --out set --mapping map.toml --skip-failed");
    assert!(first.expect_code(0).stdout.contains("1 of 4 recordings skipped"), "{}", first.stdout);
    let added = lab.run("run more --out set --append --skip-failed");
    let said = &added.expect_code(0).stdout;
    assert!(said.contains("1 of 3 recordings skipped") && said.contains("new.mcap"), "{said}");
    assert!(!said.contains("old.mcap"), "{said}");
    let again = lab.run("run more --out set --append --skip-failed");
    assert!(!again.expect_code(0).stdout.contains("old.mcap"), "{}", again.stdout);
    let card = fs::read_to_string(lab.path("set/README.md")).unwrap();
    assert!(card.contains("old.mcap") && card.contains("new.mcap"), "the card is about all of it");
}
