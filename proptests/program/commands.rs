//! What the commands do and refuse, and with which exit codes.

use crate::lab::{Lab, short};
use roboflow_proptests::program::dataset_bytes;
use roboflow_proptests::recording::Robot;
use serde_json::Value;
use std::fs;

#[test]
fn run_makes_a_valid_dataset_and_says_so() {
    let lab = Lab::with(3, &Robot { cameras: 2, ..short() });
    let ran = lab.run("run in --out set --workers 2 --json");
    ran.expect_code(0);
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["episodes"], 3);
    assert_eq!(summary["recordings"], 3);
    assert!(summary["frames"].as_u64().unwrap() > 300, "{summary}");
    assert!(ran.stderr.contains("no --mapping: inferred this one"), "{}", ran.stderr);
    let checked = lab.run("validate set --json");
    checked.expect_code(0);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);
    assert!(!lab.path("set/.roboflow/staging").exists(), "staging is swept");
    assert!(lab.jobs("set").iter().all(|job| job["status"] == "completed"));
}

#[test]
fn bytes_are_a_function_of_recordings_and_configuration_alone() {
    let lab = Lab::with(3, &Robot { cameras: 1, ..short() });
    lab.run("run in --out one --workers 1").expect_code(0);
    lab.run("run in/r2.mcap in/r0.mcap in/r1.mcap --out three --workers 3").expect_code(0);
    assert_eq!(dataset_bytes(&lab.path("one")), dataset_bytes(&lab.path("three")));
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let lab = Lab::with(1, &Robot { cameras: 2, ..short() });
    lab.run("run in --out one --threads 1 --segment-frames 20").expect_code(0);
    for threads in ["2", "8"] {
        lab.run(&format!("run in --out set-{threads} --threads {threads} --segment-frames 20"))
            .expect_code(0);
        assert_eq!(
            dataset_bytes(&lab.path("one")),
            dataset_bytes(&lab.path(&format!("set-{threads}"))),
            "{threads}"
        );
    }
    let refused = lab.run("run in --out none --threads 0");
    refused.expect_code(78);
    assert!(refused.stderr.contains("--threads 0: it must be between 1 and"), "{}", refused.stderr);
}

#[test]
fn a_complete_output_is_shown_again_and_not_touched() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out set").expect_code(0);
    let before = fs::metadata(lab.path("set/meta/info.json")).unwrap().modified().unwrap();
    let again = lab.run("run in --out set");
    again.expect_code(0);
    assert!(again.stderr.contains("complete already"), "{}", again.stderr);
    assert!(again.stdout.contains("1 episode,"), "{}", again.stdout);
    assert_eq!(fs::metadata(lab.path("set/meta/info.json")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_foreign_output_is_refused_and_left_alone() {
    let lab = Lab::with(1, &short());
    fs::create_dir(lab.path("mine")).unwrap();
    fs::write(lab.path("mine/thesis.tex"), b"years of work").unwrap();
    let refused = lab.run("run in --out mine");
    refused.expect_code(73);
    assert!(refused.stderr.contains("choose another --out"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(lab.path("mine")).unwrap().count(), 1);
    let file = lab.run("run in --out in/r0.mcap");
    file.expect_code(73);
    assert!(file.stderr.contains("it is a file"), "{}", file.stderr);
}

#[test]
fn other_settings_for_the_same_output_are_refused_by_name() {
    let lab = Lab::with(2, &short());
    lab.run("run in --out set").expect_code(0);
    let refused = lab.run("run in --out set --segment-frames 50");
    refused.expect_code(78);
    assert!(refused.stderr.contains("--segment-frames was 100, now 50"), "{}", refused.stderr);
    short().write(&lab.path("in/r9.mcap"));
    let refused = lab.run("run in --out set");
    refused.expect_code(78);
    assert!(refused.stderr.contains("r9.mcap is new"), "{}", refused.stderr);
    fs::remove_file(lab.path("in/r9.mcap")).unwrap();
    Robot { seed: 77, ..short() }.write(&lab.path("in/r1.mcap"));
    let refused = lab.run("run in --out set");
    refused.expect_code(78);
    assert!(refused.stderr.contains("r1.mcap has changed"), "{}", refused.stderr);
}

#[test]
fn pitfall_29_an_output_that_cannot_be_written_is_an_error_and_nothing_is_written_elsewhere() {
    let lab = Lab::with(1, &short());
    fs::write(lab.path("file"), b"").unwrap();
    let refused = lab.run("run in --out file/set");
    refused.expect_code(73);
    assert!(refused.stderr.contains("file/set"), "{}", refused.stderr);
    let refused = lab.run("run in --out s3://bucket/set");
    refused.expect_code(2);
    assert!(refused.stderr.contains("s3://bucket/set"), "{}", refused.stderr);
    let mut left: Vec<_> =
        fs::read_dir(lab.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "in"]);
}

#[test]
fn impossible_settings_are_refused_with_the_arithmetic_before_anything_is_opened() {
    let lab = Lab::with(1, &short());
    for (settings, says) in [
        ("--drain-budget 40s --force-after 30s", "30"),
        ("--lease 5s --renew-interval 3s", "lease"),
        ("--shutdown-timeout 26s", "26"),
        ("--workers 0", "--workers 0"),
        ("--segment-frames 0", "--segment-frames 0"),
        ("--max-attempts 0", "--max-attempts 0"),
    ] {
        let refused = lab.run(&format!("run in --out set {settings}"));
        refused.expect_code(78);
        assert!(refused.stderr.contains(says), "{settings}: {}", refused.stderr);
        assert!(!lab.path("set").exists(), "{settings}: nothing is opened");
    }
    lab.run("run in --out set --log-level everything=loud=now").expect_code(78);
}

#[test]
fn missing_inputs_have_their_own_exit_code() {
    let lab = Lab::with(1, &short());
    lab.run("run nowhere --out set").expect_code(66);
    lab.run("run --resume --out set").expect_code(66);
    lab.run("run in --out set --mapping nowhere.toml").expect_code(66);
    lab.run("jobs stats --out nowhere").expect_code(66);
    lab.run("worker --store sqlite:nowhere.db").expect_code(66);
    assert!(!lab.path("set").exists());
    assert!(!lab.path("nowhere.db").exists(), "a worker never makes a queue");
}

#[test]
fn a_bad_recording_is_named_and_nothing_is_published_unless_it_is_skipped() {
    let lab = Lab::with(2, &short());
    fs::write(lab.path("in/broken.mcap"), b"not a recording at all").unwrap();
    let mapping = lab.run("inspect in/r0.mcap --suggest");
    fs::write(lab.path("map.toml"), mapping.expect_code(0).stdout.as_bytes()).unwrap();
    let failed = lab.run("run in --out set --mapping map.toml");
    failed.expect_code(65);
    assert!(failed.stderr.contains("broken.mcap"), "{}", failed.stderr);
    assert!(failed.stderr.contains("--skip-failed"), "{}", failed.stderr);
    assert!(!lab.path("set/meta/info.json").exists());
    let dead = lab.run("jobs list --out set --status dead --json");
    let dead: Vec<Value> = serde_json::from_str(&dead.expect_code(0).stdout).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["failures"], 1, "a permanent error is not retried: {dead:?}");
    let skipped = lab.run("run in --out set --mapping map.toml --skip-failed");
    skipped.expect_code(0);
    assert!(skipped.stdout.contains("1 of 3 recordings skipped"), "{}", skipped.stdout);
    assert!(skipped.stdout.contains("broken.mcap"), "{}", skipped.stdout);
    lab.run("validate set").expect_code(0);
}

#[test]
fn jobs_are_listed_shown_counted_cancelled_and_retried() {
    let lab = Lab::with(1, &short());
    lab.run("run in --out set").expect_code(0);
    let jobs = lab.jobs("set");
    let convert = jobs.iter().find(|job| job["kind"] == "convert").unwrap();
    let id = convert["id"].as_str().unwrap();
    assert!(lab.run(&format!("jobs get {} --out set", &id[..8])).expect_code(0).stdout.contains("r0.mcap"));
    let stats = lab.run("jobs stats --store sqlite:set/.roboflow/queue.db --json");
    let stats: Value = serde_json::from_str(&stats.expect_code(0).stdout).unwrap();
    assert_eq!((&stats["submitted"], &stats["completed"]), (&2.into(), &2.into()));
    let cancelled = lab.run(&format!("jobs cancel {id} --out set"));
    assert!(cancelled.expect_code(0).stdout.contains("completed already"), "{}", cancelled.stdout);
    lab.run(&format!("jobs retry {id} --out set")).expect_code(65);
    lab.run("jobs get ffffffffffffffffffffffffffffffffff --out set").expect_code(66);
}

#[test]
fn diagrams_come_in_every_format() {
    let lab = Lab::new();
    for (format, says) in [
        ("mermaid", "stateDiagram"),
        ("plantuml", "@startuml"),
        ("dot", "digraph"),
        ("scxml", "<scxml"),
        ("xstate", "\"states\""),
    ] {
        let drawn = lab.run(&format!("diagram --format {format}"));
        assert!(drawn.expect_code(0).stdout.contains(says), "{format}: {}", drawn.stdout);
    }
}

#[test]
fn bench_queue_measures_in_a_file_that_is_gone_afterwards() {
    let lab = Lab::new();
    let ran = lab.run("bench queue --jobs 20 --claimers 1,2 --json");
    ran.expect_code(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["levels"][1]["claimers"], 2);
    assert_eq!(report["levels"][1]["pairs"]["count"], 20);
    let file = report["store"].as_str().unwrap().strip_prefix("sqlite:").unwrap();
    assert!(!std::path::Path::new(file).parent().unwrap().exists(), "{file} is left behind");
    let shown = lab.run("bench queue --jobs 20 --claimers 1 --store sqlite:kept.db");
    shown.expect_code(0);
    assert!(shown.stdout.contains("claims/s") && shown.stdout.contains("2.00 gets"), "{}", shown.stdout);
    assert!(lab.path("kept.db").exists(), "a store that was named is kept");
    lab.run("bench queue --claimers 0").expect_code(2);
}

#[test]
fn bench_convert_measures_beside_its_limits_and_leaves_nothing_behind() {
    let lab = Lab::new();
    fs::create_dir(lab.path("disk")).unwrap();
    let small = "bench convert --seconds 2 --recordings 1 --cameras 1 --size 64x48 --rounds 1 --folder disk";
    let ran = lab.run(&format!("{small} --json"));
    ran.expect_code(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["frames"], &report["images"]), (&60.into(), &60.into()), "{report}");
    assert!(report["convert"]["mb_per_second"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["limits"].as_array().unwrap().len() >= 3, "{report}");
    let shown = lab.run(small);
    assert!(shown.expect_code(0).stdout.contains("of the slowest limit"), "{}", shown.stdout);
    assert_eq!(fs::read_dir(lab.path("disk")).unwrap().count(), 0, "something is left behind");
    lab.run("bench convert --size 1x1").expect_code(2);
    lab.run("bench convert --folder nowhere --seconds 1").expect_code(73);
}
