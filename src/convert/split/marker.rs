//! Markers: messages of one topic that say where episodes begin and end.
//!
//! It is given stamps and values in the order of stamps, and keeps nothing but what is open.

use super::{Bounds, EPISODES_MAX, TooMany};
use crate::convert::mapping::episodes::{MarkerRule, MarkerValue};

/// Reads one marker after the other.
#[derive(Debug)]
pub(crate) struct Markers<'m> {
    rule: &'m MarkerRule,
    /// Where the episode that is open has begun.
    open_ns: Option<u64>,
    /// The value before, for changes.
    last: Option<MarkerValue>,
    found: Vec<Bounds>,
}

impl<'m> Markers<'m> {
    pub(crate) fn new(rule: &'m MarkerRule) -> Self {
        Self { rule, open_ns: None, last: None, found: Vec::new() }
    }

    /// The next marker and, where the rule looks at values, what it says.
    ///
    /// # Errors
    /// There are more than [`EPISODES_MAX`] episodes.
    pub(crate) fn take(&mut self, stamp_ns: u64, value: Option<MarkerValue>) -> Result<(), TooMany> {
        match self.rule {
            MarkerRule::Each => self.begin(stamp_ns),
            MarkerRule::Toggle => match self.open_ns {
                None => self.begin(stamp_ns),
                Some(_) => self.end(stamp_ns),
            },
            MarkerRule::Change => {
                if value != self.last {
                    self.begin(stamp_ns)?;
                }
                self.last = value;
                Ok(())
            }
            MarkerRule::Start { start } if value.as_ref() == Some(start) => self.begin(stamp_ns),
            MarkerRule::Start { .. } => Ok(()),
            MarkerRule::StartStop { start, stop } => match self.open_ns {
                None if value.as_ref() == Some(start) => self.begin(stamp_ns),
                Some(_) if value.as_ref() == Some(stop) => self.end(stamp_ns),
                _ => Ok(()),
            },
        }
    }

    /// All episodes. One that is still open ends with the recording.
    ///
    /// # Errors
    /// There are more than [`EPISODES_MAX`].
    pub(crate) fn finish(mut self) -> Result<Vec<Bounds>, TooMany> {
        self.end(u64::MAX)?;
        Ok(self.found)
    }

    /// Begins an episode; one that is open ends a nanosecond before, and one of no length is none.
    fn begin(&mut self, stamp_ns: u64) -> Result<(), TooMany> {
        if self.open_ns.is_some_and(|open_ns| open_ns < stamp_ns) {
            self.end(stamp_ns - 1)?;
        }
        self.open_ns = Some(stamp_ns);
        Ok(())
    }

    fn end(&mut self, stamp_ns: u64) -> Result<(), TooMany> {
        if let Some(open_ns) = self.open_ns.take() {
            if self.found.len() >= EPISODES_MAX {
                return Err(TooMany);
            }
            self.found.push(Bounds::of(open_ns, stamp_ns));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> MarkerValue {
        MarkerValue::Text(text.to_owned())
    }

    fn found(rule: &MarkerRule, said: &[(u64, &str)]) -> Vec<(u64, u64)> {
        let mut markers = Markers::new(rule);
        for (stamp_ns, value) in said {
            markers.take(*stamp_ns, Some(text(value))).unwrap();
        }
        markers.finish().unwrap().iter().map(|bounds| (bounds.begin_ns, bounds.end_ns)).collect()
    }

    #[test]
    fn each_message_begins_an_episode_that_ends_before_the_next() {
        assert_eq!(
            found(&MarkerRule::Each, &[(5, ""), (5, ""), (9, ""), (20, "")]),
            [(5, 8), (9, 19), (20, u64::MAX)],
            "two at one stamp are one"
        );
        assert_eq!(found(&MarkerRule::Each, &[]), []);
    }

    #[test]
    fn starts_and_stops_are_states() {
        let rule = MarkerRule::StartStop { start: text("go"), stop: text("halt") };
        let said =
            [(1, "halt"), (3, "go"), (4, "go"), (5, "?"), (7, "halt"), (8, "halt"), (9, "go"), (9, "halt")];
        assert_eq!(found(&rule, &said), [(3, 7), (9, 9)]);
        assert_eq!(
            found(&rule, &[(3, "go"), (5, "?")]),
            [(3, u64::MAX)],
            "an open one ends with the recording"
        );
    }

    #[test]
    fn a_start_alone_begins_and_ends_the_one_before() {
        let rule = MarkerRule::Start { start: text("go") };
        assert_eq!(found(&rule, &[(1, "x"), (3, "go"), (5, "x"), (7, "go")]), [(3, 6), (7, u64::MAX)]);
    }

    #[test]
    fn every_change_begins_an_episode() {
        let said = [(1, "a"), (2, "a"), (4, "b"), (6, "b"), (7, "a")];
        assert_eq!(found(&MarkerRule::Change, &said), [(1, 3), (4, 6), (7, u64::MAX)]);
    }

    #[test]
    fn a_toggle_begins_and_ends_by_turns() {
        assert_eq!(found(&MarkerRule::Toggle, &[(1, ""), (4, ""), (6, "")]), [(1, 4), (6, u64::MAX)]);
    }

    #[test]
    fn too_many_are_refused() {
        let mut markers = Markers::new(&MarkerRule::Each);
        let all = (0..=EPISODES_MAX as u64).try_for_each(|stamp_ns| markers.take(stamp_ns, None));
        assert_eq!((all, markers.finish()), (Ok(()), Err(TooMany)));
    }

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        /// Whatever is said: a moment is in an episode when the last start or stop at or before it was a start.
        #[test]
        fn starts_and_stops_equal_a_look_at_each_moment(
            mut said in prop::collection::vec((0u64..60, 0usize..3), 0..20),
        ) {
            said.sort_by_key(|(stamp, _)| *stamp);
            said.dedup_by_key(|(stamp, _)| *stamp);
            let words = ["go", "halt", "?"];
            let told: Vec<(u64, &str)> = said.iter().map(|(stamp, word)| (*stamp, words[*word])).collect();
            let rule = MarkerRule::StartStop { start: text("go"), stop: text("halt") };
            let bounds = found(&rule, &told);
            for moment in 0u64..62 {
                let last = told.iter().rev().find(|(stamp, word)| *stamp <= moment && *word != "?");
                let open = last.is_some_and(|(_, word)| *word == "go");
                // A stop belongs to the episode that it ends.
                let closing = told.iter().any(|(stamp, word)| *stamp == moment && *word == "halt")
                    && told.iter().rev().find(|(stamp, word)| *stamp < moment && *word != "?").is_some_and(|(_, word)| *word == "go");
                let inside = bounds.iter().any(|(begin, end)| (*begin..=*end).contains(&moment));
                prop_assert_eq!(inside, open || closing, "at {} of {:?}", moment, &told);
            }
        }
    }
}
