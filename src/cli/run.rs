//! `roboflow run`: what was typed.

use super::args::{LogArgs, StopArgs, TuneArgs};
use super::exit::Outcome;
use super::location;
use super::mapping::MappingArgs;
use super::storage::StorageArgs;
use crate::recipe::DEFAULT_SEGMENT_FRAMES;
use crate::run::{self, Request};
use crate::signal::Stream;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  roboflow run demo.mcap --out pick-cube
  roboflow run recordings/ 'more/**/*.mcap' --out set --mapping robot.toml --workers 4
  roboflow run s3://robots/2026-11-21/ --out set
  roboflow run --resume --out set
  roboflow run tuesday/ --append --out set

A recording becomes an episode; episodes are ordered by the recordings' names. \
Without --mapping one is inferred from the first recording, printed to stderr, and saved with the dataset.

^C or SIGTERM hands the jobs in hand back, each after its segment, and exits with code 0; the same command goes on where \
it stopped, and the dataset's bytes are as if it never had. A second ^C cancels the segments; a third exits at once, with \
code 75. SIGUSR1 finishes the jobs in hand first.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RunArgs {
    /// Recordings: files, folders (searched for *.mcap, *.bag, *.db3 and folders of ROS 2), or quoted globs; s3:// objects, prefixes or globs
    #[arg(value_name = "INPUT", required_unless_present = "resume")]
    inputs: Vec<String>,
    /// The dataset's folder on this host, where its queue stands too: new, empty, or from an earlier run of the same
    /// command. To a bucket goes what 'roboflow submit' is given
    #[arg(long, short, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(location::parse))]
    out: PathBuf,
    /// Which topics and fields become which features
    #[arg(long, short, value_name = "FILE")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    settings: MappingArgs,
    /// Recordings converted at once [default: one a core, at most one a recording]
    #[arg(long, short, value_name = "N", env = "WORKER_MAX_CONCURRENT_JOBS")]
    workers: Option<u32>,
    /// Add the recordings to the dataset that is at --out, by this program or by lerobot; its data files stay as they are, and
    /// it can be read all the while
    #[arg(long)]
    append: bool,
    /// Go on with an earlier run, and refuse to begin a new one; INPUT may be left out
    #[arg(long)]
    resume: bool,
    /// Publish the dataset without the recordings that cannot be converted, and list them; by default nothing is
    /// published then
    #[arg(long)]
    skip_failed: bool,
    /// Frames of a segment: what is converted, made durable and checkpointed at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEGMENT_FRAMES)]
    segment_frames: u32,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    tune: TuneArgs,
}

pub(super) fn run(args: RunArgs, log: &LogArgs, signals: &Stream) -> Outcome {
    let request = Request {
        inputs: args.inputs,
        output: args.out,
        mapping: args.mapping,
        settings: args.settings,
        workers: args.workers,
        append: args.append,
        resume: args.resume,
        skip_failed: args.skip_failed,
        segment_frames: args.segment_frames,
        json: args.json,
        places: args.storage.places(),
        stop: args.stop,
        tune: args.tune,
    };
    run::run(request, log, signals)
}
