//! What the log times of a topic say: rate, jitter, gaps, and when it speaks. Two passes over its index, and no list.

use super::histogram::Histogram;
use crate::convert::source::MessageRef;
use serde::Serialize;

/// A silence of so many usual periods is a gap. The usual one is the median or the mean, whichever is longer: topics
/// that speak in bursts have a median near zero.
const GAP_PERIODS: u64 = 5;
/// Gaps that are listed, the longest.
const MAX_GAPS: usize = 20;

/// A silence that is longer than usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// When it began, in nanoseconds since the epoch.
    pub at_ns: u64,
    /// How long it was, in milliseconds.
    pub ms: f64,
}

/// Times of one topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Times {
    /// Messages a second; none of fewer than two.
    pub rate_hz: Option<f64>,
    /// The standard deviation of the time between two messages, gaps left out, in milliseconds.
    pub jitter_ms: Option<f64>,
    /// The first, in nanoseconds since the epoch.
    pub first_ns: Option<u64>,
    /// The last, in nanoseconds since the epoch.
    pub last_ns: Option<u64>,
    /// A silence longer than this is a gap, in milliseconds: five usual periods.
    pub gap_over_ms: Option<f64>,
    /// Silences of more than that.
    pub gaps: u64,
    /// The longest of them, at most 20, in the order of time.
    pub longest_gaps: Vec<Gap>,
    /// The longest silence between two messages, gap or not, in milliseconds.
    pub longest_gap_ms: Option<f64>,
    /// When the longest silence began, in nanoseconds since the epoch.
    pub longest_gap_at_ns: Option<u64>,
}

/// Of messages in the order of their stamps.
pub(super) fn times(messages: &[MessageRef]) -> Times {
    let stamp = |message: &MessageRef| message.stamp_ns;
    let (Some(first), Some(last)) = (messages.first().map(stamp), messages.last().map(stamp)) else {
        return Times::default();
    };
    let silences = || {
        let pairs = messages.iter().zip(messages.iter().skip(1));
        pairs.map(|(before, after)| (after.stamp_ns - before.stamp_ns, before.stamp_ns))
    };
    let mut periods = Histogram::default();
    silences().for_each(|(period, _)| periods.add(period));
    let mut times = Times { first_ns: Some(first), last_ns: Some(last), ..Times::default() };
    if periods.count == 0 {
        return times;
    }
    let span_ns = last - first;
    let usual = periods.median().max(span_ns / periods.count);
    let gap_over = usual.saturating_mul(GAP_PERIODS);
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    let mut longest = Longest::default();
    for (period, at) in silences() {
        if period > gap_over {
            times.gaps += 1;
            longest.add(period, at);
        } else {
            // Around the usual period, so that no digits are lost.
            let off = period as f64 - usual as f64;
            sum += off;
            squares += off * off;
            count += 1.0;
        }
    }
    let silence = silences().fold((0, first), |most, next| if next.0 > most.0 { next } else { most });
    times.rate_hz = (span_ns > 0).then(|| periods.count as f64 * 1e9 / span_ns as f64);
    times.jitter_ms = (count > 1.0).then(|| ((squares - sum * sum / count).max(0.0) / count).sqrt() / 1e6);
    times.gap_over_ms = Some(gap_over as f64 / 1e6);
    times.longest_gaps = longest.in_time();
    times.longest_gap_ms = Some(silence.0 as f64 / 1e6);
    times.longest_gap_at_ns = Some(silence.1);
    times
}

/// The longest of many.
#[derive(Debug, Default)]
struct Longest(Vec<(u64, u64)>);

impl Longest {
    /// Of equal ones the earlier stays.
    fn add(&mut self, period: u64, at: u64) {
        let place = self.0.partition_point(|(known, _)| *known >= period);
        self.0.insert(place, (period, at));
        self.0.truncate(MAX_GAPS);
    }

    fn in_time(self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> =
            self.0.into_iter().map(|(period, at_ns)| Gap { at_ns, ms: period as f64 / 1e6 }).collect();
        gaps.sort_by_key(|gap| gap.at_ns);
        gaps
    }
}

/// Messages in each of `columns` equal parts of `start..=end`.
pub(super) fn columns(messages: &[MessageRef], start_ns: u64, end_ns: u64, columns: usize) -> Vec<u64> {
    let mut counts = vec![0; columns];
    let span = u128::from(end_ns.saturating_sub(start_ns)) + 1;
    for message in messages {
        let into = u128::from(message.stamp_ns.saturating_sub(start_ns));
        let place = usize::try_from(into * columns as u128 / span).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stamps_ms: &[u64]) -> Vec<MessageRef> {
        stamps_ms.iter().map(|ms| MessageRef { stamp_ns: ms * 1_000_000, chunk: 0, offset: 0 }).collect()
    }

    #[test]
    fn jitter_leaves_gaps_out() {
        let steady: Vec<u64> = (0..100).chain(400..500).map(|at| at * 10).collect();
        let found = times(&at(&steady));
        assert_eq!((found.gaps, found.jitter_ms), (1, Some(0.0)));
        assert_eq!(found.longest_gaps, [Gap { at_ns: 990_000_000, ms: 3_010.0 }]);
        let shaky = times(&at(&[0, 9, 20, 29, 40]));
        assert_eq!((shaky.gaps, shaky.jitter_ms), (0, Some(1.0)));
    }

    #[test]
    fn only_the_longest_gaps_are_kept_in_the_order_of_time() {
        let mut stamps = vec![0];
        for gap in 0..60 {
            // A gap of 1000 + gap ms, then a hundred messages 1 ms apart.
            let start = stamps.last().unwrap() + 1_000 + gap;
            stamps.extend(start..start + 100);
        }
        let found = times(&at(&stamps));
        assert_eq!((found.gaps, found.longest_gaps.len()), (60, MAX_GAPS));
        let lengths: Vec<f64> = found.longest_gaps.iter().map(|gap| gap.ms).collect();
        assert_eq!(lengths, (40..60).map(|gap| f64::from(1_000 + gap)).collect::<Vec<_>>());
    }

    #[test]
    fn few_messages_have_no_rate() {
        assert_eq!(times(&[]), Times::default());
        let one = times(&at(&[7]));
        assert_eq!((one.rate_hz, one.longest_gap_ms, one.first_ns), (None, None, Some(7_000_000)));
        let same = times(&at(&[7, 7, 7]));
        assert_eq!((same.rate_hz, same.gaps, same.longest_gap_ms), (None, 0, Some(0.0)));
    }

    #[test]
    fn every_message_falls_into_a_column() {
        let stamps: Vec<u64> = (0..1000).collect();
        let counts = columns(&at(&stamps), 0, 999 * 1_000_000, 7);
        assert_eq!(counts.iter().sum::<u64>(), 1000);
        assert!(counts.iter().all(|count| (142..=144).contains(count)), "{counts:?}");
        assert_eq!(columns(&at(&[5]), 5_000_000, 5_000_000, 3), [1, 0, 0]);
        assert_eq!(columns(&at(&[0, 1]), 0, u64::MAX, 2), [2, 0]);
    }
}
