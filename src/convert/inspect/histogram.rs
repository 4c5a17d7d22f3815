//! Counts of lengths of time in steps of a sixteenth of an octave: bounded memory for any number of messages.
//!
//! Quantiles are right to 3 %; the least, the greatest and the mean are exact.

use serde::Serialize;
use std::collections::BTreeMap;

/// Steps of an octave, as a power of two.
const STEP_BITS: u32 = 4;
const STEPS: u64 = 1 << STEP_BITS;
/// Steps that make a bar, when few bars do.
const STEPS_OF_BAR: u16 = 4;
/// The step of a microsecond, about: whatever is below it is one bar.
const LEAST_STEP: u16 = 112;
/// Most bars of a picture.
const MAX_BARS: u16 = 48;

/// Counts of nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    counts: BTreeMap<u16, u64>,
    pub(super) count: u64,
    pub(super) sum: u128,
    range: Option<(u64, u64)>,
}

/// Messages whose latency lies in a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bar {
    /// From, in milliseconds.
    pub from_ms: f64,
    /// To, in milliseconds, not included.
    pub to_ms: f64,
    /// How many.
    pub messages: u64,
}

fn step(value: u64) -> u16 {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let within = (value >> octave) & (STEPS - 1);
    let whole = if value < STEPS { 0 } else { u64::from(octave) + 1 };
    u16::try_from(whole * STEPS + within).unwrap_or(u16::MAX)
}

/// The least value of a step.
fn least(step: u16) -> u64 {
    let (whole, within) = (u64::from(step) / STEPS, u64::from(step) % STEPS);
    match whole {
        0 => within,
        _ => u64::try_from(u128::from(STEPS + within) << (whole - 1)).unwrap_or(u64::MAX),
    }
}

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        *self.counts.entry(step(value)).or_default() += 1;
        self.count += 1;
        self.sum += u128::from(value);
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
    }

    /// The least and the greatest.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// The value that `rank` values (from 1) are at most, about.
    pub(super) fn at_rank(&self, rank: u64) -> u64 {
        let (low, high) = self.range.unwrap_or_default();
        let mut seen = 0;
        for (step, count) in &self.counts {
            seen += count;
            if seen >= rank {
                let (from, to) = (least(*step), least(step.saturating_add(1)));
                return (from + (to - from) / 2).clamp(low, high);
            }
        }
        high
    }

    /// The middle value, about.
    pub(super) fn median(&self) -> u64 {
        self.at_rank(self.count / 2 + 1)
    }

    /// At most 48 bars of equal width on a logarithmic axis, without a hole, from the first that counts to the last. What
    /// is below a microsecond is one bar.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let (Some((first, _)), Some((last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Vec::new();
        };
        let mut width = STEPS_OF_BAR;
        while last.max(&LEAST_STEP) / width - first.max(&LEAST_STEP) / width >= MAX_BARS - 1 {
            width *= 2;
        }
        let floor = LEAST_STEP / width;
        let bar = |number: u16| {
            let from = if number < floor { 0 } else { number * width };
            let steps = from..(number + 1).saturating_mul(width);
            Bar {
                from_ms: least(steps.start) as f64 / 1e6,
                to_ms: least(steps.end) as f64 / 1e6,
                messages: self.counts.range(steps).map(|(_, count)| *count).sum(),
            }
        };
        let (first, last) = (first / width, last / width);
        (first.max(floor.saturating_sub(1))..=last.max(floor.saturating_sub(1))).map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_and_hold_their_values() {
        for at in 0..976 {
            assert_eq!(step(least(at)), at);
            assert_eq!(step(least(at + 1) - 1), at, "the last value of a step");
        }
        assert_eq!(step(u64::MAX), 975);
        assert_eq!(least(976), u64::MAX);
        assert_eq!(step(1_024), LEAST_STEP);
    }

    #[test]
    fn quantiles_are_right_to_three_percent_and_stay_within_the_range() {
        let mut histogram = Histogram::default();
        (1..=10_000_u64).for_each(|value| histogram.add(value * 1_000));
        for (rank, exact) in [(1, 1_000), (5_000, 5_000_000), (9_900, 9_900_000), (10_000, 10_000_000)] {
            let found = histogram.at_rank(rank) as f64;
            assert!((found / f64::from(exact) - 1.0).abs() < 0.032, "{rank}: {found}");
        }
        assert_eq!(histogram.range(), Some((1_000, 10_000_000)));
        let mut one = Histogram::default();
        one.add(50);
        assert_eq!((one.median(), one.at_rank(1)), (50, 50));
    }

    #[test]
    fn bars_are_few_and_count_everything() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 1_000_000, 1_050_000, u64::MAX] {
            histogram.add(value);
        }
        let bars = histogram.bars();
        assert!(bars.len() <= 48, "{}", bars.len());
        assert_eq!(bars.iter().map(|bar| bar.messages).sum::<u64>(), 5);
        assert!(bars.windows(2).all(|pair| pair[0].to_ms == pair[1].from_ms), "{bars:?}");
        assert_eq!((bars[0].from_ms, bars[0].messages), (0.0, 2), "below a microsecond");
        let mut tiny = Histogram::default();
        (0..500).for_each(|value| tiny.add(value));
        assert_eq!(tiny.bars().iter().map(|bar| bar.messages).collect::<Vec<_>>(), [500]);
        assert_eq!(Histogram::default().bars(), []);
    }
}
