//! What the `bench` commands measure, against a baseline of the same run: figures of two machines, or of two builds,
//! compare by their ratios.
//!
//! It prints nothing, and leaves nothing behind where it measured.

pub mod convert;
pub mod counting;
pub mod ground;
pub mod picture;
pub mod plain;
mod process;
pub mod queue;
pub mod robot;
mod scene;

use crate::convert::source::SourceError;
use crate::error::{Class, Classified};
use crate::queue::QueueError;
use crate::storage::StorageError;
use crate::store::StoreError;
use crate::work::WorkError;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often an operation that may be done twice is tried.
const TRIES_MAX: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is something under the prefix that no bench made.
    #[error("{store} holds a queue under {prefix}: give another --key-prefix")]
    Occupied {
        /// The store.
        store: String,
        /// All its keys begin so.
        prefix: String,
    },
    /// There is what another bench made.
    #[error(
        "{store} holds what another bench made under {prefix}: one is running, or was cut off; once none is, give \
         --remove-leftovers"
    )]
    Leftovers {
        /// The store.
        store: String,
        /// All its keys begin so.
        prefix: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The storage that is measured.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The conversion that is measured.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The bench's own data could not be made or read.
    #[error("the bench's own data: {0}")]
    Made(String),
    /// A task died.
    #[error("a claimer of the bench died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl BenchError {
    fn made(error: impl ToString) -> Self {
        Self::Made(error.to_string())
    }
}

impl From<SourceError> for BenchError {
    fn from(error: SourceError) -> Self {
        Self::Work(error.into())
    }
}

impl Classified for BenchError {
    fn class(&self) -> Class {
        match self {
            Self::Occupied { .. } | Self::Leftovers { .. } | Self::Task(_) => Class::Permanent,
            Self::Store(error) => error.class(),
            Self::Queue(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Work(error) => error.class(),
            Self::Made(_) => Class::Permanent,
        }
    }
}

/// Does what may be done twice, again while that may help.
async fn patiently<T, E, Fut>(operation: impl Fn() -> Fut) -> Result<T, E>
where
    E: Classified,
    Fut: Future<Output = Result<T, E>>,
{
    let mut tries = 1;
    loop {
        match operation().await {
            Err(error) if error.class() == Class::Transient && tries < TRIES_MAX => tries += 1,
            done => return done,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// When operations began and how long each took, of one of several at work.
#[derive(Debug, Default)]
pub(super) struct Laps {
    took: Vec<Duration>,
    last: Option<Instant>,
}

impl Laps {
    /// Notes an operation that began then and ends now.
    pub(super) fn note(&mut self, began: Instant) {
        let now = Instant::now();
        self.took.push(now.duration_since(began));
        self.last = Some(now);
    }

    /// Something else that belongs to the last operation ends now.
    pub(super) fn ends_now(&mut self) {
        self.last = Some(Instant::now());
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.took.len()
    }
}

/// How many a second, and how long one took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// How many were done.
    pub count: usize,
    /// In a second, by all together.
    pub per_second: f64,
    /// Half of them took at most so long, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took at most so long, in milliseconds.
    pub p99_ms: f64,
}

impl Rate {
    /// Of several that began together. The time counts to the last operation's end.
    pub(super) fn of<'a>(began: Instant, all: impl IntoIterator<Item = &'a Laps>) -> Self {
        let (mut took, mut last) = (Vec::new(), began);
        for laps in all {
            took.extend_from_slice(&laps.took);
            last = laps.last.map_or(last, |at| at.max(last));
        }
        took.sort_unstable();
        let seconds = last.duration_since(began).as_secs_f64();
        let per_second = if seconds > 0.0 { took.len() as f64 / seconds } else { 0.0 };
        Self {
            count: took.len(),
            per_second,
            p50_ms: percentile_ms(&took, 50),
            p99_ms: percentile_ms(&took, 99),
        }
    }

    /// This rate as a part of another one.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        if other.per_second > 0.0 { self.per_second / other.per_second } else { 0.0 }
    }
}

/// The smallest of these sorted times that so many of a hundred do not exceed.
fn percentile_ms(sorted: &[Duration], of_hundred: usize) -> f64 {
    let rank = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_time_that_covers_so_many() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile_ms(&times, 50), percentile_ms(&times, 99)), (100.0, 198.0));
        assert_eq!(percentile_ms(&times[..1], 99), 1.0);
        assert_eq!(percentile_ms(&[], 99), 0.0);
    }

    #[test]
    fn a_rate_counts_to_the_last_end_of_all() {
        let began = Instant::now();
        let laps = |ends_ms: &[u64]| Laps {
            took: ends_ms.iter().map(|ms| Duration::from_millis(*ms)).collect(),
            last: ends_ms.last().map(|ms| began + Duration::from_millis(*ms)),
        };
        let rate = Rate::of(began, &[laps(&[10, 20]), laps(&[500]), laps(&[])]);
        assert_eq!((rate.count, rate.per_second), (3, 6.0));
        assert_eq!(rate.ratio_to(&Rate { per_second: 12.0, ..rate }), 0.5);
    }
}
