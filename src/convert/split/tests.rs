//! Cuts against plain recomputations.

use super::*;
use proptest::prelude::*;

fn cutter(alone: bool, trim_start_ns: u64, trim_end_ns: u64) -> Cutter {
    Cutter { alone, trim_start_ns, trim_end_ns }
}

#[test]
fn all_of_a_recording_runs_from_the_latest_first_to_the_earliest_last_stamp() {
    let topics = [vec![5u64, 10, 30], vec![7, 40]];
    let cut = cutter(false, 0, 0).cut(&topics, &Bounds::whole()).unwrap();
    assert_eq!(cut, Cut { start_ns: 7, end_ns: 30, messages: vec![0..3, 0..2] });
    let trimmed = cutter(false, 3, 20).cut(&topics, &Bounds::whole()).unwrap();
    assert_eq!((trimmed.start_ns, trimmed.end_ns), (10, 10));
    assert_eq!(cutter(false, 3, 21).cut(&topics, &Bounds::whole()), Err(Nowhere::Trimmed { left_ns: 23 }));
}

#[test]
fn bounds_only_say_where_frames_stand_unless_the_episode_is_alone() {
    let topics = [vec![0u64, 10, 20, 30, 40], vec![5, 35]];
    let bounds = Bounds::of(12, 30);
    let among = cutter(false, 0, 0).cut(&topics, &bounds).unwrap();
    assert_eq!(among, Cut { start_ns: 12, end_ns: 30, messages: vec![0..5, 0..2] });
    assert_eq!(cutter(true, 0, 0).cut(&topics, &bounds), Err(Nowhere::Silent { topic: 1 }));
    let alone = cutter(true, 0, 0).cut(&topics[..1], &bounds).unwrap();
    assert_eq!(alone, Cut { start_ns: 20, end_ns: 30, messages: std::iter::once(2..4).collect() });
}

#[test]
fn what_begins_after_the_end_is_named() {
    let topics = [vec![5u64, 10], vec![20, 30]];
    let apart = |bounds| cutter(false, 0, 0).cut(&topics, &bounds).unwrap_err();
    assert_eq!(
        apart(Bounds::whole()),
        Nowhere::Apart { late: Late::Topic(1, Stamp(20)), early: Early::Topic(0, Stamp(10)) }
    );
    assert_eq!(
        apart(Bounds::of(40, 50)),
        Nowhere::Apart { late: Late::Bounds(Stamp(40)), early: Early::Topic(0, Stamp(10)) }
    );
    assert_eq!(
        apart(Bounds::of(0, 3)),
        Nowhere::Apart { late: Late::Topic(1, Stamp(20)), early: Early::Bounds(Stamp(3)) }
    );
}

proptest! {
    #![proptest_config(crate::convert::testing::cases())]

    /// Stamp by stamp, in lists that are filtered.
    #[test]
    fn a_cut_equals_a_look_at_every_stamp(
        mut topics in prop::collection::vec(prop::collection::vec(0u64..100, 0..12), 1..4),
        begin in 0u64..100,
        length in 0u64..100,
        (alone, trim_start, trim_end) in (any::<bool>(), 0u64..10, 0u64..10),
    ) {
        topics.iter_mut().for_each(|topic| topic.sort_unstable());
        let bounds = Bounds::of(begin, begin + length);
        let inside = |stamp: &u64| !alone || (begin..=begin + length).contains(stamp);
        let count: Vec<Vec<u64>> =
            topics.iter().map(|topic| topic.iter().copied().filter(inside).collect()).collect();
        let start = count.iter().map(|topic| topic.first().copied()).collect::<Option<Vec<u64>>>()
            .map(|firsts| firsts.into_iter().chain([begin]).max().unwrap() + trim_start);
        let end = count.iter().map(|topic| topic.last().copied()).collect::<Option<Vec<u64>>>()
            .map(|lasts| i128::from(lasts.into_iter().chain([begin + length]).min().unwrap()) - i128::from(trim_end));
        let expected = start.zip(end).filter(|(start, end)| i128::from(*start) <= *end);
        let got = cutter(alone, trim_start, trim_end).cut(&topics, &bounds);
        prop_assert_eq!(got.as_ref().ok().map(|cut| (cut.start_ns, i128::from(cut.end_ns))), expected);
        if let Ok(cut) = got {
            for ((window, topic), expected) in cut.messages.into_iter().zip(&topics).zip(count) {
                prop_assert_eq!(&topic[window], &expected[..]);
            }
        }
    }
}
