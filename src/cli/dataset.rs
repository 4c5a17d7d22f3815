//! A published dataset in a few lines, and lists of recordings that are not in it.

use super::exit::{Code, OrExit, Outcome};
use super::output::{bytes, count, json, text};
use crate::lerobot::assemble::Skipped;
use crate::lerobot::layout::OWN_PREFIX;
use crate::lerobot::summary::{DatasetSummary, latest_batch, skipped_of, summary};
use crate::storage::{Storage, is_local};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Recordings that are listed at most; the rest is counted.
const MAX_LISTED: usize = 20;

/// The summary for scripts.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    output: &'a str,
    recordings: u64,
    skipped: &'a Reasons,
    left_out: &'a Reasons,
    #[serde(flatten)]
    dataset: DatasetSummary,
}

/// Which recordings that are not in the dataset are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Those of the batch that made it.
    All,
    /// Those of the batch that was added last.
    Latest,
    /// None: nothing was done.
    Nothing,
}

/// Shows a dataset that is complete. What was skipped is read from it, as far as it is listed.
///
/// # Errors
/// When it cannot be read, or stdout not be written.
pub(crate) fn show(
    storage: &dyn Storage,
    output: &str,
    recordings: u64,
    listed: Listed,
    as_json: bool,
) -> Outcome {
    let dataset = summary(storage).or_exit(Code::Data)?;
    let (skipped, left_out) = &skipped(storage, listed)?;
    if as_json {
        json(&Summary { output, recordings, skipped, left_out, dataset })?;
        return Ok(Code::Ok);
    }
    let mut said = format!(
        "{}, {} at {} fps, {}: {output}\n",
        count(dataset.episodes, "episode"),
        count(dataset.frames, "frame"),
        dataset.fps,
        bytes(dataset.bytes),
    );
    for feature in &dataset.features {
        writeln!(said, "  {} {} {:?}", feature.name, feature.dtype, feature.shape).ok();
    }
    if !skipped.is_empty() {
        writeln!(said, "{} of {recordings} recordings skipped:", skipped.len()).ok();
        said.push_str(&list(skipped));
    }
    if !left_out.is_empty() {
        writeln!(said, "{} left out (see {OWN_PREFIX}):", count(left_out.len() as u64, "episode")).ok();
        said.extend(left_out.iter().take(MAX_LISTED).map(|(episode, why)| format!("  {episode}: {why}\n")));
    }
    if is_local(output) {
        let name = output.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("dataset");
        writeln!(said, "\nLoad it with\n  from lerobot.datasets.lerobot_dataset import LeRobotDataset").ok();
        writeln!(said, "  dataset = LeRobotDataset({:?}, root={output:?})", format!("local/{name}")).ok();
    }
    text(&said)?;
    Ok(Code::Ok)
}

/// Names and why they are not in the dataset.
type Reasons = BTreeMap<String, String>;

/// What a `skipped.json` below `meta/roboflow/` lists: whole recordings, and episodes of others.
fn skipped(storage: &dyn Storage, listed: Listed) -> Outcome<(Reasons, Reasons)> {
    let from = match listed {
        Listed::All => 0,
        Listed::Latest => latest_batch(storage).or_exit(Code::Io)?,
        Listed::Nothing => return Ok((Reasons::new(), Reasons::new())),
    };
    let listed = skipped_of(storage, from).or_exit(Code::Data)?;
    let (mut recordings, mut episodes) = (Reasons::new(), Reasons::new());
    for Skipped { source, episode, reason } in listed {
        match episode {
            None => recordings.insert(source, reason),
            Some(episode) => episodes.insert(format!("{source}: {episode}"), reason),
        };
    }
    Ok((recordings, episodes))
}

/// Names and reasons, one a line.
pub(crate) fn list(skipped: &Reasons) -> String {
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
