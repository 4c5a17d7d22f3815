//! A report as a table for a terminal.
//!
//! Columns are as wide as their longest cell; the field list of a topic wraps to the width.

use super::{Report, TopicReport};

const HEADER: [&str; 7] = ["topic", "type", "encoding", "messages", "Hz", "longest gap", "gaps"];
/// Columns with numbers, set to the right.
const RIGHT_FROM: usize = 3;
/// Narrowest text that is wrapped to.
const WIDTH_MIN: usize = 40;
const INDENT: &str = "    ";

pub(super) fn render(report: &Report, width: usize) -> String {
    let width = width.max(WIDTH_MIN);
    let mut lines = vec![summary(report)];
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.push(String::new());
    let rows: Vec<[String; 7]> = report.topics.iter().map(row).collect();
    let header = HEADER.map(str::to_owned);
    let mut widths = [0usize; 7];
    for cells in rows.iter().chain([&header]) {
        for (most, cell) in widths.iter_mut().zip(cells) {
            *most = (*most).max(cell.chars().count());
        }
    }
    lines.push(line(&header, &widths));
    for (cells, topic) in rows.iter().zip(&report.topics) {
        lines.push(line(cells, &widths));
        if let Some(why) = &topic.unreadable {
            lines.extend(wrapped(&format!("cannot be read: {why}"), width));
        }
    }
    lines.push(String::new());
    lines.push("fields".to_owned());
    for topic in report.topics.iter().filter(|topic| !topic.fields.is_empty()) {
        lines.push(format!("  {}", topic.name));
        let fields: Vec<String> =
            topic.fields.iter().map(|field| format!("{}\u{a0}{}", field.path, field.kind)).collect();
        lines.extend(wrapped(&fields.join(", "), width));
    }
    let mut text: String = lines.iter().map(|line| format!("{}\n", line.trim_end())).collect();
    text = text.replace('\u{a0}', " ");
    text
}

fn summary(report: &Report) -> String {
    let state = match (report.cut, report.indexed) {
        (true, _) => "cut short",
        (false, true) => "indexed",
        (false, false) => "without an index",
    };
    format!(
        "{}: {}, {:.3} s, {} messages of {} topics in {} chunks, {state}",
        report.file,
        size(report.size_bytes),
        report.duration_s,
        report.messages,
        report.topics.len(),
        report.chunks
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn row(topic: &TopicReport) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let named = |text: &str| or_dash(Some(text.to_owned()).filter(|text| !text.is_empty()));
    [
        topic.name.clone(),
        named(&topic.schema),
        named(&topic.encoding),
        topic.messages.to_string(),
        or_dash(topic.rate_hz.map(|rate| format!("{rate:.1}"))),
        or_dash(topic.longest_gap_ms.map(|gap| format!("{gap:.1} ms"))),
        topic.gaps.to_string(),
    ]
}

fn line(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let pad = |(at, (cell, width)): (usize, (&String, &usize))| {
        let space = " ".repeat(width.saturating_sub(cell.chars().count()));
        if at < RIGHT_FROM { format!("{cell}{space}") } else { format!("{space}{cell}") }
    };
    cells.iter().zip(widths).enumerate().map(pad).collect::<Vec<_>>().join("  ")
}

/// A text in indented lines of at most `width` columns, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}
