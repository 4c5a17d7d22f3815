//! Settings, checked and built from what was typed. What comes out of here can be run with.
//!
//! Architecture Invariant: nothing is opened here. A setting that cannot be right is refused before anything is.

use crate::cli::args::{LimitArgs, StopArgs, TuneArgs};
use crate::convert::crew::{Crew, THREADS_MAX};
use crate::error::{Class, Classified};
use crate::queue::{LEASE_MIN_MS, QueueSettings, RECEIPT_AGE_MIN_MS};
use crate::scanner::leader::LeaderSettings;
use roboflow_fsm::Settings;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Machines of one process at most.
pub const MAX_MACHINES: u32 = 256;
/// Frames of a segment at most: a segment is held in memory.
pub const MAX_SEGMENT_FRAMES: u32 = 10_000;
/// The shortest time between two rounds of a scanner.
pub const SCAN_INTERVAL_MIN_MS: u64 = 100;
/// The shortest time in which a recording settles, where it has to: stamps of files are no finer.
pub const SETTLE_MIN_MS: u64 = 10;
/// How often `run` looks at its own queue: claims of a few rows on the local disk.
pub const RUN_POLL_INTERVAL_MS: u64 = 25;

/// What one process's worker is set to.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// What each machine is set to.
    pub settings: Settings,
    /// Machines: jobs at once.
    pub machines: u32,
    /// Threads that decode and encode, for all machines together.
    pub threads: NonZeroUsize,
    /// Failed attempts and crashes after which a job is dead.
    pub max_attempts: u32,
    /// The name in the queue. A label: identity is the incarnation.
    pub label: String,
    /// Where the steps are written, if anywhere.
    pub transition_log: Option<PathBuf>,
}

/// A setting that cannot be right. The text says which, with the arithmetic.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Classified for ConfigError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

impl ConfigError {
    /// From a sentence that names the setting and what would be valid.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a command's defaults are, where commands differ.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// See `--finish-if-fits`.
    pub finish_if_fits: bool,
    /// See `--poll-interval`.
    pub poll_interval_ms: u64,
}

impl Defaults {
    /// Of `worker`: whoever stops it can wait for its budget.
    pub fn worker() -> Self {
        let settings = Settings::default();
        Self { finish_if_fits: settings.finish_if_fits, poll_interval_ms: settings.poll_interval_ms }
    }

    /// Of `run`: a person waits for the prompt, and the queue is a file beside.
    pub fn run() -> Self {
        Self { finish_if_fits: false, poll_interval_ms: RUN_POLL_INTERVAL_MS }
    }
}

impl WorkerConfig {
    /// Checks and builds.
    ///
    /// # Errors
    /// With the arithmetic, when the numbers cannot work together.
    pub fn build(
        machines: u32,
        stop: &StopArgs,
        tune: &TuneArgs,
        defaults: Defaults,
    ) -> Result<Self, ConfigError> {
        let settings = Settings {
            poll_interval_ms: tune.poll_interval.map_or(defaults.poll_interval_ms, |typed| typed.0),
            shutdown_timeout_ms: stop.shutdown_timeout.0,
            drain_budget_ms: stop.drain_budget.0,
            force_after_ms: stop.force_after.0,
            finish_if_fits: stop.finish_if_fits.unwrap_or(defaults.finish_if_fits),
            checkpoint_interval_frames: tune.checkpoint_interval_frames,
            checkpoint_interval_ms: tune.checkpoint_interval_secs.0,
            lease_ms: tune.lease.0,
            renew_interval_ms: tune.renew_interval.0,
        };
        settings.check().map_err(|error| ConfigError(error.to_string()))?;
        if machines == 0 || machines > MAX_MACHINES {
            return Err(ConfigError(format!(
                "--workers {machines}: it must be between 1 and {MAX_MACHINES}"
            )));
        }
        Ok(Self {
            settings,
            machines,
            threads: threads(tune.threads)?,
            max_attempts: max_attempts(tune.limit)?,
            label: tune.name.clone().unwrap_or_else(host_name),
            transition_log: tune.transition_log.clone(),
        })
    }
}

impl WorkerConfig {
    /// What the queue is set to accordingly. Failures and crashes have the same limit.
    pub fn queue_settings(&self) -> QueueSettings {
        QueueSettings { lease_ms: self.settings.lease_ms, ..limited(self.max_attempts) }
    }
}

/// Checks how many threads decode and encode; a core each unless another number was typed.
///
/// # Errors
/// When there are none, or too many.
pub fn threads(typed: Option<usize>) -> Result<NonZeroUsize, ConfigError> {
    let Some(typed) = typed else { return Ok(Crew::default_threads()) };
    NonZeroUsize::new(typed)
        .filter(|threads| threads.get() <= THREADS_MAX)
        .ok_or_else(|| ConfigError(format!("--threads {typed}: it must be between 1 and {THREADS_MAX}")))
}

/// Checks how often a job is tried.
///
/// # Errors
/// When it is never.
pub fn max_attempts(limit: LimitArgs) -> Result<u32, ConfigError> {
    match limit.max_attempts {
        0 => Err(ConfigError("--max-attempts 0: a job needs at least one attempt".to_owned())),
        attempts => Ok(attempts),
    }
}

/// A queue whose jobs are given up after so many failures, or crashes.
pub fn limited(max_attempts: u32) -> QueueSettings {
    QueueSettings { max_attempts, max_crashes: max_attempts, ..QueueSettings::default() }
}

/// What a scanner is set to.
#[derive(Debug, Clone)]
pub struct ScannerConfig {
    /// Between the beginnings of two rounds.
    pub interval: Duration,
    /// How long receipts are kept.
    pub keep_receipts: Duration,
    /// How it leads.
    pub leader: LeaderSettings,
}

impl ScannerConfig {
    /// Checks and builds. All in milliseconds.
    ///
    /// # Errors
    /// With the arithmetic, when the numbers cannot work together.
    pub fn build(
        interval_ms: u64,
        settle_ms: u64,
        lease_ms: u64,
        renew_ms: u64,
        keep_receipts_ms: u64,
        name: Option<String>,
    ) -> Result<Self, ConfigError> {
        let refused = |text: String| Err(ConfigError(text));
        if interval_ms < SCAN_INTERVAL_MIN_MS {
            return refused(format!("--interval {interval_ms} ms: at least {SCAN_INTERVAL_MIN_MS} ms"));
        }
        if settle_ms > 0 && settle_ms < SETTLE_MIN_MS {
            let text = format!(
                "--settle {settle_ms} ms: 0 for recordings that appear whole, or at least {SETTLE_MIN_MS} ms"
            );
            return refused(text);
        }
        if renew_ms == 0 || lease_ms < LEASE_MIN_MS || renew_ms.saturating_mul(3) > lease_ms {
            return refused(format!(
                "--lease {lease_ms} ms holds no 3 renewals of --renew-interval {renew_ms} ms: 3 x {renew_ms} ms > {lease_ms} ms, \
                 or one of them is too small"
            ));
        }
        if keep_receipts_ms < RECEIPT_AGE_MIN_MS {
            return refused(format!(
                "--keep-receipts {keep_receipts_ms} ms: at least {RECEIPT_AGE_MIN_MS} ms"
            ));
        }
        let duration = Duration::from_millis;
        Ok(Self {
            interval: duration(interval_ms),
            keep_receipts: duration(keep_receipts_ms),
            leader: LeaderSettings {
                lease: duration(lease_ms),
                renew_interval: duration(renew_ms),
                label: name.unwrap_or_else(host_name),
            },
        })
    }
}

/// Checks the frames of a segment.
///
/// # Errors
/// When there are none, or more than are held in memory.
pub fn segment_frames(frames: u32) -> Result<u32, ConfigError> {
    if frames == 0 || frames > MAX_SEGMENT_FRAMES {
        return Err(ConfigError(format!(
            "--segment-frames {frames}: it must be between 1 and {MAX_SEGMENT_FRAMES}"
        )));
    }
    Ok(frames)
}

/// This host's name, for people.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_crashes_have_one_limit_and_it_is_not_none() {
        let settings = limited(max_attempts(LimitArgs { max_attempts: 7 }).unwrap());
        assert_eq!((settings.max_attempts, settings.max_crashes), (7, 7));
        assert!(
            max_attempts(LimitArgs { max_attempts: 0 }).unwrap_err().to_string().contains("--max-attempts")
        );
    }
}
