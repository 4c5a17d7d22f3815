//! `roboflow batch`: the batches of a queue, for people and scripts.

use super::dataset;
use super::exit::{Code, Outcome};
use super::open::{Asked, Open};
use super::output;
use crate::batch::{BatchState, Held};
use crate::queue::{BatchId, BatchRecord, Incarnation, QueueError};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Batches and workers read at once.
const PAGE: usize = 256;
/// Batches listed at most, unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

const AFTER_HELP: &str = "\
Examples:
  roboflow batch list --pd pd-0:2379
  roboflow batch get 9c41 --pd pd-0:2379
  roboflow batch list --store sqlite:queue.db --json | jq '.[] | select(.stage == \"failed\") | .out'
  roboflow batch cancel 9c41 --pd pd-0:2379";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct BatchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List batches with their counts. Reads every job of those listed
    List {
        #[command(flatten)]
        place: Asked,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Show a batch: how far it is, what failed and why, and what is being worked on by whom
    Get {
        #[command(flatten)]
        batch: OneBatch,
    },
    /// Cancel a batch: its open jobs are cancelled, those in hand at their worker's next renewal, and nothing is published
    Cancel {
        #[command(flatten)]
        batch: OneBatch,
    },
}

#[derive(Debug, Args)]
struct OneBatch {
    /// The batch's id, or the first digits of it
    #[arg(value_name = "BATCH")]
    id: String,
    #[command(flatten)]
    place: Asked,
}

/// A batch as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    stage: &'static str,
    out: String,
    created: String,
    sealed: bool,
    skip_failed: bool,
    segment_frames: u32,
    mapping_sha256: String,
    recordings: u64,
    ready: u64,
    leased: u64,
    completed: u64,
    dead: u64,
    cancelled: u64,
    assembly: Option<ShownAssembly>,
    failed: BTreeMap<String, String>,
    working: Vec<ShownHeld>,
}

#[derive(Debug, Serialize)]
struct ShownAssembly {
    status: &'static str,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownHeld {
    source: String,
    segments_done: u32,
    worker: String,
    machine: u32,
}

impl Shown {
    /// As it stands now. `names` are those of the workers that are there.
    pub(super) fn of(record: &BatchRecord, state: BatchState, names: &BTreeMap<Incarnation, String>) -> Self {
        let stage = state.stage(record).name();
        let is_recording = |held: &&Held| held.source.is_some();
        let leased = state.held.iter().filter(is_recording).count() as u64;
        let working = state.held.iter().map(|held| ShownHeld {
            source: held.source.clone().unwrap_or_else(|| "the dataset".to_owned()),
            segments_done: held.segments_done,
            worker: names
                .get(&held.owner.incarnation)
                .cloned()
                .unwrap_or_else(|| held.owner.incarnation.to_string()),
            machine: held.owner.machine,
        });
        Self {
            id: record.id.to_string(),
            stage,
            out: record.out.clone(),
            created: output::instant(record.created.0),
            sealed: record.sealed,
            skip_failed: record.skip_failed,
            segment_frames: record.segment_frames,
            mapping_sha256: record.config.iter().map(|byte| format!("{byte:02x}")).collect(),
            recordings: state.recordings(),
            ready: state.open.saturating_sub(leased),
            leased,
            completed: state.completed,
            dead: (state.failed.len() as u64).saturating_sub(state.cancelled),
            cancelled: state.cancelled,
            working: working.collect(),
            assembly: state.assembly.map(|(status, reason)| ShownAssembly {
                status: status.name(),
                error: Some(reason).filter(|reason| reason != status.name()),
            }),
            failed: state.failed,
        }
    }

    fn line(&self) -> String {
        format!(
            "{}  {:15}  {}  {:>6} recordings: {} ready, {} leased, {} completed, {} dead, {} cancelled  {}\n",
            self.id,
            self.stage,
            self.created,
            self.recordings,
            self.ready,
            self.leased,
            self.completed,
            self.dead,
            self.cancelled,
            self.out
        )
    }

    fn text(&self) -> String {
        let mut text = format!(
            "batch        {}\nstage        {}\nout          {}\ncreated      {}\nmapping      sha256 {}\nsegments     \
             {} frames\nrecordings   {}: {} ready, {} leased, {} completed, {} dead, {} cancelled\n",
            self.id,
            self.stage,
            self.out,
            self.created,
            self.mapping_sha256,
            self.segment_frames,
            self.recordings,
            self.ready,
            self.leased,
            self.completed,
            self.dead,
            self.cancelled
        );
        let more = if self.sealed { "no more come" } else { "more may come" };
        let failed = if self.skip_failed { "skipped" } else { "keep it from being published" };
        writeln!(text, "terms        {more}; recordings that fail {failed}").ok();
        if let Some(assembly) = &self.assembly {
            let error = assembly.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            writeln!(text, "assembly     {}{error}", assembly.status).ok();
        }
        for held in &self.working {
            let ShownHeld { source, segments_done, worker, machine } = held;
            writeln!(text, "working      {worker}/{machine} on {source}, {segments_done} segments durable")
                .ok();
        }
        if !self.failed.is_empty() {
            text.push_str("failed\n");
            text.push_str(&dataset::list(&self.failed));
        }
        text
    }
}

/// A batch with all that is known of it now.
pub(super) fn look(open: &Open, record: &BatchRecord) -> Outcome<Shown> {
    let state = open.ask(BatchState::read(&open.queue, record.id))?;
    let names = if state.held.is_empty() { BTreeMap::new() } else { open.ask(workers(open))? };
    Ok(Shown::of(record, state, &names))
}

async fn workers(open: &Open) -> Result<BTreeMap<Incarnation, String>, QueueError> {
    let (mut names, mut after) = (BTreeMap::new(), None);
    loop {
        let page = open.queue.workers(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(names) };
        after = Some(last.info.incarnation);
        names.extend(page.into_iter().map(|worker| (worker.info.incarnation, worker.info.pod)));
    }
}

pub(super) fn run(args: &BatchArgs) -> Outcome {
    match &args.action {
        Action::List { place, limit } => list(place, *limit),
        Action::Get { batch } => {
            let open = Open::at(&batch.place.queue)?;
            let record = open.batch(&batch.id)?;
            show(&look(&open, &record)?, batch.place.json)
        }
        Action::Cancel { batch } => cancel(batch),
    }
}

fn list(place: &Asked, limit: usize) -> Outcome {
    let open = Open::at(&place.queue)?;
    let (mut found, mut after): (Vec<Shown>, Option<BatchId>) = (Vec::new(), None);
    while found.len() < limit {
        let page = open.ask(open.queue.batches(after, PAGE.min(limit - found.len())))?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for record in &page {
            found.push(look(&open, record)?);
        }
    }
    if place.json {
        output::json(&found)?;
    } else {
        output::text(&found.iter().map(Shown::line).collect::<String>())?;
    }
    Ok(Code::Ok)
}

fn show(shown: &Shown, json: bool) -> Outcome {
    if json {
        output::json(shown)?;
    } else {
        output::text(&shown.text())?;
    }
    Ok(Code::Ok)
}

fn cancel(args: &OneBatch) -> Outcome {
    let open = Open::at(&args.place.queue)?;
    let record = open.batch(&args.id)?;
    let done = open.ask(open.queue.cancel_batch(record.id))?;
    if args.place.json {
        let record = open.ask(open.queue.batch(record.id))?;
        return show(&look(&open, &record)?, true);
    }
    let mut said = format!("{} cancelled: {} jobs now", record.id, done.now);
    if done.asked > 0 {
        write!(said, ", {} in hand as soon as their workers hand them back", done.asked).ok();
    }
    if done.unreadable > 0 {
        write!(said, "; {} cannot be read and are left as they are", done.unreadable).ok();
    }
    said.push('\n');
    output::text(&said)?;
    Ok(Code::Ok)
}
