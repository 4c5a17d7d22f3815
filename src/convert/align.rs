//! Which message a frame takes: the three alignments, over stamps alone.
//!
//! It knows no tolerances, no policies and no values.

/// How messages meet frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The message with the greatest stamp at or before the frame; of equal stamps the last in the file.
    Latest,
    /// The message with the smallest distance; of equal distances the one with the smaller stamp, of equal stamps the first in the file.
    Nearest,
    /// Between the latest message and the first after the frame, by time; exactly on a message, that message.
    Linear,
}

/// Something that stands in time. Slices of it are in the order of stamp, then file.
pub trait Stamped {
    /// Nanoseconds.
    fn stamp_ns(&self) -> u64;
}

/// What a frame takes: places in the topic's messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pick {
    /// One message.
    One(usize),
    /// `(1 - weight) × before + weight × after`, with `before < after` and 0 < weight < 1.
    Between {
        /// The latest message at or before the frame.
        before: usize,
        /// The first after it.
        after: usize,
        /// How far the frame is on the way between them.
        weight: f64,
    },
}

/// The latest message at or before a frame; of equal stamps the last in the file.
pub fn latest<M: Stamped>(messages: &[M], frame_ns: u64) -> Option<usize> {
    messages.partition_point(|message| message.stamp_ns() <= frame_ns).checked_sub(1)
}

/// What a frame takes, and its distance in nanoseconds: between two messages, that of the farther. `None` when there
/// is no such message (before the first, or for `Linear` after the last).
pub fn pick<M: Stamped>(messages: &[M], frame_ns: u64, align: Align) -> Option<(Pick, u64)> {
    let distance = |at: usize| messages.get(at).map(|message| message.stamp_ns().abs_diff(frame_ns));
    let before = latest(messages, frame_ns);
    let after = before.map_or(0, |at| at + 1);
    match align {
        Align::Latest => before.and_then(|at| Some((Pick::One(at), distance(at)?))),
        Align::Nearest => {
            let near = match (before.and_then(distance), distance(after)) {
                (Some(past), Some(future)) if future < past => after,
                (None, Some(_)) => after,
                (Some(_), _) => first_of_equals(messages, before?),
                (None, None) => return None,
            };
            Some((Pick::One(near), distance(near)?))
        }
        Align::Linear => {
            let before = before?;
            let past = distance(before)?;
            if past == 0 {
                return Some((Pick::One(before), 0));
            }
            let future = distance(after)?;
            let weight = past as f64 / (past + future) as f64;
            Some((Pick::Between { before, after, weight }, past.max(future)))
        }
    }
}

fn first_of_equals<M: Stamped>(messages: &[M], at: usize) -> usize {
    let Some(stamp_ns) = messages.get(at).map(Stamped::stamp_ns) else { return at };
    messages.partition_point(|message| message.stamp_ns() < stamp_ns)
}

#[cfg(test)]
impl Stamped for u64 {
    fn stamp_ns(&self) -> u64 {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMPS: [u64; 6] = [10, 20, 20, 20, 30, 50];

    fn one(align: Align, frame_ns: u64) -> Option<(usize, u64)> {
        pick(&STAMPS, frame_ns, align).map(|(pick, distance)| match pick {
            Pick::One(at) => (at, distance),
            Pick::Between { .. } => panic!("one message expected at {frame_ns}"),
        })
    }

    #[test]
    fn latest_takes_the_last_of_equal_stamps() {
        assert_eq!(one(Align::Latest, 9), None);
        assert_eq!(one(Align::Latest, 10), Some((0, 0)));
        assert_eq!(one(Align::Latest, 20), Some((3, 0)));
        assert_eq!(one(Align::Latest, 29), Some((3, 9)));
        assert_eq!(one(Align::Latest, 99), Some((5, 49)));
    }

    #[test]
    fn nearest_takes_the_earlier_of_equal_distances_and_the_first_of_equal_stamps() {
        assert_eq!(one(Align::Nearest, 1), Some((0, 9)));
        assert_eq!(one(Align::Nearest, 15), Some((0, 5)), "half way: the earlier");
        assert_eq!(one(Align::Nearest, 16), Some((1, 4)), "of equal stamps the first");
        assert_eq!(one(Align::Nearest, 25), Some((1, 5)), "half way after equal stamps");
        assert_eq!(one(Align::Nearest, 26), Some((4, 4)));
        assert_eq!(one(Align::Nearest, 40), Some((4, 10)));
    }

    #[test]
    fn linear_lies_between_the_last_before_and_the_first_after() {
        assert_eq!(one(Align::Linear, 20), Some((3, 0)), "exactly on a message");
        let between = Pick::Between { before: 3, after: 4, weight: 0.25 };
        let picked = pick(&[0, 1, 2, 100, 500], 200, Align::Linear);
        assert_eq!(picked, Some((between, 300)), "the farther neighbour's distance");
        assert_eq!(one(Align::Linear, 51), None, "nothing after");
        assert_eq!(one(Align::Linear, 9), None, "nothing before");
    }

    #[test]
    fn no_messages_no_pick() {
        for align in [Align::Latest, Align::Nearest, Align::Linear] {
            assert_eq!(pick::<u64>(&[], 5, align), None);
        }
    }

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        /// As the rules are worded, by looking at every message.
        #[test]
        fn they_equal_a_search_through_all_messages(
            mut stamps in prop::collection::vec(0u64..60, 1..20),
            frame in 0u64..60,
        ) {
            stamps.sort_unstable();
            let all = || stamps.iter().copied().enumerate();
            let before = all().filter(|(_, s)| *s <= frame).max_by_key(|(at, s)| (*s, *at));
            prop_assert_eq!(
                pick(&stamps, frame, Align::Latest),
                before.map(|(at, s)| (Pick::One(at), frame - s))
            );
            let near = all().min_by_key(|(at, s)| (s.abs_diff(frame), *s, *at)).unwrap();
            prop_assert_eq!(
                pick(&stamps, frame, Align::Nearest),
                Some((Pick::One(near.0), near.1.abs_diff(frame)))
            );
            let after = all().filter(|(_, s)| *s > frame).min_by_key(|(at, s)| (*s, *at));
            let linear = match (before, after) {
                (Some((at, s)), _) if s == frame => Some((Pick::One(at), 0)),
                (Some((b, s)), Some((a, t))) => {
                    let weight = (frame - s) as f64 / (t - s) as f64;
                    Some((Pick::Between { before: b, after: a, weight }, (frame - s).max(t - frame)))
                }
                _ => None,
            };
            prop_assert_eq!(pick(&stamps, frame, Align::Linear), linear);
        }
    }
}
