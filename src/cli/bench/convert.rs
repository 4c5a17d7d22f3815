//! `roboflow bench convert`: what was typed, and the table.

use super::{Temporary, failure};
use crate::bench::convert::{self, Kind, Measured, Plan, RECORDINGS_MAX, ROUNDS_MAX, Report, SECONDS_MAX};
use crate::bench::robot::{CAMERAS_MAX, Robot, SIDE_MAX};
use crate::cli::exit::{Code, OrExit, Outcome};
use crate::cli::output;
use crate::config;
use clap::Args;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The shortest side of a picture, in pixels.
const SIDE_MIN: u16 = 16;
const MB: f64 = 1e6;

/// Makes recordings of its own, converts them in this process, and removes them.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// Length of each recording, in seconds
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SECONDS_MAX)))]
    seconds: u32,
    /// Recordings
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(RECORDINGS_MAX)))]
    recordings: u32,
    /// Cameras of each recording
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(CAMERAS_MAX)))]
    cameras: u32,
    /// Their pictures, in pixels
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = parse_size)]
    size: (u16, u16),
    /// What pictures become: image (files as they come) or video (H.264, encoded in this process)
    #[arg(long, value_name = "image|video", default_value = "image", value_parser = parse_kind)]
    kind: Kind,
    /// Threads that decode and encode [default: a core each]
    #[arg(long, value_name = "N", env = "WORKER_THREADS")]
    threads: Option<usize>,
    /// Recordings converted at once [default: as many as run would: a core each]
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    workers: Option<NonZeroUsize>,
    /// Measure so often; the fastest of each counts
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    rounds: u32,
    /// A folder on the disk to measure; what is made in it is removed afterwards [default: the one for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (SIDE_MIN..=SIDE_MAX).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| format!("{text:?} is no size: as in 640x480, each from {SIDE_MIN} to {SIDE_MAX}"))
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    let most = RECORDINGS_MAX as usize;
    let workers = text.parse().ok().and_then(NonZeroUsize::new).filter(|workers| workers.get() <= most);
    workers.ok_or_else(|| format!("{text:?}: from 1 to {most}, the most recordings"))
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    [Kind::Image, Kind::Video]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("{text:?} is neither image nor video"))
}

pub(super) fn run(args: &ConvertArgs) -> Outcome {
    let plan = Plan {
        kind: args.kind,
        robot: Robot { seconds: args.seconds, cameras: args.cameras, size: args.size },
        recordings: args.recordings,
        threads: config::threads(args.threads).or_exit(Code::Config)?,
        workers: args.workers,
        rounds: args.rounds,
    };
    let folder = Temporary::create(args.folder.as_deref())?;
    let report = convert::run(folder.path(), &plan).map_err(failure)?;
    if args.json {
        output::json(&report)?
    } else {
        output::text(&table(&plan, &report))?
    }
    Ok(Code::Ok)
}

/// The report for people.
fn table(plan: &Plan, report: &Report) -> String {
    let Robot { seconds, cameras, size: (width, height) } = plan.robot;
    let mut text = format!(
        "{} of {seconds} s with {} of {width}x{height}: {:.1} MB, {} frames, {} images, kept as {}{}; {}, {}{}\n\n{:28}{:>9}  {:>8}  {:>9}\n",
        output::count(u64::from(plan.recordings), "recording"),
        output::count(u64::from(cameras), "camera"),
        report.bytes as f64 / MB,
        report.frames,
        report.images,
        report.kind.name(),
        report.encoder.as_ref().map_or(String::new(), |encoder| format!(" by {encoder}")),
        output::count(report.threads as u64, "thread"),
        output::count(report.workers as u64, "recording") + " at once",
        report.load.map_or(String::new(), |load| format!(", load {load:.1} before")),
        "",
        "seconds",
        "MB/s",
        "frames/s",
    );
    let mut row = |name: &str, measured: &Measured| {
        let Measured { seconds, mb_per_second, frames_per_second } = measured;
        writeln!(text, "{name:28}{seconds:>9.3}  {mb_per_second:>8.1}  {frames_per_second:>9.0}").ok();
    };
    row("convert", &report.convert);
    for limit in &report.limits {
        row(&format!("  {} alone", limit.name), &limit.measured);
    }
    row("assemble", &report.assemble);
    row("  write the dataset alone", &report.copy);
    write!(text, "\n{:28}{:>9}  {:>8}\n", "stages of convert", "seconds", "share").ok();
    for stage in &report.stages {
        writeln!(text, "  {:26}{:>9.3}  {:>7.1}%", stage.name, stage.seconds, stage.share * 100.0).ok();
    }
    writeln!(text, "\nof the slowest limit   {:>6.1}%", report.of_slowest_limit * 100.0).ok();
    if let Some(both) = report.of_decode_and_encode {
        writeln!(text, "of decode and encode   {:>6.1}%", both * 100.0).ok();
        // What no conversion exceeds whose pictures are decoded by the processors that encode them.
        let most = report.of_slowest_limit / both.max(f64::EPSILON);
        writeln!(text, "most of that limit     {:>6.1}%, as the same cores decode", most * 100.0).ok();
    }
    let peak = report.peak_mib().map_or("not told by this kernel".to_owned(), |mib| format!("{mib:.1} MiB"));
    write!(
        text,
        "cores kept busy        {:>7.2}\npeak memory            {peak:>11}\n\n\
         The fastest of {} counts. MB are those of the recordings; 'alone' is what a part takes with nothing\n\
         beside it; the stages' seconds are those of all threads together.\n",
        report.cores_busy,
        output::count(u64::from(plan.rounds), "round"),
    )
    .ok();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_sides_within_limits() {
        assert_eq!(parse_size("640x480"), Ok((640, 480)));
        for wrong in ["640", "640x", "0x480", "640x99999", "15x15", "640x480x3", "-1x20"] {
            assert!(parse_size(wrong).unwrap_err().contains("640x480"), "{wrong}");
        }
    }
}
