//! Durations in buckets, by one label where a definition says so.
//!
//! It measures nothing: who measures gives it the time.

use prometheus_client::metrics::histogram::Histogram as Buckets;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets, in seconds: from a commit on a local disk to a segment that takes minutes.
const BUCKETS_SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
    300.0,
];

/// Durations, by the value of at most one label.
#[derive(Debug)]
pub struct Histogram {
    /// Values are words of ours: few, and known when the program is built.
    series: Mutex<BTreeMap<&'static str, Buckets>>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { series: Mutex::new(BTreeMap::new()) }
    }
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        self.observe_at("", took);
    }

    /// The same, where the definition has a label, under this value of it.
    pub fn observe_at(&self, value: &'static str, took: Duration) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.entry(value).or_insert_with(buckets).observe(took.as_secs_f64());
    }

    /// Each value of the label with its buckets. Without a label there is always one.
    pub(super) fn read(&self, has_label: bool) -> Vec<(&'static str, Buckets)> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_label {
            series.entry("").or_insert_with(buckets);
        }
        series.iter().map(|(value, buckets)| (*value, buckets.clone())).collect()
    }
}

fn buckets() -> Buckets {
    Buckets::new(BUCKETS_SECONDS)
}
