//! One topic: its numbers, its gaps, the order of its stamps, its latencies, its fields.

use super::super::{Details, Order, Report, TopicReport};
use super::escape::{Name, Text};
use super::latency;
use crate::readable::{bytes, clock, count, instant, millis};
use std::io::{self, Write};

/// Fields that are listed.
const MAX_FIELDS: usize = 300;

pub(super) fn write(report: &Report, at: usize, topic: &TopicReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section class=\"card topic\" aria-labelledby=\"t{at}\">\n<h3 id=\"t{at}\">{}</h3>\n<p class=\"soft\">{}</p>",
        Name(&topic.name),
        Text(if topic.schema.is_empty() { "no type" } else { &topic.schema })
    )?;
    if let Some(why) = &topic.unreadable {
        writeln!(out, "<p class=\"warn\">It cannot be read: {}</p>", Text(why))?;
    }
    writeln!(out, "<div class=\"columns\">\n<div>")?;
    facts(report, topic, out)?;
    gaps(report, topic, out)?;
    writeln!(out, "</div>")?;
    if let Some(details) = &topic.details {
        writeln!(out, "<div>")?;
        orders(details, out)?;
        writeln!(out, "</div>")?;
        let header =
            details.since_header.as_ref().map(|since| ("Log stamp minus the message's own stamp", since));
        let publish = details.since_publish.as_ref().map(|since| ("Log stamp minus publish stamp", since));
        for (title, since) in header.into_iter().chain(publish) {
            latency::write(title, since, out)?;
        }
    }
    writeln!(out, "</div>")?;
    fields(topic, out)?;
    writeln!(out, "</section>")
}

fn facts(report: &Report, topic: &TopicReport, out: &mut dyn Write) -> io::Result<()> {
    let times = &topic.times;
    let when = |ns: u64| format!("{} ({})", clock(report.since_start_s(ns)), instant(ns / 1_000_000));
    let facts = [
        ("Encoding", Some(Text(&topic.encoding).to_string()).filter(|encoding| !encoding.is_empty())),
        ("Messages", Some(topic.messages.to_string())),
        ("Rate", times.rate_hz.map(|rate| format!("{rate:.2} Hz"))),
        ("Jitter", times.jitter_ms.map(millis)),
        ("First", times.first_ns.map(when)),
        ("Last", times.last_ns.map(when)),
        ("Size", topic.details.as_ref().map(size)),
    ];
    writeln!(out, "<table class=\"facts\">")?;
    for (what, value) in facts.into_iter().filter_map(|(what, value)| Some((what, value?))) {
        writeln!(out, "<tr><th scope=\"row\">{what}</th><td>{value}</td></tr>")?;
    }
    writeln!(out, "</table>")
}

fn size(details: &Details) -> String {
    let mean = details.bytes / details.messages.max(1);
    format!(
        "{}; a message has {} on average, at most {}",
        bytes(details.bytes),
        bytes(mean),
        bytes(details.largest_bytes)
    )
}

fn gaps(report: &Report, topic: &TopicReport, out: &mut dyn Write) -> io::Result<()> {
    let times = &topic.times;
    let (Some(over), 1..) = (times.gap_over_ms, times.gaps) else { return Ok(()) };
    let listed = times.longest_gaps.len() as u64;
    let which = if listed < times.gaps { format!(", the {listed} longest") } else { String::new() };
    write!(
        out,
        "<h4>{} of more than {}{which}</h4>\n<table>\n<thead><tr><th scope=\"col\" class=\"n\">at</th>\
         <th scope=\"col\" class=\"n\">for</th></tr></thead>\n<tbody>\n",
        count(times.gaps, "gap"),
        millis(over)
    )?;
    for gap in &times.longest_gaps {
        let at = clock(report.since_start_s(gap.at_ns));
        writeln!(out, "<tr><td class=\"n\">{at}</td><td class=\"n\">{}</td></tr>", millis(gap.ms))?;
    }
    writeln!(out, "</tbody></table>")
}

fn orders(details: &Details, out: &mut dyn Write) -> io::Result<()> {
    let rows = [("log", Some(details.log)), ("publish", Some(details.publish)), ("its own", details.header)];
    write!(
        out,
        "<h4>Stamps in the order of the file</h4>\n<table>\n<thead><tr><th scope=\"col\">stamp</th>\
         <th scope=\"col\" class=\"n\">steps back</th><th scope=\"col\" class=\"n\">the largest</th>\
         <th scope=\"col\" class=\"n\">repeated</th></tr></thead>\n<tbody>\n"
    )?;
    for (name, order) in rows {
        let Some(Order { back, most_back_ms, same, .. }) = order else { continue };
        let most = if back == 0 { "–".to_owned() } else { millis(most_back_ms) };
        writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{back}</td><td class=\"n\">{most}</td><td class=\"n\">{same}</td></tr>"
        )?;
    }
    writeln!(out, "</tbody></table>")?;
    for (messages, what) in [
        (details.header_unset, "whose own stamp is zero"),
        (details.header_unreadable, "whose own stamp cannot be read"),
    ] {
        if messages > 0 {
            writeln!(out, "<p>{} {what}.</p>", count(messages, "message"))?;
        }
    }
    Ok(())
}

fn fields(topic: &TopicReport, out: &mut dyn Write) -> io::Result<()> {
    if topic.fields.is_empty() {
        return Ok(());
    }
    write!(out, "<details><summary>{}</summary>\n<p>", count(topic.fields.len() as u64, "field"))?;
    for field in topic.fields.iter().take(MAX_FIELDS) {
        write!(out, "<code>{}</code> <span class=\"soft\">{}</span>; ", Text(&field.path), field.kind)?;
    }
    let more = topic.fields.len().saturating_sub(MAX_FIELDS);
    if more > 0 {
        write!(out, "and {more} more")?;
    }
    writeln!(out, "</p></details>")
}
