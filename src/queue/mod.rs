//! The job queue: records, keys and transactions, written once over [`crate::store`].
//!
//! Architecture Invariant: no engine, no clock but the store's, no conversion.
//!
//! A job is in exactly one place (Q1), moved by one transaction at a time. Its record decides; indexes propose. A worker
//! writes under `(epoch, incarnation)`, compared in the same transaction, so that whoever lost a job cannot touch it.
//! Where to read: `record` and `worker` hold the data, `key` the layout, `tx` the retry loop; then one file an operation.

mod assembly;
mod batch;
mod checkpoint;
mod claim;
mod depth;
mod ending;
mod error;
pub mod invariant;
mod jobs;
mod key;
mod leader;
mod lease;
mod line;
mod reclaim;
mod reconcile;
mod record;
mod repair;
mod scan;
mod search;
mod series;
mod settings;
mod settle;
mod tx;
mod worker;

pub use assembly::AssemblyState;
pub use batch::{NewBatch, NewJob, Submitted};
pub use claim::Claim;
pub use depth::{COUNTED_MAX, QueueDepth};
pub use ending::CancelledBatch;
pub use error::QueueError;
pub use jobs::{Cancelled, JobCounts, JobFilter, JobPage};
pub use key::{Key, Keys, ROLE_MAX_BYTES};
pub use leader::{Campaign, LeaderRecord, Leadership, RECEIPT_AGE_MIN_MS};
pub use lease::Renewal;
pub use line::{LINE_MAX, LineRecord};
pub use reclaim::{ReclaimRound, Reclaimed, ReclaimedJob};
pub use reconcile::{LOOKS, Reconciliation, STALE_LEASE_MS};
pub use record::{
    BatchId, BatchRecord, ConfigHash, ERROR_TEXT_MAX_BYTES, ERRORS_KEPT, ErrorEntry, ErrorKind, Incarnation,
    JobKind, JobRecord, JobResult, JobStatus, Owner, Ownership, RECORD_VERSION, SeriesId, Source,
    TEXT_MAX_BYTES, WriteId, config_hash,
};
pub use repair::QuarantineRecord;
pub use scan::SCAN_PAGE_MAX;
pub use series::{NewSeries, Round, RoundEnd, ScanPage, ScanRecord};
pub use settings::{LEASE_MIN_MS, PREFIX_MAX_BYTES, QueueCounters, QueueCounts, QueueSettings};
pub use settle::{FarewellNote, HandBack, ReleaseRequest};
pub use worker::{
    ClaimMark, ENDS_KEPT, End, HeartbeatNote, JobEnd, LABEL_MAX_BYTES, Leaving, MACHINES_MAX,
    MachineFarewell, MachineSlot, Receipt, Tally, WorkerInfo, WorkerRecord,
};

use crate::store::{SharedStore, StoreTime};
use settings::Dice;
use std::sync::Arc;

/// The queue. Clones share the store and the counters.
#[derive(Debug, Clone)]
pub struct Queue {
    store: SharedStore,
    settings: Arc<QueueSettings>,
    keys: Arc<Keys>,
    counters: Arc<QueueCounters>,
    dice: Arc<Dice>,
    /// Claims through one handle take turns: the machines of one process share a worker's record, which each claim
    /// changes, so that two at once are a conflict as a rule.
    claiming: Arc<tokio::sync::Mutex<()>>,
}

impl Queue {
    /// Over this store. The settings are expected to be checked ([`QueueSettings::check`]).
    pub fn new(store: SharedStore, settings: QueueSettings) -> Self {
        Self::seeded(store, settings, rand::random())
    }

    /// As [`Queue::new`], with its chance given: over a store that replays, it replays.
    pub fn seeded(store: SharedStore, settings: QueueSettings, seed: u64) -> Self {
        let keys = Arc::new(Keys::new(&settings.prefix));
        let dice = Arc::new(Dice::seeded(seed));
        Self {
            store,
            settings: Arc::new(settings),
            keys,
            counters: Arc::default(),
            dice,
            claiming: Arc::default(),
        }
    }

    /// What it is set to.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Waits a moment for what the store has left to do behind its answers, before the process ends.
    pub async fn settle(&self) {
        self.store.settle().await;
    }

    /// The store's time.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn now(&self) -> Result<StoreTime, QueueError> {
        self.transact("tell the time", |tx| async move { Ok(tx.now) }).await
    }

    /// What it met and got over.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// How its keys are written.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}
