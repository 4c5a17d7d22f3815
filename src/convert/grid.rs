//! The frame grid: where an episode's frames stand in time.
//!
//! Whole nanoseconds throughout, so that anyone can recompute it; see [`Grid::frame_ns`]. It knows no messages.

use std::fmt;

/// Nanoseconds in a second.
pub(crate) const NS_PER_S: u64 = 1_000_000_000;
/// Most frames of a grid: 19 days at 30 a second. A recording with nonsense stamps is refused rather than walked.
pub const GRID_FRAMES_MAX: u64 = 50_000_000;
const _: () = assert!(GRID_FRAMES_MAX < u32::MAX as u64, "frames are numbered by u32");

/// The frames of one episode, before any is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    start_ns: u64,
    fps: u32,
    frames: u64,
}

/// The first and last stamp of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first stamp.
    pub first_ns: u64,
    /// Its last stamp.
    pub last_ns: u64,
}

impl Grid {
    /// The grid that topics share: from the latest first stamp to the earliest last one, `fps` (at least 1) frames a
    /// second. `None` when there is no instant at which all of them have begun and none has ended, or no topic.
    pub fn shared(topics: &[Span], fps: u32) -> Option<Self> {
        let start_ns = topics.iter().map(|span| span.first_ns).max()?;
        let end_ns = topics.iter().map(|span| span.last_ns).min()?;
        Self::between(start_ns, end_ns, fps)
    }

    /// The grid from one instant to another. `None` when that lies before.
    pub fn between(start_ns: u64, end_ns: u64, fps: u32) -> Option<Self> {
        let length_ns = end_ns.checked_sub(start_ns)?;
        let fps = fps.max(1);
        // The greatest k with (2k·10⁹ + fps) div 2fps ≤ length, that is with 2k·10⁹ + fps < (length + 1)·2fps.
        let room = (u128::from(length_ns) + 1) * 2 * u128::from(fps) - u128::from(fps) - 1;
        let last = room / (2 * u128::from(NS_PER_S));
        Some(Self { start_ns, fps, frames: u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1) })
    }

    /// How many frames there are; at least 1.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Where frame `k` stands: `start + round(k × 10⁹ / fps)` ns, halves up.
    pub fn frame_ns(&self, k: u64) -> u64 {
        let fps = u128::from(self.fps);
        let offset = (2 * u128::from(k) * u128::from(NS_PER_S) + fps) / (2 * fps);
        self.start_ns.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// Where the last frame stands.
    pub fn end_ns(&self) -> u64 {
        self.frame_ns(self.frames - 1)
    }
}

/// Nanoseconds as seconds with nine decimals, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / NS_PER_S, self.0 % NS_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shared(first_ns: u64, last_ns: u64, fps: u32) -> Option<Grid> {
        Grid::shared(&[Span { first_ns, last_ns }], fps)
    }

    #[test]
    fn it_runs_from_the_latest_first_to_the_earliest_last_stamp() {
        let spans = [
            Span { first_ns: 5, last_ns: 3 * NS_PER_S },
            Span { first_ns: 100, last_ns: 2 * NS_PER_S + 100 },
        ];
        let grid = Grid::shared(&spans, 10).unwrap();
        assert_eq!((grid.frames(), grid.frame_ns(0), grid.end_ns()), (21, 100, 2 * NS_PER_S + 100));
    }

    #[test]
    fn topics_that_never_overlap_have_none() {
        let spans = [Span { first_ns: 5, last_ns: 10 }, Span { first_ns: 11, last_ns: 20 }];
        assert_eq!(Grid::shared(&spans, 30), None);
        assert_eq!(Grid::shared(&[], 30), None);
        assert_eq!(shared(7, 7, 30).unwrap().frames(), 1);
    }

    #[test]
    fn thirds_of_a_second_round_to_the_nearest_nanosecond() {
        let grid = shared(0, NS_PER_S, 30).unwrap();
        let frames: Vec<u64> = (0..4).map(|k| grid.frame_ns(k)).collect();
        assert_eq!(frames, [0, 33_333_333, 66_666_667, 100_000_000]);
    }

    #[test]
    fn stamps_of_a_whole_u64_do_not_overflow() {
        let grid = shared(0, u64::MAX, FPS_MAX).unwrap();
        assert!(grid.frames() > GRID_FRAMES_MAX);
        assert_eq!(grid.frame_ns(u64::MAX), u64::MAX);
    }

    const FPS_MAX: u32 = 1000;

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        /// Frame by frame, as the rule is written, in whole numbers of another kind.
        #[test]
        fn it_equals_a_brute_force_recomputation(
            start in 0u64..4_000_000_000_000_000_000,
            length in 0u64..3_000_000_000,
            fps in 1u32..=FPS_MAX,
        ) {
            let mut expected = Vec::new();
            let mut k = 0i128;
            loop {
                let at = i128::from(start) + (2 * k * 1_000_000_000 + i128::from(fps)).div_euclid(2 * i128::from(fps));
                if at > i128::from(start + length) { break; }
                expected.push(u64::try_from(at).unwrap());
                k += 1;
            }
            let grid = shared(start, start + length, fps).unwrap();
            let frames: Vec<u64> = (0..grid.frames()).map(|k| grid.frame_ns(k)).collect();
            prop_assert_eq!(frames, expected);
        }
    }
}
