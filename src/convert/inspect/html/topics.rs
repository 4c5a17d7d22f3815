//! All topics in one table: what, how many, how often, how large.

use super::super::{Details, Report, TopicReport};
use super::MAX_TOPICS;
use super::escape::{Name, Text};
use crate::readable::{bytes, millis};
use std::io::{self, Write};

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let all: u64 = report.topics.iter().filter_map(|topic| Some(topic.details.as_ref()?.bytes)).sum();
    write!(
        out,
        "<h2>Topics</h2>\n<div class=\"card wide\" tabindex=\"0\" role=\"region\" aria-label=\"Topics\">\
         <table class=\"topics full\">\n<thead><tr><th scope=\"col\">Topic</th><th scope=\"col\">Type</th>"
    )?;
    for number in ["Messages", "Rate", "Jitter", "Gaps", "Longest silence", "Out of order", "Size"] {
        write!(out, "<th scope=\"col\" class=\"n\">{number}</th>")?;
    }
    writeln!(out, "<th scope=\"col\">Share</th></tr></thead>\n<tbody>")?;
    for (at, topic) in report.topics.iter().enumerate() {
        row(at, topic, all, out)?;
    }
    writeln!(
        out,
        "</tbody>\n</table></div>\n<p class=\"soft\">Jitter: the standard deviation of the time between two messages, gaps \
         left out. A gap: a silence of more than five usual periods. Sizes are of the messages, unpacked.</p>"
    )
}

fn row(at: usize, topic: &TopicReport, all: u64, out: &mut dyn Write) -> io::Result<()> {
    let name = Name(&topic.name);
    let dash = || "–".to_owned();
    let times = &topic.times;
    let details = topic.details.as_ref();
    if at < MAX_TOPICS {
        write!(out, "<tr><th scope=\"row\"><a href=\"#t{at}\">{name}</a></th>")?;
    } else {
        write!(out, "<tr><th scope=\"row\">{name}</th>")?;
    }
    let encoding = if topic.encoding.is_empty() { "no encoding" } else { &topic.encoding };
    write!(
        out,
        "<td class=\"type\">{} <span class=\"soft\">{}</span></td>",
        Name(&topic.schema),
        Text(encoding)
    )?;
    for cell in [
        topic.messages.to_string(),
        times.rate_hz.map_or_else(dash, |rate| format!("{rate:.1} Hz")),
        times.jitter_ms.map_or_else(dash, millis),
        times.gaps.to_string(),
        times.longest_gap_ms.map_or_else(dash, millis),
        details.map_or_else(dash, |details| out_of_order(details).to_string()),
        details.map_or_else(dash, |details| bytes(details.bytes)),
    ] {
        write!(out, "<td class=\"n\">{cell}</td>")?;
    }
    let share = details.map_or(0.0, |details| details.bytes as f64 * 100.0 / all.max(1) as f64);
    writeln!(
        out,
        "<td><div class=\"share\" role=\"img\" aria-label=\"{share:.1} % of all bytes\">\
         <i style=\"width:{share:.1}%\"></i></div></td></tr>"
    )
}

/// Messages of which a stamp is earlier than that of the one before.
fn out_of_order(details: &Details) -> u64 {
    details.log.back + details.publish.back + details.header.map_or(0, |header| header.back)
}
