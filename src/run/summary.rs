//! What a run ends with: the dataset in a few numbers, or how to go on.
//!
//! Results go to stdout, advice to stderr.

use super::output::RunNote;
use crate::batch::BatchState;
use crate::cli::dataset::{self, Listed};
use crate::cli::exit::{Code, Failure, OrExit, Outcome};
use crate::cli::output::notice;
use crate::storage::fs::FsStorage;
use roboflow_fsm::effect::Exit;
use std::path::Path;

/// Shows a dataset that is complete. What was skipped is read from it, as far as it is listed.
///
/// # Errors
/// When it cannot be read, or stdout not be written.
pub(super) fn show(note: &RunNote, output: &Path, listed: Listed, as_json: bool) -> Outcome {
    let storage = FsStorage::open(output).or_exit(Code::Io)?;
    dataset::show(&storage, &output.display().to_string(), note.recordings.len() as u64, listed, as_json)
}

/// Says that a run was stopped, how far it is where that could be read, and how to go on.
pub(super) fn interrupted(state: Option<&BatchState>, output: &Path, exit: Exit) {
    let became = match exit {
        Exit::Clean => "nothing is lost",
        Exit::LeftToLease => "a job was left behind, and is taken up again when its lease has expired",
        Exit::Fault => "this program met a fault of its own; what is converted stays so",
    };
    let far = state.map_or_else(String::new, |state| {
        format!("{} of {} recordings are converted, ", state.completed, state.recordings())
    });
    notice(&format!(
        "stopped: {far}{became}; go on with the same command, or with\n  roboflow run --resume --out {}",
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
        dataset::list(&state.failed).trim_end()
    );
    Failure::new(Code::Data, said)
}

/// Says why the dataset could not be assembled.
pub(super) fn assembly_failed(state: &BatchState) -> Failure {
    let reason = state.assembly.as_ref().map_or("cancelled", |(_, reason)| reason);
    let said = format!("the dataset could not be assembled: {reason}\nthe same command tries it again");
    Failure::new(Code::CannotCreate, said)
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
