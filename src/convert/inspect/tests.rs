//! What a report says of a recording with a gap, an unreadable topic and a cut.

use super::*;
use crate::convert::testing::{MS, Said, joints, recording, stored};
use serde_json::json;

fn report(said: &[Said]) -> Report {
    let storage = stored(&recording(said, 1000));
    let recording = Recording::open(storage, "in/one.mcap", &StopFlag::default()).unwrap();
    inspect(&recording, &StopFlag::default()).unwrap()
}

fn said() -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for ms in (0..1000).step_by(10).filter(|ms| !(300..700).contains(ms)) {
        said.push(joints(ms, &["a"], &[0.5]));
    }
    said.push(("/once", 500 * MS, json!({ "on": true })));
    said
}

#[test]
fn rates_and_gaps_come_from_the_log_times() {
    let report = report(&said());
    let joints = &report.topics[0];
    assert_eq!((joints.name.as_str(), joints.messages), ("/joints", 60));
    assert_eq!(
        (joints.gaps, joints.longest_gap_ms, joints.longest_gap_at_ns),
        (1, Some(410.0), Some(290 * MS))
    );
    assert!((joints.rate_hz.unwrap() - 59.0 / 0.99).abs() < 1e-9);
    assert_eq!((report.messages, report.duration_s), (61, 0.99));
    assert!(report.indexed && !report.cut && report.chunks > 1);
    let once = &report.topics[1];
    assert_eq!((once.rate_hz, once.longest_gap_ms, once.gaps), (None, None, 0));
    assert_eq!(once.fields, [FieldReport { path: "on".to_owned(), kind: "bool".to_owned() }]);
}

#[test]
fn the_table_names_everything_within_its_width() {
    let mut report = report(&said());
    report.topics[1].unreadable =
        Some("its encoding is one that is not supported, and this text is long".to_owned());
    report.warnings.push("something to know".to_owned());
    let text = report.render(60);
    assert!(text.contains("in/one.mcap: "), "{text}");
    assert!(text.contains("0.990 s, 61 messages of 2 topics"), "{text}");
    assert!(text.contains("warning: something to know\n"), "{text}");
    assert!(text.contains("\n/joints  -     json            60  59.6     410.0 ms     1\n"), "{text}");
    assert!(text.contains("\n    cannot be read: its encoding is one that is not\n    supported"), "{text}");
    assert!(text.contains("  /joints\n    name string[], position float64[]\n"), "{text}");
}

#[test]
fn it_is_json_too() {
    let value = serde_json::to_value(report(&said())).unwrap();
    assert_eq!(value["topics"][0]["type"], "");
    assert_eq!(value["topics"][0]["fields"][1]["type"], "float64[]");
}
