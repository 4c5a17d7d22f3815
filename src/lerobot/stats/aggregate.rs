//! Statistics of a dataset from those of its episodes, as lerobot's `aggregate_stats` has them.

use super::Stats;
use crate::lerobot::error::LerobotError;

/// Statistics of one feature, gathered episode by episode: least, greatest, mean weighted by count, variance by the
/// parallel formula, summed count. Quantiles are means weighted by count, as lerobot takes them: no true quantiles.
#[derive(Debug, Clone, Default)]
pub struct Aggregate {
    total: Option<Stats>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl Aggregate {
    /// Adds an episode.
    ///
    /// # Errors
    /// [`LerobotError::Unfit`] when it has another number of elements than those before.
    pub fn add(&mut self, name: &str, stats: &Stats) -> Result<(), LerobotError> {
        let n = stats.count as f64;
        let Some(total) = &mut self.total else {
            self.squares = stats.std.iter().map(|std| std * std * n).collect();
            self.total = Some(stats.clone());
            return Ok(());
        };
        if total.min.len() != stats.min.len() {
            let (one, other) = (total.min.len(), stats.min.len());
            return Err(LerobotError::Unfit(format!(
                "statistics of {name} have {one} elements, then {other}"
            )));
        }
        let share = n / (total.count as f64 + n).max(1.0);
        total.count += stats.count;
        total.skipped += stats.skipped;
        fold(&mut total.min, &stats.min, f64::min);
        fold(&mut total.max, &stats.max, f64::max);
        let before = total.count as f64 - n;
        let deltas = stats.mean.iter().zip(&total.mean).map(|(new, old)| new - old);
        for ((square, std), delta) in self.squares.iter_mut().zip(&stats.std).zip(deltas) {
            *square += std * std * n + delta * delta * before * share;
        }
        fold(&mut total.mean, &stats.mean, |old, new| old + (new - old) * share);
        for (old, new) in total.quantiles.iter_mut().zip(&stats.quantiles) {
            // A quantile that is not known of one part is not known of the whole.
            old.truncate(new.len());
            fold(old, new, |old, new| old + (new - old) * share);
        }
        Ok(())
    }

    /// The statistics of all episodes; none without any.
    pub fn finish(self) -> Option<Stats> {
        let mut total = self.total?;
        let count = (total.count as f64).max(1.0);
        total.std = self.squares.iter().map(|squares| (squares / count).sqrt()).collect();
        Some(total)
    }
}

fn fold(into: &mut [f64], from: &[f64], with: impl Fn(f64, f64) -> f64) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = with(*into, *from);
    }
}
