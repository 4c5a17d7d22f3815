//! What a report says of recordings with gaps, unreadable topics, damage, cameras and hostile names.

use super::*;
use crate::convert::testing::{MS, Said, image, joints, png_file, recording, stored};
use serde_json::json;

const LOOK: Look = Look { width: 60, unicode: true, colour: false };

fn opened(file: &[u8]) -> Recording {
    Recording::open(stored(file), "in/one.mcap", &StopFlag::default()).unwrap()
}

fn report(said: &[Said], options: &Options) -> Report {
    inspect(&opened(&recording(said, 1000)), options, &StopFlag::default()).unwrap()
}

fn said() -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for ms in (0..1000).step_by(10).filter(|ms| !(300..700).contains(ms)) {
        said.push(joints(ms, &["a"], &[0.5]));
    }
    said.push(("/once", 500 * MS, json!({ "on": true })));
    said
}

fn page(report: &Report) -> String {
    let mut page = Vec::new();
    report.write_html(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn rates_and_gaps_come_from_the_log_times() {
    let report = report(&said(), &Options::default());
    let joints = &report.topics[0];
    let times = &joints.times;
    assert_eq!((joints.name.as_str(), joints.messages), ("/joints", 60));
    assert_eq!((times.gaps, times.longest_gap_ms, times.longest_gap_at_ns), (1, Some(410.0), Some(290 * MS)));
    assert_eq!(times.longest_gaps, [Gap { at_ns: 290 * MS, ms: 410.0 }]);
    assert!((times.rate_hz.unwrap() - 59.0 / 0.99).abs() < 1e-9);
    assert_eq!((report.messages, report.duration_s), (61, 0.99));
    assert_eq!((report.start_ns, report.end_ns), (Some(0), Some(990 * MS)));
    assert!(report.indexed && !report.cut && report.chunks > 1);
    let once = &report.topics[1];
    assert_eq!((once.times.rate_hz, once.times.longest_gap_ms, once.times.gaps), (None, None, 0));
    assert_eq!(once.fields, [FieldReport { path: "on".to_owned(), kind: "bool".to_owned() }]);
    assert_eq!((joints.timeline.len(), joints.timeline.iter().sum::<u64>()), (COLUMNS, 60));
    assert!(report.topics.iter().all(|topic| topic.details.is_none()));
}

#[test]
fn the_text_names_everything_within_its_width() {
    let mut report = report(&said(), &Options { fit: Some(LOOK), ..Options::default() });
    report.topics[1].unreadable =
        Some("its encoding is one that is not supported, and this text is long".to_owned());
    report.warnings.push("something to know".to_owned());
    let text = report.render(LOOK);
    assert!(text.contains("in/one.mcap: "), "{text}");
    assert!(text.contains("0.990 s, 61 messages of 2 topics"), "{text}");
    assert!(text.contains("warning: something to know\n"), "{text}");
    assert!(
        text.contains("\n/joints  -     json            60  59.6  0.00 ms     410.0 ms     1\n"),
        "{text}"
    );
    assert!(text.contains("\n    cannot be read: its encoding is one that is not\n    supported"), "{text}");
    assert!(text.contains("  /joints\n    name string[], position float64[]\n"), "{text}");
}

#[test]
fn a_line_shows_when_a_topic_speaks_and_where_it_is_silent() {
    let look = Look { width: 60, unicode: false, colour: false };
    let of = |look| report(&said(), &Options { fit: Some(look), ..Options::default() }).render(look);
    let text = of(look);
    let line =
        |text: &str, start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert_eq!(
        line(&text, "/joints"),
        format!("/joints  {}{}{}", "#".repeat(15), ".".repeat(21), "#".repeat(15))
    );
    assert_eq!(line(&text, "/once"), format!("/once    {}#", " ".repeat(25)));
    assert_eq!(line(&text, "         "), "         0.00 s -------------- 0.49 s --------------- 0.99 s");
    let coloured = of(Look { colour: true, ..look });
    assert_eq!(coloured.replace("\u{1b}[36m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", ""), text);
    assert!(coloured.contains("\u{1b}[36m####") && coloured.contains("\u{1b}[31m...."));
    let wide = of(Look { width: 200, unicode: true, colour: false });
    assert!(line(&wide, "/joints").contains("▇▇···"), "{wide}");
    assert!(wide.lines().all(|line| line.chars().count() <= 200), "{wide}");
    assert!(line(&wide, "topic").contains("0.00 s ─"), "{wide}");
}

#[test]
fn it_is_json_too() {
    let value = serde_json::to_value(report(&said(), &Options::default())).unwrap();
    assert_eq!(value["topics"][0]["type"], "");
    assert_eq!(value["topics"][0]["fields"][1]["type"], "float64[]");
    assert_eq!(value["topics"][0]["gaps"], 1);
    assert_eq!(value["topics"][0]["longest_gaps"][0]["ms"], 410.0);
    assert_eq!(value["topics"][0]["timeline"].as_array().unwrap().len(), COLUMNS);
    assert_eq!(value["topics"][0].get("details"), None);
}

/// Two cameras, one of which sends no pictures, and stamps that come late, early and not at all.
fn stamped() -> Vec<Said> {
    let mut said = Vec::new();
    for at in 0..100_u64 {
        let stamp_ms = if at == 40 { 0 } else { at * 10 + 1_000 - at % 10 };
        let stamp = json!({ "sec": stamp_ms / 1000, "nanosec": stamp_ms % 1000 * MS });
        let late = if at == 50 { 900 } else { at * 10 + 1_000 };
        said.push(("/pose", late * MS, json!({ "header": { "stamp": stamp }, "x": 0.5 })));
    }
    said.push(image(1_100, &png_file(8, 6, 90)));
    said
}

#[test]
fn details_tell_latencies_orders_sizes_and_pictures() {
    let report = report(&stamped(), &Options { details: true, ..Options::default() });
    let camera = report.topics[0].details.as_ref().unwrap();
    let picture = camera.picture.as_ref().unwrap();
    assert_eq!((picture.media_type, picture.shown.as_str()), ("image/png", "a PNG of 8 x 6"));
    assert_eq!((picture.bytes, picture.log_ns), (png_file(8, 6, 90).len(), 1_100 * MS));
    let pose = report.topics[1].details.as_ref().unwrap();
    assert_eq!((pose.messages, pose.header_unset, pose.header_unreadable), (100, 1, 0));
    assert_eq!((pose.log.back, pose.log.most_back_ms), (1, 590.0));
    assert_eq!(pose.header.unwrap().back, 0);
    let latency = pose.since_header.as_ref().unwrap();
    assert_eq!((latency.messages, latency.negative, latency.min_ms), (99, 1, -600.0));
    assert_eq!(latency.max_ms, 9.0);
    assert!((latency.median_ms - 5.0).abs() < 0.15, "{latency:?}");
    let publish = pose.since_publish.as_ref().unwrap();
    assert_eq!((publish.min_ms, publish.max_ms), (0.0, 0.0));
    assert_eq!(pose.largest_bytes, pose.bytes / 100 + 1);
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    let page = page(&report(&stamped(), &Options { details: true, ..Options::default() }));
    for part in [
        "<!doctype html>",
        "default-src 'none'",
        "prefers-color-scheme: dark",
        "<img src=\"data:image/png;base64,iVBOR",
        "alt=\"The first picture of /camera\"",
        "aria-label=\"100 messages from 0.00 s to",
        "Histogram of 99 messages: median",
        "1 message below zero: the two clocks differ.",
        "1 message whose own stamp is zero.",
        "The two stamps are the same in every message.",
    ] {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
    for address in ["http:", "https:", "src=\"/", "href=\"/", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(address), "{address}");
    }
}

#[test]
fn what_a_recording_says_is_never_markup_and_never_steers_a_terminal() {
    const HOSTILE: &str =
        "/<script>alert('1')</script><img src=x onerror=\"alert(2)\">\u{1b}[2J\u{202e}&amp;";
    let said = [(HOSTILE, 0, json!({ "<b>": 1.0, "\" onload=\"": 2.0 })), joints(5, &["a"], &[0.5])];
    let mut report = report(&said, &Options { details: true, ..Options::default() });
    report.file = HOSTILE.to_owned();
    report.warnings = vec![HOSTILE.to_owned()];
    let topic = &mut report.topics[0];
    topic.schema = HOSTILE.to_owned();
    topic.encoding = HOSTILE.to_owned();
    topic.unreadable = Some(HOSTILE.to_owned());
    topic.fields = vec![FieldReport { path: HOSTILE.to_owned(), kind: "float64".to_owned() }];
    topic.details.as_mut().unwrap().no_picture = Some(HOSTILE.to_owned());
    let page = page(&report);
    for part in ["<script", "<img", "<b>", "alert('", "onerror=\"", "\u{1b}", "\u{202e}"] {
        assert!(!page.contains(part), "{part:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    assert!(page.contains("&amp;amp;"), "what is escaped already is escaped again");
    let text = report.render(Look { colour: false, ..LOOK });
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn damage_that_details_meet_is_a_warning_and_the_rest_is_still_told() {
    let mut file = recording(&said(), 1000);
    let whole =
        inspect(&opened(&file), &Options { details: true, ..Options::default() }, &StopFlag::default());
    assert_eq!(whole.unwrap().warnings, Vec::<String>::new());
    // In the packed data of a chunk in the middle: its index still fits.
    let packed =
        file.windows(4).enumerate().filter(|(_, bytes)| *bytes == b"\x28\xb5\x2f\xfd").map(|(at, _)| at);
    let packed: Vec<usize> = packed.collect();
    assert!(packed.len() > 3, "{packed:?}");
    file[packed[packed.len() / 2] + 20] ^= 0x55;
    let report =
        inspect(&opened(&file), &Options { details: true, ..Options::default() }, &StopFlag::default());
    let report = report.unwrap();
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].starts_with("damaged at byte "), "{:?}", report.warnings);
    let looked = report.topics[0].details.as_ref().unwrap().messages;
    assert!((30..60).contains(&looked), "{looked}");
    assert_eq!(report.topics[0].messages, 60);
}
