//! `roboflow jobs`: the jobs of a queue, for people and scripts.

use super::exit::{Code, Failure, Outcome, session_failure};
use super::location;
use super::output;
use super::store::StoreArgs;
use crate::clock::Clock;
use crate::dataset::reason;
use crate::queue::{Cancelled, JobFilter, JobKind, JobRecord, JobStatus, Queue, QueueError, QueueSettings};
use crate::recipe;
use crate::session::Session;
use crate::store::{Durability, StorePlace};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use roboflow_fsm::id::JobId;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Jobs read at once.
const PAGE: usize = 256;
/// Jobs listed at most, unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

const AFTER_HELP: &str = "\
Examples:
  roboflow jobs list --out set --status dead
  roboflow jobs get 3f2a… --out set
  roboflow jobs stats --store sqlite:/var/lib/roboflow/queue.db --json
  roboflow jobs list --pd pd-0:2379 --status leased
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
        place: Place,
        /// Only jobs that stand so
        #[arg(long, value_name = "STATUS", value_parser = parse_status)]
        status: Option<JobStatus>,
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
        place: Place,
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
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    queue: QueuePlace,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct QueuePlace {
    /// The queue of the run that fills this folder. Wins over --store and --pd
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(location::parse))]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
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

/// The queue that is meant, open.
struct Open {
    session: Session,
    queue: Queue,
}

impl Open {
    fn at(place: &QueuePlace) -> Outcome<Self> {
        let store = match &place.out {
            Some(out) => {
                StorePlace::Sqlite { path: recipe::queue_path(out), durability: Durability::default() }
            }
            None => place.store.required(None)?,
        };
        let settings = place.store.queue_settings(QueueSettings::default())?;
        let session = Session::open_existing(&store, settings, Clock::start()).map_err(session_failure)?;
        let queue = session.queue();
        Ok(Self { session, queue })
    }

    fn ask<T>(&self, asked: impl Future<Output = Result<T, QueueError>>) -> Outcome<T> {
        self.session.runtime().block_on(asked).map_err(|error| {
            let code = match error {
                QueueError::NotFound { .. } => Code::NoInput,
                QueueError::Refused { .. } => Code::Data,
                _ => Code::Io,
            };
            Failure { code, error: error.into() }
        })
    }

    /// The jobs that `wanted` picks, page by page, at most `limit`.
    fn pick(&self, limit: usize, wanted: impl Fn(&JobRecord) -> bool) -> Outcome<Vec<JobRecord>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.ask(self.queue.list(&JobFilter::default(), after, PAGE))?;
            for job in page.jobs {
                if found.len() >= limit {
                    return Ok(found);
                }
                if wanted(&job) {
                    found.push(job);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    fn one(&self, typed: &str) -> Outcome<JobRecord> {
        let typed = typed.to_lowercase();
        let mut found = self.pick(2, |job| job.id.to_string().starts_with(&typed))?;
        match (found.pop(), found.pop()) {
            (Some(job), None) => Ok(job),
            (Some(_), Some(_)) => {
                Err(Failure::new(Code::Config, format!("several jobs begin with {typed}: give more digits")))
            }
            (None, _) => Err(Failure::new(Code::NoInput, format!("there is no job {typed}"))),
        }
    }
}

pub(super) fn run(args: &JobsArgs) -> Outcome {
    match &args.action {
        Action::List { place, status, limit } => list(place, *status, *limit),
        Action::Get { job } => {
            let record = Open::at(&job.place.queue)?.one(&job.id)?;
            show(&record, job.place.json)
        }
        Action::Stats { place } => stats(place),
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

fn list(place: &Place, status: Option<JobStatus>, limit: usize) -> Outcome {
    let jobs = Open::at(&place.queue)?.pick(limit, |job| status.is_none_or(|status| job.status == status))?;
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

fn stats(place: &Place) -> Outcome {
    let open = Open::at(&place.queue)?;
    let counts = open.ask(open.queue.counts(None))?;
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
    let record = open.one(&job.id)?;
    let what = with(&open, record.id)?;
    if job.place.json {
        let changed = open.one(&record.id.to_string())?;
        output::json(&Shown::of(&changed))?;
    } else {
        output::text(&format!("{} {what}: {}\n", record.id, Shown::of(&record).source))?;
    }
    Ok(Code::Ok)
}
