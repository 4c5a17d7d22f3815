//! `roboflow bench`: measures, and shows what came out as a table or as JSON.

mod convert;

use super::exit::{Code, Failure, OrExit, Outcome};
use super::output;
use super::store::StoreArgs;
use crate::bench::BenchError;
use crate::bench::counting::Calls;
use crate::bench::queue::{self, CLAIMERS_MAX, JOBS_MAX, Plan, Report};
use crate::queue::QueueSettings;
use crate::store::{Durability, StorePlace};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};
use tokio::runtime::Builder;
use uuid::Uuid;

const AFTER_HELP: &str = "\
Examples:
  roboflow bench convert
  roboflow bench convert --seconds 60 --cameras 4 --folder /mnt/fast
  roboflow bench queue
  roboflow bench queue --store sqlite:/mnt/fast/bench.db --store-sync full
  roboflow bench queue --pd pd-0:2379 --claimers 1,8,32,64 --jobs 5000 --json";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How fast recordings are converted here, beside what reading, decoding and writing do alone
    Convert(convert::ConvertArgs),
    /// Claims and completions a second, how long a claim takes, and what it costs in calls to the store
    Queue(QueueArgs),
}

/// Works under a key prefix of its own, '--key-prefix' with '-bench' behind it, and removes what it made.
#[derive(Debug, Args)]
struct QueueArgs {
    /// How many claim at once: a measurement each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CLAIMERS_MAX)))]
    claimers: Vec<u32>,
    /// Jobs of each measurement
    #[arg(long, value_name = "N", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(JOBS_MAX)))]
    jobs: u32,
    /// Remove what a bench that was cut off left under the prefix
    #[arg(long)]
    remove_leftovers: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How hard the commits of a queue in a file are made durable: normal or full [default: normal]
    #[arg(long, value_name = "normal|full", value_parser = super::args::parse_sync)]
    store_sync: Option<Durability>,
    /// [default: a file in the folder for temporary files, removed afterwards]
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &BenchArgs) -> Outcome {
    match &args.what {
        What::Convert(args) => convert::run(args),
        What::Queue(args) => bench_queue(args),
    }
}

fn bench_queue(args: &QueueArgs) -> Outcome {
    let settings = args.store.queue_settings(QueueSettings::default())?;
    let named = args.store.place(args.store_sync)?;
    let temporary = named.is_none().then(|| Temporary::create(None)).transpose()?;
    let place = match (named, &temporary) {
        (Some(place), _) => place,
        (None, Some(folder)) => folder.place(args.store_sync),
        (None, None) => return Err(Failure::new(Code::Fault, "no store to measure")),
    };
    let plan =
        Plan { claimers: args.claimers.clone(), jobs: args.jobs, remove_leftovers: args.remove_leftovers };
    let runtime = Builder::new_multi_thread().enable_all().build().or_exit(Code::Fault)?;
    let report = runtime.block_on(queue::run(&place, settings, &plan)).map_err(failure)?;
    drop(runtime);
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&table(&report))?;
    }
    Ok(Code::Ok)
}

fn failure(error: BenchError) -> Failure {
    let code = match error {
        BenchError::Occupied { .. } | BenchError::Leftovers { .. } => Code::CannotCreate,
        BenchError::Store(_) | BenchError::Queue(_) | BenchError::Storage(_) => Code::Io,
        BenchError::Task(_) | BenchError::Work(_) | BenchError::Made(_) => Code::Fault,
    };
    Failure { code, error: error.into() }
}

/// A folder that is gone when this is.
struct Temporary(PathBuf);

impl Temporary {
    /// In this folder, or in the one for temporary files.
    fn create(folder: Option<&Path>) -> Outcome<Self> {
        let folder = folder.map_or_else(env::temp_dir, Path::to_path_buf);
        let path = folder.join(format!("roboflow-bench-{}", Uuid::new_v4()));
        fs::create_dir(&path).map_err(|error| {
            Failure::new(Code::CannotCreate, format!("{}: {error}; name another place", path.display()))
        })?;
        Ok(Self(path))
    }

    fn place(&self, sync: Option<Durability>) -> StorePlace {
        let Self(path) = self;
        StorePlace::Sqlite { path: path.join("queue.db"), durability: sync.unwrap_or_default() }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(self.path()) {
            tracing::warn!(folder = %self.path().display(), %error, "a temporary folder is left behind");
        }
    }
}

/// The report for people.
fn table(report: &Report) -> String {
    let mut text = format!(
        "{}: {} jobs a measurement\n\n\
         claimers  claims/s   p50 ms   p99 ms  x plain    calls  conflicts   pairs/s   p50 ms   p99 ms  x plain   plain/s\n",
        report.store, report.jobs
    );
    for level in &report.levels {
        let (claims, pairs) = (&level.claims, &level.pairs);
        writeln!(
            text,
            "{:>8}  {:>8.0}  {:>7.2}  {:>7.2}  {:>7.2}  {:>7.2}  {:>9.3}  {:>8.0}  {:>7.2}  {:>7.2}  {:>7.2}  {:>8.0}",
            level.claimers,
            claims.per_second,
            claims.p50_ms,
            claims.p99_ms,
            level.claims_to_plain,
            level.calls_per_claim.waits(),
            level.conflicts_per_claim,
            pairs.per_second,
            pairs.p50_ms,
            pairs.p99_ms,
            level.pairs_to_plain,
            level.plain.per_second,
        )
        .ok();
    }
    write!(
        text,
        "\na claim with nobody in its way: {}\na look at an empty queue:        {}\n\n\
         The times are those of one claim; 'pairs' are a claim and its completion each. 'x plain' counts transactions for \
         each\nplain transaction of a claim's size by as many at once; 'calls' and 'conflicts' are those of one claim.\n",
        calls(&report.claim_alone),
        calls(&report.claim_of_nothing),
    )
    .ok();
    text
}

fn calls(calls: &Calls) -> String {
    let Calls { begins, gets, scans, commits, puts, deletes, put_bytes } = calls;
    format!(
        "{begins:.2} begins, {gets:.2} gets, {scans:.2} scans, {commits:.2} commits ({puts:.2} keys set with \
         {put_bytes:.0} bytes, {deletes:.2} removed)"
    )
}
