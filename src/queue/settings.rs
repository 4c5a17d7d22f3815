//! What the queue is set to, its bounds, and the counters of what it met.
//!
//! It reads no configuration: the caller gives the values.

use super::error::QueueError;
use crate::fsm::policy::backoff_ms;
use crate::store::StoreTime;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The longest prefix of the keys.
pub const PREFIX_MAX_BYTES: usize = 128;
/// The shortest lease: a commit and a renewal must fit well inside.
pub const LEASE_MIN_MS: u64 = 200;
/// How often a transaction is tried against conflicts before the queue counts as too busy.
pub(super) const TRIES_MAX: u32 = 24;
/// The longest pause between two tries.
pub(super) const PAUSE_MAX_MS: u64 = 64;
/// Candidates that a claim looks at in one scan.
pub(super) const CLAIM_PAGE: usize = 16;
/// Records in one page of any other scan.
pub(super) const PAGE: usize = 512;
/// Records that a list reads at once at least, however few are asked for: a filter may pass most of them over.
pub(super) const LIST_MIN: usize = 64;
/// Recordings that one transaction enqueues, with five keys each. On the dev cluster 32 take 40 to 65 ms, 64 take 220 to 430 ms,
/// and 128 do not come through: its store takes no greater entry.
pub(super) const SUBMIT_PAGE: usize = 32;
/// Doublings that a job's first wait is ahead of the machine's first: what failed a whole attempt passes more slowly
/// than what failed one request.
pub(super) const BACKOFF_SKIPS: u32 = 5;
/// The longest wait after a failure, before jitter.
pub(super) const BACKOFF_MAX_MS: u64 = 300_000;

const _: () = assert!(PREFIX_MAX_BYTES + 64 < crate::store::MAX_KEY_BYTES, "every key fits");
const _: () = assert!(LIST_MIN <= PAGE);
const _: () = assert!(PAGE <= crate::store::MAX_SCAN_PAIRS);

/// What a queue is set to. All its users should agree on it; only `prefix` must be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// All keys stand under it.
    pub prefix: String,
    /// In how many shards the ready index is written. Readers find any.
    pub shards: u8,
    /// The lease's length.
    pub lease_ms: u64,
    /// So many failures of its own make a job dead.
    pub max_attempts: u32,
    /// So many workers lost while holding it make a job dead.
    pub max_crashes: u32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { prefix: "roboflow".to_owned(), shards: 16, lease_ms: 10_000, max_attempts: 3, max_crashes: 3 }
    }
}

impl QueueSettings {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), QueueError> {
        let printable = self.prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if self.prefix.is_empty() || self.prefix.len() > PREFIX_MAX_BYTES || !printable {
            return Err(QueueError::refused(format!(
                "the key prefix {:?} must be 1 to {PREFIX_MAX_BYTES} printable ASCII characters without spaces",
                self.prefix
            )));
        }
        if self.shards == 0 || self.max_attempts == 0 || self.max_crashes == 0 {
            return Err(QueueError::refused("shards, attempts and crashes must each be at least 1"));
        }
        if self.lease_ms < LEASE_MIN_MS {
            return Err(QueueError::refused(format!(
                "a lease of {} ms is shorter than {LEASE_MIN_MS} ms",
                self.lease_ms
            )));
        }
        Ok(())
    }

    /// When a lease that is renewed now ends.
    pub(super) fn lease_end(&self, now: StoreTime) -> StoreTime {
        StoreTime(now.0.saturating_add(self.lease_ms))
    }
}

/// How long a job waits after its n-th failure (from 1): the machine's own backoff, some doublings on.
pub(super) fn job_backoff_ms(failures: u32, dice: &Dice) -> u64 {
    let chance = u32::try_from(dice.up_to(u64::from(u32::MAX))).unwrap_or(0);
    backoff_ms(failures.saturating_add(BACKOFF_SKIPS), BACKOFF_MAX_MS, chance)
}

/// The queue's chance: where claims begin, and how long pauses are. A test gives the seed, and it replays.
#[derive(Debug)]
pub(super) struct Dice {
    rng: Mutex<StdRng>,
}

impl Dice {
    pub(super) fn seeded(seed: u64) -> Self {
        Self { rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// A number from 0 to `most`, each as likely.
    pub(super) fn up_to(&self, most: u64) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..=most)
    }
}

/// What the queue met and got over, since this handle's first clone was made.
#[derive(Debug, Default)]
pub struct QueueCounters {
    skipped: AtomicU64,
    repaired: AtomicU64,
    quarantined: AtomicU64,
    fenced: AtomicU64,
    conflicts: AtomicU64,
    exhausted: AtomicU64,
}

/// The counters at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Records of newer programs that were left alone.
    pub skipped: u64,
    /// Index entries that did not agree with their record and were put right.
    pub repaired: u64,
    /// Jobs taken out of the ready index since their record cannot be read.
    pub quarantined: u64,
    /// Writes refused since the lease or the claim behind them is gone.
    pub fenced: u64,
    /// Transactions tried again after a conflict.
    pub conflicts: u64,
    /// Transactions given up after too many conflicts.
    pub exhausted: u64,
}

/// Which counter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Skipped,
    Repaired,
    Quarantined,
    Fenced,
    Conflicts,
    Exhausted,
}

impl QueueCounters {
    pub(super) fn add(&self, count: Count) {
        let counter = match count {
            Count::Skipped => &self.skipped,
            Count::Repaired => &self.repaired,
            Count::Quarantined => &self.quarantined,
            Count::Fenced => &self.fenced,
            Count::Conflicts => &self.conflicts,
            Count::Exhausted => &self.exhausted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters now.
    pub fn counts(&self) -> QueueCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueueCounts {
            skipped: read(&self.skipped),
            repaired: read(&self.repaired),
            quarantined: read(&self.quarantined),
            fenced: read(&self.fenced),
            conflicts: read(&self.conflicts),
            exhausted: read(&self.exhausted),
        }
    }
}
