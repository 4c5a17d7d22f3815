//! How late messages are: a histogram on a logarithmic axis, its numbers in a table.

use super::super::{Bar, Latency};
use crate::readable::{count, millis};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Units of the drawing.
const HEIGHT: f64 = 100.0;
const BAR_WIDTH: usize = 10;
/// Labels that fit below the drawing.
const MAX_LABELS: usize = 5;

pub(super) fn write(title: &str, latency: &Latency, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<div class=\"latency\">\n<h4>{title}</h4>")?;
    if latency.min_ms == 0.0 && latency.max_ms == 0.0 {
        return writeln!(out, "<p class=\"soft\">The two stamps are the same in every message.</p>\n</div>");
    }
    if latency.histogram.len() > 1 {
        writeln!(out, "{}", drawing(latency))?;
        writeln!(out, "{}", scale(&latency.histogram))?;
    }
    writeln!(out, "<div class=\"wide\"><table><thead><tr>")?;
    for column in ["least", "median", "95 %", "99 %", "greatest", "mean"] {
        write!(out, "<th scope=\"col\" class=\"n\">{column}</th>")?;
    }
    write!(out, "</tr></thead>\n<tbody><tr>")?;
    let Latency { min_ms, median_ms, p95_ms, p99_ms, max_ms, mean_ms, .. } = *latency;
    for value in [min_ms, median_ms, p95_ms, p99_ms, max_ms, mean_ms] {
        write!(out, "<td class=\"n\">{}</td>", millis(value))?;
    }
    writeln!(out, "</tr></tbody></table></div>")?;
    if latency.negative > 0 {
        let negative = count(latency.negative, "message");
        writeln!(out, "<p>{negative} below zero: the two clocks differ.</p>")?;
    }
    if latency.histogram.len() > 1 {
        numbers(&latency.histogram, out)?;
    }
    writeln!(out, "</div>")
}

fn drawing(latency: &Latency) -> String {
    let bars = &latency.histogram;
    let most = bars.iter().map(|bar| bar.messages).max().unwrap_or(0).max(1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Histogram of {}: median {}, \
         from {} to {}\"><path class=\"b\" d=\"",
        bars.len() * BAR_WIDTH,
        count(latency.messages, "message"),
        millis(latency.median_ms),
        millis(latency.min_ms),
        millis(latency.max_ms)
    );
    for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.messages > 0) {
        // One message among thousands is seen.
        let high = (bar.messages as f64 / most * (HEIGHT - 6.0)).max(1.5);
        let _ = write!(svg, "M{} {HEIGHT}v-{high:.1}h{}v{high:.1}z", at * BAR_WIDTH, BAR_WIDTH - 1);
    }
    svg.push_str("\"/></svg>");
    svg
}

/// Labels below the drawing, where bars begin.
fn scale(bars: &[Bar]) -> String {
    let every = bars.len().div_ceil(MAX_LABELS - 1).max(1);
    let mut places: Vec<usize> = (0..bars.len()).step_by(every).collect();
    // The last label stands at the end, and the one before it is left out where both would touch.
    if places.last().is_some_and(|last| bars.len() - last < every.div_ceil(2).max(1) * 2 && places.len() > 1)
    {
        places.pop();
    }
    let mut labels = String::from("<div class=\"scale\" aria-hidden=\"true\">");
    for (at, bar) in places.iter().filter_map(|at| Some((*at, bars.get(*at)?))) {
        let left = at as f64 * 100.0 / bars.len() as f64;
        let class = if at == 0 { " class=\"first\"" } else { "" };
        let _ = write!(labels, "<span{class} style=\"left:{left:.1}%\">{}</span>", millis(bar.from_ms));
    }
    if let Some(last) = bars.last() {
        let _ = write!(labels, "<span class=\"last\" style=\"left:100%\">{}</span>", millis(last.to_ms));
    }
    labels.push_str("</div>");
    labels
}

fn numbers(bars: &[Bar], out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "<details><summary>Numbers</summary><div class=\"wide\"><table>\n<thead><tr><th scope=\"col\" class=\"n\">from</th>\
         <th scope=\"col\" class=\"n\">to</th><th scope=\"col\" class=\"n\">messages</th></tr></thead>\n<tbody>\n"
    )?;
    for bar in bars.iter().filter(|bar| bar.messages > 0) {
        writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            millis(bar.from_ms),
            millis(bar.to_ms),
            bar.messages
        )?;
    }
    writeln!(out, "</tbody></table></div></details>")
}
