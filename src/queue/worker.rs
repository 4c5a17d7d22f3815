//! The record of a worker process: its lease, what it holds and did, and what its last writes were.
//!
//! It is data only. Every change to what a worker holds changes this record in the same transaction, so a decision
//! that has read it cannot miss a claim.

use super::record::{Incarnation, WriteId};
use super::settings::QueueSettings;
use crate::fsm::effect::{Farewell, Leaf};
use crate::fsm::event::Mode;
use crate::fsm::id::{Epoch, JobId, Nonce};
use crate::store::StoreTime;
use serde::{Deserialize, Serialize};

/// The most machines that one process runs.
pub const MACHINES_MAX: u32 = 256;
/// How many ended jobs a worker's record and its receipt tell of.
pub const ENDS_KEPT: usize = 64;
/// The longest label, host or other text about a worker; longer ones are cut.
pub const LABEL_MAX_BYTES: usize = 256;

/// What a worker process says about itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// This process start.
    pub incarnation: Incarnation,
    /// For people: the pod's name, or the host's. Never compared.
    pub pod: String,
    /// For people.
    pub host: String,
    /// For people.
    pub pid: u32,
    /// How many machines run in it, at least one: each says farewell on its own.
    pub machines: u32,
}

/// What a renewal tells about the worker's machines, for people and `top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeartbeatNote {
    /// The leaf of each machine.
    pub leaves: Vec<Leaf>,
    /// How hard it is stopping, if it is.
    pub stopping: Option<Mode>,
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// The job is done.
    Completed,
    /// Handed back since the worker was asked to stop.
    Released,
    /// Handed back as failed.
    Failed,
    /// Handed back as cancelled.
    Cancelled,
    /// Taken back after the lease had expired.
    Expired,
}

/// A claim that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobEnd {
    /// The job.
    pub job: JobId,
    /// The claim.
    pub epoch: Epoch,
    /// How it ended.
    pub end: End,
    /// When.
    pub at: StoreTime,
}

/// How many claims a worker made and how they ended: `claims` is the sum of the others and of what it still holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Jobs claimed.
    pub claims: u64,
    /// [`End::Completed`].
    pub completes: u64,
    /// [`End::Released`].
    pub releases: u64,
    /// [`End::Failed`].
    pub failures: u64,
    /// [`End::Cancelled`].
    pub cancelled: u64,
    /// [`End::Expired`].
    pub expiries: u64,
}

impl Tally {
    /// How many claims ended.
    pub fn ended(&self) -> u64 {
        self.completes + self.releases + self.failures + self.cancelled + self.expiries
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            claims: self.claims + other.claims,
            completes: self.completes + other.completes,
            releases: self.releases + other.releases,
            failures: self.failures + other.failures,
            cancelled: self.cancelled + other.cancelled,
            expiries: self.expiries + other.expiries,
        }
    }

    /// How many claims have not ended: what the worker holds. 0 in every receipt.
    pub fn held(&self) -> u64 {
        self.claims.saturating_sub(self.ended())
    }
}

/// What became of a machine's last claim request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimMark {
    /// It won this job.
    Won {
        /// The request.
        nonce: Nonce,
        /// The job.
        job: JobId,
        /// The claim.
        epoch: Epoch,
    },
    /// It did not happen, and must not any more.
    Fenced {
        /// The request.
        nonce: Nonce,
    },
}

/// The last writes of one machine, by which a repeated one is recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineSlot {
    /// Which machine.
    pub machine: u32,
    /// Its last claim request.
    pub claim: Option<ClaimMark>,
    /// Its last completion.
    pub completed: Option<Nonce>,
    /// Its last release.
    pub released: Option<Nonce>,
    /// It said farewell.
    pub left: bool,
}

/// What a machine said when it left.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineFarewell {
    /// Which machine.
    pub machine: u32,
    /// When, in store time.
    pub at: StoreTime,
    /// What it knows about its leaving (its times are the process's own).
    pub farewell: Farewell,
}

/// A worker process as the queue sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Who it is.
    pub info: WorkerInfo,
    /// Since when.
    pub registered: StoreTime,
    /// Its jobs are its own until then.
    pub lease_until: StoreTime,
    /// When it was found expired. From then on it claims and renews nothing.
    pub expired: Option<StoreTime>,
    /// What its last renewal told.
    pub note: HeartbeatNote,
    /// Held jobs that somebody asked to cancel.
    pub cancels: Vec<(JobId, Epoch)>,
    /// One for each machine that has written.
    pub slots: Vec<MachineSlot>,
    /// Claims and their ends.
    pub tally: Tally,
    /// The last [`ENDS_KEPT`] ends.
    pub ends: Vec<JobEnd>,
    /// Machines that left.
    pub farewells: Vec<MachineFarewell>,
}

impl WorkerRecord {
    pub(super) fn new(info: WorkerInfo, now: StoreTime, settings: &QueueSettings) -> Self {
        Self {
            info,
            registered: now,
            lease_until: settings.lease_end(now),
            expired: None,
            note: HeartbeatNote::default(),
            cancels: Vec::new(),
            slots: Vec::new(),
            tally: Tally::default(),
            ends: Vec::new(),
            farewells: Vec::new(),
        }
    }

    /// Stands in for a record that is missing or damaged, so that what was leased under it can be taken back.
    pub(super) fn stand_in(incarnation: Incarnation, now: StoreTime, settings: &QueueSettings) -> Self {
        let pod = "(its record was lost)".to_owned();
        let info = WorkerInfo { incarnation, pod, host: String::new(), pid: 0, machines: 1 };
        Self { lease_until: now, expired: Some(now), ..Self::new(info, now, settings) }
    }

    /// The slot of a machine, made where it is missing.
    pub(super) fn slot(&mut self, machine: u32) -> &mut MachineSlot {
        let at = match self.slots.iter().position(|slot| slot.machine == machine) {
            Some(at) => at,
            None => {
                self.slots.push(MachineSlot { machine, ..MachineSlot::default() });
                self.slots.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the position was just found or pushed")]
        &mut self.slots[at]
    }

    /// Whether every machine said farewell.
    pub(super) fn all_left(&self) -> bool {
        let left = self.slots.iter().filter(|slot| slot.left).count();
        u32::try_from(left).is_ok_and(|left| left >= self.info.machines)
    }

    /// Counts the end of a claim.
    pub(super) fn note_end(&mut self, job: JobId, epoch: Epoch, end: End, at: StoreTime) {
        match end {
            End::Completed => self.tally.completes += 1,
            End::Released => self.tally.releases += 1,
            End::Failed => self.tally.failures += 1,
            End::Cancelled => self.tally.cancelled += 1,
            End::Expired => self.tally.expiries += 1,
        }
        self.cancels.retain(|cancel| *cancel != (job, epoch));
        if self.ends.len() >= ENDS_KEPT {
            self.ends.remove(0);
        }
        self.ends.push(JobEnd { job, epoch, end, at });
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Leaving {
    /// Every machine said farewell.
    Left,
    /// Its lease expired, and others took back what it held.
    Expired {
        /// When the lease had ended.
        lease_until: StoreTime,
        /// When somebody found it.
        found: StoreTime,
    },
}

/// How a worker stopped, and what became of its jobs. Written when its record goes, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// Who it was.
    pub info: WorkerInfo,
    /// Since when it had worked.
    pub registered: StoreTime,
    /// When this was written.
    pub ended: StoreTime,
    /// How it ended.
    pub leaving: Leaving,
    /// What each machine said.
    pub farewells: Vec<MachineFarewell>,
    /// Claims and their ends; they add up.
    pub tally: Tally,
    /// The last [`ENDS_KEPT`] ends.
    pub ends: Vec<JobEnd>,
    /// The last writes of each machine.
    pub slots: Vec<MachineSlot>,
}

impl Receipt {
    pub(super) fn of(worker: WorkerRecord, now: StoreTime) -> Self {
        let leaving = match worker.expired {
            Some(found) => Leaving::Expired { lease_until: worker.lease_until, found },
            None => Leaving::Left,
        };
        Self {
            info: worker.info,
            registered: worker.registered,
            ended: now,
            leaving,
            farewells: worker.farewells,
            tally: worker.tally,
            ends: worker.ends,
            slots: worker.slots,
        }
    }
}

/// What stands under an incarnation.
pub(super) enum Standing {
    /// It is registered.
    Here(Box<WorkerRecord>),
    /// It ended.
    Gone(Box<Receipt>),
    /// It was never registered.
    Never,
}

impl Standing {
    /// Whether this machine's last write of this family is the one meant.
    pub(super) fn has_done(&self, by: &WriteId, family: fn(&MachineSlot) -> Option<Nonce>) -> bool {
        let slots = match self {
            Self::Here(worker) => &worker.slots,
            Self::Gone(receipt) => &receipt.slots,
            Self::Never => return false,
        };
        slots.iter().any(|slot| slot.machine == by.machine && family(slot) == Some(by.nonce))
    }
}
