//! `roboflow submit`: recordings as a batch to a fleet.

use super::args::LogArgs;
use super::dataset::{self, Listed};
use super::duration::Millis;
use super::exit::{
    Code, Failure, OrExit, Outcome, input_failure, queue_failure, session_failure, storage_code,
};
use super::mapping::{MappingArgs, missing_here};
use super::output::{self, count, notice};
use super::storage::StorageArgs;
use super::store::StoreArgs;
use super::wait;
use crate::clock::Clock;
use crate::config;
use crate::queue::{BatchId, NewBatch, Queue, QueueError, QueueSettings, Submitted};
use crate::recipe::DEFAULT_SEGMENT_FRAMES;
use crate::recordings::{self, Found};
use crate::session::Session;
use crate::signal::{LeaveCode, Stream};
use crate::storage::{self, Places, StorageError};
use crate::submit::{self, Output, OutputError, Terms};
use crate::telemetry;
use crate::work::StopFlag;
use clap::Args;
use indicatif::MultiProgress;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  roboflow submit s3://robots/2026-11-21/ --out s3://datasets/pick-cube --pd pd-0:2379 --wait
  roboflow submit s3://robots/a.mcap 's3://robots/b*.mcap' --out s3://datasets/ab --mapping robot.toml --pd pd-0:2379
  roboflow submit recordings/ --out set --store sqlite:queue.db
  roboflow submit s3://robots/ --out s3://datasets/pick-cube --append --pd pd-0:2379

A recording becomes an episode; episodes are ordered by the recordings' names, their paths below the folder that all have in \
common. Without --mapping one is inferred from the first recording, printed to stderr, and saved with the output.

Submitting again is no harm: what was submitted before is passed over, and more recordings may follow until the dataset is \
assembled. Workers do the rest; see 'roboflow batch get'.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SubmitArgs {
    /// Recordings: s3:// objects, prefixes or globs; or paths and file:// URLs that every worker sees
    #[arg(value_name = "URL", required = true)]
    inputs: Vec<String>,
    /// Where the dataset goes: an s3:// prefix, or a folder that every worker sees. New, empty, or of this batch
    #[arg(long, short, value_name = "URL")]
    out: String,
    /// Add the recordings to the dataset that is at --out, or that an earlier batch makes there. What was submitted to it
    /// before, with the same mapping, is passed over. Batches are added one after another, in the order of submission
    #[arg(long)]
    append: bool,
    /// Which topics and fields become which features
    #[arg(long, short, value_name = "FILE")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    settings: MappingArgs,
    /// The greatest is converted first
    #[arg(long, value_name = "0-255", default_value_t = 0)]
    priority: u8,
    /// Publish the dataset without the recordings that cannot be converted, and list them; by default nothing is
    /// published then
    #[arg(long)]
    skip_failed: bool,
    /// Frames of a segment: what is converted, made durable and checkpointed at once [default: 100]
    #[arg(long, value_name = "N")]
    segment_frames: Option<u32>,
    /// Wait until the dataset is published, or cannot be. ^C ends the waiting; the batch goes on
    #[arg(long)]
    wait: bool,
    /// While waiting, look this often
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    wait_interval: Millis,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    storage: StorageArgs,
}

/// What is going to be submitted.
struct Plan {
    output: Output,
    found: Found,
    terms: Terms,
}

pub(super) fn run(args: &SubmitArgs, log: &LogArgs, signals: &Stream) -> Outcome {
    let bars = telemetry::stderr_is_terminal().then(MultiProgress::new);
    let level = if bars.is_some() || !args.wait { "warn" } else { "info" };
    log.start(level, bars.clone().unwrap_or_default())?;
    let place = args.store.required(None)?;
    let settings = args.store.queue_settings(QueueSettings::default())?;
    let segment_frames = args.segment_frames.map(config::segment_frames).transpose().or_exit(Code::Config)?;
    let given = args.mapping.as_deref().map(|path| args.settings.read(path)).transpose()?;
    let out = storage::absolute(&args.out).or_exit(Code::Config)?;
    let (places, stop) = (args.storage.places(), StopFlag::default());
    let output = Output::look(out, args.append, &places, &stop).map_err(output_failure)?;
    let base = output.before().filter(|_| !args.append).map(|before| before.input.as_str());
    let found = recordings::find(&args.inputs, base, &places, &stop).map_err(input_failure)?;
    let session = Session::open(&place, settings, Clock::start()).map_err(session_failure)?;
    let mapping = match (given, output.mapping()) {
        (Some(given), _) => given,
        (None, Some(before)) => args.settings.apply("the mapping used here before", before)?,
        (None, None) => {
            let first = found.objects.first().map(|object| object.key.as_str()).unwrap_or_default();
            args.settings.infer_from(Arc::clone(&found.storage), first, &stop)?
        }
    };
    if args.append {
        match places.open(output.location(), &stop) {
            Ok(dataset) => MappingArgs::check_appends(&mapping, &*dataset)?,
            // The batch that makes it has not begun to.
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error).or_exit(Code::Io),
        }
    }
    if let Some(missing) = missing_here(&mapping)? {
        notice(&format!("note: workers need what this machine lacks: {missing}"));
    }
    let before = output.before().map(|before| before.segment_frames);
    let segment_frames = segment_frames.or(before).unwrap_or(DEFAULT_SEGMENT_FRAMES);
    let terms = Terms { mapping, segment_frames, skip_failed: args.skip_failed };
    let plan = Plan { output, found, terms };
    warn_of_paths(&plan);
    plan.output.claim(&plan.terms, &plan.found.location, &places, &stop).map_err(output_failure)?;
    let queue = session.queue();
    let jobs = submit::jobs(&plan.found, args.priority);
    let batch = plan.output.batch(&plan.terms, &jobs);
    let submitted = session
        .runtime()
        .block_on(async {
            queue.put_config(&plan.terms.mapping).await?;
            if plan.output.is_append() {
                queue.append_to(&batch.out, batch.id, plan.output.first_batch()).await?;
            }
            let submitted = queue.submit(&batch, &jobs).await?;
            if plan.output.is_append() && !is_there(&queue, batch.id).await? {
                return Ok(None);
            }
            // Where all was done before, the assembly may be due now, and nobody else looks for a while.
            queue.submit_assembly(batch.id).await?;
            Ok(Some(submitted))
        })
        .map_err(queue_failure)?;
    let Some(submitted) = submitted else { return nothing_new(args, &plan) };
    if !args.wait {
        return said(args, &plan, &batch, submitted);
    }
    notice(&summary(&batch, submitted));
    signals.leave_saying(
        LeaveCode::Signalled,
        format!(
            "not waiting any more; the batch goes on: 'roboflow batch get {}' tells how far it is",
            batch.id
        ),
    );
    wait_for(args, &session, &queue, &batch, bars, &places)
}

/// A batch of which nothing is new does not come about.
async fn is_there(queue: &Queue, batch: BatchId) -> Result<bool, QueueError> {
    match queue.batch(batch).await {
        Ok(_) => Ok(true),
        Err(QueueError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn nothing_new(args: &SubmitArgs, plan: &Plan) -> Outcome {
    let (recordings, out) = (plan.found.objects.len(), plan.output.location());
    if args.json {
        output::json(
            &json!({ "batch": null, "out": out, "recordings": recordings, "new": 0, "already": recordings }),
        )?;
    } else {
        output::text(&format!(
            "nothing new: {} submitted before with this mapping; {out} stays as it is\n",
            count(recordings as u64, "recording")
        ))?;
    }
    Ok(Code::Ok)
}

fn wait_for(
    args: &SubmitArgs,
    session: &Session,
    queue: &Queue,
    batch: &NewBatch,
    bars: Option<MultiProgress>,
    places: &Places,
) -> Outcome {
    let every = Duration::from_millis(args.wait_interval.0.max(1));
    let recordings = wait::until_over(session, queue, batch.id, bars, every)?;
    let storage = places
        .open(&batch.out, &StopFlag::default())
        .map_err(|error| Failure { code: storage_code(&error, Code::CannotCreate), error: error.into() })?;
    let listed = if args.append { Listed::Latest } else { Listed::All };
    dataset::show(&*storage, &batch.out, recordings, listed, args.json)
}

fn summary(batch: &NewBatch, submitted: Submitted) -> String {
    let Submitted { new, already } = submitted;
    let known = if already == 0 { String::new() } else { format!(", {already} submitted before") };
    format!("batch {}: {}{known}; to {}", batch.id, count(new, "new recording"), batch.out)
}

fn said(args: &SubmitArgs, plan: &Plan, batch: &NewBatch, submitted: Submitted) -> Outcome {
    if args.json {
        output::json(&json!({
            "batch": batch.id.to_string(),
            "out": batch.out,
            "input": plan.found.location,
            "recordings": plan.found.objects.len(),
            "new": submitted.new,
            "already": submitted.already,
        }))?;
    } else {
        output::text(&format!("{}\n", summary(batch, submitted)))?;
    }
    Ok(Code::Ok)
}

fn warn_of_paths(plan: &Plan) {
    for location in [&plan.found.location, plan.output.location()] {
        if storage::is_local(location) {
            notice(&format!("note: {location} is a path: every worker must see it under this name"));
        }
    }
}

fn output_failure(error: OutputError) -> Failure {
    let code = match &error {
        OutputError::Storage(error) => storage_code(error, Code::CannotCreate),
        OutputError::Differs { .. } => Code::Config,
        OutputError::Nothing { .. } => Code::NoInput,
        OutputError::Foreign { .. } | OutputError::Dataset { .. } | OutputError::Damaged { .. } => {
            Code::CannotCreate
        }
    };
    Failure { code, error: error.into() }
}
