//! What each part of a conversion takes alone: nothing else goes on meanwhile, and no part waits for another.

use super::{Bench, Plan};
use crate::bench::BenchError;
use crate::bench::robot::camera_topic;
use crate::convert::image::{Pixels, Transform, geometry, no_counts, sampled};
use crate::convert::source::{MessageRef, Recording, TimeSource, TopicId};
use crate::convert::spent::timed;
use crate::storage::from_io;
use crate::work::StopFlag;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::time::Duration;

/// Sampled images that are held at once.
const HELD: usize = 256;
/// Written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The time of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Reading and decompressing all chunks, by one thread, as a conversion does.
    reading: Duration,
    /// Decoding and counting the sampled images, by all threads.
    decoding: Duration,
    /// Writing the staged files as they are, each made durable.
    writing: Duration,
}

impl Limits {
    /// Measures on what a conversion read and wrote.
    pub(super) fn measure(bench: &Bench, plan: &Plan, prefixes: &[String]) -> Result<Self, BenchError> {
        let mut limits = Self { reading: Duration::ZERO, decoding: Duration::ZERO, writing: Duration::ZERO };
        for key in &bench.keys {
            limits.reading += read(bench, key)?;
            for camera in 0..plan.robot.cameras {
                limits.decoding += decode(bench, key, &camera_topic(camera))?;
            }
        }
        for prefix in prefixes {
            limits.writing += rewrite(bench, prefix)?;
        }
        Ok(limits)
    }

    pub(super) fn named(self) -> impl Iterator<Item = (&'static str, Duration)> {
        let Self { reading, decoding, writing } = self;
        [("read and decompress", reading), ("decode sampled images", decoding), ("write", writing)]
            .into_iter()
    }

    pub(super) fn slowest(self) -> Duration {
        self.named().map(|(_, took)| took).max().unwrap_or_default()
    }

    pub(super) fn faster(self, other: Self) -> Self {
        Self {
            reading: self.reading.min(other.reading),
            decoding: self.decoding.min(other.decoding),
            writing: self.writing.min(other.writing),
        }
    }
}

/// Reads every chunk once.
fn read(bench: &Bench, key: &str) -> Result<Duration, BenchError> {
    let stop = StopFlag::default();
    let recording = Recording::open(bench.folder.clone(), key, &stop)?;
    let topics: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
    let mut messages: Vec<MessageRef> = recording.index(&topics, TimeSource::Log, &stop)?.concat();
    messages.sort_unstable_by_key(|message| (message.chunk, message.offset));
    messages.dedup_by_key(|message| message.chunk);
    let mut reader = recording.reader();
    let (read, took) = timed(|| messages.iter().try_for_each(|message| reader.message(*message).map(drop)));
    read?;
    Ok(took)
}

/// Decodes as many of a camera's images as are sampled for statistics.
fn decode(bench: &Bench, key: &str, topic: &str) -> Result<Duration, BenchError> {
    let stop = StopFlag::default();
    let recording = Recording::open(bench.folder.clone(), key, &stop)?;
    let topic = recording.topic(topic).ok_or_else(|| BenchError::made(format!("{key} has no {topic}")))?;
    let messages = recording.index(&[topic], TimeSource::Log, &stop)?.concat();
    let chosen: Vec<MessageRef> = sampled(messages.len() as u64)
        .filter_map(|number| messages.get(usize::try_from(number).ok()?).copied())
        .collect();
    let mut reader = recording.reader();
    let mut all_took = Duration::ZERO;
    for some in chosen.chunks(HELD) {
        let mut files = Vec::with_capacity(some.len());
        for message in some {
            files.push(image_file(reader.message(*message)?.data).to_vec());
        }
        let decode = |file: &Vec<u8>| {
            Pixels::default().count(file, geometry(file)?, &Transform::default(), &mut no_counts())
        };
        let (decoded, took) = timed(|| {
            bench.crew.install(|| files.par_iter().map(decode).collect::<Vec<Result<(), String>>>())
        });
        all_took += took;
        decoded.into_iter().collect::<Result<(), String>>().map_err(BenchError::made)?;
    }
    Ok(all_took)
}

/// The JPEG file in a message: it is the last field, and begins with its mark.
fn image_file(message: &[u8]) -> &[u8] {
    let begin = message.windows(3).position(|bytes| bytes == [0xff, 0xd8, 0xff]).unwrap_or(message.len());
    message.get(begin..).unwrap_or_default()
}

/// Writes all files under a prefix once more, as they are, and removes them. Only the writing counts.
pub(super) fn rewrite(bench: &Bench, prefix: &str) -> Result<Duration, BenchError> {
    let folder = bench.folder.as_ref();
    let objects: Vec<_> = folder.list(prefix)?.collect::<Result<_, _>>()?;
    let mut all_took = Duration::ZERO;
    for object in objects {
        let body = folder.read_at(&object, 0, usize::try_from(object.size).unwrap_or(usize::MAX))?;
        let key = format!("again/{}", object.key);
        let (written, took) = timed(|| {
            let mut writer = folder.writer(&key)?;
            for block in body.chunks(BLOCK_BYTES) {
                writer.write_all(block).map_err(|error| from_io(folder, "writing", &key, error))?;
            }
            writer.finish()
        });
        written?;
        all_took += took;
        folder.delete(&key)?;
    }
    Ok(all_took)
}
