//! What a last checkpoint and a release take, as measured lately: the reserve that a stop keeps before a kill.
//!
//! It measures nothing by itself and decides nothing: the executor tells how long its writes took, and whoever knows of a
//! kill asks.

use roboflow_fsm::policy::COMMIT_GUESS_MS;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of each kind so many of the last durations count.
pub const SAMPLES_KEPT: usize = 256;
/// What is kept beyond what was measured: for a slower write than any lately, and for the process to end.
pub const MARGIN_MS: u64 = 1_000;

/// Durations of one kind of write, the last [`SAMPLES_KEPT`] of them.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<u64>>);

impl Recent {
    /// One more took so long.
    pub fn took(&self, time: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SAMPLES_KEPT {
            kept.pop_front();
        }
        kept.push_back(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// The time that 99 of 100 took at most, in ms, rounded up to a whole sample. `None` before the first.
    pub fn p99_ms(&self) -> Option<u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<u64> = kept.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }
}

/// What the end of a stop takes.
#[derive(Debug, Default)]
pub struct Reserve {
    /// Checkpoints and completions.
    pub checkpoints: Recent,
    /// Releases.
    pub releases: Recent,
}

impl Reserve {
    /// A checkpoint and a release, and [`MARGIN_MS`]. What was never measured is guessed at [`COMMIT_GUESS_MS`].
    pub fn ms(&self) -> u64 {
        let of = |recent: &Recent| recent.p99_ms().unwrap_or(COMMIT_GUESS_MS);
        of(&self.checkpoints).saturating_add(of(&self.releases)).saturating_add(MARGIN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_slowest_of_a_hundred_is_left_out_and_no_more() {
        let recent = Recent::default();
        assert_eq!(recent.p99_ms(), None);
        recent.took(ms(7));
        assert_eq!(recent.p99_ms(), Some(7), "of one, that one");
        for _ in 0..98 {
            recent.took(ms(10));
        }
        recent.took(ms(9_000));
        assert_eq!(recent.p99_ms(), Some(10));
        recent.took(ms(8_000));
        assert_eq!(recent.p99_ms(), Some(8_000), "of 101, the slowest only");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let recent = Recent::default();
        recent.took(ms(60_000));
        for _ in 0..SAMPLES_KEPT {
            recent.took(ms(3));
        }
        assert_eq!(recent.p99_ms(), Some(3));
    }

    #[test]
    fn the_reserve_is_the_sum_and_a_margin() {
        let reserve = Reserve::default();
        assert_eq!(reserve.ms(), 2 * COMMIT_GUESS_MS + MARGIN_MS);
        reserve.checkpoints.took(ms(20));
        reserve.releases.took(ms(5));
        assert_eq!(reserve.ms(), 25 + MARGIN_MS);
    }
}
