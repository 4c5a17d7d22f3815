//! Clocks that jump: stamps of a topic that go back in the order of the file, and long silences of all topics.
//!
//! It changes nothing: messages are ordered by stamp whatever the file's order. It only tells the user, once a recording,
//! with the place, the size and the count, and what to do about it.

use super::align::Stamped;
use super::grid::{NS_PER_S, Stamp};
use super::mapping::Mapping;
use super::mapping::episodes::Split;
use super::rows::Sources;
use super::source::{MessageRef, TimeSource};
use super::split::silence::silences;

/// A clock that goes back by more was set, or began anew; by less, messages were only written late.
const RESET_NS: u64 = NS_PER_S;
/// A silence of all topics that is longer may be a clock that was set forward.
const SILENCE_NS: u64 = 30 * NS_PER_S;

/// How the stamps of one topic go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backwards {
    count: u64,
    /// The greatest, from the stamp before to the one after.
    from_ns: u64,
    to_ns: u64,
}

impl Backwards {
    fn by_ns(&self) -> u64 {
        self.from_ns - self.to_ns
    }
}

/// What is to be said of the clocks of a recording's mapped topics.
pub(crate) fn warnings(mapping: &Mapping, sources: &mut Sources) -> Vec<String> {
    let mut said = Vec::new();
    for topic in 0..sources.messages.len() {
        let found = sources.messages.get_mut(topic).and_then(|messages| backwards(messages));
        said.extend(found.map(|found| describe(sources.topic_name(topic), found, mapping.time)));
    }
    said.extend(silence(mapping, sources));
    said
}

/// How stamps go back in the order of the file. The messages are ordered by (stamp, place in the file), and are so again
/// when it returns; where the file has that order, nothing is moved.
fn backwards(messages: &mut [MessageRef]) -> Option<Backwards> {
    let place = |message: &MessageRef| (message.chunk, message.offset);
    if messages.is_sorted_by_key(place) {
        return None;
    }
    messages.sort_unstable_by_key(place);
    let mut found: Option<Backwards> = None;
    for pair in messages.windows(2) {
        let [before, after] = pair else { continue };
        let this = Backwards { count: 1, from_ns: before.stamp_ns(), to_ns: after.stamp_ns() };
        if this.to_ns < this.from_ns {
            let greatest = found.filter(|known| known.by_ns() >= this.by_ns()).unwrap_or(this);
            found = Some(Backwards { count: found.map_or(1, |known| known.count + 1), ..greatest });
        }
    }
    messages.sort_unstable();
    found
}

fn describe(topic: &str, found: Backwards, time: TimeSource) -> String {
    let Backwards { count, from_ns, to_ns } = found;
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let by = Stamp(found.by_ns());
    let what = format!(
        "the stamps of {topic} go back {times}, at most by {by} from {} to {}",
        Stamp(from_ns),
        Stamp(to_ns)
    );
    if found.by_ns() <= RESET_NS {
        return format!("{what}: messages are ordered by stamp");
    }
    let hint = match time {
        TimeSource::Log => "cut the recording there and convert its parts",
        TimeSource::Publish | TimeSource::Header => "align by time = \"log\", or cut the recording there",
    };
    format!(
        "{what}: a clock was set back or began anew (a simulation that was reset, for example); messages are ordered by \
         stamp, so those of both sides stand between each other: {hint}"
    )
}

/// Of a recording that is one episode, the longest silence of all topics, if frames stand in it for long.
fn silence(mapping: &Mapping, sources: &Sources) -> Option<String> {
    if mapping.episodes.split != Split::File {
        return None;
    }
    let topics: Vec<&[MessageRef]> = sources.messages.iter().map(Vec::as_slice).collect();
    let found = silences(&topics, SILENCE_NS).ok()?;
    let (after, before) = found.iter().max_by_key(|(after, before)| (before - after, *after))?;
    let ms = SILENCE_NS / 1_000_000;
    Some(format!(
        "no mapped topic says anything for {} after {}, and {} more silences are over {}: if a clock was set or the robot \
         paused there, split the recording by [episodes] split = \"gap\" and gap_ms = {ms}, or set tolerance_ms",
        Stamp(before - after),
        Stamp(*after),
        found.len() - 1,
        Stamp(SILENCE_NS)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages with these stamps in the order of the file, in chunks of three.
    fn in_file(stamps: &[u64]) -> Vec<MessageRef> {
        let at = |(at, stamp_ns): (usize, &u64)| MessageRef {
            stamp_ns: *stamp_ns,
            chunk: (at / 3) as u32,
            offset: (at % 3) as u32 * 100,
        };
        let mut messages: Vec<MessageRef> = stamps.iter().enumerate().map(at).collect();
        messages.sort_unstable();
        messages
    }

    #[test]
    fn the_greatest_step_back_is_told_with_their_count() {
        let found = backwards(&mut in_file(&[10, 30, 20, 40, 15, 50, 50, 49]));
        assert_eq!(found, Some(Backwards { count: 3, from_ns: 40, to_ns: 15 }));
        assert_eq!(backwards(&mut in_file(&[10, 10, 20])), None);
        assert_eq!(backwards(&mut []), None);
    }

    #[test]
    fn late_messages_and_clocks_set_back_are_told_apart() {
        let late = Backwards { count: 2, from_ns: NS_PER_S, to_ns: NS_PER_S / 2 };
        assert_eq!(
            describe("/a", late, TimeSource::Log),
            "the stamps of /a go back 2 times, at most by 0.500000000 s from 1.000000000 s to 0.500000000 s: messages are ordered by stamp"
        );
        let reset = Backwards { count: 1, from_ns: 90 * NS_PER_S, to_ns: 0 };
        let told = describe("/a", reset, TimeSource::Header);
        assert!(
            told.starts_with(
                "the stamps of /a go back once, at most by 90.000000000 s from 90.000000000 s to 0"
            ),
            "{told}"
        );
        assert!(told.ends_with("align by time = \"log\", or cut the recording there"), "{told}");
        assert!(
            describe("/a", reset, TimeSource::Log).ends_with("cut the recording there and convert its parts")
        );
    }

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        #[test]
        fn it_equals_a_look_at_each_pair_and_leaves_the_order(stamps in prop::collection::vec(0u64..50, 0..40)) {
            let mut messages = in_file(&stamps);
            let sorted = messages.clone();
            let found = backwards(&mut messages);
            prop_assert_eq!(messages, sorted);
            let back: Vec<u64> = stamps.windows(2).filter(|w| w[1] < w[0]).map(|w| w[0] - w[1]).collect();
            let told = found.map(|found| (found.count as usize, found.by_ns()));
            prop_assert_eq!(told, back.iter().max().map(|most| (back.len(), *most)));
        }
    }
}
