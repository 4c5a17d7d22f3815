//! `roboflow run`: recordings to a dataset on this machine.
//!
//! It is nothing of its own: it submits to an embedded queue, runs a worker on it, opens the assembly when the
//! recordings are done, and drains the worker when the batch is. The path that a newcomer tries is the path of a fleet.

mod output;
mod progress;
mod summary;
mod supervise;

use crate::cli::args::{LogArgs, StopArgs, TuneArgs};
use crate::cli::dataset::Listed;
use crate::cli::exit::{Code, Failure, OrExit, Outcome, input_failure, session_failure};
use crate::cli::mapping::{MappingArgs, missing_here};
use crate::cli::output::notice;
use crate::clock::Clock;
use crate::config::{self, Defaults, WorkerConfig};
use crate::convert::crew::Crew;
use crate::dataset::DatasetOpener;
use crate::recipe::{self, Recipe};
use crate::recordings;
use crate::session::Session;
use crate::signal::{LeaveCode, Stream};
use crate::storage::fs::FsStorage;
use crate::storage::{Places, Storage};
use crate::store::StorePlace;
use crate::telemetry;
use crate::work::StopFlag;
use indicatif::MultiProgress;
use output::{Output, OutputError, RunNote};
use progress::Progress;
use roboflow_fsm::Input;
use roboflow_fsm::effect::Exit;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, thread};
use supervise::{Supervisor, Verdict};

/// What was asked for.
#[derive(Debug)]
pub struct Request {
    /// Files, folders and globs; or objects, prefixes and globs of a bucket.
    pub inputs: Vec<String>,
    /// The dataset's folder.
    pub output: PathBuf,
    /// The mapping file.
    pub mapping: Option<PathBuf>,
    /// What was typed of it.
    pub settings: MappingArgs,
    /// Machines.
    pub workers: Option<u32>,
    /// Add to the dataset that is there.
    pub append: bool,
    /// Only go on, never begin.
    pub resume: bool,
    /// Publish without what cannot be converted.
    pub skip_failed: bool,
    /// Frames of a segment.
    pub segment_frames: u32,
    /// The summary as JSON.
    pub json: bool,
    /// How places are opened.
    pub places: Places,
    /// How it stops.
    pub stop: StopArgs,
    /// The rest.
    pub tune: TuneArgs,
}

/// What is going to be done, checked, with the output made ours.
#[derive(Debug)]
struct Plan {
    note: RunNote,
    output: Output,
    config: WorkerConfig,
}

/// Carries the request out.
///
/// # Errors
/// With the exit code that says what kind of trouble it was.
pub fn run(request: Request, log: &LogArgs, signals: &Stream) -> Outcome {
    let clock = Clock::start();
    let bars = telemetry::stderr_is_terminal().then(MultiProgress::new);
    let level = if bars.is_some() { "warn" } else { telemetry::FOR_A_RUN };
    log.start(level, bars.clone().unwrap_or_default())?;
    let plan = Plan::make(&request)?;
    if plan.output.is_complete(&plan.note) {
        notice(&format!("{} is complete already: nothing to do", plan.output.path.display()));
        let listed = if request.append { Listed::Latest } else { Listed::All };
        return summary::show(&plan.note, &plan.output.path, listed, request.json);
    }
    convert(&request, &plan, clock, bars, signals)
}

fn convert(
    request: &Request,
    plan: &Plan,
    clock: Clock,
    bars: Option<MultiProgress>,
    signals: &Stream,
) -> Outcome {
    let Plan { note, output, config } = plan;
    let durability = request.tune.store_sync.unwrap_or_default();
    let place = StorePlace::Sqlite { path: recipe::queue_path(&output.path), durability };
    let session = Session::open(&place, config.queue_settings(), clock).map_err(session_failure)?;
    let submitted = Supervisor::submit(&session, note, output, request.skip_failed).or_exit(Code::Io)?;
    let Some(supervisor) = submitted else {
        session.abandon();
        sweep(&output.path, &output.staging(note));
        let out = output.path.display();
        notice(&format!("all of these recordings are in {out} already, by the same mapping: nothing to add"));
        return summary::show(note, &output.path, Listed::Nothing, request.json);
    };
    let crew = Crew::new(config.threads).or_exit(Code::Fault)?;
    let places = request.places.clone();
    let opener = Arc::new(DatasetOpener::new(session.queue(), session.runtime(), places, crew));
    let worker = session.start(config, opener).map_err(session_failure)?;
    let inputs = worker.inputs();
    signals.deliver_to(Arc::new(move |signal| inputs.send(&Input::Signal(signal))));
    let sizes: BTreeMap<String, u64> =
        note.recordings.iter().map(|recording| (recording.name().to_owned(), recording.bytes)).collect();
    let total_bytes = sizes.values().sum();
    let mut progress = Progress::new(worker.board(), session.metrics(), sizes, bars);
    supervisor.watch(&session, &worker, &mut progress, total_bytes);
    let (exit, departed) = worker.join();
    signals.leave_at_once(LeaveCode::Clean);
    progress.finish();
    tracing::debug!(?exit, counters = ?session.metrics().snapshot(), "the worker has ended");
    let state = supervisor.last(&session);
    session.close(departed);
    let state = match state {
        Ok(state) => state,
        // A job that was left behind is the greater news: the queue that cannot be read is why.
        Err(error) if exit != Exit::Clean => {
            tracing::warn!(%error, "how far the recordings are cannot be read");
            summary::interrupted(None, &output.path, exit);
            return Ok(exit.into());
        }
        Err(error) => return Err(error).or_exit(Code::Io),
    };
    match supervisor.verdict(&state) {
        Verdict::Complete => {
            sweep(&output.path, &output.staging(note));
            let listed = if request.append { Listed::Latest } else { Listed::All };
            summary::show(note, &output.path, listed, request.json)?;
        }
        Verdict::Failed if exit == Exit::Clean => return Err(summary::failed(&state)),
        Verdict::AssemblyFailed if exit == Exit::Clean => return Err(summary::assembly_failed(&state)),
        Verdict::Open | Verdict::Failed | Verdict::AssemblyFailed => {
            summary::interrupted(Some(&state), &output.path, exit)
        }
    }
    Ok(exit.into())
}

/// The dataset is published: what it was made from is not needed any more, nor what killed writers left in it. What cannot
/// be removed is no failure. The staging folder goes last: as long as it is there, the next run comes by here again.
fn sweep(output: &Path, staging: &Path) {
    match FsStorage::open(output).and_then(|storage| storage.sweep("")) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed what killed writers left behind"),
        Err(error) => tracing::warn!(%error, "what killed writers left behind could not be removed"),
    }
    if let Err(error) = fs::remove_dir_all(staging) {
        tracing::warn!(staging = %staging.display(), %error, "the staging folder could not be removed");
    }
}

impl Plan {
    /// Checks everything that can be checked before anything is opened, then the inputs, then the output; then makes
    /// the output ours.
    fn make(request: &Request) -> Outcome<Self> {
        let (workers, stop) = (request.workers.unwrap_or(1), StopFlag::default());
        let mut config = WorkerConfig::build(workers, &request.stop, &request.tune, Defaults::run())
            .or_exit(Code::Config)?;
        let segment_frames = config::segment_frames(request.segment_frames).or_exit(Code::Config)?;
        let given = request.mapping.as_deref().map(|path| request.settings.read(path)).transpose()?;
        let output = Output::look(&request.output, request.append).map_err(output_failure)?;
        if request.resume && output.before.is_none() {
            return Err(output_failure(OutputError::NothingToResume {
                output: request.output.display().to_string(),
            }));
        }
        let before = output.before.as_ref().filter(|_| !request.append || request.resume || output.is_open());
        let found = match before {
            Some(before) if request.inputs.is_empty() => {
                before.look_again(&request.places, &stop).map_err(|error| input_failure(error.into()))?
            }
            _ => recordings::find(&request.inputs, None, &request.places, &stop).map_err(input_failure)?,
        };
        let mapping = match (given, before) {
            (Some(given), _) => given,
            (None, Some(before)) => {
                request.settings.apply("the mapping of the earlier run", &before.recipe.mapping)?
            }
            (None, None) if output.mapping.is_some() => {
                let mapping = output.mapping.as_deref().unwrap_or_default();
                request.settings.apply("the mapping of the dataset", mapping)?
            }
            (None, None) => {
                let first = found.objects.first().map(|object| object.key.as_str()).unwrap_or_default();
                request.settings.infer_from(Arc::clone(&found.storage), first, &stop)?
            }
        };
        if request.append {
            let dataset = FsStorage::open(&output.path).or_exit(Code::Io)?;
            MappingArgs::check_appends(&mapping, &dataset)?;
        }
        if let Some(missing) = missing_here(&mapping)? {
            return Err(Failure::new(Code::Config, missing));
        }
        let recipe = Recipe { input: found.location.clone(), mapping, segment_frames };
        let note = RunNote::new(recipe, &found);
        output.claim(&note).map_err(output_failure)?;
        if request.workers.is_none() {
            let machines = default_machines(found.objects.len()).get();
            config.machines =
                u32::try_from(machines).unwrap_or(config::MAX_MACHINES).min(config::MAX_MACHINES);
        }
        Ok(Self { note, output, config })
    }
}

/// How many recordings are converted at once: one a core, at most all.
pub(crate) fn default_machines(recordings: usize) -> NonZeroUsize {
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(recordings).map_or(NonZeroUsize::MIN, |recordings| recordings.min(cores))
}

fn output_failure(error: OutputError) -> Failure {
    let code = match error {
        OutputError::NothingToResume { .. } | OutputError::NoDataset { .. } => Code::NoInput,
        OutputError::Differs { .. } => Code::Config,
        OutputError::Foreign { .. }
        | OutputError::Dataset { .. }
        | OutputError::Unfinished { .. }
        | OutputError::Damaged { .. }
        | OutputError::Storage(_)
        | OutputError::Io { .. } => Code::CannotCreate,
    };
    Failure { code, error: error.into() }
}
