//! Q1–Q4 as predicates over the whole keyspace, and over what it was before.
//!
//! Tests run them after every operation. They read pairs, not a store, and share nothing with the operations but the
//! records and the keys.

mod batches;
mod claims;
mod history;

pub use claims::{Account, AccountState, Accounts};
pub use history::History;

use super::key::{Key, Keys, printable};
use super::leader::LeaderRecord;
use super::line::LineRecord;
use super::record::{BatchId, BatchRecord, Incarnation, JobRecord, JobStatus, SeriesId, Unreadable, decode};
use super::series::ScanRecord;
use super::worker::{Receipt, WorkerRecord};
use crate::fsm::id::{Epoch, JobId};
use crate::store::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: Q1 to Q4, F9, F10, or "batch", "leader", "scan", "line", "receipt", "key", "record".
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
    members: BTreeSet<(BatchId, JobId)>,
    failed: BTreeSet<(BatchId, JobId)>,
    active: BTreeSet<BatchId>,
    scans: BTreeMap<SeriesId, ScanRecord>,
    lines: BTreeMap<[u8; 32], LineRecord>,
    seen: Vec<Vec<u8>>,
    violations: Vec<Violation>,
}

/// Checks the rules that hold at every instant. `pairs` are all pairs of the store; those of other prefixes are passed
/// over.
pub fn check_keyspace(keys: &Keys, pairs: &[Pair]) -> Result<(), Vec<Violation>> {
    let mut audit = Audit::new(keys);
    pairs.iter().for_each(|pair| audit.read(pair));
    let (_, violations) = audit.judge();
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// The rules over a keyspace that is read piece by piece: what is kept of a pair is its record.
#[derive(Debug)]
pub struct Audit<'a> {
    keys: &'a Keys,
    view: View,
}

impl<'a> Audit<'a> {
    /// Of the keyspace under these keys.
    pub fn new(keys: &'a Keys) -> Self {
        Self { keys, view: View::default() }
    }

    /// Takes a pair in. Those of other prefixes are passed over.
    pub fn read(&mut self, pair: &Pair) {
        if self.keys.owns(&pair.0) {
            self.view.read(self.keys, pair);
        }
    }

    /// What the workers' accounts are, and every rule that does not hold.
    pub fn judge(mut self) -> (Accounts, Vec<Violation>) {
        let view = &mut self.view;
        view.check_jobs(self.keys);
        view.check_indexes();
        let accounts = view.accounts();
        view.check_ends();
        view.check_workers(&accounts);
        view.check_members();
        view.check_batches();
        view.check_scans();
        view.check_lines();
        (accounts, self.view.violations)
    }
}

impl View {
    fn read(&mut self, keys: &Keys, (key, value): &Pair) {
        let view = self;
        let Some(parsed) = keys.parse(key) else {
            return view.broken("key", format!("{} is no key of the queue", printable(key)));
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
            Key::Member(batch, job) => {
                view.members.insert((batch, job));
            }
            Key::Failed(batch, job) => {
                view.failed.insert((batch, job));
            }
            Key::Active(batch) => {
                view.active.insert(batch);
            }
            Key::Leader(role) => {
                let record: Option<LeaderRecord> = view.expect_readable(key, decode(value));
                if record.is_some_and(|record| record.term == 0) {
                    view.broken("leader", format!("{role} is led under term 0"));
                }
            }
            Key::Scan(series) => {
                let record = view.expect_readable(key, decode(value));
                view.scans.extend(record.map(|record| (series, record)));
            }
            Key::Line(out) => {
                let record = view.expect_readable(key, decode(value));
                view.lines.extend(record.map(|record| (out, record)));
            }
            Key::Append(_) => {}
            Key::Seen(_) => view.seen.push(value.clone()),
            Key::Config(_) => {}
        }
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
}
