//! Where each message of some topics lies, and when it counts. Message data is read only where the stamps are in it.

use super::chunk::{Chunk, MessageRecord};
use super::{MessageRef, Recording, SourceError, TimeSource, TopicId};
use crate::convert::StopFlag;
use crate::convert::decode::StampPlan;
use std::collections::HashMap;
use std::ops::Range;

/// One topic on its way into the index.
struct Slot {
    topic: TopicId,
    stamps: Option<StampPlan>,
    refs: Vec<MessageRef>,
}

/// The state of one call.
struct Indexing<'r> {
    recording: &'r Recording,
    time: TimeSource,
    slots: Vec<Slot>,
    by_channel: HashMap<u16, usize>,
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
        if let Some(reason) = recording.conflict(topic) {
            return Err(recording.topic_error(topic, reason.to_owned()));
        }
        let stamps = match time {
            TimeSource::Header => StampPlan::compile(&recording.schema(topic, stop)?),
            TimeSource::Log | TimeSource::Publish => None,
        };
        slots.push(Slot { topic, stamps, refs: Vec::new() });
    }
    let place = |id: &TopicId| slots.iter().position(|s| s.topic == *id);
    let by_channel =
        recording.catalog().by_channel.iter().filter_map(|(c, id)| Some((*c, place(id)?))).collect();
    let mut indexing = Indexing { recording, time, slots, by_channel };
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

impl Indexing<'_> {
    fn run(&mut self, stop: &StopFlag) -> Result<(), SourceError> {
        let recording = self.recording;
        let mut spare = Vec::new();
        for (number, stretch) in recording.catalog().stretches.iter().enumerate() {
            if stop.is_set() {
                return Err(SourceError::Stopped);
            }
            if !stretch.may_hold(|channel| self.by_channel.contains_key(&channel)) {
                continue;
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            match &stretch.index {
                Some(range) if self.time == TimeSource::Log => self.by_index(number, range)?,
                _ => {
                    let chunk = recording.chunk(stretch, spare)?;
                    self.by_data(number, &chunk)?;
                    spare = chunk.into_spare();
                }
            }
        }
        Ok(())
    }

    /// Takes log times and offsets from a chunk's message indexes.
    fn by_index(&mut self, chunk: u32, range: &Range<u64>) -> Result<(), SourceError> {
        let file = self.recording.file();
        let bytes = file.range(range.clone())?;
        let damaged = || SourceError::Damaged {
            file: file.name().to_owned(),
            offset: range.start,
            reason: "a chunk's message index does not fit its place".to_owned(),
        };
        let (by_channel, slots) = (&self.by_channel, &mut self.slots);
        let mut beyond = false;
        let read = self.recording.catalog().format.entries(&bytes, &mut |channel, stamp_ns, offset| {
            let Some(slot) = by_channel.get(&channel).and_then(|place| slots.get_mut(*place)) else { return };
            match u32::try_from(offset) {
                Ok(offset) => slot.refs.push(MessageRef { stamp_ns, chunk, offset }),
                Err(_) => beyond = true,
            }
        });
        read.filter(|()| !beyond).ok_or_else(damaged)?;
        Ok(())
    }

    fn by_data(&mut self, number: u32, chunk: &Chunk) -> Result<(), SourceError> {
        let file = self.recording.file().name();
        for message in chunk.messages(file) {
            let (offset, message) = message?;
            let Some(place) = self.by_channel.get(&message.channel).copied() else { continue };
            let stamp_ns = self.stamp(place, &message)?;
            let offset =
                u32::try_from(offset).map_err(|_| chunk.damaged(file, offset, "an offset over 32 bits"))?;
            if let Some(slot) = self.slots.get_mut(place) {
                slot.refs.push(MessageRef { stamp_ns, chunk: number, offset });
            }
        }
        Ok(())
    }

    fn stamp(&self, place: usize, message: &MessageRecord<'_>) -> Result<u64, SourceError> {
        let slot = self.slots.get(place);
        match (self.time, slot.and_then(|s| s.stamps.as_ref().map(|plan| (s.topic, plan)))) {
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
