//! Putting the ready index right where it does not agree with the records, so that nothing blocks its head.
//!
//! A repair is best effort: whoever meets the defect next tries again. The damaged record itself is kept as evidence.

use super::Queue;
use super::error::Halt;
use super::key::printable;
use super::record::{ERROR_TEXT_MAX_BYTES, JobRecord, JobStatus, clip};
use super::settings::Count;
use super::tx::Tx;
use crate::fsm::id::JobId;
use crate::store::StoreTime;
use serde::{Deserialize, Serialize};

/// What is wrong with an entry of the ready index.
pub(super) enum Defect {
    /// There is no job behind it.
    Stray,
    /// The job is not ready, or stands elsewhere in the index.
    Stale(Box<JobRecord>),
    /// The job or its batch cannot be read.
    Unreadable { job: JobId, reason: String },
}

/// A job that was taken out of the ready index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// When.
    pub at: StoreTime,
    /// Why.
    pub reason: String,
}

impl Queue {
    /// Puts one entry right. Failing is no error: the entry is passed over either way.
    pub(super) async fn repair(&self, tx: Tx, ready: &[u8], defect: Defect) {
        match self.repair_once(tx, ready, defect).await {
            Ok(None) => {}
            Ok(Some(count)) => {
                self.counters.add(count);
                tracing::warn!(key = %printable(ready), ?count, "an entry of the ready index was put right");
            }
            Err(halt) => tracing::debug!(key = %printable(ready), ?halt, "a repair did not commit"),
        }
    }

    async fn repair_once(&self, mut tx: Tx, ready: &[u8], defect: Defect) -> Result<Option<Count>, Halt> {
        if tx.get(ready).await?.is_none() {
            return Ok(None);
        }
        tx.delete(ready.to_vec());
        let count = match defect {
            Defect::Stray => Count::Repaired,
            Defect::Stale(job) => {
                if job.status == JobStatus::Ready {
                    tx.mark(self.keys.ready(&job));
                }
                Count::Repaired
            }
            Defect::Unreadable { job, reason } => {
                self.quarantine(&mut tx, job, &reason)?;
                Count::Quarantined
            }
        };
        tx.commit().await?;
        Ok(Some(count))
    }

    /// Notes that a job cannot be worked on.
    pub(super) fn quarantine(&self, tx: &mut Tx, job: JobId, reason: &str) -> Result<(), Halt> {
        let record = QuarantineRecord { at: tx.now, reason: clip(reason, ERROR_TEXT_MAX_BYTES) };
        tx.write(self.keys.quarantine(job), &record)
    }
}
