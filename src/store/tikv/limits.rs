//! How long things are waited for, and what the client is told of it.

use std::time::Duration;
use tikv_client::transaction::HeartbeatOption;
use tikv_client::{Backoff, CheckLevel, RetryOptions, TransactionOptions};

/// The pause before a failed call is tried again; it doubles up to the longest.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A call is tried for so many times the limit of one request: with the default of 2 s it outlasts the lock of a writer that
/// died (3 s), and stays within what a worker gives an operation (5 s).
pub(super) const CALL_REQUESTS: u32 = 2;
/// How long a test connection may take, when connecting has failed and a person is to be told why.
pub(super) const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// How long the keys of a commit are given to be unlocked behind its answer, when the process ends: as long as the commit
/// itself took, within these bounds.
pub(super) const UNLOCK_MIN: Duration = Duration::from_millis(2);
pub(super) const UNLOCK_MAX: Duration = Duration::from_millis(20);
/// The largest answer that is taken, in bytes: a sure page of a scan with the largest keys and values.
pub(super) const ANSWER_MAX_BYTES: usize = super::pages::SURE_PAGE * (super::pages::PAIR_MAX_BYTES + 64);

/// How long, in all, a commit waits for the lock of another transaction. Mostly that one is just committing; a longer wait
/// is better spent by the next try, which begins with reading, and not while holding locks itself.
const COMMIT_LOCK_WAIT: Duration = Duration::from_millis(250);
/// The pauses of the client while it waits for a lock, in milliseconds; they double from the first to the longest.
const LOCK_PAUSE_MS: u64 = 2;
const LOCK_PAUSE_MAX_MS: u64 = 400;
/// The most of them: after 62 doublings the client's pauses would be none at all.
const LOCK_PAUSES_MAX: usize = 50;
/// The client's repetitions within one request, when a region has moved.
const REGION_BACKOFF: Backoff = Backoff::no_jitter_backoff(2, 500, 10);

/// Reads wait for the lock of a transaction that is committing, but come back in time to be told apart from silence.
pub(super) fn read_options(request_timeout: Duration) -> TransactionOptions {
    options().retry_options(RetryOptions {
        region_backoff: REGION_BACKOFF,
        lock_backoff: lock_backoff(request_timeout * 3 / 4),
    })
}

/// Commits wait for locks only shortly.
pub(super) fn commit_options() -> TransactionOptions {
    options().retry_options(RetryOptions {
        region_backoff: REGION_BACKOFF,
        lock_backoff: lock_backoff(COMMIT_LOCK_WAIT),
    })
}

/// Dropping a transaction is an ordinary thing here, and nothing to warn of. A commit is over, or given up, long before the
/// first heartbeat of its locks would be due (10 s): without heartbeats no task outlives it.
fn options() -> TransactionOptions {
    TransactionOptions::new_optimistic()
        .drop_check(CheckLevel::None)
        .heartbeat_option(HeartbeatOption::NoHeartbeat)
}

/// Pauses that sum up to no more than this.
fn lock_backoff(wait: Duration) -> Backoff {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let pauses = std::iter::successors(Some(LOCK_PAUSE_MS), |pause| Some((pause * 2).min(LOCK_PAUSE_MAX_MS)));
    let mut waited_ms = 0;
    let fitting = pauses.take(LOCK_PAUSES_MAX).take_while(|pause| {
        waited_ms += pause;
        waited_ms <= wait_ms
    });
    Backoff::no_jitter_backoff(LOCK_PAUSE_MS, LOCK_PAUSE_MAX_MS, u32::try_from(fitting.count()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_pauses_stay_within_what_is_waited() {
        for wait_ms in [0, 1, 250, 1_500, 60_000] {
            let mut backoff = lock_backoff(Duration::from_millis(wait_ms));
            let pauses: Vec<_> = std::iter::from_fn(|| backoff.next_delay_duration()).collect();
            let sum: Duration = pauses.iter().sum();
            assert!(sum <= Duration::from_millis(wait_ms), "{sum:?} of {wait_ms} ms");
            let least_ms = wait_ms.min(17_000).saturating_sub(LOCK_PAUSE_MAX_MS);
            assert!(wait_ms < 1_000 || sum > Duration::from_millis(least_ms), "{sum:?} of {wait_ms} ms");
            assert!(pauses.iter().all(|pause| !pause.is_zero()), "{pauses:?}");
        }
    }
}
