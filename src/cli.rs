//! The command line: what was typed, and one file a command that carries it out.
//!
//! Architecture Invariant: this is the one place where errors are texts (anyhow) and where stdout is written. What was
//! typed is checked and built into settings by [`crate::config`].

pub mod args;
pub mod duration;
pub mod exit;
pub mod http;
pub mod output;
pub mod storage;
pub mod store;

mod batch;
mod bench;
mod config;
pub(crate) mod dataset;
mod diagram;
mod doctor;
mod drain;
mod file;
mod health;
mod inspect;
mod jobs;
#[cfg(test)]
mod knobs;
mod location;
mod manual;
pub(crate) mod mapping;
mod open;
mod receipts;
mod reconcile;
mod run;
mod scanner;
mod submit;
mod top;
mod validate;
mod wait;
mod worker;

use crate::signal::{LeaveCode, Stream};
use clap::{Command as Definition, CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{Code, Failure, OrExit, Outcome};
use file::File;
pub(crate) use inspect::work_failure;
use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "Converts robot recordings (MCAP, ROS 1 bag) into LeRobot v3.0 datasets";

/// The version, and the commit that a release was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ROBOFLOW_COMMIT"), ")");

const AFTER_HELP: &str = "\
Examples:
  roboflow run demo.mcap --out pick-cube
  roboflow run recordings/ --out set --mapping robot.toml
  roboflow inspect demo.mcap --suggest > robot.toml
  roboflow validate set

Exit codes:
   0  done, or stopped with nothing left behind
   1  looked, and found something wrong; 'health' and 'drain --wait': the answer is no
   2  wrong usage
  65  bad data: a recording, a dataset
  66  no such input
  70  a fault in this program
  73  an output that cannot be written, or is not ours
  74  a store or storage that does not answer
  75  a job was left to its lease: another worker takes it up
  78  settings that cannot be right

Results go to stdout, logs and progress to stderr. 'roboflow COMMAND --help' tells of a command.";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "roboflow", version = VERSION, about = ABOUT, after_help = AFTER_HELP, propagate_version = true)]
#[command(arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    log: args::LogArgs,
    /// Take options from this file (TOML) that neither a flag nor the environment gives: see 'roboflow config --help'
    #[arg(long = "config", global = true, value_name = "FILE", env = file::ENV, help_heading = "Settings")]
    _config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert recordings into a dataset on this machine; the same command again goes on where it stopped
    Run(Box<run::RunArgs>),
    /// Work on the jobs of an existing queue until asked to stop
    Worker(Box<worker::WorkerArgs>),
    /// Submit recordings to a fleet as a batch
    Submit(Box<submit::SubmitArgs>),
    /// Look for new recordings and keep house, until asked to stop
    Scanner(Box<scanner::ScannerArgs>),
    /// Ask a worker or scanner how it is, for exec probes
    Health(health::HealthArgs),
    /// Ask a worker or scanner to stop
    Drain(drain::DrainArgs),
    /// Look at the batches of a queue, or cancel one
    Batch(batch::BatchArgs),
    /// Show what a recording holds, or the mapping that would be inferred from it
    Inspect(inspect::InspectArgs),
    /// Check a dataset against the rules of LeRobot v3.0
    Validate(validate::ValidateArgs),
    /// Look at the jobs of a queue, retry or cancel them
    Jobs(jobs::JobsArgs),
    /// Check that what a worker needs is there: store, clock, places, credentials, grace, disk, limits
    Doctor(Box<doctor::DoctorArgs>),
    /// Watch workers, queue and rates
    Top(top::TopArgs),
    /// Look at how workers stopped, and what became of their jobs
    Receipts(receipts::ReceiptsArgs),
    /// Check that every claim is accounted for, over the whole queue
    Reconcile(reconcile::ReconcileArgs),
    /// Measure what this program does here
    Bench(bench::BenchArgs),
    /// Draw the worker's state machine
    Diagram(diagram::DiagramArgs),
    /// Show what is in force, and where each setting came from
    Config(config::ConfigArgs),
    /// Print a shell's completions
    Completions(manual::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(manual::ManArgs),
}

/// What can be typed: every command with its options, their environment names and what parses their values. For whatever has to
/// agree with it, as documentation and the manifests under `deploy` do.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, carries it out, and gives the exit code. `handlers` is what installing ctrlc's gave.
pub fn main(handlers: Result<(), ctrlc::Error>) -> ExitCode {
    let whole = || {
        handlers.or_exit(Code::Fault)?;
        let signals = Stream::listen(&crate::signal::BELL).or_exit(Code::Fault)?;
        let typed = Typed::read(std::env::args_os().collect(), std::env::var_os(file::ENV))?;
        dispatch(typed, &signals)
    };
    // A panic was shown by its hook already; here it only gets the exit code of a fault.
    let outcome = catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(|_| {
        Err(Failure::new(Code::Fault, "a fault in this program (shown above): please report it"))
    });
    match outcome {
        Ok(code) => code.into(),
        Err(Failure { code, error }) => {
            output::error(&error);
            code.into()
        }
    }
}

/// What was typed, and what it was read with.
struct Typed {
    cli: Cli,
    definition: Definition,
    file: Option<File>,
}

impl Typed {
    /// Reads the words. What clap itself says of them (help, a version, wrong usage) ends the process.
    fn read(words: Vec<OsString>, file: Option<OsString>) -> Outcome<Self> {
        let file = file::named(&words, file).map(|path| File::read(&path)).transpose()?;
        let definition = match &file {
            Some(file) => file.as_defaults_of(command())?,
            None => command(),
        };
        let matches = definition.clone().try_get_matches_from(words);
        let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
        let cli = cli.unwrap_or_else(|error| error.format(&mut definition.clone()).exit());
        Ok(Self { cli, definition, file })
    }
}

fn dispatch(Typed { cli, definition, file }: Typed, signals: &Stream) -> Outcome {
    if !matches!(cli.command, Command::Run(_) | Command::Worker(_) | Command::Scanner(_)) {
        signals.leave_at_once(LeaveCode::Signalled);
    }
    match cli.command {
        Command::Run(args) => run::run(*args, &cli.log, signals),
        Command::Worker(args) => worker::run(*args, &cli.log, signals),
        Command::Submit(args) => submit::run(&args, &cli.log, signals),
        Command::Scanner(args) => scanner::run(*args, &cli.log, signals),
        Command::Health(args) => health::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Batch(args) => cli.log.start_plain().and_then(|()| batch::run(&args)),
        Command::Inspect(args) => cli.log.start_plain().and_then(|()| inspect::run(&args)),
        Command::Validate(args) => cli.log.start_plain().and_then(|()| validate::run(&args)),
        Command::Jobs(args) => cli.log.start_plain().and_then(|()| jobs::run(&args)),
        Command::Doctor(args) => cli.log.start_plain().and_then(|()| doctor::run(&args)),
        Command::Top(args) => cli.log.start_plain().and_then(|()| top::run(&args, signals)),
        Command::Receipts(args) => cli.log.start_plain().and_then(|()| receipts::run(&args)),
        Command::Reconcile(args) => cli.log.start_plain().and_then(|()| reconcile::run(&args)),
        Command::Bench(args) => cli.log.start_plain().and_then(|()| bench::run(&args)),
        Command::Diagram(args) => diagram::run(&args),
        Command::Config(args) => config::run(&args, &definition, file.as_ref()),
        Command::Completions(args) => manual::completions(&args, command()),
        Command::Man(args) => manual::man(&args, command()),
    }
}

/// Whether writing failed since the reader went away (`roboflow … | head`), which is no error.
fn reader_is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }
}
