//! Which frames of an episode are looked at for image statistics.
//!
//! Source: lerobot `datasets/compute_stats.py`, `estimate_num_samples` and `sample_indices`.

/// Fewest frames sampled, if there are so many.
const SAMPLES_MIN: u64 = 100;
/// Most frames sampled.
const SAMPLES_MAX: u64 = 10_000;

/// The sampled ones of `frames` kept frames, rising: `max(min(100, frames), min(frames^0.75, 10000))` of them, evenly
/// spread as `numpy.round(numpy.linspace(0, frames - 1, n))`, halves to even.
pub(crate) fn sampled(frames: u64) -> impl Iterator<Item = u64> {
    let grown = (frames as f64).powf(0.75) as u64;
    let count = SAMPLES_MIN.min(frames).max(grown.min(SAMPLES_MAX));
    let last = frames.saturating_sub(1);
    let step = if count > 1 { last as f64 / (count - 1) as f64 } else { 0.0 };
    (0..count).map(move |sample| {
        if sample > 0 && sample + 1 == count { last } else { (sample as f64 * step).round_ties_even() as u64 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_frames_are_all_sampled() {
        for frames in [0, 1, 2, 99, 100] {
            assert_eq!(sampled(frames).collect::<Vec<_>>(), (0..frames).collect::<Vec<_>>());
        }
    }

    /// `np.round(np.linspace(0, n - 1, k)).astype(int)` by numpy 2.
    #[test]
    fn many_are_spread_as_numpy_spreads_them() {
        let of_202: Vec<u64> = sampled(202).collect();
        assert_eq!(of_202.len(), 100);
        assert_eq!(of_202[..6], [0, 2, 4, 6, 8, 10]);
        assert_eq!(of_202[47..52], [95, 97, 99, 102, 104]);
        assert_eq!(of_202[99], 201);
        assert_eq!(sampled(1000).count(), 177);
        assert_eq!(sampled(1_000_000_000).count(), 10_000);
    }

    #[test]
    fn none_is_sampled_twice() {
        for frames in 1..3000 {
            let all: Vec<u64> = sampled(frames).collect();
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{frames}");
            assert_eq!(all.last(), Some(&(frames - 1)));
        }
    }
}
