//! A report as one page of HTML: no script, no address, nothing beside it. What is drawn is told in words or tables too.
//!
//! Architecture Invariant: a text from a recording enters the page through [`Text`] alone, a picture as base64 of a file
//! that began as a JPEG or PNG does.

mod escape;
mod latency;
mod pictures;
mod timeline;
mod topic;
mod topics;

use super::{MAX_TOPICS, Report};
use crate::readable::{bytes, clock, instant};
use escape::Text;
use std::io::{self, Write};

const STYLE: &str = include_str!("style.css");
/// Even if something slipped through: the page may load nothing and run nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let file = Text(&report.file);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{file}: what it holds</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{file}</h1>\n"
    )?;
    summary(report, out)?;
    warnings(report, out)?;
    if report.start_ns.is_some() {
        timeline::write(report, out)?;
    }
    topics::write(report, out)?;
    pictures::write(report, out)?;
    writeln!(out, "<h2 id=\"each\">Each topic</h2>")?;
    for (at, topic) in report.topics.iter().enumerate().take(MAX_TOPICS) {
        topic::write(report, at, topic, out)?;
    }
    if report.topics.len() > MAX_TOPICS {
        writeln!(out, "<p>The first {MAX_TOPICS} of {} topics.</p>", report.topics.len())?;
    }
    write!(out, "</main>\n</body>\n</html>\n")
}

fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let state = match (report.cut, report.indexed) {
        (true, _) => "cut short: whole chunks count",
        (false, true) => "whole, with an index",
        (false, false) => "whole, without an index",
    };
    let gaps: u64 = report.topics.iter().map(|topic| topic.times.gaps).sum();
    let facts = [
        ("Length", clock(report.duration_s)),
        ("Begins", report.start_ns.map_or_else(|| "no messages".to_owned(), |ns| instant(ns / 1_000_000))),
        ("Size", format!("{} in {} chunks", bytes(report.size_bytes), report.chunks)),
        ("Messages", format!("{} of {} topics", report.messages, report.topics.len())),
        ("Gaps", gaps.to_string()),
        ("File", state.to_owned()),
    ];
    writeln!(out, "<table class=\"facts\">")?;
    for (what, value) in facts {
        writeln!(out, "<tr><th scope=\"row\">{what}</th><td>{value}</td></tr>")?;
    }
    writeln!(out, "</table>")
}

fn warnings(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let unreadable = report.topics.iter().filter_map(|topic| Some((topic.unreadable.as_ref()?, topic)));
    if report.warnings.is_empty() && unreadable.clone().next().is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>Warnings</h2>\n<ul class=\"warn\">")?;
    for warning in &report.warnings {
        writeln!(out, "<li>{}</li>", Text(warning))?;
    }
    for (why, topic) in unreadable {
        writeln!(out, "<li>{} cannot be read: {}</li>", Text(&topic.name), Text(why))?;
    }
    writeln!(out, "</ul>")
}
