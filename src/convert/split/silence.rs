//! Silences: stretches of time in which none of some topics says anything, and the pieces between them.
//!
//! It looks at each message once, however many silences there are.

use super::{Bounds, EPISODES_MAX, TooMany};
use crate::convert::align::Stamped;

/// A stretch of time between two stamps; none: it is open on that side.
type Stretch = (Option<u64>, Option<u64>);

/// The silences of these topics taken together that are longer than `longest_ns`: the stamps of the last message before
/// and the first one after each, in their order. Topics are ordered by stamp.
///
/// # Errors
/// There are [`EPISODES_MAX`] or more of them.
pub(crate) fn silences<M: Stamped>(topics: &[&[M]], longest_ns: u64) -> Result<Vec<(u64, u64)>, TooMany> {
    // The silences of the topics so far: each next one breaks some of them.
    let mut found: Vec<Stretch> = vec![(None, None)];
    for topic in topics {
        let mut broken = Vec::new();
        for stretch in found {
            break_up(topic, stretch, longest_ns, &mut broken);
        }
        found = broken;
    }
    let inner: Vec<(u64, u64)> = found.into_iter().filter_map(|(after, before)| after.zip(before)).collect();
    if inner.len() >= EPISODES_MAX { Err(TooMany) } else { Ok(inner) }
}

/// What a topic leaves of a stretch in which others are silent.
fn break_up<M: Stamped>(topic: &[M], (after, before): Stretch, longest_ns: u64, out: &mut Vec<Stretch>) {
    let is_long = |from: Option<u64>, to: Option<u64>| match from.zip(to) {
        Some((from, to)) => to.saturating_sub(from) > longest_ns,
        None => true,
    };
    let begin = after.map_or(0, |after| topic.partition_point(|message| message.stamp_ns() <= after));
    let mut last = after;
    for message in topic.get(begin..).unwrap_or_default() {
        let stamp_ns = message.stamp_ns();
        if before.is_some_and(|before| stamp_ns >= before) {
            break;
        }
        if is_long(last, Some(stamp_ns)) {
            out.push((last, Some(stamp_ns)));
        }
        last = Some(stamp_ns);
    }
    if is_long(last, before) {
        out.push((last, before));
    }
}

/// What lies between silences: the first piece begins with the recording, the last ends with it.
pub(crate) fn pieces(silences: &[(u64, u64)]) -> Vec<Bounds> {
    let begins = std::iter::once(0).chain(silences.iter().map(|(_, before)| *before));
    let ends = silences.iter().map(|(after, _)| *after).chain(std::iter::once(u64::MAX));
    begins.zip(ends).map(|(begin_ns, end_ns)| Bounds::of(begin_ns, end_ns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_silence_is_one_of_all_topics_and_longer_than_asked() {
        let (a, b) = ([0u64, 10, 50, 60], [5u64, 30, 65]);
        assert_eq!(silences(&[&a[..], &b[..]], 19), Ok(vec![(10, 30), (30, 50)]));
        assert_eq!(silences(&[&a[..], &b[..]], 20), Ok(vec![]), "as long as asked is not longer");
        assert_eq!(silences(&[&a[..]], 39), Ok(vec![(10, 50)]));
        assert_eq!(silences::<u64>(&[&[], &a], 39), Ok(vec![(10, 50)]));
        assert_eq!(silences::<u64>(&[], 1), Ok(vec![]));
    }

    #[test]
    fn pieces_lie_between_silences() {
        let bounds: Vec<_> =
            pieces(&[(10, 30), (40, 90)]).iter().map(|piece| (piece.begin_ns, piece.end_ns)).collect();
        assert_eq!(bounds, [(0, 10), (30, 40), (90, u64::MAX)]);
        assert_eq!(pieces(&[]), [Bounds::whole()]);
    }

    #[test]
    fn too_many_are_refused() {
        let stamps: Vec<u64> = (0..=EPISODES_MAX as u64).map(|k| k * 10).collect();
        assert_eq!(silences(&[&stamps[..]], 5), Err(TooMany));
        assert_eq!(silences(&[&stamps[1..]], 5).unwrap().len(), EPISODES_MAX - 1);
    }

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        /// Over all stamps of all topics in one sorted list.
        #[test]
        fn it_equals_a_walk_over_all_stamps(
            mut topics in prop::collection::vec(prop::collection::vec(0u64..300, 0..25), 0..5),
            longest in 0u64..40,
        ) {
            topics.iter_mut().for_each(|topic| topic.sort_unstable());
            let mut all = topics.concat();
            all.sort_unstable();
            let expected: Vec<(u64, u64)> =
                all.windows(2).filter(|w| w[1] - w[0] > longest).map(|w| (w[0], w[1])).collect();
            let slices: Vec<&[u64]> = topics.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(silences(&slices, longest).unwrap(), expected);
        }
    }
}
