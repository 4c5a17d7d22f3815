//! `roboflow jobs`: the jobs of a queue, for people and scripts.

use super::exit::{Code, Outcome};
use super::open::{Asked, Open};
use super::output;
use crate::dataset::reason;
use crate::queue::{Cancelled, JobFilter, JobKind, JobRecord, JobStatus};
use clap::{Args, Subcommand};
use roboflow_fsm::id::JobId;
use serde::Serialize;
use std::fmt::Write;

/// Jobs read at once.
const PAGE: usize = 256;
/// Jobs listed at most, unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

const AFTER_HELP: &str = "\
Examples:
  roboflow jobs list --out set --status dead
  roboflow jobs get 3f2a… --out set
  roboflow jobs stats --store sqlite:/var/lib/roboflow/queue.db --json
  roboflow jobs list --pd pd-0:2379 --batch 9c41 --status leased
  roboflow jobs retry 3f2a… --out set";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs
    List {
        #[command(flatten)]
        place: Asked,
        /// Only jobs that stand so
        #[arg(long, value_name = "STATUS", value_parser = parse_status)]
        status: Option<JobStatus>,
        /// Only jobs of this batch: its id, or the first digits of it
        #[arg(long, value_name = "BATCH")]
        batch: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Show a job with its error history
    Get {
        #[command(flatten)]
        job: OneJob,
    },
    /// Count the jobs by where they stand
    Stats {
        #[command(flatten)]
        place: Asked,
        /// Only jobs of this batch: its id, or the first digits of it
        #[arg(long, value_name = "BATCH")]
        batch: Option<String>,
    },
    /// Give a dead or cancelled job a new attempt
    Retry {
        #[command(flatten)]
        job: OneJob,
    },
    /// Cancel a job; one in hand is stopped at its worker's next renewal
    Cancel {
        #[command(flatten)]
        job: OneJob,
    },
}

#[derive(Debug, Args)]
struct OneJob {
    /// The job's id, or the first digits of it
    #[arg(value_name = "JOB")]
    id: String,
    #[command(flatten)]
    place: Asked,
}

fn parse_status(text: &str) -> Result<JobStatus, String> {
    JobStatus::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| {
        let names: Vec<&str> = JobStatus::ALL.iter().map(|status| status.name()).collect();
        format!("{text:?} is no status: it is one of {}", names.join(", "))
    })
}

/// A job as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: String,
    kind: &'static str,
    source: &'a str,
    status: &'static str,
    epoch: u64,
    segments_done: u32,
    failures: u32,
    crashes: u32,
    interruptions: u32,
    resets: u32,
    worker: Option<String>,
    frames: Option<u64>,
    note: Option<&'a str>,
    errors: Vec<ShownError<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownError<'a> {
    at_ms: u64,
    epoch: u64,
    kind: String,
    text: &'a str,
}

impl<'a> Shown<'a> {
    fn of(job: &'a JobRecord) -> Self {
        let (kind, source) = match &job.kind {
            JobKind::Convert { source } => ("convert", source.name.as_str()),
            JobKind::Assemble => ("assemble", "the dataset"),
        };
        let shown = |error: &'a crate::queue::ErrorEntry| ShownError {
            at_ms: error.at.0,
            epoch: error.epoch.0,
            kind: format!("{:?}", error.kind).to_lowercase(),
            text: &error.text,
        };
        Self {
            id: job.id.to_string(),
            kind,
            source,
            status: job.status.name(),
            epoch: job.epoch.0,
            segments_done: job.checkpoint,
            failures: job.failures,
            crashes: job.crashes,
            interruptions: job.interruptions,
            resets: job.resets,
            worker: job.owner.as_ref().map(|owner| format!("{}/{}", owner.incarnation, owner.machine)),
            frames: job.result.as_ref().map(|result| result.frames),
            note: job.result.as_ref().map(|result| result.note.as_str()).filter(|note| !note.is_empty()),
            errors: job.errors.iter().map(shown).collect(),
        }
    }
}

/// The jobs that the filter takes, page by page, at most `limit`.
fn pick(open: &Open, filter: &JobFilter, limit: usize) -> Outcome<Vec<JobRecord>> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = open.ask(open.queue.list(filter, after, PAGE.min(limit - found.len())))?;
        found.extend(page.jobs);
        after = page.next;
        if after.is_none() || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// The job that is meant by the first digits of its id.
fn one(open: &Open, typed: &str) -> Outcome<JobRecord> {
    open.one("job", typed, |after, limit| async move {
        let page = open.queue.list(&JobFilter::default(), after.map(JobId), limit).await?;
        Ok(page.jobs.into_iter().map(|job| (job.id.0, job)).collect())
    })
}

pub(super) fn run(args: &JobsArgs) -> Outcome {
    match &args.action {
        Action::List { place, status, batch, limit } => list(place, *status, batch.as_deref(), *limit),
        Action::Get { job } => {
            let record = one(&Open::at(&job.place.queue)?, &job.id)?;
            show(&record, job.place.json)
        }
        Action::Stats { place, batch } => stats(place, batch.as_deref()),
        Action::Retry { job } => change(job, |open, id| {
            let asked = open.queue.retry(id, "asked for with 'roboflow jobs retry'");
            open.ask(asked).map(|_| "ready again".to_owned())
        }),
        Action::Cancel { job } => change(job, |open, id| {
            Ok(match open.ask(open.queue.cancel(id))? {
                Cancelled::Now => "cancelled".to_owned(),
                Cancelled::Asked => "asked to stop: cancelled as soon as its worker hands it back".to_owned(),
                Cancelled::Already(status) => format!("{} already: nothing to cancel", status.name()),
            })
        }),
    }
}

fn list(place: &Asked, status: Option<JobStatus>, batch: Option<&str>, limit: usize) -> Outcome {
    let open = Open::at(&place.queue)?;
    let batch = batch.map(|typed| open.batch(typed)).transpose()?.map(|batch| batch.id);
    let jobs = pick(&open, &JobFilter { batch, status }, limit)?;
    if place.json {
        output::json(&jobs.iter().map(Shown::of).collect::<Vec<_>>())?;
        return Ok(Code::Ok);
    }
    let mut text = String::new();
    for job in &jobs {
        let shown = Shown::of(job);
        write!(
            text,
            "{}  {:9}  {:>5} segments  {}",
            shown.id, shown.status, shown.segments_done, shown.source
        )
        .ok();
        if matches!(job.status, JobStatus::Dead) {
            write!(text, ": {}", reason(job)).ok();
        }
        text.push('\n');
    }
    output::text(&text)?;
    Ok(Code::Ok)
}

fn show(record: &JobRecord, json: bool) -> Outcome {
    let shown = Shown::of(record);
    if json {
        output::json(&shown)?;
        return Ok(Code::Ok);
    }
    let mut text = format!(
        "job            {}\nkind           {}\nsource         {}\nstatus         {}\nepoch          {}\n\
         segments done  {}\nfailures       {}\ncrashes        {}\ninterruptions  {}\nresets         {}\n",
        shown.id,
        shown.kind,
        shown.source,
        shown.status,
        shown.epoch,
        shown.segments_done,
        shown.failures,
        shown.crashes,
        shown.interruptions,
        shown.resets
    );
    if let Some(worker) = &shown.worker {
        writeln!(text, "held by        {worker}").ok();
    }
    if let Some(frames) = shown.frames {
        writeln!(text, "frames         {frames}").ok();
    }
    for line in shown.note.unwrap_or_default().lines() {
        writeln!(text, "note           {line}").ok();
    }
    for error in &shown.errors {
        writeln!(text, "error          epoch {}, {}: {}", error.epoch, error.kind, error.text).ok();
    }
    output::text(&text)?;
    Ok(Code::Ok)
}

fn stats(place: &Asked, batch: Option<&str>) -> Outcome {
    let open = Open::at(&place.queue)?;
    let batch = batch.map(|typed| open.batch(typed)).transpose()?.map(|batch| batch.id);
    let counts = open.ask(open.queue.counts(batch))?;
    if place.json {
        output::json(&serde_json::json!({
            "submitted": counts.submitted(),
            "ready": counts.ready,
            "leased": counts.leased,
            "completed": counts.completed,
            "dead": counts.dead,
            "cancelled": counts.cancelled,
            "unreadable": counts.unreadable,
        }))?;
    } else {
        output::text(&format!(
            "ready      {}\nleased     {}\ncompleted  {}\ndead       {}\ncancelled  {}\n",
            counts.ready, counts.leased, counts.completed, counts.dead, counts.cancelled
        ))?;
    }
    Ok(Code::Ok)
}

fn change(job: &OneJob, with: impl Fn(&Open, JobId) -> Outcome<String>) -> Outcome {
    let open = Open::at(&job.place.queue)?;
    let record = one(&open, &job.id)?;
    let what = with(&open, record.id)?;
    if job.place.json {
        let changed = open.ask(open.queue.get(record.id))?;
        output::json(&Shown::of(&changed))?;
    } else {
        output::text(&format!("{} {what}: {}\n", record.id, Shown::of(&record).source))?;
    }
    Ok(Code::Ok)
}
