//! Pure decisions: the shutdown budget, when to checkpoint, backoff, what fits.
//!
//! Numbers in, numbers out: no state, no time of its own, no chance of its own. What is impossible is in
//! [`crate::policy::check`].

pub mod check;

pub use check::Impossible;
use serde::{Deserialize, Serialize};

/// Of the lease, this share is never written in (percent).
pub const WRITE_MARGIN_PERCENT: u64 = 20;
/// And never less than this.
pub const WRITE_MARGIN_MIN_MS: u64 = 2_000;
/// A SIGTERM or SIGHUP no later than this after the last signal that counted is a repetition of it.
pub const REPEAT_WINDOW_MS: u64 = 2_000;
/// A farewell without a job is given up after this: nothing is owned, only the receipt would be missing.
pub const FAREWELL_CAP_MS: u64 = 1_000;
/// What a last checkpoint and a release are given between the drain budget and the force deadline.
pub const RELEASE_RESERVE_MS: u64 = 3_000;
/// The exit comes no later than this before the kill that whoever stops the process has told of.
pub const EXIT_MARGIN_MS: u64 = 750;
/// The wait before a second try, before jitter.
pub const BACKOFF_FIRST_MS: u64 = 50;
/// The longest wait between two claims while the store is away.
pub const CLAIM_BACKOFF_CAP_MS: u64 = 5_000;
/// The longest wait between two tries of a commit or release: short, since a budget is running.
pub const COMMIT_BACKOFF_CAP_MS: u64 = 500;
/// How long a commit is taken to last before one was measured.
pub const COMMIT_GUESS_MS: u64 = 500;
/// The share of the poll interval that chance may take away (percent). It never adds: a released job waits at
/// most one poll interval.
pub const POLL_JITTER_PERCENT: u64 = 20;

const _: () = assert!(BACKOFF_FIRST_MS > 0 && BACKOFF_FIRST_MS < COMMIT_BACKOFF_CAP_MS);
const _: () = assert!(COMMIT_BACKOFF_CAP_MS <= CLAIM_BACKOFF_CAP_MS);
const _: () = assert!(COMMIT_BACKOFF_CAP_MS * 4 <= RELEASE_RESERVE_MS, "the reserve must hold several tries");
const _: () = assert!(COMMIT_BACKOFF_CAP_MS < FAREWELL_CAP_MS && FAREWELL_CAP_MS < RELEASE_RESERVE_MS);
const _: () = assert!(WRITE_MARGIN_PERCENT < 100 && POLL_JITTER_PERCENT < 100);

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

/// How long before the lease's end writing stops: 20 % of it, and never less than 2 s.
pub const fn write_margin_ms(lease_ms: u64) -> u64 {
    let share = lease_ms / 100 * WRITE_MARGIN_PERCENT + lease_ms % 100 * WRITE_MARGIN_PERCENT / 100;
    if share > WRITE_MARGIN_MIN_MS { share } else { WRITE_MARGIN_MIN_MS }
}

/// When writing must stop after a renewal that was *sent* at `sent_at_ms`: the store may have counted the lease
/// from that instant on, whenever its answer came. The same clock as `sent_at_ms`.
pub const fn write_until_ms(sent_at_ms: u64, lease_ms: u64) -> u64 {
    sent_at_ms.saturating_add(lease_ms.saturating_sub(write_margin_ms(lease_ms)))
}

/// How long to wait before try `attempt` + 1 (the first failed try is attempt 1): doubling from
/// [`BACKOFF_FIRST_MS`] up to `cap_ms`, of which chance takes up to a half. Never zero.
pub fn backoff_ms(attempt: u32, cap_ms: u64, dice: u32) -> u64 {
    let doublings = attempt.saturating_sub(1).min(32);
    let full = BACKOFF_FIRST_MS.saturating_mul(1 << doublings).min(cap_ms).max(2);
    full - scaled(full / 2, dice)
}

/// How long an empty queue is left alone this time: at most the interval, and at least 80 % of it.
pub fn poll_ms(interval_ms: u64, dice: u32) -> u64 {
    let jitter = interval_ms / 100 * POLL_JITTER_PERCENT;
    (interval_ms - scaled(jitter, dice)).max(1)
}

/// `dice` as a share of `whole`: 0 for 0, `whole` for the highest.
fn scaled(whole: u64, dice: u32) -> u64 {
    // 128 bits, so that no product overflows; the quotient is at most `whole`.
    let share = u128::from(whole) * u128::from(dice) / u128::from(u32::MAX);
    u64::try_from(share).unwrap_or(whole)
}

/// Whether a boundary is to be checkpointed, `frames` and `elapsed_ms` after the last checkpoint.
pub fn checkpoint_due(settings: &Settings, frames: u32, elapsed_ms: u64) -> bool {
    frames >= settings.checkpoint_interval_frames || elapsed_ms >= settings.checkpoint_interval_ms
}

/// A moving average that forgets: a quarter of it is the newest sample. Rounded up, so that it never flatters.
pub fn ewma_ms(old_ms: Option<u64>, sample_ms: u64) -> u64 {
    match old_ms {
        None => sample_ms,
        Some(old) => {
            let sum = u128::from(old) * 3 + u128::from(sample_ms);
            u64::try_from(sum.div_ceil(4)).unwrap_or(u64::MAX)
        }
    }
}

/// How long the rest of a job is predicted to take: `remaining` segments of `pace_ms` each, and its completion.
/// `None` where nothing was measured yet: then nothing is known to fit.
pub fn predicted_rest_ms(
    pace_ms: Option<u64>,
    remaining: Option<u32>,
    commit_ms: Option<u64>,
) -> Option<u64> {
    let segments = pace_ms?.checked_mul(u64::from(remaining?))?;
    segments.checked_add(commit_ms.unwrap_or(COMMIT_GUESS_MS))
}

/// Whether a predicted rest ends within the drain budget.
pub fn fits(settings: &Settings, rest_ms: Option<u64>) -> bool {
    fits_into(settings, rest_ms, settings.drain_budget_ms)
}

fn fits_into(settings: &Settings, rest_ms: Option<u64>, budget_ms: u64) -> bool {
    settings.finish_if_fits && rest_ms.is_some_and(|rest| rest <= budget_ms)
}

/// Until when, after the first stop signal at `asked_at_ms`, the job in hand may still be finished. `cut_at_ms`: when its
/// segment is cancelled at the latest.
pub fn finish_until_ms(settings: &Settings, asked_at_ms: u64, cut_at_ms: u64, rest_ms: Option<u64>) -> u64 {
    let budget_ms = cut_at_ms.saturating_sub(asked_at_ms);
    let granted = if fits_into(settings, rest_ms, budget_ms) {
        budget_ms
    } else {
        settings.shutdown_timeout_ms.min(budget_ms)
    };
    asked_at_ms.saturating_add(granted)
}

/// Whether a SIGTERM or SIGHUP at `now_ms` only repeats the signal that last counted.
pub fn is_repetition(last_counted_ms: Option<u64>, now_ms: u64) -> bool {
    last_counted_ms.is_some_and(|last| now_ms.saturating_sub(last) <= REPEAT_WINDOW_MS)
}

#[cfg(test)]
mod tests;
