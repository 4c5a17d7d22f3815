//! Pure decisions: the shutdown budget, when to checkpoint, backoff, what fits.
//!
//! Numbers in, numbers out: no state, no time of its own, no chance of its own.

use serde::{Deserialize, Serialize};

/// What the machine is set to. All times in milliseconds. Built by the configuration, checked by
/// [`Settings::check`] before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// How long an empty queue is left alone.
    pub poll_interval_ms: u64,
    /// How long after SIGTERM the job may still be finished whatever its length.
    pub shutdown_timeout_ms: u64,
    /// After this the segment in flight is cancelled.
    pub drain_budget_ms: u64,
    /// After this the process exits, whatever it holds.
    pub force_after_ms: u64,
    /// Whether a job whose predicted rest fits into the drain budget is finished instead of released.
    pub finish_if_fits: bool,
    /// Checkpoint at the first boundary after this many frames since the last.
    pub checkpoint_interval_frames: u32,
    /// Checkpoint at the first boundary after this long since the last.
    pub checkpoint_interval_ms: u64,
    /// The lease's length, as the store counts it.
    pub lease_ms: u64,
    /// How often it is renewed.
    pub renew_interval_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll_interval_ms: 5_000,
            shutdown_timeout_ms: 0,
            drain_budget_ms: 25_000,
            force_after_ms: 30_000,
            finish_if_fits: true,
            checkpoint_interval_frames: 100,
            checkpoint_interval_ms: 10_000,
            lease_ms: 10_000,
            renew_interval_ms: 3_000,
        }
    }
}
