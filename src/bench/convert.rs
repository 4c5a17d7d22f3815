//! How fast recordings are converted here, beside what could be at best: reading, decoding and writing each alone, in
//! the same run and on the same data, which it makes itself.
//!
//! It drives the conversion as a worker does, without a queue: what a queue costs is [`super::queue`]'s business.

mod limits;
mod workers;

use super::process;
use super::robot::{JOINTS, Robot, camera_topic};
use super::{BenchError, robot};
use crate::convert::crew::Crew;
use crate::convert::mapping::Mapping;
use crate::convert::recording::{RecordingWork, SEGMENT_FRAMES};
use crate::convert::spent::Spent;
use crate::convert::video::Code;
use crate::lerobot::assemble::{AssembleOptions, AssembleWork};
use crate::run::default_machines;
use crate::storage::fs::FsStorage;
use crate::storage::{SharedStorage, Storage};
use crate::work::{StopFlag, Work};
use limits::Limits;
use serde::Serialize;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Recordings at most.
pub const RECORDINGS_MAX: u32 = 64;
/// The longest recording.
pub const SECONDS_MAX: u32 = 3600;
/// Rounds at most.
pub const ROUNDS_MAX: u32 = 100;
const MIB: f64 = 1_048_576.0;
/// Where the dataset's recordings lie, below the bench's folder.
const IN: &str = "in";
const STAGING: &str = "staging";
const OUT: &str = "out";

/// What pictures become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files, as they come.
    Image,
    /// Videos, by the encoder in this process.
    Video,
}

impl Kind {
    /// As mappings name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What its pictures become.
    pub kind: Kind,
    /// What each recording holds.
    pub robot: Robot,
    /// How many recordings.
    pub recordings: u32,
    /// Threads that decode and encode.
    pub threads: NonZeroUsize,
    /// Recordings that are converted at once; as many as the `run` command would when left out.
    pub workers: Option<NonZeroUsize>,
    /// How often all is measured; the fastest of each counts.
    pub rounds: u32,
}

/// What was measured. Rates are of the recordings' bytes as they lie on disk, in MB (10⁶ bytes) a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What pictures became.
    pub kind: Kind,
    /// Threads that decode and encode.
    pub threads: usize,
    /// Recordings that were converted at once.
    pub workers: usize,
    /// What made videos, and with which code.
    pub encoder: Option<String>,
    /// Threads that wanted to run on this machine in the minute before, by all its processes.
    pub load: Option<f64>,
    /// Bytes of the recordings.
    pub bytes: u64,
    /// Frames of the dataset.
    pub frames: u64,
    /// Images among them.
    pub images: u64,
    /// Recordings to staging.
    pub convert: Measured,
    /// Processors that it kept busy.
    pub cores_busy: f64,
    /// Peak memory of it, in bytes, where the kernel tells.
    pub peak_bytes: Option<u64>,
    /// The share of each stage in all threads' time.
    pub stages: Vec<Stage>,
    /// What each part takes alone, with nothing else going on.
    pub limits: Vec<Limit>,
    /// The conversion's rate as a part of the slowest limit's.
    pub of_slowest_limit: f64,
    /// Of videos, the conversion's rate as a part of that of decoding and encoding one after the other, each by all
    /// threads: nobody who has to decode what is encoded is faster.
    pub of_decode_and_encode: Option<f64>,
    /// Staging to the dataset.
    pub assemble: Measured,
    /// Bytes of the dataset.
    pub dataset_bytes: u64,
    /// Writing the dataset's bytes alone.
    pub copy: Measured,
}

/// A time and the rate that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Seconds.
    pub seconds: f64,
    /// MB of the recordings a second.
    pub mb_per_second: f64,
    /// Frames of the dataset a second.
    pub frames_per_second: f64,
}

/// One stage of the conversion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// What it does.
    pub name: &'static str,
    /// Seconds, all threads together.
    pub seconds: f64,
    /// Its share, 0 to 1.
    pub share: f64,
}

/// What one part could do alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// What it does.
    pub name: &'static str,
    /// What it took.
    pub measured: Measured,
}

/// Measures in this folder, which is the bench's own.
///
/// # Errors
/// When the folder cannot be written, or the conversion fails.
pub fn run(folder: &Path, plan: &Plan) -> Result<Report, BenchError> {
    let load = process::load();
    let bench = Bench::set_up(folder, plan)?;
    let mut best: Option<Round> = None;
    for _ in 0..plan.rounds {
        let round = bench.round(plan)?;
        best = Some(match best {
            Some(best) => best.faster(round),
            None => round,
        });
    }
    let best = best.ok_or_else(|| BenchError::made("no round was asked for"))?;
    Ok(best.report(&bench, plan, load))
}

struct Bench {
    folder: SharedStorage,
    crew: Crew,
    /// Recordings that are converted at once.
    workers: NonZeroUsize,
    mapping: Mapping,
    keys: Vec<String>,
    bytes: u64,
}

/// What one round gave.
#[derive(Clone)]
struct Round {
    frames: u64,
    convert: Duration,
    cpu: Duration,
    peak_bytes: Option<u64>,
    spent: Spent,
    limits: Limits,
    assemble: Duration,
    dataset_bytes: u64,
    copy: Duration,
}

/// What one recording gave.
struct Converted {
    frames: u64,
    spent: Spent,
}

/// Where a recording's segments go.
fn prefix(number: usize) -> String {
    format!("{STAGING}/{number:03}/")
}

impl Bench {
    fn set_up(folder: &Path, plan: &Plan) -> Result<Self, BenchError> {
        let storage = FsStorage::create(folder)?;
        let crew = Crew::new(plan.threads).map_err(BenchError::made)?;
        let path = folder.join(IN);
        std::fs::create_dir_all(&path).map_err(BenchError::made)?;
        let pictures = crew.install(|| plan.robot.pictures())?;
        let (mut keys, mut bytes) = (Vec::new(), 0);
        for number in 0..plan.recordings {
            let name = format!("{number:03}.mcap");
            plan.robot.write(&path.join(&name), &pictures)?;
            let key = format!("{IN}/{name}");
            bytes += storage.head(&key)?.size;
            keys.push(key);
        }
        let mapping = Mapping::parse("the bench's mapping", &mapping(plan.robot.cameras, plan.kind))
            .map_err(BenchError::made)?;
        let workers = plan.workers.unwrap_or_else(|| default_machines(keys.len()));
        Ok(Self { folder: Arc::new(storage), crew, workers, mapping, keys, bytes })
    }

    fn round(&self, plan: &Plan) -> Result<Round, BenchError> {
        let stop = StopFlag::default();
        self.folder.delete_all(&format!("{STAGING}/"))?;
        self.folder.delete_all(&format!("{OUT}/"))?;
        let peak = process::reset_peak();
        let (began, cpu) = (Instant::now(), process::cpu_time());
        let converted =
            workers::each(self.workers, &self.keys, |number, key| self.convert(number, key, &stop))?;
        let convert = began.elapsed();
        let cpu = process::cpu_time().saturating_sub(cpu);
        let peak_bytes = process::peak_bytes().filter(|_| peak);
        let converted: Vec<Converted> = converted.into_iter().flatten().collect();
        let frames = converted.iter().map(|one| one.frames).sum();
        let spent = converted.iter().map(|one| one.spent).sum();
        let prefixes: Vec<String> = (0..self.keys.len()).map(prefix).collect();
        let limits = Limits::measure(self, plan, &prefixes)?;
        let (assemble, dataset_bytes) = self.assemble(&prefixes, &stop)?;
        let copy = limits::rewrite(self, &format!("{OUT}/"))?;
        Ok(Round { frames, convert, cpu, peak_bytes, spent, limits, assemble, dataset_bytes, copy })
    }

    /// One recording into staging, segment by segment.
    fn convert(&self, number: usize, key: &str, stop: &StopFlag) -> Result<Converted, BenchError> {
        let mut work = RecordingWork::open(
            Arc::clone(&self.folder),
            key,
            key,
            Arc::clone(&self.folder),
            &prefix(number),
            &self.mapping,
            SEGMENT_FRAMES,
            &self.crew,
            stop,
        )?;
        for segment in 0..work.segments() {
            work.run(segment, stop)?;
        }
        Ok(Converted { frames: work.frames(), spent: work.spent() })
    }

    fn assemble(&self, prefixes: &[String], stop: &StopFlag) -> Result<(Duration, u64), BenchError> {
        let staging = Arc::clone(&self.folder);
        let out = self.folder.location();
        let out: SharedStorage = Arc::new(FsStorage::create(&Path::new(&out).join(OUT))?);
        let options =
            AssembleOptions { scratch: format!("{STAGING}/assembly/"), ..AssembleOptions::default() };
        let began = Instant::now();
        let mut work = AssembleWork::open(staging, prefixes, Arc::clone(&out), options)?;
        for segment in 0..work.segments() {
            work.run(segment, stop)?;
        }
        let took = began.elapsed();
        let sizes = out.list("")?.map(|object| object.map(|object| object.size));
        Ok((took, sizes.sum::<Result<u64, _>>()?))
    }
}

/// All that the robot has.
fn mapping(cameras: u32, kind: Kind) -> String {
    let kind = kind.name();
    let mut text = format!("fps = {}\n[task]\ntext = \"measure\"\n", robot::CAMERA_RATE);
    for (name, topic) in [("observation.state", "/joint_states"), ("action", "/joint_command")] {
        writeln!(
            text,
            "[[feature]]\nname = \"{name}\"\nsource = [{{ topic = \"{topic}\", field = \"position[0:{JOINTS}]\" }}]"
        )
        .ok();
    }
    for camera in 0..cameras {
        let topic = camera_topic(camera);
        writeln!(
            text,
            "[[feature]]\nname = \"observation.images.camera_{camera}\"\nkind = \"{kind}\"\nsource = [{{ topic = \"{topic}\" }}]"
        )
        .ok();
    }
    text
}

/// The encoder of the bench's mapping.
fn encoder() -> String {
    Code::find().map_or_else(|error| error, |code| format!("openh264 with {code}"))
}

impl Round {
    /// The faster of each. What belongs to the conversion stays together; the peak is the highest.
    fn faster(self, other: Self) -> Self {
        let peak_bytes = self.peak_bytes.max(other.peak_bytes);
        let limits = self.limits.faster(other.limits);
        let assemble = self.assemble.min(other.assemble);
        let copy = self.copy.min(other.copy);
        let quick = if other.convert < self.convert { other } else { self };
        Self { peak_bytes, limits, assemble, copy, ..quick }
    }

    fn report(self, bench: &Bench, plan: &Plan, load: Option<f64>) -> Report {
        let Self { frames, convert, cpu, peak_bytes, spent, limits, assemble, dataset_bytes, copy } = self;
        let measured = |took: Duration| {
            let seconds = took.as_secs_f64().max(f64::EPSILON);
            Measured {
                seconds,
                mb_per_second: bench.bytes as f64 / 1e6 / seconds,
                frames_per_second: frames as f64 / seconds,
            }
        };
        let pictures = match plan.kind {
            Kind::Image => "decode sampled images",
            Kind::Video => "decode and encode images",
        };
        let parts = [
            ("read and decompress", spent.reading),
            ("take values", spent.extracting),
            (pictures, spent.picturing),
            ("make columns", spent.arranging),
            ("write", spent.writing),
        ];
        let all = parts.iter().map(|(_, took)| took.as_secs_f64()).sum::<f64>().max(f64::EPSILON);
        let stage = |(name, took): (&'static str, Duration)| {
            let seconds = took.as_secs_f64();
            Stage { name, seconds, share: seconds / all }
        };
        let took = convert.as_secs_f64().max(f64::EPSILON);
        Report {
            kind: plan.kind,
            threads: plan.threads.get(),
            workers: bench.workers.get(),
            encoder: (plan.kind == Kind::Video).then(encoder),
            load,
            bytes: bench.bytes,
            frames,
            images: frames * u64::from(plan.robot.cameras),
            convert: measured(convert),
            cores_busy: cpu.as_secs_f64() / took,
            peak_bytes,
            stages: parts.into_iter().map(stage).collect(),
            limits: limits.named().map(|(name, took)| Limit { name, measured: measured(took) }).collect(),
            of_slowest_limit: limits.slowest().as_secs_f64() / took,
            of_decode_and_encode: limits.decode_and_encode().map(|both| both.as_secs_f64() / took),
            assemble: measured(assemble),
            dataset_bytes,
            copy: measured(copy),
        }
    }
}

impl Report {
    /// Peak memory in MiB.
    pub fn peak_mib(&self) -> Option<f64> {
        self.peak_bytes.map(|bytes| bytes as f64 / MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_measured_and_the_slowest_limit_counts() {
        for (kind, limits) in [(Kind::Image, 3), (Kind::Video, 4)] {
            let folder = tempfile::tempdir().unwrap();
            let robot = Robot { seconds: 4, cameras: 2, size: (64, 48) };
            let workers = NonZeroUsize::new(2);
            let plan = Plan { kind, robot, recordings: 2, threads: NonZeroUsize::MIN, workers, rounds: 2 };
            let report = run(folder.path(), &plan).unwrap();
            assert_eq!((report.frames, report.images), (2 * 120, 480), "{report:?}");
            assert!(report.dataset_bytes > 480 * 30 && report.bytes > 480 * 300, "{report:?}");
            let shares: f64 = report.stages.iter().map(|stage| stage.share).sum();
            assert!((shares - 1.0).abs() < 1e-9, "{report:?}");
            let slowest = report.limits.iter().map(|limit| limit.measured.seconds).fold(0.0, f64::max);
            assert!((report.of_slowest_limit - slowest / report.convert.seconds).abs() < 1e-9, "{report:?}");
            assert!(report.limits.iter().all(|limit| limit.measured.seconds > 0.0), "{report:?}");
            assert_eq!(report.limits.len(), limits, "{report:?}");
            assert_eq!(report.workers, 2);
            assert_eq!(report.encoder.is_some(), kind == Kind::Video, "{report:?}");
            let both = report.of_decode_and_encode;
            assert_eq!(both.is_some(), kind == Kind::Video, "{report:?}");
            assert!(both.is_none_or(|both| both > report.of_slowest_limit), "{report:?}");
        }
    }
}
