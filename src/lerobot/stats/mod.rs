//! Statistics of a feature: over an episode's frames exactly, over a dataset from its episodes'.
//!
//! Format rules: lerobot 0.6.1 `datasets/compute_stats.py`. Ours are exact where lerobot's are approximate (its
//! quantiles come from histograms, its image statistics from reduced images), and summed in double precision.
//! Values that are no finite numbers are left out; where an element has none at all, its statistics are 0.

mod aggregate;
mod column;
mod image;

pub use aggregate::Aggregate;
pub use column::{Column, MAX_EPISODE_FRAMES, MAX_EPISODE_VALUES};
pub use image::{image_stats, merge_counts};

use crate::lerobot::json::{Json, Ordered};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The quantiles by name.
pub const QUANTILES: [(&str, f64); 5] =
    [("q01", 0.01), ("q10", 0.10), ("q50", 0.50), ("q90", 0.90), ("q99", 0.99)];
/// All names under which a feature's statistics stand, in order.
pub const STAT_NAMES: [&str; 10] = ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"];

/// Statistics of one feature: one value an element, or a channel of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Least value.
    pub min: Vec<f64>,
    /// Greatest value.
    pub max: Vec<f64>,
    /// Mean.
    pub mean: Vec<f64>,
    /// Population standard deviation.
    pub std: Vec<f64>,
    /// Frames, or sampled frames of an image.
    pub count: u64,
    /// In the order of [`QUANTILES`], linear between neighbours as numpy has it.
    pub quantiles: [Vec<f64>; 5],
    /// Values that were left out, since they are no finite numbers.
    pub skipped: u64,
}

impl Stats {
    /// Of `count` frames, with room for `elements`.
    fn with_capacity(count: u64, elements: usize) -> Self {
        let room = || Vec::with_capacity(elements);
        let quantiles = [room(), room(), room(), room(), room()];
        Self { min: room(), max: room(), mean: room(), std: room(), count, quantiles, skipped: 0 }
    }

    /// The list under one of [`STAT_NAMES`] but `count`.
    pub fn list(&self, name: &str) -> Option<&[f64]> {
        match name {
            "min" => Some(&self.min),
            "max" => Some(&self.max),
            "mean" => Some(&self.mean),
            "std" => Some(&self.std),
            _ => {
                let at = QUANTILES.iter().position(|(quantile, _)| *quantile == name)?;
                self.quantiles.get(at).map(Vec::as_slice)
            }
        }
    }

    /// From stats.json; none where one of min, max, mean, std and count is missing or no list of numbers. Quantiles may be
    /// missing: older writers have none.
    pub(super) fn from_json(entries: &Ordered<Json>) -> Option<Self> {
        let list = |name: &str| numbers(entries.get(name)?);
        let mut stats = Self::with_capacity(0, 0);
        stats.min = list("min")?;
        (stats.max, stats.mean, stats.std) = (list("max")?, list("mean")?, list("std")?);
        let width = stats.min.len();
        let whole = [&stats.max, &stats.mean, &stats.std].iter().all(|list| list.len() == width);
        let [count] = list("count")?[..] else { return None };
        for ((name, _), quantile) in QUANTILES.iter().zip(&mut stats.quantiles) {
            *quantile = list(name).filter(|list| list.len() == width).unwrap_or_default();
        }
        stats.count = count as u64;
        (whole && count >= 1.0).then_some(stats)
    }

    /// As stats.json holds it: images as `[3][1][1]`; without quantiles that are not known.
    pub fn to_json(&self, is_image: bool) -> Ordered<Value> {
        let known = |name: &&&str| self.list(name).is_none_or(|list| list.len() == self.min.len());
        let entries = STAT_NAMES.iter().filter(known).map(|name| {
            let value = match self.list(name) {
                Some(list) if is_image => list.iter().map(|value| json!([[value]])).collect(),
                Some(list) => list.iter().map(|value| json!(value)).collect(),
                None => json!([self.count]),
            };
            ((*name).to_owned(), value)
        });
        Ordered(entries.collect())
    }
}

/// The numbers of lists in lists, one behind the other.
fn numbers(value: &Json) -> Option<Vec<f64>> {
    match value {
        Json::Number(number) => Some(vec![number.as_f64()?]),
        // Of truth values lerobot 0.4 writes the least and the greatest as such.
        Json::Bool(flag) => Some(vec![f64::from(u8::from(*flag))]),
        Json::Array(list) => {
            let parts: Option<Vec<Vec<f64>>> = list.iter().map(numbers).collect();
            Some(parts?.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
