//! `roboflow worker`: works on an existing queue until asked to stop.

use super::args::{GraceArgs, LogArgs, StopArgs, TuneArgs};
use super::exit::{Code, Failure, OrExit, Outcome, session_failure, storage_code};
use super::http::{HttpArgs, WORKER_PORT};
use super::storage::StorageArgs;
use super::store::StoreArgs;
use crate::clock::Clock;
use crate::config::{Defaults, WorkerConfig, host_name};
use crate::convert::crew::Crew;
use crate::dataset::DatasetOpener;
use crate::grace::TimeKeeper;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::pod::{OwnPod, PodError};
use crate::session::Session;
use crate::signal::{LeaveCode, Stream};
use crate::telemetry;
use crate::traces::Exporter;
use crate::work::StopFlag;
use clap::Args;
use indicatif::MultiProgress;
use roboflow_fsm::Input;
use roboflow_fsm::event::Signal;
use std::sync::Arc;

const AFTER_HELP: &str = "\
Examples:
  roboflow worker --store sqlite:set/.roboflow/queue.db
  roboflow worker --store sqlite:/var/lib/roboflow/queue.db --workers 4 --log-format json
  roboflow worker --pd pd-0:2379,pd-1:2379

Any number of workers share a queue: in one process, in many of one host, and, on a cluster, on many hosts. One that is asked to stop hands its jobs back \
with their last checkpoint, ready at once for another; one that is killed is found by the others when its lease expires.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct WorkerArgs {
    /// Jobs at once
    #[arg(long, short, value_name = "N", default_value_t = 1, env = "WORKER_MAX_CONCURRENT_JOBS")]
    workers: u32,
    /// Where recordings lie. Nothing is taken from it here: it is opened at start, so that a worker without access ends at once
    /// instead of failing jobs
    #[arg(long = "input", value_name = "URL", env = "STORAGE_URL")]
    input: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    grace: GraceArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Export what becomes of jobs as OpenTelemetry spans to the collector at this URL, by OTLP over HTTP; other variables of
    /// OpenTelemetry (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*) hold too [default: nothing is exported]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", help_heading = "Logging")]
    otlp_endpoint: Option<String>,
    #[command(flatten)]
    tune: TuneArgs,
}

pub(super) fn run(args: WorkerArgs, log: &LogArgs, signals: &Stream) -> Outcome {
    let clock = Clock::start();
    log.start("info", MultiProgress::new())?;
    let config = WorkerConfig::build(args.workers, &args.stop, &args.tune, Defaults::worker())
        .or_exit(Code::Config)?;
    let context = telemetry::process(&config.label);
    let _context = context.enter();
    let grace = args.grace.settings(&config.settings).or_exit(Code::Config)?;
    let pod = own_pod(&args.grace).unwrap_or_else(|error| {
        tracing::warn!(%error, "the own pod cannot be asked for: --grace holds, if it is given");
        None
    });
    let place = args.store.required(args.tune.store_sync)?;
    let settings = args.store.queue_settings(config.queue_settings())?;
    let places = args.storage.places();
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let server = args.http.serve(WORKER_PORT, &health, &metrics)?;
    health.opens("the storage is being opened");
    if let Some(input) = &args.input {
        let tried = places.open(input, &StopFlag::default()).and_then(|place| {
            let first = place.list("")?.next();
            first.transpose().map(drop)
        });
        tried.map_err(|error| Failure {
            code: storage_code(&error, Code::CannotCreate),
            error: error.into(),
        })?;
    }
    health.opens("the store is being opened");
    let session = Session::open_existing(&place, settings, clock).map_err(session_failure)?;
    let traces = args.otlp_endpoint.as_deref().filter(|url| !url.is_empty()).map(|url| {
        Exporter::start(url, &config.label, session.runtime(), Arc::clone(&metrics)).or_exit(Code::Config)
    });
    let session = session.counting_into(Arc::clone(&metrics)).tracing_into(traces.transpose()?);
    let crew = Crew::new(config.threads).or_exit(Code::Fault)?;
    let opener = Arc::new(DatasetOpener::new(session.queue(), session.runtime(), places, crew));
    let worker = session.start(&config, opener).map_err(session_failure)?;
    health.works(Arc::new(worker.vitals()));
    let inputs = worker.inputs();
    let keeper = TimeKeeper::new(grace, pod, worker.reserve());
    let delivering = context.clone();
    signals.deliver_to(Arc::new(move |signal| {
        inputs.send(&Input::Signal(signal));
        if signal != Signal::Usr1 {
            delivering.in_scope(|| keeper.stop_was_asked(&inputs));
        }
    }));
    tracing::info!(store = %place, workers = args.workers, "working until asked to stop");
    let (exit, departed) = worker.join();
    signals.leave_at_once(LeaveCode::Clean);
    session.close(departed);
    drop(server);
    tracing::info!(?exit, counters = ?metrics.snapshot(), "stopped");
    Ok(exit.into())
}

/// The pod that this process runs in, if it may ask for it.
pub(super) fn own_pod(args: &GraceArgs) -> Result<Option<OwnPod>, PodError> {
    let env = |name: &str| std::env::var(name).ok();
    let name = env("POD_NAME").filter(|name| !name.is_empty()).unwrap_or_else(host_name);
    OwnPod::find(&name, &args.service_account, env)
}
