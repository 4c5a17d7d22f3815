//! From grid frames to their values: reads the messages that frames take, each once, in the order of the file.
//!
//! It holds one segment's values and no more; what they become is the segment's business.

use super::align::{Pick, Stamped};
use super::grid::Stamp;
use super::plan::{Lane, Plan};
use super::source::{MessageRef, Reader, Recording};
use super::spare::Spares;
use super::tap::{Column, Tap};
use super::{StopFlag, WorkError};
use std::collections::HashMap;

/// Most bytes of values in one segment; images make nearly all of them.
pub(crate) const SEGMENT_BYTES_MAX: usize = 1 << 30;
const _: () = assert!(SEGMENT_BYTES_MAX < i32::MAX as usize, "Arrow's offsets are 32-bit");

impl Stamped for MessageRef {
    fn stamp_ns(&self) -> u64 {
        self.stamp_ns
    }
}

/// Where the frames' values come from; never changed once a recording is open.
pub(crate) struct Sources {
    pub(crate) recording: Recording,
    /// Every message of each mapped topic, by (stamp, place in the file); and behind those of topics, of each part of one
    /// that is aligned by itself.
    pub(crate) messages: Vec<Vec<MessageRef>>,
    /// What each of them is called in messages to people.
    pub(crate) names: Vec<String>,
    pub(crate) lanes: Vec<Lane>,
}

/// Values of some frames.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) frames: usize,
    /// For each lane, what each frame takes: messages by their place in the lane's column.
    pub(crate) picks: Vec<Vec<Pick>>,
    /// For each lane, its messages' values.
    pub(crate) columns: Vec<Column>,
    /// For each lane, the stamps of its messages, for errors.
    pub(crate) stamps: Vec<Vec<u64>>,
}

impl Rows {
    /// The bytes of their values, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.columns.iter().map(Column::size_bytes).sum()
    }
}

/// A message that a lane needs.
#[derive(Clone, Copy)]
struct Need {
    at: MessageRef,
    lane: usize,
    position: usize,
}

impl Sources {
    /// The name of a mapped topic, by its place among them.
    pub(crate) fn topic_name(&self, topic: usize) -> &str {
        self.names.get(topic).map_or("a topic", String::as_str)
    }

    /// The values that these kept frames of an episode take, by one tap for each lane.
    pub(crate) fn read(
        &self,
        reader: &mut Reader,
        taps: &mut [Tap],
        spares: &Spares,
        plan: &Plan,
        frames: &[u64],
        stop: &StopFlag,
    ) -> Result<Rows, WorkError> {
        let (mut picks, mut needs) = (Vec::with_capacity(self.lanes.len()), Vec::new());
        for lane in 0..self.lanes.len() {
            picks.push(self.picks(lane, plan, frames, &mut needs)?);
        }
        needs.sort_unstable_by_key(|need| (need.at.chunk, need.at.offset, need.lane, need.position));
        needs.dedup_by_key(|need| (need.at.chunk, need.at.offset, need.lane, need.position));
        let mut columns: Vec<Column> = taps.iter().map(Tap::column).collect();
        let mut stamps = vec![Vec::new(); columns.len()];
        let mut rows: Vec<HashMap<usize, usize>> = vec![HashMap::new(); columns.len()];
        let mut held_bytes = 0;
        for group in needs.chunk_by(|a, b| (a.at.chunk, a.at.offset) == (b.at.chunk, b.at.offset)) {
            stop.check()?;
            let Some(first) = group.first() else { continue };
            let message = reader.message(first.at)?;
            for need in group {
                let column = columns.get_mut(need.lane).zip(taps.get_mut(need.lane));
                let (Some((column, tap)), Some(lane)) = (column, self.lanes.get(need.lane)) else { continue };
                let before = column.size_bytes();
                tap.take(message.kind, message.data, column).map_err(|what| {
                    let name = self.recording.name();
                    complaint(name, &lane.topic_name, need.at.stamp_ns, &what)
                })?;
                held_bytes += column.size_bytes() - before;
                column.expect_files(frames.len(), spares);
                if let (Some(stamps), Some(rows)) = (stamps.get_mut(need.lane), rows.get_mut(need.lane)) {
                    rows.insert(need.position, stamps.len());
                    stamps.push(need.at.stamp_ns);
                }
            }
            if held_bytes > SEGMENT_BYTES_MAX {
                return Err(WorkError::Permanent(format!(
                    "{}: a segment of {} frames holds over {SEGMENT_BYTES_MAX} bytes: take fewer frames a segment",
                    self.recording.name(),
                    frames.len()
                )));
            }
        }
        for (picks, rows) in picks.iter_mut().zip(&rows) {
            renumber(picks, rows);
        }
        Ok(Rows { frames: frames.len(), picks, columns, stamps })
    }

    /// What frames take from a lane, and the messages needed for it.
    fn picks(
        &self,
        lane: usize,
        plan: &Plan,
        frames: &[u64],
        needs: &mut Vec<Need>,
    ) -> Result<Vec<Pick>, WorkError> {
        let none = || WorkError::Permanent(format!("{}: a kept frame has no message", self.recording.name()));
        let rule = self.lanes.get(lane).ok_or_else(none)?;
        let messages = plan.messages(&self.messages, rule.topic);
        let mut picks = Vec::with_capacity(frames.len());
        for frame in frames {
            let pick = rule.meet(messages, &plan.grid, *frame).pick.ok_or_else(none)?;
            let (first, second) = match pick {
                Pick::One(at) => (at, None),
                Pick::Between { before, after, .. } => (before, Some(after)),
            };
            for position in std::iter::once(first).chain(second) {
                needs.push(Need { at: *messages.get(position).ok_or_else(none)?, lane, position });
            }
            picks.push(pick);
        }
        Ok(picks)
    }
}

/// From places in the topic's messages to places in the lane's column.
fn renumber(picks: &mut [Pick], rows: &HashMap<usize, usize>) {
    let row = |position: usize| rows.get(&position).copied().unwrap_or(usize::MAX);
    for pick in picks {
        *pick = match *pick {
            Pick::One(at) => Pick::One(row(at)),
            Pick::Between { before, after, weight } => {
                Pick::Between { before: row(before), after: row(after), weight }
            }
        };
    }
}

/// What is wrong with one message of a recording.
pub(crate) fn complaint(recording: &str, topic: &str, stamp_ns: u64, what: &str) -> WorkError {
    WorkError::Permanent(format!("{recording}: {topic} at {}: {what}", Stamp(stamp_ns)))
}
