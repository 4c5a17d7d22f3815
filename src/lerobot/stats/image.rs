//! Exact statistics of images from counts of their pixel values: 8-bit ones in 0 to 1, distances as they are.
//!
//! As lerobot's `compute_episode_stats`: it divides by 255, but not what is marked as a depth map.

use super::column::quantile;
use super::{QUANTILES, Stats};
use crate::lerobot::error::LerobotError;
use crate::lerobot::staged::ImageCounts;

/// The values that a channel of an 8-bit pixel takes.
const LEVELS: usize = 256;
/// What an 8-bit value is divided by.
const BRIGHTEST: f64 = 255.0;

/// Adds the counts of one segment to those of an episode.
///
/// # Errors
/// [`LerobotError::Unfit`] when a channel does not have 256 counts, or they overflow.
pub fn merge_counts(into: &mut ImageCounts, from: &ImageCounts) -> Result<(), LerobotError> {
    let unfit = |what: &str| LerobotError::Unfit(format!("the pixel counts {what}"));
    into.frames = into.frames.checked_add(from.frames).ok_or_else(|| unfit("overflow"))?;
    for (into, from) in into.channels.iter_mut().zip(&from.channels) {
        if from.len() != LEVELS {
            return Err(unfit(&format!("have {} levels instead of {LEVELS}", from.len())));
        }
        into.resize(LEVELS, 0);
        for (into, from) in into.iter_mut().zip(from) {
            *into = into.checked_add(*from).ok_or_else(|| unfit("overflow"))?;
        }
    }
    for (level, from) in &from.depth {
        let into = into.depth.entry(*level).or_default();
        *into = into.checked_add(*from).ok_or_else(|| unfit("overflow"))?;
    }
    Ok(())
}

/// The statistics of an image feature with `channels` channels, of which at most three are counted; of depth images in
/// their own unit.
pub fn image_stats(counts: &ImageCounts, channels: usize) -> Stats {
    let mut stats = Stats::with_capacity(counts.frames, 3);
    if counts.depth.is_empty() {
        for levels in counts.channels.iter().take(channels.max(1)) {
            let present = levels.iter().enumerate().map(|(level, count)| (level as f64, *count));
            add_channel(&mut stats, present, BRIGHTEST);
        }
    } else {
        add_channel(&mut stats, counts.depth.iter().map(|(level, count)| (f64::from(*level), *count)), 1.0);
    }
    stats
}

/// Adds the statistics of values, given rising with how many there are of each; all are divided by `unit`.
fn add_channel(stats: &mut Stats, levels: impl Iterator<Item = (f64, u64)> + Clone, unit: f64) {
    let total: u64 = levels.clone().map(|(_, count)| count).sum();
    let weighted = || levels.clone().map(|(level, count)| (level / unit, count as f64));
    let pixels = total.max(1) as f64;
    let mean = weighted().map(|(value, count)| value * count).sum::<f64>() / pixels;
    let variance =
        weighted().map(|(value, count)| (value - mean) * (value - mean) * count).sum::<f64>() / pixels;
    let at = |index: u64| level_of(levels.clone(), index) / unit;
    stats.min.push(at(0));
    stats.max.push(at(total.saturating_sub(1)));
    stats.mean.push(mean);
    stats.std.push(variance.sqrt());
    for ((_, share), list) in QUANTILES.iter().zip(&mut stats.quantiles) {
        list.push(quantile(total, *share, at));
    }
}

/// The level of the pixel at `index`, were they sorted.
fn level_of(levels: impl Iterator<Item = (f64, u64)>, index: u64) -> f64 {
    let mut seen = 0u64;
    for (level, count) in levels {
        seen = seen.saturating_add(count);
        if seen > index {
            return level;
        }
    }
    0.0
}
