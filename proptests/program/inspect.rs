//! `inspect` as a process: what goes to stdout, what to a file, and what is never overwritten.

use crate::lab::{Lab, short};
use roboflow_proptests::recording::Robot;
use serde_json::Value;
use std::fs;

#[test]
fn a_page_is_written_whole_and_stdout_is_left_to_results() {
    let lab = Lab::with(1, &Robot { cameras: 2, ..short() });
    let ran = lab.run("inspect in --html pages/report.html");
    ran.expect_code(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("pages/report.html"), "{}", ran.stderr);
    let page = fs::read_to_string(lab.path("pages/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<img src=\"data:image/jpeg;base64,").count(), 2);
    assert_eq!(fs::read_dir(lab.path("pages")).unwrap().count(), 1, "nothing else is left there");
    let both = lab.run("inspect in/r0.mcap --html pages/report.html --json");
    both.expect_code(0);
    let report: Value = serde_json::from_str(&both.stdout).unwrap();
    assert!(report["topics"][0]["details"]["since_header"]["messages"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(fs::read_to_string(lab.path("pages/report.html")).unwrap(), page, "the same page again");
}

#[test]
fn a_page_never_takes_the_place_of_a_recording() {
    let lab = Lab::with(2, &short());
    let before = fs::read(lab.path("in/r1.mcap")).unwrap();
    lab.run("inspect in/r0.mcap --html in/r1.mcap").expect_code(78);
    fs::copy(lab.path("in/r1.mcap"), lab.path("in/unnamed")).unwrap();
    lab.run("inspect in/unnamed").expect_code(0);
    lab.run("inspect in/unnamed --html ./in/unnamed").expect_code(78);
    assert_eq!(fs::read(lab.path("in/r1.mcap")).unwrap(), before);
    assert_eq!(fs::read(lab.path("in/unnamed")).unwrap(), before);
}

#[test]
fn of_several_recordings_one_must_be_named() {
    let lab = Lab::with(3, &short());
    let ran = lab.run("inspect in");
    ran.expect_code(66);
    assert!(ran.stderr.contains("3 recordings") && ran.stderr.contains("r0.mcap"), "{}", ran.stderr);
    let ran = lab.run("inspect gs://bucket/x.mcap");
    ran.expect_code(66);
    assert!(ran.stderr.contains("not served"), "{}", ran.stderr);
}

#[test]
fn what_is_piped_has_no_colours_and_is_ascii_unless_the_locale_says_more() {
    let mut lab = Lab::with(1, &short());
    let plain = lab.run("inspect in/r0.mcap");
    assert!(plain.stdout.is_ascii() && plain.stdout.contains("####"), "{}", plain.stdout);
    assert!(!plain.stdout.contains('\u{1b}'));
    lab.program = lab.program.with_env([("LANG", "C.UTF-8")]);
    assert!(lab.run("inspect in/r0.mcap").stdout.contains("▇▇▇"));
    assert_eq!(lab.run("inspect in/r0.mcap --ascii").stdout, plain.stdout);
    lab.program = lab.program.with_env([("LC_ALL", "C")]);
    assert_eq!(lab.run("inspect in/r0.mcap").stdout, plain.stdout, "the first that is set decides");
}

#[test]
fn a_mapping_is_tried_out_without_converting() {
    let lab = Lab::with(1, &short());
    fs::write(lab.path("m.toml"), lab.run("inspect in/r0.mcap --suggest").stdout).unwrap();
    let shown = lab.run("inspect in/r0.mcap --mapping m.toml");
    shown.expect_code(0);
    assert!(
        shown.stdout.contains("by m.toml: 1 episode") && shown.stdout.contains("observation.state"),
        "{}",
        shown.stdout
    );
    let json = lab.run("inspect in/r0.mcap --mapping m.toml --json");
    let preview: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(
        preview["frames"].as_u64().unwrap() > 5 && preview["episodes"][0]["sync"]["grid_frames"].is_u64(),
        "{preview}"
    );
    let text = fs::read_to_string(lab.path("m.toml")).unwrap();
    fs::write(lab.path("bad.toml"), text.replace("field = \"", "field = \"no_")).unwrap();
    let refused = lab.run("inspect in/r0.mcap --mapping bad.toml");
    refused.expect_code(65);
    assert!(refused.stderr.contains("bad.toml:") && refused.stdout.is_empty(), "{}", refused.stderr);
    lab.run("inspect in/r0.mcap --mapping none.toml").expect_code(66);
    lab.run("inspect in/r0.mcap --format v2.1").expect_code(78);
}
