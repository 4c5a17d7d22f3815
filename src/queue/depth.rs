//! How much waits in the queue, from its indexes alone: no job's record is read.
//!
//! Pages are consistent, the whole is not: it is for gauges.

use super::Queue;
use super::error::QueueError;
use super::jobs::scan;
use super::key::{Key, Span, following};
use super::settings::PAGE;
use crate::store::StoreTime;

/// Entries of one index that are counted at most: an autoscaler needs no more.
pub const COUNTED_MAX: u64 = 100_000;

/// What waits, and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Jobs that could be claimed now.
    pub ready: u64,
    /// Jobs that wait for their next attempt.
    pub waiting: u64,
    /// Jobs that workers hold.
    pub leased: u64,
    /// Recordings that are dead or cancelled, and were not retried.
    pub failed: u64,
    /// How long the job that has waited longest could have been claimed, in the store's time.
    pub oldest_ready_ms: u64,
}

impl Queue {
    /// Counts what waits; of each index at most [`COUNTED_MAX`] entries.
    pub async fn depth(&self) -> Result<QueueDepth, QueueError> {
        let mut depth = QueueDepth::default();
        let now = self.now().await?;
        let mut oldest: Option<StoreTime> = None;
        self.each(self.keys.all_ready(), |key| {
            let Some(Key::Ready { not_before, .. }) = self.keys.parse(key) else { return };
            if not_before > now {
                depth.waiting += 1;
            } else {
                depth.ready += 1;
                oldest = Some(oldest.map_or(not_before, |other| other.min(not_before)));
            }
        })
        .await?;
        depth.oldest_ready_ms = oldest.map_or(0, |since| now.0.saturating_sub(since.0));
        self.each(self.keys.leased_beyond(None), |_| depth.leased += 1).await?;
        self.each(self.keys.all_failed(), |_| depth.failed += 1).await?;
        Ok(depth)
    }

    async fn each(&self, mut span: Span, mut take: impl FnMut(&[u8])) -> Result<(), QueueError> {
        let mut counted = 0;
        while counted < COUNTED_MAX {
            let page = &span;
            let pairs = self.transact("depth", |tx| scan(tx, page, PAGE)).await?;
            pairs.iter().for_each(|(key, _)| take(key));
            counted += pairs.len() as u64;
            let Some((last, _)) = pairs.last().filter(|_| pairs.len() >= PAGE) else { break };
            span.start = following(last.clone());
        }
        Ok(())
    }
}
