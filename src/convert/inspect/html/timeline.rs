//! When each topic speaks: a row a topic, drawn, and told in words for those who do not see it.

use super::super::timeline::levels;
use super::super::{Report, TopicReport};
use super::MAX_TOPICS;
use super::escape::Name;
use crate::readable::{clock, count, millis};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Units of the drawing: as high as the highest column, and a little above it.
const HEIGHT: u64 = 20;
const HIGHEST: u64 = 17;

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let span = report.span_s();
    write!(
        out,
        "<h2>Timeline</h2>\n<div class=\"card\"><table class=\"timeline\">\n\
         <caption>How dense the messages of each topic are, against what is usual for it; gaps are marked.</caption>\n\
         <thead><tr><th scope=\"col\">Topic</th><th scope=\"col\" class=\"axis\"><div><span>{}</span><span>{}</span>\
         <span>{}</span></div></th></tr></thead>\n<tbody>\n",
        clock(0.0),
        clock(span / 2.0),
        clock(span)
    )?;
    for (at, topic) in report.topics.iter().enumerate() {
        let name = Name(&topic.name);
        if at < MAX_TOPICS {
            write!(out, "<tr><th scope=\"row\"><a href=\"#t{at}\">{name}</a></th>")?;
        } else {
            write!(out, "<tr><th scope=\"row\">{name}</th>")?;
        }
        writeln!(out, "<td>{}</td></tr>", drawing(report, topic))?;
    }
    writeln!(out, "</tbody>\n</table></div>")
}

fn drawing(report: &Report, topic: &TopicReport) -> String {
    let width = topic.timeline.len().max(1);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        words(report, topic)
    );
    for gap in &topic.times.longest_gaps {
        let from = report.place(gap.at_ns) * width as f64;
        // A gap of any length is seen.
        let long = (gap.ms / 1e3 / report.span_s() * width as f64).max(0.6);
        let _ = write!(
            svg,
            "<path class=\"g\" d=\"M{from:.2} 0h{long:.2}v{HEIGHT}h-{long:.2}z\"/>\
             <path class=\"gl\" d=\"M{from:.2} 0h{long:.2}v1.5h-{long:.2}z\"/>"
        );
    }
    let _ = write!(svg, "<path class=\"b\" d=\"{}\"/></svg>", bars(&topic.timeline));
    svg
}

/// One outline for each run of columns of one height.
fn bars(counts: &[u64]) -> String {
    let levels = levels(counts, HIGHEST);
    let mut path = String::new();
    let mut at = 0;
    for run in levels.chunk_by(|a, b| a == b) {
        let level = run.first().copied().unwrap_or(0);
        if level > 0 {
            let _ = write!(path, "M{at} {HEIGHT}v-{level}h{}v{level}z", run.len());
        }
        at += run.len();
    }
    path
}

/// The drawing in words.
fn words(report: &Report, topic: &TopicReport) -> String {
    let times = &topic.times;
    let (Some(first), Some(last)) = (times.first_ns, times.last_ns) else {
        return "no messages that can be placed".to_owned();
    };
    let (first, last) = (clock(report.since_start_s(first)), clock(report.since_start_s(last)));
    let gaps = match times.longest_gap_ms.filter(|_| times.gaps > 0) {
        None => "without a gap".to_owned(),
        Some(longest) => format!("{}, the longest {}", count(times.gaps, "gap"), millis(longest)),
    };
    format!("{} from {first} to {last}, {gaps}", count(topic.messages, "message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_columns_are_one_outline() {
        assert_eq!(bars(&[4, 4, 0, 2]), "M0 20v-17h2v17zM3 20v-11h1v11z");
        assert_eq!(bars(&[0, 0]), "");
    }
}
