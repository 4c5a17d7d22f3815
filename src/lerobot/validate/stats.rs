//! Rules of statistics: of stats.json, and of each episode's.

use super::column::Column;
use super::rule::{Findings, Rule};
use super::running::Running;
use super::{Dataset, or_finding};
use crate::lerobot::error::LerobotError;
use crate::lerobot::json::{Ordered, read_json};
use crate::lerobot::layout::STATS_KEY;
use crate::lerobot::stats::{QUANTILES, STAT_NAMES};
use serde_json::Value;
use std::collections::BTreeMap;

/// How far a mean may be off, as a share of the range: lerobot sums in 32 bits.
const MEAN_TOLERANCE: f64 = 1e-3;
/// How far any value may be off, as a share of the greatest value: lerobot stores some in 32 bits, and takes quantiles
/// from histograms that begin a little below the least value.
const VALUE_TOLERANCE: f64 = 1e-5;

/// Statistics of one feature as they were found, flat.
pub(super) type Found = BTreeMap<&'static str, Vec<f64>>;

/// Rules of stats.json. `totals`: what the data has, for each column.
pub(super) fn check_dataset(
    dataset: &Dataset,
    totals: &[Option<Running>],
    found: &mut Findings,
) -> Result<(), LerobotError> {
    let read = read_json::<Ordered<Ordered<Value>>>(dataset.storage.as_ref(), STATS_KEY);
    let Some(all) = or_finding(read, STATS_KEY, Rule::StatsReadable, found)? else { return Ok(()) };
    for (column, total) in dataset.columns.iter().zip(totals).filter(|(column, _)| column.has_stats()) {
        let Some(entries) = all.get(&column.name) else {
            found.add(STATS_KEY, Rule::StatsKeys, format!("{} is missing", column.name));
            continue;
        };
        let mut stats = Found::new();
        for name in STAT_NAMES {
            match entries.get(name) {
                None => found.add(STATS_KEY, Rule::StatsKeys, format!("{}/{name} is missing", column.name)),
                Some(value) => {
                    let nested = column.is_picture() && name != "count";
                    match flat(value, if nested { 3 } else { 1 }) {
                        Some(list) => _ = stats.insert(name, list),
                        None => found.add(STATS_KEY, Rule::StatsShape, wrong_shape(column, name)),
                    }
                }
            }
        }
        check(column, &stats, STATS_KEY, "", dataset.info.total_frames, total.as_ref(), found);
    }
    Ok(())
}

pub(super) fn wrong_shape(column: &Column, name: &str) -> String {
    let wanted = match (name, column.is_picture()) {
        ("count", _) => "[1]".to_owned(),
        (_, true) => format!("[{}, 1, 1]", column.stat_width()),
        (_, false) => format!("[{}]", column.stat_width()),
    };
    format!("{}/{name} is no list of numbers of shape {wanted}", column.name)
}

/// The numbers of a list nested `depth` deep, where all lists but the outermost have one entry.
fn flat(value: &Value, depth: usize) -> Option<Vec<f64>> {
    let innermost = |mut value: &'_ Value| -> Option<f64> {
        for _ in 1..depth {
            let [only] = value.as_array()?.as_slice() else { return None };
            value = only;
        }
        // lerobot 0.4 writes the least and the greatest of truth values as such.
        value.as_f64().or_else(|| Some(f64::from(u8::from(value.as_bool()?))))
    };
    value.as_array()?.iter().map(innermost).collect()
}

/// Checks the statistics of one feature over `frames` frames; `place` says of which episode, if of one.
pub(super) fn check(
    column: &Column,
    stats: &Found,
    file: &str,
    place: &str,
    frames: u64,
    data: Option<&Running>,
    found: &mut Findings,
) {
    let name = &column.name;
    let mut complete = true;
    for (stat, values) in stats {
        let width = if *stat == "count" { 1 } else { column.stat_width() };
        if values.len() != width {
            complete = false;
            found.add(file, Rule::StatsShape, format!("{place}{}", wrong_shape(column, stat)));
        } else if !values.iter().all(|value| value.is_finite()) {
            complete = false;
            found.add(file, Rule::StatsValues, format!("{place}{name}/{stat} is not finite"));
        }
    }
    if !complete {
        return;
    }
    if let Some([count]) = stats.get("count").map(Vec::as_slice) {
        let frames = frames as f64;
        let holds = if column.is_picture() { *count >= 1.0 && *count <= frames } else { *count == frames };
        found.hold(holds, file, Rule::StatsValues, || {
            format!("{place}{name}/count is {count} of {frames} frames")
        });
    }
    check_order(name, stats, file, place, found);
    if let Some(data) = data {
        check_match(name, stats, data, file, place, found);
    }
}

fn check_order(name: &str, stats: &Found, file: &str, place: &str, found: &mut Findings) {
    let list = |stat: &str| stats.get(stat).map(Vec::as_slice).unwrap_or_default();
    for (element, (min, max)) in list("min").iter().zip(list("max")).enumerate() {
        let slack = VALUE_TOLERANCE * min.abs().max(max.abs()).max(1.0);
        let mut last = *min;
        for stat in std::iter::once("min").chain(QUANTILES.iter().map(|(stat, _)| *stat)).chain(["max"]) {
            let Some(value) = list(stat).get(element) else { continue };
            found.hold(*value >= last - slack, file, Rule::StatsValues, || {
                format!("{place}{name}[{element}]/{stat} is {value}, below the one before it, {last}")
            });
            last = last.max(*value);
        }
        if let Some(mean) = list("mean").get(element) {
            let holds = (min - slack..=max + slack).contains(mean);
            found.hold(holds, file, Rule::StatsValues, || {
                format!("{place}{name}[{element}]/mean is {mean}, not from {min} to {max}")
            });
        }
        if let Some(std) = list("std").get(element) {
            let holds = (0.0..=(max - min) + slack).contains(std);
            found.hold(holds, file, Rule::StatsValues, || {
                format!("{place}{name}[{element}]/std is {std} for values from {min} to {max}")
            });
        }
    }
}

fn check_match(name: &str, stats: &Found, data: &Running, file: &str, place: &str, found: &mut Findings) {
    for (element, seen) in data.elements().iter().enumerate().filter(|(_, seen)| seen.count > 0) {
        let slack = VALUE_TOLERANCE * seen.min.abs().max(seen.max.abs()).max(1e-6);
        let mean_slack = slack + MEAN_TOLERANCE * (seen.max - seen.min);
        for (stat, computed, slack) in
            [("min", seen.min, slack), ("max", seen.max, slack), ("mean", seen.mean(), mean_slack)]
        {
            let Some(said) = stats.get(stat).and_then(|list| list.get(element)) else { continue };
            found.hold((said - computed).abs() <= slack, file, Rule::StatsMatch, || {
                format!("{place}{name}[{element}]/{stat} is {said}, the data has {computed}")
            });
        }
    }
}
