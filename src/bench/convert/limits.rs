//! What each part of a conversion takes alone: nothing else goes on meanwhile, and no part waits for another.

use super::{Bench, Kind, Plan, workers};
use crate::bench::BenchError;
use crate::bench::robot::{PICTURES, camera_topic};
use crate::convert::image::{Pixels, Transform, Yuv420, geometry, no_counts, sampled};
use crate::convert::recording::SEGMENT_FRAMES;
use crate::convert::source::{MessageRef, Recording, TimeSource, TopicId};
use crate::convert::spent::timed;
use crate::convert::video::{EncodeError, Encoding, Planes, Samples};
use crate::storage::from_io;
use crate::work::StopFlag;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use std::time::Duration;

/// Sampled images that are held at once.
const HELD: usize = 256;
/// Of those, how many one thread decodes in a row.
const FILES_A_TASK: usize = 8;
/// Where files are written once more, below the bench's folder.
const AGAIN: &str = "again";
/// Written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The time of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Reading and decompressing all chunks, a recording by one thread, as a conversion does.
    reading: Duration,
    /// Decoding and counting the sampled images, by all threads; for videos, decoding all images.
    decoding: Duration,
    /// Encoding all images, by all threads, for videos.
    encoding: Option<Duration>,
    /// Writing the staged files as they are, those of a recording by one thread, each made durable.
    writing: Duration,
}

impl Limits {
    /// Measures on what a conversion read and wrote.
    pub(super) fn measure(bench: &Bench, plan: &Plan, prefixes: &[String]) -> Result<Self, BenchError> {
        let reading = slowest_worker(bench, &bench.keys, |key| read(bench, key))?;
        let (mut decoding, mut encoding) = (Duration::ZERO, None);
        for key in &bench.keys {
            let topics = (0..plan.robot.cameras).map(camera_topic);
            let cameras =
                topics.map(|topic| CameraFiles::open(bench, key, &topic)).collect::<Result<Vec<_>, _>>()?;
            for camera in &cameras {
                decoding += camera.decode(bench, plan.kind)?;
            }
            if plan.kind == Kind::Video {
                *encoding.get_or_insert(Duration::ZERO) += encode(bench, &cameras)?;
            }
        }
        let writing = slowest_worker(bench, prefixes, |prefix| rewrite(bench, prefix))?;
        Ok(Self { reading, decoding, encoding, writing })
    }

    pub(super) fn named(self) -> impl Iterator<Item = (&'static str, Duration)> {
        let Self { reading, decoding, encoding, writing } = self;
        let decoded = if encoding.is_some() { "decode all images" } else { "decode sampled images" };
        [("read and decompress", reading), (decoded, decoding), ("write", writing)]
            .into_iter()
            .chain(encoding.map(|encoding| ("encode", encoding)))
    }

    pub(super) fn slowest(self) -> Duration {
        self.named().map(|(_, took)| took).max().unwrap_or_default()
    }

    /// Decoding and encoding together, for videos.
    pub(super) fn decode_and_encode(self) -> Option<Duration> {
        Some(self.decoding + self.encoding?)
    }

    pub(super) fn faster(self, other: Self) -> Self {
        Self {
            reading: self.reading.min(other.reading),
            decoding: self.decoding.min(other.decoding),
            encoding: self.encoding.min(other.encoding),
            writing: self.writing.min(other.writing),
        }
    }
}

/// The time of the slowest of as many threads as convert recordings at once, which take the items between them. What
/// `one` leaves out of its time counts for none of them.
fn slowest_worker(
    bench: &Bench,
    items: &[String],
    one: impl Fn(&str) -> Result<Duration, BenchError> + Sync,
) -> Result<Duration, BenchError> {
    let workers = workers::each(bench.workers, items, |_, item| one(item))?;
    Ok(workers.into_iter().map(|times| times.into_iter().sum()).max().unwrap_or_default())
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

/// The pictures of one camera in a recording.
struct CameraFiles {
    recording: Recording,
    messages: Vec<MessageRef>,
}

impl CameraFiles {
    fn open(bench: &Bench, key: &str, topic: &str) -> Result<Self, BenchError> {
        let stop = StopFlag::default();
        let recording = Recording::open(bench.folder.clone(), key, &stop)?;
        let topic =
            recording.topic(topic).ok_or_else(|| BenchError::made(format!("{key} has no {topic}")))?;
        let messages = recording.index(&[topic], TimeSource::Log, &stop)?.concat();
        Ok(Self { recording, messages })
    }

    /// The files of some messages.
    fn files(&self, some: &[MessageRef]) -> Result<Vec<Vec<u8>>, BenchError> {
        let mut reader = self.recording.reader();
        some.iter().map(|message| Ok(image_file(reader.message(*message)?.data).to_vec())).collect()
    }

    /// Decodes as many images as are sampled for statistics, or for videos all, into planes.
    fn decode(&self, bench: &Bench, kind: Kind) -> Result<Duration, BenchError> {
        let chosen: Vec<MessageRef> = match kind {
            Kind::Video => self.messages.clone(),
            Kind::Image => sampled(self.messages.len() as u64)
                .filter_map(|number| self.messages.get(usize::try_from(number).ok()?).copied())
                .collect(),
        };
        let decode = |files: &[Vec<u8>]| {
            let (mut pixels, mut counts) = (Pixels::default(), no_counts());
            let (mut planes, none) = (Yuv420::default(), Transform::default());
            files.iter().try_for_each(|file| match kind {
                Kind::Image => pixels.count(file, geometry(file)?, &none, &mut counts),
                Kind::Video => pixels.yuv(file, geometry(file)?, &none, &mut planes),
            })
        };
        let mut all_took = Duration::ZERO;
        for some in chosen.chunks(HELD) {
            let files = self.files(some)?;
            let decode_all =
                || files.par_chunks(FILES_A_TASK).map(decode).collect::<Vec<Result<(), String>>>();
            let (decoded, took) = timed(|| bench.crew.install(decode_all));
            all_took += took;
            decoded.into_iter().collect::<Result<(), String>>().map_err(BenchError::made)?;
        }
        Ok(all_took)
    }

    /// Its first pictures as planes.
    fn planes(&self) -> Result<Vec<Yuv420>, BenchError> {
        let some = self.messages.get(..self.messages.len().min(PICTURES as usize)).unwrap_or_default();
        let mut pixels = Pixels::default();
        let one = |file: Vec<u8>| {
            let mut planes = Yuv420::default();
            pixels.yuv(&file, geometry(&file)?, &Transform::default(), &mut planes)?;
            Ok(planes)
        };
        self.files(some)?.into_iter().map(one).collect::<Result<_, String>>().map_err(BenchError::made)
    }
}

/// Encodes as many frames as the cameras have images, segment by segment, as a conversion does. The pictures come again
/// after a while, so that few are held.
fn encode(bench: &Bench, cameras: &[CameraFiles]) -> Result<Duration, BenchError> {
    let stop = StopFlag::default();
    let frames = cameras.iter().map(CameraFiles::planes).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = frames.first().and_then(|frames| frames.first()) else { return Ok(Duration::ZERO) };
    let (width, height) = (first.width, first.height);
    let encoding = Encoding { video: bench.mapping.video.clone(), fps: bench.mapping.fps, width, height };
    let of_camera = |camera: &CameraFiles| (0..camera.messages.len()).step_by(SEGMENT_FRAMES as usize);
    let all = cameras.iter().zip(&frames);
    let segments: Vec<(usize, usize, &Vec<Yuv420>)> = all
        .flat_map(|(camera, frames)| {
            let end = move |begin: usize| (begin + SEGMENT_FRAMES as usize).min(camera.messages.len());
            of_camera(camera).map(move |begin| (begin, end(begin), frames))
        })
        .collect();
    let one = |(begin, end, frames): &(usize, usize, &Vec<Yuv420>)| {
        let (mut encoder, mut samples) = (encoding.start()?, Samples::default());
        for number in *begin..*end {
            let planes = frames.get(number % frames.len()).and_then(Planes::of);
            let planes = planes.ok_or_else(|| EncodeError::Failed("a frame was lost".to_owned()))?;
            encoder.encode(&planes, &mut samples, &stop)?;
        }
        encoder.finish(&mut samples, &stop).map(drop)
    };
    let encode_all = || segments.par_iter().map(one).collect::<Vec<Result<(), EncodeError>>>();
    let (encoded, took) = timed(|| bench.crew.install(encode_all));
    encoded.into_iter().collect::<Result<(), EncodeError>>().map_err(BenchError::made)?;
    Ok(took)
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
        let key = format!("{AGAIN}/{}", object.key);
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
