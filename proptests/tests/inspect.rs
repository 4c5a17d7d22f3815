//! What `inspect` shows of real recordings, held as files: text for terminals of two widths, and the page.
//!
//! `UPDATE_GOLDEN=1 cargo test -p roboflow-proptests --test inspect` writes them anew; look at them then.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests end when something is wrong")]

use mcap::WriteOptions;
use roboflow::convert::StopFlag;
use roboflow::convert::inspect::{Look, Options, Report, inspect, preview};
use roboflow::convert::mapping::Mapping;
use roboflow::convert::source::Recording;
use roboflow::storage::fs::FsStorage;
use roboflow_proptests::recordings::{CountingStorage, Written, data_folder, write_mcap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const TERMINALS: [Look; 3] = [
    Look { width: 80, unicode: true, colour: false },
    Look { width: 200, unicode: true, colour: false },
    Look { width: 80, unicode: false, colour: false },
];

fn report(key: &str, options: &Options) -> Report {
    let storage = FsStorage::open(&data_folder()).unwrap();
    let recording = Recording::open(Arc::new(storage), key, &StopFlag::default()).unwrap();
    inspect(&recording, options, &StopFlag::default()).unwrap()
}

fn page(report: &Report) -> String {
    let mut page = Vec::new();
    report.write_html(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// As a file in the repository holds it.
fn hold(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inspect").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        held == text,
        "{name} is another now: UPDATE_GOLDEN=1 cargo test -p roboflow-proptests --test inspect\n{text}"
    );
}

#[test]
fn text_for_terminals() {
    for (name, key) in
        [("two_cameras", "generated/two_cameras_000.mcap"), ("turtlesim_bag", "rosbagjs/example-lz4.bag")]
    {
        let mut shown = String::new();
        for look in TERMINALS {
            let text = report(key, &Options { fit: Some(look), ..Options::default() }).render(look);
            for line in text.lines().filter(|line| !line.starts_with("    ")) {
                let wide = line.chars().count();
                assert!(
                    wide <= look.width.max(120),
                    "{wide} columns in a terminal of {}: {line}",
                    look.width
                );
            }
            assert!(look.unicode || text.is_ascii(), "{text}");
            shown.push_str(&text);
            shown.push('\n');
        }
        hold(&format!("{name}.txt"), &shown);
    }
}

#[test]
fn a_page_with_cameras_and_one_of_a_bag() {
    let options = Options { details: true, ..Options::default() };
    let cameras = page(&report("generated/two_cameras_000.mcap", &options));
    assert_eq!(cameras.matches("<img src=\"data:image/jpeg;base64,/9j/").count(), 2);
    hold("two_cameras.html", &cameras);
    let bag = page(&report("rosbagjs/example-lz4.bag", &options));
    assert!(bag.contains("turtle1/<wbr>cmd_vel") && !bag.contains("<img"));
}

/// Every byte of a page is a function of the recording: the same numbers come out of its three forms.
#[test]
fn the_same_recording_in_other_files_has_the_same_numbers() {
    let options = Options { details: true, ..Options::default() };
    let of = |key: &str| {
        let report = report(key, &options);
        let of_topic = |topic: &roboflow::convert::inspect::TopicReport| {
            let details = topic.details.clone().unwrap();
            (topic.name.clone(), topic.times.clone(), topic.timeline.clone(), details)
        };
        report.topics.iter().map(of_topic).collect::<Vec<_>>()
    };
    assert_eq!(of("rosbagjs/example-lz4.bag"), of("rosbagjs/example-bz2.bag"));
}

#[test]
fn a_preview_reads_no_more_than_the_index_and_the_first_frame() {
    const NUMBER: &str = r#"{"type":"object","properties":{"x":{"type":"number"},"pad":{"type":"string"}}}"#;
    let body = format!(r#"{{"x":1.5,"pad":"{}"}}"#, "p".repeat(1_000));
    let said: Vec<Written<'_>> = (0..5_000).map(|k| ("/x", k * 1_000_000, body.as_bytes())).collect();
    let options = WriteOptions::new().compression(None).chunk_size(Some(64 << 10));
    let file = write_mcap(options, ("S", "jsonschema", NUMBER, "json"), &said).unwrap();
    let storage = CountingStorage::with("x.mcap", &file).unwrap();
    let text = "fps = 30\n[task]\ntext = \"t\"\n[[feature]]\nname = \"s\"\nsource = [{ topic = \"/x\", field = \"x\" }]\n";
    let mapping = Mapping::parse("m.toml", text).unwrap();
    let shown = preview(&storage.shared(), "x.mcap", &mapping, &StopFlag::default()).unwrap();
    assert_eq!((shown.frames, shown.episodes.len()), (150, 1));
    let read: usize = storage.take_reads().iter().map(|(_, length)| length).sum();
    assert!(read * 7 < file.len(), "{read} of {} bytes", file.len());
}
