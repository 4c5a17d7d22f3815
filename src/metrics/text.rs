//! The older text format (0.0.4), made from OpenMetrics: for scrapers and tools that do not ask for the newer one.
//!
//! They differ in what our metrics use in three things: there a counter's own name ends with `_total`, there are no units,
//! and there is no end mark.

use std::collections::BTreeSet;

/// What a scraper that understands OpenMetrics is given.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What any other is given.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same metrics in the older format.
pub fn plain(open_metrics: &str) -> String {
    let kinds = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: BTreeSet<&str> = kinds.filter_map(|rest| rest.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 16);
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let Some((keyword @ ("HELP" | "TYPE"), rest)) = comment.split_once(' ') else { continue };
        let (name, told) = rest.split_once(' ').unwrap_or((rest, ""));
        let suffix = if counters.contains(name) { "_total" } else { "" };
        text.push_str(&format!("# {keyword} {name}{suffix} {told}\n"));
    }
    text
}
