//! Where each message of some topics lies, and when it counts. Message data is read only where the stamps are in it.

use super::catalog::Stretch;
use super::chunk::{Chunk, MessageRecord};
use super::part::Part;
use super::{MessageRef, Recording, SourceError, TimeSource, TopicId};
use crate::convert::StopFlag;
use crate::convert::decode::StampPlan;
use bytes::Bytes;
use std::collections::HashMap;

/// Indexes that are read at once: over a bucket each may be a request, and several are on their way together.
const INDEXES_AT_ONCE: usize = 64;
/// And no more of them than hold so much, but for a single one.
const INDEX_BYTES_AT_ONCE: u64 = 4 << 20;

/// One topic on its way into the index.
struct Slot {
    topic: TopicId,
    /// For each of its types; all none unless stamps in messages are asked for.
    stamps: Vec<Option<StampPlan>>,
    refs: Vec<MessageRef>,
}

/// The state of one call.
struct Indexing<'r> {
    recording: &'r Recording,
    time: TimeSource,
    slots: Vec<Slot>,
    /// The slot of each topic that has one.
    by_topic: HashMap<TopicId, usize>,
}

pub(crate) fn index(
    recording: &Recording,
    topics: &[TopicId],
    time: TimeSource,
    stop: &StopFlag,
) -> Result<Vec<Vec<MessageRef>>, SourceError> {
    let mut unique: Vec<TopicId> = topics.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let mut slots = Vec::with_capacity(unique.len());
    for topic in unique {
        let stamps = match time {
            TimeSource::Header => recording.schemas(topic, stop)?.iter().map(StampPlan::compile).collect(),
            TimeSource::Log | TimeSource::Publish => Vec::new(),
        };
        slots.push(Slot { topic, stamps, refs: Vec::new() });
    }
    let by_topic = slots.iter().enumerate().map(|(place, slot)| (slot.topic, place)).collect();
    let mut indexing = Indexing { recording, time, slots, by_topic };
    indexing.run(stop)?;
    indexing.check_counts()?;
    for slot in &mut indexing.slots {
        slot.refs.sort_unstable();
        slot.refs.shrink_to_fit();
    }
    Ok(topics
        .iter()
        .map(|id| indexing.slots.iter().find(|s| s.topic == *id).map(|s| s.refs.clone()).unwrap_or_default())
        .collect())
}

/// How many of these stretches' indexes are read at once: at least one.
fn at_once(stretches: &[(u32, &Stretch)]) -> usize {
    let mut bytes = 0_u64;
    let fitting = stretches.iter().take(INDEXES_AT_ONCE).take_while(|(_, stretch)| {
        let index = stretch.index.clone().unwrap_or_default();
        bytes = bytes.saturating_add(index.end.saturating_sub(index.start));
        bytes <= INDEX_BYTES_AT_ONCE
    });
    fitting.count().max(1)
}

impl Indexing<'_> {
    fn run(&mut self, stop: &StopFlag) -> Result<(), SourceError> {
        let mut spare = Vec::new();
        for part in self.recording.parts() {
            let place = |(channel, (topic, kind)): (&u16, &(TopicId, usize))| {
                Some((*channel, (*self.by_topic.get(topic)?, *kind)))
            };
            let by_channel: HashMap<u16, (usize, usize)> = part.channels().iter().filter_map(place).collect();
            let wanted: Vec<(u32, &Stretch)> = part
                .stretches()
                .filter(|(_, stretch)| stretch.may_hold(|channel| by_channel.contains_key(&channel)))
                .collect();
            let mut rest = wanted.as_slice();
            while !rest.is_empty() {
                let (batch, others) = rest.split_at_checked(at_once(rest)).unwrap_or((rest, &[]));
                rest = others;
                self.batch(part, batch, &by_channel, &mut spare, stop)?;
            }
        }
        Ok(())
    }

    /// Some stretches of a part, whose indexes are read together.
    fn batch(
        &mut self,
        part: &Part,
        stretches: &[(u32, &Stretch)],
        by_channel: &HashMap<u16, (usize, usize)>,
        spare: &mut Vec<u8>,
        stop: &StopFlag,
    ) -> Result<(), SourceError> {
        let is_enough = self.time == TimeSource::Log;
        let indexes = if is_enough { part.indexes(stretches)? } else { Vec::new() };
        let mut indexes = indexes.into_iter();
        for &(number, stretch) in stretches {
            if stop.is_set() {
                return Err(SourceError::Stopped);
            }
            if let Some(index) = indexes.next()
                && self.by_index(part, (number, stretch), &index, by_channel)?
            {
                continue;
            }
            let chunk = part.chunk(number, stretch, std::mem::take(spare))?;
            self.by_data(part, number, &chunk, by_channel)?;
            *spare = chunk.into_spare();
        }
        Ok(())
    }

    /// Takes log times and offsets without the messages; false where there is no index of them.
    fn by_index(
        &mut self,
        part: &Part,
        (chunk, stretch): (u32, &Stretch),
        index: &Bytes,
        by_channel: &HashMap<u16, (usize, usize)>,
    ) -> Result<bool, SourceError> {
        let slots = &mut self.slots;
        let mut beyond = false;
        let found = part.entries(chunk, stretch, index, &mut |channel, stamp_ns, offset| {
            let slot = by_channel.get(&channel).and_then(|(place, _)| slots.get_mut(*place));
            let Some(slot) = slot else { return };
            match u32::try_from(offset) {
                Ok(offset) => slot.refs.push(MessageRef { stamp_ns, chunk, offset }),
                Err(_) => beyond = true,
            }
        })?;
        if beyond {
            return Err(SourceError::Damaged {
                file: part.file().name().to_owned(),
                offset: stretch.range.start,
                reason: "a chunk's message index does not fit its place".to_owned(),
            });
        }
        Ok(found)
    }

    fn by_data(
        &mut self,
        part: &Part,
        number: u32,
        chunk: &Chunk,
        by_channel: &HashMap<u16, (usize, usize)>,
    ) -> Result<(), SourceError> {
        let file = part.file().name();
        for message in chunk.messages(file) {
            let (offset, message) = message?;
            let Some((place, kind)) = by_channel.get(&message.channel).copied() else { continue };
            let stamp_ns = self.stamp((place, kind), &message)?;
            let offset =
                u32::try_from(offset).map_err(|_| chunk.damaged(file, offset, "an offset over 32 bits"))?;
            if let Some(slot) = self.slots.get_mut(place) {
                slot.refs.push(MessageRef { stamp_ns, chunk: number, offset });
            }
        }
        Ok(())
    }

    fn stamp(&self, (place, kind): (usize, usize), message: &MessageRecord<'_>) -> Result<u64, SourceError> {
        let slot = self.slots.get(place);
        match (self.time, slot.and_then(|slot| Some((slot.topic, slot.stamps.get(kind)?.as_ref()?)))) {
            (TimeSource::Log, _) | (TimeSource::Header, None) => Ok(message.log_ns),
            (TimeSource::Publish, _) => Ok(message.publish_ns),
            (TimeSource::Header, Some((topic, plan))) => {
                plan.stamp_ns(message.data).map_err(|source| self.recording.decode_error(topic, source))
            }
        }
    }

    /// A summary that counts other messages than there are would lose data in silence.
    fn check_counts(&self) -> Result<(), SourceError> {
        for slot in &self.slots {
            let counted = self.recording.topic_at(slot.topic).and_then(|t| t.message_count);
            if let Some(counted) = counted.filter(|n| usize::try_from(*n) != Ok(slot.refs.len())) {
                return Err(self.recording.topic_error(
                    slot.topic,
                    format!(
                        "the summary counts {counted} messages and the index lists {}; \
                         rebuild them with `mcap recover` or `rosbag reindex`",
                        slot.refs.len()
                    ),
                ));
            }
        }
        Ok(())
    }
}
