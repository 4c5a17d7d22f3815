//! Options that several commands share, as they are typed.

use super::duration::Millis;
use super::exit::{Code, Failure, Outcome};
use crate::config::ConfigError;
use crate::grace::GraceSettings;
use crate::pod::SERVICE_ACCOUNT;
use crate::store::Durability;
use crate::telemetry::{self, LogFormat};
use clap::Args;
use indicatif::MultiProgress;
use roboflow_fsm::Settings;
use std::path::PathBuf;
use std::time::Duration;

/// Logging, for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines look: text or json
    #[arg(long, global = true, env = "LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter as in warn,roboflow::worker=debug
    /// [default: info, or warn while progress bars are shown]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl LogArgs {
    /// Starts logging around these bars. `default_level` holds unless another was typed.
    ///
    /// # Errors
    /// When the level cannot be understood: exit 78.
    pub fn start(&self, default_level: &str, bars: MultiProgress) -> Outcome<()> {
        let level = self.log_level.as_deref().unwrap_or(default_level);
        telemetry::init(self.log_format, level, bars).map_err(|text| Failure::new(Code::Config, text))
    }

    /// Starts logging for a command without progress bars: warnings only, unless asked for more.
    ///
    /// # Errors
    /// When the level cannot be understood: exit 78.
    pub fn start_plain(&self) -> Outcome<()> {
        self.start("warn", MultiProgress::new())
    }
}

/// How a worker stops.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stopping")]
pub struct StopArgs {
    /// After SIGTERM, SIGINT or SIGHUP, keep finishing the job in hand this long, whatever its length. After that the
    /// current segment runs to its boundary, is checkpointed, and the job is handed back
    #[arg(long, default_value = "0s", value_name = "DURATION", env = "WORKER_SHUTDOWN_TIMEOUT")]
    pub shutdown_timeout: Millis,
    /// After this long the segment in flight is cancelled, and the job handed back with its last checkpoint
    #[arg(long, default_value = "25s", value_name = "DURATION", env = "WORKER_DRAIN_BUDGET")]
    pub drain_budget: Millis,
    /// After this long the process exits with code 75 whatever it holds; the lease then frees the job
    #[arg(long, default_value = "30s", value_name = "DURATION", env = "WORKER_FORCE_AFTER")]
    pub force_after: Millis,
    /// Finish a job instead of handing it back when its predicted rest fits into the drain budget
    /// [default: true in 'worker'; false in 'run', where ^C wants the prompt back]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub finish_if_fits: Option<bool>,
}

/// How long a stop may take, as whoever stops the process sees it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stopping")]
pub struct GraceArgs {
    /// From the request to stop until the kill: in a pod, terminationGracePeriodSeconds. A pod that may get itself asks for its
    /// real deletion instead, and uses this where there is no answer
    #[arg(long, value_name = "DURATION", env = "WORKER_GRACE")]
    pub grace: Option<Millis>,
    /// What a preStop hook takes of the grace
    #[arg(long, default_value = "0s", value_name = "DURATION", env = "WORKER_PRE_STOP")]
    pub pre_stop: Millis,
    /// The notice that the node gets before it is taken away, as spot machines are: no more time is taken to be left
    #[arg(long, value_name = "DURATION", env = "WORKER_NODE_NOTICE")]
    pub node_notice: Option<Millis>,
    /// The folder of the service account with which the own pod is asked for
    #[arg(long, value_name = "DIR", default_value = SERVICE_ACCOUNT, env = "ROBOFLOW_SERVICE_ACCOUNT", hide_short_help = true)]
    pub service_account: PathBuf,
}

impl GraceArgs {
    /// What is configured, as it was typed.
    pub fn typed(&self) -> GraceSettings {
        let time = |typed: Millis| Duration::from_millis(typed.0);
        GraceSettings {
            grace: self.grace.map(time),
            pre_stop: time(self.pre_stop),
            node_notice: self.node_notice.map(time),
        }
    }

    /// What is configured, checked.
    ///
    /// # Errors
    /// With the arithmetic, where the grace cannot hold the force deadline.
    pub fn settings(&self, machine: &Settings) -> Result<GraceSettings, ConfigError> {
        let settings = self.typed();
        settings.check(machine).map(|()| settings)
    }
}

/// When a job is given up: for every process that takes expired leases back, and the same in all of them.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitArgs {
    /// Bury a job after this many failed attempts or crashes; interruptions never count. Workers and scanners of one queue
    /// should be told the same
    #[arg(
        long,
        default_value_t = 3,
        value_name = "N",
        env = "WORKER_MAX_ATTEMPTS",
        help_heading = "Advanced"
    )]
    pub max_attempts: u32,
}

/// Leases, checkpoints and polling.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Advanced")]
pub struct TuneArgs {
    /// Threads that decode and encode, for all jobs of the process together; the dataset's bytes do not depend on it
    /// [default: a core each]
    #[arg(long, value_name = "N", env = "WORKER_THREADS")]
    pub threads: Option<usize>,
    /// Look at an empty queue this often [default: 5s in 'worker', 25ms in 'run']
    #[arg(long, value_name = "DURATION", env = "WORKER_POLL_INTERVAL_SECS")]
    pub poll_interval: Option<Millis>,
    /// Checkpoint at the first segment boundary after this many frames
    #[arg(long, default_value_t = 100, value_name = "N", env = "WORKER_CHECKPOINT_INTERVAL_FRAMES")]
    pub checkpoint_interval_frames: u32,
    /// Checkpoint at the first segment boundary after this long
    #[arg(long, default_value = "10s", value_name = "DURATION", env = "WORKER_CHECKPOINT_INTERVAL_SECS")]
    pub checkpoint_interval_secs: Millis,
    /// When a job is given up.
    #[command(flatten)]
    pub limit: LimitArgs,
    /// How long a worker that says nothing keeps its jobs
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    pub lease: Millis,
    /// How often the lease is renewed
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    pub renew_interval: Millis,
    /// How hard the commits of a queue in a file are made durable: normal survives any kill of the process, full a power
    /// cut too [default: normal]
    #[arg(long, value_name = "normal|full", value_parser = parse_sync)]
    pub store_sync: Option<Durability>,
    /// Write every step of the state machine to this file, as lines of JSON
    #[arg(long, value_name = "FILE")]
    pub transition_log: Option<PathBuf>,
    /// The name under which this worker appears in the queue [default: the host's name]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub name: Option<String>,
}

pub(super) fn parse_sync(text: &str) -> Result<Durability, String> {
    match text {
        "normal" => Ok(Durability::Normal),
        "full" => Ok(Durability::Full),
        _ => Err(format!("{text:?} is neither normal nor full")),
    }
}
