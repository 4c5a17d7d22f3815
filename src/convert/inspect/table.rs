//! A report as text for a terminal: the topics in a table, beside it or above it when they speak, then their fields.
//!
//! Columns are as wide as their longest cell; the field list of a topic wraps to the width.

use super::{Look, MAX_COLUMNS, Report, TopicReport, timeline};
use crate::readable::{bytes, instant, millis, name};

const HEADER: [&str; 8] = ["topic", "type", "encoding", "messages", "Hz", "jitter", "longest gap", "gaps"];
/// Columns with numbers, set to the right.
const RIGHT_FROM: usize = 3;
/// Narrowest text that is wrapped to.
const WIDTH_MIN: usize = 40;
/// Narrowest timeline that stands beside the table.
const BESIDE_MIN: usize = 40;
/// Narrowest timeline at all.
const COLUMNS_MIN: usize = 16;
const INDENT: &str = "    ";
const BETWEEN: &str = "  ";

/// How a report is laid out in a width.
struct Layout {
    rows: Vec<[String; 8]>,
    widths: [usize; 8],
    beside: bool,
    /// Width of the names of a timeline that stands above the table.
    names: usize,
    /// Width of the timeline.
    columns: usize,
}

impl Layout {
    fn of(report: &Report, look: Look) -> Self {
        let width = look.width.max(WIDTH_MIN);
        let rows: Vec<[String; 8]> = report.topics.iter().map(row).collect();
        let mut widths = HEADER.map(str::len);
        for cells in &rows {
            for (most, cell) in widths.iter_mut().zip(cells) {
                *most = (*most).max(chars(cell));
            }
        }
        let table = widths.iter().sum::<usize>() + BETWEEN.len() * HEADER.len();
        let names = report.topics.iter().map(|topic| chars(&name(&topic.name))).max().unwrap_or(0);
        let names = names.min(width * 2 / 5);
        let beside = table + BESIDE_MIN <= width;
        let columns = width.saturating_sub(if beside { table } else { names + BETWEEN.len() });
        Self { rows, widths, beside, names, columns: columns.clamp(COLUMNS_MIN, MAX_COLUMNS) }
    }
}

/// How many columns the timeline has.
pub(super) fn timeline_columns(report: &Report, look: Look) -> usize {
    Layout::of(report, look).columns
}

pub(super) fn render(report: &Report, look: Look) -> String {
    let width = look.width.max(WIDTH_MIN);
    let layout = Layout::of(report, look);
    let columns = report.topics.iter().map(|topic| topic.timeline.len()).max().unwrap_or(0);
    let mut lines = vec![summary(report)];
    lines.extend(report.start_ns.filter(|_| columns > 0).map(|start| when(report, start, columns, look)));
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {}", name(warning))));
    lines.push(String::new());
    if columns > 0 && !layout.beside {
        lines.extend(above(report, &layout, look));
        lines.push(String::new());
    }
    let beside = columns > 0 && layout.beside;
    let mut header = line(&HEADER.map(str::to_owned), &layout.widths);
    if beside {
        header.push_str(BETWEEN);
        header.push_str(&timeline::axis(report, columns, look));
    }
    lines.push(header);
    for (cells, topic) in layout.rows.iter().zip(&report.topics) {
        let mut row = line(cells, &layout.widths);
        if beside {
            row.push_str(BETWEEN);
            row.push_str(&timeline::line(report, topic, look));
        }
        lines.push(row);
        if let Some(why) = &topic.unreadable {
            lines.extend(wrapped(&format!("cannot be read: {}", name(why)), width));
        }
    }
    lines.push(String::new());
    lines.push("fields".to_owned());
    for topic in report.topics.iter().filter(|topic| !topic.fields.is_empty()) {
        lines.push(format!("  {}", name(&topic.name)));
        let fields: Vec<String> =
            topic.fields.iter().map(|field| format!("{}\u{a0}{}", name(&field.path), field.kind)).collect();
        lines.extend(wrapped(&fields.join(", "), width));
    }
    let text: String = lines.iter().map(|line| format!("{}\n", line.trim_end())).collect();
    text.replace('\u{a0}', " ")
}

/// The timeline as a block of its own.
fn above(report: &Report, layout: &Layout, look: Look) -> Vec<String> {
    let names = layout.names;
    let labelled = |label: &str, rest: &str| {
        let space = " ".repeat(names.saturating_sub(chars(label)));
        format!("{label}{space}{BETWEEN}{rest}")
    };
    let mut lines = vec![labelled("", &timeline::axis(report, layout.columns, look))];
    for topic in &report.topics {
        lines.push(labelled(&cut(&name(&topic.name), names), &timeline::line(report, topic, look)));
    }
    lines
}

/// A name in `width` columns: of a longer one the end, which tells topics apart.
fn cut(text: &str, width: usize) -> String {
    let over = chars(text).saturating_sub(width);
    if over == 0 { text.to_owned() } else { format!("~{}", text.chars().skip(over + 1).collect::<String>()) }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn summary(report: &Report) -> String {
    let state = match (report.cut, report.indexed) {
        (true, _) => "cut short",
        (false, true) => "indexed",
        (false, false) => "without an index",
    };
    format!(
        "{}: {}, {:.3} s, {} messages of {} topics in {} chunks, {state}",
        name(&report.file),
        bytes(report.size_bytes),
        report.duration_s,
        report.messages,
        report.topics.len(),
        report.chunks
    )
}

fn when(report: &Report, start_ns: u64, columns: usize, look: Look) -> String {
    let dot = if look.unicode { '·' } else { '.' };
    let column = millis(report.span_s() * 1e3 / columns as f64);
    // The unit of a microsecond is the one letter here that is not ASCII.
    let column = if look.unicode { column } else { column.replace('µ', "u") };
    format!("from {}; a column is {column}, {dot} a gap", instant(start_ns / 1_000_000))
}

fn row(topic: &TopicReport) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let named = |text: &str| or_dash(Some(name(text)).filter(|text| !text.is_empty()));
    let times = &topic.times;
    [
        name(&topic.name),
        named(&topic.schema),
        named(&topic.encoding),
        topic.messages.to_string(),
        or_dash(times.rate_hz.map(|rate| format!("{rate:.1}"))),
        or_dash(times.jitter_ms.map(|jitter| format!("{jitter:.2} ms"))),
        or_dash(times.longest_gap_ms.map(|gap| format!("{gap:.1} ms"))),
        times.gaps.to_string(),
    ]
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let pad = |(at, (cell, width)): (usize, (&String, &usize))| {
        let space = " ".repeat(width.saturating_sub(chars(cell)));
        if at < RIGHT_FROM { format!("{cell}{space}") } else { format!("{space}{cell}") }
    };
    cells.iter().zip(widths).enumerate().map(pad).collect::<Vec<_>>().join(BETWEEN)
}

/// A text in indented lines of at most `width` columns, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if chars(line) + 1 + chars(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}
