//! The rules about claims: each has one end, and what a worker counts is what it holds and how the rest ended.

use super::View;
use crate::fsm::id::{Epoch, JobId};
use crate::queue::record::Incarnation;
use crate::queue::worker::{End, JobEnd, Leaving, Tally};
use crate::store::StoreTime;
use std::collections::{BTreeMap, BTreeSet};

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// It has a record; its lease runs, or ran, until then.
    Registered {
        /// The end of its lease.
        lease_until: StoreTime,
        /// Whether somebody found it expired already.
        found: bool,
    },
    /// It said farewell.
    Left,
    /// Its lease expired, and what it held was taken back.
    Expired,
}

/// What one worker incarnation claimed, and how that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub incarnation: Incarnation,
    /// Its pod, or host.
    pub pod: String,
    /// Where it stands.
    pub state: AccountState,
    /// What it counted.
    pub tally: Tally,
    /// Jobs that the keyspace says it holds.
    pub held: u64,
}

/// The accounts of all workers that have a record or a receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// By incarnation.
    pub workers: Vec<Account>,
    /// Jobs.
    pub jobs: u64,
    /// Claims of all jobs, by their epochs: those of workers whose receipt was removed by its age among them.
    pub epochs: u64,
}

impl Accounts {
    /// Claims that the workers counted.
    pub fn claims(&self) -> u64 {
        self.workers.iter().map(|account| account.tally.claims).fold(0, u64::saturating_add)
    }
}

impl View {
    pub(super) fn accounts(&self) -> Accounts {
        let mut holds: BTreeMap<Incarnation, u64> = BTreeMap::new();
        self.leased.iter().for_each(|(owner, _)| *holds.entry(*owner).or_default() += 1);
        let held = |id: &Incarnation| holds.get(id).copied().unwrap_or(0);
        let registered = self.workers.iter().filter_map(|(id, worker)| {
            let worker = worker.as_ref()?;
            let state =
                AccountState::Registered { lease_until: worker.lease_until, found: worker.expired.is_some() };
            let pod = worker.info.pod.clone();
            Some(Account { incarnation: *id, pod, state, tally: worker.tally, held: held(id) })
        });
        let gone = self.receipts.iter().filter_map(|(id, receipt)| {
            let receipt = receipt.as_ref()?;
            let state = match receipt.leaving {
                Leaving::Left => AccountState::Left,
                Leaving::Expired { .. } => AccountState::Expired,
            };
            let pod = receipt.info.pod.clone();
            Some(Account { incarnation: *id, pod, state, tally: receipt.tally, held: held(id) })
        });
        let mut workers: Vec<Account> = registered.chain(gone).collect();
        workers.sort_by_key(|account| account.incarnation);
        let epochs = self.jobs.values().flatten().map(|job| job.epoch.0).sum();
        Accounts { workers, jobs: self.jobs.len() as u64, epochs }
    }

    /// Every claim ended once, under an epoch that its job has had; a job was completed once, unless it was reset.
    pub(super) fn check_ends(&mut self) {
        let told: Vec<(Incarnation, JobEnd)> = {
            let working = self.workers.iter().filter_map(|(id, worker)| Some((*id, &worker.as_ref()?.ends)));
            let gone = self.receipts.iter().filter_map(|(id, receipt)| Some((*id, &receipt.as_ref()?.ends)));
            working.chain(gone).flat_map(|(id, ends)| ends.iter().map(move |end| (id, *end))).collect()
        };
        let mut seen: BTreeSet<(JobId, Epoch)> = BTreeSet::new();
        let mut completed: BTreeMap<JobId, u32> = BTreeMap::new();
        for (worker, JobEnd { job, epoch, end, .. }) in told {
            if !seen.insert((job, epoch)) {
                self.broken("receipt", format!("claim {} of job {job} ended twice", epoch.0));
            }
            if end == End::Completed {
                *completed.entry(job).or_default() += 1;
            }
            // Of a job that is gone nothing is known.
            let Some(Some(record)) = self.jobs.get(&job) else { continue };
            if epoch > record.epoch {
                let what = format!(
                    "worker {worker} ended claim {} of job {job}, which was claimed {} times",
                    epoch.0, record.epoch.0
                );
                self.broken("receipt", what);
            }
        }
        for (job, times) in completed {
            let Some(Some(record)) = self.jobs.get(&job) else { continue };
            let allowed = record.resets.saturating_add(1);
            if times > allowed {
                let resets = record.resets;
                self.broken("Q3", format!("job {job} was completed {times} times, and reset {resets} times"));
            }
        }
    }

    /// What workers claimed adds up with what they hold and with how it ended, and no more was claimed than jobs have
    /// epochs.
    pub(super) fn check_workers(&mut self, accounts: &Accounts) {
        for (id, worker) in std::mem::take(&mut self.workers) {
            if self.receipts.contains_key(&id) {
                self.broken("receipt", format!("worker {id} has a record and a receipt"));
            }
            let held = self.leased.iter().filter(|(owner, _)| *owner == id).count();
            let Some(worker) = worker else {
                continue;
            };
            if worker.tally.claims != worker.tally.ended() + held as u64 {
                self.broken(
                    "receipt",
                    format!("worker {id} holds {held} jobs and counts {:?}", worker.tally),
                );
            }
            let stray = worker.cancels.iter().find(|(job, _)| !self.leased.contains(&(id, *job)));
            if let Some((job, _)) = stray {
                self.broken(
                    "receipt",
                    format!("worker {id} is told to cancel job {job}, which it does not hold"),
                );
            }
        }
        for (id, receipt) in std::mem::take(&mut self.receipts) {
            let Some(receipt) = receipt else { continue };
            if receipt.tally.claims != receipt.tally.ended() {
                self.broken(
                    "receipt",
                    format!("the receipt of worker {id} does not add up: {:?}", receipt.tally),
                );
            }
        }
        let readable = self.jobs.values().all(Option::is_some);
        let (claims, epochs) = (accounts.claims(), accounts.epochs);
        if readable && claims > epochs {
            self.broken("receipt", format!("workers count {claims} claims, jobs {epochs}"));
        }
    }
}
