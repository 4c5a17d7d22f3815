//! `roboflow inspect`: what a recording holds, or the mapping that would be inferred from it.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::location;
use super::output::{self, notice};
use crate::convert::infer::infer;
use crate::convert::inspect::inspect;
use crate::convert::source::Recording;
use crate::convert::source::rosbag2::METADATA_FILE;
use crate::error::{Class, Classified};
use crate::storage::SharedStorage;
use crate::storage::fs::FsStorage;
use crate::work::{StopFlag, WorkError};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AFTER_HELP: &str = "\
Examples:
  roboflow inspect demo.mcap
  roboflow inspect demo.mcap --suggest > robot.toml
  roboflow inspect demo.mcap --json | jq '.topics[] | .name, .rate_hz'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct InspectArgs {
    /// The recording: a file, or a folder of ROS 2
    #[arg(value_name = "FILE", value_parser = OsStringValueParser::new().try_map(location::parse))]
    file: PathBuf,
    /// Print the mapping that would be inferred, instead of what the recording holds
    #[arg(long)]
    suggest: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "suggest")]
    json: bool,
}

pub(super) fn run(args: &InspectArgs) -> Outcome {
    let recording = open(&args.file)?;
    let stop = StopFlag::default();
    if args.suggest {
        let inferred = infer(&recording, &stop).map_err(work_failure)?;
        inferred.notes.iter().for_each(|note| notice(note));
        output::text(&inferred.mapping_text)?;
        return Ok(Code::Ok);
    }
    let report = inspect(&recording, &stop).map_err(work_failure)?;
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&report.render(output::width()))?;
    }
    Ok(Code::Ok)
}

fn open(file: &Path) -> Outcome<Recording> {
    let path = std::path::absolute(file).or_exit(Code::NoInput)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Failure::new(Code::NoInput, format!("{}: not a file with a valid name", file.display())));
    };
    let storage: SharedStorage = Arc::new(FsStorage::open(folder).or_exit(Code::NoInput)?);
    let key = if path.is_dir() { format!("{name}/{METADATA_FILE}") } else { name.to_owned() };
    if path.is_dir() && storage.head(&key).is_err() {
        let text = format!(
            "{}: a folder is a recording when rosbag2's {METADATA_FILE} is in it; give one of its files",
            file.display()
        );
        return Err(Failure::new(Code::NoInput, text));
    }
    Recording::open(storage, &key, &StopFlag::default()).map_err(|error| work_failure(error.into()))
}

/// The exit code of work that failed.
pub(crate) fn work_failure(error: WorkError) -> Failure {
    let code = if error.class() == Class::Transient { Code::Io } else { Code::Data };
    Failure { code, error: error.into() }
}
