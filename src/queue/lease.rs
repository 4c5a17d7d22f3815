//! A worker's lease: registered once, renewed by its own thread, never revived.

use super::Queue;
use super::error::{Halt, QueueError};
use super::record::{Incarnation, clip};
use super::tx::Tx;
use super::worker::{HeartbeatNote, LABEL_MAX_BYTES, MACHINES_MAX, Standing, WorkerInfo, WorkerRecord};
use crate::fsm::id::{Epoch, JobId};
use crate::store::StoreTime;

/// A lease as it stands after a commit that renewed it. Durable when it is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The store's time at the start of the renewing transaction.
    pub now: StoreTime,
    /// The lease ends then. What counts for a worker is the difference to `now`, from the instant it asked.
    pub lease_until: StoreTime,
    /// Held jobs that somebody asked to cancel.
    pub cancelled: Vec<(JobId, Epoch)>,
}

impl Renewal {
    pub(super) fn of(worker: &WorkerRecord, now: StoreTime) -> Self {
        Self { now, lease_until: worker.lease_until, cancelled: worker.cancels.clone() }
    }
}

impl Queue {
    /// Registers a worker process and gives it its first lease. Asked again by the same incarnation it renews.
    ///
    /// [`QueueError::Lost`]: this incarnation has ended before; start another one.
    pub async fn register(&self, worker: &WorkerInfo) -> Result<Renewal, QueueError> {
        if worker.machines == 0 || worker.machines > MACHINES_MAX {
            return Err(QueueError::refused(format!(
                "a worker runs 1 to {MACHINES_MAX} machines, not {}",
                worker.machines
            )));
        }
        let info = WorkerInfo {
            pod: clip(&worker.pod, LABEL_MAX_BYTES),
            host: clip(&worker.host, LABEL_MAX_BYTES),
            ..worker.clone()
        };
        self.transact("register", |tx| self.register_once(tx, info.clone())).await
    }

    async fn register_once(&self, mut tx: Tx, info: WorkerInfo) -> Result<Renewal, Halt> {
        let worker = match tx.standing(info.incarnation).await? {
            Standing::Never => WorkerRecord::new(info, tx.now, &self.settings),
            Standing::Here(worker) if worker.expired.is_none() => WorkerRecord {
                lease_until: self.settings.lease_end(tx.now).max(worker.lease_until),
                ..*worker
            },
            Standing::Here(_) | Standing::Gone(_) => {
                return Err(QueueError::lost(format!("worker {} has ended before", info.incarnation)).into());
            }
        };
        tx.put_worker(&worker)?;
        let renewal = Renewal::of(&worker, tx.now);
        tx.commit().await?;
        Ok(renewal)
    }

    /// Renews the lease.
    ///
    /// [`QueueError::Lost`]: the lease was found expired, or the worker has left. A renewal never revives it.
    pub async fn renew(&self, incarnation: Incarnation, note: &HeartbeatNote) -> Result<Renewal, QueueError> {
        self.transact("renew", |tx| self.renew_once(tx, incarnation, note)).await
    }

    async fn renew_once(
        &self,
        mut tx: Tx,
        incarnation: Incarnation,
        note: &HeartbeatNote,
    ) -> Result<Renewal, Halt> {
        let mut worker = tx.live_worker(incarnation).await?;
        worker.lease_until = self.settings.lease_end(tx.now).max(worker.lease_until);
        worker.note.stopping = note.stopping;
        worker.note.leaves = note.leaves.iter().copied().take(MACHINES_MAX as usize).collect();
        tx.put_worker(&worker)?;
        let renewal = Renewal::of(&worker, tx.now);
        tx.commit().await?;
        Ok(renewal)
    }

    /// The registered workers behind `after`, by incarnation, at most `limit`. Those whose record cannot be read are
    /// left out.
    pub async fn workers(
        &self,
        after: Option<Incarnation>,
        limit: usize,
    ) -> Result<Vec<WorkerRecord>, QueueError> {
        self.page(self.keys.workers_after(after), limit).await
    }
}
