//! Figures of benchmarks: many runs, quantiles, and the instants that transition logs hold.
//!
//! It asserts nothing: timings depend on the machine.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use serde_json::Value;
use std::path::Path;

/// What `--runs N` says.
pub fn runs(default: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    arguments
        .iter()
        .position(|argument| argument == "--runs")
        .and_then(|at| arguments.get(at + 1))
        .map_or(default, |text| text.parse().expect("--runs takes a number"))
}

/// One row a run, one column a figure, in milliseconds.
pub struct Series(Vec<Vec<f64>>);

impl Series {
    /// So many runs of one measurement.
    pub fn of(runs: usize, mut one: impl FnMut(usize) -> Vec<f64>) -> Self {
        Self((0..runs).map(&mut one).collect())
    }

    /// A column's quantile: 0.5 is the median, 1 the greatest.
    pub fn at(&self, column: usize, quantile: f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values[((values.len() as f64 * quantile).ceil() as usize).clamp(1, values.len()) - 1]
    }

    /// One line: median, 99th percentile, greatest.
    pub fn print(&self, name: &str, column: usize) {
        let figures = [0.5, 0.99, 1.0].map(|quantile| self.at(column, quantile));
        println!("{name:<48} {:>9.2} {:>9.2} {:>9.2}", figures[0], figures[1], figures[2]);
    }
}

/// From one instant to the other, in milliseconds.
pub fn ms(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}

/// The transition log's lines so far.
pub fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// When a step of this name was done first.
pub fn find(log: &Path, name: &str) -> Option<u64> {
    lines(log).into_iter().find(|line| line["name"] == name).map(|line| at_ns(&line))
}

/// When a step was done: CLOCK_MONOTONIC.
pub fn at_ns(line: &Value) -> u64 {
    line["monotonic_ns"].as_u64().expect("a transition log line has monotonic_ns")
}
