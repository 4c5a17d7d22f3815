//! Which frames of a grid are kept: one bit each, and the n-th kept one found fast.

use std::ops::Range;

const BITS: u64 = u64::BITS as u64;
/// Words between two stored counts: 1024 frames.
const BLOCK_WORDS: usize = 16;

/// Grid frames while some are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    words: Vec<u64>,
    frames: u64,
}

/// The frames that are kept, for good.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    words: Vec<u64>,
    /// Kept frames before each block.
    before: Vec<u64>,
    count: u64,
}

impl Keeping {
    /// All of so many frames.
    pub(crate) fn all(frames: u64) -> Self {
        let words = usize::try_from(frames.div_ceil(BITS)).unwrap_or(usize::MAX);
        let mut words = vec![u64::MAX; words];
        if let (Some(last), 1..) = (words.last_mut(), frames % BITS) {
            *last = (1 << (frames % BITS)) - 1;
        }
        Self { words, frames }
    }

    /// Drops a frame; again is the same.
    pub(crate) fn drop_frame(&mut self, frame: u64) {
        debug_assert!(frame < self.frames, "a frame of the grid");
        if let Some(word) = usize::try_from(frame / BITS).ok().and_then(|at| self.words.get_mut(at)) {
            *word &= !(1 << (frame % BITS));
        }
    }

    /// Closes the choice.
    pub(crate) fn done(self) -> Kept {
        let mut count = 0;
        let mut before = Vec::with_capacity(self.words.len().div_ceil(BLOCK_WORDS));
        for block in self.words.chunks(BLOCK_WORDS) {
            before.push(count);
            count += block.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        }
        Kept { words: self.words, before, count }
    }
}

impl Kept {
    /// How many are kept.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The grid frames of these kept ones, by their number among the kept.
    pub(crate) fn frames(&self, kept: Range<u64>) -> Vec<u64> {
        let end = kept.end.min(self.count);
        let Some(wanted) = end.checked_sub(kept.start).filter(|count| *count > 0) else { return Vec::new() };
        let block = self.before.partition_point(|before| *before <= kept.start).saturating_sub(1);
        let skipped = kept.start - self.before.get(block).copied().unwrap_or(0);
        let first = block * BLOCK_WORDS;
        self.words
            .iter()
            .enumerate()
            .skip(first)
            .flat_map(|(at, word)| ones(*word).map(move |bit| at as u64 * BITS + bit))
            .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
            .take(usize::try_from(wanted).unwrap_or(usize::MAX))
            .collect()
    }
}

/// The places of a word's ones, from the lowest.
fn ones(mut word: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| u64::from(word.trailing_zeros()))?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        #[test]
        fn it_is_the_plain_list_of_kept_frames(
            frames in 1u64..5000,
            drops in prop::collection::vec(0u64..5000, 0..400),
            from in 0u64..5000,
            length in 0u64..300,
        ) {
            let mut keeping = Keeping::all(frames);
            let mut list: Vec<u64> = (0..frames).collect();
            for drop in drops.into_iter().filter(|drop| *drop < frames) {
                keeping.drop_frame(drop);
                list.retain(|frame| *frame != drop);
            }
            let kept = keeping.done();
            prop_assert_eq!(kept.count(), list.len() as u64);
            let expected: Vec<u64> = list.into_iter().skip(from as usize).take(length as usize).collect();
            prop_assert_eq!(kept.frames(from..from + length), expected);
        }
    }

    #[test]
    fn whole_words_have_no_frame_too_many() {
        for frames in [1, 63, 64, 65, 128, 1024] {
            assert_eq!(Keeping::all(frames).done().count(), frames);
        }
    }
}
