//! Q1–Q4 as predicates over the whole keyspace, and over what it was before.
//!
//! Tests run them after every operation. They read pairs, not a store, and share nothing with the operations but the
//! records and the keys.

use super::key::{Key, Keys, printable};
use super::record::{BatchId, BatchRecord, Incarnation, JobKind, JobRecord, JobStatus, Unreadable, decode};
use super::worker::{Receipt, WorkerRecord};
use crate::fsm::id::{Epoch, JobId};
use crate::store::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: Q1 to Q4, F9, or "receipt", "key", "record".
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// The keyspace, read.
#[derive(Debug, Default)]
struct View {
    jobs: BTreeMap<JobId, Option<JobRecord>>,
    ready: BTreeMap<JobId, Vec<Vec<u8>>>,
    leased: BTreeSet<(Incarnation, JobId)>,
    workers: BTreeMap<Incarnation, Option<WorkerRecord>>,
    batches: BTreeMap<BatchId, Option<BatchRecord>>,
    open: BTreeSet<(BatchId, JobId)>,
    receipts: BTreeMap<Incarnation, Option<Receipt>>,
    quarantine: BTreeSet<JobId>,
    seen: Vec<Vec<u8>>,
    violations: Vec<Violation>,
}

/// Checks the rules that hold at every instant. `pairs` are all pairs of the store; those of other prefixes are passed
/// over.
pub fn check_keyspace(keys: &Keys, pairs: &[Pair]) -> Result<(), Vec<Violation>> {
    let mut view = View::read(keys, pairs);
    view.check_jobs(keys);
    view.check_indexes();
    view.check_workers();
    view.check_batches();
    if view.violations.is_empty() { Ok(()) } else { Err(view.violations) }
}

impl View {
    fn read(keys: &Keys, pairs: &[Pair]) -> Self {
        let mut view = Self::default();
        for (key, value) in pairs.iter().filter(|(key, _)| keys.owns(key)) {
            let Some(parsed) = keys.parse(key) else {
                view.broken("key", format!("{} is no key of the queue", printable(key)));
                continue;
            };
            match parsed {
                Key::Job(job) => {
                    view.jobs.insert(job, decode(value).ok());
                }
                Key::Ready { job, .. } => view.ready.entry(job).or_default().push(key.clone()),
                Key::Leased(worker, job) => {
                    view.leased.insert((worker, job));
                }
                Key::Worker(worker) => {
                    let record = view.expect_readable(key, decode(value));
                    view.workers.insert(worker, record);
                }
                Key::Batch(batch) => {
                    let record = view.expect_readable(key, decode(value));
                    view.batches.insert(batch, record);
                }
                Key::Open(batch, job) => {
                    view.open.insert((batch, job));
                }
                Key::Receipt(worker) => {
                    let record = view.expect_readable(key, decode(value));
                    view.receipts.insert(worker, record);
                }
                Key::Quarantine(job) => {
                    view.quarantine.insert(job);
                }
                Key::Seen(_) => view.seen.push(value.clone()),
                Key::Config(_) => {}
            }
        }
        view
    }

    fn broken(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what });
    }

    fn expect_readable<T>(&mut self, key: &[u8], read: Result<T, Unreadable>) -> Option<T> {
        read.map_err(|unreadable| {
            self.broken("record", format!("{}: {}", printable(key), unreadable.reason()))
        })
        .ok()
    }

    /// Q1: each job is in exactly one place, and every index says so.
    fn check_jobs(&mut self, keys: &Keys) {
        for (id, job) in std::mem::take(&mut self.jobs) {
            let ready = self.ready.get(&id).cloned().unwrap_or_default();
            let owners: Vec<_> =
                self.leased.iter().filter(|(_, job)| *job == id).map(|(owner, _)| *owner).collect();
            let quarantined = self.quarantine.contains(&id);
            if let Some(job) = &job {
                self.check_place(keys, id, job, &ready, &owners, quarantined);
            } else if quarantined && !(ready.is_empty() && owners.is_empty()) {
                self.broken("Q1", format!("job {id} is in quarantine and in an index"));
            }
            self.jobs.insert(id, job);
        }
    }

    fn check_place(
        &mut self,
        keys: &Keys,
        id: JobId,
        job: &JobRecord,
        ready: &[Vec<u8>],
        owners: &[Incarnation],
        quarantined: bool,
    ) {
        if job.id != id {
            self.broken("Q1", format!("the record of job {id} names job {}", job.id));
        }
        let expected_ready: Vec<_> =
            (job.status == JobStatus::Ready && !quarantined).then(|| keys.ready(job)).into_iter().collect();
        if ready != expected_ready {
            let status = job.status.name();
            self.broken(
                "Q1",
                format!("job {id} is {status} and has {} entries in the ready index", ready.len()),
            );
        }
        let owner: Vec<_> = job.owner.iter().map(|owner| owner.incarnation).collect();
        if owners != owner || owner.is_empty() == (job.status == JobStatus::Leased) {
            let status = job.status.name();
            self.broken("Q1", format!("job {id} is {status}, owned by {owner:?}, leased by {owners:?}"));
        }
        if job.status.is_final() != job.finished.is_some() {
            self.broken(
                "Q1",
                format!("job {id} is {} and finished at {:?}", job.status.name(), job.finished),
            );
        }
        if self.open.contains(&(job.batch, id)) == job.status.is_final() {
            self.broken("Q1", format!("job {id} is {} and open/ says otherwise", job.status.name()));
        }
        if job.status == JobStatus::Leased && job.epoch == Epoch(0) {
            self.broken("Q2", format!("job {id} is leased without an epoch"));
        }
    }

    /// Q1 the other way: every index entry has its job.
    fn check_indexes(&mut self) {
        let ready = self.ready.keys().map(|job| ("ready", *job));
        let leased = self.leased.iter().map(|(_, job)| ("leased", *job));
        let open = self.open.iter().map(|(_, job)| ("open", *job));
        let stray: Vec<_> =
            ready.chain(leased).chain(open).filter(|(_, job)| !self.jobs.contains_key(job)).collect();
        for (index, job) in stray {
            self.broken("Q1", format!("{index}/ holds job {job}, which does not exist"));
        }
        let unheld: Vec<_> =
            self.leased.iter().filter(|(worker, _)| !self.workers.contains_key(worker)).copied().collect();
        for (worker, job) in unheld {
            self.broken("Q1", format!("job {job} is leased by worker {worker}, which has no record"));
        }
        for value in std::mem::take(&mut self.seen) {
            let id = <[u8; 16]>::try_from(value.as_slice()).ok().map(JobId);
            if id.is_none_or(|id| !self.jobs.contains_key(&id)) {
                self.broken("Q4", format!("a recording was seen, but its job {id:?} does not exist"));
            }
        }
    }

    /// What workers claimed adds up with what they hold and with how it ended.
    fn check_workers(&mut self) {
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
            if let Some(receipt) = receipt.filter(|receipt| receipt.tally.claims != receipt.tally.ended()) {
                self.broken(
                    "receipt",
                    format!("the receipt of worker {id} does not add up: {:?}", receipt.tally),
                );
            }
        }
    }

    /// Q4: all that was submitted is in one of the places; a batch has at most one Assemble job, after its recordings.
    fn check_batches(&mut self) {
        let mut recordings: BTreeMap<BatchId, u64> = BTreeMap::new();
        let jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values().flatten() {
            if !self.batches.contains_key(&job.batch) {
                self.broken("Q4", format!("job {} is of batch {}, which does not exist", job.id, job.batch));
            }
            match job.kind {
                JobKind::Convert { .. } => *recordings.entry(job.batch).or_default() += 1,
                JobKind::Assemble => self.check_assembly(job),
            }
        }
        let unreadable = jobs.values().filter(|job| job.is_none()).count() as u64;
        for (id, batch) in std::mem::take(&mut self.batches) {
            let found = recordings.get(&id).copied().unwrap_or(0);
            let submitted = batch.map_or(found, |batch| batch.jobs);
            if found > submitted || submitted > found + unreadable {
                self.broken(
                    "Q4",
                    format!("{submitted} recordings were submitted to batch {id}, {found} are there"),
                );
            }
        }
    }

    fn check_assembly(&mut self, job: &JobRecord) {
        if job.id != job.batch.assemble_job() {
            self.broken("Q4", format!("batch {} has a second Assemble job {}", job.batch, job.id));
        }
        let early = self.open.iter().find(|(batch, open)| *batch == job.batch && *open != job.id);
        if let Some((_, open)) = early.filter(|_| matches!(job.status, JobStatus::Ready | JobStatus::Leased))
        {
            self.broken("Q4", format!("batch {} is assembled while job {open} is open", job.batch));
        }
    }
}

/// What the keyspace was before: the rules that compare two instants.
#[derive(Debug, Default)]
pub struct History {
    jobs: BTreeMap<JobId, JobRecord>,
    receipts: BTreeMap<Incarnation, Vec<u8>>,
}

impl History {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares with what was seen before: the epoch only grows (Q2), final is final until a reset (Q3), the checkpoint
    /// never moves back (F9), no job goes missing (Q4), no receipt changes.
    pub fn observe(&mut self, keys: &Keys, pairs: &[Pair]) -> Result<(), Vec<Violation>> {
        let mut violations = Vec::new();
        let mut missing: BTreeSet<JobId> = self.jobs.keys().copied().collect();
        for (key, value) in pairs {
            match keys.parse(key) {
                Some(Key::Job(id)) => {
                    missing.remove(&id);
                    if let Ok(job) = decode::<JobRecord>(value) {
                        if let Some(before) = self.jobs.get(&id) {
                            compare(before, &job, &mut violations);
                        }
                        self.jobs.insert(id, job);
                    }
                }
                Some(Key::Receipt(worker)) => {
                    let before = self.receipts.insert(worker, value.clone());
                    if before.is_some_and(|before| before != *value) {
                        let what = format!("the receipt of worker {worker} changed");
                        violations.push(Violation { rule: "receipt", what });
                    }
                }
                _ => {}
            }
        }
        for job in missing {
            violations.push(Violation { rule: "Q4", what: format!("job {job} is gone") });
        }
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

fn compare(before: &JobRecord, after: &JobRecord, violations: &mut Vec<Violation>) {
    let mut broken =
        |rule, what: String| violations.push(Violation { rule, what: format!("job {}: {what}", after.id) });
    let (was, is) = (before.status, after.status);
    if after.epoch < before.epoch {
        broken("Q2", format!("its epoch fell from {} to {}", before.epoch.0, after.epoch.0));
    }
    let same_claim = was == JobStatus::Leased && before.owner == after.owner;
    if is == JobStatus::Leased && !same_claim && after.epoch <= before.epoch {
        broken("Q2", format!("it was claimed again at epoch {}", after.epoch.0));
    }
    if was.is_final() && is != was && after.resets == before.resets {
        broken("Q3", format!("it was {} and is {}", was.name(), is.name()));
    }
    if after.checkpoint < before.checkpoint {
        broken("F9", format!("its checkpoint fell from {} to {}", before.checkpoint, after.checkpoint));
    }
    if after.resets < before.resets || after.interruptions < before.interruptions {
        broken("F10", "a count fell".to_owned());
    }
}
