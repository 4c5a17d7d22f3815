//! `roboflow validate`: a dataset against the rules of its format.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::output;
use super::storage::StorageArgs;
use crate::error::{Class, Classified};
use crate::lerobot::validate::{Depth, Problem, Report, validate};
use crate::work::StopFlag;
use clap::Args;
use std::fmt::Write;

const AFTER_HELP: &str = "\
Exit codes: 0 every rule is kept, 65 at least one is broken, 66 there is nothing to read.

Examples:
  roboflow validate set
  roboflow validate set --json | jq '.problems[].file'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ValidateArgs {
    /// The dataset: a folder, or s3://bucket/prefix
    #[arg(value_name = "DATASET")]
    dataset: String,
    /// Decode every frame of every H.264 video, too: it takes long
    #[arg(long)]
    deep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    storage: StorageArgs,
}

pub(super) fn run(args: &ValidateArgs) -> Outcome {
    let storage = args.storage.places().open(&args.dataset, &StopFlag::default()).or_exit(Code::NoInput)?;
    let depth = if args.deep { Depth::Frames } else { Depth::Index };
    let report = validate(&storage, depth).map_err(|error| {
        let code = if error.class() == Class::Transient { Code::Io } else { Code::NoInput };
        Failure { code, error: error.into() }
    })?;
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&text(&args.dataset, &report))?;
    }
    Ok(if report.is_valid() { Code::Ok } else { Code::Data })
}

fn text(dataset: &str, report: &Report) -> String {
    let mut text = String::new();
    let mut list = |title: &str, problems: &[Problem]| {
        for problem in problems {
            writeln!(text, "{title}: {}: {}", problem.file, problem.what).ok();
        }
    };
    list("wrong", &report.problems);
    list("advice", &report.advice);
    for unchecked in &report.unchecked {
        writeln!(text, "not checked: {unchecked}").ok();
    }
    if report.is_valid() {
        write!(text, "{dataset}: a valid LeRobot v3.0 dataset").ok();
    } else {
        write!(text, "{dataset}: not a valid LeRobot v3.0 dataset ({} problems)", report.problems.len()).ok();
    }
    if let Some(summary) = &report.summary {
        let size = output::bytes(summary.bytes);
        let (episodes, frames) =
            (output::count(summary.episodes, "episode"), output::count(summary.frames, "frame"));
        write!(text, ": {episodes}, {frames}, {size}").ok();
    }
    text.push('\n');
    text
}
