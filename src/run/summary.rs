//! What a run ends with: the dataset in a few numbers, or how to go on.
//!
//! Results go to stdout, advice to stderr.

use super::output::RunNote;
use crate::batch::BatchState;
use crate::cli::exit::{Code, Failure, OrExit, Outcome};
use crate::cli::output::{bytes, count, json, notice, text};
use crate::lerobot::assemble::Skipped;
use crate::lerobot::summary::{DatasetSummary, summary};
use crate::storage::fs::FsStorage;
use crate::storage::{Storage, StorageError};
use roboflow_fsm::effect::Exit;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Where the assembly lists what it left out.
const SKIPPED_KEY: &str = "meta/roboflow/skipped.json";
/// That list is at most this long.
const MAX_SKIPPED_BYTES: u64 = 256 * 1024 * 1024;
/// Recordings that are listed at most; the rest is counted.
const MAX_LISTED: usize = 20;

/// The summary for scripts.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    output: &'a Path,
    recordings: usize,
    skipped: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    dataset: DatasetSummary,
}

/// Shows a dataset that is complete. What was skipped is read from it.
///
/// # Errors
/// When it cannot be read, or stdout not be written.
pub(super) fn show(note: &RunNote, output: &Path, as_json: bool) -> Outcome {
    let storage = FsStorage::open(output).or_exit(Code::Io)?;
    let dataset = summary(&storage).or_exit(Code::Data)?;
    let skipped = &skipped(&storage)?;
    if as_json {
        json(&Summary { output, recordings: note.recordings.len(), skipped, dataset })?;
        return Ok(Code::Ok);
    }
    let mut said = format!(
        "{}, {} at {} fps, {}: {}\n",
        count(dataset.episodes, "episode"),
        count(dataset.frames, "frame"),
        dataset.fps,
        bytes(dataset.bytes),
        output.display()
    );
    for feature in &dataset.features {
        writeln!(said, "  {} {} {:?}", feature.name, feature.dtype, feature.shape).ok();
    }
    if !skipped.is_empty() {
        writeln!(said, "{} of {} recordings skipped:", skipped.len(), note.recordings.len()).ok();
        said.push_str(&list(skipped));
    }
    let name =
        output.file_name().map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned());
    writeln!(said, "\nLoad it with\n  from lerobot.datasets.lerobot_dataset import LeRobotDataset").ok();
    writeln!(
        said,
        "  dataset = LeRobotDataset({:?}, root={:?})",
        format!("local/{name}"),
        output.display().to_string()
    )
    .ok();
    text(&said)?;
    Ok(Code::Ok)
}

/// What `meta/roboflow/skipped.json` lists.
fn skipped(storage: &FsStorage) -> Outcome<BTreeMap<String, String>> {
    let listed = match storage.read(SKIPPED_KEY, MAX_SKIPPED_BYTES) {
        Ok(bytes) => serde_json::from_slice::<Vec<Skipped>>(&bytes).or_exit(Code::Data)?,
        Err(StorageError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error).or_exit(Code::Io),
    };
    Ok(listed.into_iter().map(|one| (one.source, one.reason)).collect())
}

/// Says that a run was stopped, how far it is, and how to go on.
pub(super) fn interrupted(state: &BatchState, output: &Path, exit: Exit) {
    let became = match exit {
        Exit::Clean => "nothing is lost",
        Exit::LeftToLease => "a job was left behind, and is taken up again when its lease has expired",
        Exit::Fault => "this program met a fault of its own; what is converted stays so",
    };
    notice(&format!(
        "stopped: {} of {} recordings are converted, {became}; go on with the same command, or with\n  roboflow run \
         --resume --out {}",
        state.completed,
        state.recordings(),
        quoted(&output.display().to_string())
    ));
}

/// Says which recordings keep the dataset from being published.
pub(super) fn failed(state: &BatchState) -> Failure {
    let advice = if state.completed == 0 {
        "nothing is published"
    } else {
        "nothing is published; add --skip-failed to the same command to publish without them"
    };
    let (failed, all) = (state.failed.len(), state.recordings());
    let said = format!(
        "{failed} of {all} recordings cannot be converted: {advice}\n{}",
        list(&state.failed).trim_end()
    );
    Failure::new(Code::Data, said)
}

/// Says why the dataset could not be assembled.
pub(super) fn assembly_failed(state: &BatchState) -> Failure {
    let reason = state.assembly.as_ref().map_or("cancelled", |(_, reason)| reason);
    let said = format!("the dataset could not be assembled: {reason}\nthe same command tries it again");
    Failure::new(Code::CannotCreate, said)
}

fn list(skipped: &BTreeMap<String, String>) -> String {
    let mut said = String::new();
    for (source, reason) in skipped.iter().take(MAX_LISTED) {
        writeln!(said, "  {source}: {reason}").ok();
    }
    if skipped.len() > MAX_LISTED {
        writeln!(said, "  and {} more (see 'roboflow jobs list --status dead')", skipped.len() - MAX_LISTED)
            .ok();
    }
    said
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("/data/set-1"), "/data/set-1");
        assert_eq!(quoted("my set"), "'my set'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
