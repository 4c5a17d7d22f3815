//! When each topic speaks, as a picture in characters: a line a topic, a column a part of the recording.
//!
//! The height of a column is its share of what is usual for the topic. A gap is a dotted line, a time before a topic's
//! first message or after its last is blank.

use super::times::Gap;
use super::{Look, Report, TopicReport};
use crate::readable::clock;

/// Heights, the lowest first. The full block is left out: it would run into the line above.
const BLOCKS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const PLAIN: [char; 7] = [':', '-', '~', '=', '+', '*', '#'];

/// How high a column stands, from 0 (nothing) to `levels`, against what is usual for its topic.
pub(super) fn levels(counts: &[u64], levels: u64) -> Vec<u64> {
    let speaking = counts.iter().filter(|count| **count > 0).count() as u64;
    let most = counts.iter().max().copied().unwrap_or(0);
    let mean = counts.iter().sum::<u64>() / speaking.max(1);
    // A burst may stand at most twice as high as it is drawn, or it would flatten all else.
    let full = mean.max(most / 2).max(1);
    let level = |count: &u64| match count {
        0 => 0,
        count => ((count.min(&full) * levels + full / 2) / full).clamp(1, levels),
    };
    counts.iter().map(level).collect()
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Blank,
    Gap,
    Level(u64),
}

fn cells(report: &Report, topic: &TopicReport) -> Vec<Cell> {
    let columns = topic.timeline.len();
    let is_gap = |column: usize| {
        let touches = |gap: &&Gap| {
            let (from, to) =
                (report.place(gap.at_ns), report.place(gap.at_ns) + gap.ms / 1e3 / report.span_s());
            from * columns as f64 <= (column + 1) as f64 && to * columns as f64 >= column as f64
        };
        topic.times.longest_gaps.iter().any(|gap| touches(&gap))
    };
    let cell = |(column, level): (usize, u64)| match level {
        0 if is_gap(column) => Cell::Gap,
        0 => Cell::Blank,
        level => Cell::Level(level),
    };
    levels(&topic.timeline, BLOCKS.len() as u64).into_iter().enumerate().map(cell).collect()
}

/// The line of one topic, as wide as its timeline.
pub(super) fn line(report: &Report, topic: &TopicReport, look: Look) -> String {
    let (set, dot) = if look.unicode { (BLOCKS, '·') } else { (PLAIN, '.') };
    let mut line = String::new();
    let mut colour = "";
    for cell in cells(report, topic) {
        let (wanted, char) = match cell {
            Cell::Blank => ("", ' '),
            Cell::Gap => ("\u{1b}[31m", dot),
            Cell::Level(level) => {
                let at = usize::try_from(level.saturating_sub(1)).unwrap_or(0);
                ("\u{1b}[36m", set.get(at).copied().unwrap_or(' '))
            }
        };
        if look.colour && wanted != colour {
            line.push_str(if wanted.is_empty() { "\u{1b}[0m" } else { wanted });
            colour = wanted;
        }
        line.push(char);
    }
    if !colour.is_empty() {
        line.push_str("\u{1b}[0m");
    }
    line
}

/// The axis: where it begins and ends, and the middle where there is room.
pub(super) fn axis(report: &Report, columns: usize, look: Look) -> String {
    let dash = if look.unicode { '─' } else { '-' };
    let span = report.span_s();
    let (start, middle, end) = (clock(0.0), clock(span / 2.0), clock(span));
    let length = |text: &str| text.chars().count();
    let dashes = |count: usize| std::iter::repeat_n(dash, count).collect::<String>();
    let used = length(&start) + length(&end);
    let middle = if used + length(&middle) + 12 <= columns { middle } else { String::new() };
    let pad = if middle.is_empty() { 0 } else { 2 };
    let rest = columns.saturating_sub(used + length(&middle) + 2 + pad);
    let before = (columns / 2).saturating_sub(length(&start) + 2 + length(&middle) / 2).min(rest);
    if middle.is_empty() {
        return format!("{start} {} {end}", dashes(rest));
    }
    format!("{start} {} {middle} {} {end}", dashes(before), dashes(rest - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_topic_is_a_level_line_and_one_message_shows_beside_many() {
        assert_eq!(levels(&[7, 8, 7, 7, 8], 7), [7, 7, 7, 7, 7]);
        assert_eq!(levels(&[1, 0, 1, 0], 7), [7, 0, 7, 0]);
        assert_eq!(levels(&[100, 1, 0, 50, 10], 7), [7, 1, 0, 7, 1]);
        assert_eq!(levels(&[0, 0], 7), [0, 0]);
    }
}
