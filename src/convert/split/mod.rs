//! Where a recording's episodes lie in time, and what of each topic belongs to them.
//!
//! Two steps, both over stamps alone: a split gives [`Bounds`] (by silences, markers or ranges that somebody wrote), and
//! [`Cutter::cut`] gives each its place on the time line. It makes no frames and reads no recording.

pub(crate) mod find;
pub(crate) mod marker;
pub(crate) mod ranges;
pub(crate) mod silence;

use super::align::Stamped;
use super::grid::{Span, Stamp};
use std::ops::Range;

/// Most episodes of one recording.
pub(crate) const EPISODES_MAX: usize = 10_000;

/// Between which stamps an episode lies; both belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// Its task, where whoever gave the bounds gave one too.
    pub(crate) task: Option<String>,
}

impl Bounds {
    /// All of a recording.
    pub(crate) fn whole() -> Self {
        Self::of(0, u64::MAX)
    }

    pub(crate) fn of(begin_ns: u64, end_ns: u64) -> Self {
        Self { begin_ns, end_ns, task: None }
    }
}

/// There are more than [`EPISODES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recording would be split into more than {EPISODES_MAX} episodes")]
pub(crate) struct TooMany;

/// An episode's place: where its frames begin and end, and which messages count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// For each mapped topic, those of its messages that count.
    pub(crate) messages: Vec<Range<usize>>,
}

/// Why an episode has no place. Topics are places among the mapped ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// A topic has no message in it.
    Silent {
        topic: usize,
    },
    /// One topic begins after another has ended, or the bounds lie outside of what the topics share.
    Apart {
        late: Late,
        early: Early,
    },
    Trimmed {
        left_ns: u64,
    },
}

/// What begins last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Topic(usize, Stamp),
    Bounds(Stamp),
}

/// What ends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Early {
    Topic(usize, Stamp),
    Bounds(Stamp),
}

/// Places episodes on the time line of some topics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutter {
    /// Only the messages within an episode's bounds count for it, as if it were a recording of its own. Otherwise all
    /// do, and the bounds only say where frames stand.
    pub(crate) alone: bool,
    /// Taken off the begin of each episode.
    pub(crate) trim_start_ns: u64,
    /// Taken off its end.
    pub(crate) trim_end_ns: u64,
}

impl Cutter {
    /// The place of one episode: from the latest among the first stamps of all topics (of the messages that count) to
    /// the earliest among their last ones, within its bounds, and then trimmed. `topics` are ordered by stamp.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn cut<M: Stamped>(&self, topics: &[Vec<M>], bounds: &Bounds) -> Result<Cut, Nowhere> {
        let mut messages = Vec::with_capacity(topics.len());
        let mut late = Late::Bounds(Stamp(bounds.begin_ns));
        let mut early = Early::Bounds(Stamp(bounds.end_ns));
        let mut span = Span { first_ns: bounds.begin_ns, last_ns: bounds.end_ns };
        for (number, topic) in topics.iter().enumerate() {
            let window = if self.alone { within(topic, bounds) } else { 0..topic.len() };
            let here = topic.get(window.clone()).unwrap_or_default();
            let (Some(first), Some(last)) = (here.first(), here.last()) else {
                return Err(Nowhere::Silent { topic: number });
            };
            if first.stamp_ns() > span.first_ns {
                span.first_ns = first.stamp_ns();
                late = Late::Topic(number, Stamp(span.first_ns));
            }
            if last.stamp_ns() < span.last_ns {
                span.last_ns = last.stamp_ns();
                early = Early::Topic(number, Stamp(span.last_ns));
            }
            messages.push(window);
        }
        let length_ns = span.last_ns.checked_sub(span.first_ns).ok_or(Nowhere::Apart { late, early })?;
        let trimmed =
            length_ns.checked_sub(self.trim_start_ns).and_then(|ns| ns.checked_sub(self.trim_end_ns));
        if trimmed.is_none() {
            return Err(Nowhere::Trimmed { left_ns: length_ns });
        }
        let (start_ns, end_ns) = (span.first_ns + self.trim_start_ns, span.last_ns - self.trim_end_ns);
        Ok(Cut { start_ns, end_ns, messages })
    }
}

/// The messages between two stamps, both included.
fn within<M: Stamped>(messages: &[M], bounds: &Bounds) -> Range<usize> {
    let begin = messages.partition_point(|message| message.stamp_ns() < bounds.begin_ns);
    let end = messages.partition_point(|message| message.stamp_ns() <= bounds.end_ns);
    begin..end.max(begin)
}

#[cfg(test)]
mod tests;
