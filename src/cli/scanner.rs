//! `roboflow scanner`: looks for new recordings and keeps house, until asked to stop.

use super::args::{LimitArgs, LogArgs};
use super::duration::{LongMillis, Millis};
use super::exit::{Code, Failure, OrExit, Outcome, session_failure, storage_code};
use super::http::{HttpArgs, SCANNER_PORT};
use super::mapping::MappingArgs;
use super::storage::StorageArgs;
use super::store::StoreArgs;
use crate::clock::Clock;
use crate::config::{self, ConfigError, ScannerConfig};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::queue::SeriesId;
use crate::recipe::DEFAULT_SEGMENT_FRAMES;
use crate::recordings;
use crate::scanner::memory::Memory;
use crate::scanner::round::{Scan, ScanParts, SystemClock, Terms};
use crate::scanner::{End, Pace, Parts, Scanner};
use crate::session::Session;
use crate::signal::{LeaveCode, Stream};
use crate::storage::{self, Places};
use crate::telemetry;
use crate::work::StopFlag;
use clap::Args;
use indicatif::MultiProgress;
use std::path::PathBuf;
use std::sync::Arc;

const AFTER_HELP: &str = "\
Examples:
  roboflow scanner --input s3://robots/ --out s3://datasets/pick-cube --mapping robot.toml --pd pd-0:2379
  roboflow scanner --input s3://robots/ --out s3://datasets/all --pattern '2026-*/**/*.mcap' --settle 5m --pd pd-0:2379
  roboflow scanner --pd pd-0:2379                       (keeps house only)

New recordings are enqueued into numbered batches: OUT/batch-0001, and so on. A batch is complete, and its dataset is made, once \
a round finds nothing new and nothing that may still be growing; what comes later begins the next one. Any number of scanners \
may run with the same options: one leads, and another takes over within seconds when it is gone.

A recording waits until it was listed twice with the same size and version, --settle apart, or until its storage says that it \
was not touched for long.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ScannerArgs {
    /// Where recordings are looked for: an s3:// prefix, or a folder that every worker sees. Without it the scanner keeps
    /// house only: staging that is not needed any more, expired leases, old receipts
    #[arg(long, value_name = "URL", env = "STORAGE_URL")]
    input: Option<String>,
    /// Below it the batches are numbered
    #[arg(long, short, value_name = "URL", env = "SCANNER_OUT")]
    out: Option<String>,
    /// Which topics and fields become which features [default: the series' own, or else inferred from its first recording]
    #[arg(long, short, value_name = "FILE", requires = "out", env = "SCANNER_MAPPING")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    settings: MappingArgs,
    /// Which recordings below the input: * and ? stay within a folder, ** does not
    #[arg(long, value_name = "GLOB", default_value = "**")]
    pattern: String,
    /// Between the beginnings of two rounds
    #[arg(long, value_name = "DURATION", env = "SCANNER_SCAN_INTERVAL_SECS", default_value = "60s")]
    interval: Millis,
    /// How long a recording stays the same before it is taken; 0: recordings appear whole
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    settle: Millis,
    /// Publish datasets without the recordings that cannot be converted, and list them; by default such a batch is held back
    #[arg(long)]
    skip_failed: bool,
    /// The greatest is converted first
    #[arg(long, value_name = "0-255", default_value_t = 0)]
    priority: u8,
    /// Frames of a segment: what is converted, made durable and checkpointed at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEGMENT_FRAMES)]
    segment_frames: u32,
    /// A batch with so many recordings is complete, and the next one begins
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    batch_recordings: u64,
    /// A batch of this age is complete at the end of a round, even if recordings still come
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    batch_age: LongMillis,
    /// One complete round, then exit; what still has to settle waits for the next
    #[arg(long, requires = "out")]
    once: bool,
    /// How long the receipts of workers that are gone are kept
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    keep_receipts: LongMillis,
    /// How long a scanner that says nothing leads on
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    lease: Millis,
    /// How often the lead is renewed
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    renew_interval: Millis,
    /// The name under which this scanner appears [default: the host's name]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    name: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    http: HttpArgs,
}

pub(super) fn run(args: ScannerArgs, log: &LogArgs, signals: &Stream) -> Outcome {
    let clock = Clock::start();
    log.start("info", MultiProgress::new())?;
    let config = ScannerConfig::build(
        args.interval.0,
        args.settle.0,
        args.lease.0,
        args.renew_interval.0,
        args.keep_receipts.0,
        args.name.clone(),
    )
    .or_exit(Code::Config)?;
    let context = telemetry::process(&config.leader.label).entered();
    let place = args.store.required(None)?;
    let attempts = config::max_attempts(args.limit).or_exit(Code::Config)?;
    let settings = args.store.queue_settings(config::limited(attempts))?;
    let terms = terms(&args)?;
    let places = args.storage.places();
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let server = args.http.serve(SCANNER_PORT, &health, &metrics)?;
    health.opens("the storage is being opened");
    let input = terms.as_ref().map(|terms| try_places(terms, &places)).transpose()?;
    health.opens("the store is being opened");
    let session = Session::open(&place, settings, clock).map_err(session_failure)?;
    let session = session.counting_into(metrics);
    let scan = match terms.zip(input) {
        None => None,
        Some((terms, input)) => {
            check_out(&session, &terms, &places)?;
            let pattern = recordings::glob(&args.pattern, &args.pattern).or_exit(Code::Config)?;
            let series = SeriesId::derive(&terms.out);
            let parts = ScanParts {
                queue: session.queue(),
                runtime: session.runtime(),
                input,
                pattern,
                time: Arc::new(SystemClock::default()),
                metrics: session.metrics(),
            };
            let memory = Memory::new(args.settle.0, args.interval.0);
            let pace = Pace { interval: config.interval, once: args.once };
            Some((Scan::new(parts, terms, memory), series, pace))
        }
    };
    let parts = Parts {
        queue: session.queue(),
        runtime: session.runtime(),
        lead_home: session.home().map_err(session_failure)?,
        places,
        metrics: session.metrics(),
    };
    let scanner = Scanner::start(parts, scan, config.keep_receipts, config.leader).or_exit(Code::Fault)?;
    health.works(Arc::new(scanner.vitals()));
    let (stopper, again, delivering) = (scanner.stopper(), signals.clone(), tracing::Span::clone(&context));
    signals.deliver_to(Arc::new(move |signal| {
        delivering.in_scope(|| tracing::info!(signal = ?signal, "asked to stop"));
        // Whoever asks twice does not wait for the lead to be handed over.
        again.leave_at_once(LeaveCode::Clean);
        stopper.stop();
    }));
    let input = args.input.as_deref().unwrap_or("(none: keeps house only)");
    tracing::info!(store = %place, input, out = args.out, "scanning until asked to stop");
    let end = scanner.join();
    signals.leave_at_once(LeaveCode::Clean);
    tracing::info!(?end, counters = ?session.metrics().snapshot(), "stopped");
    session.abandon();
    drop(server);
    match end {
        End::Clean => Ok(Code::Ok),
        End::Failed(reason) => Err(Failure::new(Code::Data, reason)),
        End::Fault => Ok(Code::Fault),
    }
}

fn terms(args: &ScannerArgs) -> Outcome<Option<Terms>> {
    let refused = |text: &str| Err(Failure::new(Code::Config, text));
    let (input, out) = match (&args.input, &args.out) {
        (None, None) => return Ok(None),
        (Some(input), Some(out)) => (input, out),
        (Some(_), None) => return refused("--input without --out: where do the datasets go? Give --out"),
        (None, Some(_)) => {
            return refused(
                "--out without --input: where are recordings looked for? Give --input, or STORAGE_URL",
            );
        }
    };
    if let (None, Some(option)) = (&args.mapping, args.settings.first()) {
        return refused(&format!(
            "{option} without --mapping: a scanner infers a mapping once, for all that comes; give --mapping"
        ));
    }
    if args.batch_recordings == 0 || args.batch_recordings > recordings::MAX_RECORDINGS as u64 {
        let text = format!(
            "--batch-recordings {}: it must be between 1 and {}",
            args.batch_recordings,
            recordings::MAX_RECORDINGS
        );
        return Err(ConfigError::new(text)).or_exit(Code::Config);
    }
    recordings::glob(&args.pattern, &args.pattern).or_exit(Code::Config)?;
    Ok(Some(Terms {
        input: storage::absolute(input).or_exit(Code::Config)?,
        out: storage::absolute(out).or_exit(Code::Config)?,
        pattern: args.pattern.clone(),
        mapping: args.mapping.as_deref().map(|path| args.settings.read(path)).transpose()?,
        segment_frames: config::segment_frames(args.segment_frames).or_exit(Code::Config)?,
        skip_failed: args.skip_failed,
        priority: args.priority,
        batch_recordings_max: args.batch_recordings,
        batch_age_max_ms: args.batch_age.0,
    }))
}

/// Opens the input and the output: a place that cannot be used is found now, not by the jobs. A bucket is not tried by writing:
/// a scanner writes nothing there, and a trial that a kill cuts off would stay for good, where no batch is swept.
fn try_places(terms: &Terms, places: &Places) -> Outcome<storage::SharedStorage> {
    let failed = |error: storage::StorageError, otherwise| Failure {
        code: storage_code(&error, otherwise),
        error: error.into(),
    };
    let stop = StopFlag::default();
    let input = places.open(&terms.input, &stop).map_err(|error| failed(error, Code::NoInput))?;
    if let Some(Err(error)) = input.list("").map_err(|error| failed(error, Code::NoInput))?.next() {
        return Err(failed(error, Code::NoInput));
    }
    let is_folder = storage::local_path(&terms.out).is_ok();
    let out = if is_folder { places.create(&terms.out, &stop) } else { places.open(&terms.out, &stop) };
    out.map_err(|error| failed(error, Code::CannotCreate))?;
    Ok(input)
}

/// Refuses an output whose batches are not of this queue: numbers would begin anew, over datasets that are there.
fn check_out(session: &Session, terms: &Terms, places: &Places) -> Outcome<()> {
    let storage_failed = |error: storage::StorageError| Failure {
        code: storage_code(&error, Code::CannotCreate),
        error: error.into(),
    };
    let out = places.open(&terms.out, &StopFlag::default()).map_err(storage_failed)?;
    // First the output, then the queue: another scanner may begin the series just now.
    let first = out.list("").map_err(storage_failed)?.next().transpose().map_err(storage_failed)?;
    let Some(first) = first else { return Ok(()) };
    let asked = session.runtime().block_on(session.queue().series(SeriesId::derive(&terms.out)));
    if asked.map_err(super::exit::queue_failure)?.is_some() {
        return Ok(());
    }
    let text = format!(
        "{}: it holds {}, and this queue has no scan of it: nothing is written into it; choose another --out, or the queue that \
         filled it",
        terms.out, first.key
    );
    Err(Failure::new(Code::CannotCreate, text))
}
